//! Links past a node that is removed or about to be.
//!
//! In-place repair (IP-DiskANN, Xu et al., 2025): a walk to its vector finds the nodes that link to it,
//! and each gets the nearest of its neighbours instead.

use crate::graph::id::{Node, Row};
use crate::graph::rows::{
    Candidate, Cell, Graph, Layer, Link, select, sort_candidates, sort_links,
};
use crate::graph::search::{Near, Scratch, Walk};
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;

/// Maximum number of links that a row gets in place of one that it loses.
const REPLACEMENTS: usize = 3;

/// Nodes near the removed one, besides its own neighbours, that may take its place.
const NEARBY: usize = 16;

impl Graph {
    /// Gives the nodes around `node`, which was [cut](Self::cut) and whose vector is `query`, links past it, on all of
    /// its levels.
    pub(crate) fn bypass<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: Node,
        scratch: &mut Scratch,
    ) {
        let Some(entry) = self.entry() else { return };
        let space = space.refresh();
        let stack = self.stack_of(node);
        let top = entry.level.min(stack.level);
        let mut near = self.descend(space, query, entry, top, scratch);
        for level in (1..=top).rev() {
            let layer = self.layer(level);
            let walk = Walk { space, query, rows: layer.rows() };
            let found = self.bypass_on(walk, layer, stack.rows[level], near, scratch);
            near = Near { row: layer.rows().head(found.row).1, ..found };
        }
        let walk = Walk { space, query, rows: self.base.rows() };
        self.bypass_on(walk, &self.base, node.base_row(), near, scratch);
    }

    /// [`Self::bypass`] on one level. Returns the nearest row.
    fn bypass_on<S: LinkSpace, C: Cell>(
        &self,
        walk: Walk<'_, S, C>,
        layer: &Layer<C>,
        row: Row,
        from: Near,
        scratch: &mut Scratch,
    ) -> Near {
        let Walk { space, rows, .. } = walk;
        walk.beam(from, self.parameters.ef_construction / 2, scratch);
        let nearest = scratch.pool.iter().next().map_or(from, |(key, row)| Near { key, row });
        let sound = |l: &Link| l.row < rows.end() && l.node < space.end();
        let own = || rows.links(row).filter(sound);
        let met = || scratch.pool.iter().map(|(_, row)| row).filter(|&met| met != row);
        let leads_here = |&other: &Row| rows.links(other).any(|l| l.row == row);
        // Its own neighbours link back more often than not.
        let strangers = own().map(|l| l.row).filter(|&own| met().all(|met| met != own));
        let sources: Vec<Row> = met().chain(strangers).filter(leads_here).collect();
        let living = |l: &Link| space.is_live(l.node);
        let nearby =
            met().take(NEARBY).map(|row| Link { row, node: rows.head(row).0, tree: false });
        let mut others: Vec<Link> =
            own().map(|l| Link { tree: false, ..l }).chain(nearby).filter(living).collect();
        sort_links(&mut others);
        others.dedup_by_key(|l| l.row);
        for source in sources {
            self.mend(space, layer, source, (|l: &Link| l.row == row, &others), scratch);
        }
        // The nodes that it linked to need other links to them, too.
        for orphan in own().filter(|l| space.is_live(l.node)) {
            self.lead_to(space, layer, orphan, &others, scratch);
        }
        nearest
    }

    /// Gives the nearest of `others` a link to a node that lost one.
    fn lead_to<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        layer: &Layer<C>,
        orphan: Link,
        others: &[Link],
        scratch: &mut Scratch,
    ) {
        let Scratch { fresh, counters, .. } = &mut *scratch;
        fresh.reserve(others.len());
        let mut count = 0;
        for other in others.iter().filter(|other| other.row != orphan.row) {
            fresh.nodes[count] = other.node;
            count += 1;
        }
        space.between(orphan.node, &fresh.nodes[..count], &mut fresh.keys[..count]);
        counters.distances += count as u64;
        let others = others.iter().filter(|other| other.row != orphan.row);
        let mut nearest: Option<(OrderKey, Link)> = None;
        for (&key, &other) in fresh.keys[..count].iter().zip(others) {
            if nearest.is_none_or(|(least, link)| (key, other.row) < (least, link.row)) {
                nearest = Some((key, other));
            }
        }
        if let Some((key, from)) = nearest {
            let link = Link { tree: false, ..orphan };
            self.connect(space, layer, from.row, Candidate { key, link }, scratch);
        }
    }

    /// Removes the `lost` links of a row, except tree links, and puts some of `others` in their
    /// place: nodes that are alive, each once.
    pub(super) fn mend<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        layer: &Layer<C>,
        row: Row,
        (lost, others): (impl Fn(&Link) -> bool, &[Link]),
        scratch: &mut Scratch,
    ) {
        let _one_writer = self.lock(layer.level, row);
        let rows = layer.rows();
        let cells = rows.cells(row);
        let node = rows.head(row).0;
        let space = space.refresh();
        let Scratch { candidates, prune, counters, fresh, .. } = scratch;

        let mut kept: Vec<Link> = Vec::with_capacity(rows.capacity());
        let mut before = 0;
        for link in rows.links(row) {
            before += 1;
            if link.tree || !lost(&link) {
                kept.push(link);
            }
        }
        let wanted = (before - kept.len()).saturating_mul(REPLACEMENTS);
        if wanted == 0 {
            return;
        }
        fresh.reserve(others.len());
        let mut count = 0;
        for other in others {
            if other.row != row && kept.iter().all(|l| l.row != other.row) {
                fresh.nodes[count] = other.node;
                count += 1;
            }
        }
        space.between(node, &fresh.nodes[..count], &mut fresh.keys[..count]);
        counters.distances += count as u64;
        candidates.clear();
        let new = others.iter().filter(|o| o.row != row && kept.iter().all(|l| l.row != o.row));
        candidates.extend(fresh.keys.iter().zip(new).map(|(&key, &link)| Candidate { key, link }));
        sort_candidates(candidates);
        let room = rows.capacity() - kept.len();
        let node = self.with_length(node);
        counters.distances += select(space, node, candidates, wanted.min(room), prune);
        // Kept links stay in place if possible, so that a walk that reads the row meanwhile misses none.
        let mut new = prune.kept.iter().map(|c| c.link);
        let mut end = before;
        let mut at = 0;
        while at < end {
            if cells[at].load().is_some_and(|l| !l.tree && lost(&l)) {
                if let Some(link) = new.next() {
                    cells[at].store(Some(link));
                } else {
                    end -= 1;
                    cells[at].store(cells[end].load());
                    cells[end].store(None);
                    continue;
                }
            }
            at += 1;
        }
        for link in new {
            cells[end].store(Some(link));
            end += 1;
        }
    }
}
