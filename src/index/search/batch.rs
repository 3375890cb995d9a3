//! Searching an index for many queries at once.

use std::fmt;
use std::time::Duration;

use rayon::ThreadPool;

use super::fallible::{Fallible, TryFilterError, watching};
use super::wanted::{Wanted, search_settings};
use crate::clock::Instant;
use crate::distance::Vigil;
use crate::error::IndexError;
use crate::index::parallel::Threads;
use crate::index::query::budget::CancelToken;
use crate::index::query::filter::Filter;
use crate::index::query::hits::BatchHits;
use crate::index::query::key_sets::KeySet;
use crate::index::search::{AnyKey, Searchable};
use crate::observe::watch;
use crate::threads::map_parts;
use crate::vector::{AsVector, Block, VectorRef};

/// Many queries. Made by `search_batch`; nothing happens until [`run`](Self::run).
#[derive(Clone, Copy)]
#[must_use = "a search does nothing until `run` is called"]
pub struct SearchBatch<'a, F = AnyKey> {
    index: &'a dyn Searchable,
    queries: VectorRef<'a>,
    wanted: Wanted<'a>,
    threads: Threads<'a>,
    filter: Option<F>,
}

impl<'a> SearchBatch<'a> {
    pub(in crate::index) fn new<V: AsVector + ?Sized>(
        index: &'a dyn Searchable,
        queries: &'a V,
    ) -> Self {
        let (wanted, threads) = (Wanted::DEFAULT, Threads::Ambient);
        Self { index, queries: queries.as_vector(), wanted, threads, filter: None }
    }
}

impl<'a, F> SearchBatch<'a, F> {
    /// As [`Search::filter`](crate::Search::filter), for each query.
    pub fn filter<G: Filter>(self, filter: G) -> SearchBatch<'a, G> {
        let Self { index, queries, wanted, threads, .. } = self;
        SearchBatch { index, queries, wanted, threads, filter: Some(filter) }
    }

    /// As [`Search::try_filter`](crate::Search::try_filter): the first error for any query ends the batch.
    ///
    /// ```
    /// use nearfield::search::TryFilterError;
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3], &[0.1, 0.2, 0.3]).run()?;
    /// let known = |key: u64| if key < 3 { Ok(true) } else { Err(key) };
    /// let failed = index.search_batch(&[0.0, 1.0]).try_filter(known).run();
    /// assert!(matches!(failed, Err(TryFilterError::Filter(3))));
    /// assert!(index.remove(3)?);
    /// let found = index.search_batch(&[0.0, 1.0]).try_filter(known).k(1).run().unwrap();
    /// assert_eq!((found[0][0].key, found[1][0].key), (1, 2));
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn try_filter<G, E>(self, filter: G) -> SearchBatch<'a, Fallible<G>>
    where
        G: Fn(u64) -> Result<bool, E> + Sync,
    {
        let Self { index, queries, wanted, threads, .. } = self;
        SearchBatch { index, queries, wanted, threads, filter: Some(Fallible::new(filter)) }
    }

    search_settings! {
        /// As [`Search::exclude`](crate::Search::exclude), for each query.
        exclude;

        /// As [`Search::k`](crate::Search::k), for each query.
        k;

        /// As [`Search::ef`](crate::Search::ef), for each query.
        ef;

        /// As [`Search::nprobe`](crate::Search::nprobe), for each query.
        nprobe;

        /// As [`Search::recall`](crate::Search::recall), on average over the queries.
        recall;

        /// As [`Search::within`](crate::Search::within), for each query.
        within;

        /// Ends the batch after this time, counted from the call of [`run`](Self::run). Queries that were not reached
        /// have no hits; [`BatchHits::completed`] tells of each.
        timeout;

        /// Ends the batch at this time, as [`timeout`](Self::timeout) does after a time. If both are set, the batch ends at the sooner.
        deadline;

        /// Ends the batch when [`CancelToken::cancel`] is called, as [`timeout`](Self::timeout) does.
        cancel;
    }

    /// Sets the number of threads, 1 for the caller's own. The default is the rayon pool that the caller is in,
    /// or the global one.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::Count(threads);
        self
    }

    /// Sets the rayon pool to use.
    pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
        self.threads = Threads::Pool(pool);
        self
    }
}

impl<F: Filter> SearchBatch<'_, F> {
    /// Runs the searches.
    ///
    /// # Errors
    ///
    /// [`IndexError::BatchVector`] names the first query that is no vector for this index, and
    /// [`IndexError::Vector`] is returned if the queries do not divide into vectors; otherwise as
    /// [`Search::run`](crate::Search::run).
    pub fn run(self) -> Result<BatchHits, IndexError> {
        watch!(let observed = crate::observe::Operation::SearchBatch.begin());
        let Self { index, queries, wanted, threads, filter } = self;
        let request = wanted.request(index, filter.as_ref())?;
        let encoder = index.encoder();
        let rows = encoder.encode_all(queries)?;
        let blocks = encoder.blocks();
        let answer = |rows: &[Block]| {
            let mut hits =
                BatchHits::with_capacity(rows.len() / blocks, wanted.k.unwrap_or(10).min(1024));
            index.find_all(rows, &request, &mut hits);
            hits
        };
        let vigil = Vigil::begin(index.custom_use());
        let hits = threads.run(
            index.own_pool(),
            || answer(&rows),
            || {
                let grain = index.grain(rows.len() / blocks).max(1);
                let parts = map_parts(&rows, grain * blocks, |_, rows| answer(rows));
                let mut all = BatchHits::default();
                for part in &parts {
                    all.append(part);
                }
                all
            },
        )?;
        vigil.end()?;
        watch!(observed.done(hits.len() as u64));
        Ok(hits)
    }
}

impl<G, E> SearchBatch<'_, Fallible<G>>
where
    G: Fn(u64) -> Result<bool, E> + Sync,
    E: Send,
{
    /// Runs the searches, whose filter may fail.
    ///
    /// # Errors
    ///
    /// [`TryFilterError::Filter`] with the first error of the filter; [`TryFilterError::Search`] with the errors of a batch without it.
    pub fn run(self) -> Result<BatchHits, TryFilterError<E>> {
        let Self { index, queries, wanted, threads, filter } = self;
        watching(filter.as_ref(), |filter, failed| {
            let wanted = wanted.unless(failed);
            SearchBatch { index, queries, wanted, threads, filter }.run()
        })
    }
}

impl<F> fmt::Debug for SearchBatch<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchBatch")
            .field("queries", &self.queries.len())
            .field("wanted", &self.wanted)
            .field("threads", &self.threads)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}
