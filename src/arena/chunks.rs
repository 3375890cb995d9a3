//! Chunks of zeroed memory that are mapped on demand and never move.
//!
//! A chunk is an anonymous map, so rows that are not yet written cost address space only. Regions
//! of 2 MiB are collapsed into huge pages once they are full: random reads through huge pages are
//! about 1.5 times as fast, and collapsing afterwards wastes no memory on a half-filled one.
#![expect(unsafe_code, reason = "chunks hand out rows by address arithmetic")]

use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use bytemuck::Zeroable;

use super::byte_rows::ByteRows;
use super::overlay::{discard, overlay, promote};
use super::{ArenaError, Keeper, MAX_ROWS};
use crate::mmap::{self, MmapMut};
use crate::sync::Mutex;

/// Size and alignment of a huge page on x86-64 and on aarch64 with 4 KiB base pages.
const HUGE: usize = 2 << 20;
/// Whether memory may have huge pages.
const HAS_HUGE: bool = cfg!(not(target_family = "wasm"));
/// Maximum size of a chunk, unless a single row is larger.
const CHUNK_BYTES: usize = 32 << 20;
/// Maximum number of rows in a chunk.
const CHUNK_ROWS: usize = 1 << 16;
/// Maximum number of entries in a chunk table; unused ones are never touched.
const TABLE: usize = 1 << 16;

/// Mark of a chunk: rows may have changed since [`Chunks::clean`].
const CHANGED: u8 = 1;
/// Mark of a chunk: a part of it is a private map of a file.
const OVERLAID: u8 = 2;
/// Mark of a chunk: its rows are marked one by one.
const TRACKED: u8 = 4;

/// Mark of a row that changed from its first element on. Each element before the first changed one subtracts 1; 0 marks a row that
/// did not change.
const WHOLE: u8 = u8::MAX;

/// A table of chunks, each of `1 << shift` rows of `stride` elements.
///
/// Invariant: a non-null table entry points to a live map of `(stride << shift)` elements of `T`,
/// aligned for `T`, initialised (zeroed), and unmapped only when `self` is dropped. A byte for each
/// row, its mark, follows behind the last element.
pub(super) struct Chunks<T> {
    table: Box<[AtomicPtr<T>]>,
    /// [`CHANGED`], [`OVERLAID`] and [`TRACKED`] of each chunk; the last of mapped ones only.
    marks: Box<[AtomicU8]>,
    maps: Mutex<Vec<MmapMut>>,
    shift: u32,
    stride: usize,
    /// Keeps the files of overlaid chunks as they are; dropped after the maps.
    keeper: Mutex<Option<Keeper>>,
}

impl<T: Zeroable + Sync> Chunks<T> {
    /// Creates an empty table for rows of `stride` elements, `stride > 0`.
    pub(super) fn new(stride: usize) -> Self {
        assert!(stride > 0, "a row has at least one element");
        let row_bytes = stride * size_of::<T>();
        let rows = (CHUNK_BYTES / row_bytes).clamp(1, CHUNK_ROWS);
        let shift = rows.ilog2();
        let entries = TABLE.min((MAX_ROWS >> shift) as usize);
        Self {
            table: bytemuck::zeroed_slice_box(entries),
            marks: bytemuck::zeroed_slice_box(entries),
            maps: Mutex::new(Vec::new()),
            shift,
            stride,
            keeper: Mutex::new(None),
        }
    }

    /// Returns the number of elements of a row.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Makes sure that row `id` is in a mapped chunk.
    pub(super) fn ensure(&self, id: u32) -> Result<(), ArenaError> {
        let Some(entry) = self.table.get((id >> self.shift) as usize) else {
            return Err(ArenaError::Full { len: self.table.len() << self.shift });
        };
        if !entry.load(Ordering::Relaxed).is_null() {
            return Ok(());
        }
        let mut maps = self.maps.lock();
        if !entry.load(Ordering::Relaxed).is_null() {
            return Ok(());
        }
        let bytes = (self.stride << self.shift) * size_of::<T>();
        // Huge pages need their own alignment; a small chunk needs only that of a page.
        let align = if bytes >= HUGE && HAS_HUGE { HUGE } else { align_of::<T>() };
        let map = mmap::reserve(bytes + align + (1 << self.shift));
        let mut map = map.map_err(|_| ArenaError::OutOfMemory { bytes })?;
        let offset = map.as_ptr().align_offset(align);
        // SAFETY: `offset < align`, and the map is `align` bytes longer than the chunk and its marks.
        let base = unsafe { map.as_mut_ptr().add(offset) }.cast::<T>();
        maps.push(map);
        entry.store(base, Ordering::Release);
        Ok(())
    }

