use std::fmt;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::columns::{
    Head, Opened, Reading, keep, open_index, read_head, settle_columns, track, write_columns,
    write_settings,
};
use super::config::Config;
use super::error::CollectionError;
use super::format::{DELTAS, JOURNAL, Kind, PAYLOADS, check_byte_order};
use super::pace::{Holding, Pace};
use super::reader::Reader;
use super::snapshot::{Snapshot, Views};
use super::task::Course;
use super::transaction::Transaction;
use crate::arena::Keeper;
use crate::index::{Calibrate, Hnsw, Search, SearchBatch, Settings, Shard, ShardIndex, Stored};
use crate::observe::watch;
use crate::store::{
    ReadTransaction, Refusal, SimulatedDisk, Store, StoreError, StoreOptions, Turn,
    WriteTransaction,
};
use crate::vector::AsVector;

/// Vectors, keys and payloads in one file, found by nearness, that no crash can break.
///
/// Cheap to clone; clones are handles to the same collection, for any thread. What is committed is found by searches of this
/// process when [`Transaction::commit`] returns, and survives any crash from then on.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("nearfield-doc-collection-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("photos.nf");
/// use nearfield::{Collection, Config, Metric};
///
/// let photos = Collection::open(&path, Config::new(3, Metric::Cosine))?;
/// let mut tx = photos.begin_write()?;
/// tx.upsert(42, &[0.1, 0.9, 0.2])?;
/// tx.put_payload(42, b"harbour.jpg")?;
/// tx.commit()?;
///
/// let hits = photos.search(&[0.0, 1.0, 0.0]).k(1).run()?;
/// assert_eq!(photos.payload(hits[0].key)?.as_deref(), Some(&b"harbour.jpg"[..]));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Collection {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) index: Hnsw,
    pub(super) settings: Settings,
    pub(super) config: Config,
    /// What only the one who writes may touch. It is over when the file has a commit that the index has not.
    pub(super) writer: Turn<Writer>,
    /// Locked while the file has a commit that the index has not.
    pub(super) pace: Mutex<Pace>,
    views: Mutex<Views>,
    recovery: Recovery,
}

/// What only the one who writes may touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    /// The last commit.
    pub(super) commit: u64,
    /// The last commit that is in the columns of the file.
    pub(super) checkpointed: u64,
    /// Bytes that the journal has.
    pub(super) journal: u64,
    /// Bytes of deltas behind the checkpoint, and the number of the next one.
    pub(super) deltas: u64,
    pub(super) next_delta: u64,
    /// Operations that no delta has yet, and the time that applying them took.
    pub(super) late: u64,
    pub(super) took: Duration,
    /// Bytes of deltas that were written since the collection was opened.
    pub(super) delta_bytes: u64,
    /// Bytes that the columns have in the file.
    pub(super) columns: u64,
    /// Bytes of vectors that were committed, and bytes of columns that checkpoints wrote, since the collection was opened.
    pub(super) vector_bytes: u64,
    pub(super) column_bytes: u64,
    /// Bytes of maps that commits may have made memory of the process since the last checkpoint.
    pub(super) touched: u64,
    pub(super) checkpoints: u64,
    /// Bytes that the journal must have for the next attempt at a checkpoint, after one that failed.
    pub(super) put_off: u64,
    /// Whether some maps may be of extents that the newest state of the file lacks, since a step of a checkpoint or
    /// a compaction failed. What keeps those extents must stay until the next checkpoint.
    pub(super) is_unsettled: bool,
}

impl Writer {
    /// Notes that a checkpoint failed, as on a full disk: the next commits do not try again at once.
    pub(super) fn put_off_checkpoint(&mut self) {
        self.put_off = self.journal + self.journal / 4;
    }

    /// Notes that a delta failed: the next one is tried when as much is late again.
    pub(super) fn put_off_delta(&mut self) {
        (self.late, self.took) = (0, Duration::ZERO);
    }
}

