//! The costs of a collection: opening, searching in the map, durable inserts, bytes written.
//!
//! `cargo bench --bench collection -- [--rows N] [--dimension N] [--ef-construction N] [--json FILE]`; 100,000 x 128 and 200 if not
//! given. Comparisons are of one run: the same queries on the same graph in memory and in the map, the same batches into an index in
//! memory and into a collection.
#![allow(clippy::print_stdout, reason = "it reports")]

mod input;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use input::{Arguments, Input, Json};
use nearfield::{Collection, Hnsw, Metric};

/// Set for a child process: the collection that it opens.
const CHILD: &str = "NEARFIELD_BENCH_CHILD";
const BATCH: usize = 1000;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns a line of `/proc/self/status`, in MiB.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Opens the collection and answers one query, in a child process.
fn open_once(path: &Path, dimension: usize) -> Result<(), Box<dyn Error>> {
    let before = status("VmRSS");
    let query = vec![0.25_f32; dimension];
    let start = Instant::now();
    let collection = Collection::builder(dimension, Metric::L2).open(path)?;
    let opened = start.elapsed();
    let resident = status("VmRSS") - before;
    let hits = collection.search(&query).k(10).ef(64).run()?;
    let answered = start.elapsed();
    println!(
        "  open {:.2} ms, first answer after {:.2} ms ({} hits); resident memory {:.1} MiB before the search, {:.1} after",
        opened.as_secs_f64() * 1e3,
        answered.as_secs_f64() * 1e3,
        hits.len(),
        resident,
        status("VmRSS") - before,
    );
    Ok(())
}

