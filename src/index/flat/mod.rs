//! The exact index.

mod builder;
mod change;
mod image;
mod maintain;

pub use builder::FlatBuilder;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use super::build::{InsertBatch, Insertable, insert_or_replace};
use super::encode::Encoder;
use super::entries::Entries;
use super::parallel::OwnPool;
use super::scratch::{Parts, ScratchPool, Work};
use super::search::{Search, Searchable};
use crate::arena::pin;
use crate::distance::{Custom, CustomMetric, CustomUse};
use crate::error::IndexError;
use crate::index::entries::cost::measuring;
use crate::index::query::budget::Timer;
use crate::index::query::hits::{BatchHits, Hits};
use crate::index::query::request::Request;
use crate::index::reports::stats::{MemoryUsage, Stats};
use crate::index::search::batch::SearchBatch;
use crate::index::settings::{MetricName, basis_accessors, custom_accessors};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::sync::Mutex;
use crate::vector::{AsVector, Block, Element};

/// An exact index: every search scans every vector.
///
/// The right choice up to some ten thousand vectors, and the reference against which approximate indexes are measured.
/// It has the methods of [`Hnsw`](crate::Hnsw), and ignores `ef`.
///
/// ```
/// use nearfield::{Flat, Metric};
///
/// let index = Flat::builder(2, Metric::InnerProduct).build()?;
/// index.insert_batch(&[1, 2], &[1.0, 0.0, 0.0, 3.0]).run()?;
/// let hits = index.search(&[1.0, 1.0]).k(2).run()?;
/// assert_eq!(hits.keys().collect::<Vec<_>>(), [2, 1]);
/// assert_eq!(hits[0].distance, -3.0);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
pub struct Flat {
    entries: Entries,
    isa: Isa,
    work: ScratchPool,
    own_pool: OwnPool,
    search_distances: CachePadded<AtomicU64>,
    /// Held while a slot is hidden.
    leaving: Mutex<()>,
}

impl Flat {
    /// Starts an index of vectors of `dimension` components (1 to 65,536) under `metric`.
    pub fn builder(dimension: usize, metric: Metric) -> FlatBuilder {
        FlatBuilder::new(dimension, metric)
    }

    /// Starts an index of vectors of `dimension` components (1 to 65,536) under a metric that is written outside this crate: see
    /// [`CustomMetric`].
    ///
    /// ```
    /// use nearfield::custom::Manhattan;
    /// use nearfield::{Flat, Metric};
    ///
    /// let index = Flat::builder_with(2, Manhattan).build()?;
    /// index.insert_batch(&[1, 2], &[3.0, 3.0, 0.0, 5.0]).run()?;
    /// assert_eq!(index.search(&[0.0, 0.0]).run()?.keys().collect::<Vec<_>>(), [2, 1]);
    /// assert_eq!((index.metric(), index.custom_metric()), (Metric::Custom, Some("manhattan")));
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn builder_with(dimension: usize, metric: impl CustomMetric) -> FlatBuilder {
        FlatBuilder::custom(dimension, Custom::new(metric))
    }

    fn new(entries: Entries, isa: Isa) -> Self {
        Self {
            entries,
            isa,
            work: ScratchPool::new(),
            own_pool: OwnPool::default(),
            search_distances: CachePadded::default(),
            leaving: Mutex::new(()),
        }
    }

    /// Inserts a vector under a new key.
    ///
    /// # Errors
    ///
    /// As [`Hnsw::insert`](crate::Hnsw::insert).
    pub fn insert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<(), IndexError> {
        self.insert_vector(key, vector.as_vector())
    }

