//! Columns of an index in memory, and the extents and records that hold them in the store.
//!
//! A checkpoint writes the chunks that changed (`write.rs`); mapped chunks become maps of their new extents (`remap.rs`). Opening maps
//! each chunk privately and applies the journal (`read.rs`, `replay.rs`).

mod advice;
mod available;
mod delta;
mod head;
mod read;
mod remap;
mod replay;
mod write;

pub(super) use delta::{Moment, Origin, Origins, newest_delta};
pub(super) use head::{Head, Records, read_head, read_records};
pub(super) use read::{Opened, Reading, open_index};
pub(super) use remap::{keep, move_columns, settle_columns, spill_columns, track};
pub(super) use replay::{apply, newest_commit, operations_behind, part_bytes, replay};
pub(super) use write::{changed_bytes, write_columns, write_settings};
