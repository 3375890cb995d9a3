//! What the handles of one open store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use super::error::StoreError;
use super::frames::Frames;
use super::process::{Readers, WriterLock};
use super::storage::{Storage, SyncPoint};
use super::writer::Writer;
use crate::observe::watch;

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) committed: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

/// How far the log is on the disk, for committers that wait for it together.
#[derive(Default)]
struct Flush {
    written: u64,
    synced: u64,
    syncing: bool,
}

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) frames: Arc<Frames>,
    pub(crate) page_size: usize,
    pub(crate) traffic: Traffic,
    /// The writer's state while no transaction has it.
    writer: Mutex<Option<Box<Writer>>>,
    writer_returned: Condvar,
    /// The thread that has the writer while it calls a caller's closure.
    asking: Mutex<Option<ThreadId>>,
    flush: Mutex<Flush>,
    flushed: Condvar,
    poisoned: AtomicBool,
    /// Registrations of other processes; none in memory.
    pub(crate) readers: Option<Readers>,
    /// Held for as long as the store is open for writing.
    pub(crate) _lock: Option<WriterLock>,
}

/// The writer in the hands of a caller; dropped, it goes back.
struct WriterGuard<'a> {
    shared: &'a Shared,
    writer: Option<Box<Writer>>,
}

impl WriterGuard<'_> {
    fn with<R>(
        mut self,
        f: impl FnOnce(&mut Writer) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        f(self.writer.as_mut().ok_or(StoreError::Poisoned)?)
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.shared.return_writer(writer);
        }
    }
}

impl Shared {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        frames: Arc<Frames>,
        writer: Box<Writer>,
        readers: Option<Readers>,
        lock: Option<WriterLock>,
    ) -> Self {
        let synced = writer.log.end().lsn;
        Self {
            storage,
            page_size: frames.page_size,
            frames,
            traffic: Traffic::default(),
            writer: Mutex::new(Some(writer)),
            writer_returned: Condvar::new(),
            asking: Mutex::new(None),
            flush: Mutex::new(Flush { written: synced, synced, syncing: false }),
            flushed: Condvar::new(),
            poisoned: AtomicBool::new(false),
            readers,
            _lock: lock,
        }
    }

    /// Waits until no transaction has the writer, and takes it.
    pub(crate) fn take_writer(&self) -> Result<Box<Writer>, StoreError> {
        let mut slot = self.writer.lock();
        loop {
            if self.poisoned.load(Ordering::Acquire) {
                return Err(StoreError::Poisoned);
            }
            if let Some(writer) = slot.take() {
                return Ok(writer);
            }
            if *self.asking.lock() == Some(thread::current().id()) {
                return Err(StoreError::Deadlock);
            }
            self.writer_returned.wait(&mut slot);
        }
    }

    /// Does what calls a caller's closure, for one who has the writer. The closure is told if it asks for the writer, too.
    pub(crate) fn asking<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Asking<'a>(&'a Shared);

        impl Drop for Asking<'_> {
            fn drop(&mut self) {
                *self.0.asking.lock() = None;
            }
        }

        *self.asking.lock() = Some(thread::current().id());
        let _asking = Asking(self);
        f()
    }

    /// Lets `f` work with the writer, which comes back whatever happens, once no transaction has it.
    pub(crate) fn with_writer<R>(
        &self,
        f: impl FnOnce(&mut Writer) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        WriterGuard { shared: self, writer: Some(self.take_writer()?) }.with(f)
    }

    /// As [`Shared::with_writer`], if no transaction has it.
    pub(crate) fn try_with_writer(
        &self,
        f: impl FnOnce(&mut Writer) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut slot = self.writer.lock();
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let writer = slot.take();
        drop(slot);
        match writer {
            Some(writer) => WriterGuard { shared: self, writer: Some(writer) }.with(f),
            None => Ok(()),
        }
    }

    pub(crate) fn return_writer(&self, writer: Box<Writer>) {
        *self.writer.lock() = Some(writer);
        self.writer_returned.notify_one();
    }

    /// Refuses all writing from now on.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
        self.writer_returned.notify_all();
    }

    /// Does what must be done to the end: after an error or a panic, nobody knows what is on the disk, so the store
    /// is poisoned.
    pub(crate) fn poison_on_error<T>(
        &self,
        f: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        struct Poison<'a>(Option<&'a Shared>);

        impl Drop for Poison<'_> {
            fn drop(&mut self) {
                if let Some(shared) = self.0 {
                    shared.poison();
                }
            }
        }

        let mut poison = Poison(Some(self));
        let result = f()?;
        poison.0 = None;
        Ok(result)
    }

    pub(crate) fn wrote(&self, bytes: u64) {
        self.traffic.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sync(&self, point: SyncPoint) -> Result<(), StoreError> {
        let operation = match point {
            SyncPoint::Create => "sync the new file",
            SyncPoint::Log => "sync the log",
            SyncPoint::CheckpointData => "sync the pages of a checkpoint",
            SyncPoint::CheckpointMeta => "sync the meta slot",
        };
        self.traffic.syncs.fetch_add(1, Ordering::Relaxed);
        watch!(let observed = crate::observe::Operation::StoreSync.begin());
        self.storage.sync(point).map_err(StoreError::io(operation))?;
        watch!(observed.done(1));
        Ok(())
    }

    /// Notes that the log is handed to the operating system up to `lsn`.
    pub(crate) fn log_written(&self, lsn: u64) {
        let mut flush = self.flush.lock();
        flush.written = flush.written.max(lsn);
    }

    /// Notes that all before `lsn` is on the disk by other means.
    pub(crate) fn log_synced(&self, lsn: u64) {
        let mut flush = self.flush.lock();
        flush.written = flush.written.max(lsn);
        flush.synced = flush.synced.max(lsn);
    }

    /// How far the log is known to be on the disk.
    pub(crate) fn synced(&self) -> u64 {
        self.flush.lock().synced
    }

    /// Returns when the log is on the disk up to `lsn`. Those who wait together share one sync: it
    /// covers all that was written when it began.
    pub(crate) fn sync_log(&self, lsn: u64) -> Result<(), StoreError> {
        let mut flush = self.flush.lock();
        loop {
            if flush.synced >= lsn {
                return Ok(());
            }
            if self.poisoned.load(Ordering::Acquire) {
                return Err(StoreError::Poisoned);
            }
            if flush.syncing {
                self.flushed.wait(&mut flush);
                continue;
            }
            flush.syncing = true;
            let target = flush.written;
            drop(flush);
            let result = self.poison_on_error(|| self.sync(SyncPoint::Log));
            flush = self.flush.lock();
            flush.syncing = false;
            if result.is_ok() {
                flush.synced = flush.synced.max(target);
            }
            self.flushed.notify_all();
            result?;
        }
    }
}
