//! Maintenance of a collection: statistics, checks, compaction, loading, backups and merges.
//!
//! Each operation reports its progress and can be cancelled through a [`Task`], or through the builder of a [`Merge`].

mod backup;
mod check;
mod compact;
mod load;
mod merge;
mod stats;
mod task;

pub use check::CollectionReport;
pub use merge::{Merge, MergeRule, Merged};
pub use stats::CollectionStats;
pub use task::Task;
