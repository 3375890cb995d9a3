//! The way of a commit to the disk and back.
//!
//! [`Changes`] applies the operations of one transaction to trees and extents, made by a caller or read from the log by recovery. A
//! [`checkpoint`] is prepared, which can be undone, and finished, whose failure poisons the store. [`recover`] takes the newest whole
//! meta slot and applies the log behind it.
//!
//! The log is logical: it holds operations, and redo runs them again, so a small commit is 512 bytes. Changed pages live in memory until a
//! checkpoint, which runs inside the commit that finds the log full. The first transaction after opening begins with a checkpoint that changes
//! the log's salt, so that a lost future is never chained to. Extents that are kept in memory between two checkpoints take at most
//! 64 MiB, so a small log cannot ask recovery for more. A record has the position up to which the log was synced, so that damage in
//! front of acknowledged
//! commits is an error and not a shorter history.

mod changes;
mod checkpoint;
mod recovery;

pub(crate) use changes::{Changes, Saved};
pub(crate) use checkpoint::{checkpoint, cutting_checkpoint};
pub(crate) use recovery::{open_checkpoint, recover, replay};
