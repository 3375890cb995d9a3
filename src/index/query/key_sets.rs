//! Sets of keys that are filters.

use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher;

use super::filter::{Filter, filter_through};

/// A set of keys, as a [`Filter`].
///
/// ```
/// use nearfield::{Hnsw, KeySet, Metric};
///
/// let index = Hnsw::builder(1, Metric::L2).build()?;
/// index.insert_batch(&[1, 2, 3], &[0.1, 0.2, 0.3]).run()?;
/// let set: KeySet = [3, 1].into_iter().collect();
/// let hits = index.search(&[0.0]).filter(&set).run()?;
/// assert_eq!(hits.keys().collect::<Vec<_>>(), [1, 3]);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: HashSet<u64>,
}

impl KeySet {
    /// Returns the empty set, which accepts no key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. Returns whether it is new.
    pub fn insert(&mut self, key: u64) -> bool {
        self.keys.insert(key)
    }

    /// Removes a key. Returns whether the set had it.
    pub fn remove(&mut self, key: u64) -> bool {
        self.keys.remove(&key)
    }

    /// Returns whether the key is in the set.
    pub fn contains(&self, key: u64) -> bool {
        self.keys.contains(&key)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether the set has no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl FromIterator<u64> for KeySet {
    fn from_iter<I: IntoIterator<Item = u64>>(keys: I) -> Self {
        Self { keys: keys.into_iter().collect() }
    }
}

impl Extend<u64> for KeySet {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, keys: I) {
        self.keys.extend(keys);
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Filter for KeySet {
    fn accepts(&self, key: u64) -> bool {
        self.contains(key)
    }

    fn count(&self) -> Option<usize> {
        Some(self.len())
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        let _ = self.keys.iter().all(|&key| each(key));
    }
}

filter_through!(impl Filter for &KeySet);

impl<S: BuildHasher + Sync> Filter for HashSet<u64, S> {
    fn accepts(&self, key: u64) -> bool {
        self.contains(&key)
    }

    fn count(&self) -> Option<usize> {
        Some(self.len())
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        let _ = self.iter().all(|&key| each(key));
    }
}

filter_through!(impl<S: BuildHasher + Sync> Filter for &HashSet<u64, S>);

/// A bitmap over keys, as a [`Filter`]: bit `key % 64` of word `key / 64` accepts `key`.
///
/// The fastest filter if keys are dense. It borrows its words, so that one bitmap serves many searches and can be made
/// elsewhere.
///
/// ```
/// use nearfield::{Hnsw, KeyBitmap, Metric};
///
/// let index = Hnsw::builder(1, Metric::L2).build()?;
/// index.insert_batch(&[1, 2, 3], &[0.1, 0.2, 0.3]).run()?;
/// let hits = index.search(&[0.0]).filter(KeyBitmap::new(&[0b1100])).run()?;
/// assert_eq!(hits.keys().collect::<Vec<_>>(), [2, 3]);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyBitmap<'a> {
    words: &'a [u64],
    count: usize,
}

impl<'a> KeyBitmap<'a> {
    /// Creates the filter of these words. Counts their bits, once: make it once for many searches.
    pub fn new(words: &'a [u64]) -> Self {
        Self { words, count: words.iter().map(|word| word.count_ones() as usize).sum() }
    }

    /// Returns whether the key's bit is set. Keys beyond the last word are not accepted.
    #[inline]
    pub fn contains(&self, key: u64) -> bool {
        let word = usize::try_from(key / 64).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word >> (key % 64) & 1 != 0)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether the bitmap has no keys.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Debug for KeyBitmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBitmap").field("len", &self.count).finish_non_exhaustive()
    }
}

impl Filter for KeyBitmap<'_> {
    fn accepts(&self, key: u64) -> bool {
        self.contains(key)
    }

    fn count(&self) -> Option<usize> {
        Some(self.count)
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        for (at, &word) in self.words.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                if !each(at as u64 * 64 + u64::from(rest.trailing_zeros())) {
                    return;
                }
                rest &= rest - 1;
            }
        }
    }
}
