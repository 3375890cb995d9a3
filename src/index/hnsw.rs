//! The graph index.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use parking_lot::RwLock;

use super::batch::{InsertBatch, Insertable};
use super::builder::HnswBuilder;
use super::check::{CheckReport, Fault, FaultKind, LevelCheck};
use super::encoder::Encoder;
use super::engine::Engine;
use super::entries::Entries;
use super::hits::{BatchHits, Hit, Hits};
use super::search::{Search, SearchBatch, Searchable};
use super::space::Rows;
use super::stats::{Bytes, Stats};
use super::threads::OwnPool;
use super::work::{Parts, Work, WorkPool};
use crate::error::IndexError;
use crate::graph::{Counters, Graph, LANES, Parameters, Scratch};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::{AsVector, Block, Element};

/// An approximate index: a hierarchical navigable small world graph (Malkov and Yashunin, 2018).
///
/// All methods take `&self`: any number of threads may insert and search at the same time.
/// Searches take no lock. No capacity is declared; the index grows, and nothing in it ever moves.
/// It lives in memory: saving comes with the page store.
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
#[derive(Debug)]
pub struct Hnsw {
    pub(super) entries: Entries,
    pub(super) graph: Graph,
    engine: Box<dyn Engine>,
    isa: Isa,
    /// Factor on squared distances for pruning.
    pub(super) alpha: Option<f32>,
    pub(super) work: WorkPool,
    own_pool: OwnPool,
    search_distances: CachePadded<AtomicU64>,
    insert_distances: CachePadded<AtomicU64>,
    /// Shared by insertions, taken alone by `check`.
    pub(super) inserting: RwLock<()>,
}

impl Hnsw {
    /// Starts an index of vectors of `dimension` components (1 to 65,536) under `metric`.
    pub fn builder(dimension: usize, metric: Metric) -> HnswBuilder {
        HnswBuilder::new(dimension, metric)
    }

    pub(super) fn new(
        encoder: Encoder,
        isa: Isa,
        engine: Box<dyn Engine>,
        parameters: Parameters,
        alpha: Option<f32>,
    ) -> Self {
        Self {
            entries: Entries::new(encoder),
            graph: Graph::new(parameters),
            engine,
            isa,
            alpha,
            work: WorkPool::new(),
            own_pool: OwnPool::default(),
            search_distances: CachePadded::default(),
            insert_distances: CachePadded::default(),
            inserting: RwLock::new(()),
        }
    }

    /// Inserts a vector under a new key. When it returns, searches find the vector.
    ///
    /// Takes `O(log n)` distances in expectation.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if it is no vector for this index, [`IndexError::KeyExists`],
    /// [`IndexError::OutOfMemory`] and [`IndexError::Full`]. The index is then as it was.
    pub fn insert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<(), IndexError> {
        self.work.with(|work| {
            work.row.resize(self.entries.encoder.blocks(), Block::ZERO);
            self.entries.encoder.encode(vector.as_vector(), &mut work.row)?;
            self.insert_encoded(key, work)
        })
    }

    /// Inserts many vectors, which stand one after the other in `vectors`, on many threads.
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

