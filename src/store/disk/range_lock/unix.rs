//! Open-file-description locks of Linux and Darwin.
#![expect(unsafe_code, reason = "fcntl takes a pointer to the lock")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::Mode;

/// Returns the description of a lock for `fcntl`.
fn describe(kind: libc::c_short, range: &Range<u64>) -> io::Result<libc::flock> {
    let offset = |at: u64| libc::off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput);
    // SAFETY: all fields are integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = offset(range.start)?;
    lock.l_len = offset(range.end - range.start)?;
    // Locks that belong to an open file require the process number 0.
    lock.l_pid = 0;
    Ok(lock)
}

fn call(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for as long as `file`, and the commands of this file read and write one `flock`.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

pub(super) fn try_lock(file: &File, range: &Range<u64>, mode: Mode) -> io::Result<bool> {
    let kind = match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    };
    match call(file, libc::F_OFD_SETLK, &mut describe(kind as libc::c_short, range)?) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn unlock(file: &File, range: &Range<u64>) -> io::Result<()> {
    call(file, libc::F_OFD_SETLK, &mut describe(libc::F_UNLCK as libc::c_short, range)?)
}

pub(super) fn find_locked(file: &File, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
    let mut lock = describe(libc::F_WRLCK as libc::c_short, range)?;
    call(file, libc::F_OFD_GETLK, &mut lock)?;
    if lock.l_type == libc::F_UNLCK as libc::c_short {
        return Ok(None);
    }
    let start = lock.l_start as u64;
    // A length of 0 reaches to the end of all files.
    let end = if lock.l_len == 0 { u64::MAX } else { start.saturating_add(lock.l_len as u64) };
    Ok(Some(start..end))
}
