//! The copy-on-write B+tree: byte keys to byte values, in ascending order.
//!
//! Reading goes through a [`Source`]: a snapshot, or a transaction over one. A change copies a node, and the nodes above it up to the
//! root, into the transaction's workspace first.

mod bulk;
mod cursor;
mod insert;
mod remove;
mod visit;

use crate::store::error::StoreError;
use crate::store::format::{NodeRef, Source};

pub(crate) use bulk::Builder;
pub(crate) use cursor::{Cursor, RawEntry};
pub(crate) use insert::{insert, put_inline};
pub(crate) use remove::remove;
pub(crate) use visit::{Visit, visit};

/// Returns the length of the longest key: an eighth of a page, so that a branch always has several children.
pub(crate) fn max_key(page_size: usize) -> usize {
    page_size / 8
}

/// Returns the length of the longest leaf cell: a quarter of a page. Longer values are kept in separate runs.
pub(crate) fn max_cell(page_size: usize) -> usize {
    page_size / 4
}

/// Returns the value of `key`. `O(log n)`; touches one page per level.
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
