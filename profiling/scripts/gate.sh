#!/usr/bin/env bash
# Are exact counts (recall, distances, bytes, allocations, instructions) as good as those kept in the repository?
# gate.sh [--renew]: with it, what is counted now is kept from here on.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --package profiling-worker --package profiling --profile profiling
target/profiling/profiling gate --worker target/profiling/worker "$@"
