//! The inverted-file index.

mod builder;
mod codec;
mod directory;
mod group;
mod list;
mod nearest;
mod places;
mod probe;
mod space;
mod train;

pub use builder::{IvfBuilder, IvfQuantization};
pub(super) use probe::Probe;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use super::batch::{InsertBatch, Insertable};
use super::check::{CheckReport, Fault, FaultKind};
use super::codes::Originals;
use super::encoder::Encoder;
use super::search::{Search, SearchBatch};
use super::stats::{Bytes, ListStats, Stats};
use super::threads::OwnPool;
use super::work::{Parts, Work, WorkPool};
use crate::error::IndexError;
use crate::metric::Metric;
use crate::vector::{AsVector, Block, Element};
use directory::Directory;
use space::Space;

/// An inverted-file index: vectors in lists by their nearest centroid, of which a search reads the
/// few nearest (Sivic and Zisserman, ICCV 2003; Jegou, Douze and Schmid, IEEE TPAMI 33, 2011).
///
/// The right choice where memory is short or queries come in large batches: it is built several
/// times as fast as [`Hnsw`](crate::Hnsw), with codes it takes a fraction of the memory
/// ([`IvfQuantization`]), a batch reads each list once for many queries, and vectors are removed
/// and replaced at no cost to later searches. Single queries are faster in an `Hnsw`.
///
/// It has the methods of `Hnsw`. How many lists are read is the search's
/// [`nprobe`](Search::nprobe), where the graph has `ef`. If the lists that are read hold fewer than
/// `k` vectors, further ones are, so that there are `k` hits if there are as many vectors.
///
/// ```
/// use nearfield::{Ivf, Metric};
///
/// let index = Ivf::builder(3, Metric::L2).build()?;
/// index.insert_batch(&[7, 8], &[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]).run()?;
/// index.upsert(8, &[1.0, 1.0, 1.0])?;
/// let hits = index.search(&[0.0, 0.1, 1.0]).k(1).nprobe(16).run()?;
/// assert_eq!(hits[0].key, 7);
/// assert!(index.remove(7));
/// assert_eq!(index.len(), 1);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
///
/// # Training
///
/// An index begins as one list, which is searched exactly. Once about 4,000 vectors are in it, or
/// one batch brings them, it is *trained*: centroids are found by k-means on a sample, and the
/// vectors are put into their lists. Lists that would be many times as long as others are split
/// then, where the index chooses their number. It is trained anew when there are four times as many (sixteen
/// times without originals), or when the lists have become twice as uneven, so insertions one by
/// one cost little more than one batch. The insertion that sets training off does it, on the rayon
/// pool that it is in or the global one, and takes seconds for a million vectors; all others, and
/// searches, go on meanwhile. [`train`](Self::train) does it at once. Both the old lists and the
/// new ones are in memory then.
///
/// # Concurrency
///
/// All methods take `&self`, from any number of threads. Each list has a lock, which a search takes
/// to read it and a change to change it; a change holds up no more than searches of its list.
/// A search that ran while an upsert moved a vector from one list to another is done again, so it
/// sees either the old vector or the new one. Trained lists are made aside and take the old ones'
/// place as a whole.
pub struct Ivf {
    space: Space,
    settings: IvfBuilder,
    directory: RwLock<Arc<Directory>>,
    /// Shared by all changes of vectors, taken alone when the directory is replaced.
    changing: RwLock<()>,
    /// Whether a training is under way, which must hear of changes.
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
    /// Taken alone while a vector goes from one list to another.
    moving: RwLock<()>,
    /// Twice the number of vectors that went from one list to another; odd while one does.
    moves: AtomicU64,
    work: WorkPool,
    own_pool: OwnPool,
    search_distances: CachePadded<AtomicU64>,
    insert_distances: CachePadded<AtomicU64>,
}

impl Ivf {
    /// Starts an index of vectors of `dimension` components (1 to 65,536) under `metric`.
    pub fn builder(dimension: usize, metric: Metric) -> IvfBuilder {
        IvfBuilder::new(dimension, metric)
    }

