//! Indexes in files: saved whole, or kept as collections that no crash can break.
#![doc = include_str!("FORMAT.md")]

mod available;
mod checkpoint;
mod columns;
mod config;
mod delta;
mod error;
mod format;
mod handle;
mod lists;
mod maintenance;
mod memory;
mod merge;
mod names;
mod opening;
mod pace;
mod reader;
mod save;
mod snapshot;
mod task;
mod transaction;
mod writer;

pub use config::Config;
pub use error::CollectionError;
pub use handle::Collection;
pub use maintenance::{CollectionReport, CollectionStats};
pub use merge::{Merge, MergeRule, Merged};
pub use opening::Recovery;
pub use reader::Reader;
pub use snapshot::Snapshot;
pub use task::Task;
pub use transaction::Transaction;
