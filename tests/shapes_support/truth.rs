//! Exact neighbours, and how many of them are found.

use nearfield::{Element, Flat, Metric};
use rayon::prelude::*;

use super::{Shape, exact};

/// Neighbours that are looked for.
pub(crate) const K: usize = 10;

/// The exact distances of queries and vectors as they are stored.
pub(crate) struct Truth {
    /// Of each query to each vector, and the greatest of a neighbour.
    queries: Vec<(Vec<f64>, f64)>,
}

impl Truth {
    pub(crate) fn new(shape: &Shape, metric: Metric, element: Element) -> Self {
        let dimension = shape.dimension;
        let (vectors, queries) = if element == Element::F32 {
            (shape.all(), shape.queries.clone())
        } else {
            (
                stored(&shape.all(), dimension, metric, element),
                stored(&shape.queries, dimension, metric, element),
            )
        };
        let queries = queries.par_chunks(dimension).map(|query| {
            let distances: Vec<f64> =
                vectors.chunks(dimension).map(|vector| exact(metric, query, vector)).collect();
            let mut sorted = distances.clone();
            let (_, &mut kth, _) = sorted.select_nth_unstable_by(K - 1, f64::total_cmp);
            let rounding = match metric {
                Metric::Cosine => 2e-7,
                // Sums of products are rounded by what is in them, which may come to nothing together.
                Metric::InnerProduct => 2e-7 * largest(query) * largest(&vectors),
                _ => 2e-6 * kth.abs(),
            };
            (distances, kth + rounding)
        });
        Self { queries: queries.collect() }
    }

    /// The share of the answers that are as near as the true neighbour of the last rank, up to what `f32` can tell.
    pub(crate) fn recall(&self, found: &[Vec<u64>]) -> f64 {
        let near = |(keys, (distances, kth)): (&Vec<u64>, &(Vec<f64>, f64))| {
            assert!(keys.len() == K, "{} answers", keys.len());
            keys.iter().filter(|&&key| distances[key as usize] <= *kth).count()
        };
        let near: usize = found.iter().zip(&self.queries).map(near).sum();
        near as f64 / (K * self.queries.len()) as f64
    }
}

fn largest(vector: &[f32]) -> f64 {
    f64::from(vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs())))
}

/// Vectors as an index of these elements has them.
fn stored(vectors: &[f32], dimension: usize, metric: Metric, element: Element) -> Vec<f32> {
    let flat = Flat::builder(dimension, metric).element(element).build().unwrap();
    let keys: Vec<u64> = (0..(vectors.len() / dimension) as u64).collect();
    flat.insert_batch(&keys, vectors).run().unwrap();
    keys.iter().flat_map(|&key| flat.get(key).unwrap()).collect()
}
