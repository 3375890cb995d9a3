//! The state that the handles of one open store share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::frames::Frames;
use super::writer::Writer;
use crate::observe::watch;
use crate::process::Process;
use crate::store::disk::{Readers, Storage, SyncPoint, WriterLock};
use crate::store::error::StoreError;
use crate::store::turn::Turn;

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) committed: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

/// The position up to which the log is on the disk, for committers that wait for it together.
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
    /// The writer's state, which one transaction at a time has. The turn is over when the store is poisoned, because after an error or
    /// a panic in the middle of writing the state of the disk is unknown.
    pub(crate) writer: Turn<Box<Writer>>,
    flush: Mutex<Flush>,
    flushed: Condvar,
    /// Readers in other openings of the file; `None` in memory.
    pub(crate) readers: Option<Readers>,
    /// Held while the store is open for writing.
    _lock: Option<WriterLock>,
    /// The process that opened the store, which alone may use it.
    pub(crate) process: Process,
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
            writer: Turn::new(writer),
            flush: Mutex::new(Flush { written: synced, synced, syncing: false }),
            flushed: Condvar::new(),
            readers,
            _lock: lock,
            process: Process::current(),
        }
    }

    /// Returns the path of the file, for errors. Returns `None` in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.frames.path()
    }

    /// Refuses a forked child of the process that opened the store.
    pub(crate) fn admit(&self) -> Result<(), StoreError> {
        self.process.admit().map_err(|forked| StoreError::from(forked).at(self.path()))
    }

    /// Adds the path of the file to an error.
    pub(crate) fn place(&self) -> impl Fn(StoreError) -> StoreError {
        |error| error.at(self.path())
    }

    /// Runs a step after whose error or panic the state of the disk is unknown, and the store takes no more writes.
    pub(crate) fn or_poison<R>(
        &self,
        step: impl FnOnce() -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        self.writer.or_end(|| step().map_err(self.place()))
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

    /// Notes that the log before `lsn` is on the disk by other means.
    pub(crate) fn log_synced(&self, lsn: u64) {
        let mut flush = self.flush.lock();
        flush.written = flush.written.max(lsn);
        flush.synced = flush.synced.max(lsn);
    }

    /// Returns the position up to which the log is known to be on the disk.
    pub(crate) fn synced(&self) -> u64 {
        self.flush.lock().synced
    }

    /// Returns when the log is on the disk up to `lsn`. Threads that wait together share one sync, which covers all records written
    /// when it began.
    pub(crate) fn sync_log(&self, lsn: u64) -> Result<(), StoreError> {
        let mut flush = self.flush.lock();
        loop {
            if flush.synced >= lsn {
                return Ok(());
            }
            if let Some(refusal) = self.writer.refusal() {
                return Err(refusal.into());
            }
            if flush.syncing {
                self.flushed.wait(&mut flush);
                continue;
            }
            flush.syncing = true;
            let target = flush.written;
            drop(flush);
            let result = self.or_poison(|| self.sync(SyncPoint::Log));
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
