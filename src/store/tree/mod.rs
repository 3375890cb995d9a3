//! The copy-on-write B+tree: byte keys to byte values, in ascending order.
//!
//! Reading goes through a [`Source`]: a snapshot, or a transaction over one. Changes copy a node into the transaction's workspace before they
//! change it, and the nodes above it up to the root.

mod bulk;
mod cursor;
mod insert;
mod remove;
mod walk;

use crate::store::error::StoreError;
use crate::store::format::{Node, NodeRef, PageNo, Stored};
use crate::store::pages::Pin;

pub(crate) use bulk::Builder;
pub(crate) use cursor::{Cursor, RawEntry};
pub(crate) use insert::{insert, put_inline};
pub(crate) use remove::remove;
pub(crate) use walk::{Visit, relocate, visit};

/// Longest key: an eighth of a page, so that a branch always has several children.
pub(crate) fn max_key(page_size: usize) -> usize {
    page_size / 8
}

/// Longest leaf cell: a quarter of a page. Longer values go to runs of their own.
pub(crate) fn max_cell(page_size: usize) -> usize {
    page_size / 4
}

/// Where nodes are read from: a snapshot, or a write transaction over one.
pub(crate) trait Source<'p>: Copy {
    /// Bytes of a page.
    fn page_size(self) -> usize;

    /// The first `len` bytes of a run, verified against `checksum` unless they are in memory.
    fn run(self, page: PageNo, len: usize, checksum: u64) -> Result<&'p [u8], StoreError>;

    /// A run that is in memory, wholly.
    fn in_memory(self, page: PageNo) -> Option<&'p [u8]>;

    /// Bytes of the file, not verified.
    fn mapped(self, page: PageNo, len: usize) -> Result<&'p [u8], StoreError>;

    /// A node.
    #[inline]
    fn node(self, at: NodeRef) -> Result<Node<'p>, StoreError> {
        Node::new(at.page, self.run(at.page, self.page_size(), at.checksum)?)
    }

    /// Child `i` of `parent`: one level below it, which is what makes every descent end.
    #[inline]
    fn child(self, parent: Node<'p>, i: usize) -> Result<Node<'p>, StoreError> {
        let child = self.node(parent.child(i)?)?;
        if child.level() + 1 != parent.level() {
            return Err(StoreError::corrupt(child.page(), "it is not one level below its parent"));
        }
        Ok(child)
    }

    /// The bytes of a value.
    #[inline]
    fn value(self, stored: Stored<'p>) -> Result<&'p [u8], StoreError> {
        match stored {
            Stored::Inline(value) => Ok(value),
            Stored::Overflow(at) => {
                let len = usize::try_from(at.len)
                    .map_err(|_| StoreError::corrupt(at.page, "a value is longer than memory"))?;
                self.run(at.page, len, at.checksum)
            }
        }
    }
}

impl<'p> Source<'p> for &'p Pin {
    #[inline]
    fn page_size(self) -> usize {
        self.page_size()
    }

    #[inline]
    fn run(self, page: PageNo, len: usize, checksum: u64) -> Result<&'p [u8], StoreError> {
        self.run(page, len, checksum)
    }

    fn in_memory(self, page: PageNo) -> Option<&'p [u8]> {
        self.buffer(page).map(|buffer| &**buffer)
    }

    fn mapped(self, page: PageNo, len: usize) -> Result<&'p [u8], StoreError> {
        self.mapped(page, len)
    }
}

/// The value of `key`. `O(log n)`; touches one page per level.
#[inline]
pub(crate) fn get<'p>(
    source: impl Source<'p>,
    root: NodeRef,
    key: &[u8],
) -> Result<Option<&'p [u8]>, StoreError> {
    if root.is_empty() {
        return Ok(None);
    }
    let mut node = source.node(root)?;
    while !node.is_leaf() {
        node = source.child(node, node.route(key)?)?;
    }
    match node.find(key)? {
        Some(value) => source.value(value).map(Some),
        None => Ok(None),
    }
}
