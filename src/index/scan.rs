//! Exact answers: looking at every vector.

use super::codes::Codes;
use super::engine::Engine;
use super::entries::Entries;
use super::hits::{BatchHits, Hit, Hits};
use super::work::Work;
use crate::arena::{Pool, View};
use crate::vector::Block;

/// Answers that a sorted pool keeps; beyond, everything is collected and sorted once.
const POOLED: usize = 1024;

/// Rows that all queries pass over before the next ones: they stay in the first caches.
const TILE: usize = 32;

/// What is scanned: rows, and the engine that measures them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) rows: View<'a, Block>,
    pub(super) entries: &'a Entries,
    /// When the search began, as a moment of replacements.
    pub(super) began: u64,
}

impl Field<'_> {
    /// The `k` nearest to `query`, as keys and slots, are given to `each`. Distances computed are
    /// returned.
    pub(super) fn scan(
        self,
        query: &[Block],
        k: usize,
        pools: &mut Vec<Pool>,
        all: &mut Vec<(u32, u32)>,
        each: impl FnOnce(&mut dyn ExactSizeIterator<Item = (u32, u32)>),
    ) -> u64 {
        let Self { engine, rows, .. } = self;
        let total = rows.len() as usize;
        let k = k.min(total);
        if k == 0 {
            each(&mut std::iter::empty());
            return 0;
        }
        if k > POOLED {
            all.clear();
            self.each_tile(|slots| {
                let mut keys = [0; TILE];
                engine.keys(rows, query, slots, &mut keys[..slots.len()]);
                all.extend(keys.into_iter().zip(slots.iter().copied()));
            });
            let k = k.min(all.len());
            if k < all.len() {
                all.select_nth_unstable(k);
                all.truncate(k);
            }
            all.sort_unstable();
            each(&mut all.iter().copied());
        } else {
            pools.resize_with(pools.len().max(1), Pool::default);
            pools[0].begin(k);
            self.offer(query, &mut pools[..1]);
            each(&mut pools[0].iter());
        }
        total as u64
    }

    /// Offers all slots to the pools of the queries, which are stored one after the other, all of
    /// one length.
    fn offer(self, queries: &[Block], pools: &mut [Pool]) {
        let mut keys = [0; TILE];
        let length = queries.len() / pools.len().max(1);
        self.each_tile(|slots| {
            for (query, pool) in queries.chunks_exact(length.max(1)).zip(pools.iter_mut()) {
                self.engine.keys(self.rows, query, slots, &mut keys[..slots.len()]);
                for (&key, &slot) in keys.iter().zip(slots) {
                    if u64::from(key) < pool.bound() {
                        pool.insert(key, slot);
                    }
                }
            }
        });
    }

    /// Calls `each` with all slots that may be answers, a tile at a time.
    fn each_tile(self, mut each: impl FnMut(&[u32])) {
        let Self { rows, entries, began, .. } = self;
        let mut slots = [0; TILE];
        for start in (0..rows.len()).step_by(TILE) {
            let numbers = start..rows.len().min(start + TILE as u32);
            let mut count = 0;
            let all = entries.all_answer();
            for slot in numbers {
                slots[count] = slot;
                count += usize::from(all || entries.answers(slot, began));
            }
            each(&slots[..count]);
        }
    }
}

impl Entries {
    /// The `k` nearest to the query in `work.row` by the vectors, which are all there.
    pub(super) fn scan(&self, engine: &dyn Engine, k: usize, work: &mut Work, hits: &mut Hits) {
        self.complete(k, work, hits, |Work { row, pools, all, head, .. }, hits| {
            let rows = self.vectors.view();
            let field = Field { engine, rows, entries: self, began: head.began };
            field.scan(row, k, pools, all, |found| hits.set(self.hits(engine, found)))
        });
    }

    /// The `k` nearest to the query in `work.row` by the codes.
    pub(super) fn scan_codes(&self, codes: &Codes, k: usize, work: &mut Work, hits: &mut Hits) {
        self.encoder.decode_into(&work.row, &mut work.coding.floats);
        codes.prepare(&mut work.coding);
        self.complete(k, work, hits, |Work { pools, all, coding, head, .. }, hits| {
            let (engine, rows) = (&*codes.engine, codes.rows.view());
            let field = Field { engine, rows, entries: self, began: head.began };
            field.scan(&coding.query, k, pools, all, |found| {
                let keys = self.keys.view();
                hits.set(found.map(|(key, slot)| Hit {
                    key: keys.row(slot)[0],
                    distance: codes.distance(key),
                }));
            })
        });
    }

    /// Runs `scan`, again if a key that was just replaced took two of the places.
    fn complete(
        &self,
        k: usize,
        work: &mut Work,
        hits: &mut Hits,
        mut scan: impl FnMut(&mut Work, &mut Hits) -> u64,
    ) {
        let mut scanned = 0;
        loop {
            work.head.began = self.replacing.now();
            scanned += scan(work, hits);
            let is_ambiguous = self.replacing.is_ambiguous();
            let is_short = is_ambiguous && hits.drop_repeated_keys() && hits.len() < k;
            if !is_short || hits.len() >= self.len() {
                break;
            }
        }
        hits.set_counters(scanned, 0);
    }

    /// The `k` nearest to each of the queries by the vectors, which are all there, in one pass.
    /// Distances computed are returned.
    pub(super) fn scan_batch(
        &self,
        engine: &dyn Engine,
        queries: &[Block],
        k: usize,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        let vectors = self.vectors.view();
        let total = vectors.len() as usize;
        let k = k.min(total);
        let count = queries.len() / self.vectors.stride();
        if k == 0 || k > POOLED {
            let mut distances = 0;
            let mut hits = Hits::new();
            for query in queries.chunks_exact(self.vectors.stride()) {
                work.row.clear();
                work.row.extend_from_slice(query);
                self.scan(engine, k, work, &mut hits);
                distances += hits.distances_computed();
                out.push(&hits);
            }
            return distances;
        }
        let began = self.replacing.now();
        let field = Field { engine, rows: vectors, entries: self, began };
        let pools = &mut work.pools;
        pools.resize_with(pools.len().max(count), Pool::default);
        pools[..count].iter_mut().for_each(|pool| pool.begin(k));
        field.offer(queries, &mut pools[..count]);
        let mut hits = Hits::new();
        for pool in &pools[..count] {
            hits.set(self.hits(engine, pool.iter()));
            if self.replacing.is_ambiguous() {
                hits.drop_repeated_keys();
            }
            out.push(&hits);
        }
        (total * count) as u64
    }

    fn hits(
        &self,
        engine: &dyn Engine,
        found: impl ExactSizeIterator<Item = (u32, u32)>,
    ) -> impl ExactSizeIterator<Item = Hit> {
        let keys = self.keys.view();
        found.map(move |(key, slot)| Hit { key: keys.row(slot)[0], distance: engine.distance(key) })
    }
}
