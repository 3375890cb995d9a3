//! Entries and names of a snapshot, one after the other and in pages.

use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;
use std::vec;

use super::snapshot::Snapshot;
use crate::attributes::Predicate;
use crate::collection::error::CollectionError;
use crate::collection::records::{Entry, Names, Page, Place, Records, ScrollCursor};
use crate::error::IndexError;
use crate::index::Stored;

/// The entries of one moment of a collection, ascending by key. Made by [`Collection::entries`](crate::Collection::entries) and
/// [`Snapshot::entries`]. It holds the keys that are left, 8 bytes each; everything else is read as it is asked for. After an error it ends.
pub struct Entries<'a> {
    source: Source<'a>,
    keys: vec::IntoIter<u64>,
}

enum Source<'a> {
    Borrowed(&'a Snapshot, Records<'a>),
    Owned(Snapshot),
}

impl<'a> Entries<'a> {
    fn of(snapshot: &'a Snapshot, keys: Vec<u64>) -> Result<Self, CollectionError> {
        let source = Source::Borrowed(snapshot, snapshot.records()?);
        Ok(Self { source, keys: keys.into_iter() })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, CollectionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.keys.next()?;
        let entry = match &self.source {
            Source::Borrowed(snapshot, records) => entry(snapshot, records, key),
            Source::Owned(snapshot) => {
                let found = snapshot.records().and_then(|records| entry(snapshot, &records, key));
                found.map(Entry::into_owned)
            }
        };
        if entry.is_err() {
            self.keys = Vec::new().into_iter();
        }
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error ends it.
        (self.keys.len().min(1), Some(self.keys.len()))
    }
}

impl FusedIterator for Entries<'_> {}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("left", &self.keys.len()).finish_non_exhaustive()
    }
}

fn entry<'t>(
    snapshot: &Snapshot,
    records: &Records<'t>,
    key: u64,
) -> Result<Entry<'t>, CollectionError> {
    Ok(Entry {
        key,
        vector: snapshot.get(key).ok_or(CollectionError::KeyMissing { key })?,
        name: records.name(key)?.map(Cow::Borrowed),
        attributes: records.attributes(key)?,
        payload: records.payload(key)?.map(Cow::Borrowed),
    })
}

impl Snapshot {
    /// Returns all entries, ascending by key. The keys are sorted first: `O(n log n)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt); [`StoreError::Forked`](crate::store::StoreError::Forked) in a forked child of
    /// the process that made the snapshot.
    pub fn entries(&self) -> Result<Entries<'_>, CollectionError> {
        self.entries_behind(None, None)
    }

    /// Returns all entries, each a copy, of a snapshot that they keep.
    pub(in crate::collection) fn into_entries(self) -> Result<Entries<'static>, CollectionError> {
        self.records()?;
        let keys = self.keys_behind(None).into_iter();
        Ok(Entries { source: Source::Owned(self), keys })
    }

    /// Returns the entries behind a position, ascending by key: those for which a predicate is true, or all.
    pub(in crate::collection) fn entries_behind(
        &self,
        predicate: Option<&Predicate>,
        after: Option<ScrollCursor>,
    ) -> Result<Entries<'_>, CollectionError> {
        let keys = match predicate {
            Some(predicate) => match first_behind(after) {
                Some(first) => self.matching(predicate)?.iter_from(first).collect(),
                None => Vec::new(),
            },
            None => self.keys_behind(after),
        };
        Entries::of(self, keys)
    }

    /// Returns a page of the entries, ascending by key: of those for which a predicate is true, or of all. Begins behind `after`, or at the first
    /// entry, and has at most `limit` entries. As [`Collection::scroll`](crate::Collection::scroll), of this commit.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn scroll(
        &self,
        predicate: Option<&Predicate>,
        after: Option<ScrollCursor>,
        limit: usize,
    ) -> Result<Page<'_>, CollectionError> {
        let Place { keys, next } = self.place(predicate, after, limit)?;
        Ok(Page { entries: Entries::of(self, keys)?.collect::<Result<_, _>>()?, next })
    }

    fn place(
        &self,
        predicate: Option<&Predicate>,
        after: Option<ScrollCursor>,
        limit: usize,
    ) -> Result<Place, CollectionError> {
        if limit == 0 {
            let value = limit.to_string();
            return Err(IndexError::Parameter { name: "limit", value, allowed: "1 or more" }.into());
        }
        let one_more = limit.saturating_add(1);
        let keys = match (predicate, first_behind(after)) {
            (Some(predicate), Some(first)) => {
                self.matching(predicate)?.iter_from(first).take(one_more).collect()
            }
            (Some(predicate), None) => {
                predicate.node()?;
                Vec::new()
            }
            (None, _) => self.some_behind(after, one_more),
        };
        Ok(Place::of(keys, limit))
    }

    /// Returns the first `count` keys behind a position, ascending.
    fn some_behind(&self, after: Option<ScrollCursor>, count: usize) -> Vec<u64> {
        if !self.hnsw().is_bound_here() {
            return Vec::new();
        }
        if let Some(ordered) = self.ordered().of(self.number(), || self.keys()) {
            let first =
                ordered.partition_point(|&key| after.is_some_and(|after| key <= after.last_key()));
            return ordered[first..].iter().take(count).copied().collect();
        }
        let mut keys = self.unsorted_behind(after);
        if keys.len() > count {
            keys.select_nth_unstable(count - 1);
            keys.truncate(count);
        }
        keys.sort_unstable();
        keys
    }

    fn keys_behind(&self, after: Option<ScrollCursor>) -> Vec<u64> {
        let mut keys = self.unsorted_behind(after);
        keys.sort_unstable();
        keys
    }

    fn unsorted_behind(&self, after: Option<ScrollCursor>) -> Vec<u64> {
        let mut keys = self.keys();
        if let Some(after) = after {
            keys.retain(|&key| key > after.last_key());
        }
        keys
    }

    /// Returns the names and their keys, ascending by the bytes of the names. A name may have no vector yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn names(&self) -> Result<Names<'_>, CollectionError> {
        Names::of(self.store())
    }

    /// Returns the tables of names, attributes and payloads.
    pub(in crate::collection) fn records(&self) -> Result<Records<'_>, CollectionError> {
        Records::of(self.store(), self.fields())
    }
}

/// Returns the first key behind a position. Returns `None` if no key is.
fn first_behind(after: Option<ScrollCursor>) -> Option<u64> {
    after.map_or(Some(0), |after| after.last_key().checked_add(1))
}
