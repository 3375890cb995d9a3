//! The hierarchical navigable small world graph (Malkov and Yashunin, 2018): rows of neighbours,
//! walked, linked and pruned.
//!
//! The graph knows dense node ids and a [`Space`] that gives distances; no keys, no vectors.
//!
//! # Concurrency
//!
//! Searches take no lock and never retry. An insertion writes the node's own rows first, then the
//! links that make it visible, and holds the lock of one row at a time. Entries of a row are
//! atomics, and a row is rewritten entry by entry: any mixture of its old and new list is a legal
//! row, and it is never empty once it was not.
//!
//! # No node is ever lost
//!
//! Besides the links that pruning chooses, each layer keeps a spanning tree: every node but the
//! layer's first has one *tree link* to a parent, which was there before it, and the parent has
//! one back. Pruning never drops a tree link. So each layer is strongly connected by
//! construction, whatever the data and the order of concurrent insertions. A node that is removed
//! leaves its tree neighbours joined to each other.
//!
//! Nor is one hard to find: its parent is not simply its nearest neighbour, which a search for it may never come
//! to where clusters lie apart, but the node where a narrow search for it ended when it was inserted.
//!
//! # Removal
//!
//! What happens to a node that is to go: it is cut out of the trees in one step while nothing else changes
//! ([`Graph::cut`]), its neighbours get links past it ([`Graph::bypass`]), and the links to it that are left are
//! swept away ([`Graph::sweep`]). Its own rows stay until nobody can be in them, so that no walk
//! that is there loses its way. Links are written to living nodes only, so once a sweep is through, no
//! way leads to what was cut before it, and the node can stand for another vector.

mod bypass;
mod check;
mod cut;
mod detour;
mod distinct;
mod draft;
mod insert;
mod layer;
mod lengths;
mod link;
mod merge;
mod persist;
mod prune;
mod scratch;
mod spread;
mod sweep;
mod upper;
mod walk;
mod widen;

pub(crate) use check::RowFault;
pub(crate) use detour::Order;
pub(crate) use draft::{Draft, LinkBack};
pub(crate) use insert::Outlook;
pub(crate) use merge::{GONE, Source, Tick};
pub(crate) use persist::GraphState;
pub(crate) use scratch::{Counters, Scratch};
pub(crate) use sweep::Sweep;
pub(crate) use walk::{LANES, Watch};

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::arena::{ArenaError, Slots, VacantRun};
use crate::sync::{Mutex, MutexGuard, step};
use layer::Layer;
use lengths::Lengths;
use spread::Spread;
use upper::Places;

/// What a walk needs to know of the vectors: distances, as keys that order like them.
pub(crate) trait Space: Copy {
    /// A vector to measure from.
    type Query: Copy;

    /// The same space with all nodes that exist now.
    fn refresh(self) -> Self;

    /// Nodes below it have a vector.
    fn len(&self) -> u32;

    /// Brings the vectors of nodes nearer to the CPU.
    fn prefetch(&self, nodes: &[u32]);

    /// Keys of the distances between `query` and each of `nodes`, written to `keys`.
    fn keys(&self, query: Self::Query, nodes: &[u32], keys: &mut [u32]);

    /// The distance that a key stands for.
    fn distance(&self, key: u32) -> f32;

    /// Whether two nodes have the same vector.
    fn is_same(&self, a: u32, b: u32) -> bool;

    /// Key of the distance between `query` and a node.
    fn key(&self, query: Self::Query, node: u32) -> u32 {
        let mut key = [0];
        self.keys(query, &[node], &mut key);
        key[0]
    }
}

/// What linking needs besides.
pub(crate) trait LinkSpace: Space {
    /// Keys of the distances between the vector of a node and each of `nodes`.
    fn between(&self, node: u32, nodes: &[u32], keys: &mut [u32]);

    /// Whether the node has not been removed, nor is about to be. While rows are changed, nobody may remove one.
    fn is_live(&self, node: u32) -> bool;

    /// Whether a neighbour at `between` from a candidate makes a link to that candidate, which is
    /// at `base`, superfluous: RobustPrune's `alpha * between < base` (Subramanya et al., 2019).
    fn occludes(&self, between: u32, base: u32) -> bool;
}

/// Levels above the base at most. With `m >= 2`, a level above has a chance of 2^-15 at most.
pub(crate) const UPPER_LEVELS: usize = 15;

/// Locks of rows, shared by hash.
const LOCKS: usize = 256;

/// The entry of an empty graph.
const EMPTY: u64 = u64::MAX;

/// What shapes the graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters {
    /// Links of a node on each upper level, half of those on the base level.
    pub(crate) m: usize,
    /// Candidates that an insertion considers on each level.
    pub(crate) ef_construction: usize,
    /// Seed of the levels.
    pub(crate) seed: u64,
    /// Whether distances are inner products: a node may be nearer to another than that one is to itself.
    pub(crate) are_products: bool,
}