    /// Inserts many vectors, which follow one another in `vectors`.
    pub fn insert_batch<'a, V: AsVector + ?Sized>(
        &'a self,
        keys: &'a [u64],
        vectors: &'a V,
    ) -> InsertBatch<'a> {
        InsertBatch::new(self, keys, vectors)
    }

    /// Searches for the nearest vectors to `query`, exactly.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> Search<'a> {
        Search::new(self, query)
    }

    /// Searches for the nearest vectors to each of many queries, exactly. Faster than one search after the other,
    /// because vectors are read into the caches once for many queries.
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        SearchBatch::new(self, queries)
    }

    /// Returns the vector of a key, as [`Hnsw::get`](crate::Hnsw::get).
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.entries.get(key)
    }

    /// Returns whether the key has a vector.
    pub fn contains(&self, key: u64) -> bool {
        self.entries.slot(key).is_some()
    }

    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the keys of all vectors, in no order. `O(n)`. A vector that another thread inserts or removes meanwhile may be among them
    /// or not. Returns no keys in a forked child of the process that opened the file of the index.
    pub fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.all_keys()
    }

    basis_accessors!();
    custom_accessors!();

    /// Returns sizes and counters.
    pub fn stats(&self) -> Stats {
        let Encoder { dimension, metric, element } = self.entries.encoder;
        Stats {
            len: self.len(),
            dimension,
            metric,
            element,
            code_bits: None,
            code_error: None,
            isa: self.isa,
            levels: Vec::new(),
            lists: None,
            calibration: None,
            bytes: MemoryUsage {
                vectors: self.entries.vector_bytes(),
                keys: self.entries.key_bytes(),
                scratch: self.work.bytes(),
                ..MemoryUsage::default()
            },
            search_distances: self.search_distances.load(Ordering::Relaxed),
            insert_distances: 0,
        }
    }
}

impl fmt::Debug for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flat")
            .field("len", &self.len())
            .field("dimension", &self.dimension())
            .field("metric", &MetricName(self.metric(), self.custom_metric()))
            .field("element", &self.element())
            .finish_non_exhaustive()
    }
}

impl Parts for Flat {
    fn encoder(&self) -> &Encoder {
        &self.entries.encoder
    }

    fn work(&self) -> &ScratchPool {
        &self.work
    }

    fn own_pool(&self) -> &OwnPool {
        &self.own_pool
    }

    fn admit(&self) -> Result<(), IndexError> {
        self.entries.admit()
    }

    fn custom_use(&self) -> Option<&CustomUse> {
        self.entries.engine.custom_use()
    }
}

impl Searchable for Flat {
    fn find(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        let _pin = pin();
        let began = self.entries.replacing.now();
        let request = &Request { began, ..*request };
        let form = self.entries.by_vectors();
        let row = form.row_bytes();
        let timer = &mut Timer::new(request.limit, request.k, row);
        if timer.expired() {
            return hits.set_nothing();
        }
        if let Some(filter) = request.screen.filter() {
            let is_dear = request.screen.filter.is_some_and(|_| filter.count().is_none())
                && self.entries.asking_cost(filter) > measuring(row);
            if is_dear || request.screen.only_excluded().is_some() {
                work.verdicts.begin(self.entries.keys.view().len());
                self.entries.scan_in_order(form, request, timer, work, hits);
            } else {
                self.entries.scan_accepted(form, request, timer, work, hits);
            }
        } else {
            self.entries.scan(form, request, timer, work, hits);
        }
        hits.set_complete(!timer.expired());
        self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
    }

    fn find_all(&self, queries: &[Block], request: &Request<'_>, out: &mut BatchHits) {
        self.work.with(|work| {
            if request.screen.filter().is_some() || !request.limit.is_none() {
                return self.find_each(queries, request, work, out);
            }
            let _pin = pin();
            let request = &Request { began: self.entries.replacing.now(), ..*request };
            let distances = self.entries.scan_batch(queries, request, work, out);
            self.search_distances.fetch_add(distances, Ordering::Relaxed);
        });
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn ef_for(&self, _recall: f64, _k: Option<usize>) -> Result<usize, IndexError> {
        Ok(1)
    }
}

impl Insertable for Flat {
    fn contains(&self, key: u64) -> bool {
        Self::contains(self, key)
    }

    fn upsert_encoded(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        insert_or_replace(self, key, work, |work| {
            self.supersede(key, None, work, |Work { row, coding, .. }| {
                self.entries.write(key, row, coding, None).map(Some)
            })
        })
    }

    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        self.entries.append(key, &work.row, &mut work.coding, None).map(|_place| ())
    }
}
