//! Walking among accepted nodes only, by detours through rejected ones.
//!
//! The pool holds accepted nodes alone, so its size need not grow as fewer are accepted. If few
//! neighbours of a node are accepted, the neighbours of the rejected ones replace them: two hops in the
//! graph of all nodes are one in the graph that a build over the accepted nodes would have made
//! (ACORN, Patel et al., 2024). The choice of rejected neighbours follows `NaviX`
//! (Sehgal and Salihoglu, 2025).

use std::sync::atomic::AtomicU32;

use super::scratch::{Counters, Scratch};
use super::walk::{Walk, Watch, limit, measure};
use crate::arena::Visited;
use crate::graph::id::Node;
use crate::graph::rows::Graph;
use crate::graph::space::Space;
use crate::order_key::OrderKey;

/// The order in which a walk visits the rejected neighbours of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The nearest to the query first, until enough accepted nodes are found.
    Directed,
    /// All of them, in the order of the row: their distances would cost more than
    /// they save.
    Blind,
}

/// The buffers of such a walk.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// Nodes that the filter rejected, so that it is called once for each.
    rejected: Visited,
    /// Rejected nodes whose rows were read.
    through: Visited,
    /// Rejected neighbours of the node in hand.
    gates: Vec<Node>,
    keys: Vec<OrderKey>,
    /// Order keys of the gates, above the numbers of their nodes.
    sorted: Vec<u64>,
    seeds: Vec<Node>,
}

impl Detour {
    /// Returns the bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.gates.capacity() + self.keys.capacity() + self.seeds.capacity();
        self.rejected.bytes() + self.through.bytes() + 4 * numbers + 8 * self.sorted.capacity()
    }
}

/// Accepted nodes to find.
pub(crate) struct Accepted<'a> {
    /// The number of nearest ones.
    pub(crate) ef: usize,
    pub(crate) order: Order,
    /// Some accepted nodes to start from.
    pub(crate) seeds: &'a [Node],
    /// Returns whether a node is accepted. The walk calls it at most once for each node.
    pub(crate) accepts: &'a mut dyn FnMut(Node) -> bool,
}

/// The facts of one walk.
struct Trip<'a, S: Space> {
    walk: Walk<'a, S, AtomicU32>,
    /// The first node that the walk does not know.
    limit: Node,
    accepts: &'a mut dyn FnMut(Node) -> bool,
}

impl Graph {
    /// Leaves the `ef` nearest accepted nodes that a walk finds in `scratch.pool`. It starts from
    /// the nodes that an ordinary search left there, accepted or not, and from the seeds.
    pub(crate) fn search_accepted<S: Space, W: Watch>(
        &self,
        space: S,
        query: S::Query,
        Accepted { ef, order, seeds, accepts }: Accepted<'_>,
        watch: &mut W,
        scratch: &mut Scratch,
    ) {
        let rows = self.base.rows();
        let limit = limit(space, rows).base_node();
        let mut trip = Trip { walk: Walk { space, query, rows }, limit, accepts };

        let mut starts = std::mem::take(&mut scratch.detour.seeds);
        starts.clear();
        starts.extend(scratch.pool.iter().map(|(_, row)| row.base_node()));
        starts.extend(seeds.iter().copied().filter(|&seed| seed < limit));
        let end = rows.end().number();
        scratch.visited.begin(end);
        scratch.detour.rejected.begin(end);
        scratch.detour.through.begin(end);
        scratch.pool.begin(ef);
        // The nearest are first already.
        trip.expand(starts.iter().copied(), starts.len(), Order::Blind, scratch);
        scratch.detour.seeds = starts;

        while let Some(row) = scratch.pool.next() {
            let before = scratch.counters;
            scratch.counters.hops += 1;
            trip.expand(rows.links(row).map(|link| link.node), rows.capacity(), order, scratch);
            let Counters { distances, hops } = scratch.counters;
            // Filtering the nodes of a row takes time, too.
            let asked = (hops - before.hops) as usize * rows.capacity();
            if watch.spent((distances - before.distances) as usize + asked) {
                break;
            }
        }
        scratch.pool.settle();
    }
}

impl<S: Space> Trip<'_, S> {
    /// Offers the accepted nodes among `near` to the pool, and accepted neighbours of the rejected
    /// ones. `near` has `count` entries at most. Inlined, it would be in programs twice.
    #[inline(never)]
    fn expand(
        &mut self,
        near: impl Iterator<Item = Node>,
        count: usize,
        order: Order,
        scratch: &mut Scratch,
    ) {
        let capacity = self.walk.rows.capacity();
        // The number of neighbours in a row of an unfiltered graph.
        let enough = match order {
            Order::Directed => capacity,
            Order::Blind => 4 * capacity,
        };
        scratch.fresh.reserve(count + enough + capacity);
        scratch.detour.gates.clear();
        let mut found = 0;
        for node in near {
            self.look(node, &mut found, scratch, |detour, node| {
                if !detour.through.contains(node.number()) {
                    detour.gates.push(node);
                }
            });
        }
        if order == Order::Directed && found < enough {
            self.sort_gates(scratch);
        }
        for &gate in &scratch.detour.gates {
            self.walk.rows.prefetch(gate.base_row());
        }
        let gates = std::mem::take(&mut scratch.detour.gates);
        for &gate in &gates {
            if found >= enough {
                break;
            }
            if scratch.detour.through.insert(gate.number()) {
                scratch.counters.hops += 1;
                for link in self.walk.rows.links(gate.base_row()) {
                    self.look(link.node, &mut found, scratch, |_, _| ());
                }
            }
        }
        scratch.detour.gates = gates;
        self.walk.space.prefetch(&scratch.fresh.nodes[..found]);
        scratch.counters.distances += found as u64;
        let Walk { space, query, rows } = self.walk;
        measure(space, query, rows, found, scratch);
    }

    /// Admits `node` if it is accepted and was not met; calls `rejected` if it is not accepted.
    #[inline(always)]
    fn look(
        &mut self,
        node: Node,
        found: &mut usize,
        scratch: &mut Scratch,
        rejected: impl FnOnce(&mut Detour, Node),
    ) {
        let Scratch { visited, fresh, detour, .. } = scratch;
        // A link may be younger than the views of this walk.
        if node >= self.limit || visited.contains(node.number()) {
            return;
        }
        if !detour.rejected.contains(node.number()) {
            if (self.accepts)(node) {
                visited.insert(node.number());
                fresh.nodes[*found] = node;
                *found += 1;
                return;
            }
            detour.rejected.insert(node.number());
        }
        rejected(detour, node);
    }

    /// Brings the gates into the order of their distances.
    fn sort_gates(&self, scratch: &mut Scratch) {
        let Scratch { detour, counters, .. } = scratch;
        let Detour { gates, keys, sorted, .. } = detour;
        self.walk.space.prefetch(gates);
        keys.resize(gates.len(), OrderKey::MIN);
        self.walk.space.keys(self.walk.query, gates, keys);
        counters.distances += gates.len() as u64;
        sorted.clear();
        let keyed = keys.iter().zip(&*gates);
        sorted.extend(
            keyed.map(|(key, node)| u64::from(key.to_bits()) << 32 | u64::from(node.number())),
        );
        sorted.sort_unstable();
        gates.clear();
        gates.extend(sorted.iter().map(|&entry| Node::new(entry as u32)));
    }
}
