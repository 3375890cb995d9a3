//! One level of the graph: rows of links in a column.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytemuck::Zeroable;

use crate::arena::{ArenaError, Column, View};
use crate::graph::id::{Node, Row};
use crate::sync::step;

/// A neighbour: its row on the same level, and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) struct Link {
    pub(in crate::graph) row: Row,
    pub(in crate::graph) node: Node,
    /// Part of the level's spanning tree: never pruned.
    pub(in crate::graph) tree: bool,
}

/// Sorts links by their rows. Compiled once: callers are compiled for each kind of row.
#[inline(never)]
pub(in crate::graph) fn sort_links(links: &mut [Link]) {
    links.sort_unstable_by_key(|link| link.row);
}

/// An entry of a row. Zero is "no link", so fresh memory is an empty row, and a row ends at its
/// first empty entry.
pub(in crate::graph) trait Cell: Zeroable + Sync + Send + Debug + 'static {
    /// Entries before the links: an upper row starts with its node and its row one level below.
    const HEAD: usize;

    /// Loads the link. A thread that sees a link also sees the node's rows and vector, because slots are rewritten, too.
    fn load(&self) -> Option<Link>;

    fn store(&self, link: Option<Link>);
}

/// Base level: a row's number is its node's. `tree | row + 1`.
impl Cell for AtomicU32 {
    const HEAD: usize = 0;

    #[inline(always)]
    fn load(&self) -> Option<Link> {
        step();
        let word = Self::load(self, Ordering::Acquire);
        let row = Row::new((word & (u32::MAX >> 1)).checked_sub(1)?);
        Some(Link { row, node: row.base_node(), tree: word >> 31 != 0 })
    }

    fn store(&self, link: Option<Link>) {
        let word = link.map_or(0, |l| u32::from(l.tree) << 31 | (l.row.number() + 1));
        step();
        Self::store(self, word, Ordering::Release);
    }
}

/// Upper levels: rows are numbered apart. `tree | row + 1 | node`.
impl Cell for AtomicU64 {
    const HEAD: usize = 1;

    #[inline(always)]
    fn load(&self) -> Option<Link> {
        step();
        let word = Self::load(self, Ordering::Acquire);
        let row = Row::new(((word >> 32) as u32 & (u32::MAX >> 1)).checked_sub(1)?);
        Some(Link { row, node: Node::new(word as u32), tree: word >> 63 != 0 })
    }

    fn store(&self, link: Option<Link>) {
        let word = link.map_or(0, |l| {
            u64::from(l.tree) << 63
                | u64::from(l.row.number() + 1) << 32
                | u64::from(l.node.number())
        });
        step();
        Self::store(self, word, Ordering::Release);
    }
}

/// A level.
#[derive(Debug)]
pub(in crate::graph) struct Layer<C> {
    /// Its number, 0 for the base.
    pub(in crate::graph) level: usize,
    pub(in crate::graph) rows: Column<C, Row>,
    /// Maximum number of links in a row.
    pub(in crate::graph) capacity: usize,
}

impl<C: Cell> Layer<C> {
    /// Creates an empty level whose rows hold `capacity` links.
    pub(super) fn new(level: usize, capacity: usize) -> Self {
        Self { level, rows: Column::new(Self::stride(capacity)), capacity }
    }

    /// Returns the number of entries from one row to the next.
    pub(super) fn stride(capacity: usize) -> usize {
        // Base rows start at cache lines; upper rows are few and stay in the caches anyway.
        let line = 64 / size_of::<C>();
        let stride = C::HEAD + capacity;
        if C::HEAD == 0 { stride.next_multiple_of(line) } else { stride }
    }

    /// Adds a row without links. Upper rows get their head: the node and its row one level below.
    pub(in crate::graph) fn push(&self, head: Option<Link>) -> Result<Row, ArenaError> {
        self.rows.push(|row| {
            if C::HEAD == 1 {
                row[0].store(head);
            }
        })
    }

    /// Makes sure that the next push finds memory.
    pub(super) fn reserve(&self) -> Result<(), ArenaError> {
        self.rows.reserve()
    }

    /// Returns the number of rows.
    pub(in crate::graph) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the rows that exist now.
    #[inline(always)]
    pub(in crate::graph) fn rows(&self) -> Rows<'_, C> {
        Rows { view: self.rows.view(), capacity: self.capacity }
    }
}

/// The rows that existed when this view was taken.
#[derive(Debug)]
pub(in crate::graph) struct Rows<'a, C> {
    view: View<'a, C, Row>,
    capacity: usize,
}

impl<C> Clone for Rows<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Rows<'_, C> {}

impl<'a, C: Cell> Rows<'a, C> {
    /// Returns the number of rows.
    #[inline(always)]
    pub(in crate::graph) fn len(self) -> usize {
        self.view.len() as usize
    }

    /// Returns the first row that does not exist: those below it do.
    #[inline(always)]
    pub(in crate::graph) fn end(self) -> Row {
        Row::new(self.view.len())
    }

    /// Returns all rows.
    #[inline(always)]
    pub(in crate::graph) fn each(self) -> impl DoubleEndedIterator<Item = Row> {
        Row::each(Row::new(0)..self.end())
    }

    /// Returns the maximum number of links in a row.
    #[inline(always)]
    pub(in crate::graph) fn capacity(self) -> usize {
        self.capacity
    }

    /// Returns the maximum number of tree links in a row: to its parent and to its children. It is at least two, because a
    /// tree could not grow otherwise.
    pub(in crate::graph) fn tree_capacity(self) -> usize {
        (self.capacity / 2).max(2)
    }

    /// Returns the entries of a row, without its head, for a writer.
    pub(in crate::graph) fn cells(self, row: Row) -> &'a [C] {
        self.cells_from(row, 0)
    }

    /// Returns [`Self::cells`] for a writer that changes no entry before `at`.
    pub(in crate::graph) fn cells_from(self, row: Row, at: usize) -> &'a [C] {
        self.view.touch(row, if at == 0 { 0 } else { C::HEAD + at });
        self.entries(row)
    }

    #[inline(always)]
    fn entries(self, row: Row) -> &'a [C] {
        &self.view.row(row)[C::HEAD..C::HEAD + self.capacity]
    }

    /// Prefetches a row.
    #[inline(always)]
    pub(in crate::graph) fn prefetch(self, row: Row) {
        self.view.prefetch(row);
    }

    /// Returns the links of a row, up to its first empty entry.
    #[inline(always)]
    pub(in crate::graph) fn links(self, row: Row) -> impl Iterator<Item = Link> + 'a {
        self.entries(row).iter().map_while(C::load)
    }

    /// Returns the node of a row, and the node's row one level below.
    #[inline(always)]
    pub(in crate::graph) fn head(self, row: Row) -> (Node, Row) {
        if C::HEAD == 0 {
            return (row.base_node(), row);
        }
        let head = self.view.row(row)[0].load();
        head.map_or((Node::new(0), Row::new(0)), |head| (head.node, head.row))
    }
}
