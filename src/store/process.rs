//! Several processes: one that writes, any number that read.
//!
//! The writer holds an exclusive lock on `<file>.lock`. Each reading process holds a lock on a file of its own,
//! `<file>.reader-<number>`, which holds the number of the checkpoint that it reads. Locks end with
//! their process, however it ends, so a registration whose lock can be had is one of the dead.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::StoreError;

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A locked file. It is unlocked by name when it is dropped: closing the file would not do while a child process, between
/// its fork and its exec, has a copy of the descriptor. Nor may the copy of a forked child end its parent's lock.
struct Lock {
    file: File,
    process: u32,
}

impl Lock {
    /// Of a file that this process has just locked.
    fn on(file: File) -> Self {
        Self { file, process: std::process::id() }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // If it fails, the lock goes with the last descriptor.
            let _ = self.file.unlock();
        }
    }
}

/// The right to write.
pub(crate) struct WriterLock {
    _lock: Lock,
}

impl WriterLock {
    pub(crate) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(sibling(path, ".lock"))
            .map_err(StoreError::io("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _lock: Lock::on(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock the lock file")(error)),
        }
    }
}

const READER: &str = ".reader-";

/// What the writer knows of reading processes.
pub(crate) struct Readers {
    folder: PathBuf,
    prefix: String,
}

impl Readers {
    pub(crate) fn of(path: &Path) -> Self {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self { folder, prefix: format!("{name}{READER}") }
    }

    /// Returns the checkpoints that living processes read, in any order. Removes what the dead
    /// left. A registration that cannot be read counts as one of checkpoint 0, which comes before
    /// all states.
    pub(crate) fn checkpoints(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return vec![0] };
        let mut checkpoints = Vec::new();
        for entry in entries {
            let Ok(entry) = entry else {
                checkpoints.push(0);
                break;
            };
            if !entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                continue;
            }
            // Gone since it was listed.
            let Ok(mut file) = OpenOptions::new().read(true).write(true).open(entry.path()) else {
                continue;
            };
            match file.try_lock() {
                Ok(()) => {
                    let _lock = Lock::on(file);
                    // Left behind if it cannot be removed: harmless.
                    let _ = fs::remove_file(entry.path());
                }
                Err(TryLockError::WouldBlock) => {
                    let mut bytes = [0; 8];
                    let read = file.read_exact(&mut bytes);
                    checkpoints.push(if read.is_ok() { u64::from_le_bytes(bytes) } else { 0 });
                }
                Err(TryLockError::Error(_)) => checkpoints.push(0),
            }
        }
        checkpoints
    }
}

/// Tells the writer that this process reads a checkpoint, until it is dropped. Nobody is told on a file system that
/// cannot be written: there is no writer.
pub(crate) struct Registration {
    _told: Option<Registered>,
}

struct Registered {
    path: PathBuf,
    _lock: Lock,
}

impl Registration {
    /// Registers for checkpoint `transaction`. The caller must look again whether it is still the newest: if so, the
    /// writer will find the registration before it reuses a page of it.
    pub(crate) fn new(path: &Path, transaction: u64) -> Result<Self, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        // Locked and filled under a name that the writer does not look for, then renamed: the
        // writer never sees it unlocked or empty.
        let pending = sibling(path, &format!(".pending-{name}"));
        let mut options = OpenOptions::new();
        let file = match options.create(true).truncate(true).read(true).write(true).open(&pending) {
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                return Ok(Self { _told: None });
            }
            other => other.map_err(StoreError::io("create a reader's registration"))?,
        };
        file.lock().map_err(StoreError::io("lock a reader's registration"))?;
        let mut lock = Lock::on(file);
        lock.file
            .write_all(&transaction.to_le_bytes())
            .map_err(StoreError::io("write a reader's registration"))?;
        let path = sibling(path, &format!("{READER}{name}"));
        fs::rename(&pending, &path).map_err(StoreError::io("name a reader's registration"))?;
        Ok(Self { _told: Some(Registered { path, _lock: lock }) })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // If it cannot be removed, the lock goes all the same, and the writer removes it.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_descriptor_does_not_keep_a_lock() {
        let name = format!("nearfield-lock-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let first = Lock::on(File::create(sibling(&path, ".lock")).unwrap());
        first.file.try_lock().unwrap();
        assert!(matches!(WriterLock::acquire(&path), Err(StoreError::Locked)));
        // What a child process has between its fork and its exec.
        let copy = first.file.try_clone().unwrap();
        drop(first);
        drop(WriterLock::acquire(&path).unwrap());
        drop(copy);
        fs::remove_file(sibling(&path, ".lock")).unwrap();
    }
}
