//! Indexes in files: saved whole, or kept as collections that no crash can break.
//!
//! `columns/` is between columns in memory and extents in the store; `saving/`, `reading/` and `writing/` use it for saved indexes, snapshots
//! and the collection that this process writes; `maintenance/` works on the latter. `attributes/` and `records/` have the tables beside the vectors,
//! `answers/` returns their records with hits, and `exchange/` writes and reads entries as lines. `FORMAT.md` gives tables, records and columns byte by byte.
//!
//! Each chunk of each column is an extent. Opening maps it privately and moves the map to the address of the chunk, so nothing is read or
//! rebuilt; a changed page stays in this process, as the file is never written through the map. A commit writes its operations to the *journal*,
//! waits for the disk, and applies them to the index in memory. A *checkpoint* writes the chunks that changed to fresh extents and empties the journal, in one
//! transaction of the store. If applying the journal again would take 100 ms, a commit also writes a *delta*: the rows that changed since the last one.
//!
//! A mapped chunk is not verified, and so not trusted: the reader of an id checks it against the number of rows before it follows it.
#![doc = include_str!("FORMAT.md")]

mod answers;
mod attributes;
mod builder;
mod columns;
mod error;
#[cfg(feature = "json")]
mod exchange;
mod format;
mod maintenance;
mod progress;
mod reading;
mod records;
mod saving;
mod tuning;
mod writing;

pub use answers::{Answer, Answers, Explanation, Fetch, Group, Grouping, Groups, Source};
pub use attributes::{Selection, Step, StepSource};
pub use builder::CollectionBuilder;
pub use error::CollectionError;
#[cfg(feature = "json")]
pub use error::LineFault;
#[cfg(feature = "json")]
pub use exchange::{Export, ExportReport, Import, ImportReport};
pub use maintenance::{
    CollectionReport, CollectionStats, ConflictRule, MaintenanceTask, MergeBuilder, MergeReport,
};
pub use reading::{CollectionReader, Entries, RecoveryReport, Snapshot};
pub use records::{Entry, Names, Page, ScrollCursor};
pub use writing::{Collection, RecordSnapshot, Transaction};
