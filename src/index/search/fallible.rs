//! Filters that may fail.

use std::fmt;
use std::iter::FusedIterator;

use super::cursor::Cursor;
use super::iter::SearchIter;
use super::{Origin, Search};
use crate::error::IndexError;
use crate::index::query::budget::CancelToken;
use crate::index::query::filter::Filter;
use crate::index::query::hits::{Hit, Hits};
use crate::sync::Mutex;

/// A closure over keys that may fail, as a filter. Made by [`Search::try_filter`].
#[derive(Clone, Copy)]
pub struct Fallible<G> {
    decide: G,
}

impl<G> Fallible<G> {
    pub(in crate::index) fn new(decide: G) -> Self {
        Self { decide }
    }
}

impl<G> fmt::Debug for Fallible<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallible").finish_non_exhaustive()
    }
}

/// The error of a search with [`try_filter`](crate::Search::try_filter). `S` is the error of the search without it.
#[derive(Debug, Clone, PartialEq)]
pub enum TryFilterError<E, S = IndexError> {
    /// The search was refused, or failed.
    Search(S),
    /// The filter failed: its first error.
    Filter(E),
}

impl<E: fmt::Display, S: fmt::Display> fmt::Display for TryFilterError<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Search(error) => error.fmt(f),
            Self::Filter(error) => write!(f, "the filter failed: {error}"),
        }
    }
}

impl<E, S> std::error::Error for TryFilterError<E, S>
where
    E: std::error::Error + 'static,
    S: std::error::Error + 'static,
{
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Search(error) => error.source(),
            Self::Filter(error) => Some(error),
        }
    }
}

/// A filter that keeps the first error of a closure, and accepts no further key.
struct Watched<G, E> {
    decide: G,
    error: Mutex<Option<E>>,
    /// Cancelled when the closure fails.
    failed: CancelToken,
}

impl<G, E> Watched<G, E> {
    fn new(decide: G) -> Self {
        Self { decide, error: Mutex::new(None), failed: CancelToken::new() }
    }
}

impl<G: Fn(u64) -> Result<bool, E> + Sync, E: Send> Filter for Watched<G, E> {
    fn accepts(&self, key: u64) -> bool {
        if self.failed.is_cancelled() {
            return false;
        }
        (self.decide)(key).unwrap_or_else(|error| {
            self.error.lock().get_or_insert(error);
            self.failed.cancel();
            false
        })
    }
}

impl<G, E, S> Search<'_, Fallible<G>, S>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
{
    /// Passes the search with a filter that cannot fail to `run`. Returns its result, or the error of the closure.
    pub(crate) fn watched<R, T>(
        self,
        run: impl FnOnce(Search<'_, &dyn Filter, S>) -> Result<R, T>,
    ) -> Result<R, TryFilterError<E, T>> {
        let Self { index, query, wanted, filter, source } = self;
        watching(filter.as_ref(), |filter, failed| {
            let wanted = wanted.unless(failed);
            run(Search { index, query, wanted, filter, source })
        })
    }
}

/// Passes a filter that cannot fail to `run`, with a token that is cancelled when the closure fails. Returns its result, or the error of the closure.
pub(in crate::index) fn watching<G, E, R, T>(
    filter: Option<&Fallible<G>>,
    run: impl FnOnce(Option<&dyn Filter>, &CancelToken) -> Result<R, T>,
) -> Result<R, TryFilterError<E, T>>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
{
    let Some(filter) = filter else {
        return run(None, &CancelToken::new()).map_err(TryFilterError::Search);
    };
    let watched = Watched::new(&filter.decide);
    let result = run(Some(&watched), &watched.failed);
    match watched.error.into_inner() {
        Some(error) => Err(TryFilterError::Filter(error)),
        None => result.map_err(TryFilterError::Search),
    }
}

impl<'a, G, E, S> Search<'a, Fallible<G>, S>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
    S: Origin,
{
    /// Returns an iterator over answers, as that of a [search](Search::iter) whose filter cannot fail: the first error of the filter is its last item.
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3, 4], &[0.1, 0.2, 0.3, 0.4]).run()?;
    /// let is_even = |key: u64| if key < 9 { Ok(key % 2 == 0) } else { Err("no such key") };
    /// let keys = index.search(&[0.0]).try_filter(is_even).iter()?.map(|hit| Ok(hit?.key));
    /// assert_eq!(keys.collect::<Result<Vec<_>, &str>>()?, [2, 4]);
    /// index.insert(9, &[0.9])?;
    /// assert!(index.search(&[0.0]).try_filter(is_even).iter()?.any(|hit| hit.is_err()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As a search without the filter.
    #[expect(clippy::iter_not_returning_iterator, reason = "a query may be refused")]
    pub fn iter(self) -> Result<TrySearchIter<'a, G, E>, IndexError> {
        let Self { index, query, wanted, filter, .. } = self;
        let filter = filter.map(|filter| Watched::new(filter.decide));
        let hits = SearchIter::new(index, query, wanted, filter, Cursor::default())?;
        Ok(TrySearchIter { hits, ended: false })
    }

    /// Runs the search, whose filter may fail.
    ///
    /// # Errors
    ///
    /// [`TryFilterError::Filter`] with the first error of the filter; [`TryFilterError::Search`] with the errors of a search without it.
    pub fn run(self) -> Result<Hits, TryFilterError<E>> {
        #[expect(clippy::redundant_closure_for_method_calls, reason = "several methods are `run`")]
        self.watched(|search| search.run())
    }
}

/// Hits, the nearest first, found as they are asked for, and the first error of the filter at the end. Made by `iter` of a search with
/// [`try_filter`](crate::Search::try_filter).
pub struct TrySearchIter<'a, G, E> {
    hits: SearchIter<'a, Watched<G, E>>,
    ended: bool,
}

impl<G: Fn(u64) -> Result<bool, E> + Sync, E: Send> Iterator for TrySearchIter<'_, G, E> {
    type Item = Result<Hit, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let hit = self.hits.next();
        // Hits of the round that failed are dropped: others may be nearer.
        let error = self.hits.asked().and_then(|filter| filter.error.lock().take());
        self.ended = error.is_some() || hit.is_none();
        error.map(Err).or(hit.map(Ok))
    }
}

impl<G: Fn(u64) -> Result<bool, E> + Sync, E: Send> FusedIterator for TrySearchIter<'_, G, E> {}

impl<G, E> fmt::Debug for TrySearchIter<'_, G, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySearchIter").field("hits", &self.hits).finish_non_exhaustive()
    }
}
