//! Answers of searches with the records of their keys, diverse ones, and groups of them.
//!
//! A search of a collection knows it as its source (`source.rs`). The search itself is that of the index; records are read for the answers that are
//! returned, from one moment of the file (`fetch.rs`). `diverse.rs` selects among more answers than are wanted, and `group.rs` searches until it has
//! enough groups. `explain.rs` measures a search under a predicate, part by part.

mod diverse;
mod explain;
mod fetch;
mod group;
mod source;

pub use explain::Explanation;
pub use fetch::{Answer, Answers, Fetch};
pub use group::{Group, Grouping, Groups};
pub use source::Source;