/// The right to write, until it is dropped.
pub(super) struct WriterGuard {
    pub(super) inner: Arc<Inner>,
    writer: Writer,
    /// The thread that used it last.
    thread: ThreadId,
    is_asking: bool,
}

impl WriterGuard {
    /// For one who keeps it on this thread, and calls a caller's closure, which is told if it asks for it, too.
    pub(super) fn asking(mut self) -> Self {
        self.inner.writer.ask();
        self.inner.pace.lock().holders += 1;
        self.is_asking = true;
        self
    }

    fn new(inner: &Arc<Inner>, writer: Writer) -> Self {
        let thread = thread::current().id();
        Self { inner: Arc::clone(inner), writer, thread, is_asking: false }
    }

    /// Notes that the calling thread uses it.
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

/// What opening a collection had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Operations that were in the journal only, and were applied anew.
    pub operations: u64,
    /// Time that this took.
    pub replay: Duration,
    /// Time that opening took in all.
    pub total: Duration,
}

impl Collection {
    /// Opens the collection at `path` for writing; makes it if there is none.
    ///
    /// Takes milliseconds whatever the size, plus the time to copy rows that changed since the last checkpoint, and to apply the
    /// last commits: a tenth of a second at most, unless the last commit is a large one ([`Config::replay_limit`]). Vectors and graph
    /// stay in the file and are read when a search touches them.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Mismatch`] if the collection was made with other parameters; [`StoreError::Locked`] if it is open for
    /// writing elsewhere; whatever damage is met.
    pub fn open(path: impl AsRef<Path>, config: Config) -> Result<Self, CollectionError> {
        let start = Instant::now();
        let path = path.as_ref();
        let store = config.store_options().open(path)?;
        Self::with_store(store, config, start).map_err(|error| error.at(Some(path)))
    }

