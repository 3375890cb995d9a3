//! Keys, and data sets that the repository has.

use nearfield::dataset::{Dataset, Generated};

/// Returns the keys from 0 on.
pub(crate) fn keys(count: usize) -> Vec<u64> {
    keys_of(0..count)
}

pub(crate) fn keys_of(range: std::ops::Range<usize>) -> Vec<u64> {
    range.map(|key| key as u64).collect()
}

/// Returns keys with gaps between them, none of which equals the position of its vector.
pub(crate) fn sparse_keys(count: usize) -> Vec<u64> {
    (0..count as u64).map(|i| i * 7 + 3).collect()
}

/// Opens a data set of `benches/data`.
pub(crate) fn carried(name: &str) -> Dataset {
    Dataset::open(format!("{}/benches/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Returns vectors of words.
pub(crate) fn words() -> Dataset {
    carried("words-100-10k")
}

/// Returns generated vectors, without queries.
pub(crate) fn generated(count: usize, dimension: usize) -> Vec<f32> {
    Generated::builder(count, dimension).seed(5).build().unwrap().base().to_f32().unwrap()
}
