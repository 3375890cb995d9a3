//! Indexes in files: saved whole, or kept as collections that no crash can break.
#![doc = include_str!("FORMAT.md")]

mod available;
mod backup;
mod check;
mod checkpoint;
mod columns;
mod compact;
mod config;
mod delta;
mod error;
mod format;
mod handle;
mod lists;
mod load;
mod memory;
mod merge;
mod names;
mod opening;
mod pace;
mod progress;
mod reader;
mod save;
mod snapshot;
mod stats;
mod task;
mod transaction;
mod writer;

pub use check::CollectionReport;
pub use config::Config;
pub use error::CollectionError;
pub use handle::Collection;
pub use merge::{Merge, MergeRule, Merged};
pub use reader::Reader;
pub use snapshot::{Recovery, Snapshot};
pub use stats::CollectionStats;
pub use task::Task;
pub use transaction::Transaction;
