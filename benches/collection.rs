//! What a collection costs: opening, searching in the map, durable inserts, bytes written.
//!
//! `cargo bench --bench collection -- [ROWS] [DIMENSION] [EF_CONSTRUCTION]`; 100,000 x 128 and 200 if not said. Comparisons are of one run: the same queries on
//! the same graph in memory and in the map, the same batches into an index in memory and into a collection.
#![allow(clippy::print_stdout, reason = "it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nearfield::dataset::{Generated, Vectors};
use nearfield::{AsVector, Collection, Config, Hnsw, Metric, VectorRef};

const CHILD: &str = "NEARFIELD_BENCH_CHILD";
const BATCH: usize = 1000;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn floats(vectors: &Vectors) -> &[f32] {
    match vectors.as_vector() {
        VectorRef::F32(floats) => floats,
        _ => &[],
    }
}

/// A line of `/proc/self/status`, in MiB.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Opens the collection in a process of its own, and answers one query.
fn open_once(path: &Path, dimension: usize) {
    let before = status("VmRSS");
    let query = vec![0.25_f32; dimension];
    let start = Instant::now();
    let collection = Collection::open(path, Config::new(dimension, Metric::L2)).unwrap();
    let opened = start.elapsed();
    let resident = status("VmRSS") - before;
    let hits = collection.search(&query).k(10).ef(64).run().unwrap();
    let answered = start.elapsed();
    println!(
        "  open {:.2} ms, first answer after {:.2} ms ({} hits); resident memory {:.1} MiB before the search, {:.1} after",
        opened.as_secs_f64() * 1e3,
        answered.as_secs_f64() * 1e3,
        hits.len(),
        resident,
        status("VmRSS") - before,
    );
}

/// Queries a second on one thread, for about a second.
fn qps(index: &Hnsw, queries: &[f32], dimension: usize, ef: usize) -> f64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(1) {
        for query in queries.chunks_exact(dimension) {
            std::hint::black_box(index.search(query).k(10).ef(ef).run().unwrap());
            count += 1;
        }
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let rows = numbers.next().unwrap_or(100_000);
    let dimension = numbers.next().unwrap_or(128);
    let ef_construction = numbers.next().unwrap_or(200);
    if let Some(path) = std::env::var_os(CHILD) {
        return open_once(Path::new(&path), dimension);
    }
    let folder = std::env::temp_dir().join(format!("nearfield-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let scratch = Scratch(folder);
    let path = scratch.0.join("collection.nf");
    let data = Generated::builder(rows, dimension).queries(2000).build().unwrap();
    let (base, queries) = (floats(data.base()), floats(data.queries()));
    let keys: Vec<u64> = (0..rows as u64).collect();

    println!("{rows} x {dimension} f32, L2");
    let builder = Hnsw::builder(dimension, Metric::L2).ef_construction(ef_construction);
    let index = builder.build().unwrap();
    let start = Instant::now();
    index.insert_batch(&keys, base).run().unwrap();
    println!("  built in memory in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    index.save(&path).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "  saved in {seconds:.2} s: {:.1} MB, {:.0} MB/s",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds
    );

    for _ in 0..3 {
        let status = Command::new(std::env::current_exe().unwrap())
            .args([rows.to_string(), dimension.to_string()])
            .env(CHILD, &path)
            .status()
            .unwrap();
        assert!(status.success());
    }

    let start = Instant::now();
    let loaded = Hnsw::load(&path).unwrap();
    println!("  loaded and verified in {:.2} s", start.elapsed().as_secs_f64());
    let mapped = Hnsw::open(&path).unwrap();
    for ef in [32, 64, 128] {
        // Warm: the second time counts.
        qps(&mapped, queries, dimension, ef);
        let rounds: Vec<[f64; 3]> = (0..5)
            .map(|_| [&index, &loaded, &mapped].map(|index| qps(index, queries, dimension, ef)))
            .collect();
        let median = |at: usize| {
            let mut all: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!(
            "  ef {ef}: {:.0} queries/s as built, {:.0} loaded, {:.0} in the map ({:.1} % of loaded)",
            median(0),
            median(1),
            median(2),
            100.0 * median(2) / median(1)
        );
    }
    drop((loaded, mapped, index));
    let collection = Collection::open(&path, Config::new(dimension, Metric::L2)).unwrap();
    let start = Instant::now();
    collection.load().unwrap();
    println!("  collection loaded and verified in place in {:.2} s", start.elapsed().as_secs_f64());
    drop(collection);

    let durable = rows.min(100_000);
    println!("batches of {BATCH}, {durable} in all");
    let index = Hnsw::builder(dimension, Metric::L2).build().unwrap();
    let path = scratch.0.join("durable.nf");
    let collection = Collection::create(&path, Config::new(dimension, Metric::L2)).unwrap();
    let mut times = [Duration::ZERO; 2];
    for (keys, vectors) in keys[..durable].chunks(BATCH).zip(base.chunks(BATCH * dimension)) {
        // One after the other, so that both meet the same load of the machine.
        let start = Instant::now();
        index.insert_batch(keys, vectors).run().unwrap();
        times[0] += start.elapsed();
        let start = Instant::now();
        let mut tx = collection.begin_write().unwrap();
        tx.upsert_batch(keys, vectors).unwrap();
        tx.commit().unwrap();
        times[1] += start.elapsed();
    }
    let rate = |time: Duration| durable as f64 / time.as_secs_f64();
    let stats = collection.stats().unwrap();
    println!(
        "  {:.0} vectors/s in memory, {:.0} durable ({:.0} %); {} checkpoints, {:.2} bytes written per vector byte",
        rate(times[0]),
        rate(times[1]),
        100.0 * times[0].as_secs_f64() / times[1].as_secs_f64(),
        stats.checkpoints,
        stats.write_amplification(),
    );
    let journal = stats.journal_bytes;
    drop(collection);
    let collection = Collection::open(&path, Config::new(dimension, Metric::L2)).unwrap();
    let recovery = collection.recovery();
    println!(
        "  opened after a crash: {} operations ({:.1} MB of journal) applied in {:.2} s",
        recovery.operations,
        journal as f64 / 1e6,
        recovery.replay.as_secs_f64()
    );
    let singles = 1000.min(rows);
    let start = Instant::now();
    for (key, vector) in (1 << 40..).zip(base.chunks_exact(dimension).take(singles)) {
        let mut tx = collection.begin_write().unwrap();
        tx.upsert(key, vector).unwrap();
        tx.commit().unwrap();
    }
    let per = start.elapsed().as_secs_f64() * 1e6 / singles as f64;
    println!("  one durable upsert a commit: {per:.0} us each");
}
