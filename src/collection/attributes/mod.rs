//! Attributes of vectors: their records, and the index that predicates are evaluated on.
//!
//! A transaction writes both (`index.rs`) with its vectors, as far as the schema allows (`schema.rs`). A record (`record.rs`) has the values of a key. The index has an entry for each
//! value of a field, a *term* (`term.rs`), and chunk of keys (`chunk.rs`). A predicate is set operations over entries (`evaluation/`), and its result is a
//! filter of searches. Tables are those of the store, so snapshots, recovery and readers of other processes have
//! attributes and vectors of one commit.

mod check;
mod chunk;
mod evaluation;
mod field;
mod index;
mod record;
mod schema;
mod tables;
mod term;
#[cfg(test)]
mod tests;

pub(super) use check::{faults, orphans};
pub(super) use evaluation::{Keys, Known, KnownSelections};
pub use evaluation::{Selection, Step, StepSource};
pub(super) use field::{Fields, KnownFields};
pub(super) use index::{Pending, size_of};
pub(super) use record::{encode_named, read};
pub(super) use schema::{in_key, schema};
pub(super) use tables::{Changed, Evaluation, attributes, evaluate, facet, for_each, matching};
