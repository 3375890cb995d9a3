//! Indexes saved whole in a file, and read back or mapped from it.
//!
//! A saved graph or exact index is a collection of one checkpoint; lists go to tables and extents of their own (`lists.rs`). A file takes the
//! place of the one before it only when it is whole.

mod lists;
mod save;

pub(super) use save::replace_file;
