//! The rows that a walk has met: a bitmap that is cleared through a log of its touched words.

/// A set of row ids below a limit.
///
/// Adding an id has no branch that depends on the answer: half of a row's links were met before,
/// in no order that a CPU could predict.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    words: Vec<u64>,
    /// Words that are not zero, in the first `count` entries; one entry longer than `words`.
    touched: Vec<u32>,
    count: usize,
}

impl Visited {
    /// Empties the set and makes it take ids below `limit`.
    pub(crate) fn begin(&mut self, limit: u32) {
        for &word in &self.touched[..self.count] {
            self.words[word as usize] = 0;
        }
        self.count = 0;
        let words = (limit as usize).div_ceil(64);
        if words > self.words.len() {
            self.grow(words);
        }
    }

    /// Grows ahead, so that searches beside insertions do not allocate at each of them.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, words: usize) {
        let ahead = words + words / 8;
        self.words.resize(ahead, 0);
        self.touched.resize(ahead + 1, 0);
    }

    /// Adds `id`, which is below the limit. Returns whether it is new.
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let mut open = self.open();
        let new = open.insert(id);
        open.close();
        new
    }

    /// Returns whether `id`, which is below the limit, is in the set.
    #[inline(always)]
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.words[(id >> 6) as usize] >> (id & 63) & 1 != 0
    }

    /// Returns the set with its fields at hand, for adding many ids in a row.
    #[inline(always)]
    pub(crate) fn open(&mut self) -> Open<'_> {
        let Self { words, touched, count } = self;
        Open { words, touched, filled: *count, count }
    }

    /// Returns the bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8 + self.touched.capacity() * 4
    }
}

/// A [`Visited`] that a loop adds to: the parts that change with each id stay in registers.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    words: &'a mut [u64],
    touched: &'a mut [u32],
    filled: usize,
    count: &'a mut usize,
}

impl Open<'_> {
    /// Adds `id`, which is below the limit. Returns whether it is new.
    #[inline(always)]
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let at = (id >> 6) as usize;
        let word = &mut self.words[at];
        let (old, bit) = (*word, 1_u64 << (id & 63));
        *word = old | bit;
        // Written in any case, and kept if the word was zero.
        self.touched[self.filled] = at as u32;
        self.filled += usize::from(old == 0);
        old & bit == 0
    }

    /// Keeps the added ids.
    #[inline(always)]
    pub(crate) fn close(self) {
        *self.count = self.filled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_new_once_per_walk() {
        let mut visited = Visited::default();
        for limit in [1, 63, 64, 65, 1000, 130, 4096, 0, 77] {
            visited.begin(limit);
            for id in (0..limit).rev() {
                assert!(visited.insert(id), "{id} of {limit}");
                assert!(!visited.insert(id));
                assert!(visited.contains(id) && (id == 0 || !visited.contains(id - 1)));
            }
        }
        visited.begin(4096);
        assert!((0..4096).all(|id| visited.insert(id)));
        assert!(visited.bytes() > 0);
    }
}
