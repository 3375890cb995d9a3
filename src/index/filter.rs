//! Which keys may be answers.

use std::collections::HashSet;
use std::fmt;

/// Keys that may be answers to a query.
///
/// Any `Fn(u64) -> bool + Sync` is a filter, and so are [`KeySet`] and [`KeyBitmap`], which also
/// tell how many keys they accept: that saves the search from estimating it, and lets it look at
/// the accepted vectors alone where they are few. Implement it for other kinds of sets.
pub trait Filter: Sync {
    /// Whether the key may be an answer. Asked at most a few times about a key in one search, and
    /// not about every key; it must give the same answer each time. It may search, but must not change
    /// the index that is searched, for changes may wait for the search.
    fn accepts(&self, key: u64) -> bool;

    /// Which of up to 64 keys may be answers: bit `i` of the result stands for `keys[i]`. Where most keys are asked about, they are in
    /// tiles, by this. Asks about one after the other unless it is implemented; it must give the same answers as
    /// [`accepts`](Self::accepts).
    fn accepts_each(&self, keys: &[u64]) -> u64 {
        let mut accepted = 0;
        for (bit, &key) in keys.iter().take(64).enumerate() {
            accepted |= u64::from(self.accepts(key)) << bit;
        }
        accepted
    }

    /// How many keys are accepted, whether or not they are in the index; `None` if it is not
    /// known.
    fn count(&self) -> Option<usize> {
        None
    }

    /// Calls `each` with every accepted key, once, until it returns `false`. Only called if
    /// [`count`](Self::count) is known.
    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        let _ = each;
    }
}

impl<F: Fn(u64) -> bool + Sync> Filter for F {
    fn accepts(&self, key: u64) -> bool {
        self(key)
    }
}

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
    /// The empty set, which accepts nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key; whether it is new.
    pub fn insert(&mut self, key: u64) -> bool {
        self.keys.insert(key)
    }

    /// Takes a key out; whether it was there.
    pub fn remove(&mut self, key: u64) -> bool {
        self.keys.remove(&key)
    }

    /// Whether the key is in the set.
    pub fn contains(&self, key: u64) -> bool {
        self.keys.contains(&key)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
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

impl Filter for &KeySet {
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

/// What a filter accepts, but for some keys. At least one of both is there.
#[derive(Clone, Copy, Default)]
pub(super) struct Screen<'a> {
    pub(super) filter: Option<&'a dyn Filter>,
    /// Keys that are no answers.
    pub(super) excluded: Option<&'a KeySet>,
}

impl<'a> Screen<'a> {
    /// The filter to be asked, if there is one.
    pub(super) fn filter(&self) -> Option<&dyn Filter> {
        match self.excluded {
            None => self.filter,
            Some(_) => Some(self),
        }
    }

    /// The keys that are no answers, where all others are.
    pub(super) fn only_excluded(&self) -> Option<&'a KeySet> {
        self.excluded.filter(|_| self.filter.is_none())
    }

    fn excludes(&self, key: u64) -> bool {
        self.excluded.is_some_and(|keys| keys.contains(key))
    }
}

impl Filter for Screen<'_> {
    fn accepts(&self, key: u64) -> bool {
        !self.excludes(key) && self.filter.is_none_or(|filter| filter.accepts(key))
    }

    fn count(&self) -> Option<usize> {
        self.filter.and_then(Filter::count)
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        if let Some(filter) = self.filter {
            filter.for_each(&mut |key| self.excludes(key) || each(key));
        }
    }
}

/// A bitmap over keys, as a [`Filter`]: bit `key % 64` of word `key / 64` accepts `key`.
///
/// The fastest filter where keys are dense. It borrows its words, so that one bitmap serves many
/// searches and can come from elsewhere.
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
    /// The filter of these words. Counts their bits, once: make it once for many searches.
    pub fn new(words: &'a [u64]) -> Self {
        Self { words, count: words.iter().map(|word| word.count_ones() as usize).sum() }
    }

    /// Whether the key's bit is set. Keys beyond the last word are not accepted.
    #[inline]
    pub fn contains(&self, key: u64) -> bool {
        let word = usize::try_from(key / 64).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word >> (key % 64) & 1 != 0)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no key.
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
