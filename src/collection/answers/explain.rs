//! The way in which a search under a predicate is executed, with the time of each part.

use std::fmt;
use std::time::Duration;

use super::source::Source;
use crate::attributes::Predicate;
use crate::clock::Instant;
use crate::collection::attributes::{Evaluation, Step};
use crate::collection::error::CollectionError;
use crate::index::{AnyKey, Search, SearchPlan};

/// The execution of a search under a predicate: estimate and truth, the steps of evaluating the predicate, the plan of the search, and the time
/// of each part. Made by [`Search::explain`]; as text it is for a person.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The predicate.
    pub predicate: String,
    /// Vectors of the collection.
    pub vectors: usize,
    /// Keys for which the predicate is true, as the index lets expect.
    pub estimated: u64,
    /// Keys for which the predicate is true.
    pub matching: usize,
    /// The steps of evaluating the predicate, in their order.
    pub steps: Vec<Step>,
    /// How the search was executed.
    pub plan: SearchPlan,
    /// Answers of the search.
    pub answers: usize,
    /// Distances that the search computed.
    pub distances: u64,
    /// Rows of the graph that the search read.
    pub hops: u64,
    /// Whether the search ran to its end.
    pub is_complete: bool,
    /// The time of the estimate for the whole predicate, which only an explanation makes.
    pub estimating: Duration,
    /// The time of evaluating the predicate, with the estimates that put its clauses in order.
    pub evaluating: Duration,
    /// The time of the search for the nearest of the matching keys.
    pub searching: Duration,
}

impl<'a> Search<'a, AnyKey, Source<'a>> {
    /// Runs the search among the keys for which a predicate is true, and returns how it was executed. It does the same as
    /// [`Collection::matching`](crate::Collection::matching) and a search with the selection, and keeps the keys in the same way: explained once
    /// more, they are [`Kept`](crate::collection::StepSource::Kept).
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-explain-{}.nf", std::process::id()));
    /// use nearfield::search::SearchPlan;
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let films = Collection::builder(1, Metric::L2).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// for key in 0..1000 {
    ///     tx.upsert(key, &[key as f32])?;
    ///     tx.set(key, attributes! { "year" => 1900 + key as i64 % 100, "silent" => key % 100 < 30 })?;
    /// }
    /// tx.commit()?;
    /// let explained = films.search(&[500.0]).k(3).explain(&"year < 1960 and silent = false".parse()?)?;
    /// println!("{explained}");
    /// assert_eq!((explained.matching, explained.answers), (300, 3));
    /// assert_eq!(explained.steps.last().map(|step| step.left), Some(300));
    /// assert!(explained.estimated.abs_diff(300) < 150);
    /// assert_ne!(explained.plan, SearchPlan::Walk, "the plans of filtered searches are others");
    /// # drop(films);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::Attribute`] if the predicate is invalid, [`CollectionError::Index`] with the errors of a search,
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn explain(self, predicate: &Predicate) -> Result<Explanation, CollectionError> {
        let (search, _, source) = self.begin();
        let evaluation = source.moment().and_then(|moment| moment.evaluate(predicate));
        let Evaluation { selection, estimated, estimating, evaluating, steps } =
            evaluation.map_err(source.place())?;
        let start = Instant::now();
        let hits = search.filter(&selection).run()?;
        Ok(Explanation {
            predicate: predicate.to_string(),
            vectors: source.len(),
            estimated,
            matching: selection.len(),
            steps,
            plan: hits.plan(),
            answers: hits.len(),
            distances: hits.distances_computed(),
            hops: hits.hops(),
            is_complete: hits.is_complete(),
            estimating,
            evaluating,
            searching: start.elapsed(),
        })
    }
}

/// Returns the plan in words.
fn words(plan: SearchPlan) -> &'static str {
    match plan {
        SearchPlan::Walk => "a walk",
        SearchPlan::Probe => "a scan of the nearest lists",
        SearchPlan::Scan => "a scan of all vectors",
        SearchPlan::FilteredScan => "a scan of the matching vectors",
        SearchPlan::FilteredWalk => "a walk over all vectors that keeps the matching ones",
        SearchPlan::DirectedTwoHop => "a walk over matching vectors, through the nearest others",
        SearchPlan::BlindTwoHop => "a walk over matching vectors, through any others",
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vectors, estimated, matching, answers, distances, hops, .. } = self;
        let share = 100.0 / (*vectors).max(1) as f64;
        writeln!(f, "{}", self.predicate)?;
        writeln!(
            f,
            "  expected: {estimated} of {vectors} ({:.2} %), in {:.1?}",
            *estimated as f64 * share,
            self.estimating
        )?;
        writeln!(
            f,
            "  matching: {matching} ({:.2} %), in {:.1?}",
            *matching as f64 * share,
            self.evaluating
        )?;
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "    {number}. {step}")?;
        }
        let end = if self.is_complete { "" } else { ", stopped before its end" };
        write!(
            f,
            "  search: {}, {answers} answers, {distances} distances, {hops} hops, in {:.1?}{end}",
            words(self.plan),
            self.searching
        )
    }
}
