//! Searching an index.

pub(in crate::index) mod batch;
pub(in crate::index) mod cursor;
pub(in crate::index) mod fallible;
pub(in crate::index) mod iter;
pub(in crate::index) mod wanted;

use std::fmt;
use std::time::Duration;

use super::scratch::{Parts, Work};
use crate::clock::Instant;
use crate::distance::Vigil;
use crate::error::IndexError;
use crate::index::query::budget::CancelToken;
use crate::index::query::filter::Filter;
use crate::index::query::hits::{BatchHits, Hits};
use crate::index::query::key_sets::KeySet;
use crate::index::query::request::Request;
use crate::index::search::cursor::Cursor;
use crate::index::search::fallible::Fallible;
use crate::index::search::iter::SearchIter;
use crate::index::search::wanted::{Wanted, search_settings};
use crate::observe::watch;
use crate::vector::{AsVector, Block, VectorRef};

/// Operations that an index must offer for searches.
pub(super) trait Searchable: Parts {
    /// Answers the query in `work.row`.
    fn find(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits);

    /// Answers the encoded queries, one after the other in `queries`.
    fn find_all(&self, queries: &[Block], request: &Request<'_>, out: &mut BatchHits);

    /// Returns whether every answer is exact.
    fn is_exact(&self) -> bool;

    /// Returns whether the index has lists to probe.
    fn has_lists(&self) -> bool {
        false
    }

    /// Returns the queries of a batch of `_count` that one thread answers at once: enough to keep it busy, few
    /// enough for all threads to have some.
    fn grain(&self, _count: usize) -> usize {
        64
    }

    /// Returns the `ef` that gives this recall for `k` answers, or for the measured number if `k` is `None`.
    fn ef_for(&self, recall: f64, k: Option<usize>) -> Result<usize, IndexError>;

    /// Does [`Self::find`], in rounds if that is better.
    fn answer(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        if request.takes_rounds && !self.is_exact() {
            request.rounds(hits, |request, hits| self.find(request, work, hits));
        } else {
            self.find(request, work, hits);
        }
    }

    /// Does [`Self::find_all`] for one query after the other.
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
            self.answer(request, work, &mut hits);
            out.push(&hits);
        }
    }
}

/// The type of an absent filter.
pub(crate) type AnyKey = fn(u64) -> bool;

/// The object that made a search that returns hits alone: `()` for an index.
#[expect(unnameable_types, reason = "collections and indexes alone make searches")]
pub trait Origin: Copy {}

impl Origin for () {}

/// One query. Made by `search`; nothing happens until [`run`](Self::run) or [`iter`](Self::iter).
///
/// `F` is the filter. `S` is the source of records that answers may have beside their keys: `()` for an index, which has none, and
/// [`Source`](crate::collection::Source) for a [`Collection`](crate::Collection) or a [`Snapshot`](crate::Snapshot).
#[derive(Clone, Copy)]
#[must_use = "a search does nothing until `run` is called"]
pub struct Search<'a, F = AnyKey, S = ()> {
    index: &'a dyn Searchable,
    query: VectorRef<'a>,
    wanted: Wanted<'a>,
    filter: Option<F>,
    source: S,
}

impl<'a> Search<'a> {
    pub(super) fn new<V: AsVector + ?Sized>(index: &'a dyn Searchable, query: &'a V) -> Self {
        Self { index, query: query.as_vector(), wanted: Wanted::DEFAULT, filter: None, source: () }
    }
}