    fn new(space: Space, settings: IvfBuilder) -> Self {
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
            moving: RwLock::new(()),
            moves: AtomicU64::new(0),
            work: WorkPool::new(),
            own_pool: OwnPool::default(),
            search_distances: CachePadded::default(),
            insert_distances: CachePadded::default(),
        }
    }

    /// Inserts a vector under a new key. When it returns, searches find the vector.
    ///
    /// Takes a distance to each centroid, which are about `4 * sqrt(n)`.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if it is no vector for this index, [`IndexError::KeyExists`],
    /// [`IndexError::OutOfMemory`] and [`IndexError::Full`]. The index is then as it was. An index
    /// with codes refuses components beyond 2^49 in magnitude.
    pub fn insert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<(), IndexError> {
        self.with_encoded(vector, |work| self.put(key, work, false)).map(|_| ())
    }

    /// Inserts a vector, or puts it in place of the one under the key; whether there was one.
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
    /// As [`insert`](Self::insert), but for a key that is there.
    pub fn upsert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<bool, IndexError> {
        self.with_encoded(vector, |work| self.put(key, work, true))
    }

    /// Removes the vector of a key; whether there was one. Its memory is used again, or given back
    /// once a list is half empty.
    ///
    /// Takes a look at each key of the list.
    pub fn remove(&self, key: u64) -> bool {
        let _shared = self.changing.read();
        // A training that copies the list by position may have passed the free one.
        let removed = self.directory().remove(key, |moved| self.note(moved));
        if removed {
            self.note(key);
        }
        removed
    }

    /// Inserts many vectors, which stand one after the other in `vectors`, on many threads. Large
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

    /// The nearest vectors to `query`: `index.search(&query).k(10).nprobe(32).run()?`.
    ///
    /// With as many probes as lists, and without codes, the answer is exact.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> Search<'a> {
        Search::new(self, query)
    }

    /// The nearest vectors to each of many queries, which stand one after the other in `queries`,
    /// on many threads. Each list is read once for all queries that probe it.
    pub fn search_batch<'a, V: AsVector + ?Sized>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        SearchBatch::new(self, queries)
    }

    /// Trains the index on the vectors that it has now, whatever their number. Does nothing if a
    /// training is under way.
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
    /// [`IndexError::TooFewVectors`] if there are fewer vectors than lists, or than product
    /// quantization has centroids (16); [`IndexError::OutOfMemory`]. The index is then as it was.
    pub fn train(&self) -> Result<(), IndexError> {
        self.train_on(self.len(), None)
    }

    /// Whether the index is trained; searches look at every vector until then.
    pub fn is_trained(&self) -> bool {
        self.directory().is_trained()
    }

    /// The vector of a key as it is stored: scaled to unit length under [`Metric::Cosine`],
    /// rounded to the element type, or what its code tells if originals are dropped; bits come as
    /// 0 and 1.
    pub fn get(&self, key: u64) -> Option<Vec<f32>> {
        self.work.with(|work| {
            let Work { row, probe, .. } = work;
            let directory = self.directory();
            let found = directory.read_key(&self.space, key, row, &mut probe.scratch);
            if found && directory.has_rows {
                return Some(self.space.encoder.decode(row));
            }
            found.then(|| probe.scratch.floats.clone())
        })
    }

    /// Whether there is a vector under the key.
    pub fn contains(&self, key: u64) -> bool {
        self.directory().places.with(key, |_| ()).is_some()
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.directory().len()
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.space.encoder.dimension
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.space.encoder.metric
    }

    /// What a component is stored as.
    pub fn element(&self) -> Element {
        self.space.encoder.element
    }

    /// Sizes, and what has been done.
    pub fn stats(&self) -> Stats {
        let Encoder { dimension, metric, element } = self.space.encoder;
        let directory = self.directory();
        let mut bytes = Bytes {
            centroids: directory.centroid_bytes(),
            keys: directory.places.bytes(),
            scratch: self.work.bytes(),
            ..Bytes::default()
        };
        let (mut empty, mut longest) = (0, 0);
        for list in &directory.lists {
            let list = list.read();
            empty += usize::from(list.len() == 0);
            longest = longest.max(list.len());
            let [vectors, codes, keys] = list.bytes();
            bytes.vectors += vectors;
            bytes.codes += codes;
            bytes.keys += keys;
        }
        let lists = ListStats {
            count: directory.lists.len(),
            empty,
            longest,
            imbalance: directory.imbalance(),
            nprobe: self.probes(&directory),
            is_trained: directory.is_trained(),
        };
        Stats {
            len: directory.len(),
            dimension,
            metric,
            element,
            code_bits: directory.codec.as_ref().and(self.settings.quantization.bits()),
            isa: self.space.isa,
            levels: Vec::new(),
            lists: Some(lists),
            bytes,
            search_distances: self.search_distances.load(Ordering::Relaxed),
            insert_distances: self.insert_distances.load(Ordering::Relaxed),
        }
    }

    /// Reads all lists and tells whether they are sound: every vector in the list of its nearest
    /// centroid, every key leading to its vector. What codes alone tell of a vector does not say
    /// which centroid was nearest, so without originals only keys are checked.
    ///
    /// Takes as long as inserting the vectors; changes wait meanwhile, searches go on.
    pub fn check(&self) -> CheckReport {
        let _alone = self.changing.write();
        let directory = self.directory();
        let mut faults = Vec::new();
        let mut fault = |key, kind| faults.push(Fault { level: 0, key, kind });
        let mut in_lists = 0;
        self.work.with(|work| {
            let Work { row, probe, .. } = work;
            let scratch = &mut probe.scratch;
            for (number, list) in directory.lists.iter().enumerate() {
                let number = number as u32;
                let list = list.read();
                in_lists += list.len();
                let mut seen = HashSet::with_capacity(list.len());
                for (position, &key) in list.keys.iter().enumerate() {
                    let place = directory.places.with(key, |place| place);
                    if place != Some(number) || !seen.insert(key) {
                        fault(key, FaultKind::LostKey);
                    }
                    if directory.has_rows {
                        directory.read(&self.space, number, &list, position, row, scratch);
                        self.space.pad(&scratch.floats, &mut scratch.row);
                        let (row, keys) = (&scratch.row, &mut scratch.keys);
                        if directory.nearest(&self.space, row, keys) != number {
                            fault(key, FaultKind::WrongList);
                        }
                    }
                }
            }
        });
        if in_lists != directory.places.len() || in_lists != directory.len() {
            directory.places.for_each(|key, list| {
                if directory.lists[list as usize].read().position(key).is_none() {
                    fault(key, FaultKind::LostKey);
                }
            });
        }
        CheckReport { len: directory.len(), levels: Vec::new(), faults }
    }
}

