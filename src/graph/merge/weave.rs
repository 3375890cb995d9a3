//! New links among old ones.

use rayon::prelude::*;

use super::super::layer::{Cell, Link, Rows};
use super::super::prune::{Candidate, select};
use super::super::{LinkSpace, Scratch};
use super::Merge;
use super::cross::Near;

/// Rows that a thread takes at once.
const GRAIN: usize = 256;

/// The nearest candidates among which a row chooses.
const CHOICE: usize = 32;

/// A link that is to be: the row, the key of the distance, and the row that it leads to.
type New = (u32, u32, u32);

impl<S: LinkSpace + Sync> Merge<'_, S> {
    /// Lets each row choose among its links and the rows near to it, and links it to those of them that it chose, and these to it.
    pub(super) fn weave<C: Cell>(&self, rows: Rows<'_, C>, near: &Near) {
        let all: Vec<u32> = (0..rows.len()).collect();
        let mut links: Vec<New> = all
            .par_chunks(GRAIN)
            .flat_map_iter(|chunk| {
                self.with_scratch(|scratch| {
                    let mut links = Vec::new();
                    for &row in chunk {
                        self.choose(rows, row, near, &mut links, scratch);
                    }
                    links
                })
            })
            .collect();
        links.par_sort_unstable();
        links.dedup_by_key(|&mut (row, _, to)| (row, to));
        // Each row is read and written by one task alone.
        let groups: Vec<&[New]> = links.chunk_by(|a, b| a.0 == b.0).collect();
        groups.par_chunks(GRAIN).for_each(|groups| {
            self.with_scratch(|scratch| {
                for group in groups {
                    self.append(rows, group, scratch);
                }
            });
        });
    }

    /// Adds the links between a row and those that it chooses, in both directions.
    fn choose<C: Cell>(
        &self,
        rows: Rows<'_, C>,
        row: u32,
        near: &Near,
        links: &mut Vec<New>,
        scratch: &mut Scratch,
    ) {
        let mut others = near.of(row).peekable();
        if others.peek().is_none() {
            return;
        }
        self.consider(rows, row, others, scratch);
        let Scratch { candidates, prune, .. } = scratch;
        candidates.truncate(CHOICE);
        for candidate in &mut *candidates {
            // It is chosen for what it is worth to walks.
            candidate.link.tree = false;
        }
        select(self.space, candidates, self.choice, prune);
        for &Candidate { key, link } in &prune.kept {
            if near.of(row).any(|(_, to)| to == link.row) {
                links.extend([(row, key, link.row), (link.row, key, row)]);
            }
        }
    }

    /// Adds links to a row, which is pruned if it has no room for them.
    fn append<C: Cell>(&self, rows: Rows<'_, C>, new: &[New], scratch: &mut Scratch) {
        let row = new[0].0;
        let count = rows.links(row).count();
        let cells = rows.cells(row);
        if let Some(free) = cells.get(count..count + new.len()) {
            for (cell, &(_, _, to)) in free.iter().zip(new) {
                cell.store(Some(link(rows, to)));
            }
            return;
        }
        self.consider(rows, row, new.iter().map(|&(_, key, to)| (key, to)), scratch);
        let Scratch { candidates, prune, .. } = scratch;
        let trees = candidates.iter().filter(|c| c.link.tree).count();
        let limit = rows.capacity() - rows.capacity() / 5;
        select(self.space, candidates, limit.max(trees + 1).min(rows.capacity()), prune);
        let kept = prune.kept.iter().map(|c| Some(c.link));
        for (cell, link) in cells.iter().zip(kept.chain(std::iter::repeat(None))) {
            cell.store(link);
        }
    }

    /// Leaves a row's links, and others to which it has none, in `scratch.candidates`, the nearest first.
    fn consider<C: Cell>(
        &self,
        rows: Rows<'_, C>,
        row: u32,
        others: impl Iterator<Item = (u32, u32)>,
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
        candidates.sort_unstable_by_key(|c| (c.key, c.link.row));
    }
}

fn link<C: Cell>(rows: Rows<'_, C>, row: u32) -> Link {
    Link { row, node: rows.head(row).0, tree: false }
}
