//! Sources of pages.

use super::node::{Node, Stored};
use super::page::{NodeRef, PageNo};
use crate::store::error::StoreError;

/// The source of nodes: a snapshot, or a write transaction over one.
pub(crate) trait Source<'p>: Copy {
    /// Returns the number of bytes of a page.
    fn page_size(self) -> usize;

    /// Returns the first `len` bytes of a run, verified against `checksum` unless they are in memory.
    fn run(self, page: PageNo, len: usize, checksum: u64) -> Result<&'p [u8], StoreError>;

    /// Returns all bytes of a run that is in memory.
    fn in_memory(self, page: PageNo) -> Option<&'p [u8]>;

    /// Returns bytes of the file, not verified.
    fn mapped(self, page: PageNo, len: usize) -> Result<&'p [u8], StoreError>;

    /// Returns a node.
    #[inline]
    fn node(self, at: NodeRef) -> Result<Node<'p>, StoreError> {
        Node::new(at.page, self.run(at.page, self.page_size(), at.checksum)?)
    }

    /// Returns child `i` of `parent`, which must be one level below it, so that every descent ends.
    #[inline]
    fn child(self, parent: Node<'p>, i: usize) -> Result<Node<'p>, StoreError> {
        let child = self.node(parent.child(i)?)?;
        if child.level() + 1 != parent.level() {
            return Err(StoreError::corrupt(child.page(), "it is not one level below its parent"));
        }
        Ok(child)
    }

    /// Returns the bytes of a value.
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
