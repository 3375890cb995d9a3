//! The inverted-file index.
//!
//! Between two trainings its state is a *directory* (`directory.rs`): centroids, a quantizer, the lists with a lock each (`list.rs`), and the list of each
//! key (`places.rs`). A list has keys, rows and codes side by side; the last vector takes the place of a removed one.
//!
//! - A query ranks the centroids, reads the nearest lists (`scan.rs`) and keeps the nearest candidates, ordered by distance and then key
//!   (`probe.rs`, `nearest.rs`): the answer does not depend on the order of insertions. A batch (`group.rs`) reads each list once for all
//!   its queries.
//! - A filter tests near candidates only, between two lists, while no list is locked; a search reads further lists until `k` are accepted.
//!   A search for all vectors within a radius measures by rows, if these are kept.
//! - Codes (`codec.rs`) are of residuals, and estimate inner products under every metric: `|q - x|^2 = |q - c|^2 + |r|^2 - 2 (q - c) r` for
//!   `x = c + r`. So a query is prepared once for each *base* (`bases.rs`), not once for each list. `rerank.rs` measures `ef` candidates by
//!   their vectors, learns the errors of the codes from them, and measures all others that may be among the answers.
//! - A change holds `changing` shared, then the lock of its key's place, then a list's lock. A search holds the lock of the list that it reads,
//!   and no other. A search beside a vector that moves from one list to another may miss it: moves are counted (`moves`, odd during a
//!   move), and a disturbed search is repeated, the third time with moves blocked.
//! - A training (`train.rs`) makes a new directory beside the old one, while changes apply to the old one and record their keys in a journal, which
//!   is then replayed; the last part holds `changing` alone. Rayon's threads work under no lock but the training's own: a thread that takes up
//!   an insertion meanwhile must not find it locked. `drift.rs` counts vectors beyond those of the last training; many of them make a training due.
//! - A file stores the index whole (`persist.rs`), and a load checks everything as an insertion would: lists trust their bytes.

mod builder;
mod codes;
mod inspect;
mod lists;
mod persist;
mod search;
mod space;
mod train;

pub use builder::IvfBuilder;
pub(crate) use builder::{ListCoding, ListSettings};
pub(crate) use persist::{BASE_OF_LISTS, BASES, LENGTHS, ListImage, ListState, OF_LISTS, Watched};
use search::probe::{Probe, default_nprobe};
use search::rerank::Depth;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use super::build::{InsertBatch, Insertable};
use super::codes::Originals;
use super::encode::Encoder;
use super::parallel::OwnPool;
use super::scratch::{Parts, ScratchPool, Work};
use super::search::Search;
use crate::error::IndexError;
use crate::index::search::batch::SearchBatch;
use crate::index::settings::basis_accessors;
use crate::metric::Metric;
use crate::observe::watch;
use crate::sync::{Mutex, RwLock, RwLockWriteGuard};
use crate::vector::Block;
use crate::vector::{AsVector, Element};
use lists::directory::{Directory, Put, Scratch};
use space::Space;

