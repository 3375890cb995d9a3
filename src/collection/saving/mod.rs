//! Indexes saved whole in a file, and read back or mapped from it.
//!
//! A saved graph or exact index is a collection of one checkpoint; lists have separate tables and extents (`lists.rs`). A file replaces
//! the one before it only when it is whole. Bytes in memory (`bytes.rs`) are those of such a file.

mod bytes;
mod lists;
mod save;

pub(super) use save::replace_file;
