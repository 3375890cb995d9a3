//! Snapshots: indexes of their own over the extents of a collection, each at one commit.
//!
//! A view without a holder goes on to newer commits by the journal instead of being made anew. A [`CollectionReader`] makes snapshots of a
//! file that another process may be writing.

mod attributes;
mod entries;
mod ordered;
mod reader;
mod snapshot;
mod tables;

pub use entries::Entries;
pub use reader::CollectionReader;
pub(super) use snapshot::{Live, Views, payload};
pub use snapshot::{RecoveryReport, Snapshot};