/// An inverted-file index: vectors in lists by their nearest centroid, of which a search reads the
/// few nearest (Sivic and Zisserman, ICCV 2003; Jegou, Douze and Schmid, IEEE TPAMI 33, 2011).
///
/// The right choice if memory is short or vectors are often inserted and removed: without links between vectors
/// it takes little more than the vectors, with codes alone a fraction of them
/// ([`IvfBuilder::quantization`]), and a removed vector leaves nothing behind. A batch reads each list once
/// for many queries. Single queries are faster in an [`Hnsw`](crate::Hnsw).
///
/// It has the methods of `Hnsw`, and all settings of a search but [`recall`](Search::recall). It is in
/// memory, and is stored to a file and loaded as a whole ([`save`](Self::save),
/// [`load`](Self::load)). The number of lists that a search reads is its [`nprobe`](Search::nprobe), as `ef` is for the graph.
/// If these lists hold fewer than `k` vectors, or `k` that a filter accepts, the search reads further ones, so that it finds `k` hits
/// if the index has them. A search within a radius reads on until `nprobe` lists, one after the other, have
/// no answer. A filter that lists a few keys is answered by looking these up.
///
/// ```
/// use nearfield::{Ivf, Metric};
///
/// let index = Ivf::builder(3, Metric::L2).build()?;
/// index.insert_batch(&[7, 8], &[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]).run()?;
/// index.upsert(8, &[1.0, 1.0, 1.0])?;
/// let hits = index.search(&[0.0, 0.1, 1.0]).k(1).nprobe(16).run()?;
/// assert_eq!(hits[0].key, 7);
/// assert!(index.remove(7)?);
/// assert_eq!(index.len(), 1);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
///
/// # Training
///
/// An index begins as one list, which is searched exactly. Once it holds about 4,000 vectors, or
/// one batch brings them, it is *trained*: k-means finds centroids on a sample, and the
/// vectors are moved to their lists. A batch is trained for once, before its first vector is
/// inserted, on a sample of all of it. Then lists that would be many times longer than others are split,
/// if the index chooses their number.
///
/// It is trained anew when
///
/// - the index has four times the vectors of the last training (sixteen times without
///   originals); not if the number of lists was chosen,
/// - or the data has moved: of the vectors since the last training a fourth, and at least an
///   eighth of all (half of all without originals), are farther from their centroids or coded
///   worse than nearly all of its sample were ([`ListStats::strays`](crate::report::ListStats::strays)),
/// - or the lists have become twice as uneven; again not if their number was chosen.
///
/// Each is a share of the vectors, so that the time of all trainings is in proportion to the last
/// one's. The insertion that makes a training due runs it, on the rayon pool that it is in or the
/// global one: that takes about as long as inserting all vectors in one batch; all others, and
/// searches, continue meanwhile. [`train`](Self::train) runs it at once. Both the old lists and the
/// new ones are in memory then.
///
/// # Recall
///
/// Without codes, a search that reads all lists is exact. With codes and the vectors beside them
/// ([`Originals::Kept`]) it measures the nearest [`ef`](Search::ef) candidates by their vectors.
/// Their errors show the precision of codes around the query, and
/// every further vector that may be among the answers by that is measured too: few if codes
/// separate vectors, many if they do not. So the vectors that codes hide are found on data of
/// any shape, also before the next training. Without the vectors
/// [`ListStats::code_error`](crate::report::ListStats::code_error) is the precision of estimates.
///
/// # Concurrency
///
/// All methods take `&self`, from any number of threads. Each list has a lock, which a search takes
/// to read it and a change to change it; a change delays only searches of its list.
/// A search that ran while an upsert moved a vector from one list to another is repeated, so it
/// sees either the old vector or the new one. A training makes its lists aside and replaces the old ones
/// as a whole. A filter may call [`get`](Self::get) and
/// [`contains`](Self::contains) of the searched index; other calls may wait for the search, and so for ever.
pub struct Ivf {
    space: Space,
    settings: ListSettings,
    directory: RwLock<Arc<Directory>>,
    /// Shared by all changes of vectors, taken alone when the directory is replaced.
    changing: RwLock<()>,
    /// Whether a training is in progress, which needs the keys of changes.
    recording: AtomicBool,
    /// Keys that changed since the training began.
    journal: Mutex<Vec<u64>>,
    training: Mutex<()>,
    /// Vectors at which the index is trained next.
    train_at: AtomicUsize,
    /// Insertions since the last training.
    changes: AtomicUsize,
    /// The imbalance of the lists after the last training, as bits.
    balance: AtomicU64,
    /// Trainings since the index was made.
    trainings: AtomicU64,
    /// Batches in progress.
    batches: AtomicUsize,
    /// Whether the index was trained for a batch in progress.
    is_fresh: AtomicBool,
    depth: Depth,
    /// Held alone while a vector moves from one list to another.
    moving: RwLock<()>,
    /// Twice the number of vectors that moved from one list to another; odd during a move.
    moves: AtomicU64,
    work: ScratchPool,
    /// Buffers for reading lists.
    probes: ScratchPool<Probe>,
    own_pool: OwnPool,
    search_distances: CachePadded<AtomicU64>,
    insert_distances: CachePadded<AtomicU64>,
}

impl Ivf {
    /// Starts an index of vectors of `dimension` components (1 to 65,536) under `metric`.
    pub fn builder(dimension: usize, metric: Metric) -> IvfBuilder {
        IvfBuilder::new(dimension, metric)
    }

    fn new(space: Space, settings: ListSettings) -> Self {
        let train_at = train::first(&settings);
        Self {
            space,
            settings,
            directory: RwLock::new(Arc::new(Directory::untrained())),
            changing: RwLock::new(()),
            recording: AtomicBool::new(false),
            journal: Mutex::default(),
            training: Mutex::default(),
            train_at: AtomicUsize::new(train_at),
            changes: AtomicUsize::new(0),
            balance: AtomicU64::new(1.0_f64.to_bits()),
            trainings: AtomicU64::new(0),
            batches: AtomicUsize::new(0),
            is_fresh: AtomicBool::new(false),
            depth: Depth::default(),
            moving: RwLock::new(()),
            moves: AtomicU64::new(0),
            work: ScratchPool::new(),
            probes: ScratchPool::new(),
            own_pool: OwnPool::default(),
            search_distances: CachePadded::default(),
            insert_distances: CachePadded::default(),
        }
    }