    /// Makes a collection at `path`.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Exists`] if there is a file; else as [`Collection::open`].
    pub fn create(path: impl AsRef<Path>, config: Config) -> Result<Self, CollectionError> {
        let start = Instant::now();
        let path = path.as_ref();
        let store = config.store_options().create(path).map_err(|error| match error {
            StoreError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                CollectionError::Exists { path: path.to_path_buf() }
            }
            error => error.into(),
        })?;
        Self::with_store(store, config, start)
    }

    /// Opens the collection at `path` for reading, while another process may be writing it.
    ///
    /// # Errors
    ///
    /// [`CollectionError::NotACollection`], whatever damage is met, [`StoreError::Io`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Reader, CollectionError> {
        Reader::open(path.as_ref(), &StoreOptions::new())
    }

    /// As [`Collection::open_read_only`], without a lock, for file systems that have none ([`StoreError::NoLocks`]).
    ///
    /// The caller promises that no process has the file open for writing meanwhile: see
    /// [`StoreOptions::unguarded`](crate::store::StoreOptions::unguarded).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_read_only_unguarded(path: impl AsRef<Path>) -> Result<Reader, CollectionError> {
        Reader::open(path.as_ref(), &StoreOptions::new().unguarded())
    }

    /// A collection on a simulated disk, for tests of what must survive a power cut; made if there is none.
    ///
    /// # Errors
    ///
    /// As [`Collection::open`], but for [`StoreError::Locked`].
    pub fn open_simulated(disk: &SimulatedDisk, config: Config) -> Result<Self, CollectionError> {
        let start = Instant::now();
        Self::with_store(config.store_options().open_simulated(disk)?, config, start)
    }

    fn with_store(store: Store, config: Config, start: Instant) -> Result<Self, CollectionError> {
        watch!(let observed = crate::observe::Operation::Open.begin());
        check_byte_order()?;
        let tx = Arc::new(store.begin_read()?);
        let (opened, head) = if let Some(head) = read_head(&tx, Kind::Graph)? {
            config.check(&head.settings)?;
            let how = (config.instruction_set(), Reading::Mapped);
            let track = |index: &Hnsw| {
                index.frozen(|image| track(&image));
                Ok(())
            };
            (open_index(&tx, &head, how, None, track)?, head)
        } else {
            let (mut index, settings) = config.build()?;
            // Checkpoints turn its memory into maps.
            index.bind();
            let mut tx = store.begin_write()?;
            write_settings(&mut tx, &settings)?;
            index.frozen(|image| write_columns(&mut tx, &image, 0, &Course::default()))?;
            tx.commit()?;
            let head = read_head(&store.begin_read()?, Kind::Graph)?
                .ok_or(CollectionError::NotACollection { path: None })?;
            (Opened::empty(index), head)
        };
        let Opened { index, commit, operations, replay, journal, deltas, next_delta } = opened;
        let Head { settings, checkpoint } = head;
        let writer = Writer {
            commit,
            checkpointed: checkpoint.commit,
            journal,
            deltas,
            next_delta,
            late: operations,
            took: replay,
            delta_bytes: 0,
            columns: index.frozen(|image| column_bytes(&image)),
            vector_bytes: 0,
            column_bytes: 0,
            touched: if operations > 0 || deltas > 0 { u64::MAX } else { 0 },
            checkpoints: 0,
            put_off: 0,
            is_unsettled: false,
        };
        watch!(observed.done(operations));
        let total = start.elapsed();
        let inner = Inner {
            store,
            index,
            settings,
            config,
            writer: Turn::new(writer),
            pace: Mutex::default(),
            views: Mutex::default(),
            recovery: Recovery { operations, replay, total },
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The right to change the collection. Waits until no other transaction has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Deadlock`] if this thread has a transaction open, or runs a callback of an operation of this
    /// collection; [`StoreError::Poisoned`] after a failed write, [`CollectionError::Behind`].
    pub fn begin_write(&self) -> Result<Transaction, CollectionError> {
        Transaction::new(self.inner.take_writer()?).map_err(self.inner.place())
    }

    /// As [`Collection::begin_write`], but does not wait: `None` if a transaction, or maintenance, has the right.
    ///
    /// ```
    /// # let disk = nearfield::store::SimulatedDisk::new();
    /// use nearfield::{Collection, Config, Metric};
    ///
    /// # let collection = Collection::open_simulated(&disk, Config::new(3, Metric::L2))?;
    /// let tx = collection.begin_write()?;
    /// assert!(collection.try_begin_write()?.is_none());
    /// drop(tx);
    /// assert!(collection.try_begin_write()?.is_some());
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

    /// The newest vectors near `query`, as [`Hnsw::search`]. Commits that are made meanwhile may show in part;
    /// [`Collection::snapshot`] shows one commit.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> Search<'a> {
        self.inner.index.search(query)
    }

    /// As [`Hnsw::calibrate`]. What is measured is not written to the file.
    pub fn calibrate(&self) -> Calibrate<'_> {
        self.inner.index.calibrate()
    }

    /// As [`Hnsw::search_batch`].
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        self.inner.index.search_batch(queries)
    }

    /// The vector of a key, as [`Hnsw::get`]. Returns `None` in a forked child of the process that opened the collection.
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.inner.index.is_bound_here().then(|| self.inner.index.get(key))?
    }

    /// Whether there is a vector under the key. Returns `false` in a forked child of the process that opened the collection.
    pub fn contains(&self, key: u64) -> bool {
        self.inner.index.is_bound_here() && self.inner.index.contains(key)
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.inner.index.len()
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload of a key, in the newest commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn payload(&self, key: u64) -> Result<Option<Vec<u8>>, CollectionError> {
        payload(&self.inner.store.begin_read()?, key).map(|found| found.map(<[u8]>::to_vec))
    }

    /// The collection as the newest commit left it, for as long as it is kept.
    ///
    /// It is opened anew from the file, in memory of its own, with the rows that changed since the last checkpoint as they are here:
    /// it costs milliseconds, and nothing is inserted again. A snapshot that was dropped goes on where few vectors were committed since;
    /// if nothing was, and the last one still exists, it is the same. While maintenance or a large commit is under way, a new snapshot
    /// inserts what opening would ([`Config::replay_limit`]). What it shows stays in the file until it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`IndexError::OutOfMemory`](crate::IndexError::OutOfMemory).
    pub fn snapshot(&self) -> Result<Snapshot, CollectionError> {
        self.inner.store.admit()?;
        let Inner { store, config, views, .. } = &*self.inner;
        let live = || self.inner.live();
        let newest = views.lock().newest(store, config.instruction_set(), Some(&live));
        newest.map_err(self.inner.place())
    }

    /// What opening had to do.
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    /// Writes all chunks that changed and empties the journal, so that the next opening has nothing to apply. Happens by itself
    /// when the journal is long ([`Config::checkpoint_after`]). Searches go on; transactions wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`], [`StoreError::Io`], [`StoreError::Deadlock`], [`CollectionError::Behind`].
    pub fn checkpoint(&self) -> Result<(), CollectionError> {
        self.checkpoint_along(&Course::default())
    }

    pub(super) fn checkpoint_along(&self, course: &Course<'_>) -> Result<(), CollectionError> {
        let mut writer = self.inner.take_writer()?.asking();
        self.inner.checkpoint(&mut writer, course).map_err(self.inner.place())
    }

    /// Makes a checkpoint and reports its errors. Other handles stay usable. A collection that is dropped without it
    /// loses nothing; the next opening applies the journal.
    ///
    /// # Errors
    ///
    /// As for [`Collection::checkpoint`].
    pub fn close(self) -> Result<(), CollectionError> {
        self.checkpoint()?;
        Ok(self.inner.store.clone().close()?)
    }
}

