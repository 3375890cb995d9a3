//! The graph at rest: rows of links on each level, and the selection of the links that a row keeps.
//!
//! A [`Graph`] has a [`Layer`] for each level, a lock for each row and the entry of searches. It also keeps the facts
//! that insertions learn of distances: how they grow with the rank (`spread.rs`), and how lengths differ under inner products (`lengths.rs`).

mod check;
mod layer;
mod lengths;
mod levels;
mod persist;
mod prune;
mod spread;
mod upper;

pub(crate) use check::RowFault;
pub(super) use layer::{Cell, Layer, Link, Rows, sort_links};
pub(super) use lengths::own;
pub(super) use levels::Entry;
pub(crate) use levels::{Graph, Parameters, UPPER_LEVELS};
pub(crate) use persist::GraphState;
pub(super) use prune::{Candidate, Prune, select, sort_candidates};
pub(super) use spread::Halt;
pub(crate) use spread::Measure;
pub(super) use upper::Stack;
