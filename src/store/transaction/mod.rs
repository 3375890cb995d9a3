//! The transactions of callers, and the tables that they open.
//!
//! A [`ReadTransaction`] is a snapshot that blocks no writer. A [`WriteTransaction`] collects changes in memory and logs each operation;
//! a commit appends the record to the log, and makes a checkpoint if the log is full.

mod read;
mod table;
mod table_mut;
mod write;

pub(crate) use read::Base;
pub use read::ReadTransaction;
pub use table::{Entry, Range, Table};
pub use table_mut::TableMut;
pub use write::{Durability, Savepoint, WriteTransaction};
