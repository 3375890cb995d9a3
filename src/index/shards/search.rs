//! Searching many indexes at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rayon::ThreadPool;

use super::filter::{Alike, ByShard, ShardFilter};
use super::{Shard, ShardHits, Shards};
use crate::clock::Instant;
use crate::distance::Vigil;
use crate::error::IndexError;
use crate::index::parallel::Threads;
use crate::index::query::budget::{CancelToken, Limit};
use crate::index::query::filter::{Filter, Screen};
use crate::index::query::hits::{BatchHits, Hits};
use crate::index::query::key_sets::KeySet;
use crate::index::query::request::Request;
use crate::index::search::AnyKey;
use crate::index::search::fallible::{Fallible, TryFilterError, watching};
use crate::index::search::wanted::{Wanted, search_settings};
use crate::observe::watch;
use crate::threads::map;
use crate::vector::{AsVector, Block, Element, VectorRef};

/// Queries that a thread takes at once.
const GRAIN: usize = 64;

/// One query over many shards. Made by [`Shards::search`]; nothing happens until [`run`](Self::run).
#[must_use = "a search does nothing until `run` is called"]
pub struct ShardSearch<'a, S> {
    shards: &'a Shards<S>,
    query: VectorRef<'a>,
    wanted: Wanted<'a>,
    threads: Threads<'a>,
    filter: Option<Box<dyn ShardFilter + 'a>>,
}

/// Many queries over many shards. Made by [`Shards::search_batch`]; nothing happens until [`run`](Self::run).
#[must_use = "a search does nothing until `run` is called"]
pub struct ShardSearchBatch<'a, S> {
    shards: &'a Shards<S>,
    query: VectorRef<'a>,
    wanted: Wanted<'a>,
    threads: Threads<'a>,
    filter: Option<Box<dyn ShardFilter + 'a>>,
}

/// A search, or a batch, over many shards with a filter that may fail. Made by [`ShardSearch::try_filter`] and [`ShardSearchBatch::try_filter`];
/// nothing happens until `run`.
#[must_use = "a search does nothing until `run` is called"]
pub struct TryShards<X, G> {
    search: X,
    filter: Fallible<G>,
}

impl<X, G> fmt::Debug for TryShards<X, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryShards").finish_non_exhaustive()
    }
}

macro_rules! tried {
    ($search:ident, $hits:ty) => {
        impl<S: Shard, G, E> TryShards<$search<'_, S>, G>
        where
            G: Fn(u64) -> Result<bool, E> + Sync,
            E: Send,
        {
            /// Runs it.
            ///
            /// # Errors
            ///
            /// [`TryFilterError::Filter`] with the first error of the filter; [`TryFilterError::Search`] with the errors of one without it.
            pub fn run(self) -> Result<$hits, TryFilterError<E>> {
                let Self { search: $search { shards, query, wanted, threads, .. }, filter } = self;
                watching(Some(&filter), |watched, failed| {
                    let wanted = wanted.unless(failed);
                    let filter = watched.map(|filter| Box::new(Alike(filter)) as Box<_>);
                    $search { shards, query, wanted, threads, filter }.run()
                })
            }
        }
    };
}

tried!(ShardSearch, ShardHits);
tried!(ShardSearchBatch, Vec<ShardHits>);

