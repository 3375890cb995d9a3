//! Indexes in files: saved whole, or kept as collections that no crash can break.
#![doc = include_str!("FORMAT.md")]

mod available;
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
mod pace;
mod reader;
mod save;
mod snapshot;
mod task;
mod transaction;

pub use config::Config;
pub use error::CollectionError;
pub use handle::{Collection, Recovery};
pub use maintenance::{CollectionReport, CollectionStats};
pub use merge::{Merge, MergeRule, Merged};
pub use reader::Reader;
pub use snapshot::Snapshot;
pub use task::Task;
pub use transaction::Transaction;
