//! Spanning trees made anew, so that every row of a level is reachable.

use crate::graph::id::Row;
use crate::graph::rows::{Cell, Link, Rows};

/// Connected sets of rows (union by size, paths halved).
struct Sets {
    parents: Vec<Row>,
    sizes: Vec<u32>,
}

impl Sets {
    fn new<C: Cell>(rows: Rows<'_, C>) -> Self {
        Self { parents: rows.each().collect(), sizes: vec![1; rows.len()] }
    }

    fn find(&mut self, mut row: Row) -> Row {
        while self.parents[row.index()] != row {
            let above = self.parents[self.parents[row.index()].index()];
            self.parents[row.index()] = above;
            row = above;
        }
        row
    }

    fn join(&mut self, a: Row, b: Row) -> bool {
        let (mut a, mut b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        if self.sizes[a.index()] < self.sizes[b.index()] {
            std::mem::swap(&mut a, &mut b);
        }
        self.parents[b.index()] = a;
        self.sizes[a.index()] += self.sizes[b.index()];
        true
    }
}

/// A tree that grows.
struct Tree {
    sets: Sets,
    /// Tree links of each row.
    degrees: Vec<u32>,
    capacity: u32,
    edges: Vec<(Row, Row)>,
}

impl Tree {
    /// Adds a link to the tree, if its ends are not connected yet and have room.
    fn add(&mut self, a: Row, b: Row) {
        if self.has_room(a) && self.has_room(b) && self.sets.join(a, b) {
            self.degrees[a.index()] += 1;
            self.degrees[b.index()] += 1;
            self.edges.push((a, b));
        }
    }

    fn has_room(&self, row: Row) -> bool {
        self.degrees[row.index()] < self.capacity
    }
}

/// Marks the links of a spanning tree and adds missing ones: first the links that were marked, then any.
pub(super) fn span<C: Cell>(rows: Rows<'_, C>) {
    let mut tree = Tree {
        sets: Sets::new(rows),
        degrees: vec![0; rows.len()],
        capacity: rows.tree_capacity() as u32,
        edges: Vec::with_capacity(rows.len()),
    };
    for marked in [true, false] {
        for row in rows.each() {
            for link in rows.links(row).filter(|link| link.tree == marked) {
                tree.add(row, link.row);
            }
        }
    }
    // A set that is still separate has a leaf with room, and so has the main set.
    let first = Row::new(0);
    let mut host = first;
    for row in rows.each() {
        let main = tree.sets.find(first);
        if tree.sets.find(row) == main || !tree.has_room(row) {
            continue;
        }
        while tree.sets.find(host) != main || !tree.has_room(host) {
            host = Row::new((host.number() + 1) % rows.end().number());
        }
        tree.add(host, row);
    }
    for row in rows.each() {
        for cell in rows.cells(row) {
            if let Some(link) = cell.load().filter(|link| link.tree) {
                cell.store(Some(Link { tree: false, ..link }));
            }
        }
    }
    for (a, b) in tree.edges {
        mark(rows, a, b);
        mark(rows, b, a);
    }
}

/// Makes a row's link to another one of the tree; the row must have fewer tree links than places.
fn mark<C: Cell>(rows: Rows<'_, C>, row: Row, to: Row) {
    let cells = rows.cells(row);
    let links = || cells.iter().map_while(C::load);
    let same = links().position(|link| link.row == to);
    let count = links().count();
    let free = || (count < cells.len()).then_some(count);
    let last = || links().collect::<Vec<_>>().iter().rposition(|link| !link.tree);
    if let Some(at) = same.or_else(free).or_else(last) {
        cells[at].store(Some(Link { row: to, node: rows.head(to).0, tree: true }));
    }
}
