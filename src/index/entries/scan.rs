//! Exact answers: scans of every vector.

use super::Entries;
use super::deliver::Scale;
use crate::arena::{Pool, View};
use crate::graph::Watch;
use crate::index::codes::Codes;
use crate::index::distances::Engine;
use crate::index::query::budget::Timer;
use crate::index::query::hits::{BatchHits, Hits, Plan};
use crate::index::query::request::Request;
use crate::index::scratch::Work;
use crate::vector::Block;

/// Answers that a sorted pool keeps; a scan for more collects everything and sorts it once.
const POOLED: usize = 1024;

/// Rows that all queries scan before the next ones: they stay in the first caches.
const TILE: usize = 32;

/// Rows to scan, and the engine that measures them.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Field<'a> {
    pub(in crate::index) engine: &'a dyn Engine,
    pub(in crate::index) rows: View<'a, Block>,
    /// A bit for each slot to skip; the bits of the last slots may be absent.
    pub(in crate::index) hidden: &'a [u64],
    /// Maximum key of a wanted distance.
    pub(in crate::index) within: u32,
}

impl Field<'_> {
    /// Passes the `k` nearest to `query`, as keys and slots, to `each`. Returns the number of distances
    /// computed.
    pub(in crate::index) fn scan(
        self,
        query: &[Block],
        k: usize,
        pools: &mut Vec<Pool>,
        all: &mut Vec<(u32, u32)>,
        timer: &mut Timer<'_>,
        each: impl FnOnce(&mut dyn Iterator<Item = (u32, u32)>),
    ) -> u64 {
        let total = self.rows.len() as usize;
        let k = k.min(total);
        if k == 0 {
            each(&mut std::iter::empty());
            return 0;
        }
        if k > POOLED {
            let measured = self.measure_all(query, all, timer);
            keep_nearest(all, k);
            each(&mut all.iter().copied());
            measured
        } else {
            pools.resize_with(pools.len().max(1), Pool::default);
            pools[0].begin(k);
            let measured = self.offer(query, &mut pools[..1], timer);
            each(&mut pools[0].iter());
            measured
        }
    }

    /// Leaves all slots with their keys in `all`, unsorted. Returns the number of distances computed.
    pub(in crate::index) fn measure_all(
        self,
        query: &[Block],
        all: &mut Vec<(u32, u32)>,
        timer: &mut Timer<'_>,
    ) -> u64 {
        all.clear();
        let mut measured = 0;
        self.each_tile(|slots| {
            let mut keys = [0; TILE];
            self.engine.keys(self.rows, query, slots, &mut keys[..slots.len()]);
            let near = keys.into_iter().zip(slots.iter().copied());
            all.extend(near.filter(|&(key, _)| key <= self.within));
            measured += slots.len() as u64;
            !timer.spent(slots.len())
        });
        measured
    }

    /// Offers all slots to the pools of the queries, which are stored one after the other, all of
    /// one length. Returns the number of distances computed.
    fn offer(self, queries: &[Block], pools: &mut [Pool], timer: &mut Timer<'_>) -> u64 {
        let mut keys = [0; TILE];
        let length = queries.len() / pools.len().max(1);
        let mut measured = 0;
        self.each_tile(|slots| {
            for (query, pool) in queries.chunks_exact(length.max(1)).zip(pools.iter_mut()) {
                self.engine.keys(self.rows, query, slots, &mut keys[..slots.len()]);
                for (&key, &slot) in keys.iter().zip(slots) {
                    if u64::from(key) < pool.bound() && key <= self.within {
                        pool.insert(key, slot);
                    }
                }
            }
            measured += slots.len() * pools.len();
            !timer.spent(slots.len() * pools.len())
        });
        measured as u64
    }

    /// Writes the `k` nearest to each of the queries, which are stored one after the other, in order.
    fn scan_lists(self, queries: &[Block], k: usize, lists: &mut [Vec<(u32, u32)>]) {
        let mut keys = [0; TILE];
        let length = queries.len() / lists.len().max(1);
        self.each_tile(|slots| {
            for (query, list) in queries.chunks_exact(length.max(1)).zip(lists.iter_mut()) {
                self.engine.keys(self.rows, query, slots, &mut keys[..slots.len()]);
                let near = keys.into_iter().zip(slots.iter().copied());
                list.extend(near.filter(|&(key, _)| key <= self.within));
                if list.len() / 2 >= k {
                    list.select_nth_unstable(k);
                    list.truncate(k);
                }
            }
            true
        });
        for list in lists {
            keep_nearest(list, k);
        }
    }

    /// Calls `each` with all slots but the hidden ones, a tile at a time, until it returns `false`.
    fn each_tile(self, mut each: impl FnMut(&[u32]) -> bool) {
        let mut slots = [0; TILE];
        for start in (0..self.rows.len()).step_by(TILE) {
            let mut count = 0;
            for slot in start..self.rows.len().min(start + TILE as u32) {
                slots[count] = slot;
                count += usize::from(!is_set(self.hidden, slot));
            }
            if !each(&slots[..count]) {
                break;
            }
        }
    }
}

