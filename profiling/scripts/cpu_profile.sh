#!/usr/bin/env bash
# Where the time goes: flame graphs of workloads, sampled by the program itself. Works where perf does not.
# cpu_profile.sh [SECONDS] [WORKLOAD...]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-5}
shift || true
[ $# -gt 0 ] || set -- build search batch churn collection store
cargo build --profile profiling --package profiling
for workload in "$@"; do
  target/profiling/profiling flame --workload "$workload" --seconds "$seconds"
done
