//! Long vectors under inner products, which are nearer to many others than these are to themselves: more rows, and links to them.

use super::insert::Found;
use crate::graph::id::Node;
use crate::graph::rows::{Candidate, Graph, Link, own, select, sort_candidates};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;

/// A vector is long if it is nearer to others than these are to themselves by this factor.
const LONG: f32 = 1.5;

/// Candidates among which a lifted node chooses the rows that link to it.
const LIFTED: usize = 64;

impl Graph {
    /// Returns whether a node with these candidates is long beside most of them: few rows lead to it, and it is among the answers of
    /// queries that are not near to it.
    pub(super) fn overshadows<S: LinkSpace>(&self, space: S, found: &Found<'_>) -> bool {
        let Found { candidates, .. } = found;
        let count = candidates.len();
        self.lengths.differ()
            && count >= self.parameters.ef_construction / 2
            && [count / 4, count / 2, count * 3 / 4].iter().all(|&at| {
                let Candidate { key, link } = candidates[at];
                space.distance(key) < LONG * space.distance(own(space, link.node))
            })
    }

    /// Raises nodes after the entry moved to a level above `below`: nodes that have a row on `below` although no insertion drew it for
    /// them get rows on all levels up to `level`.
    #[cold]
    #[inline(never)]
    pub(super) fn lift<S: LinkSpace>(
        &self,
        space: S,
        below: usize,
        level: usize,
        scratch: &mut Scratch,
    ) {
        if below == 0 || !self.lengths.differ() {
            return;
        }
        let space = space.refresh();
        let rows = self.layer(below).rows();
        let nodes = rows.each().map(|row| rows.head(row).0).filter(|&n| n < space.end());
        let long: Vec<Node> =
            nodes.filter(|&n| space.is_live(n) && self.draw_level(n) < below).collect();
        for node in long {
            let old = self.stack_of(node);
            if old.level != below {
                continue;
            }
            let stack = self.pile(node, old.rows(), level);
            for level in below + 1..=stack.level {
                let place = self.place(level, stack.rows(), node);
                let rows = place.layer.rows();
                let Scratch { candidates, prune, .. } = &mut *scratch;
                candidates.clear();
                for row in rows.each().filter(|&row| row != place.row).take(LIFTED) {
                    let link = Link { row, node: rows.head(row).0, tree: false };
                    if link.node < space.end() && space.is_live(link.node) {
                        let mut key = [OrderKey::MIN];
                        space.between(node, &[link.node], &mut key);
                        candidates.push(Candidate { key: key[0], link });
                    }
                }
                sort_candidates(candidates);
                select(space, self.with_length(node), candidates, self.parameters.m, prune);
                let (all, selected) = (candidates.clone(), prune.kept.clone());
                let found = Found { landing: None, selected: &selected, candidates: &all };
                self.show(space, &place, found, scratch);
            }
        }
    }
}