/// Keeps the `k` nearest, the nearest first.
fn keep_nearest(all: &mut Vec<(u32, u32)>, k: usize) {
    if k < all.len() {
        all.select_nth_unstable(k);
        all.truncate(k);
    }
    all.sort_unstable();
}

/// Returns whether a bitmap has the bit of a slot.
pub(in crate::index) fn is_set(bits: &[u64], slot: u32) -> bool {
    let word = bits.get((slot / u64::BITS) as usize);
    word.is_some_and(|word| word >> (slot % u64::BITS) & 1 != 0)
}

/// The nearest of slots that are offered one by one.
#[derive(Debug, Default)]
pub(in crate::index) struct Matches {
    /// Slots that wait to be measured together.
    waiting: Vec<u32>,
    pool: Pool,
    /// All measured slots, if more are wanted than a pool should hold.
    all: Vec<(u32, u32)>,
    k: usize,
    /// Distances computed.
    pub(in crate::index) measured: u64,
}

impl Matches {
    /// Starts empty; `k` slots will be wanted.
    pub(in crate::index) fn begin(&mut self, k: usize) {
        self.waiting.clear();
        self.all.clear();
        self.pool.begin(k.clamp(1, POOLED));
        self.k = k;
        self.measured = 0;
    }

    /// Offers a slot, which the field has. Returns `false` if it is time to end.
    pub(in crate::index) fn add(
        &mut self,
        field: Field<'_>,
        query: &[Block],
        slot: u32,
        timer: &mut Timer<'_>,
    ) -> bool {
        field.rows.prefetch(slot);
        self.waiting.push(slot);
        if self.waiting.len() < TILE {
            return true;
        }
        self.measure(field, query);
        !timer.spent(TILE)
    }

    fn measure(&mut self, field: Field<'_>, query: &[Block]) {
        let Self { waiting, pool, all, k, measured } = self;
        let mut keys = [0; TILE];
        let keys = &mut keys[..waiting.len()];
        field.engine.keys(field.rows, query, waiting, keys);
        *measured += waiting.len() as u64;
        if *k > POOLED {
            let near = keys.iter().copied().zip(waiting.iter().copied());
            all.extend(near.filter(|&(key, _)| key <= field.within));
        } else if *k > 0 {
            pool.offer(keys, waiting);
        }
        waiting.clear();
    }

    /// Passes the `k` nearest, as keys and slots, to `each`.
    pub(in crate::index) fn finish(
        &mut self,
        field: Field<'_>,
        query: &[Block],
        each: impl FnOnce(&mut dyn Iterator<Item = (u32, u32)>),
    ) {
        self.measure(field, query);
        if self.k > POOLED {
            keep_nearest(&mut self.all, self.k);
            each(&mut self.all.iter().copied());
        } else if self.k > 0 {
            each(&mut self.pool.iter());
        } else {
            each(&mut std::iter::empty());
        }
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        self.waiting.capacity() * 4 + self.pool.bytes() + self.all.capacity() * 8
    }
}

