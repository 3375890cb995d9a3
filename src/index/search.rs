//! Asking an index.

use std::fmt;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::filter::Filter;
use super::hits::{BatchHits, Hits};
use super::threads::Threads;
use super::work::{Parts, Work};
use crate::error::IndexError;
use crate::vector::{AsVector, Block, VectorRef};

/// Candidates kept during a walk, if the caller does not say.
const DEFAULT_EF: usize = 64;

/// What an index must offer so that it can be asked.
pub(super) trait Searchable: Parts {
    /// Answers the query in `work.row`.
    fn find(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits);

    /// Answers the encoded queries, one after the other in `queries`.
    fn find_all(&self, queries: &[Block], request: &Request<'_>, out: &mut BatchHits);

    /// [`Self::find_all`] for one query after the other.
    fn find_each(
        &self,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) {
        let mut hits = Hits::new();
        for query in queries.chunks_exact(self.encoder().blocks()) {
            work.row.clear();
            work.row.extend_from_slice(query);
            self.find(request, work, &mut hits);
            out.push(&hits);
        }
    }
}

/// What an index is asked, whatever the query.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) k: usize,
    pub(super) ef: usize,
    pub(super) filter: Option<&'a dyn Filter>,
}

/// How many answers are wanted, and how hard to look for them.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    k: usize,
    ef: Option<usize>,
}

impl Wanted {
    const DEFAULT: Self = Self { k: 10, ef: None };

    fn request<F: Filter>(self, filter: Option<&F>) -> Result<Request<'_>, IndexError> {
        let filter = filter.map(|filter| filter as &dyn Filter);
        Ok(Request { k: self.k, ef: self.ef()?, filter })
    }

    fn ef(self) -> Result<usize, IndexError> {
        match self.ef {
            Some(0) => Err(IndexError::Parameter {
                name: "ef",
                value: 0.to_string(),
                allowed: "1 or more; it is raised to k",
            }),
            ef => Ok(ef.unwrap_or(DEFAULT_EF).max(self.k)),
        }
    }
}

/// The type of a filter where there is none.
type AnyKey = fn(u64) -> bool;

/// One query. Made by `search`; nothing happens until [`run`](Self::run).
#[derive(Clone, Copy)]
#[must_use = "a search does nothing until `run` is called"]
pub struct Search<'a, F = AnyKey> {
    index: &'a dyn Searchable,
    query: VectorRef<'a>,
    wanted: Wanted,
    filter: Option<F>,
}

impl<'a> Search<'a> {
    pub(super) fn new<V: AsVector + ?Sized>(index: &'a dyn Searchable, query: &'a V) -> Self {
        Self { index, query: query.as_vector(), wanted: Wanted::DEFAULT, filter: None }
    }
}

impl<'a, F: Filter> Search<'a, F> {
    /// Only vectors whose keys the filter accepts are answers: a closure over keys, a
    /// [`KeySet`](crate::KeySet) or a [`KeyBitmap`](crate::KeyBitmap). Replaces a filter given
    /// before.
    ///
    /// There will be `k` hits, or all accepted vectors if there are fewer. Which way leads to
    /// them depends on how many are accepted, and is told by [`Hits::plan`].
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3, 4], &[0.1, 0.2, 0.3, 0.4]).run()?;
    /// let hits = index.search(&[0.0]).k(3).filter(|key| key % 2 == 0).run()?;
    /// assert_eq!(hits.keys().collect::<Vec<_>>(), [2, 4]);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn filter<G: Filter>(self, filter: G) -> Search<'a, G> {
        let Self { index, query, wanted, .. } = self;
        Search { index, query, wanted, filter: Some(filter) }
    }

    /// Answers wanted; 10 if not said. Fewer come if the index holds fewer.
    pub fn k(mut self, k: usize) -> Self {
        self.wanted.k = k;
        self
    }

    /// Candidates kept during the walk; 64 if not said, and never fewer than `k`. More: better
    /// recall, slower. An exact index ignores it.
    pub fn ef(mut self, ef: usize) -> Self {
        self.wanted.ef = Some(ef);
        self
    }

    /// Searches.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if the query is no vector for this index, [`IndexError::Parameter`]
    /// if `ef` is 0.
    pub fn run(self) -> Result<Hits, IndexError> {
        let mut hits = Hits::new();
        self.run_into(&mut hits)?;
        Ok(hits)
    }

    /// Searches and puts the answers in place of what `hits` held, whose memory is reused.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); `hits` is then as it was.
    pub fn run_into(self, hits: &mut Hits) -> Result<(), IndexError> {
        let request = self.wanted.request(self.filter.as_ref())?;
        self.index.work().with(|work| {
            let encoder = self.index.encoder();
            work.row.resize(encoder.blocks(), Block::ZERO);
            encoder.encode(self.query, &mut work.row)?;
            self.index.find(&request, work, hits);
            Ok(())
        })
    }
}

