#!/usr/bin/env bash
# Whether memory stays flat and the store sound under long, repeated work, and searches right beside insertions.
# load_test.sh [MINUTES]
# load_test.sh --server [SHAPE] [USERS] [SECONDS]   users of the server: ramp, spike, stress or soak; reports in profiling/reports/. A soak
#   fails if the memory of the server grows.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Prints the seconds and the resident kilobytes of a process, while it runs.
memory() {
  local start=$SECONDS
  while kill -0 "$1" 2>/dev/null; do
    echo "$((SECONDS - start)) $(awk '/^VmRSS/ { print $2 }' "/proc/$1/status")"
    sleep 2
  done
}

# Whether the memory of the last third of a run of some seconds is within 3 % of that of the second.
flat() {
  awk -v seconds="$2" '{ time[NR] = $1; kb[NR] = $2 }
    END {
      for (i = 1; i <= NR; i++) {
        left = (time[NR] - time[i]) / seconds
        if (left < 1 / 3) { last += kb[i]; lasts++ } else if (left < 2 / 3) { middle += kb[i]; middles++ }
      }
      if (!lasts || !middles) { print "FAILED: the run is too short to tell growth"; exit 1 }
      last /= lasts; middle /= middles
      printf "memory: %.1f MB in the second third, %.1f MB in the last\n", middle / 1024, last / 1024
      if (last > middle * 1.03) { print "FAILED: memory grows by more than 3 %"; exit 1 }
    }' "$1"
}

# Runs locust against a server that is started for it, in an empty folder of data. perf, where it is installed, records the server meanwhile.
server() {
  export NEARFIELD_SHAPE=${1:-ramp} NEARFIELD_USERS=${2:-100} NEARFIELD_SECONDS=${3:-120}
  local venv=target/locust data log report program code=0 recorder=
  report=profiling/reports/load-$NEARFIELD_SHAPE
  [ -x "$venv/bin/locust" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet 'locust==2.*'; }
  cargo build --profile profiling --package server --package profiling
  program=target/profiling/server
  data=$(mktemp -d)
  log=$data/server.log
  "$program" --listen 127.0.0.1:0 --data "$data/libraries" >"$log" 2>&1 &
  local pid=$!
  # shellcheck disable=SC2064 # The values of now.
  trap "kill $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf '$data'" EXIT
  for _ in $(seq 100); do
    grep -q '^ready' "$log" && break
    sleep 0.1
  done
  local host
  host=$(sed -n 's/^listening on //p' "$log")
  [ -n "$host" ] || { cat "$log"; return 1; }
  if command -v perf >/dev/null; then
    perf record --quiet --event cpu-clock --freq 499 --call-graph fp --output "$data/perf" --pid $pid &
    recorder=$!
  fi
  memory "$pid" >"$report.memory" &
  "$venv/bin/locust" -f profiling/load/locustfile.py --headless --only-summary --host "$host" \
    --html "$report.html" --csv "$report" || code=$?
  kill $! && wait $! || true
  # The library grows under the other shapes.
  if [ "$NEARFIELD_SHAPE" = soak ]; then flat "$report.memory" "$NEARFIELD_SECONDS" || code=1; fi
  if [ -n "$recorder" ]; then
    kill -INT $recorder && wait $recorder || true
    perf script --input "$data/perf" --no-inline 2>/dev/null | target/profiling/profiling fold \
      --title "nearfield server: $NEARFIELD_SHAPE, by perf" --out "$report.svg"
  else
    echo "no flame graph: perf is not installed"
  fi
  curl --silent --show-error "$host/metrics" >"$report.metrics" || true
  return "$code"
}

if [ "${1:-}" = --server ]; then
  shift
  server "$@"
  exit
fi
cargo prof soak --minutes "${1:-5}"
NEARFIELD_STRESS=1 cargo test --release --test index searches_beside_insertions -- --nocapture
