//! A collection: its parts, and reading.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pace::Pace;
use super::writer::Writer;
use crate::attributes::Schema;
use crate::collection::attributes::{KnownFields, KnownSelections};
use crate::collection::error::CollectionError;
use crate::collection::reading::{RecoveryReport, Snapshot, Views, payload};
use crate::collection::tuning::Tuning;
use crate::index::{Calibrate, Hnsw, SearchBatch, Settings, Shard, ShardIndex, Stored};
use crate::metric::Metric;
use crate::store::{Store, Turn};
use crate::vector::{AsVector, Element};

/// Vectors, keys and payloads in one file, found by nearness, that no crash can break.
///
/// Cheap to clone; clones are handles to the same collection, for any thread. Searches of this process find a commit when
/// [`Transaction::commit`](crate::Transaction::commit) returns, and the commit survives any crash from then on.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("nearfield-doc-collection-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("photos.nf");
/// use nearfield::{Collection, Metric};
///
/// let photos = Collection::builder(3, Metric::Cosine).open(&path)?;
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
    pub(in crate::collection) inner: Arc<Inner>,
}

pub(in crate::collection) struct Inner {
    pub(in crate::collection) store: Store,
    pub(in crate::collection) index: Hnsw,
    pub(super) settings: Settings,
    pub(super) tuning: Tuning,
    /// State that only the holder of the right to write may touch. The turn is over when the file has a commit that the index lacks.
    pub(super) writer: Turn<Writer>,
    /// Locked while the file has a commit that the index lacks.
    pub(super) pace: Mutex<Pace>,
    pub(super) views: Mutex<Views>,
    pub(super) recovery: RecoveryReport,
    pub(in crate::collection) fields: KnownFields,
    /// The schema of the newest commit, once a transaction asked for it; only the holder of the right to write changes it.
    pub(super) schema: Mutex<Option<Arc<Schema>>>,
    /// Those of the snapshots, too.
    pub(in crate::collection) selections: Arc<KnownSelections>,
}

impl Collection {
    /// As [`Hnsw::calibrate`]. The measurements are not written to the file.
    pub fn calibrate(&self) -> Calibrate<'_> {
        self.inner.index.calibrate()
    }

    /// As [`Hnsw::search_batch`].
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        self.inner.index.search_batch(queries)
    }

    /// Returns the vector of a key, as [`Hnsw::get`]. Returns `None` in a forked child of the process that opened the collection.
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.inner.index.is_bound_here().then(|| self.inner.index.get(key))?
    }

    /// Returns whether the key has a vector. Returns `false` in a forked child of the process that opened the collection.
    pub fn contains(&self, key: u64) -> bool {
        self.inner.index.is_bound_here() && self.inner.index.contains(key)
    }

    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.inner.index.len()
    }

    /// Returns the number of components of a vector.
    pub fn dimension(&self) -> usize {
        self.inner.index.dimension()
    }

    /// Returns the metric by which vectors are compared.
    pub fn metric(&self) -> Metric {
        self.inner.index.metric()
    }

    /// Returns the type in which components are stored.
    pub fn element(&self) -> Element {
        self.inner.index.element()
    }

    /// Returns whether the collection has no vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the payload of a key, in the newest commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn payload(&self, key: u64) -> Result<Option<Vec<u8>>, CollectionError> {
        payload(&self.inner.store.begin_read()?, key).map(|found| found.map(<[u8]>::to_vec))
    }

    /// Returns the collection as the newest commit left it, for the lifetime of the snapshot.
    ///
    /// It is opened anew from the file, in separate memory, with the rows that changed since the last checkpoint copied from this
    /// index: it costs milliseconds, and no vector is inserted again. If few vectors were committed since, a snapshot that was dropped
    /// goes on; if none were, and the last snapshot still exists, the new one is the same. While maintenance or a large commit is under
    /// way, a new snapshot inserts the same vectors as opening ([`CollectionBuilder::replay_limit`](crate::CollectionBuilder::replay_limit)).
    /// The file keeps the extents of a snapshot until it is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt), [`IndexError::OutOfMemory`](crate::IndexError::OutOfMemory).
    pub fn snapshot(&self) -> Result<Snapshot, CollectionError> {
        self.inner.store.admit()?;
        let Inner { store, tuning, views, .. } = &*self.inner;
        let live = || self.inner.live();
        let newest = views.lock().newest(store, tuning.isa, Some(&live));
        newest.map_err(self.inner.place())
    }
}

impl Inner {
    /// Adds the path of the file to an error.
    pub(in crate::collection) fn place(&self) -> impl Fn(CollectionError) -> CollectionError {
        |error| error.at(self.store.path())
    }

    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.tuning.memory_limit
    }
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
