//! The position of a listing that goes from page to page.

use std::fmt;
use std::str::FromStr;

use super::entry::Entry;
use crate::collection::error::CollectionError;

/// The position between two pages of [`Collection::scroll`](crate::Collection::scroll): the last key of the page before.
///
/// It can be kept as text or as bytes, in a link or on a disk, by another process and for any time. It holds no commit and no memory: pages
/// ascend by key, and the next page begins behind this key in the collection as it is then. So an entry that is there from the first page
/// to the last one is given exactly once; no entry is given twice; entries that are added or removed meanwhile are given if they are there when
/// their page is read. A page of a [`Snapshot`](crate::Snapshot) is of its commit: pages of one snapshot are of one moment.
///
/// ```
/// use nearfield::collection::ScrollCursor;
///
/// let cursor = ScrollCursor::after(255);
/// assert_eq!(cursor.to_string(), "00000000000000ff");
/// assert_eq!("00000000000000ff".parse::<ScrollCursor>()?, cursor);
/// assert_eq!(ScrollCursor::from_bytes(cursor.to_bytes()), cursor);
/// assert!("255".parse::<ScrollCursor>().is_err());
/// # Ok::<(), nearfield::CollectionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScrollCursor {
    last: u64,
}

impl ScrollCursor {
    /// Returns the position behind a key, which need not exist.
    pub const fn after(key: u64) -> Self {
        Self { last: key }
    }

    /// Returns the last key before the position.
    pub const fn last_key(self) -> u64 {
        self.last
    }

    /// Returns the position as bytes, whose order is that of positions.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.last.to_be_bytes()
    }

    /// Returns the position that [`to_bytes`](Self::to_bytes) gave as bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self { last: u64::from_be_bytes(bytes) }
    }
}

/// Sixteen hexadecimal digits, whose order is that of positions.
impl fmt::Display for ScrollCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.last)
    }
}

impl FromStr for ScrollCursor {
    type Err = CollectionError;

    /// Reads the text of a cursor.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Cursor`] if the text is anything else than the digits that a cursor is written as.
    fn from_str(text: &str) -> Result<Self, CollectionError> {
        let is_written =
            text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let last = u64::from_str_radix(text, 16).ok().filter(|_| is_written);
        let last =
            last.ok_or_else(|| CollectionError::Cursor { text: text.chars().take(40).collect() })?;
        Ok(Self { last })
    }
}

/// A page of a listing, in the order of the keys.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<'a> {
    /// The entries, ascending by key.
    pub entries: Vec<Entry<'a>>,
    /// The position behind the page. `None` if no entry is behind it.
    pub next: Option<ScrollCursor>,
}

impl Page<'_> {
    /// Returns the page with copies of the parts that its entries borrow.
    pub fn into_owned(self) -> Page<'static> {
        let entries = self.entries.into_iter().map(Entry::into_owned).collect();
        Page { entries, next: self.next }
    }
}

/// The keys of a page.
#[derive(Debug)]
pub(in crate::collection) struct Place {
    pub(in crate::collection) keys: Vec<u64>,
    pub(in crate::collection) next: Option<ScrollCursor>,
}

impl Place {
    /// Returns the keys of a page of those behind a position: `keys` ascend, and are one more than the page has if the listing goes on.
    pub(in crate::collection) fn of(mut keys: Vec<u64>, limit: usize) -> Self {
        let goes_on = keys.len() > limit;
        keys.truncate(limit);
        let next = keys.last().copied().filter(|_| goes_on).map(ScrollCursor::after);
        Self { keys, next }
    }
}
