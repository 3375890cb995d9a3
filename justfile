# Commands for contributors: `just` lists the recipes, `just --dry-run NAME` prints the commands of one. Each recipe is one or
# several plain commands, to copy where `just` is not installed: `{{ name }}` is an argument, and the head of the recipe has its default.
# The gate itself, `.ci/run`, needs no `just`.

# List the recipes
default:
    @just --list --unsorted

# The gate, or some of its stages; `just ci --list` lists them
[group('gate')]
ci *stages:
    .ci/run {{ stages }}

# Tests; arguments as those of `cargo test`
[group('gate')]
test *args:
    cargo test {{ args }}

# All tests, also the long ones, with debug assertions: `cargo test` has neither
[group('gate')]
test-all:
    NEARFIELD_SHAPES="${NEARFIELD_SHAPES:-2503}" CARGO_PROFILE_TEST_DEBUG_ASSERTIONS=true cargo test -- --include-ignored

# Imports, places of unsafe, words of comments, number of dependencies
[group('gate')]
architecture:
    cargo test --test architecture

# Format the sources
[group('gate')]
fmt:
    cargo fmt --all

# Format, lints, documentation
[group('gate')]
lint:
    .ci/run format clippy docs

# Documentation, with warnings as errors
[group('gate')]
docs:
    .ci/run docs

# Lints with every feature, and of the library with none
[group('gate')]
features:
    .ci/run features

# Licences, advisories, compiled C, registries
[group('gate')]
deny:
    .ci/run deny

# What a release would upload, and the licence of each file
[group('gate')]
package:
    .ci/run package

# Check with the oldest compiler that Cargo.toml names
[group('gate')]
msrv:
    .ci/run msrv

# The Python wheel, its tests, and the suites of LangChain and Haystack
[group('gate')]
python:
    .ci/run python

# Lint the scripts
[group('gate')]
scripts:
    .ci/run scripts

# Tests of the profiling harness
[group('gate')]
harness:
    .ci/run harness

# Tests of the server around the library, with real clients over sockets
[group('gate')]
server:
    .ci/run server

# Exact counts against the kept ones; `--renew` keeps new ones
[group('gate')]
counts *options:
    profiling/scripts/gate.sh {{ options }}

alias gate := counts

# Tests with plain Rust kernels
[group('kernels and systems')]
plain-kernels:
    .ci/run plain-kernels

# Tests with each instruction set of this CPU
[group('kernels and systems')]
each-isa sets="scalar avx2 avx512":
    for isa in {{ sets }}; do NEARFIELD_SIMD=$isa cargo test --lib --tests -- --include-ignored || exit 1; done

# Kernels on an emulated CPU without AVX, for minutes
[group('kernels and systems')]
qemu-kernels:
    .ci/run qemu-kernels

# All tests on an emulated CPU without AVX
[group('kernels and systems')]
qemu:
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64-static -cpu Nehalem" \
      cargo test --target x86_64-unknown-linux-gnu --lib --tests -- --include-ignored

# NEON under qemu: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static
[group('kernels and systems')]
neon:
    rustup target add aarch64-unknown-linux-gnu
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static CARGO_TARGET_DIR=target/arm64 \
      cargo test --target aarch64-unknown-linux-gnu --lib --tests -- --include-ignored

# WebAssembly in node, and the example page in Chromium: nodejs, binaryen, chromium
[group('kernels and systems')]
wasm:
    .ci/run wasm

# Windows under wine: gcc-mingw-w64-x86-64, wine
[group('kernels and systems')]
windows:
    rustup target add x86_64-pc-windows-gnu
    CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine CARGO_TARGET_DIR=target/windows \
      cargo test --target x86_64-pc-windows-gnu --lib --tests -- --include-ignored

# Type-check the locks of Windows and macOS
[group('kernels and systems')]
locks:
    .ci/run locks

# The nightly toolchain for Miri, the thread sanitizer and cargo-fuzz
[group('memory and threads')]
nightly:
    rustup toolchain install nightly --profile minimal -c rust-src -c miri

# Memory errors and leaks: all tests under the address sanitizer
[group('memory and threads')]
asan:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_TEST_DEBUG=line-tables-only CARGO_PROFILE_TEST_DEBUG_ASSERTIONS=true CARGO_TARGET_DIR=target/asan \
      cargo test --target x86_64-unknown-linux-gnu --lib --tests -- --include-ignored

# Memory errors in the unsafe code that Miri cannot run, in minutes
[group('memory and threads')]
asan-unsafe:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_TEST_DEBUG=line-tables-only CARGO_PROFILE_TEST_DEBUG_ASSERTIONS=true CARGO_TARGET_DIR=target/asan \
      cargo test --target x86_64-unknown-linux-gnu --lib --test forked --test one_file --test one_file_hosts \
      -- process:: threads:: arena:: store:: fork

# Data races: all tests under the thread sanitizer
[group('memory and threads')]
tsan:
    RUSTFLAGS=-Zsanitizer=thread CARGO_PROFILE_TEST_DEBUG=line-tables-only CARGO_PROFILE_TEST_DEBUG_ASSERTIONS=true CARGO_TARGET_DIR=target/tsan \
      cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu --lib --tests -- --include-ignored

# Data races in the unsafe code that Miri cannot run, in minutes
[group('memory and threads')]
tsan-unsafe:
    RUSTFLAGS=-Zsanitizer=thread CARGO_PROFILE_TEST_DEBUG=line-tables-only CARGO_PROFILE_TEST_DEBUG_ASSERTIONS=true CARGO_TARGET_DIR=target/tsan \
      cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu --lib -- process:: threads:: arena:: store::

