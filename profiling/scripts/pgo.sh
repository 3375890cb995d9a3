#!/usr/bin/env bash
# What profile-guided optimisation gives here: builds the worker with and without, and compares their CPU time.
# A library cannot ship it; a program that embeds the library can do the same.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(rustc -vV | sed -n 's/^host: //p')
flags=-Cforce-frame-pointers=yes
profiles=$PWD/target/pgo/profiles
rm -rf "$profiles"
# With a target named, build scripts are not instrumented.
build() {
  RUSTFLAGS="$flags $1" cargo build --profile profiling --package profiling-worker \
    --target "$target" --target-dir "target/pgo/$2"
}
build "" plain
build "-Cprofile-generate=$profiles" generate
"target/pgo/generate/$target/profiling/worker" facts --short benches/data >/dev/null
"$(rustc --print sysroot)/lib/rustlib/$target/bin/llvm-profdata" merge -o "$profiles/all.profdata" "$profiles"
build "-Cprofile-use=$profiles/all.profdata" use
cargo prof compare --short --skip facts,instructions --out target/pgo/compare.json \
  --base "target/pgo/plain/$target/profiling/worker" --new "target/pgo/use/$target/profiling/worker" || true
echo "the optimised worker is target/pgo/use/$target/profiling/worker"