macro_rules! settings {
    ($search:ident, $threads:expr) => {
        impl<'a, S: Shard> $search<'a, S> {
            pub(super) fn new<V: AsVector + ?Sized>(shards: &'a Shards<S>, query: &'a V) -> Self {
                let (wanted, threads) = (Wanted::DEFAULT, $threads);
                Self { shards, query: query.as_vector(), wanted, threads, filter: None }
            }
        }

        impl<'a, S: Shard> $search<'a, S> {
            /// As [`Search::filter`](crate::Search::filter), for the keys of all shards alike.
            pub fn filter(mut self, filter: impl Filter + 'a) -> Self {
                self.filter = Some(Box::new(Alike(filter)));
                self
            }

            /// As [`Search::try_filter`](crate::Search::try_filter), for the keys of all shards alike. Other settings come before it.
            ///
            /// ```
            /// use nearfield::search::TryFilterError;
            /// use nearfield::{Flat, Metric, Shards};
            ///
            /// let (north, south) = (Flat::builder(1, Metric::L2).build()?, Flat::builder(1, Metric::L2).build()?);
            /// north.insert(1, &[0.1])?;
            /// south.insert(2, &[0.2])?;
            /// let shards = Shards::new([&north, &south])?;
            /// let known = |key: u64| if key < 2 { Ok(true) } else { Err(key) };
            /// let failed = shards.search(&[0.0]).try_filter(known).run();
            /// assert!(matches!(failed, Err(TryFilterError::Filter(2))));
            /// let failed = shards.search_batch(&[0.0]).k(1).try_filter(known).run();
            /// assert!(matches!(failed, Err(TryFilterError::Filter(2))));
            /// let found = shards.search(&[0.0]).try_filter(|key| Ok::<_, ()>(key < 2)).run().unwrap();
            /// assert_eq!((found.len(), found[0].key), (1, 1));
            /// # Ok::<(), nearfield::IndexError>(())
            /// ```
            pub fn try_filter<G, E>(self, filter: G) -> TryShards<Self, G>
            where
                G: Fn(u64) -> Result<bool, E> + Sync,
            {
                TryShards { search: self, filter: Fallible::new(filter) }
            }

            /// Accepts only vectors whose shard and key the filter accepts: if a key means another object in another
            /// shard, as the keys of names do. Replaces a filter given before.
            pub fn filter_by_shard(
                mut self,
                filter: impl Fn(usize, u64) -> bool + Sync + 'a,
            ) -> Self {
                self.filter = Some(Box::new(ByShard(filter)));
                self
            }

            search_settings! {
                /// As [`Search::exclude`](crate::Search::exclude), in all shards alike.
                exclude;

                /// As [`Search::k`](crate::Search::k), for all shards together.
                k;

                /// As [`Search::ef`](crate::Search::ef), in each shard.
                ef;

                /// As [`Search::recall`](crate::Search::recall): each shard takes the `ef` that it was measured to need.
                recall;

                /// As [`Search::nprobe`](crate::Search::nprobe), in each shard that has lists.
                nprobe;

                /// As [`Search::within`](crate::Search::within).
                within;

                /// Ends the search after this time, counted from the call of `run`, with the hits found by then. If shards are
                /// searched one after the other, each may take an equal share of the time left.
                timeout;

                /// Ends the search at this time, as `timeout` does after a time. If both are set, the search ends at the sooner.
                deadline;

                /// As [`Search::cancel`](crate::Search::cancel), for all shards.
                cancel;
            }

            /// Sets the rayon pool to use.
            pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
                self.threads = Threads::Pool(pool);
                self
            }
        }

        impl<S> fmt::Debug for $search<'_, S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($search))
                    .field("shards", &self.shards.shards.len())
                    .field("query", &self.query)
                    .field("wanted", &self.wanted)
                    .field("threads", &self.threads)
                    .field("filter", &self.filter.is_some())
                    .finish_non_exhaustive()
            }
        }
    };
}

settings!(ShardSearch, Threads::Count(1));
settings!(ShardSearchBatch, Threads::Ambient);

impl<S: Shard> ShardSearch<'_, S> {
    /// Sets the number of threads, one shard each at a time; the default is the caller's own alone. More are worth their start if shards
    /// are large, or in files that are not in memory yet.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::Count(threads);
        self
    }

    /// Runs the search.
    ///
    /// # Errors
    ///
    /// As [`Search::run`](crate::Search::run).
    pub fn run(self) -> Result<ShardHits, IndexError> {
        watch!(let observed = crate::observe::Operation::Search.begin());
        let Self { shards, query, wanted, threads, filter } = self;
        let filters = filters(shards, filter.as_deref());
        let requests = requests(shards, wanted, &filters)?;
        let vigils = vigils(shards);
        let answer = |(shard, request): (usize, &Request<'_>)| {
            let index = shards.index(shard);
            index.work().with(|work| {
                let encoder = index.encoder();
                work.row.resize(encoder.blocks(), Block::ZERO);
                encoder.encode(query, &mut work.row)?;
                let mut hits = Hits::new();
                index.answer(request, work, &mut hits);
                Ok::<_, IndexError>(hits)
            })
        };
        let parts: Vec<Hits> = threads.run(
            &shards.own_pool,
            || {
                let each = requests.iter().enumerate().map(|(shard, request)| {
                    let limit = share(request.limit, requests.len() - shard);
                    answer((shard, &Request { limit, ..*request }))
                });
                each.collect::<Result<_, _>>()
            },
            || map(requests.len(), |shard| answer((shard, &requests[shard]))).into_iter().collect(),
        )??;
        vigils.iter().try_for_each(Vigil::end)?;
        watch!(observed.found(
            parts.iter().map(Hits::distances_computed).sum(),
            parts.iter().map(Hits::hops).sum()
        ));
        watch!(observed.done(1));
        let parts = parts.iter().map(|hits| (hits.as_slice(), hits.is_complete()));
        Ok(ShardHits::of(parts, wanted.k()))
    }
}

