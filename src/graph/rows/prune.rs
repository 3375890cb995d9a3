//! Selection of the candidates that become neighbours.

use super::layer::Link;
use super::lengths::{own, reach};
use crate::graph::id::Node;
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;

/// Candidates that are compared with the kept ones at a time: enough to make a call worth while,
/// few enough that little is computed in vain when the limit is reached.
const WINDOW: usize = 32;

/// A possible neighbour of some node.
#[derive(Debug, Clone, Copy)]
pub(in crate::graph) struct Candidate {
    /// Order key of its distance from that node.
    pub(in crate::graph) key: OrderKey,
    pub(in crate::graph) link: Link,
}

/// Sorts candidates by their keys, equal ones by their rows. Compiled once: callers are compiled for each kind of row.
#[inline(never)]
pub(in crate::graph) fn sort_candidates(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by_key(|candidate| (candidate.key, candidate.link.row));
}

/// The result of a selection, and its buffers.
#[derive(Debug, Default)]
pub(in crate::graph) struct Prune {
    /// The chosen candidates, nearest first.
    pub(in crate::graph) kept: Vec<Candidate>,
    /// Candidates of the window that no kept candidate occludes yet.
    open: Vec<Candidate>,
    nodes: Vec<Node>,
    keys: Vec<OrderKey>,
}

impl Prune {
    /// Returns the bytes of memory in use.
    pub(in crate::graph) fn bytes(&self) -> usize {
        (self.kept.capacity() + self.open.capacity()) * size_of::<Candidate>()
            + (self.nodes.capacity() + self.keys.capacity()) * 4
    }

    /// Drops the open candidates that `kept` occludes, and returns the number of distances computed. If lengths differ, `own` is the key
    /// of the distance of the node in hand from itself.
    fn occlude<S: LinkSpace>(&mut self, space: S, own: Option<OrderKey>, kept: &Candidate) -> u64 {
        let Self { open, nodes, keys, .. } = self;
        nodes.clear();
        nodes.extend(open.iter().map(|c| c.link.node));
        nodes.extend(own.map(|_| kept.link.node));
        keys.resize(nodes.len(), OrderKey::MIN);
        space.between(kept.link.node, nodes, keys);
        let reach = own.map_or(0.0, |own| reach(space, own, keys[open.len()]));
        if reach == 0.0 {
            drop_occluded(space, open, keys, kept, |between, base| space.occludes(between, base));
        } else {
            drop_occluded(space, open, keys, kept, |between, base| {
                space.occludes(between, base)
                    && space.distance(base) - space.distance(between) > reach
            });
        }
        nodes.len() as u64
    }
}

/// Drops the candidates that equal `kept`, and those to which it `is_nearer` than the node in hand. `keys` are the distances of `kept`
/// from the candidates. The loop has no branch that depends on a distance: the processor could not predict it.
#[inline]
fn drop_occluded<S: LinkSpace>(
    space: S,
    open: &mut Vec<Candidate>,
    keys: &[OrderKey],
    kept: &Candidate,
    is_nearer: impl Fn(OrderKey, OrderKey) -> bool,
) {
    let mut left = 0;
    for (at, &between) in (0..open.len()).zip(keys) {
        let candidate = open[at];
        // Of equal vectors one is enough: a row of copies would lead nowhere else.
        let is_same =
            candidate.key == kept.key && space.is_same(candidate.link.node, kept.link.node);
        open[left] = candidate;
        left += usize::from(candidate.link.tree | !(is_same | is_nearer(between, candidate.key)));
    }
    open.truncate(left);
}

/// Chooses at most `limit` of the candidates, which are sorted by key, into `prune.kept`: the
/// heuristic of HNSW (algorithm 4), which is RobustPrune. A candidate is dropped if a kept candidate
/// occludes it, so that links point in different directions. Tree links are always kept; at most `limit`
/// candidates may be tree links. Returns the number of distances computed. If lengths differ, `node` is the one in hand.
pub(in crate::graph) fn select<S: LinkSpace>(
    space: S,
    node: Option<Node>,
    candidates: &[Candidate],
    limit: usize,
    prune: &mut Prune,
) -> u64 {
    prune.kept.clear();
    let mut trees = candidates.iter().filter(|c| c.link.tree).count();
    let own = node.map(|node| own(space, node));
    let mut distances = u64::from(own.is_some());
    for window in candidates.chunks(WINDOW) {
        prune.open.clear();
        prune.open.extend_from_slice(window);
        for at in 0..prune.kept.len() {
            let kept = prune.kept[at];
            distances += prune.occlude(space, own, &kept);
        }
        while !prune.open.is_empty() {
            let next = prune.open.remove(0);
            if next.link.tree {
                trees -= 1;
            } else if prune.kept.len() + trees >= limit {
                continue;
            }
            prune.kept.push(next);
            if prune.kept.len() == limit {
                return distances;
            }
            distances += prune.occlude(space, own, &next);
        }
    }
    distances
}
