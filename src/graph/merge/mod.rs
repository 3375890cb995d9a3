//! One graph from several.
//!
//! Nearly all of the cost of building a graph is finding near nodes, and each of the graphs knows the near ones of its nodes.
//! So the levels of the graphs are laid side by side, and the old links give the missing ones: the nodes of one graph near a node of
//! another are near those that its neighbours have found before it ([`cross`]). All nodes then choose once among their old links and the new
//! candidates, and are linked back if rows have room ([`weave`]), and the levels get spanning trees anew ([`spanning_tree`]).
//!
//! Every step reads the finished result of the step before it, and sorts all unordered items, so the result depends neither
//! on the number of threads nor on their timing.

mod cross;
mod renumber;
mod spanning_tree;
mod weave;

use crate::arena::ArenaError;
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Cell, Entry, Graph, Layer, Parameters, UPPER_LEVELS};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::sync::Mutex;

/// One of the graphs to be merged.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) graph: &'a Graph,
    /// The new number of each of its nodes, in the order of the old ones; [`Node::NONE`] if the node is left out.
    pub(crate) nodes: Vec<Node>,
}

/// Receives a number of finished nodes. Returns whether to continue.
pub(crate) type Tick<'a> = &'a (dyn Fn(usize) -> bool + Sync);

/// The state of a merge, for all levels.
struct Merge<'a, S> {
    space: S,
    /// Candidates of a walk that begins near its end.
    ef: usize,
    tick: Tick<'a>,
    lengths_differ: bool,
    scratches: Mutex<Vec<Scratch>>,
}

impl<S> Merge<'_, S> {
    fn with_scratch<R>(&self, with: impl FnOnce(&mut Scratch) -> R) -> R {
        let idle = self.scratches.lock().pop();
        let mut scratch = idle.unwrap_or_default();
        let result = with(&mut scratch);
        self.scratches.lock().push(scratch);
        result
    }
}

impl Graph {
    /// Returns the graph of all nodes of `sources` that have a new number. New numbers go from 0 to the number of nodes, and follow
    /// the order of the sources. `space` has all of these nodes. Later sources search in earlier ones. Returns `None` if `tick`
    /// ended the merge.
    pub(crate) fn merge<S: LinkSpace + Sync>(
        parameters: Parameters,
        sources: &[Source<'_>],
        space: S,
        tick: Tick<'_>,
    ) -> Result<Option<Self>, ArenaError> {
        let graph = Self::new(parameters);
        let ef = (parameters.ef_construction / 12).clamp(4, 64);
        for source in sources {
            graph.lengths.absorb(&source.graph.lengths);
        }
        let lengths_differ = graph.lengths.differ();
        let merge = Merge { space, ef, tick, lengths_differ, scratches: Mutex::default() };
        let base_rows =
            |source: &Source<'_>| source.nodes.iter().map(|node| node.base_row()).collect();
        let mut places: Vec<Vec<Row>> = sources.iter().map(base_rows).collect();
        for _ in 0..space.end().number() {
            graph.push()?;
        }
        let ends = ends_of(&places);
        for (source, places) in sources.iter().zip(&places) {
            renumber::rows(source.graph.base.rows(), places, graph.base.rows());
            graph.spreads.present().absorb(source.graph.spreads.present());
        }
        if !merge.level(&graph.base, &ends) {
            return Ok(None);
        }
        let mut top = 0;
        for level in 1..=UPPER_LEVELS {
            if sources.iter().all(|source| source.graph.upper[level - 1].get().is_none()) {
                break;
            }
            let layer = graph.layer(level);
            let mut above = Vec::with_capacity(sources.len());
            for (source, below) in sources.iter().zip(&places) {
                above.push(match source.graph.upper[level - 1].get() {
                    Some(old) => renumber::heads(old.rows(), &source.nodes, below, layer)?,
                    None => Vec::new(),
                });
            }
            places = above;
            if layer.len() == 0 {
                continue;
            }
            top = level;
            let ends = ends_of(&places);
            for (source, places) in sources.iter().zip(&places) {
                if let Some(old) = source.graph.upper[level - 1].get() {
                    renumber::rows(old.rows(), places, layer.rows());
                }
            }
            if !merge.level(layer, &ends) {
                return Ok(None);
            }
        }
        if space.end() > Node::new(0) {
            graph.set_entry(Entry { level: top, row: Row::new(0) });
        }
        Ok(Some(graph))
    }
}

/// Returns the end of the new rows of each source.
fn ends_of(places: &[Vec<Row>]) -> Vec<Row> {
    let mut end = 0;
    let count = |rows: &Vec<Row>| rows.iter().filter(|&&row| row != Row::NONE).count() as u32;
    places
        .iter()
        .map(|rows| {
            end += count(rows);
            Row::new(end)
        })
        .collect()
}

impl<S: LinkSpace + Sync> Merge<'_, S> {
    /// Connects the rows of a level of several sources, each of whose rows end at one of `ends`. Returns `false` if the tick
    /// ended it.
    fn level<C: Cell>(&self, layer: &Layer<C>, ends: &[Row]) -> bool {
        let rows = layer.rows();
        let Some(near) = self.cross(rows, ends) else { return false };
        self.weave(rows, near);
        spanning_tree::span(rows);
        true
    }
}
