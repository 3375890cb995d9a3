#!/usr/bin/env bash
# A flame graph by perf, down to the kernel's frames: 1999 samples a second, cheap stacks by frame pointers.
# generate_flamegraph.sh [WORKLOAD] [SECONDS]      one of the harness's workloads
# generate_flamegraph.sh -- PROGRAM [ARGUMENTS]    any program built in this workspace
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --profile profiling --package profiling
only=()
if [ "${1:-}" = -- ]; then
  shift
  name=$(basename "$1")
else
  name=${1:-search}
  set -- target/profiling/profiling run --workload "$name" --seconds "${2:-5}"
  only=(--only workload_passes)
fi
data=$(mktemp)
trap 'rm -f "$data"' EXIT
perf record --quiet --event cpu-clock --freq 1999 --call-graph fp --output "$data" -- "$@"
perf script --input "$data" --no-inline 2>/dev/null | target/profiling/profiling fold \
  "${only[@]}" --title "nearfield: $name, by perf" --out "profiling/flamegraphs/perf-$name.svg"
