//! Filters that may fail.

use std::fmt;

use super::{Origin, Search};
use crate::error::IndexError;
use crate::index::query::budget::CancelToken;
use crate::index::query::filter::Filter;
use crate::index::query::hits::Hits;
use crate::sync::Mutex;

/// A closure over keys that may fail, as a filter. Made by [`Search::try_filter`].
#[derive(Clone, Copy)]
pub struct Fallible<G> {
    decide: G,
}

impl<G> Fallible<G> {
    pub(super) fn new(decide: G) -> Self {
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

/// A filter that keeps the first error of a closure, and ends the search then.
struct Watched<'f, G, E> {
    decide: &'f G,
    error: &'f Mutex<Option<E>>,
    failed: &'f CancelToken,
}

impl<G: Fn(u64) -> Result<bool, E> + Sync, E: Send> Filter for Watched<'_, G, E> {
    fn accepts(&self, key: u64) -> bool {
        if self.failed.is_cancelled() {
            return false;
        }
        match (self.decide)(key) {
            Ok(accepts) => accepts,
            Err(error) => {
                self.error.lock().get_or_insert(error);
                self.failed.cancel();
                false
            }
        }
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
        let (error, failed) = (Mutex::new(None), CancelToken::new());
        let watched = filter.as_ref().map(|filter| Watched {
            decide: &filter.decide,
            error: &error,
            failed: &failed,
        });
        let wanted = wanted.unless(&failed);
        let filter = watched.as_ref().map(|filter| filter as &dyn Filter);
        let result = run(Search { index, query, wanted, filter, source });
        match error.into_inner() {
            Some(error) => Err(TryFilterError::Filter(error)),
            None => result.map_err(TryFilterError::Search),
        }
    }
}

impl<G, E, S> Search<'_, Fallible<G>, S>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
    S: Origin,
{
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
