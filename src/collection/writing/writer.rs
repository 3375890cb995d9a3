//! The right to write, and the state of its holder.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::handle::{Collection, Inner};
use super::transaction::Transaction;
use crate::collection::error::CollectionError;
use crate::store::{Refusal, StoreError};

/// The state that only the holder of the right to write touches.
#[derive(Debug, Clone, Copy)]
pub(in crate::collection) struct Writer {
    /// The last commit.
    pub(in crate::collection) commit: u64,
    /// The last commit that is in the columns of the file.
    pub(super) checkpointed: u64,
    /// Bytes of the journal.
    pub(in crate::collection) journal: u64,
    /// Bytes of deltas behind the checkpoint, and the number of the next one.
    pub(in crate::collection) deltas: u64,
    pub(super) next_delta: u64,
    /// Operations that no delta has yet, and the time that applying them took.
    pub(in crate::collection) late: u64,
    pub(super) took: Duration,
    /// Bytes of deltas that were written since the collection was opened.
    pub(super) delta_bytes: u64,
    /// Bytes that the columns have in the file.
    pub(in crate::collection) columns: u64,
    /// Bytes of vectors that were committed, and bytes of columns that checkpoints wrote, since the collection was opened.
    pub(in crate::collection) vector_bytes: u64,
    pub(in crate::collection) column_bytes: u64,
    /// Bytes of maps that commits may have made memory of the process since the last checkpoint.
    pub(super) touched: u64,
    pub(in crate::collection) checkpoints: u64,
    /// Bytes that the journal must have for the next attempt at a checkpoint, after one that failed.
    pub(super) put_off: u64,
    /// Whether some maps may be of extents that the newest state of the file lacks, since a step of a checkpoint or
    /// a compaction failed. The maps keep the store's snapshots of those extents until the next checkpoint.
    pub(in crate::collection) is_unsettled: bool,
}

impl Writer {
    /// Notes that a checkpoint failed, as on a full disk: the next commits do not try again at once.
    pub(super) fn put_off_checkpoint(&mut self) {
        self.put_off = self.journal + self.journal / 4;
    }

    /// Counts operations for the next delta from here on: after a delta, a checkpoint, or an attempt that failed.
    pub(super) fn count_anew(&mut self) {
        (self.late, self.took) = (0, Duration::ZERO);
    }
}

/// The right to write, until it is dropped.
pub(in crate::collection) struct WriterGuard {
    pub(super) inner: Arc<Inner>,
    writer: Writer,
    /// The thread that used the right last.
    thread: ThreadId,
    is_asking: bool,
}

impl WriterGuard {
    /// Binds the right to this thread, which calls a user's closure: a closure that asks for the right is refused instead of waiting.
    pub(in crate::collection) fn asking(mut self) -> Self {
        self.inner.writer.ask();
        self.inner.pace.lock().holders += 1;
        self.is_asking = true;
        self
    }

    fn new(inner: &Arc<Inner>, writer: Writer) -> Self {
        let thread = thread::current().id();
        Self { inner: Arc::clone(inner), writer, thread, is_asking: false }
    }

    /// Notes that the calling thread uses the right.
    pub(super) fn note(&mut self) {
        let this = thread::current().id();
        if self.thread != this {
            self.thread = this;
            self.inner.writer.used();
        }
    }
}

impl Deref for WriterGuard {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for WriterGuard {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        if self.is_asking {
            self.inner.pace.lock().holders -= 1;
        }
        self.inner.writer.give_back(self.writer);
    }
}

impl Collection {
    /// Takes the right to change the collection. Waits until no other transaction has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Deadlock`] if this thread has a transaction open, or runs a callback of an operation of this
    /// collection; [`StoreError::Poisoned`] after a failed write, [`CollectionError::Behind`].
    pub fn begin_write(&self) -> Result<Transaction, CollectionError> {
        Transaction::new(self.inner.take_writer()?).map_err(self.inner.place())
    }

    /// As [`Collection::begin_write`], but does not wait. Returns `None` if a transaction, or maintenance, has the right.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-turn-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric};
    ///
    /// let collection = Collection::builder(3, Metric::L2).create(&path)?;
    /// let tx = collection.begin_write()?;
    /// assert!(collection.try_begin_write()?.is_none());
    /// drop(tx);
    /// assert!(collection.try_begin_write()?.is_some());
    /// # drop(collection);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_begin_write(&self) -> Result<Option<Transaction>, CollectionError> {
        let begun = self.inner.try_take_writer()?.map(Transaction::new).transpose();
        begun.map_err(self.inner.place())
    }
}

impl Inner {
    /// Takes the right to write. Waits for its holder.
    pub(in crate::collection) fn take_writer(
        self: &Arc<Self>,
    ) -> Result<WriterGuard, CollectionError> {
        self.store.admit()?;
        Ok(WriterGuard::new(self, self.writer.take().map_err(refused)?))
    }

    /// As [`Self::take_writer`], but also succeeds if the collection is behind its file. The caller must change nothing.
    pub(in crate::collection) fn take_to_look(
        self: &Arc<Self>,
    ) -> Result<WriterGuard, CollectionError> {
        self.store.admit()?;
        Ok(WriterGuard::new(self, self.writer.take_to_look().map_err(refused)?))
    }

    /// As [`Self::take_writer`], but returns `None` instead of waiting.
    pub(super) fn try_take_writer(
        self: &Arc<Self>,
    ) -> Result<Option<WriterGuard>, CollectionError> {
        self.store.admit()?;
        let writer = self.writer.try_take().map_err(refused)?;
        Ok(writer.map(|writer| WriterGuard::new(self, writer)))
    }

    /// Applies a commit of the file to the index. After an error or a panic the index lacks the commit, and all writing is refused.
    pub(super) fn follow(
        &self,
        f: impl FnOnce() -> Result<(), CollectionError>,
    ) -> Result<(), CollectionError> {
        let followed = self.writer.or_end(|| f().map_err(self.place()));
        followed.map_err(|error| CollectionError::Behind { cause: error.to_string() })
    }
}

fn refused(refusal: Refusal) -> CollectionError {
    match refusal {
        Refusal::Over { cause } => CollectionError::Behind { cause },
        Refusal::Deadlock => StoreError::Deadlock.into(),
    }
}
