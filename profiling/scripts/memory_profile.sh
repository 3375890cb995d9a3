#!/usr/bin/env bash
# Where the memory goes, by three tools: dhat (every allocation, by place), massif (heap and maps over time), heaptrack.
# memory_profile.sh [--quick] [WORKLOAD...]: quick, massif and heaptrack look at the first only.
set -euo pipefail
cd "$(dirname "$0")/../.."
quick=
if [ "${1:-}" = --quick ]; then quick=yes && shift; fi
[ $# -gt 0 ] || set -- build search batch churn collection store
list=$*
cargo run --profile profiling --package profiling --features dhat-heap -- heap --workload "${list// /,}"
cargo build --profile profiling --package profiling
out=profiling/memory
data=benches/data/photo-sift-128-5k
[ -z "$quick" ] || set -- "$1"
for workload in "$@"; do
  work=(target/profiling/profiling run --dataset "$data" --seconds 0 --workload "$workload")
  # Columns are mapped: without --pages-as-heap massif would see little of an index.
  valgrind --quiet --tool=massif --pages-as-heap=yes --massif-out-file="$out/massif-$workload.out" "${work[@]}"
  ms_print "$out/massif-$workload.out" >"$out/massif-$workload.txt"
  rm -f "$out/heaptrack-$workload".*
  heaptrack --output "$out/heaptrack-$workload" "${work[@]}" >/dev/null
  heaptrack_print -f "$out/heaptrack-$workload".* >"$out/heaptrack-$workload.txt"
  echo "wrote $out/massif-$workload.txt and $out/heaptrack-$workload.txt"
done
