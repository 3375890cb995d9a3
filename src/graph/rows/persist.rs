//! A graph in a file: columns of rows, and the entry of searches.
//!
//! Data from a file is not trusted. Searches compare links with the number of rows when they follow them; the heads of
//! upper rows, which guide a descent, are all verified here.

use std::sync::OnceLock;

use crossbeam::utils::CachePadded;

use super::layer::{Cell, Layer};
use super::lengths::Lengths;
use super::levels::{Entry, Graph, Parameters, UPPER_LEVELS};
use super::spread::Spreads;
use crate::arena::{ArenaError, Column, Persistent, Piece, Unsound};
use crate::graph::id::{Node, Row};

/// The state of a graph besides its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphState {
    /// Rows of each level, the base first.
    pub(crate) rows: Vec<u32>,
    /// Level of the entry, and its row there; `None` if the graph is empty.
    pub(crate) entry: Option<(u32, u32)>,
    /// The facts that insertions learned of distances: a sum and a count of exponents, or the range of lengths.
    pub(crate) spread: (u64, u64),
}

impl Graph {
    /// Returns the parameters of the graph.
    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns the state that a file keeps besides the columns. No insertion may be running.
    pub(crate) fn state(&self) -> GraphState {
        GraphState {
            rows: self.level_sizes().into_iter().map(|rows| rows as u32).collect(),
            entry: self.entry().map(|entry| (entry.level as u32, entry.row.number())),
            spread: self.lengths.parts().unwrap_or_else(|| self.spreads.present().parts()),
        }
    }

    /// Returns the rows of each level, the base first.
    pub(crate) fn columns(&self) -> Vec<&dyn Persistent> {
        let upper = self.upper.iter().map_while(OnceLock::get);
        let upper = upper.map(|layer| layer.column() as &dyn Persistent);
        std::iter::once(self.base.column() as &dyn Persistent).chain(upper).collect()
    }

    /// Restores a graph whose rows `source` supplies chunk by chunk. `source` receives the level, the number of the chunk and the
    /// number of bytes needed.
    pub(crate) fn restore<'p, E: From<ArenaError> + From<Unsound>>(
        parameters: Parameters,
        state: &GraphState,
        mut source: impl FnMut(usize, u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E> {
        let mut graph = Self::new(parameters);
        let (Some(&nodes), true) = (state.rows.first(), state.rows.len() <= UPPER_LEVELS + 1)
        else {
            return Err(Unsound("the number of levels is out of range").into());
        };
        let capacity = 2 * parameters.m;
        graph.base = Layer::restore((0, capacity), nodes, |chunk, len| source(0, chunk, len))?;
        if !parameters.are_products {
            graph.spreads = CachePadded::new(Spreads::of(state.spread));
        } else if nodes > 0 {
            graph.lengths = Lengths::of(state.spread);
        }
        let mut below = nodes;
        for (level, &rows) in state.rows.iter().enumerate().skip(1) {
            let shape = (level, parameters.m);
            let layer = Layer::restore(shape, rows, |chunk, len| source(level, chunk, len))?;
            if !layer.has_sound_heads(Node::new(nodes), Row::new(below)) {
                return Err(Unsound("a row of an upper level stands on nothing").into());
            }
            below = rows;
            graph.upper[level - 1] = OnceLock::from(layer);
        }
        match state.entry {
            // An empty graph, or one without nodes, which the caller knows.
            None => {}
            Some((level, row))
                if state.rows.get(level as usize).is_some_and(|&rows| row < rows) =>
            {
                graph.set_entry(Entry { level: level as usize, row: Row::new(row) });
            }
            _ => return Err(Unsound("the entry of the graph is no row").into()),
        }
        Ok(graph)
    }
}

impl<C: Cell> Layer<C> {
    fn column(&self) -> &Column<C, Row> {
        &self.rows
    }

    fn restore<'p, E: From<ArenaError> + From<Unsound>>(
        (level, capacity): (usize, usize),
        rows: u32,
        source: impl FnMut(u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E> {
        let rows = Column::restore(Self::stride(capacity), rows, source)?;
        Ok(Self { level, rows, capacity })
    }

    /// Returns whether each row's head names a node below `nodes` and a row below `below` of the level below.
    fn has_sound_heads(&self, nodes: Node, below: Row) -> bool {
        let rows = self.rows();
        rows.each().all(|row| {
            let (node, down) = rows.head(row);
            node < nodes && down < below
        })
    }
}