impl Entries {
    /// Finds the nearest to the query in `work.row` by the vectors, which are all stored.
    pub(in crate::index) fn scan(
        &self,
        engine: &dyn Engine,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, pools, hidden, all, .. } = work;
        let (rows, kept) = self.moment(&self.vectors, request.k, hidden);
        let within = self.key_within(Scale::Vectors(engine), request.radius);
        let field = Field { engine, rows, hidden, within };
        let measured = field.scan(row, kept, pools, all, timer, |found| {
            self.deliver(Scale::Vectors(engine), request, found, hits);
        });
        hits.set_counters(measured, 0);
        hits.set_plan(Plan::Scan);
    }

    /// Finds the nearest to the query in `work.row` by the codes.
    pub(in crate::index) fn scan_codes(
        &self,
        codes: &Codes,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, pools, hidden, all, coding, .. } = work;
        self.encoder.unit_into(row, &mut coding.floats);
        codes.prepare(coding);
        let (rows, kept) = self.moment(&codes.rows, request.k, hidden);
        let within = self.key_within(Scale::Codes(codes), request.radius);
        let field = Field { engine: &*codes.engine, rows, hidden, within };
        let measured = field.scan(&coding.query, kept, pools, all, timer, |found| {
            self.deliver(Scale::Codes(codes), request, found, hits);
        });
        hits.set_counters(measured, 0);
        hits.set_plan(Plan::Scan);
    }

    /// Finds the nearest to each of the queries by the vectors, which are all stored, in one pass.
    /// Returns the number of distances computed. The request has no filter and no limit.
    pub(in crate::index) fn scan_batch(
        &self,
        engine: &dyn Engine,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        let k = request.k.min(self.vectors.len());
        let count = queries.len() / self.vectors.stride();
        let timer = &mut Timer::new(request.limit, k, 0);
        let mut hits = Hits::new();
        if k > POOLED && request.radius.is_some() {
            return self.scan_batch_within(engine, queries, request, work, out);
        }
        if k == 0 || k > POOLED {
            let mut distances = 0;
            for query in queries.chunks_exact(self.vectors.stride()) {
                work.row.clear();
                work.row.extend_from_slice(query);
                self.scan(engine, request, timer, work, &mut hits);
                distances += hits.distances_computed();
                out.push(&hits);
            }
            return distances;
        }
        let Work { pools, hidden, .. } = work;
        let (rows, kept) = self.moment(&self.vectors, k, hidden);
        pools.resize_with(pools.len().max(count), Pool::default);
        pools[..count].iter_mut().for_each(|pool| pool.begin(kept));
        let within = self.key_within(Scale::Vectors(engine), request.radius);
        let field = Field { engine, rows, hidden, within };
        let measured = field.offer(queries, &mut pools[..count], timer);
        for pool in &pools[..count] {
            self.deliver(Scale::Vectors(engine), request, pool.iter(), &mut hits);
            hits.set_plan(Plan::Scan);
            out.push(&hits);
        }
        measured
    }

    /// Does [`Self::scan_batch`] for more answers within a radius than a pool holds. The radius is likely to
    /// leave few, so that each query's list of them is short.
    fn scan_batch_within(
        &self,
        engine: &dyn Engine,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        /// Queries whose lists are in memory together.
        const GROUP: usize = 64;

        let scale = Scale::Vectors(engine);
        let within = self.key_within(scale, request.radius);
        let stride = self.vectors.stride();
        let (mut hits, mut measured) = (Hits::new(), 0);
        let mut lists = Vec::new();
        for queries in queries.chunks(GROUP * stride) {
            let (rows, kept) = self.moment(&self.vectors, request.k, &mut work.hidden);
            let field = Field { engine, rows, hidden: &work.hidden, within };
            lists.resize_with(queries.len() / stride, Vec::new);
            lists.iter_mut().for_each(Vec::clear);
            field.scan_lists(queries, kept.min(rows.len() as usize), &mut lists);
            for list in &lists {
                self.deliver(scale, request, list.iter().copied(), &mut hits);
                hits.set_plan(Plan::Scan);
                out.push(&hits);
            }
            measured += (lists.len() as u64) * u64::from(rows.len());
        }
        measured
    }
}
