//! Diverse answers: maximal marginal relevance (Carbonell and Goldstein, 1998).

use super::fetch::Fetch;
use super::source::Source;
use crate::distance::Distance;
use crate::error::IndexError;
use crate::index::{Hit, Search};
use crate::metric::Metric;
use crate::vector::Element;

/// The selection of diverse answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Diversity {
    /// The share of the distance from the query, the rest being that from other answers.
    lambda: f32,
    /// Answers of the search, of which some are selected.
    fetch: usize,
}

impl<'a, F, S: Into<Fetch<'a>>> Search<'a, F, S> {
    /// Selects the answers among the `fetch` nearest, so that they differ from each other: the nearest first, then each time the one with the
    /// greatest `(1 - lambda) * d - lambda * q`, where `q` is its distance from the query, and `d` its least distance from those that are selected
    /// (maximal marginal relevance). So a `lambda` of 1 gives the nearest, and one of 0 the most different. Equal ones are taken in the order of
    /// nearness.
    ///
    /// Answers are in the order of their selection. Distances among them are computed from their vectors, `k * fetch` of them, in the unit of
    /// the metric. At least `k` answers are fetched.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-diverse-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric};
    ///
    /// let texts = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = texts.begin_write()?;
    /// // Two that are nearly the same, and another one.
    /// tx.upsert_batch(&[1, 2, 3], &[[0.10, 0.0], [0.11, 0.0], [0.0, 0.2]])?;
    /// tx.commit()?;
    /// let keys = |lambda| -> Result<Vec<u64>, nearfield::CollectionError> {
    ///     let answers = texts.search(&[0.0, 0.0]).k(2).diverse(lambda, 20).run()?;
    ///     Ok(answers.iter().map(|answer| answer.key).collect())
    /// };
    /// assert_eq!(keys(1.0)?, [1, 2]);
    /// assert_eq!(keys(0.5)?, [1, 3]);
    /// # drop(texts);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    pub fn diverse(self, lambda: f32, fetch: usize) -> Search<'a, F, Fetch<'a>> {
        self.fetching(|fetching| fetching.diversity = Some(Diversity { lambda, fetch }))
    }
}

impl Diversity {
    /// Refuses a `lambda` that is no share.
    pub(super) fn check(self) -> Result<Self, IndexError> {
        if (0.0..=1.0).contains(&self.lambda) {
            return Ok(self);
        }
        let value = self.lambda.to_string();
        Err(IndexError::Parameter { name: "lambda", value, allowed: "0 to 1" })
    }

    /// Returns the number of answers to fetch for `k` of them.
    pub(super) fn fetched(self, k: usize) -> usize {
        k.max(self.fetch)
    }

    /// Returns `k` of the hits. Those whose vectors were removed meanwhile are none of them.
    pub(super) fn select(
        self,
        hits: &[Hit],
        k: usize,
        source: Source<'_>,
    ) -> Result<Vec<Hit>, IndexError> {
        // Of numbers 0 and 1, the squared differences are the differing bits.
        let metric = match source.metric() {
            Metric::Hamming => Metric::L2,
            metric => metric,
        };
        let distance = Distance::new(metric, Element::F32)?;
        let (mut left, mut vectors): (Vec<Hit>, Vec<f32>) = (Vec::new(), Vec::new());
        for hit in hits {
            if let Some(vector) = source.vector(hit.key) {
                left.push(*hit);
                vectors.extend(vector);
            }
        }
        let dimension = vectors.len() / left.len().max(1);
        let mut least = vec![f32::INFINITY; left.len()];
        let mut is_taken = vec![false; left.len()];
        let mut distances = vec![0.0; left.len()];
        let mut selected = Vec::with_capacity(k.min(left.len()));
        // The nearest is the first.
        let mut next = (!left.is_empty()).then_some(0);
        while let Some(at) = next.filter(|_| selected.len() < k) {
            is_taken[at] = true;
            selected.push(left[at]);
            let own = &vectors[at * dimension..(at + 1) * dimension];
            distance.many(&own, &vectors, &mut distances)?;
            for (least, &distance) in least.iter_mut().zip(&distances) {
                *least = least.min(distance);
            }
            let worth = |at: usize| {
                let lambda = f64::from(self.lambda);
                (1.0 - lambda) * f64::from(least[at]) - lambda * f64::from(left[at].distance)
            };
            let rest = (0..left.len()).filter(|&at| !is_taken[at]);
            next = rest.reduce(|best, at| if worth(at) > worth(best) { at } else { best });
        }
        Ok(selected)
    }
}