impl<'a, F, S> Search<'a, F, S> {
    /// Returns the search with another source of records, which is made of the present one.
    pub(crate) fn with_source<T>(self, source: impl FnOnce(S) -> T) -> Search<'a, F, T> {
        let Self { index, query, wanted, filter, source: own } = self;
        Search { index, query, wanted, filter, source: source(own) }
    }

    /// Returns the search without its filter and its source, and these. The timeout begins.
    pub(crate) fn begin(self) -> (Search<'a>, Option<F>, S) {
        let Self { index, query, wanted, filter, source } = self;
        let search = Search { index, query, wanted: wanted.begun(), filter: None, source: () };
        (search, filter, source)
    }

    /// Returns the maximum number of answers.
    pub(crate) fn answers(&self) -> usize {
        self.wanted.k()
    }

    /// Forgets the number of answers, for an iteration without an end.
    pub(crate) fn endless(mut self) -> Self {
        self.wanted.k = None;
        self
    }

    /// Accepts only vectors whose keys the filter accepts: a closure over keys, a
    /// [`KeySet`](crate::KeySet) or a [`KeyBitmap`](crate::KeyBitmap). Replaces a filter given
    /// before.
    ///
    /// The search returns `k` hits, or all accepted vectors if these are fewer. Its plan depends on the number of accepted
    /// vectors; [`Hits::plan`] names it.
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
    pub fn filter<G: Filter>(self, filter: G) -> Search<'a, G, S> {
        let Self { index, query, wanted, source, .. } = self;
        Search { index, query, wanted, filter: Some(filter), source }
    }

    /// As [`filter`](Self::filter), with a closure that may fail. Its first error ends the search, and is returned by
    /// [`run`](Search::run) in [`TryFilterError::Filter`](crate::search::TryFilterError::Filter); the closure is then asked about no further key.
    ///
    /// ```
    /// use std::io;
    ///
    /// use nearfield::search::TryFilterError;
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3], &[0.1, 0.2, 0.3]).run()?;
    /// let names = ["", "one", "two"];
    /// let is_long = |key: u64| match names.get(key as usize) {
    ///     Some(name) => Ok(name.len() > 2),
    ///     None => Err(io::Error::other(format!("key {key} has no name"))),
    /// };
    /// let hits = index.search(&[0.0]).k(1).try_filter(|key| is_long(key.min(2))).run()?;
    /// assert_eq!(hits[0].key, 1);
    /// let error = index.search(&[0.0]).try_filter(is_long).run().unwrap_err();
    /// assert_eq!(error.to_string(), "the filter failed: key 3 has no name");
    /// assert!(matches!(error, TryFilterError::Filter(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_filter<G, E>(self, filter: G) -> Search<'a, Fallible<G>, S>
    where
        G: Fn(u64) -> Result<bool, E> + Sync,
    {
        let Self { index, query, wanted, source, .. } = self;
        Search { index, query, wanted, filter: Some(Fallible::new(filter)), source }
    }

    search_settings! {
        /// Excludes vectors whose keys are in the set: the items that a user has seen, say. Applies besides a
        /// [`filter`](Self::filter), and replaces a set given before.
        ///
        /// If only a set is excluded, the search keeps one more candidate for each key of the set that it meets. It costs as
        /// much time as a search for that number of answers more.
        ///
        /// ```
        /// use nearfield::{Hnsw, KeySet, Metric};
        ///
        /// let index = Hnsw::builder(1, Metric::L2).build()?;
        /// index.insert_batch(&[1, 2, 3, 4], &[0.1, 0.2, 0.3, 0.4]).run()?;
        /// let mut seen = KeySet::new();
        /// let first = index.search(&[0.0]).k(2).exclude(&seen).run()?;
        /// seen.extend(first.keys());
        /// let next = index.search(&[0.0]).k(2).exclude(&seen).run()?;
        /// assert_eq!(next.keys().collect::<Vec<_>>(), [3, 4]);
        /// let even = index.search(&[0.0]).k(2).exclude(&seen).filter(|key| key % 2 == 0).run()?;
        /// assert_eq!(even.keys().collect::<Vec<_>>(), [4]);
        /// # Ok::<(), nearfield::IndexError>(())
        /// ```
        exclude;

        /// Sets the number of answers; the default is 10. The search returns fewer if the index holds fewer.
        k;

        /// Sets the number of candidates kept during the walk; the default is 64, the minimum `k`. More candidates: better
        /// recall, slower. If the `k` nearest are well separated, the walk ends before all candidates are expanded, and if they are not it
        /// keeps up to 1.5 times the number (adaptive beam search, Al-Jazzazi et al., 2025), so that the time is spent on
        /// the queries that need it. Walks on coarse codes keep up to four times the number, of which the vectors choose: see
        /// [`Quantization`](crate::Quantization). An exact index ignores it. Replaces [`recall`](Self::recall).
        ///
        /// An [`Ivf`](crate::Ivf) with codes and vectors keeps this number by their codes, measures
        /// them again by their vectors, and measures further ones that the errors of the codes demand; an `Ivf` without codes,
        /// or without vectors, ignores it.
        ef;

        /// Sets the lists that a search of an [`Ivf`](crate::Ivf) reads, the nearest first; the default is the index's
        /// choice, and all lists if the index has no more. More lists: better recall, slower. Other
        /// indexes have no lists and refuse it.
        ///
        /// ```
        /// use nearfield::{Hnsw, IndexError, Ivf, Metric};
        ///
        /// let index = Ivf::builder(1, Metric::L2).build()?;
        /// index.insert_batch(&[1, 2, 3], &[1.0, 2.0, 3.0]).run()?;
        /// assert_eq!(index.search(&[0.0]).nprobe(8).run()?[0].key, 1);
        ///
        /// let graph = Hnsw::builder(1, Metric::L2).build()?;
        /// let refused = graph.search(&[0.0]).nprobe(8).run().unwrap_err();
        /// assert!(matches!(refused, IndexError::Parameter { name: "nprobe", .. }));
        /// # Ok::<(), IndexError>(())
        /// ```
        nprobe;

        /// Keeps the number of candidates that gives this recall, above 0 and up to 1, as measured by
        /// [`Hnsw::calibrate`](crate::Hnsw::calibrate). Replaces [`ef`](Self::ef). An exact index
        /// ignores it; an [`Ivf`](crate::Ivf), whose recall is not measured, refuses it: set
        /// [`nprobe`](Self::nprobe).
        ///
        /// Recall is the share of the `k` nearest vectors that are found, on average over queries:
        /// a single query may have less. The measurement has no filter; a search with a filter keeps the same
        /// number of candidates, but its recall was not measured.
        ///
        /// ```
        /// use nearfield::dataset::Generated;
        /// use nearfield::{Hnsw, IndexError, Metric};
        ///
        /// let (base, queries) = Generated::builder(2000, 16).build()?.into_parts();
        /// let index = Hnsw::builder(16, Metric::L2).build()?;
        /// index.insert_batch(&(0..2000).collect::<Vec<_>>(), &base).run()?;
        /// let query = queries.row(0).unwrap();
        ///
        /// let unknown = index.search(&query).recall(0.95).run().unwrap_err();
        /// assert!(matches!(unknown, IndexError::NotCalibrated { .. }));
        /// index.calibrate().run()?;
        /// assert_eq!(index.search(&query).recall(0.95).run()?.len(), 10);
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        recall;

        /// Accepts only vectors up to this distance, in the unit of
        /// [`Hit::distance`](crate::Hit::distance):
        ///
        /// | metric | the distance | `within(r)` |
        /// |---|---|---|
        /// | [`L2`](crate::Metric::L2) | squared | `r * r` for a ball of radius `r` |
        /// | [`InnerProduct`](crate::Metric::InnerProduct) | negated product | `-p` for products of `p` or more |
        /// | [`Cosine`](crate::Metric::Cosine) | `1 - cos` | `1 - c` for cosines of `c` or more |
        /// | [`Hamming`](crate::Metric::Hamming) | differing bits | a number of bits |
        /// | [`Custom`](crate::Metric::Custom) | as its kernel returns it | in that unit |
        ///
        /// Without `k`, all vectors up to this distance are answers, and the search continues
        /// until it meets no more; with `k`, the nearest `k` of them. As with any search of a graph,
        /// a vector may be missed. An [`Ivf`](crate::Ivf) reads on until [`nprobe`](Self::nprobe) lists, one
        /// after the other, have no such vector. If vectors are not kept as they
        /// were given ([`Originals`](crate::Originals)), the distance is that of their stored form.
        ///
        /// ```
        /// use nearfield::{Hnsw, Metric};
        ///
        /// let index = Hnsw::builder(1, Metric::L2).build()?;
        /// index.insert_batch(&[1, 2, 3, 4], &[1.0, 2.0, 3.0, 4.0]).run()?;
        /// let hits = index.search(&[0.0]).within(9.0).run()?;
        /// assert_eq!(hits.keys().collect::<Vec<_>>(), [1, 2, 3]);
        /// let hits = index.search(&[0.0]).within(9.0).k(2).run()?;
        /// assert_eq!(hits.keys().collect::<Vec<_>>(), [1, 2]);
        /// # Ok::<(), nearfield::IndexError>(())
        /// ```
        within;

        /// Ends the search after this time, counted from the call of [`run`](Self::run), with the hits
        /// found by then: see [`Hits::is_complete`]. The search reads the clock every few
        /// microseconds, and allows for the time of sorting many answers. Two things are not interrupted:
        /// a call of the caller's filter for one key, and the distances of one row of neighbours,
        /// which matter from some ten thousand dimensions on.
        ///
        /// ```
        /// use std::time::{Duration, Instant};
        /// use nearfield::{Flat, Metric};
        ///
        /// let index = Flat::builder(1, Metric::L2).build()?;
        /// index.insert(1, &[1.0])?;
        /// let hits = index.search(&[0.0]).timeout(Duration::ZERO).run()?;
        /// assert!(hits.is_empty() && !hits.is_complete());
        /// let hits = index.search(&[0.0]).timeout(Duration::from_secs(60)).run()?;
        /// assert!(hits.len() == 1 && hits.is_complete());
        /// # Ok::<(), nearfield::IndexError>(())
        /// ```
        timeout;

        /// Ends the search at this time, as [`timeout`](Self::timeout) does after a time. If both are set, the search ends at the sooner.
        deadline;

        /// Ends the search when [`CancelToken::cancel`] is called, with the hits found by then:
        /// see [`Hits::is_complete`].
        cancel;
    }
}