# Data races of the store: readers beside a writer
[group('memory and threads')]
tsan-store:
    RUSTFLAGS=-Zsanitizer=thread CARGO_PROFILE_TEST_DEBUG=line-tables-only CARGO_PROFILE_TEST_DEBUG_ASSERTIONS=true CARGO_TARGET_DIR=target/tsan \
      cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu --test store -- small:: concurrency::

# Undefined behaviour in the code that Miri can run
[group('memory and threads')]
miri:
    NEARFIELD_SIMD=scalar CARGO_TARGET_DIR=target/miri \
      MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks" \
      cargo +nightly miri test --lib -- arena:: dataset:: threads:: process::

# The store in memory under Miri
[group('memory and threads')]
miri-store:
    CARGO_TARGET_DIR=target/miri MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance" \
      cargo +nightly miri test --test store small::

# Models of threads in seeded schedules; NEARFIELD_MODEL_SEED=N runs one again
[group('memory and threads')]
models schedules="4000":
    RUSTFLAGS="--cfg nearfield_model -Cdebug-assertions" CARGO_TARGET_DIR=target/models CARGO_PROFILE_RELEASE_LTO=off \
      CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 NEARFIELD_MODELS={{ schedules }} \
      cargo test --release --test models

# A million inserts beside searches, and the recall of the result
[group('memory and threads')]
stress:
    NEARFIELD_STRESS=1 cargo test --release --test index searches_beside_insertions -- --nocapture

# Recall on data of many shapes: `all` cases, or N for each N-th
[group('recall')]
shapes step="all":
    NEARFIELD_SHAPES={{ step }} cargo test --release --test shapes product:: -- --nocapture

# Power cuts of the store and of collections
[group('files')]
power-cuts store="100000" collection="20000":
    NEARFIELD_POWER_CUTS={{ store }} cargo test --release --test store power_cut::
    NEARFIELD_POWER_CUTS={{ collection }} cargo test --release --test collection power_cut::

# Killed writers of collections and of the store
[group('files')]
kills count="200":
    NEARFIELD_KILLS={{ count }} cargo test --release --test collection_process
    NEARFIELD_KILLS={{ count }} cargo test --release --test store_process

# Cuts of a real file system on a loop device, as root
[group('files')]
loop-cuts count="100":
    NEARFIELD_LOOP_CUTS={{ count }} cargo test --release --test store_loop_device -- --nocapture

# A hostile host: writers, readers, copies, renames, forks and kills
[group('files')]
hostile rounds="2000":
    NEARFIELD_HOSTILE_ROUNDS={{ rounds }} cargo test --release --test hostile_host hostile -- --nocapture

# The hostile host with each guard of the file turned off in turn: each is missed
[group('files')]
guards:
    RUSTFLAGS="--cfg nearfield_guards" CARGO_TARGET_DIR=target/guards cargo test --test hostile_host guard -- --nocapture

# Another process sees a thousand commits a second, each within 10 ms
[group('files')]
follow seconds="600":
    NEARFIELD_FOLLOW_SECONDS={{ seconds }} cargo test --release --test collection_process follows -- --nocapture

# Vectors of 384 components, searched in 250 MB (a memory cgroup, as root)
[group('files')]
larger rows="1000000":
    NEARFIELD_LARGER_ROWS={{ rows }} cargo test --release --test collection_memory larger -- --nocapture

# Look into a file of the store, and check it
[group('files')]
inspect file:
    cargo run --release --example inspect -- {{ file }} --check

# Fuzz a target: store_open, store_damage, store_operations, collection_open, lists_load, predicate, import
[group('fuzzing')]
fuzz target="store_open" seconds="60":
    cd fuzz && cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}

# The same for collection_open (512 bytes) and lists_load (256) with files in memory, where syncs take no time
[group('fuzzing')]
fuzz-files target="collection_open" seconds="600" length="512":
    cd fuzz && TMPDIR=/dev/shm cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }} -entropic=0 -max_len={{ length }}

# Ten million executions of store_open, store_damage (1,024 bytes) or store_operations (100) without a sanitizer
[group('fuzzing')]
fuzz-millions target="store_open" length="1024":
    cd fuzz && cargo +nightly fuzz run -s none --no-trace-compares --target-dir target/none {{ target }} -- \
      -runs=10000000 -entropic=0 -max_len={{ length }}

# The address sanitizer without the options that cost time but find nothing here
[group('fuzzing')]
fuzz-asan target="store_damage" seconds="600":
    cd fuzz && ASAN_OPTIONS=detect_stack_use_after_return=0:quarantine_size_mb=4:malloc_context_size=0 \
      cargo +nightly fuzz run --no-trace-compares {{ target }} -- -max_total_time={{ seconds }} -entropic=0 -max_len=1024

# Each target for 15 seconds, with neither nightly nor cargo-fuzz
[group('fuzzing')]
fuzz-all:
    .ci/run fuzzing

# A benchmark: ann, hnsw, distance, filter, deadline, calibration, mixed, churn, ...
[group('measuring')]
bench name="ann" *args:
    cargo bench --bench {{ name }} -- {{ args }}

# A benchmark for a try: built much faster, without fat link-time optimisation
[group('measuring')]
bench-try name="ann" *args:
    CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 cargo bench --bench {{ name }} -- {{ args }}

# The store beside redb, LMDB and fjall; LMDB needs a C compiler
[group('measuring')]
bench-stores:
    cargo bench -p profiling --bench db_comparison

# Is the working tree worse than a commit?
[group('measuring')]
compare base="main" *options:
    profiling/scripts/compare.sh {{ base }} {{ options }}

# Figures of the sources, as a table
[group('measuring')]
figures:
    profiling/scripts/figures.py
