//! The graph at rest: its levels, the locks of their rows, and the entry of searches.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::layer::{Layer, Link};
use super::lengths::Lengths;
use super::spread::{Measure, Spreads};
use super::upper::Places;
use crate::arena::{ArenaError, Slots, VacantRun};
use crate::graph::id::{Node, Row};
use crate::sync::{Mutex, MutexGuard, step};

/// Maximum number of levels above the base. With `m >= 2`, a level above has a chance of 2^-15 at most.
pub(crate) const UPPER_LEVELS: usize = 15;

/// Locks of rows, shared by hash.
const LOCKS: usize = 256;

/// The entry of an empty graph.
const EMPTY: u64 = u64::MAX;

/// The parameters of a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters {
    /// Links of a node on each upper level, half of those on the base level.
    pub(crate) m: usize,
    /// Candidates that an insertion considers on each level.
    pub(crate) ef_construction: usize,
    /// Seed of the levels.
    pub(crate) seed: u64,
    /// Whether distances are inner products: a node may be nearer to another node than that node is to itself.
    pub(crate) are_products: bool,
    /// Whether distances are not negative: insertions then learn how they grow with the rank, and walks end by that.
    pub(crate) grow: bool,
}

/// A graph over the nodes `0..len`.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(in crate::graph) parameters: Parameters,
    pub(in crate::graph) base: Layer<AtomicU32>,
    pub(in crate::graph) upper: [OnceLock<Layer<AtomicU64>>; UPPER_LEVELS],
    /// `level << 32 | row`, where `row` is the entry's row on that level.
    entry: CachePadded<AtomicU64>,
    /// Held while a node above the entry's level is inserted.
    pub(in crate::graph) growth: Mutex<()>,
    locks: Box<[CachePadded<Mutex<()>>]>,
    /// The rows of nodes on upper levels.
    pub(super) places: Mutex<Places>,
    pub(in crate::graph) spreads: CachePadded<Spreads>,
    pub(in crate::graph) lengths: Lengths,
}

/// The row that searches start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) struct Entry {
    pub(in crate::graph) level: usize,
    pub(in crate::graph) row: Row,
}

impl Graph {
    /// Creates an empty graph.
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            base: Layer::new(0, 2 * parameters.m),
            upper: [const { OnceLock::new() }; UPPER_LEVELS],
            entry: CachePadded::new(AtomicU64::new(EMPTY)),
            growth: Mutex::new(()),
            locks: (0..LOCKS).map(|_| CachePadded::new(Mutex::new(()))).collect(),
            places: Mutex::default(),
            spreads: CachePadded::default(),
            lengths: Lengths::none_yet(parameters.are_products),
        }
    }

    /// Adds a node without links and returns it; [`Self::insert`] links it.
    pub(crate) fn push(&self) -> Result<Node, ArenaError> {
        self.base.push(None).map(Row::base_node)
    }

    /// Makes sure that the next [`Self::push`] finds memory.
    pub(crate) fn reserve(&self) -> Result<(), ArenaError> {
        self.base.reserve()
    }

    /// Notes that insertions choose rows by other distances from now on.
    pub(crate) fn change_measure(&self, measure: Measure) {
        self.spreads.change(measure);
        self.lengths.forget();
    }

    /// Returns the maximum number of links of a node on the base level.
    pub(crate) fn row_capacity(&self) -> usize {
        2 * self.parameters.m
    }

    /// Returns the number of nodes on each level, the base first.
    pub(crate) fn level_sizes(&self) -> Vec<usize> {
        let upper = self.upper.iter().map_while(OnceLock::get).map(Layer::len);
        std::iter::once(self.base.len()).chain(upper).collect()
    }

    /// Returns the bytes of the base rows, which are in `slots`, and of the upper rows.
    pub(crate) fn bytes(&self, slots: &Slots) -> (usize, usize) {
        let upper = self.upper.iter().filter_map(OnceLock::get).map(|layer| layer.rows.bytes());
        (self.base.rows.bytes_of(slots), upper.sum::<usize>() + self.place_bytes())
    }

    /// Gives the memory of the base rows of `run`, to whose nodes no link refers, back to the system.
    pub(crate) fn release(&self, run: &VacantRun) {
        self.base.rows.release(run);
    }

    pub(in crate::graph) fn layer(&self, level: usize) -> &Layer<AtomicU64> {
        self.upper[level - 1].get_or_init(|| Layer::new(level, self.parameters.m))
    }

    /// Returns the entry of searches, or `None` if the graph is empty.
    pub(in crate::graph) fn entry(&self) -> Option<Entry> {
        step();
        match self.entry.load(Ordering::Acquire) {
            EMPTY => None,
            word => Some(Entry { level: (word >> 32) as usize, row: Row::new(word as u32) }),
        }
    }

    /// Returns the row on `level` of the node that searches start from, if the node has one.
    pub(in crate::graph) fn entry_link(&self, level: usize) -> Option<Link> {
        let entry = self.entry().filter(|entry| entry.level >= level)?;
        if entry.level == 0 {
            return Some(Link { row: entry.row, node: entry.row.base_node(), tree: false });
        }
        let (node, mut row) = (self.layer(entry.level).rows().head(entry.row).0, entry.row);
        for above in (level + 1..=entry.level).rev() {
            row = self.layer(above).rows().head(row).1;
        }
        Some(Link { row, node, tree: false })
    }

    /// Returns the node that searches start from.
    pub(in crate::graph) fn node(&self, Entry { level, row }: Entry) -> Node {
        if level == 0 { row.base_node() } else { self.layer(level).rows().head(row).0 }
    }

    pub(in crate::graph) fn set_entry(&self, entry: Entry) {
        step();
        let word = (entry.level as u64) << 32 | u64::from(entry.row.number());
        self.entry.store(word, Ordering::Release);
    }

    pub(in crate::graph) fn unset_entry(&self) {
        step();
        self.entry.store(EMPTY, Ordering::Release);
    }

    pub(in crate::graph) fn lock(&self, level: usize, row: Row) -> MutexGuard<'_, ()> {
        let mixed = (row.number() ^ (level as u32) << 27).wrapping_mul(0x9e37_79b1) >> 16;
        self.locks[mixed as usize % LOCKS].lock()
    }

    /// Returns the level of a node: geometric with ratio `1/m`, a function of the seed and the number alone.
    pub(in crate::graph) fn draw_level(&self, node: Node) -> usize {
        let mixed = u64::from(node.number()).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = SmallRng::seed_from_u64(self.parameters.seed ^ mixed);
        let uniform: f64 = 1.0 - rng.random::<f64>();
        let level = -uniform.ln() / (self.parameters.m as f64).ln();
        (level as usize).min(UPPER_LEVELS)
    }
}
