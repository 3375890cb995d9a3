//! Exact answers: looking at every vector.

use super::engine::Engine;
use super::entries::Entries;
use super::hits::{BatchHits, Hit, Hits};
use super::work::Work;
use crate::arena::Pool;
use crate::vector::Block;

/// Answers that a sorted pool keeps; beyond, everything is collected and sorted once.
const POOLED: usize = 1024;

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
            let mut keys = [0; 256];
            let mut slots = [0; 256];
            for start in (0..total).step_by(slots.len()) {
                let count = (total - start).min(slots.len());
                slots.iter_mut().zip(start as u32..).for_each(|(slot, number)| *slot = number);
                engine.keys(vectors, row, &slots[..count], &mut keys[..count]);
                all.extend(keys.iter().copied().zip(slots).take(count));
            }
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
            engine.scan(vectors, row, &mut pools[..1]);
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
        engine.scan(vectors, queries, &mut pools[..count]);
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