/// Returns queries a second on one thread, measured for about a second.
fn qps(index: &Hnsw, queries: &[f32], ef: usize) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(1) {
        for query in queries.chunks_exact(index.dimension()) {
            std::hint::black_box(index.search(query).k(10).ef(ef).run()?);
            count += 1;
        }
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::read(&["rows", "dimension", "ef-construction", "json"])?;
    let dimension = args.value("dimension", 128)?;
    if let Some(path) = std::env::var_os(CHILD) {
        return open_once(Path::new(&path), dimension);
    }
    let input = args.input(args.value("rows", 100_000)?, dimension)?;
    let ef_construction = args.value("ef-construction", 200)?;
    let mut json = args.json()?;
    let folder = std::env::temp_dir().join(format!("nearfield-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let scratch = Scratch(folder);
    println!("{} x {dimension} f32, {}", input.base.len() / dimension, input.metric);
    in_place(&input, ef_construction, &scratch.0.join("collection.nf"), &mut json)?;
    durable(&input, &scratch.0.join("durable.nf"), &mut json)
}

/// Measures opening a file, and searching it in its map.
fn in_place(
    Input { base, queries, metric, dimension }: &Input,
    ef_construction: usize,
    path: &Path,
    json: &mut Json,
) -> Result<(), Box<dyn Error>> {
    let keys: Vec<u64> = (0..(base.len() / dimension) as u64).collect();
    let builder = Hnsw::builder(*dimension, *metric).ef_construction(ef_construction);
    let index = builder.build()?;
    let start = Instant::now();
    index.insert_batch(&keys, base).run()?;
    println!("  built in memory in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    index.save(path)?;
    let megabytes = std::fs::metadata(path)?.len() as f64 / 1e6;
    let seconds = start.elapsed().as_secs_f64();
    println!("  saved in {seconds:.2} s: {megabytes:.1} MB, {:.0} MB/s", megabytes / seconds);

    for _ in 0..3 {
        let status = Command::new(std::env::current_exe()?)
            .args(["--dimension", &dimension.to_string()])
            .env(CHILD, path)
            .status()?;
        if !status.success() {
            return Err(format!("the process that opens the file: {status}").into());
        }
    }

    let start = Instant::now();
    let loaded = Hnsw::load(path)?;
    println!("  loaded and verified in {:.2} s", start.elapsed().as_secs_f64());
    let mapped = Hnsw::open(path)?;
    for ef in [32, 64, 128] {
        // The first pass fills the caches and does not count.
        qps(&mapped, queries, ef)?;
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..5 {
            for (rates, index) in rates.iter_mut().zip([&index, &loaded, &mapped]) {
                rates.push(qps(index, queries, ef)?);
            }
        }
        let [built, loaded, mapped] = rates.map(median);
        println!(
            "  ef {ef}: {built:.0} queries/s as built, {loaded:.0} loaded, {mapped:.0} in the map ({:.1} % of loaded)",
            100.0 * mapped / loaded
        );
        json.line(&format!(
            "{{\"system\": \"nearfield\", \"n\": {}, \"dim\": {dimension}, \"ef\": {ef}, \"qps_built\": {built:.0}, \
             \"qps_loaded\": {loaded:.0}, \"qps_mapped\": {mapped:.0}}}",
            keys.len()
        ))?;
    }
    drop((loaded, mapped, index));
    let collection = Collection::open(path)?;
    let start = Instant::now();
    collection.preload()?;
    println!("  collection loaded and verified in place in {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Measures inserting durably, in batches and one by one, and opening after a crash.
fn durable(
    Input { base, metric, dimension, .. }: &Input,
    path: &Path,
    json: &mut Json,
) -> Result<(), Box<dyn Error>> {
    let rows = (base.len() / dimension).min(100_000);
    let keys: Vec<u64> = (0..rows as u64).collect();
    println!("batches of {BATCH}, {rows} in all");
    let index = Hnsw::builder(*dimension, *metric).build()?;
    let collection = Collection::builder(*dimension, *metric).create(path)?;
    let mut times = [Duration::ZERO; 2];
    for (keys, vectors) in keys.chunks(BATCH).zip(base.chunks(BATCH * dimension)) {
        // Both take each batch in turn, so that both meet the same load of the machine.
        let vectors = &vectors[..keys.len() * dimension];
        let start = Instant::now();
        index.insert_batch(keys, vectors).run()?;
        times[0] += start.elapsed();
        let start = Instant::now();
        let mut tx = collection.begin_write()?;
        tx.upsert_batch(keys, vectors)?;
        tx.commit()?;
        times[1] += start.elapsed();
    }
    let [memory, durable] = times.map(|time| rows as f64 / time.as_secs_f64());
    let stats = collection.stats()?;
    println!(
        "  {memory:.0} vectors/s in memory, {durable:.0} durable ({:.0} %); {} checkpoints, {:.2} bytes written per vector byte",
        100.0 * durable / memory,
        stats.checkpoints,
        stats.write_amplification(),
    );
    let journal = stats.journal_bytes;
    drop(collection);
    let collection = Collection::open(path)?;
    let recovery = collection.recovery();
    println!(
        "  opened after a crash in {:.3} s: {} operations applied in {:.3} s, {:.1} MB of deltas copied; {:.1} MB of journal",
        recovery.total.as_secs_f64(),
        recovery.operations,
        recovery.replay.as_secs_f64(),
        stats.delta_bytes as f64 / 1e6,
        journal as f64 / 1e6,
    );
    let singles = 1000.min(rows);
    let start = Instant::now();
    for (key, vector) in (1 << 40..).zip(base.chunks_exact(*dimension).take(singles)) {
        let mut tx = collection.begin_write()?;
        tx.upsert(key, vector)?;
        tx.commit()?;
    }
    let single = start.elapsed().as_secs_f64() * 1e6 / singles as f64;
    println!("  one durable upsert a commit: {single:.0} us each");
    json.line(&format!(
        "{{\"system\": \"nearfield\", \"n\": {rows}, \"dim\": {dimension}, \"insertions_per_s\": {memory:.0}, \
         \"durable_per_s\": {durable:.0}, \"single_us\": {single:.1}, \"bytes_per_byte\": {:.3}}}",
        stats.write_amplification()
    ))?;
    Ok(())
}
