//! The graph index.

pub(in crate::index) mod builder;
pub(in crate::index) mod calibrate;
pub(in crate::index) mod filtered;
pub(in crate::index) mod image;
pub(in crate::index) mod in_order;
pub(in crate::index) mod insert;
pub(in crate::index) mod lanes;
pub(in crate::index) mod maintain;
pub(in crate::index) mod merge;
pub(in crate::index) mod probes;
pub(in crate::index) mod remove;
pub(in crate::index) mod renew;
pub(in crate::index) mod walks;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use super::build::{InsertBatch, Insertable};
use super::encode::Encoder;
use super::entries::Entries;
use super::parallel::OwnPool;
use super::scratch::{Parts, ScratchPool};
use super::search::Search;
use crate::arena::{Slot, pin};
use crate::distance::{Custom, CustomMetric, CustomUse};
use crate::error::IndexError;
use crate::graph::{Graph, Parameters};
use crate::index::hnsw::builder::HnswBuilder;
use crate::index::hnsw::maintain::Remains;
use crate::index::hnsw::remove::Undo;
use crate::index::reports::calibration::Curve;
use crate::index::reports::check::{CheckReport, IndexFault, IndexFaultKind, LevelCheck};
use crate::index::reports::stats::{MemoryUsage, Stats};
use crate::index::search::batch::SearchBatch;
use crate::index::settings::{MetricName, basis_accessors, custom_accessors};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::sync::{Mutex, RwLock};
use crate::vector::{AsVector, Element};
use calibrate::Calibrate;

/// An approximate index: a hierarchical navigable small world graph (Malkov and Yashunin, 2018).
///
/// All methods take `&self`: any number of threads may insert and search at the same time.
/// Searches take no lock. No capacity is declared; the index grows, and nothing in it ever moves.
/// It lives in memory, from which [`Hnsw::save`] writes it to a file; a
/// [`Collection`](crate::Collection) is its durable twin.
///
/// ```
/// use nearfield::{Hnsw, Metric};
///
/// let index = Hnsw::builder(3, Metric::L2).build()?;
/// index.insert(7, &[0.0, 0.0, 1.0])?;
/// index.insert(8, &[0.0, 1.0, 1.0])?;
/// let hits = index.search(&[0.0, 0.1, 1.0]).k(1).run()?;
/// assert_eq!(hits[0].key, 7);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
pub struct Hnsw {
    pub(super) entries: Entries,
    pub(super) graph: Graph,
    isa: Isa,
    /// The factor on squared distances for pruning.
    pub(super) alpha: Option<f32>,
    pub(super) work: ScratchPool,
    own_pool: OwnPool,
    pub(super) search_distances: CachePadded<AtomicU64>,
    pub(super) insert_distances: CachePadded<AtomicU64>,
    /// The recall of each `ef`, once it was measured.
    pub(super) curve: Curve,
    /// Threads that change the index share this lock; a thread that needs an unchanged index takes it alone.
    pub(super) inserting: RwLock<()>,
    pub(super) remains: Mutex<Remains>,
    /// Undoes an insertion under a custom metric.
    undo: Option<Undo>,
}

impl Hnsw {
    /// Starts an index of vectors of `dimension` components (1 to 65,536) under `metric`.
    pub fn builder(dimension: usize, metric: Metric) -> HnswBuilder {
        HnswBuilder::new(dimension, metric)
    }

    /// Starts an index of vectors of `dimension` components (1 to 65,536) under a metric that is written outside this crate: see
    /// [`CustomMetric`].
    ///
    /// ```
    /// use nearfield::custom::Manhattan;
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder_with(2, Manhattan).build()?;
    /// index.insert_batch(&[1, 2], &[3.0, 3.0, 0.0, 5.0]).run()?;
    /// assert_eq!(index.search(&[0.0, 0.0]).run()?.keys().collect::<Vec<_>>(), [2, 1]);
    /// assert_eq!((index.metric(), index.custom_metric()), (Metric::Custom, Some("manhattan")));
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn builder_with(dimension: usize, metric: impl CustomMetric) -> HnswBuilder {
        HnswBuilder::custom(dimension, Custom::new(metric))
    }

    pub(super) fn new(
        entries: Entries,
        isa: Isa,
        parameters: Parameters,
        alpha: Option<f32>,
    ) -> Self {
        Self {
            entries,
            graph: Graph::new(parameters),
            isa,
            alpha,
            work: ScratchPool::new(),
            own_pool: OwnPool::default(),
            search_distances: CachePadded::default(),
            insert_distances: CachePadded::default(),
            curve: Curve::default(),
            inserting: RwLock::new(()),
            remains: Mutex::default(),
            undo: None,
        }
    }

