//! Distances over stored rows, as the graph computes them, and the relation of its nodes to slots.

use bytemuck::cast_slice;

use crate::arena::{Column, Slot, Slots, View};
use crate::graph::{LinkSpace, Node, Scratch, Space};
use crate::index::codes::representation::Representation;
use crate::index::distances::Engine;
use crate::order_key::OrderKey;
use crate::sync::step;
use crate::vector::Block;

/// The node of the vector in a slot has the number of the slot.
impl From<Slot> for Node {
    #[inline(always)]
    fn from(slot: Slot) -> Self {
        Self::new(slot.number())
    }
}

impl From<Node> for Slot {
    #[inline(always)]
    fn from(node: Node) -> Self {
        Self::new(node.number())
    }
}

#[inline(always)]
fn slots_of(nodes: &[Node]) -> &[Slot] {
    cast_slice(nodes)
}

/// Returns the nodes of slots.
#[inline(always)]
pub(in crate::index) fn nodes_of(slots: &[Slot]) -> &[Node] {
    cast_slice(slots)
}

/// The rows of a column under an engine.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Rows<'a> {
    engine: &'a Engine,
    column: &'a Column<Block>,
    view: View<'a, Block>,
    /// Liveness of nodes, and the factor on squared distances for pruning, without which order keys are compared as they are.
    linking: Option<Linking<'a>>,
}

/// Data for changing links.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Linking<'a> {
    pub(in crate::index) slots: &'a Slots,
    /// The slot of a node that is about to be removed, and gets no new links.
    pub(in crate::index) leaving: Option<Slot>,
    pub(in crate::index) alpha: Option<f32>,
}

impl<'a> Rows<'a> {
    /// Returns the rows of `form`, for a walk, or with the data for changing links.
    pub(in crate::index) fn new(form: Representation<'a>, linking: Option<Linking<'a>>) -> Self {
        let Representation { rows, engine, .. } = form;
        Self { engine, column: rows, view: rows.view(), linking }
    }
}

impl<'a> Space for Rows<'a> {
    type Query = &'a [Block];

    fn refresh(self) -> Self {
        Self { view: self.column.view(), ..self }
    }

    fn end(&self) -> Node {
        Node::new(self.view.len())
    }

    fn is_same(&self, a: Node, b: Node) -> bool {
        self.view.row(a.into()) == self.view.row(b.into())
    }

    #[inline(always)]
    fn distance(&self, key: OrderKey) -> f32 {
        self.engine.distance(key)
    }

    fn prefetch(&self, nodes: &[Node]) {
        for &node in nodes {
            self.view.prefetch(node.into());
        }
    }

    fn keys(&self, query: &'a [Block], nodes: &[Node], keys: &mut [OrderKey]) {
        step();
        self.engine.orders(self.view, query, slots_of(nodes), keys);
    }
}

impl LinkSpace for Rows<'_> {
    fn between(&self, node: Node, nodes: &[Node], keys: &mut [OrderKey]) {
        step();
        self.engine.between(self.view, node.into(), slots_of(nodes), keys);
    }

    fn is_live(&self, node: Node) -> bool {
        let slot = Slot::from(node);
        self.linking.is_none_or(|l| !l.slots.is_hidden(slot) && l.leaving != Some(slot))
    }

    fn occludes(&self, between: OrderKey, base: OrderKey) -> bool {
        match self.linking.and_then(|linking| linking.alpha) {
            None => between < base,
            Some(alpha) => alpha * self.engine.distance(between) < self.engine.distance(base),
        }
    }
}

/// Returns the order keys and slots of the candidates that a walk left, the nearest first.
pub(in crate::index) fn found(
    scratch: &Scratch,
) -> impl ExactSizeIterator<Item = (OrderKey, Slot)> + '_ {
    scratch.found().map(|(order, node)| (order, node.into()))
}
