//! The pages of a reader: the page in memory that a commit left, or the page of the map.
//!
//! The table has one entry per page: a pointer to the page in memory (null: read the map), and the checksum with which the map's page
//! was last found to agree (0: not verified yet). Comparing it with the checksum of the parent makes verification cost one comparison
//! after the first touch, and stays right when a page is reused, even by another process.
//!
//! Reclamation: a [`Pin`] holds the number of the transaction that was newest when it was made,
//! `p`. An entry holds the transaction that made its buffer, `b`, and a pin does not read a buffer with `b > p`: sound pages lead to
//! none, but a forged file might. When the writer unlinks
//! a buffer, pins up to the published state may have found it, and pins made later cannot. So the
//! buffer is freed when no pin is left from `b` up to that state. Pages are reused by a like rule
//! (`writer.rs`).
//!
//! The writer's own pins ([`Frames::writer_pin`]) see buffers that are not published yet. Only the writer unlinks and frees, and it
//! does neither while it reads a buffer.

#![expect(unsafe_code, reason = "page views that outlive the table's lock")]

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytemuck::Zeroable;
use parking_lot::Mutex;

use super::waiting::{Held, Life, Waiting};
use crate::store::disk::Segments;
use crate::store::error::StoreError;
use crate::store::format::{PageBuf, PageMap, PageNo, Source, State, checksum};

#[derive(Zeroable)]
#[repr(C)]
struct Entry {
    buffer: AtomicPtr<PageBuf>,
    verified: AtomicU64,
    /// The transaction that made the buffer.
    born: AtomicU64,
}

/// Entries in the first part of the table; the following ones double the whole.
const FIRST: u64 = 1 << 8;
const PARTS: usize = 48;

/// Pages whose buffers are kept for reuse: those of a commit or two.
const SPARE: usize = 8;

/// A buffer that is unlinked from the table but may still be read. Dropping this frees it. Until then it is no box, because a box would
/// claim to be the only reference.
struct Unlinked(NonNull<PageBuf>);

// SAFETY: it owns a `PageBuf`, which may go to other threads.
unsafe impl Send for Unlinked {}

impl Unlinked {
    /// Returns the buffer, which nothing else can read any more.
    fn into_buffer(self) -> PageBuf {
        let this = ManuallyDrop::new(self);
        // SAFETY: as in `drop`, which does not run.
        *unsafe { Box::from_raw(this.0.as_ptr()) }
    }

    fn len(&self) -> usize {
        // SAFETY: the buffer lives until `drop`, and no thread writes to it once it was installed.
        unsafe { self.0.as_ref() }.len()
    }
}

impl Drop for Unlinked {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from `Box::into_raw` in `install`, and the swap that made this one took it out
        // of the table. `reclaim` drops it when no pin can lead to it, and the end of the table drops it when no pin is left.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

struct Registry {
    /// The state of a new reader.
    published: State,
    /// Number of pins by transaction.
    pins: BTreeMap<u64, usize>,
    retired: Waiting<Unlinked>,
    /// Bytes of the buffers in the table, by first page.
    resident: PageMap<usize>,
    /// Freed buffers of one page. A commit copies the pages that it changes, and frees a like number of earlier copies.
    spare: Vec<PageBuf>,
}

/// The pages of one store, shared by its readers and its writer.
pub(crate) struct Frames {
    pub(crate) page_size: usize,
    pub(crate) segments: Segments,
    /// The file, for errors.
    path: Option<PathBuf>,
    parts: [OnceLock<Box<[Entry]>>; PARTS],
    registry: Mutex<Registry>,
}

/// Returns part and index of a page's entry. The function has no branch, because the processor cannot predict the part of a page, and a
/// wrong prediction would stall it.
#[inline]
fn place_of(page: PageNo) -> (usize, usize) {
    let k = 64 - (page / FIRST).leading_zeros();
    (k as usize, (page - part_start(k)) as usize)
}

#[inline]
fn part_start(k: u32) -> PageNo {
    ((1_u64 << k) >> 1) * FIRST
}

impl Frames {
    pub(crate) fn new(page_size: usize, segments: Segments, published: State) -> Self {
        let registry = Registry {
            published,
            pins: BTreeMap::new(),
            retired: Waiting::default(),
            resident: PageMap::default(),
            spare: Vec::new(),
        };
        Self {
            page_size,
            segments,
            path: None,
            parts: [const { OnceLock::new() }; PARTS],
            registry: Mutex::new(registry),
        }
    }

    /// Sets the path of the file, for errors.
    pub(crate) fn of(mut self, path: Option<&Path>) -> Self {
        self.path = path.map(Path::to_path_buf);
        self
    }

    /// Returns the path of the file, for errors. Returns `None` in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    #[inline]
    fn entry(&self, page: PageNo) -> Option<&Entry> {
        let (part, index) = place_of(page);
        self.parts.get(part)?.get()?.get(index)
    }

