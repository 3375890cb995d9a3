//! Putting a private map of a file over a part of a chunk.
//!
//! A chunk's address never changes, so the map moves to the chunk: the kernel exchanges the pages
//! behind the addresses in one step, and who reads at the same time sees the old page or the new one. Where that
//! cannot be had (other systems, maps that do not begin at a page) the bytes are copied.
#![expect(unsafe_code, reason = "maps are moved by address")]

use memmap2::MmapMut;

use super::ArenaError;

/// Below this, copying costs less than the page faults of a map.
#[cfg(all(target_os = "linux", not(miri)))]
const LEAST: usize = 64 << 10;

/// Makes the `len` bytes at `base` those of `map`, and the rest of their last page zero. Whether a map is there now.
///
/// # Safety
///
/// `capacity` bytes at `base` are mapped for reading and writing, by a map that stays in its place until nobody uses
/// the addresses; `len` is at most `capacity` and at most the length of `map`. Others may read the bytes meanwhile
/// only if they are the same as those of `map`, and nobody may write them.
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
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(64 << 10)
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
    // SAFETY: `from` begins a map that is ours and as long as `whole`; `base` begins one of which `whole` bytes may be
    // replaced, which keeps its owner: it is unmapped with the rest of the chunk.
    let moved = unsafe {
        libc::mremap(
            from.cast(),
            whole,
            whole,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            base.cast::<libc::c_void>(),
        )
    };
    if moved.cast() == base {
        let rest = mapped.next_multiple_of(page_size()) - whole;
        if rest > 0 {
            // SAFETY: these pages of `map` were not moved, and nobody has their address.
            unsafe { libc::munmap(from.add(whole).cast(), rest) };
        }
        // SAFETY: the last page is private and was moved whole; no row in use lies behind `len`.
        unsafe { base.add(len).write_bytes(0, whole - len) };
        return Ok(true);
    }
    // Refused, perhaps with the target unmapped already: memory goes there, and the bytes into it.
    // SAFETY: replaces pages of the chunk by fresh ones of the same address.
    let fresh = unsafe {
        libc::mmap(
            base.cast(),
            whole,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    let map = ManuallyDrop::into_inner(map);
    if fresh.cast() != base {
        return Err(ArenaError::OutOfMemory { bytes: whole });
    }
    // SAFETY: `whole` writable bytes are at `base` now, and `len` readable ones in `map`, which was not moved.
    unsafe { base.copy_from_nonoverlapping(map.as_ptr(), len) };
    Ok(false)
}
