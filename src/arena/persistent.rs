//! Columns as whoever keeps them in a file sees them: chunks of bytes.

use std::any::Any;
use std::sync::Arc;

use memmap2::MmapMut;

use super::ArenaError;

/// Something that lives as long as maps of a file are in use, so that the file stays as it is.
pub(crate) type Keeper = Arc<dyn Any + Send + Sync>;

/// What is given back does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsound(pub(crate) &'static str);

/// A chunk as it comes from a file.
pub(crate) struct Piece<'p, E> {
    /// Its bytes, perhaps without the last rows; none if the file has nothing of it.
    pub(crate) map: Option<MmapMut>,
    /// Writes over them the rows that have changed since, and those that the map lacks.
    pub(crate) changes: Option<Changes<'p, E>>,
}

/// What writes over rows of a chunk.
pub(crate) type Changes<'p, E> = Box<dyn FnOnce(Rows<'_>) -> Result<(), E> + 'p>;

/// The rows of a chunk, for one who changes them.
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a mut [u8],
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
    /// How many of the bytes came from the file.
    pub(crate) mapped: usize,
}

impl<E> From<MmapMut> for Piece<'_, E> {
    fn from(map: MmapMut) -> Self {
        Self { map: Some(map), changes: None }
    }
}

/// A column in chunks of bytes. Where a chunk has no byte order of its own, it is the machine's.
pub(crate) trait Persistent: Sync {
    /// Number of rows.
    fn rows(&self) -> u32;

    /// Rows of a chunk.
    fn chunk_rows(&self) -> u32;

    /// Bytes of a row.
    fn row_bytes(&self) -> usize;

    /// Whether rows of the chunk may have changed since it was [cleaned](Self::clean), or made.
    fn is_changed(&self, chunk: u32) -> bool;

    /// Whether the chunk is, at least in part, a map of a file.
    fn is_overlaid(&self, chunk: u32) -> bool;

    /// Forgets that the chunk changed. Nobody may be changing it.
    fn clean(&self, chunk: u32);

    /// Notes from now on which rows of the chunk change; before it is [cleaned](Self::clean), if it is. Nobody may be changing it.
    fn track(&self, chunk: u32);

    /// Calls `row` with each row of the chunk, counted from its first, that changed since it was [tracked](Self::track), in ascending
    /// order, and with the first byte of the row that may have changed. Of a chunk that is not tracked, and changed, all rows count.
    fn changed_rows(&self, chunk: u32, row: &mut dyn FnMut(u32, usize));

    /// Appends the bytes of a row, counted from the first of the column, from the byte `from` on to `out`.
    fn copy_row(&self, row: u32, from: usize, out: &mut Vec<u8>);

    /// Appends the bytes of the chunk's rows to `out`.
    fn copy(&self, chunk: u32, out: &mut Vec<u8>);

    /// Lets a map of a file hold the chunk's rows from now on, at the same address. It must hold the same bytes, at
    /// least as many as the rows have. Searches may run; changes may not.
    fn replace(&self, chunk: u32, map: MmapMut) -> Result<(), ArenaError>;

    /// Brings the chunk into memory of huge pages, if it is a map of a file and the system can. Searches may run; changes may
    /// not.
    fn promote(&self, chunk: u32) -> Result<(), ArenaError>;

    /// Keeps `keeper` until the maps are gone, in place of the last one, which is returned.
    fn keep(&self, keeper: Keeper) -> Option<Keeper>;

    /// Number of chunks.
    fn chunks(&self) -> u32 {
        self.rows().div_ceil(self.chunk_rows())
    }

    /// Rows that are in the chunk.
    fn rows_of(&self, chunk: u32) -> u32 {
        let before = u64::from(chunk) * u64::from(self.chunk_rows());
        u64::from(self.rows()).saturating_sub(before).min(u64::from(self.chunk_rows())) as u32
    }
}
