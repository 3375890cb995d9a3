#!/usr/bin/env bash
# Is the working tree worse than commit BASE? Ends with 1 if it is.
# compare.sh BASE [--short] [--skip time] [--accept "distances per search"]: options as of `cargo prof compare`.
set -euo pipefail
cd "$(dirname "$0")/../.."
base=${1:?"usage: compare.sh BASE [OPTIONS]"}
shift
tree=target/compare/base
mkdir -p target/compare
git worktree prune
if [ -e "$tree/.git" ]; then
  git -C "$tree" checkout --quiet --force --detach "$(git rev-parse "$base^{commit}")"
else
  git worktree add --quiet --force --detach "$tree" "$base"
fi
# Both sides do the same work: only the library differs.
rm -rf "$tree/profiling/worker"
cp -r profiling/worker "$tree/profiling/"
build() {
  cargo build --manifest-path "$1/Cargo.toml" --target-dir target/compare \
    --package profiling-worker --profile profiling
  cp target/compare/profiling/worker "target/compare/$2"
}
build "$tree" worker-base
build . worker-new
cargo run --profile profiling --package profiling -- compare \
  --base target/compare/worker-base --new target/compare/worker-new "$@"
