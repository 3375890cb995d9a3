//! A store that another process may be writing.
//!
//! It takes the newest checkpoint from the file and the commits behind it from the log, in memory of its own, and
//! looks for more whenever a snapshot is asked for. When the writer has made a checkpoint, it starts
//! anew from that; snapshots that are still open keep the old one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::allocator::Allocator;
use super::error::StoreError;
use super::meta::Meta;
use super::process::Registration;
use super::read::ReadTransaction;
use super::recovery::{open_checkpoint, replay};
use super::shared::Shared;
use super::storage::{FileStorage, Region, Storage, SyncPoint};
use super::writer::Writer;

/// A storage that nothing can change.
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

    fn map_private(&self, offset: u64, len: usize) -> io::Result<Option<memmap2::MmapMut>> {
        self.0.map_private(offset, len)
    }

    fn path(&self) -> Option<&Path> {
        self.0.path()
    }

    fn first_segment(&self) -> u64 {
        self.0.first_segment()
    }
}

/// One checkpoint and what was applied on top of it.
pub(crate) struct Base {
    pub(crate) shared: Arc<Shared>,
    checkpoint: u64,
    /// Keeps the writer from reusing the checkpoint's pages.
    _registration: Registration,
}

pub(crate) struct Follower {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    base: Mutex<Arc<Base>>,
}

/// Checkpoints that may pass while a reader tries to register, before it gives up.
const ATTEMPTS: usize = 100;

impl Follower {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open the file"))?;
        let storage: Arc<dyn Storage> = Arc::new(ReadOnly(FileStorage::new(file, path)));
        let base = Self::rebase(path, &storage)?;
        Ok(Self { path: path.to_path_buf(), storage, base: Mutex::new(base) })
    }

    fn rebase(path: &Path, storage: &Arc<dyn Storage>) -> Result<Arc<Base>, StoreError> {
        for _ in 0..ATTEMPTS {
            let (meta, _) = Meta::newest(&**storage)?;
            let checkpoint = meta.state.transaction;
            let registration = Registration::new(path, checkpoint)?;
            let (meta, slot, frames) = open_checkpoint(storage)?;
            if meta.state.transaction != checkpoint {
                // The writer may not have seen the registration in time.
                continue;
            }
            // Free pages are the writer's affair: what is applied here lives behind the end, in memory.
            let writer = Box::new(Writer::new(meta, slot, Allocator::new(meta.end)));
            let shared = Arc::new(Shared::new(Arc::clone(storage), frames, writer, None, None));
            return Ok(Arc::new(Base { shared, checkpoint, _registration: registration }));
        }
        Err(StoreError::io("register as a reader")(io::ErrorKind::TimedOut.into()))
    }

    /// The newest commit that the file shows.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.newest().map_err(|error| error.at(Some(&self.path)))
    }

    fn newest(&self) -> Result<ReadTransaction, StoreError> {
        let mut base = self.base.lock();
        let (meta, _) = Meta::newest(&*self.storage)?;
        if meta.state.transaction > base.checkpoint {
            *base = Self::rebase(&self.path, &self.storage)?;
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