    /// The nearest vectors to `query`: `index.search(&query).k(10).ef(64).run()?`.
    ///
    /// Where `ef` is so large that walking would cost more than looking at every vector, every
    /// vector is looked at, and the answer is exact.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> Search<'a> {
        Search::new(self, query)
    }

    /// The nearest vectors to each of many queries, which stand one after the other in `queries`,
    /// on many threads.
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        SearchBatch::new(self, queries)
    }

    /// The vector of a key as it is stored: scaled to unit length under [`Metric::Cosine`],
    /// rounded to the element type; bits come as 0 and 1.
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.entries.get(key)
    }

    /// Whether there is a vector under the key.
    pub fn contains(&self, key: u64) -> bool {
        self.entries.slot(key).is_some()
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.entries.encoder.dimension
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.entries.encoder.metric
    }

    /// What a component is stored as.
    pub fn element(&self) -> Element {
        self.entries.encoder.element
    }

    /// Sizes, and what has been done.
    pub fn stats(&self) -> Stats {
        let Encoder { dimension, metric, element } = self.entries.encoder;
        let (rows, upper) = self.graph.bytes();
        Stats {
            len: self.len(),
            dimension,
            metric,
            element,
            isa: self.isa,
            levels: self.graph.level_sizes(),
            bytes: Bytes {
                vectors: self.entries.vectors.bytes(),
                rows,
                upper,
                keys: self.entries.key_bytes(),
                scratch: self.work.bytes(),
            },
            search_distances: self.search_distances.load(Ordering::Relaxed),
            insert_distances: self.insert_distances.load(Ordering::Relaxed),
        }
    }

    /// Reads the whole graph and tells whether it is sound: every vector reachable on each of its
    /// levels, every link valid, every key leading to its vector.
    ///
    /// Takes time and memory in proportion to the graph, waits for running insertions and holds
    /// new ones up; searches go on.
    pub fn check(&self) -> CheckReport {
        let _alone = self.inserting.write();
        let report = self.graph.check();
        let keys = self.entries.keys.view();
        let key = |node: u32| if node < keys.len() { keys.row(node)[0] } else { u64::MAX };
        let mut faults: Vec<_> = report
            .faults
            .iter()
            .map(|&(level, node, fault)| Fault { level, key: key(node), kind: fault.into() })
            .collect();
        for slot in 0..keys.len() {
            if self.entries.slot(key(slot)) != Some(slot) {
                faults.push(Fault { level: 0, key: key(slot), kind: FaultKind::LostKey });
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

impl Parts for Hnsw {
    fn encoder(&self) -> &Encoder {
        &self.entries.encoder
    }

    fn work(&self) -> &WorkPool {
        &self.work
    }

    fn own_pool(&self) -> &OwnPool {
        &self.own_pool
    }
}

impl Hnsw {
    /// Whether a walk would touch about as many vectors as there are, so that a scan, which is
    /// exact, costs less.
    fn scans(&self, k: usize, ef: usize) -> bool {
        /// Rows that a walk touches for each candidate it keeps: about this many at least.
        const TOUCHED: usize = 16;

        k == 0 || ef.saturating_mul(TOUCHED) >= self.entries.keys.len()
    }

    /// Turns what a walk left in `scratch` into the `k` hits.
    fn collect(&self, k: usize, scratch: &Scratch, hits: &mut Hits) {
        // Taken after the walk: no node that it met is younger.
        let keys = self.entries.keys.view();
        let found = scratch.pool.iter();
        let take = found.len().min(k);
        hits.set(found.take(take).map(|(distance, slot)| Hit {
            key: keys.row(slot)[0],
            distance: self.engine.distance(distance),
        }));
        hits.set_counters(scratch.counters.distances, scratch.counters.hops);
    }
}

impl Searchable for Hnsw {
    fn find(&self, k: usize, ef: usize, work: &mut Work, hits: &mut Hits) {
        if self.scans(k, ef) {
            self.entries.scan(&*self.engine, k, work, hits);
        } else {
            let Work { scratch, row, .. } = work;
            scratch.counters = Counters::default();
            let space = Rows::new(&*self.engine, &self.entries.vectors, None);
            self.graph.search(space, row, ef, scratch);
            self.collect(k, scratch, hits);
        }
        self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
    }

    fn find_all(&self, queries: &[Block], k: usize, ef: usize, out: &mut BatchHits) {
        /// Longest vectors whose walks take turns: four times sixteen of them are 16 KiB.
        const BLOCKS_IN_TURN: usize = 4;

        let blocks = self.entries.encoder.blocks();
        let mut hits = Hits::new();
        self.work.with(|work| {
            if self.scans(k, ef) {
                let distances = self.entries.scan_batch(&*self.engine, queries, k, work, out);
                self.search_distances.fetch_add(distances, Ordering::Relaxed);
                return;
            }
            // What waits for its turn must still be in the first cache when the turn comes.
            let at_once = if blocks > BLOCKS_IN_TURN { 1 } else { LANES };
            work.lanes.resize_with(LANES, Scratch::default);
            let space = Rows::new(&*self.engine, &self.entries.vectors, None);
            for queries in queries.chunks(at_once * blocks) {
                let mut lanes: [&[Block]; LANES] = [&[]; LANES];
                let count = queries.len() / blocks;
                for (lane, query) in lanes.iter_mut().zip(queries.chunks_exact(blocks)) {
                    *lane = query;
                }
                let scratches = &mut work.lanes[..count];
                for scratch in &mut *scratches {
                    scratch.counters = Counters::default();
                }
                self.graph.search_lanes(space, &lanes[..count], ef, scratches);
                for scratch in scratches {
                    self.collect(k, scratch, &mut hits);
                    self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
                    out.push(&hits);
                }
            }
        });
    }
}

impl Insertable for Hnsw {
    fn contains(&self, key: u64) -> bool {
        Self::contains(self, key)
    }

    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        let _shared = self.inserting.read();
        let slot = self.entries.append(key, &work.row, Some(&self.graph))?;
        let Work { scratch, row, .. } = work;
        scratch.counters = Counters::default();
        let space = Rows::new(&*self.engine, &self.entries.vectors, self.alpha);
        self.graph.insert(space, row, slot, scratch);
        self.insert_distances.fetch_add(scratch.counters.distances, Ordering::Relaxed);
        Ok(())
    }
}
