//! Exact neighbours, and the share of them that is found.

use std::borrow::Cow;
use std::sync::{LazyLock, OnceLock};

use nearfield::{Element, Flat, Metric, Originals};

use crate::data::{METRICS, SHAPES, Shape, exact, inner};

/// Neighbours to find.
pub(crate) const K: usize = 10;

/// The exact distances of the neighbours of queries, among vectors as they are stored.
pub(crate) struct Truth<'s> {
    metric: Metric,
    dimension: usize,
    vectors: Cow<'s, [f32]>,
    queries: Cow<'s, [f32]>,
    /// The greatest distance of a neighbour of each query, with the rounding of `f32`.
    kth: Vec<f64>,
}

/// Returns the truth of a shape of [`SHAPES`], which is computed once.
pub(crate) fn truth_of(shape: usize, metric: Metric) -> &'static Truth<'static> {
    static ALL: LazyLock<Vec<[OnceLock<Truth<'static>>; 3]>> =
        LazyLock::new(|| SHAPES.iter().map(|_| Default::default()).collect());
    let at = METRICS.iter().position(|other| *other == metric).unwrap();
    // No work is divided among threads here: one that waited could begin another test, which waits for this truth.
    ALL[shape][at].get_or_init(|| Truth::new(&SHAPES[shape], metric, Element::F32))
}

impl<'s> Truth<'s> {
    pub(crate) fn new(shape: &'s Shape, metric: Metric, element: Element) -> Self {
        Self::of_queries(shape, &shape.queries, metric, element)
    }

    /// Returns the truth for other queries.
    pub(crate) fn of_queries(
        shape: &'s Shape,
        queries: &'s [f32],
        metric: Metric,
        element: Element,
    ) -> Self {
        let dimension = shape.dimension;
        let (vectors, queries) = if element == Element::F32 {
            (Cow::from(&shape.all), Cow::from(queries))
        } else {
            let [vectors, queries] =
                [&shape.all, queries].map(|rows| stored(rows, dimension, metric, element));
            (Cow::from(vectors), Cow::from(queries))
        };
        let largest_component = largest(&vectors);
        let rounded = |(kth, query): (f64, &[f32])| {
            kth + match metric {
                Metric::Cosine => 2e-7,
                // The rounding of a sum of products depends on its terms, which may cancel.
                Metric::InnerProduct => 2e-7 * largest(query) * largest_component,
                _ => 2e-6 * kth.abs(),
            }
        };
        let kth = kth_distances(&vectors, &queries, dimension, metric).into_iter();
        let kth = kth.zip(queries.chunks(dimension)).map(rounded).collect();
        Self { metric, dimension, vectors, queries, kth }
    }

    /// Returns the share of the answers that are as near as the true neighbour of the last rank, within the precision of `f32`.
    pub(crate) fn recall(&self, found: &[Vec<u64>]) -> f64 {
        self.recall_of_rounded(found, 0.0)
    }

    /// Returns the share of the answers that may be among the nearest if all vectors and queries are off by this share of their lengths.
    pub(crate) fn recall_of_rounded(&self, found: &[Vec<u64>], share: f64) -> f64 {
        let queries = self.queries.chunks(self.dimension).zip(&self.kth);
        let near = |(keys, (query, &kth)): (&Vec<u64>, (&[f32], &f64))| {
            assert!(keys.len() == K, "{} answers", keys.len());
            keys.iter().filter(|key| self.is_near(query, kth, **key, share)).count()
        };
        let near: usize = found.iter().zip(queries).map(near).sum();
        near as f64 / (K * self.kth.len()) as f64
    }

    /// Returns whether a vector may be among the nearest if vectors and queries are off by this share of their lengths.
    fn is_near(&self, query: &[f32], kth: f64, key: u64, share: f64) -> bool {
        let vector = &self.vectors[key as usize * self.dimension..][..self.dimension];
        let distance = exact(self.metric, query, vector);
        let [query, own] = [query, vector].map(|row| length(row, self.metric));
        match self.metric {
            Metric::InnerProduct => distance <= kth + 2.0 * share * query * own,
            metric => {
                // The cosine is half of the squared distance of unit vectors.
                let factor = if metric == Metric::Cosine { 2.0 } else { 1.0 };
                let root = |distance: f64| (factor * distance).max(0.0).sqrt();
                let allowed = root(kth) + share * (query + own);
                distance <= kth || root(distance) <= allowed
            }
        }
    }
}

/// Returns the greatest distance of a neighbour of each query.
pub(crate) fn kth_distances(
    vectors: &[f32],
    queries: &[f32],
    dimension: usize,
    metric: Metric,
) -> Vec<f64> {
    let squares =
        |rows: &[f32]| -> Vec<f64> { rows.chunks(dimension).map(|row| inner(row, row)).collect() };
    let (own, of_queries) = match metric {
        Metric::Cosine => (squares(vectors), squares(queries)),
        _ => (Vec::new(), Vec::new()),
    };
    let mut distances = Vec::new();
    let kth =
        |(at, query): (usize, &[f32])| {
            distances.clear();
            let rows = vectors.chunks(dimension);
            match metric {
                // As `exact` does, with each length computed once.
                Metric::Cosine => distances.extend(rows.zip(&own).map(|(vector, own)| {
                    1.0 - inner(query, vector) / (of_queries[at] * own).sqrt()
                })),
                _ => distances.extend(rows.map(|vector| exact(metric, query, vector))),
            }
            *distances.select_nth_unstable_by(K - 1, f64::total_cmp).1
        };
    queries.chunks(dimension).enumerate().map(kth).collect()
}

fn length(vector: &[f32], metric: Metric) -> f64 {
    if metric == Metric::Cosine { 1.0 } else { inner(vector, vector).sqrt() }
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
