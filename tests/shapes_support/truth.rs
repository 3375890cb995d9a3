//! Exact neighbours, and the share of them that is found.

use nearfield::{Element, Flat, Metric, Originals};
use rayon::prelude::*;

use super::{Shape, exact};

/// Neighbours to find.
pub(crate) const K: usize = 10;

/// The exact distances of queries and vectors as they are stored.
pub(crate) struct Truth {
    metric: Metric,
    /// Lengths of the vectors, which are 1 under the cosine.
    lengths: Vec<f64>,
    queries: Vec<Query>,
}

struct Query {
    length: f64,
    /// Distances to each vector.
    distances: Vec<f64>,
    /// The greatest distance of a neighbour.
    kth: f64,
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
                // The rounding of a sum of products depends on its terms, which may cancel.
                Metric::InnerProduct => 2e-7 * largest(query) * largest(&vectors),
                _ => 2e-6 * kth.abs(),
            };
            Query { length: length(query, metric), distances, kth: kth + rounding }
        });
        let lengths = vectors.chunks(dimension).map(|vector| length(vector, metric)).collect();
        Self { metric, lengths, queries: queries.collect() }
    }

    /// Returns the share of the answers that are as near as the true neighbour of the last rank, within the precision of `f32`.
    pub(crate) fn recall(&self, found: &[Vec<u64>]) -> f64 {
        self.recall_of_rounded(found, 0.0)
    }

    /// Returns the share of the answers that may be among the nearest if all vectors and queries are off by this share of their lengths.
    pub(crate) fn recall_of_rounded(&self, found: &[Vec<u64>], share: f64) -> f64 {
        let near = |(keys, query): (&Vec<u64>, &Query)| {
            assert!(keys.len() == K, "{} answers", keys.len());
            let is_near = |&&key: &&u64| {
                let (distance, own) = (query.distances[key as usize], self.lengths[key as usize]);
                match self.metric {
                    Metric::InnerProduct => {
                        distance <= query.kth + 2.0 * share * query.length * own
                    }
                    metric => {
                        // The cosine is half of the squared distance of unit vectors.
                        let factor = if metric == Metric::Cosine { 2.0 } else { 1.0 };
                        let root = |distance: f64| (factor * distance).max(0.0).sqrt();
                        let allowed = root(query.kth) + share * (query.length + own);
                        distance <= query.kth || root(distance) <= allowed
                    }
                }
            };
            keys.iter().filter(is_near).count()
        };
        let near: usize = found.iter().zip(&self.queries).map(near).sum();
        near as f64 / (K * self.queries.len()) as f64
    }
}

fn length(vector: &[f32], metric: Metric) -> f64 {
    if metric == Metric::Cosine {
        return 1.0;
    }
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// Returns the average error of a vector as a share of its length, as the docs of [`Originals`] say.
pub(crate) fn rounding(originals: Originals) -> f64 {
    match originals {
        Originals::Sq12 => 0.00075,
        Originals::Kept => 0.0,
        _ => 0.01,
    }
}

fn largest(vector: &[f32]) -> f64 {
    f64::from(vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs())))
}

/// Returns vectors as an index of these elements stores them.
fn stored(vectors: &[f32], dimension: usize, metric: Metric, element: Element) -> Vec<f32> {
    let flat = Flat::builder(dimension, metric).element(element).build().unwrap();
    let keys: Vec<u64> = (0..(vectors.len() / dimension) as u64).collect();
    flat.insert_batch(&keys, vectors).run().unwrap();
    keys.iter().flat_map(|&key| flat.get(key).unwrap()).collect()
}
