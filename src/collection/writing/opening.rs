//! Opening and closing a collection.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::checkpoint::column_bytes;
use super::handle::{Collection, Inner};
use super::writer::Writer;
use crate::collection::columns::{
    Head, Opened, Reading, open_index, read_head, track, write_columns, write_settings,
};
use crate::collection::config::Config;
use crate::collection::error::CollectionError;
use crate::collection::format::{Kind, check_byte_order};
use crate::collection::progress::Progress;
use crate::collection::reading::{Reader, Recovery};
use crate::index::{Hnsw, Stored};
use crate::observe::watch;
use crate::store::{SimulatedDisk, Store, StoreError, StoreOptions, Turn};

impl Collection {
    /// Opens the collection at `path` for writing, or makes it.
    ///
    /// Takes milliseconds at every size, plus the time to copy rows that changed since the last checkpoint, and to apply the
    /// last commits: a tenth of a second at most, unless the last commit is a large one ([`Config::replay_limit`]). Vectors and graph
    /// stay in the file and are read when a search touches them.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Mismatch`] if the collection was made with other parameters; [`StoreError::Locked`] if it is open for
    /// writing elsewhere; [`CollectionError::Store`] for damage.
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
    /// [`CollectionError::Exists`] if the file exists; else as [`Collection::open`].
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
    /// [`CollectionError::NotACollection`], [`StoreError::Corrupt`], [`StoreError::Io`].
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

    /// Opens or makes a collection on a simulated disk, for tests of power cuts.
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
            index.frozen(|image| write_columns(&mut tx, &image, 0, &Progress::default()))?;
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

    /// Returns the work that opening took.
    pub fn recovery(&self) -> Recovery {
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
