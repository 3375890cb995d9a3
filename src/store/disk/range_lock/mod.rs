//! Locks on ranges of bytes of an open file, which end with the last descriptor of that opening.
//!
//! The locks belong to the inode and to the *opening* of the file (the open file description), not to a name, a user or
//! a process. So links, renames, folders, namespaces and process numbers have no influence, two openings in one process exclude
//! each other, and closing another descriptor of the same file releases nothing.
//!
//! | system | locks | shared lock needs | a range is tested by |
//! |---|---|---|---|
//! | Linux, Android | `F_OFD_SETLK`, Linux 3.15 | a file open for reading | `F_OFD_GETLK` |
//! | macOS, iOS | `F_OFD_SETLK` | a file open for reading | `F_OFD_GETLK` |
//! | Windows | `LockFileEx` | a file open for reading | trial locks, by bisection |
//! | others | none: every call answers [`Unsupported`](io::ErrorKind::Unsupported) | | |
//!
//! On Unix a lock is advice among programs that use locks. On Windows it also keeps others from reading and writing the locked bytes,
//! which are far behind the end of the file.

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows)))]
#[path = "none.rs"]
mod system;

use std::fs::File;
use std::io;
use std::ops::Range;

/// The other locks with which a lock can share its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Shared locks. Needs a file that is open for reading.
    Shared,
    /// No other lock. Needs a file that is open for writing.
    Exclusive,
}

/// Locks `range` without waiting. Returns whether the lock was taken: another opening of the file may hold a lock that excludes it.
///
/// # Errors
///
/// If the system or the file system has no such locks, or the call fails.
pub(super) fn try_lock(file: &File, range: Range<u64>, mode: Mode) -> io::Result<bool> {
    debug_assert!(!range.is_empty());
    system::try_lock(file, &range, mode)
}

/// Releases the locks that this opening of the file holds in `range`.
///
/// # Errors
///
/// The error of the system. The lock then ends with the last descriptor.
pub(super) fn unlock(file: &File, range: Range<u64>) -> io::Result<()> {
    system::unlock(file, &range)
}

/// Returns a part of `range` that another opening of the file has locked. Returns `None` if no opening has. The file must be open for
/// writing.
///
/// # Errors
///
/// As [`try_lock`].
pub(super) fn find_locked(file: &File, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
    if range.is_empty() {
        return Ok(None);
    }
    let found = system::find_locked(file, &range)?;
    // Adjacent locks of one opening are one lock to the system.
    let inside = found.map(|found| found.start.max(range.start)..found.end.min(range.end));
    Ok(inside.filter(|inside| !inside.is_empty()))
}

#[cfg(any(target_os = "linux", target_vendor = "apple", windows))]
#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    struct Temporary(std::path::PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let name = format!("nearfield-range-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            File::create(&path).unwrap();
            Self(path)
        }

        fn open(&self) -> File {
            OpenOptions::new().read(true).write(true).open(&self.0).unwrap()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// Far behind the end of every file.
    const FAR: u64 = 1 << 62;

    #[test]
    fn openings_of_one_process_exclude_each_other() {
        let path = Temporary::new("exclude");
        let (one, two) = (path.open(), path.open());
        assert!(try_lock(&one, FAR..FAR + 1, Mode::Exclusive).unwrap());
        assert!(!try_lock(&two, FAR..FAR + 1, Mode::Exclusive).unwrap());
        assert!(!try_lock(&two, FAR..FAR + 1, Mode::Shared).unwrap());
        assert!(try_lock(&two, FAR + 1..FAR + 2, Mode::Exclusive).unwrap());
        unlock(&one, FAR..FAR + 1).unwrap();
        assert!(try_lock(&two, FAR..FAR + 1, Mode::Shared).unwrap());
        assert!(try_lock(&one, FAR..FAR + 1, Mode::Shared).unwrap());
    }

    #[test]
    fn a_lock_outlives_other_descriptors_and_ends_with_its_opening() {
        let path = Temporary::new("close");
        let (one, two) = (path.open(), path.open());
        assert!(try_lock(&one, FAR..FAR + 1, Mode::Exclusive).unwrap());
        let copy = one.try_clone().unwrap();
        drop(path.open());
        drop(one);
        assert!(!try_lock(&two, FAR..FAR + 1, Mode::Exclusive).unwrap());
        drop(copy);
        assert!(try_lock(&two, FAR..FAR + 1, Mode::Exclusive).unwrap());
    }

    #[test]
    fn a_locked_byte_is_found_in_a_range() {
        let path = Temporary::new("find");
        let (one, two) = (path.open(), path.open());
        assert_eq!(find_locked(&two, FAR..FAR + 1000).unwrap(), None);
        for byte in [7, 8, 300] {
            assert!(try_lock(&one, FAR + byte..FAR + byte + 1, Mode::Shared).unwrap());
        }
        assert_eq!(find_locked(&two, FAR..FAR + 7).unwrap(), None);
        assert_eq!(find_locked(&two, FAR + 8..FAR + 300).unwrap(), Some(FAR + 8..FAR + 9));
        assert_eq!(find_locked(&two, FAR + 9..FAR + 300).unwrap(), None);
        assert_eq!(
            find_locked(&two, FAR + 9..i64::MAX as u64).unwrap(),
            Some(FAR + 300..FAR + 301)
        );
        unlock(&one, FAR + 8..FAR + 301).unwrap();
        assert_eq!(find_locked(&two, FAR..FAR + 1000).unwrap(), Some(FAR + 7..FAR + 8));
    }

    #[cfg(unix)]
    #[test]
    fn a_shared_lock_needs_no_right_to_write() {
        let path = Temporary::new("read");
        let (writer, reader) = (path.open(), File::open(&path.0).unwrap());
        assert!(try_lock(&reader, FAR..FAR + 1, Mode::Shared).unwrap());
        assert!(!try_lock(&writer, FAR..FAR + 1, Mode::Exclusive).unwrap());
        assert_eq!(find_locked(&writer, FAR..FAR + 9).unwrap(), Some(FAR..FAR + 1));
    }
}
