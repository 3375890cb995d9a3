//! Putting a private map of a file over a part of a chunk.
//!
//! A chunk's address never changes, so the map moves to the chunk: the kernel exchanges the pages
//! behind the addresses in one step, and a thread that reads at the same time sees the old page or the new one. If the
//! system cannot do this (other systems, maps that do not begin at a page), the bytes are copied.
#![expect(unsafe_code, reason = "maps are moved by address")]

use std::ops::Range;

use super::ArenaError;
use crate::mmap::MmapMut;

/// Below this size, copying costs less than the page faults of a map.
#[cfg(all(target_os = "linux", not(miri)))]
const LEAST: usize = 64 << 10;

/// Makes the `len` bytes at `base` those of `map`, and the rest of their last page zero. Returns whether a map is there now.
///
/// # Safety
///
/// `capacity` bytes at `base` are mapped for reading and writing, by a map that stays in its place until no thread uses
/// the addresses; `len` is at most `capacity` and at most the length of `map`. Other threads read the bytes meanwhile
/// only if they equal those of `map`, and no thread writes them.
pub(super) unsafe fn overlay(
    base: *mut u8,
    capacity: usize,
    map: MmapMut,
    len: usize,
) -> Result<bool, ArenaError> {
    debug_assert!(len <= capacity && len <= map.len());
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        let page = page_size();
        let whole = len.next_multiple_of(page);
        let from = map.as_ptr();
        if len >= LEAST
            && whole <= capacity
            && (base as usize).is_multiple_of(page)
            && (from as usize).is_multiple_of(page)
        {
            // SAFETY: the caller's contract; both addresses begin pages, and `whole` covers the pages of `map`
            // that hold its first `len` bytes.
            return unsafe { exchange(base, map, len, whole) };
        }
    }
    // SAFETY: both are at least `len` bytes long (caller's contract), and two maps do not overlap.
    unsafe { base.copy_from_nonoverlapping(map.as_ptr(), len) };
    Ok(false)
}

#[cfg(all(target_os = "linux", not(miri)))]
fn page_size() -> usize {
    // SAFETY: the call returns a number and changes nothing.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(64 << 10)
}