impl Inner {
    /// Waits until nobody writes.
    pub(super) fn take_writer(self: &Arc<Self>) -> Result<WriterGuard, CollectionError> {
        self.store.admit()?;
        Ok(WriterGuard::new(self, self.writer.take().map_err(refused)?))
    }

    /// As [`Self::take_writer`], and of a collection that is behind its file as well: the caller must change nothing.
    pub(super) fn take_to_look(self: &Arc<Self>) -> Result<WriterGuard, CollectionError> {
        self.store.admit()?;
        Ok(WriterGuard::new(self, self.writer.take_to_look().map_err(refused)?))
    }

    /// As [`Self::take_writer`], if nobody does.
    pub(super) fn try_take_writer(
        self: &Arc<Self>,
    ) -> Result<Option<WriterGuard>, CollectionError> {
        self.store.admit()?;
        let writer = self.writer.try_take().map_err(refused)?;
        Ok(writer.map(|writer| WriterGuard::new(self, writer)))
    }

    /// Does to the index what the file has already. After an error or a panic the index lacks it, and all writing is refused.
    pub(super) fn follow(
        &self,
        f: impl FnOnce() -> Result<(), CollectionError>,
    ) -> Result<(), CollectionError> {
        let followed = self.writer.or_end(|| f().map_err(self.place()));
        followed.map_err(|error| CollectionError::Behind { cause: error.to_string() })
    }