impl Ivf {
    fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read())
    }

    /// Lists that a search reads if it does not say.
    fn probes(&self, directory: &Directory) -> usize {
        let lists = directory.lists.len();
        let chosen = self.settings.nprobe.unwrap_or_else(|| probe::default_nprobe(lists));
        chosen.clamp(1, lists)
    }

    /// Whether vectors are coded once the index is trained.
    fn is_coded(&self) -> bool {
        self.settings.quantization != IvfQuantization::None
    }

    fn with_encoded<R, V: AsVector + ?Sized>(
        &self,
        vector: &V,
        with: impl FnOnce(&mut Work) -> Result<R, IndexError>,
    ) -> Result<R, IndexError> {
        self.work.with(|work| {
            work.row.resize(self.space.blocks(), Block::ZERO);
            self.space.encoder.encode(vector.as_vector(), &mut work.row)?;
            with(work)
        })
    }

    /// Inserts the vector in `work.row`, or puts it in place of another; whether there was one.
    fn put(&self, key: u64, work: &mut Work, replace: bool) -> Result<bool, IndexError> {
        let Work { row, probe, .. } = work;
        let scratch = &mut probe.scratch;
        self.space.floats(row, &mut scratch.floats);
        if self.is_coded() {
            self.space.check_coded(&scratch.floats)?;
        }
        let replaced = {
            let _shared = self.changing.read();
            let directory = self.directory();
            let moving = || Moving::new(self);
            let replaced = directory.put(&self.space, key, row, scratch, replace, moving)?;
            self.note(key);
            let distances = if directory.is_trained() { directory.lists.len() as u64 } else { 0 };
            self.insert_distances.fetch_add(distances, Ordering::Relaxed);
            replaced
        };
        self.tend();
        Ok(replaced)
    }

    /// Tells a training that a key changed. Called by whoever shares `changing`.
    fn note(&self, key: u64) {
        if self.recording.load(Ordering::Acquire) {
            self.journal.lock().push(key);
        }
    }
}

/// A vector goes from one list to another; searches that run meanwhile are told.
struct Moving<'a> {
    moves: &'a AtomicU64,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl<'a> Moving<'a> {
    fn new(ivf: &'a Ivf) -> Self {
        let alone = ivf.moving.write();
        // Seen by whoever sees one of the two lists changed.
        ivf.moves.fetch_add(1, Ordering::Relaxed);
        Self { moves: &ivf.moves, _alone: alone }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.moves.fetch_add(1, Ordering::Release);
    }
}

impl fmt::Debug for Ivf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory();
        f.debug_struct("Ivf")
            .field("len", &directory.len())
            .field("dimension", &self.dimension())
            .field("metric", &self.metric())
            .field("element", &self.element())
            .field("lists", &directory.lists.len())
            .field("trained", &directory.is_trained())
            .field("quantization", &self.settings.quantization)
            .field("originals", &self.settings.originals)
            .finish_non_exhaustive()
    }
}

impl Parts for Ivf {
    fn encoder(&self) -> &Encoder {
        &self.space.encoder
    }

    fn work(&self) -> &WorkPool {
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
        let len = self.len().saturating_add(count);
        if len >= self.train_at.load(Ordering::Relaxed) {
            // Without memory the vectors go into the lists that there are.
            drop(self.train_on(len, Some((count, vector))));
        }
    }

    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError> {
        self.put(key, work, false).map(|_| ())
    }
}
