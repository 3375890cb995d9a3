//! Inserts many vectors on many threads.

pub(in crate::index) mod order;
pub(in crate::index) mod ordered;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPool;

use super::parallel::Threads;
use super::scratch::{Parts, Work};
use crate::distance::Vigil;
use crate::error::{IndexError, VectorError};
use crate::index::build::ordered::{Ordered, go_on};
use crate::index::query::budget::CancelToken;
use crate::observe::watch;
use crate::threads::{in_turn, map};
use crate::vector::{AsVector, Block, VectorRef};

/// The methods of an index that accepts batches.
pub(super) trait Insertable: Parts {
    fn contains(&self, key: u64) -> bool;

    /// Announces `count` vectors; `vector` writes the vector at a position into `work.row`.
    fn expect(&self, _count: usize, _vector: &dyn Fn(usize, &mut Work)) {}

    /// Announces the end of the batch, once after each [`Self::expect`].
    fn has_come(&self) {}

    /// Refuses the vector in `work.row` if the index cannot keep it.
    fn check_kept(&self, _work: &mut Work) -> Result<(), VectorError> {
        Ok(())
    }

    /// Returns the position among `count` of the vector that is inserted after `turn` others.
    fn position(&self, turn: usize, _count: usize) -> usize {
        turn
    }

    /// Inserts the vector in `work.row`.
    fn insert_encoded(&self, key: u64, work: &mut Work) -> Result<(), IndexError>;

    /// Inserts vectors so that the result does not depend on the number of threads.
    fn insert_in_order(&self, ordered: &Ordered<'_>) -> Result<(), IndexError> {
        for position in 0..ordered.count {
            go_on(ordered.cancel)?;
            self.work().with(|work| {
                (ordered.encode)(position, work)?;
                self.insert_encoded((ordered.key)(position), work)
            })?;
            (ordered.inserted)();
        }
        Ok(())
    }

    /// Sets the vector of a key to the vector in `work.row`. Returns whether the key had a vector before.
    fn upsert_encoded(&self, key: u64, work: &mut Work) -> Result<bool, IndexError>;

    /// Inserts a vector under a new key.
    fn insert_vector(&self, key: u64, vector: VectorRef<'_>) -> Result<(), IndexError> {
        watch!(let observed = crate::observe::Operation::Insert.begin());
        self.with_encoded(vector, &mut |work| self.insert_encoded(key, work).map(|()| false))?;
        watch!(observed.done(1));
        Ok(())
    }

    /// Sets the vector of a key. Returns whether the key had a vector before.
    fn upsert_vector(&self, key: u64, vector: VectorRef<'_>) -> Result<bool, IndexError> {
        watch!(let observed = crate::observe::Operation::Upsert.begin());
        let was_there = self.with_encoded(vector, &mut |work| self.upsert_encoded(key, work))?;
        watch!(observed.done(1));
        Ok(was_there)
    }

    /// Encodes `vector` into `work.row` and calls `change` with the work.
    fn with_encoded(
        &self,
        vector: VectorRef<'_>,
        change: &mut dyn FnMut(&mut Work) -> Result<bool, IndexError>,
    ) -> Result<bool, IndexError> {
        self.admit()?;
        self.work().with(|work| {
            work.row.resize(self.encoder().blocks(), Block::ZERO);
            self.encoder().encode(vector, &mut work.row)?;
            self.check_kept(work)?;
            change(work)
        })
    }
}

/// Inserts the vector in `work.row`, or calls `replace` if `key` exists; `replace` returns whether it found the key.
/// Retries if another thread inserts or removes `key` meanwhile. Returns whether a vector was replaced.
pub(super) fn insert_or_replace(
    index: &impl Insertable,
    key: u64,
    work: &mut Work,
    mut replace: impl FnMut(&mut Work) -> Result<bool, IndexError>,
) -> Result<bool, IndexError> {
    loop {
        if !index.contains(key) {
            match index.insert_encoded(key, work) {
                // Another thread was faster.
                Err(IndexError::KeyExists { .. }) => {}
                other => return other.map(|()| false),
            }
        }
        if replace(work)? {
            return Ok(true);
        }
    }
}

