//! A collection that this process writes: its handle, transactions, checkpoints, and limits of time and memory.
//!
//! A commit writes its operations to the journal, waits for the disk, and applies them to the index in memory (`transaction.rs`). A
//! checkpoint writes the chunks that changed and empties the journal (`checkpoint.rs`). `pace.rs` writes a delta if applying the journal
//! again would take long; `memory.rs` counts the memory that the system cannot take back.

mod attributes;
mod checkpoint;
mod entries;
mod handle;
mod memory;
mod names;
mod opening;
mod pace;
#[cfg(feature = "json")]
mod put;
mod records;
mod schema;
mod tables;
mod transaction;
mod writer;

pub use handle::Collection;
#[cfg(feature = "json")]
pub(super) use put::NewEntry;
pub use records::RecordSnapshot;
pub use transaction::Transaction;
pub(super) use writer::Writer;
