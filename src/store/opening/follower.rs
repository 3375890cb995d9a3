//! A store that another process may be writing.
//!
//! A follower takes the newest checkpoint from the file and the commits behind it from the log, in separate memory, and reads further
//! commits for each new snapshot. When the writer has made a checkpoint, the follower starts anew from it; snapshots that are still
//! open keep the old one.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::mmap::MmapMut;
use crate::process::Process;
use crate::store::disk::{FileStorage, ReaderLocks, Region, Storage, SyncPoint, open_file};
use crate::store::durability::{open_checkpoint, replay};
use crate::store::error::StoreError;
use crate::store::format::Meta;
use crate::store::pages::{Allocator, Shared, Writer};
use crate::store::transaction::{Base, ReadTransaction};

/// A storage that refuses all changes.
struct ReadOnly<S>(S);

impl<S: Storage> Storage for ReadOnly<S> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self, _: SyncPoint) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Region> {
        self.0.map(offset, len)
    }

    fn map_private(&self, offset: u64, len: usize) -> io::Result<Option<MmapMut>> {
        self.0.map_private(offset, len)
    }

    fn path(&self) -> Option<&Path> {
        self.0.path()
    }

    fn first_segment(&self) -> u64 {
        self.0.first_segment()
    }
}

pub(crate) struct Follower {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    /// `None` in unguarded mode.
    locks: Option<Arc<ReaderLocks>>,
    base: Mutex<Arc<Base>>,
    /// The process that may read: it releases the locks on the pages even if a forked child still reads them.
    process: Process,
}

/// Maximum number of checkpoints that may pass while a reader locks one.
const ATTEMPTS: usize = 100;

impl Follower {
    pub(crate) fn open(path: &Path, is_guarded: bool) -> Result<Self, StoreError> {
        let file = open_file(path, OpenOptions::new().read(true));
        let file = Arc::new(file.map_err(StoreError::io("open the file"))?);
        let locks = is_guarded.then(|| ReaderLocks::of(Arc::clone(&file)));
        let storage: Arc<dyn Storage> = Arc::new(ReadOnly(FileStorage::new(file, path)));
        let base = Self::rebase(path, &storage, locks.as_ref())?;
        let (path, base) = (path.to_path_buf(), Mutex::new(base));
        Ok(Self { path, storage, locks, base, process: Process::current() })
    }

    fn rebase(
        path: &Path,
        storage: &Arc<dyn Storage>,
        locks: Option<&Arc<ReaderLocks>>,
    ) -> Result<Arc<Base>, StoreError> {
        for _ in 0..ATTEMPTS {
            let (meta, _) = Meta::newest(&**storage)?;
            let checkpoint = meta.state.transaction;
            let lock = locks.map(|locks| locks.hold(checkpoint, path)).transpose()?;
            let (meta, slot, frames) = open_checkpoint(storage)?;
            if meta.state.transaction != checkpoint {
                // The writer may not have found the lock in time.
                continue;
            }
            // Only the writer uses free pages: pages that are changed here are behind the end, in memory.
            let writer = Box::new(Writer::new(meta, slot, Allocator::new(meta.end)));
            let shared = Arc::new(Shared::new(Arc::clone(storage), frames, writer, None, None));
            return Ok(Arc::new(Base::new(shared, checkpoint, lock)));
        }
        Err(StoreError::io("lock a checkpoint for reading")(io::ErrorKind::TimedOut.into()))
    }

    /// Returns a snapshot of the newest commit in the file.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        let place = |error: StoreError| error.at(Some(&self.path));
        self.process.admit().map_err(|forked| place(forked.into()))?;
        self.newest().map_err(place)
    }

    /// Returns the error for an attempt to write.
    pub(crate) fn refuse_writing(&self) -> StoreError {
        StoreError::ReadOnly { path: self.path.clone() }
    }

    fn newest(&self) -> Result<ReadTransaction, StoreError> {
        let mut base = self.base.lock();
        let (meta, _) = Meta::newest(&*self.storage)?;
        if meta.state.transaction != base.checkpoint {
            *base = Self::rebase(&self.path, &self.storage, self.locks.as_ref())?;
        }
        replay(&base.shared)?;
        let pin = base.shared.frames.pin();
        let storage = Arc::clone(&self.storage);
        Ok(ReadTransaction::new(pin, Some(Arc::clone(&base)), storage))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn base(&self) -> Arc<Base> {
        Arc::clone(&self.base.lock())
    }
}
