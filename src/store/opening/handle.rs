//! The handle of an open store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::follower::Follower;
use super::options::StoreOptions;
use crate::store::durability::checkpoint;
use crate::store::error::StoreError;
use crate::store::maintenance::{
    CheckReport, Contents, LetGo, Stats, check, compact, compact_nodes, contents, is_held, stats,
};
use crate::store::pages::{Shared, Writer};
use crate::store::progress::Progress;
use crate::store::transaction::{ReadTransaction, WriteTransaction};

/// An open store. Cheap to clone; clones are handles to the same store, for any thread.
///
/// When the last handle is dropped, a store that is open for writing makes a checkpoint, whose errors are lost: [`Store::close`]
/// reports them. A failed checkpoint loses no commit, because the log has them all.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

enum Inner {
    Writer { shared: Arc<Shared>, recovered: u64 },
    Follower(Follower),
}

impl Store {
    pub(crate) fn writer(shared: Arc<Shared>, recovered: u64) -> Self {
        Self { inner: Arc::new(Inner::Writer { shared, recovered }) }
    }

    pub(crate) fn follower(follower: Follower) -> Self {
        Self { inner: Arc::new(Inner::Follower(follower)) }
    }

    /// [`StoreOptions::open`] with the defaults.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        StoreOptions::new().open(path)
    }

    /// [`StoreOptions::open_read_only`] with the defaults.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        StoreOptions::new().open_read_only(path)
    }

    fn shared(&self) -> Result<&Arc<Shared>, StoreError> {
        match &*self.inner {
            Inner::Writer { shared, .. } => shared.admit().map(|()| shared),
            Inner::Follower(follower) => Err(follower.refuse_writing()),
        }
    }

    /// Returns a snapshot of the newest commit. Waits for no transaction.
    ///
    /// # Errors
    ///
    /// Only in a store that was opened read-only, which reads new commits from the file: [`StoreError::Corrupt`],
    /// [`StoreError::Io`].
    pub fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        match &*self.inner {
            Inner::Writer { shared, .. } => {
                shared.admit()?;
                let storage = Arc::clone(&shared.storage);
                Ok(ReadTransaction::new(shared.frames.pin(), None, storage))
            }
            Inner::Follower(follower) => follower.begin_read(),
        }
    }

    /// Takes the right to change the store. Waits until no other transaction has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Deadlock`] if this thread has a transaction open, or runs a callback of an operation of this
    /// store; [`StoreError::Poisoned`] after a failed write, [`StoreError::ReadOnly`], and [`StoreError::Io`] if the
    /// checkpoint fails that the first transaction after opening begins with.
    pub fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let shared = self.shared()?;
        WriteTransaction::new(shared).map_err(shared.place())
    }

    /// As [`Store::begin_write`], but does not wait. Returns `None` if a transaction, or the store's own maintenance, has the right.
    ///
    /// ```
    /// use nearfield::store::StoreOptions;
    ///
    /// let store = StoreOptions::new().open_in_memory()?;
    /// let tx = store.begin_write()?;
    /// assert!(store.try_begin_write()?.is_none());
    /// drop(tx);
    /// assert!(store.try_begin_write()?.is_some());
    /// # Ok::<(), nearfield::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_begin_write(&self) -> Result<Option<WriteTransaction>, StoreError> {
        let shared = self.shared()?;
        WriteTransaction::try_new(shared).map_err(shared.place())
    }

    /// Writes all commits of the log to their place in the file. Happens by itself when the log is full.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`], [`StoreError::Deadlock`], [`StoreError::ReadOnly`], [`StoreError::Io`].
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let shared = self.shared()?;
        shared.writer.with(|writer| empty_log(shared, writer)).map_err(shared.place())
    }

    /// Makes a checkpoint, so that the next opening has nothing to apply, and reports its errors. Other
    /// handles stay usable.
    ///
    /// # Errors
    ///
    /// As for [`Store::checkpoint`].
    pub fn close(self) -> Result<(), StoreError> {
        match &*self.inner {
            Inner::Writer { .. } => self.checkpoint(),
            Inner::Follower(_) => Ok(()),
        }
    }

    /// Makes a checkpoint, and returns the bytes of the file.
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, StoreError> {
        self.checkpoint()?;
        let storage = &self.shared()?.storage;
        let len = storage.len().map_err(StoreError::io("measure the file"))?;
        let too_large = || StoreError::TooLarge { bytes: len };
        let mut bytes = Vec::new();
        let room = usize::try_from(len).map_err(|_| too_large())?;
        bytes.try_reserve_exact(room).map_err(|_| too_large())?;
        bytes.resize(room, 0);
        storage.read_at(0, &mut bytes).map_err(StoreError::io("read the file"))?;
        Ok(bytes)
    }

    /// Moves pages from the end of the file to free space before them and cuts the file. Waits for the
    /// running transaction.
    ///
    /// If no snapshot is open, one call leaves at most 5 % more than the log and the pages in use,
    /// unless the alignment of extents needs more. If free space is too scattered for that, the
    /// file is longer for a while: by the pages in use at most, and not at all if the disk has no
    /// room for them.
    ///
    /// A snapshot that is open, here or in another process, holds back the pages that it sees:
    /// [`Stats::held_bytes`] of those are not in use otherwise. They are not moved, the file is cut
    /// behind the last of them only, and only free space is used: the file does not become longer.
    /// Compacting again when the snapshot is gone does the rest.
    ///
    /// Returns the bytes by which the file has become shorter.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`], [`StoreError::Deadlock`], [`StoreError::ReadOnly`], [`StoreError::Io`],
    /// [`StoreError::Corrupt`].
    pub fn compact(&self) -> Result<u64, StoreError> {
        self.compact_while(|_| true)
    }

    /// As [`Store::compact`], while `go_on` returns true. `go_on` receives the number of bytes processed since its last call; the sum
    /// of each pass is about the bytes in use. If it returns false, the store keeps its content, and the file does not become longer.
    /// While pages are behind the end for a moment, the operation ends only after they are moved back.
    ///
    /// # Errors
    ///
    /// As there, and [`StoreError::Cancelled`]. A call inside of `go_on` that would wait for the end of this operation is refused with
    /// [`StoreError::Deadlock`].
    pub fn compact_while(&self, go_on: impl Fn(u64) -> bool) -> Result<u64, StoreError> {
        let shared = self.shared()?;
        compact(shared, Progress::new(&go_on), &|| Ok(None)).map_err(shared.place())
    }

    /// As [`Store::compact_while`], but every extent stays where it is, so that the caller can keep its snapshot of state
    /// `own`.
    pub(crate) fn compact_nodes_while(
        &self,
        own: Option<u64>,
        go_on: impl Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let shared = self.shared()?;
        compact_nodes(shared, Progress::new(&go_on), own).map_err(shared.place())
    }

    /// As [`Store::compact_while`], for a caller that has a snapshot itself: after each step,
    /// `let_go` replaces it by a new one, whose number it returns.
    pub(crate) fn compact_along<E: From<StoreError>>(
        &self,
        go_on: &dyn Fn(u64) -> bool,
        let_go: LetGo<'_, E>,
    ) -> Result<u64, E> {
        compact(self.shared()?, Progress::new(go_on), let_go)
    }

    /// Returns the number of bytes of the file.
    pub(crate) fn file_bytes(&self) -> Result<u64, StoreError> {
        self.shared()?.storage.len().map_err(StoreError::io("measure the file"))
    }

    /// Returns whether a snapshot is open, here or in another process, besides the caller's own of number `own`.
    pub(crate) fn is_held(&self, own: Option<u64>) -> Result<bool, StoreError> {
        is_held(self.shared()?, own)
    }

    /// As [`Store::begin_write`], for a transaction that fails if it needs a longer file.
    pub(crate) fn begin_write_within(&self) -> Result<WriteTransaction, StoreError> {
        let mut tx = self.begin_write()?;
        tx.stay_within()?;
        Ok(tx)
    }

    /// Reads the whole store and verifies every checksum, order, count and the use of every page.
    ///
    /// # Errors
    ///
    /// The first damage that is found; [`StoreError::Deadlock`].
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        self.check_while(|_| true)
    }

    /// As [`Store::check`], while `go_on` returns true. `go_on` receives the number of bytes read since its last call; the sum is about
    /// the bytes in use.
    ///
    /// # Errors
    ///
    /// As for [`Store::compact_while`].
    pub fn check_while(&self, go_on: impl Fn(u64) -> bool) -> Result<CheckReport, StoreError> {
        let progress = Progress::new(&go_on);
        match &*self.inner {
            Inner::Writer { shared, .. } => {
                shared.admit()?;
                check(shared, true, progress).map_err(shared.place())
            }
            Inner::Follower(follower) => {
                follower.begin_read()?;
                let shared = &follower.base().shared;
                check(shared, false, progress).map_err(shared.place())
            }
        }
    }

    /// Returns the file of the store, if it is open for writing.
    pub(crate) fn file(&self) -> Option<&std::fs::File> {
        match &*self.inner {
            Inner::Writer { shared, .. } => shared.storage.file(),
            Inner::Follower(_) => None,
        }
    }

    /// Refuses a forked child of the process that opened the store for writing.
    pub(crate) fn admit(&self) -> Result<(), StoreError> {
        self.shared().map(|_| ())
    }

    /// Returns the path of the file, for errors. Returns `None` in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &*self.inner {
            Inner::Writer { shared, .. } => shared.path(),
            Inner::Follower(follower) => Some(follower.path()),
        }
    }

    /// Returns the bytes of pages that are held in memory until a checkpoint.
    pub(crate) fn resident_bytes(&self) -> u64 {
        match &*self.inner {
            Inner::Writer { shared, .. } => shared.frames.resident_bytes() as u64,
            Inner::Follower(_) => 0,
        }
    }

    /// Returns the approximate bytes of the pages in use. Waits for the running transaction.
    pub(crate) fn used_bytes(&self) -> Result<u64, StoreError> {
        let shared = self.shared()?;
        shared.writer.look(|writer| {
            let pages = writer.allocator.end() - writer.allocator.free_pages();
            Ok(pages * shared.page_size as u64)
        })
    }

    /// Returns sizes and counts, without reading a page. Waits for the running transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::Deadlock`], [`StoreError::Io`].
    pub fn stats(&self) -> Result<Stats, StoreError> {
        self.look_at(stats)
    }

    /// Returns the sizes of the trees and extents. Reads each page of the trees, but no long value and no extent.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn contents(&self) -> Result<Contents, StoreError> {
        self.look_at(contents)
    }

    /// Calls `look` on the newest state, also of a store that is opened for reading.
    fn look_at<R>(&self, look: fn(&Shared) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let shared = match &*self.inner {
            Inner::Writer { shared, .. } => {
                shared.admit()?;
                shared
            }
            Inner::Follower(follower) => {
                follower.begin_read()?;
                &follower.base().shared
            }
        };
        look(shared).map_err(shared.place())
    }

    /// Returns the number of transactions that were taken from the log when the store was opened: 0 after a clean close.
    pub fn recovered(&self) -> u64 {
        match &*self.inner {
            Inner::Writer { recovered, .. } => *recovered,
            Inner::Follower(_) => 0,
        }
    }
}

fn empty_log(shared: &Shared, writer: &mut Writer) -> Result<(), StoreError> {
    if writer.log.is_empty() { Ok(()) } else { checkpoint(shared, writer) }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Self::Writer { shared, .. } = self
            && shared.process.is_current()
        {
            // `close` reports errors; the log has all commits.
            let _ = shared.writer.try_with(|writer| empty_log(shared, writer));
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.inner {
            Inner::Writer { shared, .. } => f
                .debug_struct("Store")
                .field("page_size", &shared.page_size)
                .field("commits", &shared.traffic.commits.load(Ordering::Relaxed))
                .finish_non_exhaustive(),
            Inner::Follower(_) => {
                f.debug_struct("Store").field("read_only", &true).finish_non_exhaustive()
            }
        }
    }
}
