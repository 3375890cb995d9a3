//! Memory: columns of rows that never move, and the scratch of a walk.
//!
//! Vectors, keys and rows of neighbours are *columns*, one entry per slot, addressed by dense ids of 32 bits, each of a type (`id.rs`). A column is a table of chunks: anonymous maps
//! that are made on demand and never move, so a reader holds plain references while the index grows. Full regions of 2 MiB become huge
//! pages, which makes random reads about 1.5 times as fast. A byte for each row marks the first element that changed since the last
//! checkpoint. A removed vector's slot is *hidden* (`slots.rs`), then *vacant* once no search can visit it, and is reused.
//!
//! No pointer leaves this folder.

mod byte_rows;
mod chunks;
mod column;
mod id;
mod overlay;
mod persistent;
mod pool;
mod renewed;
mod slots;
mod visited;

pub(crate) use byte_rows::{ByteRows, SliceRows};
pub(crate) use column::{Column, View};
pub(crate) use id::{Id, id};
pub(crate) use persistent::{Changes, Keeper, Persistent, Piece, Rows, Unsound};
pub(crate) use pool::Pool;
pub(crate) use renewed::Renewed;
pub(crate) use slots::{Slot, Slots, Vacant, VacantRun, pin};
pub(crate) use visited::Visited;

/// The operating system gave no memory, or the column has its greatest length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArenaError {
    /// No memory for a chunk of this many bytes.
    OutOfMemory { bytes: usize },
    /// The column has its maximum number of rows.
    Full { len: usize },
}

/// One more than the greatest id: the candidate pool keeps a flag beside 31 bits of id.
pub(crate) const MAX_ROWS: u32 = 1 << 31;
