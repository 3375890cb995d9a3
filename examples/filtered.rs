//! Searching among some of the vectors only: `cargo run --release --example filtered`.
//!
//! 50,000 generated vectors are products with a price and a shop. The same query runs under filters that accept ever fewer of them, as
//! a closure, a set and a bitmap; the program prints the plan of each search, and compares its answer with the exact one.

use std::error::Error;

use nearfield::dataset::Generated;
use nearfield::{Filter, Flat, Hnsw, KeyBitmap, KeySet, Metric, VectorRef};

const PRODUCTS: usize = 50_000;
const DIMENSION: usize = 64;

fn price(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57
}

fn main() -> Result<(), Box<dyn Error>> {
    let (base, queries) = Generated::builder(PRODUCTS, DIMENSION).build()?.into_parts();
    let keys: Vec<u64> = (0..PRODUCTS as u64).collect();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build()?;
    index.insert_batch(&keys, &base).run()?;
    let exact = Flat::builder(DIMENSION, Metric::L2).build()?;
    exact.insert_batch(&keys, &base).run()?;
    let query = queries.row(0).ok_or("no query")?;

    // Any closure over keys is a filter.
    show("price below 100", &index, &exact, &query, |key: u64| price(key) < 100)?;
    show("price below 20", &index, &exact, &query, |key: u64| price(key) < 20)?;

    // A set knows the number of keys that it accepts: the search tests few keys one by one.
    let shop: KeySet = (1000..1200).collect();
    show("one shop", &index, &exact, &query, &shop)?;

    // A bitmap is the fastest if keys are dense; it borrows its words from the caller.
    let words = vec![0x1111_1111_1111_1111_u64; PRODUCTS / 64];
    show("every fourth", &index, &exact, &query, KeyBitmap::new(&words))
}

fn show<F: Filter + Copy>(
    what: &str,
    index: &Hnsw,
    exact: &Flat,
    query: &VectorRef<'_>,
    filter: F,
) -> Result<(), Box<dyn Error>> {
    let hits = index.search(query).k(10).filter(filter).run()?;
    let truth = exact.search(query).k(10).filter(filter).run()?;
    if hits.len() != truth.len() || !hits.keys().all(|key| filter.accepts(key)) {
        return Err("a filter's promise is broken".into());
    }
    let same = truth.keys().filter(|key| hits.keys().any(|found| found == *key)).count();
    println!(
        "{what:<16} {} hits, {same} of the exact ones, {:?}, {} distances",
        hits.len(),
        hits.plan(),
        hits.distances_computed()
    );
    Ok(())
}
