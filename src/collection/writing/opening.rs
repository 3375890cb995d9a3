//! Opening and closing a collection.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::checkpoint::column_bytes;
use super::handle::{Collection, Inner};
use super::writer::Writer;
use crate::clock::Instant;
use crate::collection::attributes::{KnownFields, KnownSelections};
use crate::collection::builder::CollectionBuilder;
use crate::collection::columns::{
    Head, Opened, Reading, open_index, read_head, track, write_columns, write_settings,
};
use crate::collection::error::CollectionError;
use crate::collection::format::{Kind, check_byte_order};
use crate::collection::progress::Progress;
use crate::collection::reading::{CollectionReader, RecoveryReport, Views};
use crate::collection::tuning::Tuning;
use crate::error_kind::ErrorKind;
use crate::index::{Hnsw, Kernels, Stored};
use crate::metric::Metric;
use crate::observe::watch;
use crate::store::{Store, StoreOptions, Turn};

impl Collection {
    /// Returns a builder of collections of vectors of `dimension` components under `metric`.
    pub fn builder(dimension: usize, metric: Metric) -> CollectionBuilder {
        CollectionBuilder::new(dimension, metric)
    }

    /// Opens the collection at `path` for writing, with all settings from the file. [`CollectionBuilder::create`] makes a collection;
    /// [`CollectionBuilder::open`] opens one with other limits, or makes it.
    ///
    /// Takes milliseconds at every size, plus the time to copy rows that changed since the last checkpoint, and to apply the
    /// last commits: a tenth of a second at most, unless the last commit is a large one ([`CollectionBuilder::replay_limit`]). Vectors
    /// and graph stay in the file and are read when a search touches them.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-open-{}.nf", std::process::id()));
    /// use nearfield::{Collection, ErrorKind, Metric};
    ///
    /// let missing = Collection::open(&path).unwrap_err();
    /// assert_eq!(missing.kind(), ErrorKind::NotFound);
    /// drop(Collection::builder(3, Metric::Cosine).create(&path)?);
    /// let photos = Collection::open(&path)?;
    /// assert!(photos.is_empty());
    /// # drop(photos);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::Missing`] without a file; [`StoreError::NotAStore`] or [`CollectionError::NotACollection`] for an empty or
    /// unfinished one; [`StoreError::Locked`] if it is open for writing elsewhere; [`CollectionError::Store`] for damage.
    ///
    /// [`StoreError::NotAStore`]: crate::store::StoreError::NotAStore
    /// [`StoreError::Locked`]: crate::store::StoreError::Locked
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CollectionError> {
        let start = Instant::now();
        let path = path.as_ref();
        let opened = StoreOptions::new().open_existing(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => CollectionError::Missing { path: path.to_path_buf() },
            _ => error.into(),
        });
        opened
            .and_then(|store| Self::with_store(store, None, start))
            .map_err(|error| error.at(Some(path)))
    }

    /// Opens the collection at `path` for reading, while another process may be writing it.
    ///
    /// # Errors
    ///
    /// [`CollectionError::NotACollection`], [`StoreError::Corrupt`](crate::store::StoreError::Corrupt),
    /// [`StoreError::Io`](crate::store::StoreError::Io).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<CollectionReader, CollectionError> {
        CollectionReader::open(path.as_ref(), &StoreOptions::new())
    }

    /// As [`Collection::open_read_only`], without a lock, for file systems that have none
    /// ([`StoreError::NoLocks`](crate::store::StoreError::NoLocks)).
    ///
    /// The caller promises that no process has the file open for writing meanwhile: see
    /// [`StoreOptions::unguarded`](crate::store::StoreOptions::unguarded).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_read_only_unguarded(
        path: impl AsRef<Path>,
    ) -> Result<CollectionReader, CollectionError> {
        CollectionReader::open(path.as_ref(), &StoreOptions::new().unguarded())
    }

    /// Opens the collection in `store`. An empty store becomes a collection if the caller has a builder, whose settings are compared with
    /// those of a collection.
    pub(super) fn with_store(
        store: Store,
        builder: Option<&CollectionBuilder>,
        start: Instant,
    ) -> Result<Self, CollectionError> {
        watch!(let observed = crate::observe::Operation::Open.begin());
        check_byte_order()?;
        let tuning = builder.map_or_else(Tuning::default, CollectionBuilder::tuning);
        let tx = Arc::new(store.begin_read()?);
        let (opened, head) = match (read_head(&tx, Kind::Graph)?, builder) {
            (Some(head), builder) => {
                head.admit(None)?;
                builder.map_or(Ok(()), |builder| builder.check(&head.settings))?;
                let track = |index: &Hnsw| {
                    index.frozen(|image| track(&image));
                    Ok(())
                };
                let how = (Kernels::on(tuning.isa), Reading::Mapped);
                (open_index(&tx, &head, how, None, track)?, head)
            }
            (None, Some(builder)) => make(&store, builder)?,
            (None, None) => return Err(CollectionError::NotACollection { path: None }),
        };
        let Opened { index, commit, operations, replay, journal, deltas, next_delta } = opened;
        let Head { settings, checkpoint, .. } = head;
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
        let selections = Arc::new(KnownSelections::new(tuning.selection_memory));
        let inner = Inner {
            store,
            index,
            settings,
            tuning,
            writer: Turn::new(writer),
            pace: Mutex::default(),
            views: Mutex::new(Views::new(Arc::clone(&selections))),
            recovery: RecoveryReport { operations, replay, total },
            fields: KnownFields::default(),
            schema: Mutex::default(),
            selections,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the work that opening took.
    pub fn recovery(&self) -> RecoveryReport {
        self.inner.recovery
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

impl CollectionBuilder {
    /// Opens the collection at `path` for writing, or makes it if the path has no file or an empty one. Takes the time of
    /// [`Collection::open`].
    ///
    /// # Errors
    ///
    /// [`CollectionError::Mismatch`] if the collection was made with other parameters than those that are set; else as
    /// [`Collection::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Collection, CollectionError> {
        let start = Instant::now();
        let path = path.as_ref();
        let store = self.store_options().open(path)?;
        let opened = Collection::with_store(store, Some(&self), start);
        opened.map_err(|error| error.at(Some(path)))
    }

    /// Makes a collection at `path`.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Exists`] if the file exists; else as [`CollectionBuilder::open`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<Collection, CollectionError> {
        let start = Instant::now();
        let path = path.as_ref();
        let store = self.store_options().create(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => CollectionError::Exists { path: path.to_path_buf() },
            _ => error.into(),
        })?;
        let made = Collection::with_store(store, Some(&self), start);
        made.map_err(|error| error.at(Some(path)))
    }
}

/// Makes an empty collection in a store.
fn make(
    store: &Store,
    builder: &CollectionBuilder,
) -> Result<(Opened<Hnsw>, Head), CollectionError> {
    let (mut index, settings) = builder.build()?;
    // Checkpoints turn its memory into maps.
    index.bind();
    let mut tx = store.begin_write()?;
    write_settings(&mut tx, &settings, None)?;
    index.frozen(|image| write_columns(&mut tx, &image, 0, &Progress::default()))?;
    tx.commit()?;
    let head = read_head(&store.begin_read()?, Kind::Graph)?
        .ok_or(CollectionError::NotACollection { path: None })?;
    Ok((Opened::empty(index), head))
}

#[cfg(feature = "simulation")]
impl CollectionBuilder {
    /// Opens or makes a collection on a simulated disk, for tests of power cuts.
    ///
    /// # Errors
    ///
    /// As [`CollectionBuilder::open`], but for [`StoreError::Locked`](crate::store::StoreError::Locked).
    pub fn open_simulated(
        self,
        disk: &crate::store::SimulatedDisk,
    ) -> Result<Collection, CollectionError> {
        let start = Instant::now();
        let store = self.store_options().open_simulated(disk)?;
        Collection::with_store(store, Some(&self), start)
    }
}
