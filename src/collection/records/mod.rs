//! Entries: the name, the attributes and the payload of a key, read together.
//!
//! The records of a key are in tables of their own (`read.rs`). An entry (`entry.rs`) has them with the vector; a listing of names (`names.rs`) and
//! the position of a listing of keys (`cursor.rs`) do without it.

mod cursor;
mod entry;
mod names;
mod read;

pub(super) use cursor::Place;
pub use cursor::{Page, ScrollCursor};
pub use entry::Entry;
pub use names::Names;
pub(super) use read::Records;