    /// Inserts a vector under a new key. Once it returns, searches find the vector.
    ///
    /// Takes a distance to each centroid, of which an index has about `4 * sqrt(n)`.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if it is no vector for this index, [`IndexError::KeyExists`],
    /// [`IndexError::OutOfMemory`] and [`IndexError::Full`]. The index is then as it was. An index
    /// with codes refuses components beyond 2^49 in magnitude.
    pub fn insert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<(), IndexError> {
        self.insert_vector(key, vector.as_vector())
    }

    /// Inserts a vector, or replaces the vector of the key. Returns whether the key had one.
    ///
    /// ```
    /// use nearfield::{Ivf, Metric};
    ///
    /// let index = Ivf::builder(1, Metric::L2).build()?;
    /// assert!(!index.upsert(5, &[1.0])?);
    /// assert!(index.upsert(5, &[2.0])?);
    /// assert_eq!(index.get(5), Some(vec![2.0]));
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), without [`IndexError::KeyExists`].
    pub fn upsert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<bool, IndexError> {
        self.upsert_vector(key, vector.as_vector())
    }

    /// Removes the vector of a key. Returns whether the key had one. Once it returns, no search that begins
    /// finds it. Its memory is used again, or released once a list is half empty.
    ///
    /// Compares the keys of the list, one after the other.
    ///
    /// # Errors
    ///
    /// None so far: the type is that of [`Hnsw::remove`](crate::Hnsw::remove).
    pub fn remove(&self, key: u64) -> Result<bool, IndexError> {
        watch!(let observed = crate::observe::Operation::Remove.begin());
        let _shared = self.changing.read();
        // A training that copies the list by position may have passed the free one.
        let removed = self.directory().remove(key, |moved| self.note(moved));
        if removed {
            self.note(key);
        }
        watch!(observed.done(removed.into()));
        Ok(removed)
    }

    /// Inserts many vectors, one after the other in `vectors`, on many threads. Large
    /// batches are best: the index is trained once for all of them.
    ///
    /// ```
    /// use nearfield::{Ivf, Metric};
    ///
    /// let index = Ivf::builder(2, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3], &[0.0, 0.0, 5.0, 5.0, 9.0, 9.0]).threads(2).run()?;
    /// assert_eq!(index.len(), 3);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn insert_batch<'a, V: AsVector + ?Sized>(
        &'a self,
        keys: &'a [u64],
        vectors: &'a V,
    ) -> InsertBatch<'a> {
        InsertBatch::new(self, keys, vectors)
    }

    /// Searches for the vectors nearest to `query`: `index.search(&query).k(10).nprobe(32).run()?`.
    ///
    /// The answer is exact if the search probes all lists and the index has no codes.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> Search<'a> {
        Search::new(self, query)
    }

    /// Searches for the vectors nearest to each of many queries, one after the other in `queries`,
    /// on many threads. Each list is read once for all queries that probe it.
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        SearchBatch::new(self, queries)
    }

    /// Trains the index on the vectors that it has now, for any number of them. Does nothing if a
    /// training is in progress.
    ///
    /// ```
    /// use nearfield::{Ivf, Metric};
    ///
    /// let index = Ivf::builder(1, Metric::L2).lists(4).build()?;
    /// let vectors: Vec<f32> = (0..100).map(|i| i as f32).collect();
    /// index.insert_batch(&(0..100).collect::<Vec<_>>(), &vectors).run()?;
    /// assert!(!index.is_trained());
    /// index.train()?;
    /// assert!(index.is_trained());
    /// assert_eq!(index.search(&[7.1]).k(1).nprobe(1).run()?[0].key, 7);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::TooFewVectors`] if the index has fewer vectors than lists, or than product
    /// quantization has centroids (16); [`IndexError::OutOfMemory`]. The index is then as it was.
    pub fn train(&self) -> Result<(), IndexError> {
        self.train_on(self.len(), None)
    }

    /// Returns whether the index is trained; searches scan every vector until then.
    pub fn is_trained(&self) -> bool {
        self.directory().is_trained()
    }

    /// Returns the vector of a key as it is stored: scaled to unit length under [`Metric::Cosine`],
    /// rounded to the element type, or decoded from its code if originals are dropped; bits are
    /// 0 and 1.
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.with_probe(|work, probe| {
            let row = &mut work.row;
            let directory = self.directory();
            let found = directory.read_key(&self.space, key, row, &mut probe.scratch);
            if found && directory.has_rows {
                return Some(self.space.encoder.decode(row));
            }
            found.then(|| probe.scratch.floats.clone())
        })
    }

    /// Returns whether the index has a vector under the key.
    pub fn contains(&self, key: u64) -> bool {
        self.directory().places.with(key, |_| ()).is_some()
    }

    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.directory().len()
    }

    /// Returns the keys of all vectors, in no order. `O(n)`. A vector that another thread inserts or removes meanwhile may be among them
    /// or not.
    pub fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        let mut keys = Vec::with_capacity(self.len());
        self.directory().places.for_each(|key, _list| keys.push(key));
        keys.into_iter()
    }

    basis_accessors!();
}