/// A graph over the nodes `0..len`.
#[derive(Debug)]
pub(crate) struct Graph {
    parameters: Parameters,
    base: Layer<AtomicU32>,
    upper: [OnceLock<Layer<AtomicU64>>; UPPER_LEVELS],
    /// `level << 32 | row`, where `row` is the entry's row on that level.
    entry: CachePadded<AtomicU64>,
    /// Held while a node above the entry's level is inserted.
    growth: Mutex<()>,
    locks: Box<[CachePadded<Mutex<()>>]>,
    /// Where nodes stand on upper levels.
    places: Mutex<Places>,
    spread: CachePadded<Spread>,
    lengths: Lengths,
}

/// How far a walk looks, and what it leaves out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beam {
    /// Candidates that it keeps.
    pub(crate) ef: usize,
    /// The nearest that are wanted, if fewer: the walk may end where they stand out.
    pub(crate) k: Option<usize>,
    /// The walk goes as if this node did not exist. Searches must not start from it: see [`Graph::is_base_only`].
    pub(crate) without: Option<u32>,
}

impl Beam {
    /// For all of the `ef` nearest.
    pub(crate) fn of(ef: usize) -> Self {
        Self { ef, k: None, without: None }
    }
}

/// Where searches start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    level: usize,
    row: u32,
}

impl Graph {
    /// An empty graph.
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            base: Layer::new(2 * parameters.m),
            upper: [const { OnceLock::new() }; UPPER_LEVELS],
            entry: CachePadded::new(AtomicU64::new(EMPTY)),
            growth: Mutex::new(()),
            locks: (0..LOCKS).map(|_| CachePadded::new(Mutex::new(()))).collect(),
            places: Mutex::default(),
            spread: CachePadded::default(),
            lengths: Lengths::none_yet(parameters.are_products),
        }
    }

    /// Adds a node without links and returns its id; [`Self::insert`] links it.
    pub(crate) fn push(&self) -> Result<u32, ArenaError> {
        self.base.push(None)
    }

    /// Makes sure that the next [`Self::push`] finds memory.
    pub(crate) fn reserve(&self) -> Result<(), ArenaError> {
        self.base.reserve()
    }

    /// Tells that from now on the space gives other distances.
    pub(crate) fn forget_distances(&self) {
        self.spread.forget();
        self.lengths.forget();
    }

    /// Links that a node of the base level has at most.
    pub(crate) fn row_capacity(&self) -> usize {
        2 * self.parameters.m
    }

    /// Nodes on each level, the base first.
    pub(crate) fn level_sizes(&self) -> Vec<usize> {
        let upper = self.upper.iter().map_while(OnceLock::get).map(Layer::len);
        std::iter::once(self.base.len()).chain(upper).collect()
    }

    /// Bytes of the base rows, which stand in `slots`, and of the upper ones.
    pub(crate) fn bytes(&self, slots: &Slots) -> (usize, usize) {
        let upper = self.upper.iter().filter_map(OnceLock::get).map(|layer| layer.rows.bytes());
        (self.base.rows.bytes_of(slots), upper.sum::<usize>() + self.place_bytes())
    }

    /// Gives the memory of the base rows of nodes back that no way leads to.
    pub(crate) fn release(&self, run: &VacantRun) {
        self.base.rows.release(run);
    }

    fn layer(&self, level: usize) -> &Layer<AtomicU64> {
        self.upper[level - 1].get_or_init(|| Layer::new(self.parameters.m))
    }

    /// Where searches start now; nowhere if the graph is empty.
    fn entry(&self) -> Option<Entry> {
        step();
        match self.entry.load(Ordering::Acquire) {
            EMPTY => None,
            word => Some(Entry { level: (word >> 32) as usize, row: word as u32 }),
        }
    }

    /// The row on `level` of the node that searches start from, if it stands there.
    fn entry_link(&self, level: usize) -> Option<layer::Link> {
        let entry = self.entry().filter(|entry| entry.level >= level)?;
        if entry.level == 0 {
            return Some(layer::Link { row: entry.row, node: entry.row, tree: false });
        }
        let (node, mut row) = (self.layer(entry.level).rows().head(entry.row).0, entry.row);
        for above in (level + 1..=entry.level).rev() {
            row = self.layer(above).rows().head(row).1;
        }
        Some(layer::Link { row, node, tree: false })
    }

    fn set_entry(&self, entry: Entry) {
        step();
        self.entry.store((entry.level as u64) << 32 | u64::from(entry.row), Ordering::Release);
    }

    fn unset_entry(&self) {
        step();
        self.entry.store(EMPTY, Ordering::Release);
    }

    fn lock(&self, level: usize, row: u32) -> MutexGuard<'_, ()> {
        let mixed = (row ^ (level as u32) << 27).wrapping_mul(0x9e37_79b1) >> 16;
        self.locks[mixed as usize % LOCKS].lock()
    }

    /// The level of a node: geometric with ratio `1/m`, a function of the seed and the id alone.
    fn draw_level(&self, node: u32) -> usize {
        let mixed = u64::from(node).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = SmallRng::seed_from_u64(self.parameters.seed ^ mixed);
        let uniform: f64 = 1.0 - rng.random::<f64>();
        let level = -uniform.ln() / (self.parameters.m as f64).ln();
        (level as usize).min(UPPER_LEVELS)
    }
}
