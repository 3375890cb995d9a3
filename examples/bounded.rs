//! Searches that end in time: `cargo run --release --example bounded`.
//!
//! A search among 100,000 generated vectors runs with a high `ef`, first without a deadline and then with ever shorter ones; a second
//! thread cancels another search; and calibration finds the `ef` at which a search reaches a given recall.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use nearfield::dataset::Generated;
use nearfield::{CancelToken, Flat, Hnsw, Metric};

const COUNT: usize = 100_000;
const DIMENSION: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let (base, queries) = Generated::builder(COUNT, DIMENSION).build()?.into_parts();
    let keys: Vec<u64> = (0..COUNT as u64).collect();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build()?;
    index.insert_batch(&keys, &base).run()?;
    let exact = Flat::builder(DIMENSION, Metric::L2).build()?;
    exact.insert_batch(&keys, &base).run()?;
    let query = queries.row(0).ok_or("no query")?;
    let truth = exact.search(&query).k(10).run()?;

    for micros in [u64::MAX, 1000, 300, 100] {
        let deadline = Duration::from_micros(micros);
        let start = Instant::now();
        let hits = index.search(&query).k(10).ef(5000).timeout(deadline).run()?;
        let took = start.elapsed();
        let same = truth.keys().filter(|key| hits.keys().any(|found| found == *key)).count();
        let end = if hits.is_complete() { "complete" } else { "broken off" };
        println!("ef 5000: {took:>9.1?}, {end}, {} hits, {same} of the nearest", hits.len());
    }

    // Another thread ends a whole batch: queries that were not begun have no hits.
    let cancel = CancelToken::new();
    let batch = thread::scope(|scope| {
        let token = cancel.clone();
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            token.cancel();
        });
        exact.search_batch(&queries).cancel(&cancel).run()
    })?;
    let done = (0..batch.len()).filter(|&i| batch.completed(i) == Some(true)).count();
    println!("{done} of {} exact searches were done when they were cancelled", batch.len());

    // Users want to bound the recall; `calibrate` measures the `ef` for it.
    let calibration = index.calibrate().queries(&queries).run()?;
    for point in &calibration.points {
        println!(
            "ef {:>4}: recall@10 {:.4}, at least {:.4}",
            point.ef, point.recall, point.lower_bound
        );
    }
    let hits = index.search(&query).recall(0.9).run()?;
    println!("recall 0.9: {} distances", hits.distances_computed());
    let hits = index.search(&query).recall(0.99).run()?;
    println!("recall 0.99: {} distances", hits.distances_computed());
    Ok(())
}
