//! Which rows a walk has met: a bitmap that is cleared through a log of its touched words.

/// A set of row ids below a limit.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    words: Vec<u64>,
    /// Words that are not zero (the last word is also reset when the limit changes).
    touched: Vec<u32>,
}

impl Visited {
    /// Empties the set and makes it answer for ids below `limit`; others count as visited.
    pub(crate) fn begin(&mut self, limit: u32) {
        for &word in &self.touched {
            self.words[word as usize] = 0;
        }
        self.touched.clear();
        let words = (limit as usize).div_ceil(64);
        if words > self.words.len() {
            // Grow ahead, so that searches beside inserts do not allocate at each of them.
            let ahead = words + words / 8;
            self.words.reserve_exact(ahead - self.words.len());
        }
        self.words.resize(words, 0);
        if !limit.is_multiple_of(64) {
            self.words[words - 1] = u64::MAX << (limit % 64);
            self.touched.push(words as u32 - 1);
        }
    }

    /// Adds `id`; whether it is new and below the limit.
    #[inline(always)]
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let Some(word) = self.words.get_mut((id >> 6) as usize) else { return false };
        let (old, bit) = (*word, 1 << (id & 63));
        if old & bit != 0 {
            return false;
        }
        if old == 0 {
            self.touched.push(id >> 6);
        }
        *word = old | bit;
        true
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8 + self.touched.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_new_once_per_walk_and_the_limit_holds() {
        let mut visited = Visited::default();
        for limit in [1, 63, 64, 65, 1000, 130, 4096, 0, 77] {
            visited.begin(limit);
            for id in (0..limit).rev().chain(limit..limit + 200) {
                assert_eq!(visited.insert(id), id < limit, "{id} of {limit}");
                assert!(!visited.insert(id));
            }
        }
        assert!(visited.bytes() > 0);
    }
}
