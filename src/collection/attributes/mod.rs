//! Attributes of vectors: their records, and the index that predicates are evaluated on.
//!
//! A transaction writes both (`index.rs`) with its vectors. A record (`record.rs`) has the values of a key. The index has an entry for each
//! value of a field, a *term* (`term.rs`), and chunk of keys (`chunk.rs`). A predicate (`select.rs`) is set operations over entries, and its
//! result is a filter of searches (`selection.rs`). Tables are those of the store, so snapshots, recovery and readers of other processes have
//! attributes and vectors of one commit.

mod check;
mod chunk;
mod field;
mod index;
mod order;
mod record;
mod select;
mod selection;
mod tables;
mod term;
#[cfg(test)]
mod tests;

pub(super) use check::{faults, orphans};
pub(super) use field::{Fields, KnownFields};
pub(super) use index::{Pending, size_of};
pub(super) use record::{encode_named, read};
pub use selection::Selection;
pub(super) use tables::{Changed, attributes, facet, for_each, matching};
