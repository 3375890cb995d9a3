//! Walking among accepted nodes only, by detours through rejected ones.
//!
//! The pool holds accepted nodes alone, so its size need not grow as fewer are accepted. If few
//! neighbours of a node are accepted, the neighbours of the rejected ones replace them: two hops in the
//! graph of all nodes are one in the graph that a build over the accepted nodes would have made
//! (ACORN, Patel et al., 2024). The choice of rejected neighbours follows `NaviX`
//! (Sehgal and Salihoglu, 2025).

use std::sync::atomic::AtomicU32;

use super::scratch::{Counters, Scratch};
use super::walk::{Walk, Watch, measure};
use crate::arena::Visited;
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
    gates: Vec<u32>,
    keys: Vec<OrderKey>,
    /// Order keys and rows of the gates.
    sorted: Vec<(OrderKey, u32)>,
    seeds: Vec<u32>,
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
    pub(crate) seeds: &'a [u32],
    /// Returns whether a node is accepted. The walk calls it at most once for each node.
    pub(crate) accepts: &'a mut dyn FnMut(u32) -> bool,
}

/// The facts of one walk.
struct Trip<'a, S: Space> {
    walk: Walk<'a, S, AtomicU32>,
    limit: u32,
    accepts: &'a mut dyn FnMut(u32) -> bool,
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
        let limit = rows.len().min(space.len());
        let mut trip = Trip { walk: Walk { space, query, rows }, limit, accepts };

        let mut starts = std::mem::take(&mut scratch.detour.seeds);
        starts.clear();
        starts.extend(scratch.pool.iter().map(|(_, row)| row));
        starts.extend(seeds.iter().copied().filter(|&seed| seed < limit));
        scratch.visited.begin(rows.len());
        scratch.detour.rejected.begin(rows.len());
        scratch.detour.through.begin(rows.len());
        scratch.pool.begin(ef);
        // The nearest are first already.
        trip.expand(starts.iter().copied(), starts.len(), Order::Blind, scratch);
        scratch.detour.seeds = starts;

        while let Some(row) = scratch.pool.next() {
            let before = scratch.counters;
            scratch.counters.hops += 1;
            trip.expand(rows.links(row).map(|link| link.row), rows.capacity(), order, scratch);
            let Counters { distances, hops } = scratch.counters;
            // Filtering the nodes of a row takes time, too.
            let asked = (hops - before.hops) as usize * rows.capacity();
            if watch.spent((distances - before.distances) as usize + asked) {
                break;
            }
        }
    }
}

impl<S: Space> Trip<'_, S> {
    /// Offers the accepted nodes among `near` to the pool, and accepted neighbours of the rejected
    /// ones. `near` has `count` entries at most.
    fn expand(
        &mut self,
        near: impl Iterator<Item = u32>,
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
        for row in near {
            self.look(row, &mut found, scratch, |detour, row| {
                if !detour.through.contains(row) {
                    detour.gates.push(row);
                }
            });
        }
        if order == Order::Directed && found < enough {
            self.sort_gates(scratch);
        }
        for &gate in &scratch.detour.gates {
            self.walk.rows.prefetch(gate);
        }
        let gates = std::mem::take(&mut scratch.detour.gates);
        for &gate in &gates {
            if found >= enough {
                break;
            }
            if scratch.detour.through.insert(gate) {
                scratch.counters.hops += 1;
                for link in self.walk.rows.links(gate) {
                    self.look(link.row, &mut found, scratch, |_, _| ());
                }
            }
        }
        scratch.detour.gates = gates;
        self.walk.space.prefetch(&scratch.fresh.nodes[..found]);
        scratch.counters.distances += found as u64;
        let Walk { space, query, rows } = self.walk;
        measure(space, query, rows, found, scratch);
    }

    /// Admits `row` if it is accepted and was not met; calls `rejected` if it is not accepted.
    #[inline(always)]
    fn look(
        &mut self,
        row: u32,
        found: &mut usize,
        scratch: &mut Scratch,
        rejected: impl FnOnce(&mut Detour, u32),
    ) {
        let Scratch { visited, fresh, detour, .. } = scratch;
        // A link may be younger than the views of this walk.
        if row >= self.limit || visited.contains(row) {
            return;
        }
        if !detour.rejected.contains(row) {
            if (self.accepts)(row) {
                visited.insert(row);
                fresh.nodes[*found] = row;
                *found += 1;
                return;
            }
            detour.rejected.insert(row);
        }
        rejected(detour, row);
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
        sorted.extend(keys.iter().copied().zip(gates.iter().copied()));
        sorted.sort_unstable();
        gates.clear();
        gates.extend(sorted.iter().map(|&(_, row)| row));
    }
}
