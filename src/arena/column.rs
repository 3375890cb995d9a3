//! Append-only rows with dense ids: any thread reads while one writer at a time appends.
#![expect(unsafe_code, reason = "rows are shared with readers once their id is published")]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use bytemuck::Zeroable;

use super::byte_rows::ByteRows;
use super::chunks::Chunks;
use super::{
    ArenaError, Id, Keeper, MAX_ROWS, Persistent, Piece, Rows, Slot, Slots, Unsound, Vacant,
    VacantRun,
};
use crate::mmap::MmapMut;
use crate::simd::prefetch;
use crate::sync::{Fault, Mutex, is_planted, step};

/// A growing sequence of rows of equal length.
///
/// A row is written before its id is published, and again only when its slot is [`Vacant`], and never
/// moves. Elements that change otherwise must be atomics.
#[derive(Debug)]
pub(crate) struct Column<T, I = Slot> {
    chunks: Chunks<T>,
    /// Rows that readers may see. Every row below is mapped, written and no longer exclusive.
    published: AtomicU32,
    append: Mutex<()>,
    ids: PhantomData<I>,
}

impl<T: Zeroable + Sync + Send, I: Id> Column<T, I> {
    /// Creates an empty column for rows of `stride` elements, `stride > 0`.
    pub(crate) fn new(stride: usize) -> Self {
        Self {
            chunks: Chunks::new(stride),
            published: AtomicU32::new(0),
            append: Mutex::new(()),
            ids: PhantomData,
        }
    }

    /// Restores a column of `rows` rows whose bytes `source` supplies chunk by chunk. `source` receives the chunk's
    /// number and the number of bytes needed.
    ///
    /// The bytes may be any, so every bit pattern must be a value of `T`.
    pub(crate) fn restore<'p, E: From<ArenaError> + From<Unsound>>(
        stride: usize,
        rows: u32,
        mut source: impl FnMut(u32, usize) -> Result<Piece<'p, E>, E>,
    ) -> Result<Self, E> {
        if rows >= MAX_ROWS {
            return Err(ArenaError::Full { len: rows as usize }.into());
        }
        let mut column = Self::new(stride);
        let chunk_rows = column.chunks.chunk_rows();
        for chunk in 0..rows.div_ceil(chunk_rows) {
            let len = (rows - chunk * chunk_rows).min(chunk_rows) as usize;
            let bytes = len * column.chunks.row_bytes();
            let Piece { map, changes } = source(chunk, bytes)?;
            let mapped = map.as_ref().map_or(0, |map| map.len()).min(bytes);
            if mapped < bytes && changes.is_none() {
                return Err(Unsound("a chunk is shorter than its rows").into());
            }
            if let Some(map) = map {
                column.chunks.overlay(chunk as usize, map, mapped)?;
            }
            if let Some(changes) = changes {
                let row_bytes = column.chunks.row_bytes();
                let amend = |bytes: &mut [u8]| changes(Rows { bytes, row_bytes, mapped });
                column.chunks.amend(chunk as usize, bytes, amend)??;
            }
        }
        column.published.store(rows, Ordering::Release);
        Ok(column)
    }

    /// Appends a row, zeroed and then given to `write`, and returns its id. If `write` panics,
    /// no row is appended.
    pub(crate) fn push(&self, write: impl FnOnce(&mut [T])) -> Result<I, ArenaError> {
        let _one_writer = self.append.lock();
        self.reserve()?;
        let id = self.published.load(Ordering::Relaxed);
        // SAFETY: `ensure(id)` succeeded in `reserve`. No other thread has the row: readers never get ids at or
        // above `published`, and the lock keeps other writers out. Its
        // memory is initialised: zeroed by the map (or by a `write` that panicked).
        let row = unsafe { std::slice::from_raw_parts_mut(self.chunks.row(id), self.stride()) };
        if is_planted(Fault::CountedEarly) {
            self.published.store(id + 1, Ordering::Release);
            step();
        }
        write(row);
        self.chunks.touch(id, 0);
        step();
        self.published.store(id + 1, Ordering::Release);
        self.chunks.filled(id);
        Ok(I::new(id))
    }

    /// Gives the row of a vacant slot, with its old content, to `write`. The slot must belong to this column.
    pub(crate) fn refill(&self, slot: &Vacant<'_>, write: impl FnOnce(&mut [T])) {
        let id = slot.slot().number();
        assert!(id < self.published.load(Ordering::Acquire), "row beyond the column");
        self.chunks.touch(id, 0);
        // SAFETY: the id is published, so its chunk is mapped and the row initialised. No other thread has the row: a slot has one
        // `Vacant` at a time, which exists only when no reader can be at the slot's rows (`Slots::retire`).
        let row = unsafe { std::slice::from_raw_parts_mut(self.chunks.row(id), self.stride()) };
        step();
        write(row);
    }

    /// Gives the memory of vacant rows back to the system. The slots must belong to this column.
    pub(crate) fn release(&self, run: &VacantRun) {
        let limit = self.published.load(Ordering::Acquire);
        let rows = run.slots();
        // SAFETY: ids below the limit are published, so they are mapped. The rows are vacant and no thread can take them
        // (`Slots::release`); only changes of link rows, slot after slot, still access them, through atomics.
        unsafe { self.chunks.release(rows.start.min(limit)..rows.end.min(limit)) };
    }

    /// Makes sure that the next push finds memory, if no other thread pushes in between.
    pub(crate) fn reserve(&self) -> Result<(), ArenaError> {
        let id = self.published.load(Ordering::Relaxed);
        if id >= MAX_ROWS - 1 {
            return Err(ArenaError::Full { len: id as usize });
        }
        self.chunks.ensure(id)
    }

    /// Returns the rows that exist now.
    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_, T, I> {
        step();
        let limit = self.published.load(Ordering::Acquire);
        View { chunks: &self.chunks, limit, ids: PhantomData }
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        step();
        self.published.load(Ordering::Acquire) as usize
    }

    /// Returns the number of elements of a row.
    pub(crate) fn stride(&self) -> usize {
        self.chunks.stride()
    }

    /// Returns the bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * self.chunks.row_bytes() + self.chunks.overhead()
    }

    /// Returns the bytes of memory in use by a column for these slots.
    pub(crate) fn bytes_of(&self, slots: &Slots) -> usize {
        self.bytes() - slots.released(self.len()) * self.chunks.row_bytes()
    }
}