impl<'a, F: Filter, S: Origin> Search<'a, F, S> {
    /// Runs the search.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if the query is no vector for this index; [`IndexError::Parameter`]
    /// if `ef` or `nprobe` is 0, the recall not above 0 and up to 1, the radius not a number, or
    /// if the index takes no `nprobe` or no recall; [`IndexError::NotCalibrated`] and
    /// [`IndexError::RecallUnreachable`] if a recall is set; [`IndexError::MetricPanicked`] under a custom metric.
    pub fn run(self) -> Result<Hits, IndexError> {
        let mut hits = Hits::new();
        self.run_into(&mut hits)?;
        Ok(hits)
    }

    /// Runs the search and replaces the contents of `hits`, whose memory is reused.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); `hits` is then as it was, or empty after [`IndexError::MetricPanicked`].
    pub fn run_into(self, hits: &mut Hits) -> Result<(), IndexError> {
        watch!(let observed = crate::observe::Operation::Search.begin());
        let request = self.wanted.request(self.index, self.filter.as_ref())?;
        self.index.work().with(|work| {
            let encoder = self.index.encoder();
            work.row.resize(encoder.blocks(), Block::ZERO);
            encoder.encode(self.query, &mut work.row)?;
            let vigil = Vigil::begin(self.index.custom_use());
            self.index.answer(&request, work, hits);
            vigil.end().inspect_err(|_| hits.set_nothing())?;
            watch!(observed.found(hits.distances_computed(), hits.hops()));
            watch!(observed.done(1));
            Ok(())
        })
    }

