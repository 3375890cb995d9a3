//! Buffers of a walk or an insertion, kept from one to the next.

use bumpalo::Bump;

use super::detour::Detour;
use super::widen::Notes;
use crate::arena::{Pool, Visited};
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Candidate, Halt, Prune};
use crate::order_key::OrderKey;

/// Buffers of one search or insertion. Once they have grown, a search allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(in crate::graph) pool: Pool<Row>,
    pub(in crate::graph) visited: Visited,
    pub(in crate::graph) fresh: Fresh,
    pub(super) halt: Halt,
    /// Whether most of the candidates that a search met first were copies of one another.
    pub(crate) is_crowded: bool,
    /// The buffers of walks among accepted nodes.
    pub(super) detour: Detour,
    /// The notes of walks that can be continued.
    pub(super) notes: Notes,
    /// Order keys and nodes that a wide descent met.
    pub(super) passed: Vec<(OrderKey, Node)>,
    pub(in crate::graph) candidates: Vec<Candidate>,
    pub(in crate::graph) prune: Prune,
    /// Lists that an insertion keeps until it links.
    pub(in crate::graph) lists: Bump,
    pub(crate) counters: Counters,
}

/// Neighbours of the row in hand that were not met before.
#[derive(Debug, Default)]
pub(in crate::graph) struct Fresh {
    /// Their rows; not used on the base level, where a row's number is its node's.
    pub(in crate::graph) rows: Vec<Row>,
    pub(in crate::graph) nodes: Vec<Node>,
    /// Order keys of their distances.
    pub(in crate::graph) keys: Vec<OrderKey>,
    /// Whether the walk skipped a link because its node is younger than the walk.
    pub(super) is_younger: bool,
}

impl Fresh {
    /// Makes room for `neighbours` neighbours.
    #[inline(always)]
    pub(in crate::graph) fn reserve(&mut self, neighbours: usize) {
        if self.nodes.len() <= neighbours {
            self.grow(neighbours);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, neighbours: usize) {
        // One more: the walk writes the next entry before it knows whether to keep it.
        self.rows.resize(neighbours + 1, Row::new(0));
        self.nodes.resize(neighbours + 1, Node::new(0));
        self.keys.resize(neighbours + 1, OrderKey::MIN);
    }
}

/// The work of a walk.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counters {
    /// Distances computed.
    pub(crate) distances: u64,
    /// Rows read.
    pub(crate) hops: u64,
}

impl Scratch {
    /// Returns the candidates of a walk on the base level, the nearest first.
    #[inline(always)]
    pub(crate) fn found(&self) -> impl ExactSizeIterator<Item = (OrderKey, Node)> + '_ {
        self.pool.iter().map(|(key, row)| (key, row.base_node()))
    }

    /// Keeps the candidates that `keep` accepts, as [`Pool::retain`] does.
    pub(crate) fn retain(&mut self, most: usize, mut keep: impl FnMut(Node) -> bool) {
        self.pool.retain(most, |row| keep(row.base_node()));
    }

    /// Adds a candidate, as [`Pool::insert`] does.
    pub(crate) fn add(&mut self, key: OrderKey, node: Node) {
        self.pool.insert(key, node.base_row());
        self.pool.settle();
    }

    /// Returns the number of candidates.
    pub(crate) fn len(&self) -> usize {
        self.pool.len()
    }

    /// Returns the order keys of the candidates in the middle and at the end.
    pub(crate) fn reach(&self) -> Option<(OrderKey, OrderKey)> {
        self.pool.reach()
    }

    /// Returns whether the last walk skipped a node that is younger than it.
    pub(crate) fn passed_younger(&self) -> bool {
        self.fresh.is_younger
    }

    /// Returns the bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.pool.bytes()
            + self.visited.bytes()
            + 12 * self.fresh.nodes.capacity()
            + self.detour.bytes()
            + self.notes.bytes()
            + self.passed.capacity() * 8
            + self.candidates.capacity() * size_of::<Candidate>()
            + self.prune.bytes()
            + self.lists.allocated_bytes()
    }
}
