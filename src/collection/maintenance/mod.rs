//! Maintenance of a collection: statistics, checks, compaction, loading, backups and merges.
//!
//! Each operation reports its progress and can be cancelled through a [`MaintenanceTask`], or through the builder of a [`MergeBuilder`].

mod backup;
mod build;
mod check;
mod compact;
mod load;
mod merge;
mod stats;
mod task;

pub use check::CollectionReport;
pub use merge::{ConflictRule, MergeBuilder, MergeReport};
pub use stats::CollectionStats;
pub use task::MaintenanceTask;
