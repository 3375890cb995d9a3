//! The best candidates of a walk, sorted, in one array.
//!
//! One sorted array with a cursor replaces the two heaps of the original HNSW paper (Malkov and
//! Yashunin, 2018): up to some hundred entries, moving a tail of eight-byte entries costs less
//! than sifting, and the next candidate is found without a search. Longer arrays take the entries of several rows at once, from
//! a [short array](recent) beside them.

mod recent;

use std::marker::PhantomData;

use bytemuck::{cast_slice, cast_slice_mut};

use self::recent::{DIRECT, Recent, expand};
use super::{Id, Slot};
use crate::order_key::OrderKey;
use crate::simd::{MERGED, SLACK, Simd, Task, run_detected};

/// An entry is `key << 32 | id << 1 | expanded`, so one comparison orders by key and then id.
const EXPANDED: u64 = 1;

/// Candidates that are compared with the bound at a time: those of a row.
const ASKED: usize = 32;

/// A bounded list of order keys and ids of 31 bits in ascending order, each expanded at most once.
#[derive(Debug)]
pub(crate) struct Pool<I = Slot> {
    list: List,
    ids: PhantomData<I>,
}

/// The entries of a pool with ids of any type.
#[derive(Debug, Default)]
struct List {
    /// The entries, of which the first `len` count; [`SLACK`] longer than the capacity.
    entries: Vec<u64>,
    len: usize,
    capacity: usize,
    /// Entries before it are expanded.
    cursor: usize,
    /// Entries that are not among the others yet.
    recent: Recent,
}

impl List {
    /// Returns the key that a candidate must beat; it is above every key if the pool has room.
    #[inline(always)]
    fn bound(&self) -> u64 {
        if self.recent.len > 0 {
            return self.bound_of_both();
        }
        if self.len < self.capacity { u64::MAX } else { self.entries[self.len - 1] >> 32 }
    }

    /// Bounds the list to `capacity` entries, which are at least those that it has.
    fn make_room(&mut self, capacity: usize) {
        if self.entries.len() < capacity + SLACK {
            self.entries.resize(capacity + SLACK, 0);
        }
        if capacity >= DIRECT {
            self.recent.make_room();
        }
        self.capacity = capacity;
    }

    /// Appends the least of `entries`, which are all greater than the last one, up to the capacity.
    fn append_nearest(&mut self, entries: &mut Vec<u64>) {
        let room = self.capacity - self.len;
        if entries.len() > room {
            entries.select_nth_unstable(room);
            entries.truncate(room);
        }
        entries.sort_unstable();
        self.entries[self.len..][..entries.len()].copy_from_slice(entries);
        self.len += entries.len();
    }

    /// Returns the entries, all of which are in one array.
    #[inline(always)]
    fn settled(&self) -> &[u64] {
        debug_assert!(self.recent.len == 0, "a walk settles its candidates at its end");
        &self.entries[..self.len]
    }
}

impl<I> Default for Pool<I> {
    fn default() -> Self {
        Self { list: List::default(), ids: PhantomData }
    }
}

impl<I: Id> Pool<I> {
    /// Empties the pool and bounds it to `capacity > 0` entries.
    pub(crate) fn begin(&mut self, capacity: usize) {
        debug_assert!(capacity > 0);
        self.list.len = 0;
        self.list.recent.clear();
        self.list.make_room(capacity);
        self.list.cursor = 0;
    }

    /// Makes room for `capacity` entries, if that is more, and adds the nearest of the candidates that were dropped. These are among
    /// `offered`, all that were offered; `dropped` is a buffer. Takes `O(n)` for `n` offered candidates.
    pub(crate) fn widen(
        &mut self,
        capacity: usize,
        offered: &[(OrderKey, I)],
        dropped: &mut Vec<u64>,
    ) {
        if capacity <= self.list.capacity {
            return;
        }
        self.settle();
        let is_full = self.list.len == self.list.capacity;
        self.list.make_room(capacity);
        let Some(last) = self.list.entries[..self.list.len].last().filter(|_| is_full) else {
            return;
        };
        dropped.clear();
        dropped.resize(offered.len(), 0);
        // An entry beyond the last was dropped. Others of its key may have been: the order of their arrival decided.
        let (last, least) = (last | EXPANDED, last >> 32 << 32);
        let (mut count, mut equal) = (0, 0);
        for &(key, id) in offered {
            let entry = entry_of(key.to_bits(), id.number());
            dropped[count] = entry;
            count += usize::from(entry > last);
            equal += usize::from(entry >= least && entry <= last);
        }
        dropped.truncate(count);
        self.list.append_nearest(dropped);
        let list = &self.list.entries[..self.list.len];
        let to = list.partition_point(|&entry| entry <= last);
        if equal > to - list.partition_point(|&entry| entry < least) {
            self.offer_equal(key_of(last), offered);
        }
    }

