//! Walks over whole trees.

use crate::store::error::StoreError;
use crate::store::format::{Node, NodeRef, Source, Stored};

/// A node or an entry on a walk.
pub(crate) enum Visit<'p> {
    /// A node, before its entries or children.
    Node(Node<'p>),
    /// An entry of the leaf that was met last.
    Entry(&'p [u8], Stored<'p>),
}

/// Calls `f` for each node and each entry, in the order of keys. It ends on any bytes, because every step descends a level; the caller
/// decides on pages that are met twice.
pub(crate) fn visit<'p, S: Source<'p>>(
    source: S,
    root: NodeRef,
    f: &mut dyn FnMut(Visit<'p>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    fn go<'p, S: Source<'p>>(
        source: S,
        node: Node<'p>,
        f: &mut dyn FnMut(Visit<'p>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        f(Visit::Node(node))?;
        for i in 0..node.count() {
            if node.is_leaf() {
                let (key, value) = node.entry(i)?;
                f(Visit::Entry(key, value))?;
            } else {
                go(source, source.child(node, i)?, f)?;
            }
        }
        Ok(())
    }
    if root.is_empty() {
        return Ok(());
    }
    go(source, source.node(root)?, f)
}