    /// Returns the address of row `id`.
    ///
    /// # Safety
    ///
    /// [`Self::ensure`] returned `Ok` for `id`, and this thread has observed that.
    #[inline(always)]
    pub(super) unsafe fn row(&self, id: u32) -> *mut T {
        debug_assert!(((id >> self.shift) as usize) < self.table.len());
        // SAFETY: the caller's contract: `ensure(id)` checked the table's length.
        let entry = unsafe { self.table.get_unchecked((id >> self.shift) as usize) };
        let base = entry.load(Ordering::Relaxed);
        debug_assert!(!base.is_null());
        let within = (id & ((1 << self.shift) - 1)) as usize;
        // SAFETY: the chunk has `1 << shift` rows of `stride` elements (type invariant).
        unsafe { base.add(within * self.stride) }
    }

    /// Returns the rows with ids below `limit`, as bytes.
    ///
    /// # Safety
    ///
    /// - [`Self::ensure`] returned `Ok` for these ids, and this thread has observed that.
    /// - The rows change through atomics only while they are borrowed.
    pub(super) unsafe fn bytes(&self, limit: u32) -> ByteRows<'_> {
        let (first, len) = (self.table.as_ptr(), self.table.len());
        // SAFETY: pointers to bytes have the layout of pointers to `T`. Chunks are initialised and mapped while `self` is borrowed.
        unsafe {
            let table = std::slice::from_raw_parts(first.cast::<AtomicPtr<u8>>(), len);
            ByteRows::new(table, self.shift, self.row_bytes(), limit)
        }
    }

    /// Returns the number of rows of a chunk.
    pub(super) fn chunk_rows(&self) -> u32 {
        1 << self.shift
    }

    /// Returns the number of bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.stride * size_of::<T>()
    }

    /// Notes that row `id` changes from its element `at` on.
    #[inline(always)]
    pub(super) fn touch(&self, id: u32, at: usize) {
        if let Some(chunk) = self.marks.get((id >> self.shift) as usize) {
            let marks = chunk.load(Ordering::Relaxed);
            if marks & CHANGED == 0 {
                chunk.fetch_or(CHANGED, Ordering::Relaxed);
            }
            if marks & TRACKED != 0 {
                let mark = WHOLE - at.min((WHOLE - 1) as usize) as u8;
                let row =
                    &self.row_marks(id >> self.shift)[(id & (self.chunk_rows() - 1)) as usize];
                if row.load(Ordering::Relaxed) < mark {
                    row.fetch_max(mark, Ordering::Relaxed);
                }
            }
        }
    }

    /// Returns the marks of the rows of a mapped chunk.
    #[inline(always)]
    fn row_marks(&self, chunk: u32) -> &[AtomicU8] {
        let base = self.table[chunk as usize].load(Ordering::Acquire).cast::<u8>();
        assert!(!base.is_null(), "the chunk is mapped");
        // SAFETY: the marks follow behind the chunk's elements (type invariant).
        let marks = unsafe { base.add(self.row_bytes() << self.shift) };
        // SAFETY: the map has a zeroed byte for each row, which threads write through atomics only, as long as `self` lives.
        unsafe { std::slice::from_raw_parts(marks.cast(), 1 << self.shift) }
    }

    /// Marks rows of the chunk one by one from now on, and treats all as unchanged. No thread may change the chunk meanwhile.
    pub(super) fn track(&self, chunk: usize) {
        if self.table[chunk].load(Ordering::Acquire).is_null() {
            return;
        }
        let marks = self.marks[chunk].fetch_or(TRACKED, Ordering::Relaxed);
        if marks & TRACKED == 0 || marks & CHANGED == 0 {
            // No row is marked.
            return;
        }
        for marks in self.row_marks(chunk as u32).chunks(GROUP) {
            // Pages of marks that were never written stay without memory.
            if !are_clean(marks) {
                for mark in marks {
                    mark.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Calls `row` with each of the first `rows` rows of a chunk that changed since it was [tracked](Self::track), in ascending order,
    /// and with the first byte of it that may have changed. If a changed chunk is not tracked, all its rows count.
    pub(super) fn changed_rows(&self, chunk: usize, rows: u32, row: &mut dyn FnMut(u32, usize)) {
        let marks = self.marks[chunk].load(Ordering::Relaxed);
        if marks & CHANGED == 0 {
            return;
        }
        if marks & TRACKED == 0 {
            return (0..rows).for_each(|id| row(id, 0));
        }
        let marks = &self.row_marks(chunk as u32)[..rows as usize];
        for (first, marks) in (0..rows).step_by(GROUP).zip(marks.chunks(GROUP)) {
            if are_clean(marks) {
                continue;
            }
            for (id, mark) in (first..).zip(marks) {
                let mark = mark.load(Ordering::Relaxed);
                if mark != 0 {
                    row(id, (WHOLE - mark) as usize * size_of::<T>());
                }
            }
        }
    }

    /// Appends the bytes of row `id`, of a mapped chunk, from the byte `from` on to `out`, as [`Self::copy`] does.
    pub(super) fn copy_row(&self, id: u32, from: usize, out: &mut Vec<u8>) {
        let len = self.row_bytes();
        assert!(from <= len && from.is_multiple_of(4) && size_of::<T>().is_multiple_of(4));
        let chunk = (id >> self.shift) as usize;
        assert!(!self.table[chunk].load(Ordering::Acquire).is_null(), "the chunk is mapped");
        // SAFETY: the entry is not null, so the row is in a map.
        let row = unsafe { self.row(id) }.cast::<AtomicU32>();
        // SAFETY: a row is `len` bytes, aligned to four because its elements are a multiple of four; as in `copy`, other threads
        // write it through atomics only, if at all.
        let words = unsafe { std::slice::from_raw_parts(row, len / 4) };
        out.extend(words[from / 4..].iter().flat_map(|w| w.load(Ordering::Relaxed).to_ne_bytes()));
    }

    /// Lets `amend` change the first `len` bytes of a chunk, which may not be mapped yet. No other thread may access the chunk.
    pub(super) fn amend<R>(
        &mut self,
        chunk: usize,
        len: usize,
        amend: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, ArenaError> {
        assert!(len <= self.row_bytes() << self.shift, "bytes of a chunk fit it");
        let first = u32::try_from(chunk << self.shift).unwrap_or(u32::MAX);
        self.ensure(first)?;
        // SAFETY: `ensure` succeeded for the chunk's first row.
        let base = unsafe { self.row(first) }.cast::<u8>();
        // SAFETY: as in `overlay`; `&mut self` keeps all other threads from the chunk.
        let bytes = unsafe { std::slice::from_raw_parts_mut(base, len) };
        *self.marks[chunk].get_mut() |= CHANGED;
        Ok(amend(bytes))
    }

    /// Returns whether a row of the chunk may have changed since it was [cleaned](Self::clean).
    pub(super) fn is_changed(&self, chunk: usize) -> bool {
        self.marks[chunk].load(Ordering::Relaxed) & CHANGED != 0
    }

    /// Returns whether a part of the chunk is a map of a file.
    pub(super) fn is_overlaid(&self, chunk: usize) -> bool {
        self.marks[chunk].load(Ordering::Relaxed) & OVERLAID != 0
    }

    /// Marks the chunk as unchanged.
    pub(super) fn clean(&self, chunk: usize) {
        self.marks[chunk].fetch_and(!CHANGED, Ordering::Relaxed);
    }

    /// Sets the value that must live as long as the files of overlaid chunks are mapped. Returns the previous one.
    pub(super) fn keep(&self, keeper: Keeper) -> Option<Keeper> {
        self.keeper.lock().replace(keeper)
    }

    /// Makes the first `len` bytes of a chunk those of `map`, without reading them if the system can map them
    /// there. If the chunk is in use, they must equal its bytes.
    pub(super) fn overlay(&self, chunk: usize, map: MmapMut, len: usize) -> Result<(), ArenaError> {
        let capacity = self.row_bytes() << self.shift;
        assert!(len <= capacity && len <= map.len(), "bytes of a chunk fit it");
        let first = u32::try_from(chunk << self.shift).unwrap_or(u32::MAX);
        self.ensure(first)?;
        // SAFETY: `ensure` succeeded for the chunk's first row.
        let base = unsafe { self.row(first) }.cast::<u8>();
        // SAFETY: a chunk is `capacity` bytes from its base on (type invariant), whose alignment `T`'s
        // bytes keep. Any bytes are a `T`: columns hold plain numbers, and atomics of such.
        let overlaid = unsafe { overlay(base, capacity, map, len)? };
        if overlaid {
            self.marks[chunk].fetch_or(OVERLAID, Ordering::Relaxed);
        } else {
            self.marks[chunk].fetch_and(!OVERLAID, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Moves the first `len` bytes of a chunk to memory of huge pages, if they are a map of a file and the system can.
    /// No thread may change the chunk meanwhile.
    pub(super) fn promote(&self, chunk: usize, len: usize) -> Result<(), ArenaError> {
        let capacity = self.row_bytes() << self.shift;
        if len > capacity || !self.is_overlaid(chunk) {
            return Ok(());
        }
        // SAFETY: an overlaid chunk is mapped.
        let base = unsafe { self.row((chunk << self.shift) as u32) }.cast::<u8>();
        // SAFETY: as in `overlay`; a caller that holds the index alone keeps other threads from writing.
        if unsafe { promote(base, capacity, len)? } {
            self.marks[chunk].fetch_and(!OVERLAID, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Appends the first `rows` rows of a mapped chunk to `out`. Rows that change meanwhile are copied as any mixture of old and
    /// new.
    pub(super) fn copy(&self, chunk: usize, rows: u32, out: &mut Vec<u8>) {
        assert!(rows <= self.chunk_rows() && size_of::<T>().is_multiple_of(4));
        let bytes = rows as usize * self.row_bytes();
        if bytes == 0 {
            return;
        }
        assert!(!self.table[chunk].load(Ordering::Acquire).is_null(), "the chunk is mapped");
        // SAFETY: the entry is not null, so the chunk's first row is in it.
        let base = unsafe { self.row((chunk << self.shift) as u32) };
        let words = bytes / 8;
        // SAFETY: chunks begin at a page of a map, so they are aligned; `words` words are within the chunk and initialised, and
        // other threads write them through atomics only, if at all.
        let atomics = unsafe { std::slice::from_raw_parts(base.cast::<AtomicU64>(), words) };
        let start = out.len();
        out.resize(start + words * 8, 0);
        for (to, word) in out[start..].as_chunks_mut::<8>().0.iter_mut().zip(atomics) {
            *to = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if !bytes.is_multiple_of(8) {
            // SAFETY: the last four bytes are within the chunk behind `words` of eight; else as above.
            let last = unsafe { &*base.cast::<AtomicU32>().add(words * 2) };
            out.extend(last.load(Ordering::Relaxed).to_ne_bytes());
        }
    }

    /// Notes that every row up to `id` is in use, so that a region that just filled can become a
    /// huge page. Best effort: it changes speed only.
    pub(super) fn filled(&self, id: u32) {
        let row_bytes = self.stride * size_of::<T>();
        let within = (id & ((1 << self.shift) - 1)) as usize;
        let (start, end) = (within * row_bytes, (within + 1) * row_bytes);
        if start / HUGE == end / HUGE || (row_bytes << self.shift) < HUGE {
            return;
        }
        let region = start / HUGE * HUGE..end / HUGE * HUGE;
        // SAFETY: row `id` is in use, so its chunk is mapped.
        let base = unsafe { self.row(id - within as u32) }.cast::<u8>();
        // SAFETY: the region ends at or before the end of row `id`, within the chunk.
        collapse(unsafe { base.add(region.start) }, region.len());
    }

    /// Gives the memory of rows back to the system, if whole pages hold nothing else. Their content is undefined afterwards.
    ///
    /// # Safety
    ///
    /// The rows are in mapped chunks, and no thread reads or writes them meanwhile except through atomics.
    pub(super) unsafe fn release(&self, rows: Range<u32>) {
        let row_bytes = self.row_bytes();
        let mut first = rows.start;
        while first < rows.end {
            let within = (first & (self.chunk_rows() - 1)) as usize;
            let count = (rows.end - first).min(self.chunk_rows() - within as u32);
            // SAFETY: the rows are mapped (caller's contract).
            let base = unsafe { self.row(first - within as u32) }.cast::<u8>();
            // SAFETY: the bytes are those of rows of the chunk that begins at `base`; caller's contract.
            unsafe { discard(base, within * row_bytes..(within + count as usize) * row_bytes) };
            first += count;
        }
    }

    /// Returns the bytes of the chunk table and of all memory besides rows.
    pub(super) fn overhead(&self) -> usize {
        self.maps.lock().len() * size_of::<AtomicPtr<T>>()
    }
}

impl<T> std::fmt::Debug for Chunks<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks")
            .field("rows_per_chunk", &(1_u64 << self.shift))
            .field("stride", &self.stride)
            .field("chunks", &self.maps.lock().len())
            .finish_non_exhaustive()
    }
}

/// Number of row marks that are read together.
const GROUP: usize = 64;

/// Returns whether none of the rows is marked. No thread may mark them meanwhile.
fn are_clean(marks: &[AtomicU8]) -> bool {
    // SAFETY: bytes that no thread writes meanwhile may be read as words, if these are aligned.
    let (before, words, behind) = unsafe { marks.align_to::<AtomicU64>() };
    let is_clean = |mark: &AtomicU8| mark.load(Ordering::Relaxed) == 0;
    before.iter().chain(behind).all(is_clean)
        && words.iter().fold(0, |all, word| all | word.load(Ordering::Relaxed)) == 0
}

/// Asks the kernel for huge pages in `len` bytes at `start`, both multiples of [`HUGE`] and mapped.
#[cfg(all(target_os = "linux", not(miri)))]
fn collapse(start: *mut u8, len: usize) {
    const MADV_COLLAPSE: libc::c_int = 25; // Linux 6.1; not in every libc's headers
    // SAFETY: both calls change the backing of the pages, not their content.
    unsafe {
        libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE);
        libc::madvise(start.cast(), len, MADV_COLLAPSE);
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn collapse(_start: *mut u8, _len: usize) {}