    /// Returns bytes of the map, not verified. Returns `None` beyond the end of the file.
    #[inline]
    fn bytes(&self, page: PageNo, len: usize) -> Option<&[u8]> {
        self.segments.bytes(page.checked_mul(self.page_size as u64)?, len)
    }

    fn entry_or_make(&self, page: PageNo) -> Result<&Entry, StoreError> {
        let (part, index) = place_of(page);
        let len = part_start(part as u32).max(FIRST) as usize;
        let too_large = StoreError::TooLarge { bytes: len as u64 * size_of::<Entry>() as u64 };
        let Some(slot) = self.parts.get(part) else { return Err(too_large) };
        if slot.get().is_none() {
            let Ok(entries) = bytemuck::allocation::try_zeroed_vec(len) else {
                return Err(too_large);
            };
            // If another thread was faster, its part is used.
            let _ = slot.set(entries.into_boxed_slice());
        }
        slot.get().and_then(|part| part.get(index)).ok_or(too_large)
    }

    /// Returns a view of the newest published state.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        let mut registry = self.registry.lock();
        let state = registry.published;
        *registry.pins.entry(state.transaction).or_insert(0) += 1;
        Pin { frames: Arc::clone(self), state, sees: state.transaction }
    }

    /// Returns a view for the writer, which alone may have it: it also sees buffers that are not published yet.
    pub(crate) fn writer_pin(self: &Arc<Self>) -> Pin {
        let mut pin = self.pin();
        pin.sees = u64::MAX;
        pin
    }

    /// Publishes `state` to later readers, unless a newer one is published already.
    pub(crate) fn publish(&self, state: State) {
        let mut registry = self.registry.lock();
        if state.transaction >= registry.published.transaction {
            registry.published = state;
        }
    }

    /// Returns a copy of a page. The copy takes a spare buffer if one is left.
    ///
    /// # Errors
    ///
    /// As [`PageBuf::zeroed`].
    pub(crate) fn copy_page(&self, page: &[u8]) -> Result<PageBuf, StoreError> {
        debug_assert_eq!(page.len(), self.page_size);
        let spare = self.registry.lock().spare.pop();
        let Some(mut copy) = spare else { return PageBuf::copy_of(page) };
        copy.copy_from_slice(page);
        Ok(copy)
    }

    /// Puts a page, or a run by its first page, into memory; `born` is the transaction that made
    /// it.
    pub(crate) fn install(
        &self,
        page: PageNo,
        buffer: PageBuf,
        born: u64,
    ) -> Result<(), StoreError> {
        let entry = self.entry_or_make(page)?;
        let mut registry = self.registry.lock();
        registry.resident.insert(page, buffer.len());
        let new = Box::into_raw(Box::new(buffer));
        // The number is stored before the pointer: a pin that finds the pointer finds this number or a later one.
        entry.born.store(born, Ordering::Release);
        let old = entry.buffer.swap(new, Ordering::AcqRel);
        debug_assert!(old.is_null(), "page {page} is in memory already");
        Self::retire_raw(&mut registry, old, 0);
        Ok(())
    }

    /// Takes a page out of memory; its buffer lives until no pin is left that may have found it.
    pub(crate) fn retire(&self, page: PageNo) {
        let Some(entry) = self.entry(page) else { return };
        let mut registry = self.registry.lock();
        if registry.resident.remove(&page).is_some() {
            entry.verified.store(0, Ordering::Relaxed);
            let old = entry.buffer.swap(ptr::null_mut(), Ordering::AcqRel);
            Self::retire_raw(&mut registry, old, entry.born.load(Ordering::Relaxed));
        }
    }

    fn retire_raw(registry: &mut Registry, old: *mut PageBuf, born: u64) {
        if let Some(old) = NonNull::new(old) {
            let ended = registry.published.transaction + 1;
            registry.retired.push(Life { born, ended }, Unlinked(old));
        }
    }

    /// Frees the buffers that no pin can have found. Returns the pinned states, in the memory of `pinned`, and the published one.
    pub(crate) fn reclaim(&self, mut pinned: Vec<u64>) -> (Held, u64) {
        let mut free = Vec::new();
        let mut registry = self.registry.lock();
        pinned.clear();
        pinned.extend(registry.pins.keys());
        let published = registry.published.transaction;
        let held = Held::new(pinned);
        registry.retired.release(&held, u64::MAX, |buffer| free.push(buffer));
        let room = SPARE.saturating_sub(registry.spare.len());
        let pages = free.extract_if(.., |buffer| buffer.len() == self.page_size).take(room);
        registry.spare.extend(pages.map(Unlinked::into_buffer));
        drop(registry);
        (held, published)
    }

    /// Returns the pinned states, ascending.
    pub(crate) fn pinned(&self) -> Vec<u64> {
        self.registry.lock().pins.keys().copied().collect()
    }

    /// Returns the pinned states, ascending, with the number of pins of each.
    pub(crate) fn pins(&self) -> Vec<(u64, usize)> {
        self.registry.lock().pins.iter().map(|(&state, &count)| (state, count)).collect()
    }

    /// Returns the number of pins.
    pub(crate) fn readers(&self) -> usize {
        self.registry.lock().pins.values().sum()
    }

