//! Distances over stored rows, as the graph computes them.

use crate::arena::{Column, Slots, View};
use crate::graph::{LinkSpace, Space};
use crate::index::distances::Engine;
use crate::order_key::OrderKey;
use crate::sync::step;
use crate::vector::Block;

/// The rows of a column under an engine.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Rows<'a> {
    engine: &'a dyn Engine,
    column: &'a Column<Block>,
    view: View<'a, Block>,
    /// Liveness of nodes, and the factor on squared distances for pruning, without which order keys are compared as they are.
    linking: Option<Linking<'a>>,
}

/// Data for changing links.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Linking<'a> {
    pub(in crate::index) slots: &'a Slots,
    /// A node that is about to be removed, and gets no new links.
    pub(in crate::index) leaving: Option<u32>,
    pub(in crate::index) alpha: Option<f32>,
}

impl<'a> Rows<'a> {
    pub(in crate::index) fn new(
        engine: &'a dyn Engine,
        column: &'a Column<Block>,
        linking: Option<Linking<'a>>,
    ) -> Self {
        Self { engine, column, view: column.view(), linking }
    }
}

impl<'a> Space for Rows<'a> {
    type Query = &'a [Block];

    fn refresh(self) -> Self {
        Self { view: self.column.view(), ..self }
    }

    fn len(&self) -> u32 {
        self.view.len()
    }

    fn is_same(&self, a: u32, b: u32) -> bool {
        self.view.row(a) == self.view.row(b)
    }

    #[inline(always)]
    fn distance(&self, key: OrderKey) -> f32 {
        self.engine.distance(key)
    }

    fn prefetch(&self, nodes: &[u32]) {
        for &node in nodes {
            self.view.prefetch(node);
        }
    }

    fn keys(&self, query: &'a [Block], nodes: &[u32], keys: &mut [OrderKey]) {
        step();
        self.engine.orders(self.view, query, nodes, keys);
    }
}

impl LinkSpace for Rows<'_> {
    fn between(&self, node: u32, nodes: &[u32], keys: &mut [OrderKey]) {
        step();
        self.engine.between(self.view, node, nodes, keys);
    }

    fn is_live(&self, node: u32) -> bool {
        self.linking.is_none_or(|l| !l.slots.is_hidden(node) && l.leaving != Some(node))
    }

    fn occludes(&self, between: OrderKey, base: OrderKey) -> bool {
        match self.linking.and_then(|linking| linking.alpha) {
            None => between < base,
            Some(alpha) => alpha * self.engine.distance(between) < self.engine.distance(base),
        }
    }
}