    /// Offers the candidates with a key that the pool does not hold.
    #[cold]
    fn offer_equal(&mut self, key: OrderKey, offered: &[(OrderKey, I)]) {
        for &(_, id) in offered.iter().filter(|&&(other, _)| other == key) {
            let entry = entry_of(key.to_bits(), id.number());
            if self.list.settled().binary_search_by_key(&entry, |&held| held & !EXPANDED).is_err() {
                self.insert(key, id);
                self.settle();
            }
        }
    }

    /// Returns whether a candidate with this key would be added: the key is below the bound.
    #[inline(always)]
    pub(crate) fn admits(&self, key: OrderKey) -> bool {
        u64::from(key.to_bits()) < self.list.bound()
    }

    /// Adds a candidate that the pool [admits](Self::admits), dropping the worst one if full.
    pub(crate) fn insert(&mut self, key: OrderKey, id: I) {
        self.offer(&[key], &mut [id]);
    }

    /// Adds the candidates whose keys are below the bound, and drops the worst beyond the capacity, which may be new ones.
    /// Moves the ids of the added candidates to the front of `ids`, and returns their number.
    #[inline]
    pub(crate) fn offer(&mut self, keys: &[OrderKey], ids: &mut [I]) -> usize {
        let (keys, ids) = (cast_slice(keys), cast_slice_mut(ids));
        run_detected(Offer { list: &mut self.list, keys, ids })
    }

    /// Returns the nearest candidate not yet expanded, and marks it as expanded. If all are expanded, the pool is [settled](Self::settle).
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<I> {
        if self.list.recent.len > 0 {
            return self.list.next_of_both().map(|entry| I::new(id_of(entry)));
        }
        let List { entries, len, cursor, .. } = &mut self.list;
        expand(&mut entries[..*len], cursor).map(|entry| I::new(id_of(entry)))
    }

    /// Puts all candidates into one array. A walk that ends while candidates are left must call it before others read the pool.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        if self.list.recent.len > 0 {
            self.list.settle();
        }
    }

    /// Returns the key of the nearest candidate not yet expanded.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<OrderKey> {
        if self.list.recent.len > 0 {
            return self.list.nearest_of_both().map(key_of);
        }
        self.list.entries[..self.list.len].get(self.list.cursor).map(|&entry| key_of(entry))
    }

    /// Returns the number of nearest candidates that are expanded without a gap.
    pub(crate) fn expanded(&self) -> usize {
        self.list.expanded()
    }

    /// Returns the key of the entry of a rank, counted from zero.
    #[inline(always)]
    pub(crate) fn key_at(&self, rank: usize) -> Option<OrderKey> {
        if self.list.recent.len > 0 {
            return self.list.of_both_at(rank).map(key_of);
        }
        self.list.entries[..self.list.len].get(rank).map(|&entry| key_of(entry))
    }

    /// Returns the keys in the middle and at the end.
    pub(crate) fn reach(&self) -> Option<(OrderKey, OrderKey)> {
        let entries = self.list.settled();
        Some((key_of(*entries.get(entries.len() / 2)?), key_of(*entries.last()?)))
    }

    /// Returns the ids of the entries with a key.
    pub(crate) fn ids_of(&self, key: OrderKey) -> impl Iterator<Item = I> + '_ {
        let entries = self.list.settled();
        let first = entries.partition_point(|&entry| entry >> 32 < u64::from(key.to_bits()));
        entries[first..]
            .iter()
            .take_while(move |&&e| e >> 32 == u64::from(key.to_bits()))
            .map(|&e| I::new(id_of(e)))
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.list.len + self.list.recent.len
    }

    /// Returns `(key, id)` from the nearest to the farthest.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (OrderKey, I)> + '_ {
        self.list.settled().iter().map(|&e| (key_of(e), I::new(id_of(e))))
    }

    /// Keeps the entries whose ids `keep` accepts, the nearest `most` at most; `keep` is not called for more. The walk
    /// ends: no candidate is next.
    pub(crate) fn retain(&mut self, most: usize, mut keep: impl FnMut(I) -> bool) {
        self.settle();
        let mut kept = 0;
        for at in 0..self.list.len {
            if kept == most {
                break;
            }
            let entry = self.list.entries[at];
            if keep(I::new(id_of(entry))) {
                self.list.entries[kept] = entry;
                kept += 1;
            }
        }
        self.list.len = kept;
        self.list.cursor = kept;
    }

    /// Returns the bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.list.entries.capacity() * 8 + self.list.recent.bytes()
    }
}

