//! Distances to all rows, or to those that are offered.

use super::Engine;
use crate::arena::{Pool, Slot, View};
use crate::graph::Watch;
use crate::index::query::budget::Timer;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Answers that a sorted pool keeps; a scan for more collects everything and sorts it once.
pub(in crate::index) const POOLED: usize = 1024;

/// Rows that all queries scan before the next ones: they stay in the first caches.
const TILE: usize = 32;

/// Rows to scan, and the engine that measures them.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Field<'a> {
    pub(in crate::index) engine: &'a Engine,
    pub(in crate::index) rows: View<'a, Block>,
    /// A bit for each slot to skip; the bits of the last slots may be absent.
    pub(in crate::index) hidden: &'a [u64],
    /// Maximum order key of a wanted distance.
    pub(in crate::index) within: OrderKey,
}

impl Field<'_> {
    /// Passes the `k` nearest to `query`, as order keys and slots, to `each`. Returns the number of distances
    /// computed.
    pub(in crate::index) fn scan(
        self,
        query: &[Block],
        k: usize,
        (pools, all): (&mut Vec<Pool>, &mut Vec<(OrderKey, Slot)>),
        timer: &mut Timer<'_>,
        each: impl FnOnce(&mut dyn Iterator<Item = (OrderKey, Slot)>),
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

    /// Leaves all slots with their order keys in `all`, unsorted. Returns the number of distances computed.
    pub(in crate::index) fn measure_all(
        self,
        query: &[Block],
        all: &mut Vec<(OrderKey, Slot)>,
        timer: &mut Timer<'_>,
    ) -> u64 {
        all.clear();
        let mut measured = 0;
        self.each_tile(|slots| {
            let mut orders = [OrderKey::MIN; TILE];
            self.engine.orders(self.rows, query, slots, &mut orders[..slots.len()]);
            let near = orders.into_iter().zip(slots.iter().copied());
            all.extend(near.filter(|&(order, _)| order <= self.within));
            measured += slots.len() as u64;
            !timer.spent(slots.len())
        });
        measured
    }

    /// Offers all slots to the pools of the queries, which are stored one after the other, all of
    /// one length. Returns the number of distances computed.
    pub(in crate::index) fn offer(
        self,
        queries: &[Block],
        pools: &mut [Pool],
        timer: &mut Timer<'_>,
    ) -> u64 {
        let mut orders = [OrderKey::MIN; TILE];
        let length = queries.len() / pools.len().max(1);
        let mut measured = 0;
        self.each_tile(|slots| {
            for (query, pool) in queries.chunks_exact(length.max(1)).zip(pools.iter_mut()) {
                self.engine.orders(self.rows, query, slots, &mut orders[..slots.len()]);
                for (&order, &slot) in orders.iter().zip(slots) {
                    if pool.admits(order) && order <= self.within {
                        pool.insert(order, slot);
                    }
                }
            }
            measured += slots.len() * pools.len();
            !timer.spent(slots.len() * pools.len())
        });
        pools.iter_mut().for_each(Pool::settle);
        measured as u64
    }

    /// Writes the `k` nearest to each of the queries, which are stored one after the other, in order.
    pub(in crate::index) fn scan_lists(
        self,
        queries: &[Block],
        k: usize,
        lists: &mut [Vec<(OrderKey, Slot)>],
    ) {
        let mut orders = [OrderKey::MIN; TILE];
        let length = queries.len() / lists.len().max(1);
        self.each_tile(|slots| {
            for (query, list) in queries.chunks_exact(length.max(1)).zip(lists.iter_mut()) {
                self.engine.orders(self.rows, query, slots, &mut orders[..slots.len()]);
                let near = orders.into_iter().zip(slots.iter().copied());
                list.extend(near.filter(|&(order, _)| order <= self.within));
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
    fn each_tile(self, mut each: impl FnMut(&[Slot]) -> bool) {
        let mut slots = [Slot::new(0); TILE];
        for start in (0..self.rows.len()).step_by(TILE) {
            let mut count = 0;
            for slot in (start..self.rows.len().min(start + TILE as u32)).map(Slot::new) {
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
fn keep_nearest(all: &mut Vec<(OrderKey, Slot)>, k: usize) {
    if k < all.len() {
        all.select_nth_unstable(k);
        all.truncate(k);
    }
    all.sort_unstable();
}

/// Returns whether a bitmap has the bit of a slot.
pub(in crate::index) fn is_set(bits: &[u64], slot: Slot) -> bool {
    let slot = slot.number();
    let word = bits.get((slot / u64::BITS) as usize);
    word.is_some_and(|word| word >> (slot % u64::BITS) & 1 != 0)
}

/// The nearest of slots that are offered one by one.
#[derive(Debug, Default)]
pub(in crate::index) struct Matches {
    /// Slots that wait to be measured together.
    waiting: Vec<Slot>,
    pool: Pool,
    /// All measured slots, if more are wanted than a pool should hold.
    all: Vec<(OrderKey, Slot)>,
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
        slot: Slot,
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
        let mut orders = [OrderKey::MIN; TILE];
        let orders = &mut orders[..waiting.len()];
        field.engine.orders(field.rows, query, waiting, orders);
        *measured += waiting.len() as u64;
        if *k > POOLED {
            let near = orders.iter().copied().zip(waiting.iter().copied());
            all.extend(near.filter(|&(order, _)| order <= field.within));
        } else if *k > 0 {
            pool.offer(orders, waiting);
        }
        waiting.clear();
    }

    /// Passes the `k` nearest, as order keys and slots, to `each`.
    pub(in crate::index) fn finish(
        &mut self,
        field: Field<'_>,
        query: &[Block],
        each: impl FnOnce(&mut dyn Iterator<Item = (OrderKey, Slot)>),
    ) {
        self.measure(field, query);
        if self.k > POOLED {
            keep_nearest(&mut self.all, self.k);
            each(&mut self.all.iter().copied());
        } else if self.k > 0 {
            self.pool.settle();
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
