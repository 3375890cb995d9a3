//! Adding a link to a row that others read and change.

use crate::graph::id::Row;
use crate::graph::rows::{Candidate, Cell, Graph, Layer, Link, Rows, select, sort_candidates};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::sync::{Fault, is_planted};

impl Graph {
    /// Adds `link`, at `key` from the node of `row`, to that row. A full row is pruned, which may
    /// drop the new link. A tree link is never dropped. Returns `false` if the row
    /// has its maximum of tree links; it is unchanged then.
    pub(in crate::graph) fn connect<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        layer: &Layer<C>,
        row: Row,
        new: Candidate,
        scratch: &mut Scratch,
    ) -> bool {
        let _one_writer = (!is_planted(Fault::Unlocked)).then(|| self.lock(layer.level, row));
        let rows = layer.rows();
        let mut count = 0;
        let mut tree = 0;
        for (at, link) in rows.links(row).enumerate() {
            count += 1;
            tree += usize::from(link.tree);
            if link.row == new.link.row {
                // Two nodes that are inserted at the same time can choose each other.
                if new.link.tree && !link.tree {
                    rows.cells_from(row, at)[at].store(Some(new.link));
                }
                return true;
            }
        }
        if new.link.tree && tree >= rows.tree_capacity() {
            return false;
        }
        if count < rows.capacity() {
            rows.cells_from(row, count)[count].store(Some(new.link));
            return true;
        }
        let cells = rows.cells(row);

        // The lock makes the vectors of all nodes in the row visible, also of those that are
        // younger than the space in hand.
        let space = space.refresh();
        let Scratch { candidates, prune, counters, fresh, .. } = scratch;
        // All links to living nodes; a damaged file may have links that are out of range.
        let sound = |l: &Link| l.row < rows.end() && l.node < space.end();
        let links = || rows.links(row).filter(|l| sound(l) && (l.tree || space.is_live(l.node)));
        fresh.reserve(count);
        let mut count = 0;
        for link in links() {
            fresh.nodes[count] = link.node;
            count += 1;
        }
        let node = rows.head(row).0;
        space.between(node, &fresh.nodes[..count], &mut fresh.keys[..count]);
        counters.distances += count as u64;
        candidates.clear();
        candidates.push(new);
        candidates.extend(
            fresh.keys[..count].iter().zip(links()).map(|(&key, link)| Candidate { key, link }),
        );
        if is_planted(Fault::TreePruned) {
            for candidate in &mut *candidates {
                candidate.link.tree = false;
            }
        }
        sort_candidates(candidates);
        // Room for a few more links before the next pruning, so that rows are not pruned again
        // and again (a fifth, after faiss).
        let limit = (rows.capacity() - rows.capacity() / 5).max(tree + 1).min(rows.capacity());
        counters.distances += select(space, self.with_length(node), candidates, limit, prune);
        if is_planted(Fault::Emptied) {
            for cell in cells {
                cell.store(None);
            }
        }
        for (cell, link) in
            cells.iter().zip(prune.kept.iter().map(|c| Some(c.link)).chain(std::iter::repeat(None)))
        {
            cell.store(link);
        }
        true
    }
}

/// Marks the link from `row` to `parent` as a tree link, or adds it. The row must not be visible
/// to others yet.
pub(super) fn set_parent<C: Cell>(rows: Rows<'_, C>, row: Row, parent: Link) {
    let cells = rows.cells(row);
    let same = rows.links(row).position(|link| link.row == parent.row);
    let free = same.unwrap_or_else(|| rows.links(row).count().min(cells.len() - 1));
    for (at, cell) in cells.iter().enumerate() {
        if at == free {
            cell.store(Some(Link { tree: true, ..parent }));
        } else if let Some(link) = cell.load().filter(|link| link.tree) {
            cell.store(Some(Link { tree: false, ..link }));
        }
    }
}
