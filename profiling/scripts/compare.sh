#!/usr/bin/env bash
# Is the working tree worse than commit BASE? Ends with 1 if it is.
# compare.sh BASE [--exact] [--short] [--accept "distances per search"]: options as of `cargo prof compare`.
set -euo pipefail
cd "$(dirname "$0")/../.."
base=${1:?"usage: compare.sh BASE [OPTIONS]"}
shift
tree=target/compare/base
mkdir -p target/compare
git worktree prune
if [ -e "$tree/.git" ]; then
  git -C "$tree" checkout --quiet --force --detach "$(git rev-parse "$base^{commit}")"
else
  git worktree add --quiet --force --detach "$tree" "$base"
fi
# Both sides do the same work: only the library differs.
rm -rf "$tree/profiling/worker"
cp -r profiling/worker "$tree/profiling/"
# Two folders for what is built: in one, cargo takes the two states of a package for the same.
cargo build --manifest-path "$tree/Cargo.toml" --target-dir target/compare/built \
  --package profiling-worker --profile profiling
cargo build --package profiling-worker --package profiling --profile profiling
cargo prof compare --base target/compare/built/profiling/worker --new target/profiling/worker "$@"
