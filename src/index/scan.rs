//! Exact answers: looking at every vector.

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

impl Entries {
    /// The `k` nearest to the query in `work.row`.
    pub(super) fn scan(&self, engine: &dyn Engine, k: usize, work: &mut Work, hits: &mut Hits) {
        let Work { row, pools, all, .. } = work;
        let vectors = self.vectors.view();
        let total = vectors.len() as usize;
        let k = k.min(total);
        let scanned = if k == 0 {
            hits.set(std::iter::empty());
            0
        } else if k > POOLED {
            let scanned = total;
            all.clear();
            each_tile(vectors, |slots| {
                let mut keys = [0; TILE];
                engine.keys(vectors, row, slots, &mut keys[..slots.len()]);
                all.extend(keys.into_iter().zip(slots.iter().copied()));
            });
            if k < scanned {
                all.select_nth_unstable(k);
                all.truncate(k);
            }
            all.sort_unstable();
            hits.set(self.hits(engine, all.iter().copied()));
            scanned
        } else {
            pools.resize_with(pools.len().max(1), Pool::default);
            pools[0].begin(k);
            offer(engine, vectors, row, &mut pools[..1]);
            hits.set(self.hits(engine, pools[0].iter()));
            total
        };
        hits.set_counters(scanned as u64, 0);
    }

    /// The `k` nearest to each of the queries, in one pass over the vectors. Distances computed
    /// are returned.
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
        let pools = &mut work.pools;
        pools.resize_with(pools.len().max(count), Pool::default);
        pools[..count].iter_mut().for_each(|pool| pool.begin(k));
        offer(engine, vectors, queries, &mut pools[..count]);
        let mut hits = Hits::new();
        for pool in &pools[..count] {
            hits.set(self.hits(engine, pool.iter()));
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

/// Offers all slots to the pools of the queries, which are stored one after the other.
fn offer(engine: &dyn Engine, vectors: View<'_, Block>, queries: &[Block], pools: &mut [Pool]) {
    let mut keys = [0; TILE];
    each_tile(vectors, |slots| {
        for (query, pool) in queries.chunks_exact(vectors.stride()).zip(pools.iter_mut()) {
            engine.keys(vectors, query, slots, &mut keys[..slots.len()]);
            for (&key, &slot) in keys.iter().zip(slots) {
                if u64::from(key) < pool.bound() {
                    pool.insert(key, slot);
                }
            }
        }
    });
}

/// Calls `each` with all slots, a tile at a time.
fn each_tile(vectors: View<'_, Block>, mut each: impl FnMut(&[u32])) {
    let mut slots = [0; TILE];
    for start in (0..vectors.len()).step_by(TILE) {
        let count = (vectors.len() - start).min(TILE as u32) as usize;
        for (slot, number) in slots.iter_mut().zip(start..) {
            *slot = number;
        }
        each(&slots[..count]);
    }
}