/// Insertions into a pool, with the widest instructions of this CPU.
struct Offer<'a> {
    list: &'a mut List,
    keys: &'a [u32],
    ids: &'a mut [u32],
}

impl Task for Offer<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let is_long = self.list.len + self.list.recent.len >= DIRECT;
        if !S::MERGES && !is_long {
            return self.one_by_one(simd);
        }
        let Self { list, keys, ids } = self;
        let mut fresh = [0; ASKED + SLACK];
        let mut added = 0;
        for at in (0..keys.len()).step_by(ASKED) {
            let end = keys.len().min(at + ASKED);
            let count = simd.select(&keys[at..end], &ids[at..end], list.bound(), &mut fresh);
            for fresh in fresh[..count].chunks(MERGED) {
                if is_long {
                    list.make_room_for_recent(fresh.len());
                }
                let (entries, len, capacity) = list.growing(is_long);
                let merged = simd.merge(entries, len, capacity, fresh);
                list.grown(is_long, merged);
            }
            for &entry in &fresh[..count] {
                ids[added] = id_of(entry);
                added += 1;
            }
        }
        added
    }
}

impl Offer<'_> {
    #[inline(always)]
    fn one_by_one<S: Simd>(self, simd: S) -> usize {
        let Self { list, keys, ids } = self;
        let ids = &mut ids[..keys.len()];
        let mut added = 0;
        for start in (0..keys.len()).step_by(ASKED) {
            // Below the key of the worst entry at first, and below the worst entry: the same condition as for merged entries.
            let mut bound = list.bound().saturating_mul(1 << 32);
            for at in start..keys.len().min(start + ASKED) {
                if u64::from(keys[at]) > bound >> 32 {
                    continue;
                }
                let id = ids[at];
                let entry = entry_of(keys[at], id);
                if entry >= bound {
                    continue;
                }
                let kept = list.len.min(list.capacity - 1);
                let place = simd.insert_sorted(&mut list.entries, kept, entry);
                list.len = kept + 1;
                list.cursor = list.cursor.min(place);
                if list.len == list.capacity {
                    bound = bound.min(list.entries[kept]);
                }
                ids[added] = id;
                added += 1;
            }
        }
        added
    }
}

#[inline(always)]
fn entry_of(key: u32, id: u32) -> u64 {
    u64::from(key) << 32 | u64::from(id) << 1
}

#[inline(always)]
fn key_of(entry: u64) -> OrderKey {
    OrderKey::from_bits((entry >> 32) as u32)
}

