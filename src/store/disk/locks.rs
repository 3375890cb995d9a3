//! One writer and any number of readers of one file, in any processes.
//!
//! All locks are on bytes of the data file, far behind its end: the writer holds an exclusive lock on one byte; a reader of
//! checkpoint `n` holds a shared lock on byte `READERS + n`, for which it needs no right to write. The writer finds the
//! readers by asking for locked bytes. Locking writes nothing and makes no file, and a lock ends with its holder, however the holder
//! ends. The module `range_lock` lists the locks of each system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::range_lock::{Mode, find_locked, try_lock, unlock};
use crate::clock::Instant;
use crate::guard::{Guard, is_off};
use crate::process::Process;
use crate::store::error::StoreError;

/// The byte of checkpoint 0. The bytes of later checkpoints follow.
const READERS: u64 = if cfg!(all(unix, target_pointer_width = "32")) { 1 << 30 } else { 1 << 62 };
/// Behind the last byte: the greatest offset that all systems take.
const END: u64 =
    if cfg!(all(unix, target_pointer_width = "32")) { i32::MAX as u64 } else { i64::MAX as u64 };
/// The byte of the writer.
const WRITER: u64 = READERS - 1;

/// A lock, until it is dropped. It is released by name: closing the file would not do while a child process, between
/// its fork and its exec, has a copy of the descriptor. The copy of a forked child may not end its parent's lock either.
#[derive(Debug)]
struct Lock {
    file: Arc<File>,
    range: Range<u64>,
    process: Process,
}

impl Lock {
    /// Returns `None` if another opening of the file excludes it.
    fn try_new(file: &Arc<File>, range: Range<u64>, mode: Mode) -> io::Result<Option<Self>> {
        let is_ours = try_lock(file, range.clone(), mode)?;
        let lock = || Self { file: Arc::clone(file), range, process: Process::current() };
        Ok(is_ours.then(lock))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.process.is_current() {
            // If it fails, the lock goes with the last descriptor.
            let _ = unlock(&self.file, self.range.clone());
        }
    }
}

fn no_locks(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::NoLocks { path: path.to_path_buf(), source: Arc::new(source) }
}

fn locked(path: &Path) -> StoreError {
    StoreError::Locked { path: Some(path.to_path_buf()) }
}

/// The right to write to a file.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _lock: Lock,
}

impl WriterLock {
    /// Takes the right to write to `file`, which was opened at `path` for reading and writing.
    pub(crate) fn acquire(file: &Arc<File>, path: &Path) -> Result<Self, StoreError> {
        let mode = if is_off(Guard::WriterLock) { Mode::Shared } else { Mode::Exclusive };
        let lock = Lock::try_new(file, WRITER..WRITER + 1, mode).map_err(no_locks(path))?;
        lock.map(|lock| Self { _lock: lock }).ok_or_else(|| locked(path))
    }
}

/// Keeps writers away from a file that is about to be replaced. Several may hold it.
#[derive(Debug)]
pub(crate) struct ReplaceLock {
    _lock: Lock,
}

impl ReplaceLock {
    /// As [`WriterLock::acquire`], for a file that may be open for reading only.
    pub(crate) fn acquire(file: &Arc<File>, path: &Path) -> Result<Self, StoreError> {
        let byte = if is_off(Guard::ReplaceLock) { WRITER - 1 } else { WRITER };
        let lock = Lock::try_new(file, byte..byte + 1, Mode::Shared).map_err(no_locks(path))?;
        lock.map(|lock| Self { _lock: lock }).ok_or_else(|| locked(path))
    }
}

/// Finds the readers in other openings of the writer's file.
pub(crate) struct Readers {
    file: Arc<File>,
}

impl Readers {
    pub(crate) fn of(file: Arc<File>) -> Self {
        Self { file }
    }

    /// Returns the checkpoints that are read, or 0, the oldest of all, if the system cannot list them.
    pub(crate) fn processes(&self) -> Vec<u64> {
        self.checkpoints().unwrap_or_else(|| vec![0])
    }

    /// Returns the checkpoints that are read, ascending. Returns `None` if the system cannot list them, or if more are locked than this
    /// crate's readers lock.
    fn checkpoints(&self) -> Option<Vec<u64>> {
        /// More checkpoints than readers can be expected to hold, because readers hold the newest one.
        const MOST: u64 = 1 << 16;

        let mut found = Vec::new();
        if is_off(Guard::FindReaders) {
            return Some(found);
        }
        let mut left = Vec::from([(READERS, END)]);
        while let Some((start, end)) = left.pop() {
            let Some(locked) = find_locked(&self.file, start..end).ok()? else { continue };
            if locked.end - locked.start + found.len() as u64 > MOST {
                return None;
            }
            found.extend(locked.clone().map(|byte| byte - READERS));
            left.extend([(start, locked.start), (locked.end, end)]);
        }
        found.sort_unstable();
        Some(found)
    }
}

