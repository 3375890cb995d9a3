//! Spanning trees made anew, so that every row of a level is reachable.

use crate::graph::rows::{Cell, Link, Rows};

/// Connected sets of rows (union by size, paths halved).
struct Sets {
    parents: Vec<u32>,
    sizes: Vec<u32>,
}

impl Sets {
    fn new(len: u32) -> Self {
        Self { parents: (0..len).collect(), sizes: vec![1; len as usize] }
    }

    fn find(&mut self, mut row: u32) -> u32 {
        while self.parents[row as usize] != row {
            let above = self.parents[self.parents[row as usize] as usize];
            self.parents[row as usize] = above;
            row = above;
        }
        row
    }

    fn join(&mut self, a: u32, b: u32) -> bool {
        let (mut a, mut b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        if self.sizes[a as usize] < self.sizes[b as usize] {
            std::mem::swap(&mut a, &mut b);
        }
        self.parents[b as usize] = a;
        self.sizes[a as usize] += self.sizes[b as usize];
        true
    }
}

/// A tree that grows.
struct Tree {
    sets: Sets,
    /// Tree links of each row.
    degrees: Vec<u32>,
    capacity: u32,
    edges: Vec<(u32, u32)>,
}

impl Tree {
    /// Adds a link to the tree, if its ends are not connected yet and have room.
    fn add(&mut self, a: u32, b: u32) {
        if self.has_room(a) && self.has_room(b) && self.sets.join(a, b) {
            self.degrees[a as usize] += 1;
            self.degrees[b as usize] += 1;
            self.edges.push((a, b));
        }
    }

    fn has_room(&self, row: u32) -> bool {
        self.degrees[row as usize] < self.capacity
    }
}

/// Marks the links of a spanning tree and adds missing ones: first the links that were marked, then any.
pub(super) fn span<C: Cell>(rows: Rows<'_, C>) {
    let len = rows.len();
    let mut tree = Tree {
        sets: Sets::new(len),
        degrees: vec![0; len as usize],
        capacity: rows.tree_capacity() as u32,
        edges: Vec::with_capacity(len as usize),
    };
    for marked in [true, false] {
        for row in 0..len {
            for link in rows.links(row).filter(|link| link.tree == marked) {
                tree.add(row, link.row);
            }
        }
    }
    // A set that is still separate has a leaf with room, and so has the main set.
    let mut host = 0;
    for row in 0..len {
        let main = tree.sets.find(0);
        if tree.sets.find(row) == main || !tree.has_room(row) {
            continue;
        }
        while tree.sets.find(host) != main || !tree.has_room(host) {
            host = (host + 1) % len;
        }
        tree.add(host, row);
    }
    for row in 0..len {
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
fn mark<C: Cell>(rows: Rows<'_, C>, row: u32, to: u32) {
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
