//! Removing and replacing vectors: `cargo run --release --example turnover`.
//!
//! An index of 20,000 generated vectors is turned over five times: each round removes a fifth of
//! its vectors, inserts others, and replaces a few. Recall and memory stay the same.

use std::error::Error;
use std::time::Duration;

use nearfield::dataset::Generated;
use nearfield::{Flat, Hit, Hnsw, Metric};

const COUNT: usize = 20_000;
const DIMENSION: usize = 48;
/// Vectors that leave in one round.
const PART: u64 = 4000;

fn main() -> Result<(), Box<dyn Error>> {
    // The index holds half of these vectors at a time.
    let (vectors, queries) = Generated::builder(2 * COUNT, DIMENSION).build()?.into_parts();
    let row = |key: u64| vectors.row(key as usize % vectors.len()).ok_or("no such row");
    let index = Hnsw::builder(DIMENSION, Metric::L2).build()?;
    // The exact index makes the same changes, to measure recall.
    let exact = Flat::builder(DIMENSION, Metric::L2).build()?;
    for key in 0..COUNT as u64 {
        index.insert(key, &row(key)?)?;
        exact.insert(key, &row(key)?)?;
    }
    for round in 0..=25 {
        if round % 5 == 0 {
            let truth = exact.search_batch(&queries).k(10).run()?;
            let found = index.search_batch(&queries).k(10).ef(64).run()?;
            let common = |(truth, found): (&[Hit], &[Hit])| {
                let is_true = |hit: &&Hit| truth.iter().any(|other| other.key == hit.key);
                found.iter().filter(is_true).count()
            };
            let same: usize = truth.iter().zip(found.iter()).map(common).sum();
            println!(
                "turned over {} times: {} vectors, recall@10 {:.3}, {} bytes a vector",
                round / 5,
                index.len(),
                same as f64 / (10 * truth.len()) as f64,
                index.stats().bytes.total() / index.len()
            );
        }
        let oldest = round * PART;
        for key in oldest..oldest + PART {
            let new = key + COUNT as u64;
            for removed in [index.remove(key)?, exact.remove(key)?] {
                assert!(removed, "{key} was there");
            }
            index.insert(new, &row(new)?)?;
            exact.insert(new, &row(new)?)?;
        }
        // The vector of a key that stays becomes another one.
        let key = oldest + PART;
        index.upsert(key, &row(key + 7)?)?;
        exact.upsert(key, &row(key + 7)?)?;
    }
    // `maintain` repairs links and gives memory back, for a tenth of a second at most.
    index.maintain(Duration::from_millis(100));
    let report = index.check();
    println!("{report}");
    assert!(report.is_ok());
    Ok(())
}
