//! Descents through the upper levels: greedy ones, and wider ones if lengths differ.

use super::scratch::{Fresh, Scratch};
use super::walk::{Near, Walk, gather};
use crate::graph::id::Node;
use crate::graph::rows::{Cell, Entry, Graph, Rows};
use crate::graph::space::Space;

/// Candidates that a descent keeps on the entry's level, and on those below.
const WIDTHS: (usize, usize) = (16, 2);

impl Graph {
    /// Descends greedily from `entry` to level `to`, and returns the nearest row found there. If lengths differ, the other rows
    /// that the descent met are left in the scratch.
    pub(in crate::graph) fn descend<S: Space>(
        &self,
        space: S,
        query: S::Query,
        entry: Entry,
        to: usize,
        scratch: &mut Scratch,
    ) -> Near {
        scratch.passed.clear();
        if self.lengths.differ() {
            return self.descend_wide(space, query, entry, to, scratch);
        }
        let Entry { mut level, mut row } = entry;
        if level == 0 {
            scratch.counters.distances += 1;
            return Near { key: space.key(query, row.base_node()), row };
        }
        let mut key = space.key(query, self.layer(level).rows().head(row).0);
        scratch.counters.distances += 1;
        while level > to {
            let rows = self.layer(level).rows();
            let near = greedy(space, query, rows, Near { key, row }, scratch);
            (key, row) = (near.key, rows.head(near.row).1);
            level -= 1;
        }
        Near { key, row }
    }

    /// [`Self::descend`] with more candidates. They are left in the scratch for [`seed`].
    #[cold]
    #[inline(never)]
    pub(super) fn descend_wide<S: Space>(
        &self,
        space: S,
        query: S::Query,
        Entry { mut level, mut row }: Entry,
        to: usize,
        scratch: &mut Scratch,
    ) -> Near {
        let node = self.node(Entry { level, row });
        let mut key = space.key(query, node);
        scratch.counters.distances += 1;
        let mut width = WIDTHS.0;
        while level > to {
            let rows = self.layer(level).rows();
            Walk { space, query, rows }.beam(Near { key, row }, width, scratch);
            let Scratch { pool, passed, .. } = &mut *scratch;
            passed.extend(pool.iter().map(|(key, row)| (key, rows.head(row).0)));
            (key, row) = pool.iter().next().unwrap_or((key, row));
            row = rows.head(row).1;
            (level, width) = (level - 1, WIDTHS.1);
        }
        Near { key, row }
    }
}

/// Moves to the nearest neighbour until no neighbour is nearer.
fn greedy<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    from: Near,
    scratch: &mut Scratch,
) -> Near {
    let mut best = from;
    loop {
        let row = best.row;
        let Scratch { fresh, counters, .. } = &mut *scratch;
        fresh.reserve(rows.capacity());
        let count = gather(space, rows, row, rows.end(), fresh, |_| true);
        counters.hops += 1;
        counters.distances += count as u64;
        let Fresh { rows: found, nodes, keys, .. } = fresh;
        space.keys(query, &nodes[..count], &mut keys[..count]);
        let found = if C::HEAD > 0 { &mut found[..] } else { Node::base_rows_mut(nodes) };
        for (&key, &row) in keys.iter().zip(&found[..count]) {
            if key < best.key {
                best = Near { key, row };
            }
        }
        if best.row == row {
            return best;
        }
    }
}

/// Offers the nodes that a descent met to the walk that begins on the base level.
pub(in crate::graph) fn seed<C: Cell>(rows: Rows<'_, C>, scratch: &mut Scratch) {
    let Scratch { pool, visited, passed, .. } = scratch;
    if passed.is_empty() {
        return;
    }
    passed.retain(|&(_, node)| {
        let row = node.base_row();
        row < rows.end() && visited.insert(row.number())
    });
    for &(key, node) in &*passed {
        if pool.admits(key) {
            pool.insert(key, node.base_row());
        }
    }
}
