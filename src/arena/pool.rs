//! The best candidates of a walk, sorted, in one array.
//!
//! One sorted array with a cursor replaces the two heaps of the original HNSW paper (Malkov and
//! Yashunin, 2018): up to a few hundred entries, moving a tail of eight-byte entries costs less
//! than sifting, and the next candidate is found without a search.

/// An entry is `key << 32 | id << 1 | expanded`, so one comparison orders by key and then id.
const EXPANDED: u64 = 1;

/// A bounded list of `(key, id)` in ascending order, each expanded at most once.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    entries: Vec<u64>,
    capacity: usize,
    /// Entries before it are expanded.
    cursor: usize,
}

impl Pool {
    /// Empties the pool and bounds it to `capacity > 0` entries.
    pub(crate) fn begin(&mut self, capacity: usize) {
        debug_assert!(capacity > 0);
        self.entries.clear();
        self.entries.reserve(capacity + 1);
        self.capacity = capacity;
        self.cursor = 0;
    }

    /// The key that a candidate must beat, above every key while there is room.
    #[inline(always)]
    pub(crate) fn bound(&self) -> u64 {
        if self.entries.len() < self.capacity {
            u64::MAX
        } else {
            self.entries.last().map_or(u64::MAX, |&last| last >> 32)
        }
    }

    /// Adds a candidate whose key is below [`Self::bound`], dropping the worst one if full.
    #[inline(always)]
    pub(crate) fn insert(&mut self, key: u32, id: u32) {
        let entry = u64::from(key) << 32 | u64::from(id) << 1;
        let at = self.entries.partition_point(|&e| e < entry);
        if self.entries.len() == self.capacity {
            self.entries.pop();
        }
        self.entries.insert(at.min(self.entries.len()), entry);
        self.cursor = self.cursor.min(at);
    }

    /// The nearest candidate not yet expanded; it is then.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<u32> {
        let entry = self.entries.get_mut(self.cursor)?;
        *entry |= EXPANDED;
        let id = id_of(*entry);
        self.cursor += 1;
        while self.entries.get(self.cursor).is_some_and(|e| e & EXPANDED != 0) {
            self.cursor += 1;
        }
        Some(id)
    }

    /// `(key, id)` from the nearest to the farthest.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + '_ {
        self.entries.iter().map(|&e| ((e >> 32) as u32, id_of(e)))
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * 8
    }
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
        let mut pool = Pool::default();
        let mut state = 1_u32;
        for capacity in [1, 2, 7, 64] {
            pool.begin(capacity);
            let mut all = Vec::new();
            let mut expanded = Vec::new();
            for id in 0..500 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let key = state >> 24;
                if u64::from(key) < pool.bound() {
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
    }
}