/// Makes the `len` bytes at `base`, which may be a map of a file, memory of huge pages with the same content. Returns whether they are
/// huge pages now: not if `base` does not begin a huge page, or on other systems.
///
/// # Safety
///
/// As for [`overlay`]: `capacity` bytes at `base` are mapped, other threads may read them meanwhile, and no thread writes them.
pub(super) unsafe fn promote(
    base: *mut u8,
    capacity: usize,
    len: usize,
) -> Result<bool, ArenaError> {
    debug_assert!(len <= capacity && !base.is_null());
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        let page = page_size();
        let whole = len.next_multiple_of(page);
        if whole <= capacity && whole >= HUGE / 2 && (base as usize).is_multiple_of(HUGE) {
            let refused = ArenaError::OutOfMemory { bytes: whole };
            let mapped = whole + HUGE;
            // SAFETY: asks for pages at an address that the system chooses.
            let start = unsafe { anonymous(std::ptr::null_mut(), mapped, 0) }.ok_or(refused)?;
            let before = start.align_offset(HUGE);
            // SAFETY: the offset is below `HUGE`, by which the map is longer than `whole`.
            let from = unsafe { start.add(before) };
            // SAFETY: no other thread has these pages; the advice may be refused.
            unsafe { libc::madvise(from.cast(), whole, libc::MADV_HUGEPAGE) };
            // SAFETY: both are `len` bytes long at least, and two maps do not overlap.
            unsafe { from.copy_from_nonoverlapping(base, len) };
            // SAFETY: the pages before and behind were mapped above, and no other thread has their address.
            unsafe {
                libc::munmap(start.cast(), before);
                libc::munmap(from.add(whole).cast(), mapped - before - whole);
            }
            // SAFETY: the caller's contract for `base`; `from` begins `whole` bytes that no other thread has.
            let moved = unsafe { put_in_place(from, base, len, whole)? };
            if !moved {
                // SAFETY: the pages were copied instead of moved, so no other thread has them.
                unsafe { libc::munmap(from.cast(), whole) };
            }
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives the pages that are wholly in `bytes` from `base` on back to the system: the next write to one gets
/// a fresh page. Does nothing if the system cannot.
///
/// # Safety
///
/// The bytes are mapped, no thread reads or writes them meanwhile except through atomics, and their content may be lost
/// afterwards.
pub(super) unsafe fn discard(base: *mut u8, bytes: Range<usize>) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        let page = page_size();
        // Chunks that are smaller than a huge page begin at any address.
        let before = base.align_offset(page);
        let start = before + bytes.start.saturating_sub(before).next_multiple_of(page);
        let end = before + bytes.end.saturating_sub(before) / page * page;
        if start < end {
            // SAFETY: `before <= start < end <= bytes.end`, and the content of the pages is not needed.
            unsafe { libc::madvise(base.add(start).cast(), end - start, libc::MADV_DONTNEED) };
        }
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (base, bytes);
}

#[cfg(all(target_os = "linux", not(miri)))]
const HUGE: usize = 2 << 20;

/// Maps fresh zeroed pages, at `at` if the flags say so.
///
/// # Safety
///
/// With `MAP_FIXED`, the pages at `at` may be replaced.
#[cfg(all(target_os = "linux", not(miri)))]
unsafe fn anonymous(at: *mut u8, len: usize, flags: libc::c_int) -> Option<*mut u8> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the caller's contract.
    let map =
        unsafe { libc::mmap(at.cast(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    (map != libc::MAP_FAILED).then_some(map.cast())
}

/// Moves the `whole` bytes of pages at `from` to `base`. Returns `false` if they could only be copied there.
///
/// # Safety
///
/// Both begin mapped pages. The pages at `base` may be replaced. Only the caller has the pages at `from`; their first
/// `len` bytes must equal those at `base` if another thread reads these.
#[cfg(all(target_os = "linux", not(miri)))]
unsafe fn put_in_place(
    from: *mut u8,
    base: *mut u8,
    len: usize,
    whole: usize,
) -> Result<bool, ArenaError> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the caller's contract. Replaced pages keep their owner: they are unmapped with the rest of the chunk.
    let moved =
        unsafe { libc::mremap(from.cast(), whole, whole, flags, base.cast::<libc::c_void>()) };
    if moved.cast() == base {
        return Ok(true);
    }
    // The system refused, perhaps with the target unmapped already: map memory there, and copy the bytes into it.
    // SAFETY: the pages at `base` may be replaced.
    let fresh = unsafe { anonymous(base, whole, libc::MAP_FIXED) };
    if fresh != Some(base) {
        return Err(ArenaError::OutOfMemory { bytes: whole });
    }
    // SAFETY: `whole` writable bytes are at `base` now, and `len` readable ones at `from`, which were not moved.
    unsafe { base.copy_from_nonoverlapping(from, len) };
    Ok(false)
}

/// # Safety
///
/// As for [`overlay`]; `base` and `map` begin pages, and `whole` is `len` rounded up to pages and not beyond the
/// capacity.
#[cfg(all(target_os = "linux", not(miri)))]
unsafe fn exchange(
    base: *mut u8,
    map: MmapMut,
    len: usize,
    whole: usize,
) -> Result<bool, ArenaError> {
    use std::mem::ManuallyDrop;

    let mapped = map.len();
    let mut map = ManuallyDrop::new(map);
    let from = map.as_mut_ptr();
    // SAFETY: the caller's contract; `from` begins a map that only this function has and that is as long as `whole`.
    let moved = unsafe { put_in_place(from, base, len, whole) };
    if moved != Ok(true) {
        drop(ManuallyDrop::into_inner(map));
        return moved;
    }
    let rest = mapped.next_multiple_of(page_size()) - whole;
    if rest > 0 {
        // SAFETY: these pages of `map` were not moved, and no thread has their address.
        unsafe { libc::munmap(from.add(whole).cast(), rest) };
    }
    // SAFETY: the last page is private and was moved whole; no row in use is behind `len`.
    unsafe { base.add(len).write_bytes(0, whole - len) };
    Ok(true)
}
