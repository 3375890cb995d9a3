//! Linking many nodes with a result that does not depend on the assignment of work to threads.
//!
//! Batches in the manner of prefix doubling (`ParlayANN`, Manohar et al., 2024): a batch has few nodes beside those
//! that are linked already. Each node searches for its neighbours in the graph as it was before the batch, on any thread;
//! then all nodes enter the spanning trees in order, which is little work; then each row gets its new links in order,
//! on any thread.

use super::insert::{Found, Newcomer, Outlook};
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Candidate, Graph, Link, Stack};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;

/// A new node that has its rows, and later the nodes to link to.
#[derive(Debug)]
pub(crate) struct Draft {
    node: Node,
    stack: Stack,
    /// For each level from the base up.
    found: Vec<Kept>,
}

/// [`Found`] to be kept.
#[derive(Debug)]
struct Kept {
    landing: Option<Candidate>,
    selected: Vec<Candidate>,
    candidates: Vec<Candidate>,
}

/// A link from a row to a new node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkBack {
    level: usize,
    row: Row,
    new: Candidate,
}

impl Graph {
    /// Gives a node its rows. If `is_again`, the node was removed before, and no link may refer to it.
    pub(crate) fn draft(&self, node: Node, is_again: bool) -> Draft {
        let stack =
            if is_again { self.clear(node) } else { self.stack(node, self.draw_level(node)) };
        Draft { node, stack, found: Vec::new() }
    }

    /// Returns whether the node is above all others, or the first. Others must be linked before or after it, not with it.
    pub(crate) fn stands_out(&self, draft: &Draft) -> bool {
        self.entry().is_none_or(|entry| draft.stack.level > entry.level)
    }

    /// Links a node alone. `query` is its vector.
    pub(crate) fn link_alone<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        draft: &Draft,
        scratch: &mut Scratch,
    ) {
        self.join(space, query, draft.node, draft.stack, scratch);
    }

    /// Finds the nodes to link a node to. `query` is its vector.
    pub(crate) fn sketch<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        draft: &mut Draft,
        outlook: Outlook,
        scratch: &mut Scratch,
    ) {
        let mut lists = std::mem::take(&mut scratch.lists);
        lists.reset();
        let new = Newcomer { node: draft.node, query, rows: draft.stack.rows() };
        let (found, top) = self.look(space.refresh(), new, outlook, &lists, scratch);
        let kept = |&Found { landing, selected, candidates }: &Found<'_>| Kept {
            landing,
            selected: selected.to_vec(),
            candidates: candidates.to_vec(),
        };
        draft.found = found[..=top].iter().map(kept).collect();
        scratch.lists = lists;
    }

    /// Makes the nodes visible, one after the other, and returns the links to them that are still to be written: the links of
    /// one row are together and in the order of the nodes.
    pub(crate) fn enter_all<S: LinkSpace>(
        &self,
        space: S,
        drafts: &[Draft],
        scratch: &mut Scratch,
    ) -> Vec<LinkBack> {
        let space = space.refresh();
        let mut links = Vec::new();
        let first = self.entry().map(|entry| self.node(entry));
        for Draft { node, stack, found } in drafts {
            self.lengths.learn(space, *node, first);
            let stack = self.pile(*node, stack.rows(), found.len() - 1);
            let found = &found[..found.len().min(stack.level + 1)];
            let rows = &stack.rows()[..found.len()];
            self.write(rows, |level| &found[level].selected);
            for (level, Kept { landing, selected, candidates }) in found.iter().enumerate() {
                let found = Found { landing: *landing, selected, candidates };
                let parent = if level == 0 {
                    self.enter(space, &self.base_place(*node), found, scratch)
                } else {
                    self.enter(space, &self.place(level, rows, *node), found, scratch)
                };
                let link = Link { row: rows[level], node: *node, tree: false };
                let others = selected.iter().filter(|near| Some(near.link.row) != parent);
                links.extend(others.map(|near| LinkBack {
                    level,
                    row: near.link.row,
                    new: Candidate { key: near.key, link },
                }));
            }
        }
        links.sort_by_key(|link| (link.level, link.row));
        links
    }

    /// Adds links to the rows that they start from, in order.
    pub(crate) fn link_back<S: LinkSpace>(
        &self,
        space: S,
        links: &[LinkBack],
        scratch: &mut Scratch,
    ) {
        let space = space.refresh();
        for &LinkBack { level, row, new } in links {
            if level == 0 {
                self.connect(space, &self.base, row, new, scratch);
            } else {
                self.connect(space, self.layer(level), row, new, scratch);
            }
        }
    }
}

impl LinkBack {
    /// Returns the links of each row.
    pub(crate) fn by_row(links: &[Self]) -> Vec<&[Self]> {
        links.chunk_by(|a, b| (a.level, a.row) == (b.level, b.row)).collect()
    }
}
