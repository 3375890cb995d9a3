//! Asking an index.

use rayon::ThreadPool;
use rayon::prelude::*;

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
    fn find(&self, request: &Request, work: &mut Work, hits: &mut Hits);

    /// Answers the encoded queries, one after the other in `queries`.
    fn find_all(&self, queries: &[Block], request: &Request, out: &mut BatchHits) {
        self.work().with(|work| {
            let mut hits = Hits::new();
            for query in queries.chunks_exact(self.encoder().blocks()) {
                work.row.clear();
                work.row.extend_from_slice(query);
                self.find(request, work, &mut hits);
                out.push(&hits);
            }
        });
    }

    /// What `nprobe` means to this index.
    fn probing(&self) -> Probing;

    /// Queries of a batch of `count` that one thread should answer at once.
    fn grain(&self, count: usize) -> usize {
        /// Enough to keep a thread busy, few enough for all threads to have some.
        const GRAIN: usize = 64;

        GRAIN.min(count)
    }
}

/// What [`Search::nprobe`] means to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probing {
    /// The number of lists that are read.
    Lists,
    /// Nothing: every vector is looked at anyhow.
    Ignored,
    /// An error: the caller means another index, or `ef`.
    Refused,
}

/// What an index is asked, whatever the query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) k: usize,
    pub(super) ef: usize,
    pub(super) nprobe: Option<usize>,
}

/// How many answers are wanted, and how hard to look for them.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    k: usize,
    ef: Option<usize>,
    nprobe: Option<usize>,
}

impl Wanted {
    const DEFAULT: Self = Self { k: 10, ef: None, nprobe: None };

    fn request(self, index: &dyn Searchable) -> Result<Request, IndexError> {
        Ok(Request { k: self.k, ef: self.ef()?, nprobe: self.nprobe(index.probing())? })
    }

    fn nprobe(self, probing: Probing) -> Result<Option<usize>, IndexError> {
        let refused = |value: usize, allowed| {
            Err(IndexError::Parameter { name: "nprobe", value: value.to_string(), allowed })
        };
        match (self.nprobe, probing) {
            (Some(0), _) => refused(0, "1 or more"),
            (Some(n), Probing::Refused) => {
                refused(n, "none here: only an Ivf has lists; an Hnsw takes ef")
            }
            (nprobe, _) => Ok(nprobe),
        }
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

/// One query. Made by `search`; nothing happens until [`run`](Self::run).
#[derive(Debug, Clone, Copy)]
#[must_use = "a search does nothing until `run` is called"]
pub struct Search<'a> {
    index: &'a dyn Searchable,
    query: VectorRef<'a>,
    wanted: Wanted,
}

impl<'a> Search<'a> {
    pub(super) fn new<V: AsVector + ?Sized>(index: &'a dyn Searchable, query: &'a V) -> Self {
        Self { index, query: query.as_vector(), wanted: Wanted::DEFAULT }
    }

    /// Answers wanted; 10 if not said. Fewer come if the index holds fewer.
    pub fn k(mut self, k: usize) -> Self {
        self.wanted.k = k;
        self
    }

    /// Candidates kept during the walk; 64 if not said, and never fewer than `k`. More: better
    /// recall, slower. An exact index ignores it. An [`Ivf`](crate::Ivf) with codes keeps as many
    /// by their codes, to measure them again by their vectors; one without ignores it.
    pub fn ef(mut self, ef: usize) -> Self {
        self.wanted.ef = Some(ef);
        self
    }

    /// Lists that a search of an [`Ivf`](crate::Ivf) reads, the nearest first; what the index
    /// chose if not said, all of them if there are no more. More: better recall, slower. An exact
    /// index ignores it.
    pub fn nprobe(mut self, nprobe: usize) -> Self {
        self.wanted.nprobe = Some(nprobe);
        self
    }

    /// Searches.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if the query is no vector for this index, [`IndexError::Parameter`]
    /// if `ef` or `nprobe` is 0, or if `nprobe` is asked of an [`Hnsw`](crate::Hnsw), which has no
    /// lists.
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
        let request = self.wanted.request(self.index)?;
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
#[derive(Debug, Clone, Copy)]
#[must_use = "a search does nothing until `run` is called"]
pub struct SearchBatch<'a> {
    index: &'a dyn Searchable,
    queries: VectorRef<'a>,
    wanted: Wanted,
    threads: Threads<'a>,
}

impl<'a> SearchBatch<'a> {
    pub(super) fn new<V: AsVector + ?Sized>(index: &'a dyn Searchable, queries: &'a V) -> Self {
        let (wanted, threads) = (Wanted::DEFAULT, Threads::Ambient);
        Self { index, queries: queries.as_vector(), wanted, threads }
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

    /// As [`Search::nprobe`], for each query.
    pub fn nprobe(mut self, nprobe: usize) -> Self {
        self.wanted.nprobe = Some(nprobe);
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
        let Self { index, queries, wanted, threads } = self;
        let request = wanted.request(index)?;
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
                let parts: Vec<_> =
                    rows.par_chunks(index.grain(count).max(1) * blocks).map(answer).collect();
                let mut all = BatchHits::default();
                for part in &parts {
                    all.append(part);
                }
                all
            },
        )
    }
}
