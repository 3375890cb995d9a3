//! New links among old ones.

use super::Merge;
use super::cross::{Back, Near, join, split};
use crate::graph::id::Row;
use crate::graph::rows::{Candidate, Cell, Link, Rows, select, sort_candidates};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;
use crate::threads::map_parts;

/// Rows that a thread takes at once.
const GRAIN: usize = 256;

impl<S: LinkSpace + Sync> Merge<'_, S> {
    /// Lets each row choose among its links and the rows near to it. The chosen rows link back to it, the nearest
    /// first, if they have room: without that, rows have a fifth fewer links than insertions give them.
    pub(super) fn weave<C: Cell>(&self, rows: Rows<'_, C>, near: Near) {
        let all: Vec<Row> = rows.each().collect();
        // Each row is read and written by one task alone, here and below.
        let back = map_parts(&all, GRAIN, |_, chunk| {
            self.with_scratch(|scratch| {
                let mut back = Vec::new();
                for &row in chunk {
                    self.choose(rows, row, &near, &mut back, scratch);
                }
                back
            })
        });
        drop(near);
        let mut back = back.concat();
        back.sort_unstable();
        let groups: Vec<&[Back]> = back.chunk_by(|a, b| a.to == b.to).collect();
        map_parts(&groups, GRAIN, |_, groups| {
            for group in groups {
                link_back(rows, group);
            }
        });
    }

    /// Lets a row choose its links anew, if any rows are near to it.
    fn choose<C: Cell>(
        &self,
        rows: Rows<'_, C>,
        row: Row,
        near: &Near,
        back: &mut Vec<Back>,
        scratch: &mut Scratch,
    ) {
        let mut others = near.of(row).peekable();
        if others.peek().is_none() {
            return;
        }
        self.consider(rows, row, others, scratch);
        let Scratch { candidates, prune, .. } = scratch;
        let trees = candidates.iter().filter(|c| c.link.tree).count();
        let limit = rows.capacity() - rows.capacity() / 5;
        let limit = limit.max(trees + 1).min(rows.capacity());
        let node = self.lengths_differ.then_some(rows.head(row).0);
        select(self.space, node, candidates, limit, prune);
        let kept = prune.kept.iter().map(|c| Some(c.link));
        for (cell, link) in rows.cells(row).iter().zip(kept.chain(std::iter::repeat(None))) {
            cell.store(link);
        }
        back.extend(prune.kept.iter().map(|c| Back { to: c.link.row, entry: join(c.key, row) }));
    }

    /// Leaves a row's links, and others to which it has none, in `scratch.candidates`, the nearest first.
    fn consider<C: Cell>(
        &self,
        rows: Rows<'_, C>,
        row: Row,
        others: impl Iterator<Item = (OrderKey, Row)>,
        scratch: &mut Scratch,
    ) {
        let Scratch { candidates, fresh, .. } = scratch;
        candidates.clear();
        candidates.extend(others.map(|(key, to)| Candidate { key, link: link(rows, to) }));
        fresh.reserve(rows.capacity());
        let mut count = 0;
        for link in rows.links(row) {
            fresh.nodes[count] = link.node;
            count += 1;
        }
        let node = rows.head(row).0;
        self.space.between(node, &fresh.nodes[..count], &mut fresh.keys[..count]);
        let old = fresh.keys[..count].iter().zip(rows.links(row));
        candidates.extend(old.map(|(&key, link)| Candidate { key, link }));
        sort_candidates(candidates);
    }
}

fn link<C: Cell>(rows: Rows<'_, C>, row: Row) -> Link {
    Link { row, node: rows.head(row).0, tree: false }
}

/// Adds the links, all of one row, that the row lacks and has room for.
fn link_back<C: Cell>(rows: Rows<'_, C>, back: &[Back]) {
    let row = back[0].to;
    for (_, to) in back.iter().map(|back| split(back.entry)) {
        let Some(free) = rows.cells(row).get(rows.links(row).count()) else { return };
        if rows.links(row).all(|link| link.row != to) {
            free.store(Some(link(rows, to)));
        }
    }
}
