//! Range locks of Windows, which belong to the handle that took them.
#![expect(unsafe_code, reason = "calls of the system with a handle")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION};
use windows_sys::Win32::Storage::FileSystem::{
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::Mode;

/// Returns the start of a range as the calls take it, and its length in two halves.
fn describe(range: &Range<u64>) -> (OVERLAPPED, u32, u32) {
    // SAFETY: the fields are integers, a union of an offset and a pointer, and an event handle that may be null.
    let mut at: OVERLAPPED = unsafe { std::mem::zeroed() };
    at.Anonymous.Anonymous.Offset = range.start as u32;
    at.Anonymous.Anonymous.OffsetHigh = (range.start >> 32) as u32;
    let len = range.end - range.start;
    (at, len as u32, (len >> 32) as u32)
}

pub(super) fn try_lock(file: &File, range: &Range<u64>, mode: Mode) -> io::Result<bool> {
    let (mut at, low, high) = describe(range);
    let mut flags = LOCKFILE_FAIL_IMMEDIATELY;
    if mode == Mode::Exclusive {
        flags |= LOCKFILE_EXCLUSIVE_LOCK;
    }
    // SAFETY: the handle is open for as long as `file`, and the call fails at once instead of keeping the pointer.
    if unsafe { LockFileEx(file.as_raw_handle(), flags, 0, low, high, &mut at) } != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    let held = [ERROR_LOCK_VIOLATION, ERROR_IO_PENDING].map(|code| code as i32);
    match error.raw_os_error() {
        Some(code) if held.contains(&code) => Ok(false),
        _ => Err(error),
    }
}

pub(super) fn unlock(file: &File, range: &Range<u64>) -> io::Result<()> {
    let (mut at, low, high) = describe(range);
    // SAFETY: as above.
    match unsafe { UnlockFileEx(file.as_raw_handle(), 0, low, high, &mut at) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Tests ranges by locking them, because the system does not list locks. A range that cannot be locked is halved until one byte is
/// left.
pub(super) fn find_locked(file: &File, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
    let is_free = |range: &Range<u64>| -> io::Result<bool> {
        let locked = try_lock(file, range, Mode::Exclusive)?;
        if locked {
            unlock(file, range)?;
        }
        Ok(locked)
    };
    if is_free(range)? {
        return Ok(None);
    }
    let mut left = range.clone();
    while left.end - left.start > 1 {
        let middle = left.start + (left.end - left.start) / 2;
        let lower = left.start..middle;
        left = if is_free(&lower)? { middle..left.end } else { lower };
    }
    Ok(Some(left))
}
