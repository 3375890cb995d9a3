//! The result of a predicate: a set of keys that filters searches.

use std::fmt;
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::index::{Filter, filter_through};

/// The keys of a collection for which a predicate is true, at one commit. A [`Filter`] that knows its size; made once for many searches, and
/// cheap to clone.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("nearfield-doc-selection-{}.nf", std::process::id()));
/// use nearfield::{Collection, Metric, attributes, field};
///
/// let films = Collection::builder(2, Metric::L2).create(&path)?;
/// let mut tx = films.begin_write()?;
/// tx.upsert_batch(&[1, 2, 3], &[[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])?;
/// tx.set(1, attributes! { "year" => 1968, "tags" => ["silent"] })?;
/// tx.set(2, attributes! { "year" => 2001, "tags" => ["space", "long"] })?;
/// tx.commit()?;
///
/// let recent = films.matching(&field("year").ge(2000))?;
/// let hits = films.search(&[0.0, 0.0]).filter(&recent).run()?;
/// assert_eq!(hits.keys().collect::<Vec<_>>(), [2]);
/// assert_eq!(films.matching(&"year is null".parse()?)?.iter().collect::<Vec<_>>(), [3]);
/// # drop(films);
/// # let _ = std::fs::remove_file(&path);
/// # Ok::<(), nearfield::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Selection {
    keys: Arc<RoaringTreemap>,
}

impl Selection {
    pub(in crate::collection::attributes) fn new(keys: Arc<RoaringTreemap>) -> Self {
        Self { keys }
    }

    /// Removes the keys that another selection has.
    pub(in crate::collection) fn subtract(&mut self, other: &Self) {
        *Arc::make_mut(&mut self.keys) -= &*other.keys;
    }

    /// Returns the number of keys. `O(n / 65,536)`.
    pub fn len(&self) -> usize {
        usize::try_from(self.keys.len()).unwrap_or(usize::MAX)
    }

    /// Returns whether no key is selected.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns whether a key is selected.
    pub fn contains(&self, key: u64) -> bool {
        self.keys.contains(key)
    }

    /// Returns the keys, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.keys.iter()
    }

    /// Returns the keys from `first` on, ascending: the next page of a listing begins one above the last key of the one before.
    pub fn iter_from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        let mut keys = self.keys.iter();
        keys.advance_to(first);
        keys
    }
}

impl Filter for Selection {
    fn accepts(&self, key: u64) -> bool {
        self.contains(key)
    }

    fn count(&self) -> Option<usize> {
        Some(self.len())
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        let _ = self.iter().all(each);
    }
}

filter_through!(impl Filter for &Selection);

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("len", &self.len()).finish_non_exhaustive()
    }
}
