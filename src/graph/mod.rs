//! The hierarchical navigable small world graph (Malkov and Yashunin, 2018): rows of neighbours,
//! walked, linked and pruned.
//!
//! The graph knows dense [nodes](Node) and a [`Space`] that gives distances; no user's keys, no vectors. A key here is an
//! [`OrderKey`](crate::order_key::OrderKey).
//! `rows/` is the graph at rest; `search/` reads it; `link/`, `removal/` and `merge/` change it.
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
//! construction, for any data and any order of concurrent insertions. Removing a node
//! joins its tree neighbours to each other.
//!
//! Every node is easy to find, too. Its parent is not simply its nearest neighbour, which a search for it may never reach
//! if clusters are far apart, but the node where a narrow search for it ended when it was inserted.
//!
//! # Removal
//!
//! Removal cuts a node out of the trees in one step while nothing else changes
//! ([`Graph::cut`]), gives its neighbours links past it ([`Graph::bypass`]), and sweeps the
//! remaining links to it away ([`Graph::sweep`]). The node's own rows stay until no walk can be in them,
//! so that a walk that is there finds its way. Links are written to living nodes only, so once a sweep is through, no
//! link refers to a node cut before it, and the node can be reused for another vector.

mod id;
mod link;
mod merge;
mod removal;
mod rows;
mod search;
mod space;

pub(crate) use id::Node;
pub(crate) use link::{Draft, LinkBack, Outlook};
pub(crate) use merge::{Source, Tick};
pub(crate) use removal::Sweep;
pub(crate) use rows::{Graph, GraphState, Measure, Parameters, RowFault};
pub(crate) use search::{Accepted, Beam, Counters, LANES, Order, Scratch, Watch};
pub(crate) use space::{LinkSpace, Space};