    /// Returns an iterator over answers, the nearest first, for as long as the caller
    /// continues: for pages, or if only the caller can tell when it has enough.
    ///
    /// It searches for some, and for twice the number each time they run out, so that all in all it
    /// costs a few times a search for the final number. The hits of each of these rounds are in
    /// order; a hit that an earlier round missed is returned later than its place. With `k`,
    /// the iterator returns at most `k` hits. A filter, a radius, a deadline (counted from here) and a
    /// token apply to all rounds.
    ///
    /// Between two hits no lock is held, and only the index is borrowed; vectors that are inserted
    /// meanwhile may be found. [`SearchIter::cursor`] is the position reached, without the index:
    /// [`iter_from`](Self::iter_from) continues from it.
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3, 4], &[1.0, 2.0, 3.0, 4.0]).run()?;
    /// let mut sum = 0.0;
    /// let enough = index.search(&[0.0]).iter()?.find(|hit| {
    ///     sum += hit.distance;
    ///     sum >= 5.0
    /// });
    /// assert_eq!(enough.unwrap().key, 2);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    #[expect(clippy::iter_not_returning_iterator, reason = "a query may be refused")]
    pub fn iter(self) -> Result<SearchIter<'a, F>, IndexError> {
        self.iter_from(Cursor::default())
    }

    /// Continues from the end of another iteration of the same query: hits that it gave are not given
    /// again.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and [`IndexError::Parameter`] if the cursor is another query's.
    pub fn iter_from(self, cursor: Cursor) -> Result<SearchIter<'a, F>, IndexError> {
        let Self { index, query, wanted, filter, .. } = self;
        SearchIter::new(index, query, wanted, filter, cursor)
    }
}

impl<F, S> fmt::Debug for Search<'_, F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("query", &self.query)
            .field("wanted", &self.wanted)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}
