#!/usr/bin/env bash
# Instructions, and misses of a simulated cache, by function and line. No hardware counters are needed; kernels are
# those for AVX2, as valgrind knows no AVX-512.
# cache_profile.sh [WORKLOAD...]
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- search build
cargo build --profile profiling --package profiling
mkdir -p profiling/memory
for workload in "$@"; do
  out=profiling/memory/cachegrind-$workload
  valgrind --tool=cachegrind --cache-sim=yes --cachegrind-out-file="$out.out" \
    target/profiling/profiling run --dataset benches/data/photo-sift-128-5k --seconds 0 --workload "$workload"
  cg_annotate "$out.out" >"$out.txt"
  echo "wrote $out.txt"
done
