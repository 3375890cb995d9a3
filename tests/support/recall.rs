//! The share of the true neighbours that a search finds.

use nearfield::{BatchHits, Flat, Hit, Hnsw};

/// Returns the share of the exact ten nearest that the index finds.
pub(crate) fn recall_of(index: &Hnsw, exact: &Flat, queries: &[f32], ef: usize) -> f64 {
    recall_beside(&exact.search_batch(queries).k(10).run().unwrap(), index, queries, ef)
}

/// Returns the share of these true neighbours, ten of each query, that the index finds.
pub(crate) fn recall_beside(truth: &BatchHits, index: &Hnsw, queries: &[f32], ef: usize) -> f64 {
    let found = index.search_batch(queries).k(10).ef(ef).threads(1).run().unwrap();
    let hits = found.iter().zip(truth.iter()).map(|(found, truth)| shared(found, truth));
    hits.sum::<usize>() as f64 / (truth.len() * 10) as f64
}

/// Returns the number of keys that both answers have.
pub(crate) fn shared(hits: &[Hit], truth: &[Hit]) -> usize {
    truth.iter().filter(|t| hits.iter().any(|hit| hit.key == t.key)).count()
}
