//! Searching while inserting: `cargo run --release --example concurrent`.
//!
//! Two threads insert 20,000 generated vectors while two others search. No lock is needed around
//! the index, and no capacity is declared. At the end the graph is checked, and the answers are compared with those of an exact index.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nearfield::dataset::{Generated, GroundTruth, Vectors, recall};
use nearfield::{Flat, Hnsw, IndexError, Metric};

const ROWS: usize = 20_000;
const DIMENSION: usize = 64;
const WRITERS: usize = 2;
const READERS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let (base, queries) = Generated::builder(ROWS, DIMENSION).build()?.into_parts();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build()?;
    let done = AtomicBool::new(false);
    let next = AtomicUsize::new(0);

    let seen = thread::scope(|scope| {
        let readers: Vec<_> =
            (0..READERS).map(|_| scope.spawn(|| read(&index, &queries, &done))).collect();
        let writers: Vec<_> =
            (0..WRITERS).map(|_| scope.spawn(|| write(&index, &base, &next))).collect();
        let written: Result<(), IndexError> =
            writers.into_iter().try_for_each(|writer| writer.join().expect("a writer"));
        done.store(true, Ordering::Release);
        let seen: Result<Vec<Seen>, IndexError> =
            readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
        written.and(seen)
    })?;
    for (i, seen) in seen.iter().enumerate() {
        println!(
            "reader {i}: {} searches; the index had {} vectors at the first and {} at the last",
            seen.searches, seen.first_len, seen.last_len
        );
    }

    let report = index.check();
    println!("{report}");
    if !report.is_ok() {
        return Err("the graph is not sound".into());
    }
    println!("recall@10 at ef 100: {:.4}", recall_of(&index, &base, &queries)?);
    Ok(())
}

/// Inserts the next vector until none is left.
fn write(index: &Hnsw, base: &Vectors, next: &AtomicUsize) -> Result<(), IndexError> {
    while let Some(vector) = {
        let row = next.fetch_add(1, Ordering::Relaxed);
        base.row(row).map(|vector| (row as u64, vector))
    } {
        index.insert(vector.0, &vector.1)?;
    }
    Ok(())
}

/// The observations of a reader.
struct Seen {
    searches: usize,
    first_len: usize,
    last_len: usize,
}

/// Searches until the writers are done.
fn read(index: &Hnsw, queries: &Vectors, done: &AtomicBool) -> Result<Seen, IndexError> {
    let mut seen = Seen { searches: 0, first_len: index.len(), last_len: 0 };
    for query in queries.iter().cycle() {
        if done.load(Ordering::Acquire) {
            break;
        }
        let hits = index.search(&query).k(10).ef(50).run()?;
        // Hits are always sorted, because a search sees no half-made vector.
        assert!(hits.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
        seen.searches += 1;
    }
    seen.last_len = index.len();
    Ok(seen)
}

/// Returns the share of exact neighbours that the index finds.
fn recall_of(index: &Hnsw, base: &Vectors, queries: &Vectors) -> Result<f64, Box<dyn Error>> {
    let exact = Flat::builder(DIMENSION, Metric::L2).build()?;
    let keys: Vec<u64> = (0..ROWS as u64).collect();
    exact.insert_batch(&keys, base).run()?;
    let exact = exact.search_batch(queries).k(10).run()?;
    let ids = exact.iter().flatten().map(|hit| hit.key as u32).collect();
    let truth = GroundTruth::from_parts(10, ids, None)?;
    let found = index.search_batch(queries).k(10).ef(100).run()?;
    let found = found.iter().map(|hits| hits.iter().map(|hit| hit.key));
    Ok(recall(found, &truth, 10)?)
}