impl Ivf {
    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read())
    }

    /// Returns the lists that a search reads if the caller sets no `nprobe`.
    fn probes(&self, directory: &Directory) -> usize {
        let lists = directory.lists.len();
        let chosen = self.settings.nprobe.unwrap_or_else(|| default_nprobe(lists));
        chosen.clamp(1, lists)
    }

    /// Returns whether vectors are encoded once the index is trained.
    /// Runs `with` on a set of buffers of each kind.
    fn with_probe<R>(&self, with: impl FnOnce(&mut Work, &mut Probe) -> R) -> R {
        self.work.with(|work| self.probes.with(|probe| with(work, probe)))
    }

    fn is_coded(&self) -> bool {
        self.settings.coding != ListCoding::Vectors
    }

    /// Inserts the vector in `work.row`, or replaces the key's. Returns whether the key had one.
    fn put(&self, key: u64, work: &mut Work, replace: bool) -> Result<bool, IndexError> {
        self.probes.with(|probe| self.put_row(key, &work.row, &mut probe.scratch, replace))
    }

    fn put_row(
        &self,
        key: u64,
        row: &[Block],
        scratch: &mut Scratch,
        replace: bool,
    ) -> Result<bool, IndexError> {
        self.space.floats(row, &mut scratch.floats);
        if self.is_coded() {
            self.space.check_coded(&scratch.floats)?;
        }
        let replaced = {
            let _shared = self.changing.read();
            let directory = self.directory();
            let moving = || Moving::new(self);
            let moving: Option<&dyn Fn() -> _> = if replace { Some(&moving) } else { None };
            let Put { replaced, moved } = directory.put(&self.space, key, row, scratch, moving)?;
            self.note(key);
            // A training that copies the list by position may have passed the free one.
            if let Some(moved) = moved {
                self.note(moved);
            }
            let distances = if directory.is_trained() { directory.lists.len() as u64 } else { 0 };
            self.insert_distances.fetch_add(distances, Ordering::Relaxed);
            replaced
        };
        self.tend();
        Ok(replaced)
    }

    /// Records for a training that a key changed. The caller shares `changing`.
    fn note(&self, key: u64) {
        if self.recording.load(Ordering::Acquire) {
            self.journal.lock().push(key);
        }
    }
}

/// A move of a vector from one list to another, counted for concurrent searches.
struct Moving<'a> {
    moves: &'a AtomicU64,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl<'a> Moving<'a> {
    fn new(ivf: &'a Ivf) -> Self {
        let alone = ivf.moving.write();
        // A thread that sees one of the two lists changed sees this, too.
        ivf.moves.fetch_add(1, Ordering::Relaxed);
        Self { moves: &ivf.moves, _alone: alone }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.moves.fetch_add(1, Ordering::Release);
    }
}

impl Parts for Ivf {
    fn encoder(&self) -> &Encoder {
        &self.space.encoder
    }

    fn work(&self) -> &ScratchPool {
        &self.work
    }

    fn own_pool(&self) -> &OwnPool {
        &self.own_pool
    }
}

impl Insertable for Ivf {
    fn contains(&self, key: u64) -> bool {
        Self::contains(self, key)
    }

    fn expect(&self, count: usize, vector: &dyn Fn(usize, &mut Work)) {
        self.begin_batch(count, vector);
    }

    fn has_come(&self) {
        self.end_batch();
    }

    fn upsert_encoded(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        self.put(key, work, true)
    }

    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        self.put(key, work, false).map(|_| ())
    }
}
