//! Predicates evaluated on the index of attributes.
//!
//! A predicate (`select.rs`) is set operations over the entries of tables (`source.rs`), with numbers in one order (`order.rs`). They give sets of keys
//! (`exact.rs`), in an order of clauses that estimates tell (`estimate.rs`) and that steps show (`steps.rs`). The result is a filter of searches
//! (`selection.rs`), kept for the same predicate on the same commit (`known.rs`).

mod estimate;
mod exact;
mod known;
mod order;
mod select;
mod selection;
mod source;
mod steps;
#[cfg(test)]
mod tests;

pub(super) use estimate::Estimate;
pub(super) use exact::Exact;
pub(in crate::collection) use known::{Known, KnownSelections};
pub use selection::Selection;
pub(in crate::collection) use source::Keys;
pub(super) use source::{Each, EachRecord, Guess, Source};
pub use steps::{Step, StepSource};
