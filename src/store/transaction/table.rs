//! Tables of a snapshot, and ranges over them.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use crate::store::error::StoreError;
use crate::store::format::{NodeRef, TableRecord};
use crate::store::key::Key;
use crate::store::pages::{Pin, View};
use crate::store::tree::{self, Cursor, RawEntry};

/// A key as a table returns it, with its value.
pub type Entry<'t, K> = (<K as Key>::Item<'t>, &'t [u8]);

/// A table in a snapshot.
///
/// Values are borrowed from the snapshot: from the map of the file, or from memory if they were
/// committed since the last checkpoint.
pub struct Table<'t, K: Key + ?Sized> {
    pin: &'t Pin,
    record: TableRecord,
    key: PhantomData<fn(&K)>,
}

impl<K: Key + ?Sized> Clone for Table<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Key + ?Sized> Copy for Table<'_, K> {}

impl<'t, K: Key + ?Sized> Table<'t, K> {
    pub(crate) fn new(pin: &'t Pin, record: TableRecord) -> Self {
        Self { pin, record, key: PhantomData }
    }

    /// Returns the number of entries. `O(1)`.
    pub fn len(&self) -> u64 {
        self.record.len
    }

    /// Returns whether the table has no entries.
    pub fn is_empty(&self) -> bool {
        self.record.len == 0
    }

    /// Returns the value of `key`. `O(log n)`, one page per level.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way is damaged.
    #[inline]
    pub fn get(&self, key: K::Item<'_>) -> Result<Option<&'t [u8]>, StoreError> {
        tree::get(self.pin, self.record.root, K::encode(key).as_ref())
            .map_err(|error| error.at(self.pin.path()))
    }

    /// Returns the entry with the smallest key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way is damaged.
    pub fn first(&self) -> Result<Option<Entry<'t, K>>, StoreError> {
        self.entries()?.next().transpose()
    }

    /// Returns the entry with the greatest key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way is damaged.
    pub fn last(&self) -> Result<Option<Entry<'t, K>>, StoreError> {
        self.entries()?.next_back().transpose()
    }

    /// Returns all entries, ascending, from either end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way to either end is damaged.
    pub fn entries(&self) -> Result<Range<'t, K>, StoreError> {
        Range::new(View::Pin(self.pin), self.record.root, Bound::Unbounded, Bound::Unbounded)
    }

    /// Returns the entries whose keys are in `range`, ascending, from either end. A range whose start is behind its end is empty.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way to either end is damaged.
    #[expect(single_use_lifetimes, reason = "`impl Trait` needs a name for it")]
    pub fn range<'r>(
        &self,
        range: impl RangeBounds<K::Item<'r>>,
    ) -> Result<Range<'t, K>, StoreError> {
        Range::over(View::Pin(self.pin), self.record.root, &range)
    }
}

impl<K: Key + ?Sized> fmt::Debug for Table<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("key", &K::NAME).field("len", &self.len()).finish()
    }
}

/// Entries of a table between two bounds.
///
/// After an error the range yields no more entries, so that no entry behind a damaged page is skipped silently.
pub struct Range<'t, K: Key + ?Sized> {
    view: View<'t>,
    front: Cursor<'t, View<'t>>,
    back: Cursor<'t, View<'t>>,
    finished: bool,
    key: PhantomData<fn(&K)>,
}

impl<'t, K: Key + ?Sized> Range<'t, K> {
    pub(crate) fn new(
        view: View<'t>,
        root: NodeRef,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Self, StoreError> {
        let finished = match (from, to) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(a), Bound::Included(b)) => a > b,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b) | Bound::Included(b)) => {
                a >= b
            }
        };
        let place = |error: StoreError| error.at(view.path());
        Ok(Self {
            front: Cursor::lower(view, root, from).map_err(place)?,
            back: Cursor::upper(view, root, to).map_err(place)?,
            view,
            finished,
            key: PhantomData,
        })
    }

    #[expect(single_use_lifetimes, reason = "`impl Trait` needs a name for it")]
    pub(crate) fn over<'r>(
        view: View<'t>,
        root: NodeRef,
        range: &impl RangeBounds<K::Item<'r>>,
    ) -> Result<Self, StoreError> {
        let from = range.start_bound().map(|item| K::encode(*item));
        let to = range.end_bound().map(|item| K::encode(*item));
        Self::new(view, root, from.as_ref().map(AsRef::as_ref), to.as_ref().map(AsRef::as_ref))
    }

    /// Returns about the number of entries that are left, by the nodes on the ways to both ends and some between them.
    pub(crate) fn about(&self) -> Result<u64, StoreError> {
        if self.finished {
            return Ok(0);
        }
        self.front.entries_before(&self.back).map_err(|error| error.at(self.view.path()))
    }

    fn decode(&mut self, entry: RawEntry<'t>) -> Result<Entry<'t, K>, StoreError> {
        let error = match entry {
            Ok(Some((key, value))) => match K::decode(key) {
                Some(key) => return Ok((key, value)),
                None => StoreError::corrupt(0, "a key is not of its table's type"),
            },
            // The other end was not reached, so the tree ends too early.
            Ok(None) => StoreError::corrupt(0, "a tree ends before the end of a range"),
            Err(error) => error,
        };
        self.finished = true;
        Err(error.at(self.view.path()))
    }
}

impl<'t, K: Key + ?Sized> Iterator for Range<'t, K> {
    type Item = Result<Entry<'t, K>, StoreError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.finished || self.front.is_at(&self.back) {
            return None;
        }
        let entry = self.front.next();
        Some(self.decode(entry))
    }
}

impl<K: Key + ?Sized> DoubleEndedIterator for Range<'_, K> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.finished || self.front.is_at(&self.back) {
            return None;
        }
        let entry = self.back.previous();
        Some(self.decode(entry))
    }
}

impl<K: Key + ?Sized> std::iter::FusedIterator for Range<'_, K> {}

impl<K: Key + ?Sized> fmt::Debug for Range<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("finished", &self.finished).finish_non_exhaustive()
    }
}
