#!/usr/bin/env bash
# Everything in turn: flame graphs, heap, curves, kernels, store, advice, and the page that shows them.
# benchmark_all.sh [--quick]: 15 minutes at most on two cores, with small data.
set -euo pipefail
cd "$(dirname "$0")/../.."
quick=("$@")
scripts=profiling/scripts
if [ "${1:-}" = --quick ]; then
  "$scripts/cpu_profile.sh" 3 build search churn
  "$scripts/memory_profile.sh" --quick build search churn
else
  "$scripts/cpu_profile.sh"
  "$scripts/memory_profile.sh"
  "$scripts/cache_profile.sh"
  for bench in churn filter mixed; do
    cargo bench --bench "$bench" -- --json "profiling/benchmarks/$bench.jsonl"
  done
fi
"$scripts/generate_flamegraph.sh" search 3 || echo "no flame graph by perf: it may not sample here"
"$scripts/gate.sh" || echo "exact counts are worse than those that are kept"
for command in curve kernels store advise; do
  cargo prof "$command" "${quick[@]}"
done
cargo prof report
