//! Columns in a file: chunks of bytes.

use std::any::Any;
use std::sync::Arc;

use super::ArenaError;
use crate::mmap::MmapMut;

/// A value that lives as long as maps of a file are in use, so that the file does not change.
pub(crate) type Keeper = Arc<dyn Any + Send + Sync>;

/// The parts of a restored column do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsound(pub(crate) &'static str);

/// A chunk from a file.
pub(crate) struct Piece<'p, E> {
    /// The bytes of the chunk, perhaps without the last rows; `None` if the file has no byte of it.
    pub(crate) map: Option<MmapMut>,
    /// Writes the rows that have changed since, and those that the map lacks, over the bytes.
    pub(crate) changes: Option<Changes<'p, E>>,
}

/// A function that writes over rows of a chunk.
pub(crate) type Changes<'p, E> = Box<dyn FnOnce(Rows<'_>) -> Result<(), E> + 'p>;

/// The rows of a chunk, for a writer.
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a mut [u8],
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
    /// The number of bytes from the file.
    pub(crate) mapped: usize,
}

impl<E> From<MmapMut> for Piece<'_, E> {
    fn from(map: MmapMut) -> Self {
        Self { map: Some(map), changes: None }
    }
}

/// A column in chunks of bytes. Bytes are in the machine's order, unless a chunk has its own.
pub(crate) trait Persistent: Sync {
    /// Returns the number of rows.
    fn rows(&self) -> u32;

    /// Returns the number of rows of a chunk.
    fn chunk_rows(&self) -> u32;

    /// Returns the number of bytes of a row.
    fn row_bytes(&self) -> usize;

    /// Returns whether rows of the chunk may have changed since it was [cleaned](Self::clean), or made.
    fn is_changed(&self, chunk: u32) -> bool;

    /// Returns whether the chunk is, at least in part, a map of a file.
    fn is_overlaid(&self, chunk: u32) -> bool;

    /// Marks the chunk as unchanged. No thread may change it meanwhile.
    fn clean(&self, chunk: u32);

    /// Notes from now on which rows of the chunk change; called before [`Self::clean`], if at all. No thread may change it meanwhile.
    fn track(&self, chunk: u32);

    /// Calls `row` with each row of the chunk, counted from its first, that changed since it was [tracked](Self::track), in ascending
    /// order, and with the first byte of the row that may have changed. If a changed chunk is not tracked, all its rows count.
    fn changed_rows(&self, chunk: u32, row: &mut dyn FnMut(u32, usize));

    /// Appends the bytes of a row, counted from the first of the column, from the byte `from` on to `out`.
    fn copy_row(&self, row: u32, from: usize, out: &mut Vec<u8>);

    /// Appends the bytes of the chunk's rows to `out`.
    fn copy(&self, chunk: u32, out: &mut Vec<u8>);

    /// Lets a map of a file hold the chunk's rows from now on, at the same address. The map must begin with the bytes of all
    /// rows. Searches may run; changes may not.
    fn replace(&self, chunk: u32, map: MmapMut) -> Result<(), ArenaError>;

    /// Brings the chunk into memory of huge pages, if it is a map of a file and the system can. Searches may run; changes may
    /// not.
    fn promote(&self, chunk: u32) -> Result<(), ArenaError>;

    /// Keeps `keeper` until the maps are gone, in place of the last one. Returns the last one.
    fn keep(&self, keeper: Keeper) -> Option<Keeper>;

    /// Returns the number of chunks.
    fn chunks(&self) -> u32 {
        self.rows().div_ceil(self.chunk_rows())
    }

    /// Returns the number of rows in the chunk.
    fn rows_of(&self, chunk: u32) -> u32 {
        let before = u64::from(chunk) * u64::from(self.chunk_rows());
        u64::from(self.rows()).saturating_sub(before).min(u64::from(self.chunk_rows())) as u32
    }
}
