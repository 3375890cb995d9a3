//! The rows of nodes on upper levels: a walk finds them from above, and this table from the node.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::layer::Link;
use super::levels::{Graph, UPPER_LEVELS};
use crate::graph::id::{Node, Row};

/// The rows of nodes on upper levels.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// For each level from the first, each node's row; read from the heads of the rows at the first use.
    levels: Option<Vec<HashMap<Node, Row>>>,
}

/// A node's rows, one for each of its levels.
#[derive(Debug, Clone, Copy)]
pub(in crate::graph) struct Stack {
    pub(in crate::graph) rows: [Row; UPPER_LEVELS + 1],
    pub(in crate::graph) level: usize,
}

impl Stack {
    /// Returns the rows from the base up.
    pub(in crate::graph) fn rows(&self) -> &[Row] {
        &self.rows[..=self.level]
    }
}

impl Graph {
    /// Gives a new node a row on each level up to `level`, or until memory ends.
    pub(in crate::graph) fn stack(&self, node: Node, level: usize) -> Stack {
        self.pile(node, &[node.base_row()], level)
    }

    /// Gives a node that has `rows` further rows on all levels up to `level`, or until memory ends.
    pub(in crate::graph) fn pile(&self, node: Node, rows: &[Row], level: usize) -> Stack {
        let mut stack = Stack { rows: [node.base_row(); UPPER_LEVELS + 1], level: rows.len() - 1 };
        stack.rows[..rows.len()].copy_from_slice(rows);
        if level < rows.len() {
            return stack;
        }
        let mut places = self.places.lock();
        for l in rows.len()..=level {
            let head = Link { row: stack.rows[l - 1], node, tree: false };
            let Ok(row) = self.layer(l).push(Some(head)) else { break };
            (stack.rows[l], stack.level) = (row, l);
            if let Some(levels) = &mut places.levels {
                levels.resize_with(levels.len().max(l), HashMap::new);
                levels[l - 1].insert(node, row);
            }
        }
        stack
    }

    /// Returns the rows of a node.
    pub(in crate::graph) fn stack_of(&self, node: Node) -> Stack {
        let mut places = self.places.lock();
        let levels = places.levels.get_or_insert_with(|| self.read_places());
        let mut stack = Stack { rows: [node.base_row(); UPPER_LEVELS + 1], level: 0 };
        for (at, level) in levels.iter().enumerate() {
            let Some(&row) = level.get(&node) else { break };
            (stack.rows[at + 1], stack.level) = (row, at + 1);
        }
        stack
    }

    /// Returns whether a node has a row on the base level only, and no search starts from it.
    pub(crate) fn is_base_only(&self, node: Node) -> bool {
        self.draw_level(node) == 0 && self.entry().is_some_and(|entry| self.node(entry) != node)
    }

    /// Returns whether a node has a row on the base level only, regardless of the level that an insertion would draw for it.
    pub(crate) fn stands_on_base_alone(&self, node: Node) -> bool {
        self.stack_of(node).level == 0
    }

    fn read_places(&self) -> Vec<HashMap<Node, Row>> {
        let layers = self.upper.iter().map_while(OnceLock::get);
        let level = |rows: super::layer::Rows<'_, _>| {
            rows.each().map(|row| (rows.head(row).0, row)).collect()
        };
        layers.map(|layer| level(layer.rows())).collect()
    }

    /// Returns the bytes of the places.
    pub(super) fn place_bytes(&self) -> usize {
        let places = self.places.lock();
        // A byte beside each pair.
        let pairs: usize = places.levels.iter().flatten().map(HashMap::capacity).sum();
        pairs * 9
    }
}
