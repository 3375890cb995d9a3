//! The graph index.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use parking_lot::RwLock;

use super::batch::{InsertBatch, Insertable};
use super::builder::HnswBuilder;
use super::check::{CheckReport, Fault, FaultKind, LevelCheck};
use super::codes::{Codes, ENOUGH, Quantized};
use super::encoder::Encoder;
use super::engine::Engine;
use super::entries::Entries;
use super::hits::{BatchHits, Hit, Hits};
use super::rerank::Head;
use super::search::{Probing, Request, Search, SearchBatch, Searchable};
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
        entries: Entries,
        isa: Isa,
        engine: Box<dyn Engine>,
        parameters: Parameters,
        alpha: Option<f32>,
    ) -> Self {
        Self {
            entries,
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
            code_bits: self
                .entries
                .codes()
                .and(self.entries.quantized.as_ref())
                .map(|q| q.bits.count()),
            isa: self.isa,
            levels: self.graph.level_sizes(),
            lists: None,
            bytes: Bytes {
                vectors: self.entries.vectors.bytes(),
                codes: self.entries.quantized.as_ref().map_or(0, Quantized::bytes),
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
    fn collect(
        &self,
        codes: Option<&Codes>,
        query: &[Block],
        k: usize,
        scratch: &Scratch,
        head: &mut Head,
        hits: &mut Hits,
    ) {
        // Taken after the walk: no node that it met is younger.
        let keys = self.entries.keys.view();
        let key = |slot: u32| keys.row(slot)[0];
        let found = scratch.pool.iter();
        let mut distances = scratch.counters.distances;
        let take = found.len().min(k);
        match codes {
            Some(_) if self.entries.has_vectors() => {
                let vectors = self.entries.vectors.view();
                let candidates = found.take(Head::depth(k)).map(|(_, slot)| slot);
                head.measure(&*self.engine, vectors, query, candidates);
                distances += head.sorted.len() as u64;
                hits.set(head.sorted[..take.min(head.sorted.len())].iter().map(
                    |&(distance, slot)| Hit {
                        key: key(slot),
                        distance: self.engine.distance(distance),
                    },
                ));
            }
            Some(codes) => hits.set(found.take(take).map(|(distance, slot)| Hit {
                key: key(slot),
                distance: codes.distance(distance),
            })),
            None => hits.set(found.take(take).map(|(distance, slot)| Hit {
                key: key(slot),
                distance: self.engine.distance(distance),
            })),
        }
        hits.set_counters(distances, scratch.counters.hops);
    }

    /// Brings the codes forward, if there are to be some: a little work, after an insertion.
    fn advance(&self, work: &mut Work) {
        let Some(quantized) = &self.entries.quantized else { return };
        if quantized.codes().is_some() {
            return;
        }
        let vectors = self.entries.vectors.view();
        if !quantized.is_filling() {
            if (vectors.len() as usize) < ENOUGH {
                return;
            }
            quantized.fit(vectors.len() as usize, |at, floats| {
                self.entries.encoder.decode_into(vectors.row(at as u32), floats);
            });
        }
        let decode = |slot: u32, floats: &mut Vec<f32>| {
            self.entries.encoder.decode_into(self.entries.vectors.view().row(slot), floats);
        };
        // Without memory for codes, walks go on reading vectors; the next insertion tries again.
        if let Ok(true) = quantized.fill(vectors.len(), &mut work.coding, decode) {
            // Nobody is between a slot and its links: all go on with codes.
            let _alone = self.inserting.write();
            let count = self.entries.vectors.view().len();
            let _ = quantized.finish(count, &mut work.coding, decode);
        }
    }
}

impl Hnsw {
    /// Answers up to [`LANES`] queries, whose walks take turns.
    fn find_lanes(
        &self,
        codes: Option<&Codes>,
        queries: &[Block],
        request: &Request,
        work: &mut Work,
        hits: &mut Hits,
        out: &mut BatchHits,
    ) {
        let Request { k, ef, .. } = *request;
        let blocks = self.entries.encoder.blocks();
        let count = queries.len() / blocks;
        let Work { lanes: scratches, coding, prepared, head, .. } = &mut *work;
        scratches.resize_with(LANES, Scratch::default);
        let scratches = &mut scratches[..count];
        for scratch in &mut *scratches {
            scratch.counters = Counters::default();
        }
        let mut lanes: [&[Block]; LANES] = [&[]; LANES];
        let complete = if let Some(codes) = codes {
            prepared.clear();
            for query in queries.chunks_exact(blocks) {
                self.entries.encoder.decode_into(query, &mut coding.floats);
                codes.prepare(coding);
                prepared.extend_from_slice(&coding.query);
            }
            for (lane, query) in lanes.iter_mut().zip(prepared.chunks_exact(coding.query.len())) {
                *lane = query;
            }
            let space = Rows::new(&*codes.engine, &codes.rows, None);
            self.graph.search_lanes(space, &lanes[..count], ef, scratches)
        } else {
            for (lane, query) in lanes.iter_mut().zip(queries.chunks_exact(blocks)) {
                *lane = query;
            }
            let space = Rows::new(&*self.engine, &self.entries.vectors, None);
            self.graph.search_lanes(space, &lanes[..count], ef, scratches)
        };
        if !complete {
            // The index went over to codes, without vectors, in this moment.
            for query in queries.chunks_exact(blocks) {
                work.row.clear();
                work.row.extend_from_slice(query);
                self.find(request, work, hits);
                out.push(hits);
            }
            return;
        }
        for (scratch, query) in scratches.iter().zip(queries.chunks_exact(blocks)) {
            self.collect(codes, query, k, scratch, head, hits);
            self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
            out.push(hits);
        }
    }
}

impl Searchable for Hnsw {
    fn find(&self, request: &Request, work: &mut Work, hits: &mut Hits) {
        let Request { k, ef, .. } = *request;
        let codes = self.entries.codes();
        if self.scans(k, ef) {
            match codes {
                Some(codes) if !self.entries.has_vectors() => {
                    self.entries.scan_codes(codes, k, work, hits);
                }
                _ => self.entries.scan(&*self.engine, k, work, hits),
            }
        } else {
            let Work { scratch, row, coding, head, .. } = &mut *work;
            scratch.counters = Counters::default();
            let complete = if let Some(codes) = codes {
                self.entries.encoder.decode_into(row, &mut coding.floats);
                codes.prepare(coding);
                let space = Rows::new(&*codes.engine, &codes.rows, None);
                self.graph.search(space, &coding.query, ef, scratch)
            } else {
                let space = Rows::new(&*self.engine, &self.entries.vectors, None);
                self.graph.search(space, row, ef, scratch)
            };
            if !complete {
                // The index went over to codes, without vectors, in this moment.
                return self.find(request, work, hits);
            }
            self.collect(codes, row, k, scratch, head, hits);
        }
        self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
    }

    fn find_all(&self, queries: &[Block], request: &Request, out: &mut BatchHits) {
        /// Longest rows whose walks take turns: four times sixteen of them are 16 KiB.
        const BLOCKS_IN_TURN: usize = 4;

        let Request { k, ef, .. } = *request;
        let blocks = self.entries.encoder.blocks();
        let codes = self.entries.codes();
        let column = codes.map_or(&self.entries.vectors, |codes| &codes.rows);
        let mut hits = Hits::new();
        self.work.with(|work| {
            if self.scans(k, ef) && self.entries.has_vectors() {
                let distances = self.entries.scan_batch(&*self.engine, queries, k, work, out);
                self.search_distances.fetch_add(distances, Ordering::Relaxed);
                return;
            }
            // What waits for its turn must still be in the first cache when the turn comes.
            if self.scans(k, ef) || column.stride() > BLOCKS_IN_TURN {
                for query in queries.chunks_exact(blocks) {
                    work.row.clear();
                    work.row.extend_from_slice(query);
                    self.find(request, work, &mut hits);
                    out.push(&hits);
                }
                return;
            }
            for queries in queries.chunks(LANES * blocks) {
                self.find_lanes(codes, queries, request, work, &mut hits, out);
            }
        });
    }

    fn probing(&self) -> Probing {
        Probing::Refused
    }
}

impl Insertable for Hnsw {
    fn contains(&self, key: u64) -> bool {
        Self::contains(self, key)
    }

    fn expect(&self, count: usize, vector: &dyn Fn(usize, &mut Work)) {
        let Some(quantized) = &self.entries.quantized else { return };
        if quantized.codes().is_some() || self.len() + count < ENOUGH {
            return;
        }
        self.work.with(|work| {
            let work = std::cell::RefCell::new(work);
            if count >= ENOUGH / 2 {
                quantized.fit(count, |position, floats| {
                    let work = &mut **work.borrow_mut();
                    vector(position, work);
                    self.entries.encoder.decode_into(&work.row, floats);
                });
            }
            let work = work.into_inner();
            while quantized.is_filling() {
                self.advance(work);
            }
        });
    }

    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        {
            let _shared = self.inserting.read();
            let Work { scratch, row, coding, .. } = &mut *work;
            let slot = self.entries.append(key, row, coding, Some(&self.graph))?;
            scratch.counters = Counters::default();
            if let Some(codes) = self.entries.codes() {
                codes.prepare(coding);
                let space = Rows::new(&*codes.engine, &codes.rows, self.alpha);
                self.graph.insert(space, &coding.query, slot, scratch);
            } else {
                let space = Rows::new(&*self.engine, &self.entries.vectors, self.alpha);
                self.graph.insert(space, row, slot, scratch);
            }
            self.insert_distances.fetch_add(scratch.counters.distances, Ordering::Relaxed);
        }
        self.advance(work);
        Ok(())
    }
}
