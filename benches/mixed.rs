//! Searches beside insertions: `cargo bench --bench mixed -- [--dataset DIR] [--seconds N] [--json FILE]`.
//!
//! One thread searches without a pause while another inserts at a steady pace: none, 1,000 and
//! 10,000 a second. The bench reports the time of searches at the median, the 99th and the 99.9th percentile, and the number of
//! insertions. Without a data set, 100,000 x 64 are generated; half are in the
//! index at the beginning.

mod input;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use input::{Arguments, Input};
use nearfield::{Hits, Hnsw, IndexError};

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::read(&["dataset", "seconds", "json"])?;
    let seconds = args.value("seconds", 5)?;
    let mut json = args.json()?;
    let Input { base, queries, metric, dimension } = args.input(100_000, 64)?;
    let count = base.len() / dimension;
    let (first, rest) = base.split_at(count / 2 * dimension);
    println!("{count} x {dimension}, {metric}, half of them at first; {seconds} s each");
    println!("inserts/s  inserted  searches       p50       p99     p99.9       max");
    for pace in [0_u32, 1000, 10_000] {
        // The graph is built anew for each pace, so that all paces begin alike.
        let graph = Hnsw::builder(dimension, metric).build()?;
        let keys: Vec<u64> = (0..(count / 2) as u64).collect();
        graph.insert_batch(&keys, first).threads(2).run()?;
        let stop = AtomicBool::new(false);
        let (inserted, mut took) = thread::scope(|scope| {
            let writer = scope.spawn(|| insert(&graph, rest, dimension, pace, &stop));
            let took = search(&graph, &queries, dimension, Duration::from_secs(seconds));
            stop.store(true, Ordering::Relaxed);
            let inserted = writer.join().map_err(|_| "the writer panicked")??;
            Ok::<_, Box<dyn Error>>((inserted, took?))
        })?;
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let (searches, worst) = (took.len(), at(1.0));
        println!(
            "{pace:>9} {inserted:>9} {searches:>9} {:>9.1?} {:>9.1?} {:>9.1?} {worst:>9.1?}",
            at(0.5),
            at(0.99),
            at(0.999),
        );
        json.line(&format!(
            "{{\"system\": \"nearfield\", \"n\": {count}, \"dim\": {dimension}, \
             \"metric\": \"{metric}\", \"pace\": {pace}, \"inserted\": {inserted}, \
             \"searches\": {searches}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \
             \"p999_us\": {:.1}}}",
            at(0.5).as_secs_f64() * 1e6,
            at(0.99).as_secs_f64() * 1e6,
            at(0.999).as_secs_f64() * 1e6,
        ))?;
    }
    Ok(())
}

/// Returns the time of each search.
fn search(
    graph: &Hnsw,
    queries: &[f32],
    dimension: usize,
    time: Duration,
) -> Result<Vec<Duration>, IndexError> {
    let mut took = Vec::with_capacity(1 << 20);
    let mut hits = Hits::new();
    let end = Instant::now() + time;
    for query in queries.chunks(dimension).cycle() {
        let start = Instant::now();
        if start >= end {
            break;
        }
        graph.search(query).run_into(&mut hits)?;
        took.push(start.elapsed());
    }
    Ok(took)
}

/// Inserts at a pace until it is stopped or no vector is left. Returns the number of insertions.
fn insert(
    graph: &Hnsw,
    vectors: &[f32],
    dimension: usize,
    pace: u32,
    stop: &AtomicBool,
) -> Result<usize, IndexError> {
    let first = graph.len() as u64;
    let start = Instant::now();
    let mut inserted = 0;
    if pace == 0 {
        return Ok(0);
    }
    for vector in vectors.chunks(dimension) {
        let due = start + Duration::from_secs(1) * inserted as u32 / pace;
        while Instant::now() < due {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        graph.insert(first + inserted as u64, vector)?;
        inserted += 1;
    }
    Ok(inserted)
}