/// A callback that receives the number of vectors already inserted and the number of vectors in the batch.
type Progress<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The guarantee that a batch gives about the resulting index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Determinism {
    /// No guarantee: each vector is linked to the nodes that are linked at its turn. One thread gives the same index
    /// twice.
    #[default]
    None,
    /// The same index for any number of threads: the same graph and codes, byte by byte, so that equal searches give
    /// equal answers. The guarantee requires equal vectors in equal order, equal settings and seed, the same instruction
    /// set ([`Isa`](crate::Isa)), no other thread that changes the index meanwhile, and no vectors removed before,
    /// because searches determine when removed slots can be reused. Single insertions during the training of a product
    /// quantizer void the guarantee.
    Bitwise,
}

/// Vectors to insert. Made by `insert_batch`; nothing happens until [`run`](Self::run).
#[derive(Clone, Copy)]
#[must_use = "nothing is inserted until `run` is called"]
pub struct InsertBatch<'a> {
    index: &'a dyn Insertable,
    keys: &'a [u64],
    vectors: VectorRef<'a>,
    threads: Threads<'a>,
    determinism: Determinism,
    progress: Option<&'a Progress<'a>>,
    cancel: Option<&'a CancelToken>,
}

impl<'a> InsertBatch<'a> {
    pub(super) fn new<V: AsVector + ?Sized>(
        index: &'a dyn Insertable,
        keys: &'a [u64],
        vectors: &'a V,
    ) -> Self {
        let vectors = vectors.as_vector();
        Self {
            index,
            keys,
            vectors,
            threads: Threads::Ambient,
            determinism: Determinism::None,
            progress: None,
            cancel: None,
        }
    }

