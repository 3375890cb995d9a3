//! Operations on a whole store: checks, statistics and compaction.
//!
//! Compaction fills holes from the end of the file. If they are too scattered, it moves the tail behind the end once and packs
//! it; `survey.rs` computes whether this pays. Long operations report each step to the caller and end if the caller requests it.

mod check;
mod compact;
mod relocate;
mod stats;
mod survey;

pub use check::CheckReport;
pub(crate) use check::check;
pub(crate) use compact::{LetGo, compact, compact_nodes, is_held};
pub use stats::{Contents, Stats, TreeStats};
pub(crate) use stats::{contents, stats};
