//! Mapped regions and the table of segments that makes them one growing array.
//!
//! The file is mapped in segments that double: the first covers `unit` bytes, segment `k` covers
//! `[unit << (k - 1), unit << k)`. A segment is mapped once, whole, when it is first needed, possibly
//! beyond the end of the file; nothing is ever mapped again, so no address moves under a reader.

#![expect(unsafe_code, reason = "views of mapped memory")]

use std::cell::UnsafeCell;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytemuck::{Pod, Zeroable};
use memmap2::MmapRaw;

use super::Storage;
use crate::mmap::MmapMut;
use crate::store::error::StoreError;

/// A cache line: the unit of alignment of everything in memory.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

/// Memory that stays where it is, is written through [`Chunk::write`] and seen through [`Region`]s.
pub(crate) struct Chunk {
    lines: Box<[UnsafeCell<Line>]>,
}

// SAFETY: bytes are reached through raw pointers only (`read`, `write`, `Region`); no reader reads bytes that are being written,
// because the store's protocol writes only to runs that no pin can see.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// Returns `len` zero bytes, rounded up to lines. Returns `None` if the memory cannot be had.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let lines = bytemuck::allocation::try_zeroed_vec(len.div_ceil(64)).ok()?.into_boxed_slice();
        let raw: *mut [Line] = Box::into_raw(lines);
        // SAFETY: `UnsafeCell<Line>` has the layout of `Line`, and the box is given up by `into_raw`.
        let lines = unsafe { Box::from_raw(raw as *mut [UnsafeCell<Line>]) };
        Some(Self { lines })
    }

    fn base(&self) -> *mut u8 {
        UnsafeCell::raw_get(self.lines.as_ptr()).cast()
    }

    fn len(&self) -> usize {
        self.lines.len() * 64
    }

    /// Copies `bytes` to `offset`.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.len() && bytes.len() <= self.len() - offset);
        // SAFETY: the range lies in the allocation (asserted above); the caller holds the storage's
        // lock against other writers, and the protocol keeps readers off these bytes.
        unsafe { self.base().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Copies from `offset` to `out`.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) {
        assert!(offset <= self.len() && out.len() <= self.len() - offset);
        // SAFETY: as in `write`.
        unsafe { self.base().add(offset).copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) }
    }
}

/// Maps a piece of a file that no program changes. Changes of the map stay in it.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn map_private(file: &File, offset: u64, len: usize) -> io::Result<MmapMut> {
    // SAFETY: the piece is an extent under a pin, which the store does not write to, and the map is dropped
    // before the pin; other programs are kept out by the module's terms.
    unsafe { memmap2::MmapOptions::new().offset(offset).len(len).map_copy(file) }
}

#[cfg(target_family = "wasm")]
pub(crate) fn map_private(_: &File, _: u64, _: usize) -> io::Result<MmapMut> {
    Err(io::ErrorKind::Unsupported.into())
}

enum Backing {
    File(MmapRaw),
    Memory(Arc<Chunk>),
}

/// A mapped range: its address stays valid for the lifetime of the region.
pub(crate) struct Region {
    backing: Backing,
}

impl Region {
    pub(crate) fn file(map: MmapRaw) -> Self {
        Self { backing: Backing::File(map) }
    }

    pub(crate) fn memory(chunk: Arc<Chunk>) -> Self {
        Self { backing: Backing::Memory(chunk) }
    }

    fn base(&self) -> *const u8 {
        match &self.backing {
            Backing::File(map) => map.as_ptr(),
            Backing::Memory(chunk) => chunk.base(),
        }
    }

    fn len(&self) -> usize {
        match &self.backing {
            Backing::File(map) => map.len(),
            Backing::Memory(chunk) => chunk.len(),
        }
    }
}

/// Doublings of the first segment that are provided for: 2^25 GiB with a unit of 1 GiB.
const SEGMENTS: usize = 26;

/// A growing read-only view of a storage.
pub(crate) struct Segments {
    unit: u64,
    regions: [OnceLock<Region>; SEGMENTS],
    /// Bytes that the storage is known to hold: nothing beyond is ever touched.
    len: AtomicU64,
}

impl Segments {
    pub(crate) fn new(unit: u64) -> Self {
        debug_assert!(unit.is_power_of_two());
        Self { unit, regions: [const { OnceLock::new() }; SEGMENTS], len: AtomicU64::new(0) }
    }

    /// Returns number, first byte and length of the segment that holds `offset`.
    fn segment_of(&self, offset: u64) -> (usize, u64, u64) {
        let units = offset >> self.unit.trailing_zeros();
        if units == 0 {
            return (0, 0, self.unit);
        }
        let k = 64 - units.leading_zeros();
        let start = self.unit << (k - 1);
        (k as usize, start, start)
    }

    /// Returns the first byte after the segment that holds `offset`: no run may extend across it.
    pub(crate) fn segment_end(&self, offset: u64) -> u64 {
        let (_, start, len) = self.segment_of(offset);
        start + len
    }

    /// Makes the first `len` bytes visible; the storage must hold them.
    pub(crate) fn grow(&self, storage: &dyn Storage, len: u64) -> Result<(), StoreError> {
        let mut offset = 0;
        while offset < len {
            let (k, start, bytes) = self.segment_of(offset);
            let slot = self.regions.get(k).ok_or(StoreError::TooLarge { bytes: len })?;
            if slot.get().is_none() {
                let size = usize::try_from(bytes).map_err(|_| StoreError::TooLarge { bytes })?;
                let region = storage.map(start, size).map_err(StoreError::io("map the file"))?;
                // A second mapping made by another thread meanwhile is dropped unused.
                let _ = slot.set(region);
            }
            offset = start + bytes;
        }
        self.len.fetch_max(len, Ordering::AcqRel);
        Ok(())
    }

    /// Forgets the bytes from `len` on, before the storage is cut there.
    pub(crate) fn shrink(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// Returns the bytes `[offset, offset + len)`. Returns `None` if they are not in one segment of the storage.
    ///
    /// The content is that of the file at this place: unverified, and stable only until the store's protocol reuses the run;
    /// [`crate::store::pages::Pin`] prevents that.
    #[inline]
    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len as u64)?;
        if end > self.len.load(Ordering::Acquire) {
            return None;
        }
        let (k, start, _) = self.segment_of(offset);
        let region = self.regions.get(k)?.get()?;
        let inner = (offset - start) as usize;
        if inner > region.len() || len > region.len() - inner {
            return None;
        }
        debug_assert!(inner + len <= region.len());
        // SAFETY: the range lies in the region (checked above) and in the file (checked against `len`).
        // A region is never taken out of `regions`, so it lives as long as `self`. The writer writes
        // only to runs that no pin can reach (`frames`), so these bytes do not change.
        Some(unsafe { std::slice::from_raw_parts(region.base().add(inner), len) })
    }
}