/// The checkpoints that one opening of a file reads.
pub(crate) struct ReaderLocks {
    file: Arc<File>,
    /// Holders of each byte: the system counts a lock of one opening once.
    held: Mutex<BTreeMap<u64, usize>>,
    process: Process,
}

/// Keeps the writer from reusing the pages of a checkpoint, until it is dropped.
pub(crate) struct ReaderLock {
    locks: Arc<ReaderLocks>,
    byte: u64,
}

impl ReaderLocks {
    pub(crate) fn of(file: Arc<File>) -> Arc<Self> {
        Arc::new(Self { file, held: Mutex::default(), process: Process::current() })
    }

    /// Locks the byte of checkpoint `number` for reading. The caller must check again that the checkpoint is still the newest: if so,
    /// the writer finds the lock before it reuses a page of it.
    pub(crate) fn hold(
        self: &Arc<Self>,
        number: u64,
        path: &Path,
    ) -> Result<ReaderLock, StoreError> {
        let byte = byte_of(number);
        let mut held = self.held.lock();
        let count = held.get(&byte).copied().unwrap_or(0);
        if count == 0 && !is_off(Guard::ReaderLock) {
            lock_shared(&self.file, byte).map_err(no_locks(path))?;
        }
        held.insert(byte, count + 1);
        Ok(ReaderLock { locks: Arc::clone(self), byte })
    }
}

/// Returns the byte of a checkpoint. A checkpoint whose number has no byte counts as the oldest.
fn byte_of(number: u64) -> u64 {
    READERS.checked_add(number).filter(|&byte| byte < END).unwrap_or(READERS)
}

fn lock_shared(file: &File, byte: u64) -> io::Result<()> {
    /// A writer that searches for readers may hold the byte for a moment, on systems that test a lock by taking it.
    const PATIENCE: Duration = Duration::from_secs(10);

    let start = Instant::now();
    while !try_lock(file, byte..byte + 1, Mode::Shared)? {
        if start.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

impl Drop for ReaderLock {
    fn drop(&mut self) {
        let locks = &self.locks;
        if !locks.process.is_current() {
            return;
        }
        let mut held = locks.held.lock();
        if let Some(count) = held.get_mut(&self.byte) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.byte);
                // If it fails, the lock goes with the last descriptor.
                let _ = unlock(&locks.file, self.byte..self.byte + 1);
            }
        }
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple", windows))]
#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn the_writer_finds_what_is_read() {
        let path = std::env::temp_dir().join(format!("nearfield-locks-{}", std::process::id()));
        File::create(&path).unwrap();
        let open = || Arc::new(OpenOptions::new().read(true).write(true).open(&path).unwrap());
        let (file, other) = (open(), open());
        let writer = WriterLock::acquire(&file, &path).unwrap();
        assert!(matches!(WriterLock::acquire(&other, &path), Err(StoreError::Locked { .. })));
        assert!(matches!(ReplaceLock::acquire(&other, &path), Err(StoreError::Locked { .. })));
        let readers = Readers::of(Arc::clone(&file));
        assert_eq!(readers.checkpoints(), Some(vec![]));

        let (one, two) = (ReaderLocks::of(open()), ReaderLocks::of(open()));
        let mut held: Vec<_> =
            [900, 3, 4, 3].iter().map(|&number| one.hold(number, &path).unwrap()).collect();
        held.push(two.hold(3, &path).unwrap());
        assert_eq!(readers.checkpoints(), Some(vec![3, 4, 900]));
        held.remove(0);
        assert_eq!(readers.checkpoints(), Some(vec![3, 4]));
        held.truncate(2);
        // One of two that hold 3.
        assert_eq!(readers.checkpoints(), Some(vec![3, 4]));
        held.clear();
        assert_eq!(readers.checkpoints(), Some(vec![]));
        let far = one.hold(u64::MAX, &path).unwrap();
        assert_eq!(readers.checkpoints(), Some(vec![0]));
        drop(far);

        drop(writer);
        let replaces = [&file, &other].map(|file| ReplaceLock::acquire(file, &path).unwrap());
        assert!(matches!(WriterLock::acquire(&open(), &path), Err(StoreError::Locked { .. })));
        drop(replaces);
        WriterLock::acquire(&other, &path).unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        let path = std::env::temp_dir().join(format!("nearfield-untold-{}", std::process::id()));
        let write_only = Arc::new(File::create(&path).unwrap());
        // All bytes locked by another program.
        let other = File::open(&path).unwrap();
        assert!(try_lock(&other, READERS..END, Mode::Shared).unwrap());
        assert_eq!(Readers::of(write_only).checkpoints(), None);
        std::fs::remove_file(&path).unwrap();
    }
}
