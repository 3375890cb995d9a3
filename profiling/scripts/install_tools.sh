#!/usr/bin/env bash
# What the other scripts start, on Debian or Ubuntu. Asks for root where it is not root.
set -euo pipefail
cd "$(dirname "$0")/../.."
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq valgrind heaptrack shellcheck
# Debian's name, then Ubuntu's.
$sudo apt-get install -y -qq linux-perf || $sudo apt-get install -y -qq linux-tools-generic
rustup component add llvm-tools
# Not --locked: its lock file names versions that not every index has.
command -v flamegraph >/dev/null || cargo install flamegraph@0.6.15
for tool in perf valgrind heaptrack shellcheck flamegraph; do
  printf '%-12s %s\n' "$tool" "$(command -v "$tool" || echo MISSING)"
done
paranoid=$(cat /proc/sys/kernel/perf_event_paranoid)
echo "perf_event_paranoid is $paranoid; above 2, perf needs root: sysctl kernel.perf_event_paranoid=1"
