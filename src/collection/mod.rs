//! Indexes in files: saved whole, or kept as collections that no crash can break.
//!
//! `columns/` is between columns in memory and extents in the store; `saving/`, `reading/` and `writing/` use it for saved indexes, snapshots
//! and the collection that this process writes; `maintenance/` works on the latter.
#![doc = include_str!("FORMAT.md")]

mod columns;
mod config;
mod error;
mod format;
mod maintenance;
mod progress;
mod reading;
mod saving;
mod writing;

pub use config::Config;
pub use error::CollectionError;
pub use maintenance::{CollectionReport, CollectionStats, Merge, MergeRule, Merged, Task};
pub use reading::{Reader, Recovery, Snapshot};
pub use writing::{Collection, Transaction};