/// Many queries. Made by `search_batch`; nothing happens until [`run`](Self::run).
#[derive(Clone, Copy)]
#[must_use = "a search does nothing until `run` is called"]
pub struct SearchBatch<'a, F = AnyKey> {
    index: &'a dyn Searchable,
    queries: VectorRef<'a>,
    wanted: Wanted,
    threads: Threads<'a>,
    filter: Option<F>,
}

impl<'a> SearchBatch<'a> {
    pub(super) fn new<V: AsVector + ?Sized>(index: &'a dyn Searchable, queries: &'a V) -> Self {
        let (wanted, threads) = (Wanted::DEFAULT, Threads::Ambient);
        Self { index, queries: queries.as_vector(), wanted, threads, filter: None }
    }
}

impl<'a, F: Filter> SearchBatch<'a, F> {
    /// As [`Search::filter`], for each query.
    pub fn filter<G: Filter>(self, filter: G) -> SearchBatch<'a, G> {
        let Self { index, queries, wanted, threads, .. } = self;
        SearchBatch { index, queries, wanted, threads, filter: Some(filter) }
    }

    /// As [`Search::k`], for each query.
    pub fn k(mut self, k: usize) -> Self {
        self.wanted.k = k;
        self
    }

    /// As [`Search::ef`], for each query.
    pub fn ef(mut self, ef: usize) -> Self {
        self.wanted.ef = Some(ef);
        self
    }

    /// Threads to use, 1 for the caller's own. If not said, the rayon pool that the caller is in,
    /// or the global one.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::Count(threads);
        self
    }

    /// The rayon pool to use.
    pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
        self.threads = Threads::Pool(pool);
        self
    }

    /// Searches.
    ///
    /// # Errors
    ///
    /// [`IndexError::BatchVector`] names the first query that is no vector for this index, and
    /// [`IndexError::Vector`] tells that the queries do not divide into vectors; otherwise as
    /// [`Search::run`].
    pub fn run(self) -> Result<BatchHits, IndexError> {
        /// Queries that a thread takes at once.
        const GRAIN: usize = 64;

        let Self { index, queries, wanted, threads, filter } = self;
        let request = wanted.request(filter.as_ref())?;
        let encoder = index.encoder();
        let count = encoder.count(queries)?;
        let (elements, blocks) = (encoder.elements(), encoder.blocks());
        let mut rows = bytemuck::zeroed_vec::<Block>(count * blocks);
        for (position, row) in rows.chunks_exact_mut(blocks).enumerate() {
            let query = queries.slice(position * elements..(position + 1) * elements);
            encoder
                .encode(query, row)
                .map_err(|source| IndexError::BatchVector { position, source })?;
        }
        let answer = |rows: &[Block]| {
            let mut hits = BatchHits::with_capacity(rows.len() / blocks, wanted.k.min(1024));
            index.find_all(rows, &request, &mut hits);
            hits
        };
        threads.run(
            index.own_pool(),
            || answer(&rows),
            || {
                let parts: Vec<_> = rows.par_chunks(GRAIN * blocks).map(answer).collect();
                let mut all = BatchHits::default();
                for part in &parts {
                    all.append(part);
                }
                all
            },
        )
    }
}

impl<F> fmt::Debug for Search<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("query", &self.query)
            .field("wanted", &self.wanted)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
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