/// The rows of a column that existed when the view was taken.
#[derive(Debug)]
pub(crate) struct View<'a, T, I = Slot> {
    chunks: &'a Chunks<T>,
    limit: u32,
    ids: PhantomData<I>,
}

impl<T, I> Clone for View<'_, T, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, I> Copy for View<'_, T, I> {}

impl<'a, T: Zeroable + Sync, I: Id> View<'a, T, I> {
    /// Returns the number of rows: ids below it are valid.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        self.limit
    }

    /// Returns whether the row exists.
    #[inline(always)]
    pub(crate) fn has(self, id: I) -> bool {
        id.number() < self.limit
    }

    /// Returns row `id`.
    ///
    /// # Panics
    ///
    /// If `id >= len()`: a walk admits an id only after comparing it with the limit.
    #[inline(always)]
    pub(crate) fn row(self, id: I) -> &'a [T] {
        let id = id.number();
        assert!(id < self.limit, "row beyond the view");
        // SAFETY: `id` is below a limit that was loaded with `Acquire` from `published`, so the
        // chunk is mapped and the row is written. It is written again through atomics, or in a
        // `Vacant` slot, which no holder of the view can reach.
        unsafe { std::slice::from_raw_parts(self.chunks.row(id), self.chunks.stride()) }
    }

    /// Returns the rows as bytes.
    pub(crate) fn bytes(self) -> ByteRows<'a>
    where
        T: bytemuck::NoUninit,
    {
        // SAFETY: as in `row`, for all ids below the limit. A vacant slot's row is not read: no holder of the view can reach it.
        unsafe { self.chunks.bytes(self.limit) }
    }

    /// Returns the elements of the first of these rows that are contiguous in memory: at least one row, if `ids` is not empty. No row may
    /// be of a vacant slot.
    ///
    /// # Panics
    ///
    /// If the rows end behind `len()`.
    #[inline(always)]
    pub(crate) fn run(self, ids: Range<u32>) -> &'a [T] {
        assert!(ids.end <= self.limit, "rows beyond the view");
        if ids.is_empty() {
            return &[];
        }
        let last = (ids.end - 1).min(ids.start | (self.chunks.chunk_rows() - 1));
        let count = (last - ids.start) as usize + 1;
        // SAFETY: as in `row`; all rows from `ids.start` to `last` are in one chunk, one after the other.
        unsafe {
            std::slice::from_raw_parts(self.chunks.row(ids.start), count * self.chunks.stride())
        }
    }
}

impl<T: Zeroable + Sync + Send + 'static, I: Id> Persistent for Column<T, I> {
    fn rows(&self) -> u32 {
        self.published.load(Ordering::Acquire)
    }

    fn chunk_rows(&self) -> u32 {
        self.chunks.chunk_rows()
    }

    fn row_bytes(&self) -> usize {
        self.chunks.row_bytes()
    }

    fn is_changed(&self, chunk: u32) -> bool {
        self.chunks.is_changed(chunk as usize)
    }

    fn is_overlaid(&self, chunk: u32) -> bool {
        self.chunks.is_overlaid(chunk as usize)
    }

    fn clean(&self, chunk: u32) {
        self.chunks.clean(chunk as usize);
    }

    fn track(&self, chunk: u32) {
        self.chunks.track(chunk as usize);
    }

    fn changed_rows(&self, chunk: u32, row: &mut dyn FnMut(u32, usize)) {
        self.chunks.changed_rows(chunk as usize, self.rows_of(chunk), row);
    }

    fn copy_row(&self, row: u32, from: usize, out: &mut Vec<u8>) {
        assert!(row < self.rows(), "row beyond the column");
        self.chunks.copy_row(row, from, out);
    }

    fn copy(&self, chunk: u32, out: &mut Vec<u8>) {
        self.chunks.copy(chunk as usize, self.rows_of(chunk), out);
    }

    fn replace(&self, chunk: u32, map: MmapMut) -> Result<(), ArenaError> {
        let bytes = self.rows_of(chunk) as usize * self.row_bytes();
        self.chunks.overlay(chunk as usize, map, bytes)
    }

    fn promote(&self, chunk: u32) -> Result<(), ArenaError> {
        let bytes = self.rows_of(chunk) as usize * self.row_bytes();
        self.chunks.promote(chunk as usize, bytes)
    }

    fn keep(&self, keeper: Keeper) -> Option<Keeper> {
        self.chunks.keep(keeper)
    }
}

impl<T: Zeroable + Sync, I: Id> View<'_, T, I> {
    /// Notes that row `id` changes from its element `at` on.
    #[inline(always)]
    pub(crate) fn touch(self, id: I, at: usize) {
        self.chunks.touch(id.number(), at);
    }

    /// Prefetches all lines of row `id`, if the row exists.
    #[inline(always)]
    pub(crate) fn prefetch(self, id: I) {
        if self.has(id) {
            prefetch(self.row(id));
        }
    }
}

#[cfg(test)]
mod tests;