    /// Returns the bytes of pages that are in memory: live, waiting to be freed, and spare.
    pub(crate) fn resident_bytes(&self) -> usize {
        let registry = self.registry.lock();
        registry.resident.values().sum::<usize>()
            + registry.retired.iter().map(|(_, buffer)| buffer.len()).sum::<usize>()
            + registry.spare.iter().map(|buffer| buffer.len()).sum::<usize>()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let pages: Vec<PageNo> = self.registry.get_mut().resident.keys().copied().collect();
        for page in pages {
            self.retire(page);
        }
    }
}

/// Keeps a state of the store: while the pin exists, the pages of the state do not change.
pub(crate) struct Pin {
    frames: Arc<Frames>,
    pub(crate) state: State,
    /// The last transaction whose buffers the pin reads.
    sees: u64,
}

impl Pin {
    pub(crate) fn page_size(&self) -> usize {
        self.frames.page_size
    }

    /// Returns the path of the file, for errors. Returns `None` in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.frames.path()
    }

    /// Returns the buffer of a run that is in memory.
    #[inline]
    pub(crate) fn buffer(&self, page: PageNo) -> Option<&PageBuf> {
        buffer_of(self, self.frames.entry(page)?)
    }

    /// Returns the first `len` bytes of the run at `page`, which agree with `expected`.
    #[inline]
    pub(crate) fn run(&self, page: PageNo, len: usize, expected: u64) -> Result<&[u8], StoreError> {
        if let Some(entry) = self.frames.entry(page) {
            let bytes = match buffer_of(self, entry) {
                Some(buffer) => buffer.get(..len),
                None if entry.verified.load(Ordering::Acquire) == expected => {
                    self.frames.bytes(page, len)
                }
                None => None,
            };
            if let Some(bytes) = bytes {
                return Ok(bytes);
            }
        }
        self.first_touch(page, len, expected)
    }

    /// Returns bytes of the map, not verified.
    pub(crate) fn mapped(&self, page: PageNo, len: usize) -> Result<&[u8], StoreError> {
        self.frames
            .bytes(page, len)
            .ok_or_else(|| StoreError::corrupt(page, "it lies beyond the end of the file"))
    }

    #[cold]
    fn first_touch(&self, page: PageNo, len: usize, expected: u64) -> Result<&[u8], StoreError> {
        if self.buffer(page).is_some() {
            return Err(StoreError::corrupt(page, "it is shorter than its parent says"));
        }
        if expected == 0 {
            // The parent is still in memory, and so was the page when the parent was written: a checkpoint of this process has moved
            // the page to the file since. `check` verifies that no page in a file has such a parent.
            return self.mapped(page, len);
        }
        self.verify(page, len, expected)
    }

    fn verify(&self, page: PageNo, len: usize, expected: u64) -> Result<&[u8], StoreError> {
        let bytes = self.mapped(page, len)?;
        if checksum(bytes) != expected {
            return Err(StoreError::corrupt(page, "its checksum is not the one in its parent"));
        }
        self.frames.entry_or_make(page)?.verified.store(expected, Ordering::Release);
        Ok(bytes)
    }
}

impl<'p> Source<'p> for &'p Pin {
    #[inline]
    fn page_size(self) -> usize {
        self.page_size()
    }

    #[inline]
    fn run(self, page: PageNo, len: usize, checksum: u64) -> Result<&'p [u8], StoreError> {
        self.run(page, len, checksum)
    }

    fn in_memory(self, page: PageNo) -> Option<&'p [u8]> {
        self.buffer(page).map(|buffer| &**buffer)
    }

    fn mapped(self, page: PageNo, len: usize) -> Result<&'p [u8], StoreError> {
        self.mapped(page, len)
    }
}

/// Returns the buffer of an entry. The pin keeps it in memory.
#[inline]
fn buffer_of<'p>(pin: &'p Pin, entry: &'p Entry) -> Option<&'p PageBuf> {
    let buffer = entry.buffer.load(Ordering::Acquire);
    if buffer.is_null() || entry.born.load(Ordering::Acquire) > pin.sees {
        return None;
    }
    // SAFETY: a pointer found in the table was installed whole (release in `install`, acquire here)
    // and is not written through any more. Its number was stored before it, and numbers of an entry
    // only grow, so `born` of this buffer is at most the number found: at most `pin.sees`.
    // `reclaim` frees it when no pin is left between `born` and the state that was published when
    // it was unlinked. This pin was made before it was unlinked, or the load had found null, so it
    // is one of these. A pin of the writer may be older than `born`; the writer frees no buffer
    // while it has a reference to one, as `reclaim` needs it.
    unsafe { buffer.as_ref() }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut registry = self.frames.registry.lock();
        if let Some(count) = registry.pins.get_mut(&self.state.transaction) {
            *count -= 1;
            if *count == 0 {
                registry.pins.remove(&self.state.transaction);
            }
        }
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin").field("transaction", &self.state.transaction).finish_non_exhaustive()
    }
}
