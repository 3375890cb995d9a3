#!/usr/bin/env bash
# Whether memory stays flat and the store sound under long, repeated work, and searches right beside insertions.
# load_test.sh [MINUTES]
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo prof soak --minutes "${1:-5}"
NEARFIELD_STRESS=1 cargo test --release --test index searches_beside_insertions -- --nocapture