impl<S: Shard> ShardSearchBatch<'_, S> {
    /// Sets the number of threads, 1 for the caller's own. The default is the rayon pool that the caller is in, or the global one.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::Count(threads);
        self
    }

    /// Runs the searches. The hits of each query are at its position.
    ///
    /// # Errors
    ///
    /// As [`SearchBatch::run`](crate::SearchBatch::run).
    pub fn run(self) -> Result<Vec<ShardHits>, IndexError> {
        watch!(let observed = crate::observe::Operation::SearchBatch.begin());
        let Self { shards, query, wanted, threads, filter } = self;
        let filters = filters(shards, filter.as_deref());
        let requests = requests(shards, wanted, &filters)?;
        let vigils = vigils(shards);
        let rows = encoded(shards, query)?;
        let count = shards.index(0).encoder().count(query)?;
        // A part is up to `GRAIN` queries in one shard; the parts of the same queries are adjacent.
        let parts = count.div_ceil(GRAIN) * requests.len();
        let answer = |part: usize| {
            let (shard, first) = (part % requests.len(), part / requests.len() * GRAIN);
            let index = shards.index(shard);
            let blocks = index.encoder().blocks();
            let rows = &rows[shard][first * blocks..(first + GRAIN).min(count) * blocks];
            let mut hits = BatchHits::with_capacity(GRAIN, wanted.k.unwrap_or(10).min(1024));
            index.find_all(rows, &requests[shard], &mut hits);
            hits
        };
        let parts: Vec<BatchHits> = threads.run(
            &shards.own_pool,
            || (0..parts).map(answer).collect(),
            || map(parts, answer),
        )?;
        vigils.iter().try_for_each(Vigil::end)?;
        let k = wanted.k();
        let hits: Vec<_> = parts
            .chunks_exact(requests.len())
            .flat_map(|parts| (0..parts[0].len()).map(move |at| (parts, at)))
            .map(|(parts, at)| {
                ShardHits::of(parts.iter().map(|p| (&p[at], p.completed(at) == Some(true))), k)
            })
            .collect();
        watch!(observed.done(hits.len() as u64));
        Ok(hits)
    }
}

/// Begins the vigil over the metric of each shard.
fn vigils<S: Shard>(shards: &Shards<S>) -> Vec<Vigil<'_>> {
    (0..shards.shards.len()).map(|shard| Vigil::begin(shards.index(shard).custom_use())).collect()
}

/// Returns the filter of each shard; empty if the search has no filter.
fn filters<'r, S>(
    shards: &Shards<S>,
    filter: Option<&'r (dyn ShardFilter + 'r)>,
) -> Vec<Box<dyn Filter + 'r>> {
    let each = |filter: &'r (dyn ShardFilter + 'r)| {
        (0..shards.shards.len()).map(|shard| filter.of_shard(shard))
    };
    filter.into_iter().flat_map(each).collect()
}

/// Returns the request to each shard. The deadline begins now.
fn requests<'r, S: Shard>(
    shards: &'r Shards<S>,
    wanted: Wanted<'r>,
    filters: &'r [Box<dyn Filter + 'r>],
) -> Result<Vec<Request<'r>>, IndexError> {
    let mut until = None;
    let count = shards.shards.len();
    let have_lists = (0..count).any(|shard| shards.index(shard).has_lists());
    let request = |shard| {
        let (index, mut wanted) = (shards.index(shard), wanted);
        // A shard without lists refuses the number if no other has lists.
        wanted.nprobe = wanted.nprobe.filter(|_| index.has_lists() || !have_lists);
        let request = wanted.request::<AnyKey>(index, None)?;
        // One deadline for all shards.
        until = until.or(request.limit.until);
        let limit = Limit { until, ..request.limit };
        let filter = filters.get(shard).map(|filter| &**filter);
        let screen = Screen::new(filter, request.screen.excluded);
        Ok(Request { screen, limit, ..request })
    };
    (0..count).map(request).collect()
}

/// Encodes the queries for each shard: shards of one element type share them.
fn encoded<S: Shard>(
    shards: &Shards<S>,
    queries: VectorRef<'_>,
) -> Result<Vec<Arc<[Block]>>, IndexError> {
    let mut all: Vec<(Element, Arc<[Block]>)> = Vec::new();
    let each = (0..shards.shards.len()).map(|shard| {
        let encoder = shards.index(shard).encoder();
        if let Some((_, rows)) = all.iter().find(|(element, _)| *element == encoder.element) {
            return Ok(Arc::clone(rows));
        }
        let rows: Arc<[Block]> = encoder.encode_all(queries)?.into();
        all.push((encoder.element, Arc::clone(&rows)));
        Ok(rows)
    });
    each.collect()
}

/// Returns an equal share of the time left, for the next of `shards` shards.
fn share(limit: Limit<'_>, shards: usize) -> Limit<'_> {
    let shared = |until: Instant| {
        let now = Instant::now();
        let left = until.saturating_duration_since(now);
        now + left / u32::try_from(shards).unwrap_or(u32::MAX)
    };
    Limit { until: limit.until.map(shared), ..limit }
}