    /// Sets the number of threads, 1 for the caller's own. By default the batch uses the rayon pool that the caller is
    /// in, or the global pool.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::Count(threads);
        self
    }

    /// Sets the rayon pool to use.
    pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
        self.threads = Threads::Pool(pool);
        self
    }

    /// Sets whether the index must be the same for any number of threads; by default it need not.
    /// [`Determinism::Bitwise`] takes up to a quarter longer, and starts its own threads, the same number as in the
    /// pool. Under it, [`Flat`](crate::Flat) and [`Ivf`](crate::Ivf) insert on one thread.
    ///
    /// ```
    /// use nearfield::{Determinism, Hnsw, Metric};
    ///
    /// let keys: Vec<u64> = (0..1000).collect();
    /// let vectors: Vec<f32> = (0..4000).map(|i| (i as f32 * 0.7).sin()).collect();
    /// let build = |threads| {
    ///     let index = Hnsw::builder(4, Metric::L2).seed(7).build()?;
    ///     index.insert_batch(&keys, &vectors).threads(threads).determinism(Determinism::Bitwise).run()?;
    ///     index.search(&vectors[..4]).run()
    /// };
    /// assert_eq!(build(1)?, build(3)?);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn determinism(mut self, determinism: Determinism) -> Self {
        self.determinism = determinism;
        self
    }

    /// Sets a callback that is called about a thousand times in all, from any of the threads, with the number of vectors
    /// already inserted and the number in the batch. The callback may use the index.
    pub fn progress(mut self, progress: &'a (dyn Fn(usize, usize) + Sync + 'a)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Ends the batch when [`CancelToken::cancel`] is called, with [`IndexError::Cancelled`], within the time of some insertions. Vectors that
    /// are inserted by then stay.
    ///
    /// ```
    /// use nearfield::{CancelToken, Hnsw, IndexError, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// let (keys, vectors): (Vec<u64>, Vec<f32>) = (0..5000).map(|i| (i, i as f32)).unzip();
    /// let cancel = CancelToken::new();
    /// let stop = |inserted, _count| if inserted >= 1000 { cancel.cancel() };
    /// let batch = index.insert_batch(&keys, &vectors).progress(&stop).cancel(&cancel);
    /// assert_eq!(batch.run(), Err(IndexError::Cancelled));
    /// assert!((1000..5000).contains(&index.len()));
    /// # Ok::<(), IndexError>(())
    /// ```
    pub fn cancel(mut self, cancel: &'a CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Inserts the vectors. Searches may run meanwhile, and find each vector once it is linked.
    ///
    /// # Errors
    ///
    /// Before any insertion: [`IndexError::BatchLength`] if the numbers of keys and vectors differ,
    /// [`IndexError::BatchVector`] for the first vector that is invalid for this index, [`IndexError::KeyExists`] for a
    /// key that is in the index or twice in the batch. After a part of the batch is inserted: [`IndexError::KeyExists`]
    /// if another thread inserted a key meanwhile, [`IndexError::OutOfMemory`], [`IndexError::Full`],
    /// [`IndexError::Cancelled`] and [`IndexError::MetricPanicked`].
    pub fn run(self) -> Result<(), IndexError> {
        watch!(let observed = crate::observe::Operation::InsertBatch.begin());
        let Self { index, keys, vectors, threads, determinism, progress, cancel } = self;
        index.admit()?;
        let encoder = index.encoder();
        let count = encoder.count(vectors)?;
        if count != keys.len() {
            return Err(IndexError::BatchLength { keys: keys.len(), vectors: count });
        }
        let mut seen = HashSet::with_capacity(count);
        if let Some(&key) = keys.iter().find(|&&key| index.contains(key) || !seen.insert(key)) {
            return Err(IndexError::KeyExists { key });
        }
        drop(seen);

        let elements = encoder.elements();
        let encode = |position: usize, work: &mut Work| {
            work.row.resize(encoder.blocks(), Block::ZERO);
            let vector = vectors.slice(position * elements..(position + 1) * elements);
            encoder
                .encode(vector, &mut work.row)
                .and_then(|()| index.check_kept(work))
                .map_err(|source| IndexError::BatchVector { position, source })
        };
        let done = AtomicUsize::new(0);
        let step = (count / 1000).max(1);
        let inserted = || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(progress) = progress
                && (done.is_multiple_of(step) || done == count)
            {
                progress(done, count);
            }
        };
        let insert = |turn: usize, work: &mut Work| {
            go_on(cancel)?;
            let position = index.position(turn, count);
            encode(position, work)?;
            index.insert_encoded(keys[position], work)?;
            inserted();
            Ok::<_, IndexError>(())
        };
        let expect = || {
            // Dropped when the batch ends, after an error too.
            let coming = Coming(index);
            index.expect(count, &|position, work| {
                // The vector was checked before: it is valid for this index.
                drop(encode(position, work));
            });
            coming
        };
        if determinism == Determinism::Bitwise {
            let threads = threads.count()?;
            let check = |position| index.work().with(|work| encode(position, work));
            (0..count).try_for_each(check)?;
            let _coming = expect();
            let vigil = Vigil::begin(index.custom_use());
            index.insert_in_order(&Ordered {
                count,
                key: &|position| keys[position],
                encode: &encode,
                threads,
                inserted: &inserted,
                cancel,
            })?;
            vigil.end()?;
            watch!(observed.done(count as u64));
            return Ok(());
        }
        threads.run(
            index.own_pool(),
            || {
                index.work().with(|work| {
                    (0..count).try_for_each(|position| encode(position, work))?;
                    let _coming = expect();
                    (0..count).try_for_each(|turn| insert(turn, work))
                })
            },
            || {
                /// Vectors that a thread checks at once.
                const CHECKED: usize = 256;

                let checks = map(count.div_ceil(CHECKED), |task| {
                    let first = task * CHECKED;
                    let mut positions = first..count.min(first + CHECKED);
                    index.work().with(|work| positions.try_for_each(|at| encode(at, work)))
                });
                checks.into_iter().collect::<Result<(), IndexError>>()?;
                let _coming = expect();
                in_turn(count, |turn| index.work().with(|work| insert(turn, work)))
            },
        )??;
        watch!(observed.done(count as u64));
        Ok(())
    }
}

/// Announces the end of an expected batch to the index when it is dropped.
struct Coming<'a>(&'a dyn Insertable);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.has_come();
    }
}

impl fmt::Debug for InsertBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertBatch")
            .field("keys", &self.keys.len())
            .field("vectors", &self.vectors.element())
            .field("threads", &self.threads)
            .field("determinism", &self.determinism)
            .field("progress", &self.progress.is_some())
            .finish_non_exhaustive()
    }
}
