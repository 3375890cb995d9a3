//! Append-only rows with dense ids: any thread reads while one writer at a time appends.
#![expect(unsafe_code, reason = "rows are shared with readers once their id is published")]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use bytemuck::Zeroable;
use memmap2::MmapMut;

use super::byte_rows::ByteRows;
use super::chunks::Chunks;
use super::{
    ArenaError, Id, Keeper, MAX_ROWS, Persistent, Piece, Rows, Slot, Slots, Unsound, Vacant,
    VacantRun,
};
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
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn rows_keep_their_place_while_the_column_grows() {
        let column = Column::<u64, u32>::new(3);
        let rows = if cfg!(miri) { 300 } else { 200_000 };
        column.push(|row| row.fill(7)).unwrap();
        let first = column.view().row(0);
        for i in 1..rows {
            assert_eq!(column.push(|row| row.copy_from_slice(&[i, i + 1, i + 2])), Ok(i as u32));
        }
        assert_eq!(first, [7, 7, 7]);
        assert!(std::ptr::eq(first, column.view().row(0)));
        for i in 1..rows {
            assert_eq!(column.view().row(i as u32), [i, i + 1, i + 2]);
        }
        assert!(column.bytes() >= rows as usize * 24);
    }

    #[test]
    fn runs_end_with_a_chunk() {
        // A chunk has 1024 of these rows.
        let column = Column::<u64, u32>::new(4000);
        let rows = if cfg!(miri) { 3 } else { 1026 };
        for i in 0..rows {
            column.push(|row| row.fill(u64::from(i))).unwrap();
        }
        let view = column.view();
        let firsts = |ids| -> Vec<u64> { view.run(ids).chunks(4000).map(|row| row[0]).collect() };
        assert!(firsts(0..0).is_empty());
        assert_eq!(firsts(1..3), [1, 2]);
        if !cfg!(miri) {
            assert_eq!(firsts(1020..1026), [1020, 1021, 1022, 1023]);
            assert_eq!(firsts(1024..1026), [1024, 1025]);
            assert_eq!(firsts(0..1026).len(), 1024);
        }
        let beyond = std::panic::AssertUnwindSafe(|| view.run(0..rows + 1).len());
        assert!(std::panic::catch_unwind(beyond).is_err());
    }

    #[test]
    fn fresh_rows_are_zero_and_views_do_not_grow() {
        let column = Column::<AtomicU64, u32>::new(5);
        let before = column.view();
        column.push(|_| ()).unwrap();
        assert_eq!(before.len(), 0);
        assert!(column.view().row(0).iter().all(|x| x.load(Ordering::Relaxed) == 0));
        let beyond = std::panic::AssertUnwindSafe(|| before.row(0).len());
        assert!(std::panic::catch_unwind(beyond).is_err());
    }

    #[test]
    fn a_panic_while_writing_appends_nothing() {
        let column = Column::<u32, u32>::new(1);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            column.push(|_| panic!("refused"))
        }));
        assert!(failed.is_err());
        assert_eq!(column.len(), 0);
        assert_eq!(column.push(|row| row[0] = 9), Ok(0));
        assert_eq!(column.view().row(0), [9]);
    }

    #[test]
    fn readers_see_whole_rows_beside_a_writer() {
        let column = Column::<u64, u32>::new(4);
        let rows = if cfg!(miri) { 200 } else { 100_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..rows {
                    column.push(|row| row.fill(i)).unwrap();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    while column.len() < rows as usize {
                        let view = column.view();
                        if let Some(last) = view.len().checked_sub(1) {
                            assert_eq!(view.row(last), [u64::from(last); 4]);
                        }
                        std::hint::spin_loop();
                    }
                });
            }
        });
    }

    #[test]
    fn released_rows_are_written_again() {
        for stride in [1, 3, 700] {
            let (column, slots) = (Column::<u64, u32>::new(stride), Slots::new());
            let rows = if cfg!(miri) { 40 } else { 9000 };
            for i in 0..rows {
                slots.reserve(Slot::new(i)).unwrap();
                column.push(|row| row.fill(u64::from(i))).unwrap();
            }
            (7..rows - 2).for_each(|slot| slots.hide(Slot::new(slot)));
            // SAFETY: no other thread reads the rows of this test.
            unsafe { slots.retire((7..rows - 2).map(Slot::new).collect()) };
            while slots.vacant() == 0 {
                slots.settle(0);
            }
            slots.release(2, |run| column.release(run));
            let at = |id| column.view().row(id);
            for slot in 0..rows {
                if slot < 7 || slot >= rows - 2 {
                    assert_eq!(at(slot), vec![u64::from(slot); stride]);
                }
            }
            while let Some(vacant) = slots.take() {
                column.refill(&vacant, |row| row.fill(5));
                vacant.show();
            }
            assert!((7..rows - 2).all(|slot| at(slot).iter().all(|&x| x == 5)));
            assert_eq!(at(6)[0], 6);
        }
    }

    fn changed(column: &Column<AtomicU32, u32>) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        for chunk in 0..column.chunks() {
            let first = chunk * Persistent::chunk_rows(column);
            column.changed_rows(chunk, &mut |row, from| found.push((first + row, from)));
        }
        found
    }

    #[test]
    fn rows_that_change_are_known() {
        // A chunk has 65,536 of these rows, or 16,384.
        for (stride, rows) in [(3, 70_000), (512, 20_000)] {
            let rows = if cfg!(miri) { 150 } else { rows };
            let column = Column::<AtomicU32, u32>::new(stride);
            for _ in 0..rows {
                column.push(|_| ()).unwrap();
            }
            // All rows, because no chunk was tracked.
            assert_eq!(changed(&column), (0..rows).map(|row| (row, 0)).collect::<Vec<_>>());
            (0..column.chunks()).for_each(|chunk| column.track(chunk));
            assert_eq!(changed(&column), []);
            let view = column.view();
            view.touch(7, 2);
            view.touch(rows - 1, 1);
            view.touch(64, 1);
            view.touch(64, 2);
            view.touch(63, 2);
            view.touch(63, 0);
            view.touch(100, stride - 1);
            // Changed elements far behind count from an earlier one on.
            let last = (stride - 1).min(254) * 4;
            assert_eq!(changed(&column), [(7, 8), (63, 0), (64, 4), (100, last), (rows - 1, 4)]);
            column.push(|_| ()).unwrap();
            assert_eq!(changed(&column).last(), Some(&(rows, 0)));
            (0..column.chunks()).for_each(|chunk| column.track(chunk));
            assert_eq!(changed(&column), []);
            view.row(9)[1].store(5, Ordering::Relaxed);
            let mut bytes = vec![1];
            column.copy_row(9, 4, &mut bytes);
            assert_eq!((&bytes[..5], bytes.len()), (&[1, 5, 0, 0, 0][..], 1 + stride * 4 - 4));
        }
    }

    #[test]
    fn what_changed_since_is_written_over_a_map() {
        type Source = Result<Piece<'static, Refused>, Refused>;
        #[derive(Debug, PartialEq)]
        struct Refused;
        impl From<ArenaError> for Refused {
            fn from(_: ArenaError) -> Self {
                Self
            }
        }
        impl From<Unsound> for Refused {
            fn from(_: Unsound) -> Self {
                Self
            }
        }
        let map = |len: usize| {
            let mut map = MmapMut::map_anon(len).unwrap();
            map.fill(1);
            map
        };
        let changed = |_, len| -> Source {
            assert_eq!(len, 40_000 * 8);
            let changes = move |rows: Rows<'_>| {
                assert_eq!((rows.bytes.len(), rows.row_bytes, rows.mapped), (len, 8, 160_000));
                rows.bytes[8..12].fill(2);
                rows.bytes[len - 8..].fill(3);
                Ok(())
            };
            Ok(Piece { map: Some(map(160_000)), changes: Some(Box::new(changes)) })
        };
        let column = Column::<u32, u32>::restore(2, 40_000, changed).unwrap();
        let view = column.view();
        assert_eq!(view.row(0), [0x0101_0101; 2]);
        assert_eq!(view.row(1), [0x0202_0202, 0x0101_0101]);
        assert_eq!(view.row(19_999), [0x0101_0101; 2]);
        assert_eq!(view.row(20_000), [0; 2]);
        assert_eq!(view.row(39_999), [0x0303_0303; 2]);
        assert!(column.is_changed(0));
        // No map, and a map shorter than the rows.
        let short = |_, _| -> Source { Ok(map(319_999).into()) };
        assert_eq!(Column::<u32, u32>::restore(2, 40_000, short).err(), Some(Refused));
        let wrong =
            |_, _| -> Source { Ok(Piece { map: None, changes: Some(Box::new(|_| Err(Refused))) }) };
        assert_eq!(Column::<u32, u32>::restore(2, 40_000, wrong).err(), Some(Refused));
    }

    #[test]
    fn rows_wider_than_a_chunk_are_legal() {
        if cfg!(miri) {
            return;
        }
        let column = Column::<u8, u32>::new(40 << 20);
        for i in 0..3 {
            assert_eq!(column.push(|row| row[12] = i), Ok(u32::from(i)));
        }
        assert_eq!(column.view().row(2)[12], 2);
    }
}
