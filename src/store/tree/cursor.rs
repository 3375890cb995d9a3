//! Cursors over the entries of a tree.

use std::ops::{Bound, Range};

use crate::store::error::StoreError;
use crate::store::format::{Node, NodeRef, Source};

/// Key and value, or the end.
pub(crate) type RawEntry<'p> = Result<Option<(&'p [u8], &'p [u8])>, StoreError>;

/// A place between two entries of a tree.
///
/// The place is before an entry, or behind the last one: then the path ends at the last leaf with the leaf's count as position. So two
/// cursors are at the same place if and only if leaf and position are equal.
#[derive(Clone)]
pub(crate) struct Cursor<'p, S> {
    source: S,
    path: Vec<(Node<'p>, usize)>,
}

impl<'p, S: Source<'p>> Cursor<'p, S> {
    fn empty(source: S) -> Self {
        Self { source, path: Vec::new() }
    }

    /// Returns a cursor before the first entry above the bound.
    pub(crate) fn lower(source: S, root: NodeRef, bound: Bound<&[u8]>) -> Result<Self, StoreError> {
        match bound {
            Bound::Unbounded => Self::descend(source, root, |_| Ok(0)),
            Bound::Included(key) => Self::seek(source, root, key, false),
            Bound::Excluded(key) => Self::seek(source, root, key, true),
        }
    }

    /// Returns a cursor behind the last entry below the bound.
    pub(crate) fn upper(source: S, root: NodeRef, bound: Bound<&[u8]>) -> Result<Self, StoreError> {
        match bound {
            Bound::Unbounded => Self::descend(source, root, |node| {
                Ok(if node.is_leaf() { node.count() } else { node.count() - 1 })
            }),
            Bound::Included(key) => Self::seek(source, root, key, true),
            Bound::Excluded(key) => Self::seek(source, root, key, false),
        }
    }

    fn seek(source: S, root: NodeRef, key: &[u8], behind: bool) -> Result<Self, StoreError> {
        Self::descend(source, root, |node| {
            if !node.is_leaf() {
                return node.route(key);
            }
            Ok(match node.search(key)? {
                Ok(i) => i + usize::from(behind),
                Err(i) => i,
            })
        })
    }

    fn descend(
        source: S,
        root: NodeRef,
        choose: impl Fn(Node<'p>) -> Result<usize, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut cursor = Self::empty(source);
        if root.is_empty() {
            return Ok(cursor);
        }
        let mut node = source.node(root)?;
        loop {
            let i = choose(node)?;
            cursor.path.push((node, i));
            if node.is_leaf() {
                break;
            }
            node = source.child(node, i)?;
        }
        cursor.settle()?;
        Ok(cursor)
    }

    /// Moves the cursor before the first entry of the next leaf, if it is behind the last entry of a leaf that is not the last.
    fn settle(&mut self) -> Result<(), StoreError> {
        while let Some(&(leaf, i)) = self.path.last() {
            if i < leaf.count() || !self.next_leaf()? {
                break;
            }
        }
        Ok(())
    }

    /// Moves to the start of the next leaf. Returns `false`, without moving, at the last leaf.
    fn next_leaf(&mut self) -> Result<bool, StoreError> {
        let Some(at) =
            self.path[..self.path.len() - 1].iter().rposition(|&(node, i)| i + 1 < node.count())
        else {
            return Ok(false);
        };
        self.path.truncate(at + 1);
        self.path[at].1 += 1;
        let (mut node, mut i) = self.path[at];
        while !node.is_leaf() {
            node = self.source.child(node, i)?;
            i = 0;
            self.path.push((node, 0));
        }
        Ok(true)
    }

    /// Moves behind the end of the previous leaf. Returns `false`, without moving, at the first leaf.
    fn previous_leaf(&mut self) -> Result<bool, StoreError> {
        let Some(at) = self.path[..self.path.len() - 1].iter().rposition(|&(_, i)| i > 0) else {
            return Ok(false);
        };
        self.path.truncate(at + 1);
        self.path[at].1 -= 1;
        let (mut node, mut i) = self.path[at];
        while !node.is_leaf() {
            node = self.source.child(node, i)?;
            i = if node.is_leaf() { node.count() } else { node.count() - 1 };
            self.path.push((node, i));
        }
        Ok(true)
    }

    /// Returns whether both cursors are at the same place.
    #[inline]
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        match (self.path.last(), other.path.last()) {
            (Some(&(a, i)), Some(&(b, j))) => i == j && a.page() == b.page(),
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns about the number of entries up to a later place: exact where few leaves are between, else as if the nodes of a level had as
    /// many entries as some of them.
    pub(crate) fn entries_before(&self, later: &Self) -> Result<u64, StoreError> {
        let pairs: Vec<_> = self.path.iter().zip(&later.path).collect();
        let Some(split) = pairs.iter().position(|((_, i), (_, j))| i != j) else { return Ok(0) };
        // Entries of a child of a node, of this level and of the one below.
        let (mut entries, mut width, mut below) = (0.0, 1.0, 1.0);
        for (level, &(&(a, i), &(b, j))) in pairs.iter().enumerate().skip(split).rev() {
            if level > split {
                // The child on the way is counted on the level below.
                let first = if a.is_leaf() { i } else { i + 1 };
                entries += (a.count().saturating_sub(first) + j) as f64 * width;
                below = width;
                width *= (a.count() + b.count()) as f64 / 2.0;
            } else if a.is_leaf() {
                entries += j.saturating_sub(i) as f64;
            } else {
                entries += self.children_of(a, i + 1..j)? * below;
            }
        }
        Ok(entries.round() as u64)
    }

    /// Returns about the number of the children of some children of a node.
    fn children_of(&self, node: Node<'p>, children: Range<usize>) -> Result<f64, StoreError> {
        /// Children that are read, at most.
        const SAMPLE: usize = 32;

        let (mut sum, mut read) = (0, 0);
        for child in children.clone().step_by(children.len().div_ceil(SAMPLE).max(1)) {
            sum += self.source.child(node, child)?.count();
            read += 1;
        }
        Ok(sum as f64 / read.max(1) as f64 * children.len() as f64)
    }

    /// Returns the entry behind the cursor, which moves over it. Returns `None` at the end.
    #[inline]
    pub(crate) fn next(&mut self) -> RawEntry<'p> {
        let Some((leaf, i)) = self.path.last_mut() else { return Ok(None) };
        if *i >= leaf.count() {
            return Ok(None);
        }
        let (key, stored) = leaf.entry(*i)?;
        *i += 1;
        if *i == leaf.count() {
            self.settle()?;
        }
        Ok(Some((key, self.source.value(stored)?)))
    }

    /// Returns the entry before the cursor, which moves over it. Returns `None` at the start.
    #[inline]
    pub(crate) fn previous(&mut self) -> RawEntry<'p> {
        loop {
            let Some((leaf, i)) = self.path.last_mut() else { return Ok(None) };
            if *i > 0 {
                *i -= 1;
                let (key, stored) = leaf.entry(*i)?;
                return Ok(Some((key, self.source.value(stored)?)));
            }
            if !self.previous_leaf()? {
                return Ok(None);
            }
        }
    }
}