#[inline(always)]
fn id_of(entry: u64) -> u32 {
    (entry as u32) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_nearest_in_order_and_expands_each_once() {
        let mut pool = Pool::<u32>::default();
        let mut state = 1_u32;
        for capacity in [1, 2, 7, 64] {
            pool.begin(capacity);
            let mut all = Vec::new();
            let mut expanded = Vec::new();
            for id in 0..500 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let key = OrderKey::from_bits(state >> 24);
                if pool.admits(key) {
                    pool.insert(key, id);
                    all.push((key, id));
                    all.sort_unstable();
                    all.truncate(capacity);
                }
                assert_eq!(pool.iter().collect::<Vec<_>>(), all);
                if id % 3 == 0 {
                    let next = all.iter().map(|e| e.1).find(|id| !expanded.contains(id));
                    assert_eq!(pool.next(), next);
                    expanded.extend(next);
                }
            }
        }
        assert!(pool.bytes() >= 64 * 8);
        let (least, most) = (pool.iter().next().unwrap().0, pool.iter().last().unwrap().0);
        for key in [OrderKey::MIN, least, most, OrderKey::MAX] {
            let expected = pool.iter().filter(|entry| entry.0 == key).map(|entry| entry.1);
            assert!(pool.ids_of(key).eq(expected), "{key:?}");
        }
        let even: Vec<_> = pool.iter().filter(|(_, id)| id % 2 == 0).collect();
        pool.retain(usize::MAX, |id| id % 2 == 0);
        assert_eq!(pool.iter().collect::<Vec<_>>(), even);
        assert_eq!(pool.next(), None);
        let mut asked = 0;
        pool.retain(3, |_| {
            asked += 1;
            true
        });
        assert_eq!(pool.iter().collect::<Vec<_>>(), even[..3]);
        assert_eq!((asked, pool.next()), (3, None));
    }

    #[test]
    fn a_wider_pool_holds_the_nearest_of_all_that_were_offered() {
        let mut state = 1_u32;
        // Few keys: most are equal to others, and some of the last are in the pool and some are not.
        // With 100 offers at a time, full pools are widened, and the last one is long.
        for (shift, offers) in [8, 24, 29].into_iter().flat_map(|shift| [(shift, 30), (shift, 100)])
        {
            let mut pool = Pool::<u32>::default();
            let (mut offered, mut dropped) = (Vec::new(), Vec::new());
            pool.begin(3);
            for capacity in [3, 8, 9, 40, 41, 200, 1000, 100] {
                pool.widen(capacity, &offered, &mut dropped);
                for _ in 0..offers {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (key, id) = (OrderKey::from_bits(state >> shift), offered.len() as u32);
                    // Ids fall, so that an entry may be before others of its key that came first.
                    offered.push((key, 1000 - id));
                    pool.offer(&[key], &mut [1000 - id]);
                    if id % 3 == 0 {
                        pool.next();
                    }
                }
                pool.settle();
                let kept = pool.list.capacity.min(offered.len());
                let mut keys: Vec<OrderKey> = offered.iter().map(|offer| offer.0).collect();
                keys.sort_unstable();
                let found: Vec<_> = pool.iter().collect();
                assert!(found.iter().map(|entry| entry.0).eq(keys[..kept].iter().copied()));
                assert!(found.is_sorted() && found.iter().all(|entry| offered.contains(entry)));
                assert!(found.windows(2).all(|pair| pair[0] != pair[1]));
            }
            let mut left = 0;
            while pool.next().is_some() {
                left += 1;
            }
            assert!(left > 0 && pool.expanded() == pool.len());
        }
    }

    /// [`Offer`], one by one on every CPU.
    struct OneByOne<'a>(Offer<'a>);

    impl Task for OneByOne<'_> {
        type Output = usize;

        fn run<S: Simd>(self, simd: S) -> usize {
            self.0.one_by_one(simd)
        }
    }

    #[test]
    fn rows_are_merged_as_if_one_by_one() {
        let mut state = 1_u32;
        // Longer arrays are not merged.
        for capacity in [1, 2, 9, 64, 184, 185, 192, 193, 200, 300, 767, 768, 769, 900, 1500] {
            let (mut merged, mut single) = (Pool::<u32>::default(), Pool::<u32>::default());
            merged.begin(capacity);
            single.begin(capacity);
            for row in 0..200_u32 {
                let count = (row * 7 % 40) as usize;
                let keys: Vec<OrderKey> = (0..count)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        // Few keys, and ids against their order: most are equal to others, the worst, too.
                        OrderKey::from_bits((state >> 26) + 200 - row)
                    })
                    .collect();
                let ids: Vec<u32> = (0..count as u32).map(|at| (row * 40 + at) ^ 0x2a).collect();
                merged.offer(&keys, &mut ids.clone());
                let (keys, ids) = (cast_slice(&keys), &mut ids.clone()[..]);
                run_detected(OneByOne(Offer { list: &mut single.list, keys, ids }));
                for _ in 0..row % 3 {
                    assert_eq!(merged.peek(), single.peek(), "{capacity} {row}");
                    assert_eq!(merged.next(), single.next(), "{capacity} {row}");
                }
                // As in a walk: what arrived lately is not among the others yet.
                assert_eq!(merged.expanded(), single.expanded(), "{capacity} {row}");
                assert_eq!(merged.len(), single.len(), "{capacity} {row}");
                let ranks = (0..=capacity).map(|rank| (merged.key_at(rank), single.key_at(rank)));
                assert!(ranks.into_iter().all(|(one, other)| one == other), "{capacity} {row}");
                if row % 50 == 49 {
                    merged.settle();
                    assert!(merged.iter().eq(single.iter()), "{capacity} {row}");
                }
            }
            while let Some(next) = merged.next() {
                assert_eq!(Some(next), single.next(), "{capacity}");
            }
            assert_eq!(single.next(), None);
            assert!(merged.iter().eq(single.iter()), "{capacity}");
        }
    }
}