    /// Inserts a vector under a new key. When it returns, searches find the vector.
    ///
    /// Takes `O(log n)` distances in expectation. Many sorted vectors are better inserted as a
    /// [batch](Self::insert_batch), or shuffled, because a graph that grows group by group has few paths between groups.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if the vector is invalid for this index, [`IndexError::KeyExists`],
    /// [`IndexError::OutOfMemory`] and [`IndexError::Full`]; [`IndexError::MetricPanicked`] under a custom metric. The index is then
    /// unchanged.
    pub fn insert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<(), IndexError> {
        self.insert_vector(key, vector.as_vector())
    }

    /// Inserts many vectors, which follow one another in `vectors`, on many threads.
    ///
    /// Sorted vectors, by topic or by origin, are found as well as shuffled ones, because a sample spread over the whole
    /// batch is inserted first.
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(2, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3], &[0.0, 0.0, 5.0, 5.0, 9.0, 9.0]).threads(2).run()?;
    /// assert_eq!(index.len(), 3);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn insert_batch<'a, V: AsVector + ?Sized>(
        &'a self,
        keys: &'a [u64],
        vectors: &'a V,
    ) -> InsertBatch<'a> {
        InsertBatch::new(self, keys, vectors)
    }

    /// Searches for the nearest vectors to `query`: `index.search(&query).k(10).ef(64).run()?`.
    ///
    /// If `ef` is so large that a walk would cost more than a scan of every vector, the search scans, and the answer is
    /// exact.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> Search<'a> {
        Search::new(self, query)
    }

    /// Searches for the nearest vectors to each of many queries, which follow one another in `queries`, on many threads.
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        SearchBatch::new(self, queries)
    }

    /// Measures the recall of each `ef`, so that [`Search::recall`] can be requested: `index.calibrate().run()?`.
    pub fn calibrate(&self) -> Calibrate<'_> {
        Calibrate::new(self)
    }

    /// Returns the stored vector of a key: scaled to unit length under [`Metric::Cosine`], rounded to the element type;
    /// bits are returned as 0 and 1.
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
        let _pin = pin();
        let Encoder { dimension, metric, element } = self.entries.encoder;
        let (rows, upper) = self.graph.bytes(&self.entries.slots);
        Stats {
            len: self.len(),
            dimension,
            metric,
            element,
            code_bits: self.code_bits(),
            code_error: self.entries.codes().and_then(|codes| codes.fit.ratio()),
            isa: self.isa,
            levels: self.graph.level_sizes(),
            lists: None,
            calibration: self.curve.calibration(),
            bytes: MemoryUsage {
                vectors: self.entries.vector_bytes(),
                codes: self.entries.code_bytes(),
                centroids: 0,
                rows,
                upper,
                keys: self.entries.key_bytes(),
                scratch: self.work.bytes(),
            },
            search_distances: self.search_distances.load(Ordering::Relaxed),
            insert_distances: self.insert_distances.load(Ordering::Relaxed),
        }
    }

    /// Reads the whole graph and reports its faults. An index is sound if every vector is reachable on each of its
    /// levels, every link is valid, and every key maps to its vector.
    ///
    /// Takes time and memory in proportion to the graph, waits for running insertions and blocks new ones; searches
    /// continue.
    pub fn check(&self) -> CheckReport {
        let _alone = self.inserting.write();
        let report = self.graph.check(|node| !self.entries.slots.is_hidden(node.into()));
        let keys = self.entries.keys.view();
        let key = |slot: Slot| if keys.has(slot) { keys.row(slot)[0] } else { u64::MAX };
        let mut faults: Vec<_> = report
            .faults
            .iter()
            .map(|&(level, node, fault)| IndexFault {
                level,
                key: key(node.into()),
                kind: fault.into(),
            })
            .collect();
        let lives = |slot: &Slot| !self.entries.slots.is_hidden(*slot);
        for slot in (0..keys.len()).map(Slot::new).filter(lives) {
            let found = self.entries.slot(key(slot));
            // No key maps yet to a vector that is about to replace another.
            let is_coming = found.is_some() && self.entries.replacing.is_ambiguous();
            if found != Some(slot) && !is_coming {
                faults.push(IndexFault { level: 0, key: key(slot), kind: IndexFaultKind::LostKey });
            }
        }
        let levels = report
            .levels
            .iter()
            .map(|level| LevelCheck {
                nodes: level.nodes,
                reachable: level.reachable,
                links: level.links,
                fewest_links: level.fewest_links,
                most_links: level.most_links,
            })
            .collect();
        CheckReport { len: self.len(), levels, faults }
    }
}

impl fmt::Debug for Hnsw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hnsw")
            .field("len", &self.len())
            .field("dimension", &self.dimension())
            .field("metric", &MetricName(self.metric(), self.custom_metric()))
            .field("element", &self.element())
            .field("m", &self.graph.parameters().m)
            .field("code_bits", &self.code_bits())
            .finish_non_exhaustive()
    }
}

impl Parts for Hnsw {
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

impl Hnsw {
    /// Returns the bits of a component of the codes that walks read; `None` if they read the vectors.
    pub(super) fn code_bits(&self) -> Option<u32> {
        let _pin = pin();
        self.entries.walked().codes.map(|codes| codes.coder.bits())
    }
}
