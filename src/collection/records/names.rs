//! Names in their order.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;

use crate::collection::error::CollectionError;
use crate::collection::format::{KEYS_OF_NAMES, key_of_name};
use crate::store::{Range, ReadTransaction};

/// Names that are copied at once from a transaction of the store that the listing has itself.
const PIECE: usize = 256;

/// The names of a collection with their keys, ascending by the bytes of the names. Made by [`Collection::names`](crate::Collection::names) and
/// [`Snapshot::names`](crate::Snapshot::names). After an error it ends.
pub struct Names<'a> {
    source: Source<'a>,
    ended: bool,
}

enum Source<'a> {
    Borrowed(Option<Range<'a, [u8]>>),
    Owned(Own),
}

/// A transaction of the store, and names of it.
struct Own {
    tx: ReadTransaction,
    /// Names that were read and not given yet.
    ready: VecDeque<(Vec<u8>, u64)>,
    /// The last name that was read.
    last: Option<Vec<u8>>,
}

impl<'a> Names<'a> {
    pub(in crate::collection) fn of(tx: &'a ReadTransaction) -> Result<Self, CollectionError> {
        let range =
            tx.find_table::<[u8]>(KEYS_OF_NAMES)?.map(|table| table.entries()).transpose()?;
        Ok(Self { source: Source::Borrowed(range), ended: false })
    }
}

impl Names<'static> {
    pub(in crate::collection) fn owned(tx: ReadTransaction) -> Result<Self, CollectionError> {
        let mut own = Own { tx, ready: VecDeque::new(), last: None };
        own.read()?;
        Ok(Self { source: Source::Owned(own), ended: false })
    }
}

impl Own {
    /// Reads the names behind the last one.
    fn read(&mut self) -> Result<(), CollectionError> {
        let Some(table) = self.tx.find_table::<[u8]>(KEYS_OF_NAMES)? else { return Ok(()) };
        let from = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        for entry in table.range((from, Bound::Unbounded))?.take(PIECE) {
            let (name, key) = entry?;
            self.ready.push_back((name.to_vec(), key_of_name(key)?));
        }
        self.last = self.ready.back().map(|(name, _)| name.clone());
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, CollectionError> {
        if self.ready.is_empty() && self.last.is_some() {
            self.read()?;
        }
        Ok(self.ready.pop_front())
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = Result<(Cow<'a, [u8]>, u64), CollectionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match &mut self.source {
            Source::Borrowed(range) => range.as_mut().and_then(Iterator::next).map(|entry| {
                let (name, key) = entry?;
                Ok((Cow::Borrowed(name), key_of_name(key)?))
            }),
            Source::Owned(own) => {
                own.next().map(|next| next.map(|(name, key)| (Cow::Owned(name), key))).transpose()
            }
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for Names<'_> {}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("ended", &self.ended).finish_non_exhaustive()
    }
}