    /// Adds the path of the file to an error.
    pub(super) fn place(&self) -> impl Fn(CollectionError) -> CollectionError {
        |error| error.at(self.store.path())
    }

    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.config.allowed_memory()
    }

    /// Whether the journal is so long that a checkpoint is due.
    pub(super) fn is_due(&self, writer: &Writer) -> bool {
        writer.journal > self.config.journal_limit(writer.columns).max(writer.put_off)
    }

    pub(super) fn checkpoint(
        &self,
        writer: &mut Writer,
        course: &Course<'_>,
    ) -> Result<(), CollectionError> {
        self.checkpoint_by(writer, course, Store::begin_write)
    }

    /// As [`Self::checkpoint`], unless it would need a longer file. Returns whether it was made.
    pub(super) fn checkpoint_within(
        &self,
        writer: &mut Writer,
        course: &Course<'_>,
    ) -> Result<bool, CollectionError> {
        match self.checkpoint_by(writer, course, Store::begin_write_within) {
            Ok(()) => Ok(true),
            Err(CollectionError::Store(StoreError::TooLarge { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn checkpoint_by(
        &self,
        writer: &mut Writer,
        course: &Course<'_>,
        begin: impl FnOnce(&Store) -> Result<WriteTransaction, StoreError>,
    ) -> Result<(), CollectionError> {
        if writer.commit == writer.checkpointed && !writer.is_unsettled {
            return Ok(self.store.checkpoint()?);
        }
        watch!(let observed = crate::observe::Operation::Checkpoint.begin());
        watch!(let before = writer.column_bytes);
        let holding = Holding::new(self);
        self.index.frozen(|image| {
            let mut tx = begin(&self.store)?;
            writer.column_bytes += write_columns(&mut tx, &image, writer.commit, course)?;
            tx.drop_table(JOURNAL)?;
            tx.table::<u64>(JOURNAL)?;
            tx.drop_table(DELTAS)?;
            // It frees the journal and the extents before.
            tx.serve_removal();
            tx.commit()?;
            // Of an earlier failure, maps that did not change may be of old extents, too.
            let all = std::mem::replace(&mut writer.is_unsettled, true);
            // Extents are in the file from here on, so that they can be mapped.
            self.store.checkpoint()?;
            (writer.journal, writer.checkpointed) = (0, writer.commit);
            writer.put_off = 0;
            (writer.deltas, writer.next_delta) = (0, 0);
            (writer.late, writer.took) = (0, Duration::ZERO);
            writer.touched = 0;
            writer.columns = column_bytes(&image);
            writer.checkpoints += 1;
            settle_columns(&Arc::new(self.store.begin_read()?), &image, all)
        })?;
        writer.is_unsettled = false;
        drop(holding);
        self.pace.lock().origins.clear();
        // Their extents are gone from the newest state.
        self.drop_idle_views();
        watch!(observed.done(writer.column_bytes - before));
        Ok(())
    }

    /// Lets the maps hold on to the newest snapshot of the store, in which their extents still are, so that pages that were
    /// replaced since can be reused. Returns the number of that snapshot; `None` if some maps are of older ones.
    pub(super) fn pin_newest(&self, writer: &Writer) -> Result<Option<u64>, CollectionError> {
        if writer.is_unsettled {
            return Ok(None);
        }
        let tx = Arc::new(self.store.begin_read()?);
        self.index.frozen(|image| keep(&image, &(Arc::clone(&tx) as Keeper)));
        self.views.lock().pin(&tx, writer.checkpointed);
        Ok(Some(tx.number()))
    }

    /// Forgets views that nobody holds, which keep what they see in the file.
    pub(super) fn drop_idle_views(&self) {
        self.views.lock().drop_idle();
    }
}

fn refused(refusal: Refusal) -> CollectionError {
    match refusal {
        Refusal::Over { cause } => CollectionError::Behind { cause },
        Refusal::Deadlock => StoreError::Deadlock.into(),
    }
}

fn column_bytes(image: &crate::index::Image<'_>) -> u64 {
    let bytes = image.columns.iter().map(|(_, c)| u64::from(c.rows()) * c.row_bytes() as u64);
    bytes.sum()
}

/// The payload of a key in a snapshot of the store.
pub(super) fn payload(tx: &ReadTransaction, key: u64) -> Result<Option<&[u8]>, CollectionError> {
    Ok(tx.find_table::<u64>(PAYLOADS)?.map(|table| table.get(key)).transpose()?.flatten())
}

impl Shard for Collection {
    fn index(&self) -> ShardIndex<'_> {
        self.inner.index.index()
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("settings", &self.inner.settings)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
