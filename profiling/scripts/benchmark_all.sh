#!/usr/bin/env bash
# Everything in turn: flame graphs, heap, curves, kernels, store, advice, and the page that shows them.
# benchmark_all.sh [--quick]: 15 minutes at most on two cores, with small data.
set -euo pipefail
cd "$(dirname "$0")/../.."
quick=("$@")
scripts=profiling/scripts
if [ "${1:-}" = --quick ]; then
  "$scripts/cpu_profile.sh" 3 build search
  "$scripts/memory_profile.sh" build search
else
  "$scripts/cpu_profile.sh"
  "$scripts/memory_profile.sh"
  "$scripts/cache_profile.sh"
fi
"$scripts/generate_flamegraph.sh" search 3 || echo "no flame graph by perf: it may not sample here"
for command in curve kernels store advise; do
  cargo prof "$command" "${quick[@]}"
done
cargo prof report
