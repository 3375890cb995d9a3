//! Training: from one list to many, and from few lists to more.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::builder::{ListCoding, ListSettings};
use super::{Ivf, Originals, Work};
use crate::error::IndexError;
use crate::index::codes::fitting::ENOUGH;
use crate::index::ivf::codes::bases::Bases;
use crate::index::ivf::codes::codec::Codec;
use crate::index::ivf::codes::drift::{Drift, DriftLimits};
use crate::index::ivf::lists::directory::{Directory, Scratch};
use crate::metric::Metric;
use crate::observe::watch;
use crate::quantization::cluster;
use crate::threads::{in_turn, map_parts};

/// Vectors for each list of a chosen number at which the index is trained.
const FIRST: usize = 32;
/// Ratio of the number of lists to the square root of the number of vectors.
const LISTS: f64 = 4.0;
/// Minimum number of vectors for a list, if the number of lists is not chosen.
const FEWEST: usize = 8;
/// Vectors of the sample for a list, and their minimum.
const SAMPLED: usize = 64;
const LEAST_SAMPLED: usize = 16;
/// Components of a sample above which it has the least number of vectors: 256 MiB.
const LARGE_SAMPLE: usize = 1 << 26;
/// Vectors of the sample to which a quantizer is fitted.
const CODED: usize = 8192;
/// Rounds of k-means.
const ROUNDS: usize = 10;
/// Growth (factor) after which the index is trained anew.
const GROWTH: usize = 4;
/// The same if only codes are kept, because each training costs precision.
const GROWTH_OF_CODES: usize = 16;
/// A training is due if the strays since the last one are 1/`STRAYS` of all vectors,
const STRAYS: usize = 8;
/// 1/`STRAYS_OF_CODES` if originals are dropped,
const STRAYS_OF_CODES: usize = 2;
/// and at least `LEAST_STRAYS`,
const LEAST_STRAYS: usize = 512;
/// and 1/`STRAYS_OF_CHANGES` of the vectors inserted since.
const STRAYS_OF_CHANGES: usize = 4;
/// Positions of a list that one task copies.
const TASK: usize = 256;
/// Changes that a training may have to replay while others wait.
const FEW: usize = 256;

/// Vectors of a batch that is about to be inserted: their number, and the function that writes the vector at
/// a position to `work.row`.
pub(super) type Coming<'a> = (usize, &'a dyn Fn(usize, &mut Work));

/// Splits `found` positions into `wanted` parts and returns a random one of part `i`. With equal
/// steps, a sample of periodic data could miss most of it.
fn spread(i: usize, wanted: usize, found: usize, seed: u64) -> usize {
    let start = |i: usize| (i as u128 * found as u128 / wanted as u128) as usize;
    let width = (start(i + 1) - start(i)).max(1) as u64;
    let random = xxh3_64_with_seed(&(i as u64).to_le_bytes(), seed);
    start(i) + (random % width) as usize
}

/// Returns the number of vectors at which an index is trained for the first time.
pub(super) fn first(settings: &ListSettings) -> usize {
    settings.lists.map_or(ENOUGH, |lists| lists.saturating_mul(FIRST))
}

impl Ivf {
    /// Checks after an insertion whether a training is due.
    pub(super) fn tend(&self) {
        /// Insertions between two checks of the lists' lengths.
        const OFTEN: usize = 1024;

        let changes = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        // A training in the middle of a batch would not see the rest of it.
        if self.batches.load(Ordering::Relaxed) == 0 {
            self.train_if_due(changes, changes.is_multiple_of(OFTEN));
        }
    }

    /// Trains if the index has grown or its data has moved. With `looks_at_lists` also if the lists
    /// have become uneven.
    fn train_if_due(&self, changes: usize, looks_at_lists: bool) {
        let len = self.len();
        let due = len >= self.train_at.load(Ordering::Relaxed)
            || self.has_moved(len, changes)
            || (looks_at_lists && self.is_uneven(len, changes));
        if due && self.train_on(len, None).is_err() {
            // The training lacked memory. Lists stay as they are until the index has twice the vectors.
            self.train_at.store(len.saturating_mul(2), Ordering::Relaxed);
            self.directory().drift.forget();
        }
    }

    /// Begins a batch of `count` vectors, and trains the index for it if that is due.
    pub(super) fn begin_batch(&self, count: usize, vector: &dyn Fn(usize, &mut Work)) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let len = self.len().saturating_add(count);
        if len >= self.train_at.load(Ordering::Relaxed) || self.brings_others(count, vector) {
            // Without memory the vectors are inserted into the present lists.
            let before = self.trainings.load(Ordering::Relaxed);
            drop(self.train_on(len, Some((count, vector))));
            let trained = self.trainings.load(Ordering::Relaxed) > before;
            self.is_fresh.fetch_or(trained, Ordering::Relaxed);
        }
    }

    /// Ends a batch, if it began.
    pub(super) fn end_batch(&self) {
        // A batch that panicked is incomplete: the next insertion decides.
        if self.batches.fetch_sub(1, Ordering::Relaxed) > 1 || std::thread::panicking() {
            return;
        }
        let changes = self.changes.load(Ordering::Relaxed);
        if !self.is_fresh.swap(false, Ordering::Relaxed) {
            return self.train_if_due(changes, true);
        }
        // Because the training has seen all of the batch, the lists are as even as it could make them.
        let directory = self.directory();
        if directory.is_trained() && directory.len() >= ENOUGH {
            self.balance.store(directory.imbalance().to_bits(), Ordering::Relaxed);
            self.changes.store(0, Ordering::Relaxed);
            directory.drift.forget();
        }
    }

    /// Returns the number of strays that makes a training due: a share of all vectors, because training
    /// costs as much as inserting all of them.
    fn enough_strays(&self, len: usize) -> usize {
        let directory = self.directory();
        let share = if directory.has_rows { STRAYS } else { STRAYS_OF_CODES };
        (len / share).max(LEAST_STRAYS)
    }

    /// Returns whether many of the vectors since the training are strays.
    fn has_moved(&self, len: usize, changes: usize) -> bool {
        let strays = self.directory().drift.strays();
        strays >= LEAST_STRAYS
            && strays.saturating_mul(STRAYS_OF_CHANGES) >= changes
            && strays >= self.enough_strays(len)
    }

    /// Returns whether many of the vectors of a batch would be strays.
    fn brings_others(&self, count: usize, vector: &dyn Fn(usize, &mut Work)) -> bool {
        /// Vectors of the batch that are sampled.
        const LOOKS: usize = 256;

        let directory = self.directory();
        if !directory.is_trained() || count < self.enough_strays(self.len()) {
            return false;
        }
        let looks = count.min(LOOKS);
        let mut strays = 0;
        self.with_probe(|work, probe| {
            for i in 0..looks {
                vector(spread(i, looks, count, self.settings.seed), work);
                let scratch = &mut probe.scratch;
                self.space.floats(&work.row, &mut scratch.floats);
                strays += usize::from(directory.would_stray(&self.space, scratch));
            }
        });
        strays * STRAYS_OF_CHANGES >= looks
            && strays * count / looks >= self.enough_strays(self.len())
    }

    /// Returns whether the lists have become twice as uneven as they were, after changes of at least half
    /// of the vectors.
    fn is_uneven(&self, len: usize, changes: usize) -> bool {
        if self.settings.lists.is_some() || changes < ENOUGH.max(len / 2) {
            return false;
        }
        let directory = self.directory();
        let before = f64::from_bits(self.balance.load(Ordering::Relaxed));
        directory.is_trained() && directory.imbalance() > 2.0 * before
    }

    /// Trains the index for `target` vectors: those that it has, and those that are about to be inserted. Does
    /// nothing if another thread is training.
    pub(super) fn train_on(
        &self,
        target: usize,
        coming: Option<Coming<'_>>,
    ) -> Result<(), IndexError> {
        // The lock is not waited for: in a pool of threads, the training may be further up this stack.
        let Some(_one) = self.training.try_lock() else { return Ok(()) };
        watch!(let observed = crate::observe::Operation::Train.begin());
        let old = self.directory();
        let coming_len = coming.map_or(0, |(count, _)| count);
        let found = old.len() + coming_len;
        let lists = self.settings.lists.unwrap_or_else(|| {
            let lists = (LISTS * (target as f64).sqrt()).ceil() as usize;
            lists.min(found / FEWEST).max(1)
        });
        let codes = if self.settings.coding == ListCoding::Pq4 { 16 } else { 1 };
        let needed = lists.max(codes);
        if found < needed {
            return Err(IndexError::TooFewVectors { needed, found });
        }
        let new = self.make(&old, found, lists, needed, coming)?;
        {
            let _alone = self.changing.write();
            self.journal.lock().clear();
            self.recording.store(true, Ordering::Release);
        }
        let copied = self.copy(&old, &new).and_then(|()| self.catch_up(&old, &new));
        let alone = self.changing.write();
        self.recording.store(false, Ordering::Release);
        let changed = std::mem::take(&mut *self.journal.lock());
        copied?;
        self.replay(&old, &new, changed)?;
        let growth = if new.has_rows { GROWTH } else { GROWTH_OF_CODES };
        let next = if self.settings.lists.is_some() { usize::MAX } else { target.max(new.len()) };
        self.train_at.store(next.saturating_mul(growth), Ordering::Relaxed);
        self.changes.store(0, Ordering::Relaxed);
        self.trainings.fetch_add(1, Ordering::Relaxed);
        new.drift.forget();
        let balance = if new.len() < ENOUGH { 2.0 } else { new.imbalance() };
        self.balance.store(balance.to_bits(), Ordering::Relaxed);
        watch!(let len = new.len() as u64);
        *self.directory.write() = Arc::new(new);
        drop(alone);
        watch!(observed.done(len));
        Ok(())
    }

    /// Returns the centroids and the quantizer, with empty lists.
    fn make(
        &self,
        old: &Directory,
        found: usize,
        lists: usize,
        needed: usize,
        coming: Option<Coming<'_>>,
    ) -> Result<Directory, IndexError> {
        let dimension = self.dimension();
        let least = lists.saturating_mul(LEAST_SAMPLED).max(needed);
        let wanted = lists.saturating_mul(SAMPLED).min((LARGE_SAMPLE / dimension).max(least));
        let sample = self.sample(old, wanted.clamp(needed, found), found, coming)?;
        let sampled = sample.len() / dimension;
        if sampled < needed {
            return Err(IndexError::TooFewVectors { needed, found: sampled });
        }
        let settings = &self.settings;
        let mut centroids = cluster(&sample, dimension, lists, ROUNDS, settings.seed);
        if settings.lists.is_none() {
            centroids = self.split(&sample, &centroids)?;
        }
        let step = sampled.div_ceil(CODED.min(sampled));
        let mut some: Vec<&[f32]> = sample.chunks_exact(dimension).step_by(step).collect();
        if some.len() < needed {
            some = sample.chunks_exact(dimension).take(needed).collect();
        }
        let directory = Directory::new(&self.space, &centroids)?;
        self.fit_codes(directory, &centroids, &some)
    }

    /// Returns the directory with a quantizer that is fitted to vectors of a sample, if the index is
    /// to have codes, and the limits for further vectors.
    fn fit_codes(
        &self,
        mut directory: Directory,
        centroids: &[f32],
        sample: &[&[f32]],
    ) -> Result<Directory, IndexError> {
        let (space, dimension) = (&self.space, self.dimension());
        let (mut residuals, mut distances) = (Vec::new(), Vec::new());
        let parts: Vec<(Vec<f32>, Vec<_>)> = map_parts(sample, TASK, |_, vectors| {
            let (mut scratch, mut residuals) = (Scratch::default(), Vec::new());
            let nearest = |vector: &&[f32]| {
                space.pad(vector, &mut scratch.row);
                let nearest = directory.nearest(space, &scratch.row, &mut scratch.order_keys);
                directory.residual(space, vector, nearest.0, &mut residuals);
                nearest
            };
            let nearest: Vec<(u32, f32)> = vectors.iter().map(nearest).collect();
            (residuals, nearest)
        });
        for (part, nearest) in parts {
            residuals.extend(part);
            distances.extend(nearest);
        }
        let ListSettings { coding, sub_vectors, originals, seed, .. } = self.settings;
        let bases = if space.encoder.metric == Metric::InnerProduct {
            // A shift would change distances.
            Bases::one(vec![0.0; dimension])
        } else if coding == ListCoding::Vectors {
            Bases::default()
        } else {
            Bases::choose(dimension, centroids, &distances, coding, seed)
        };
        let codec = Codec::train(coding, sub_vectors, dimension, seed, residuals)?;
        let mut code_errors = Vec::new();
        if let Some(codec) = codec {
            let keeps_rows = originals == Originals::Kept;
            directory = directory.with_codec(space, centroids, codec, bases, keeps_rows)?;
            let errors = map_parts(sample, TASK, |task, vectors| {
                let vectors = vectors.iter().zip(&distances[task * TASK..]);
                let error = |(vector, &(list, _)): (&&[f32], &(u32, f32))| {
                    directory.code_error(space, vector, list)
                };
                vectors.map(error).collect::<Result<Vec<_>, _>>()
            });
            code_errors = errors.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        }
        let mut distances: Vec<f32> = distances.into_iter().map(|(_, square)| square).collect();
        let limits = DriftLimits::of_sample(&mut distances, &mut code_errors);
        directory.drift = Drift::new(limits, 0);
        Ok(directory)
    }

    /// Returns the centroids without duplicates, and with more of them in dense
    /// regions: k-means puts few there, for any number of vectors.
    fn split(&self, sample: &[f32], centroids: &[f32]) -> Result<Vec<f32>, IndexError> {
        /// Multiple of the mean length at which a list is split.
        const LONG: usize = 8;

        let dimension = self.dimension();
        let mut seen = HashSet::new();
        let centroids: Vec<&[f32]> = centroids
            .chunks_exact(dimension)
            .filter(|c| seen.insert(c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()))
            .collect();
        let mut split = centroids.concat();
        let directory = Directory::new(&self.space, &split)?;
        let lists = map_parts(sample, TASK * dimension, |_, vectors| {
            let mut scratch = Scratch::default();
            let nearest = vectors.chunks_exact(dimension).map(|vector| {
                self.space.pad(vector, &mut scratch.row);
                directory.nearest(&self.space, &scratch.row, &mut scratch.order_keys).0
            });
            nearest.collect::<Vec<u32>>()
        });
        let lists = lists.concat();
        let mut members = vec![Vec::new(); centroids.len()];
        for (vector, &list) in sample.chunks_exact(dimension).zip(&lists) {
            members[list as usize].push(vector);
        }
        let mean = lists.len().div_ceil(centroids.len());
        for (list, members) in members.iter().enumerate() {
            // Equal vectors cannot be split.
            if members.len() <= LONG * mean || members.iter().all(|vector| *vector == members[0]) {
                continue;
            }
            let parts = members.len() / mean;
            let seed = self.settings.seed.wrapping_add(list as u64);
            let parts = cluster(&members.concat(), dimension, parts, ROUNDS, seed);
            // The first part replaces the whole.
            let (first, others) = parts.split_at(dimension);
            split[list * dimension..][..dimension].copy_from_slice(first);
            split.extend_from_slice(others);
        }
        Ok(split)
    }

    /// Returns `wanted` vectors as floats, from everywhere among those of the index and those that are about to be inserted.
    fn sample(
        &self,
        old: &Directory,
        wanted: usize,
        found: usize,
        coming: Option<Coming<'_>>,
    ) -> Result<Vec<f32>, IndexError> {
        let mut sample = Vec::new();
        let bytes = wanted.saturating_mul(self.dimension()).saturating_mul(4);
        sample
            .try_reserve_exact(wanted.saturating_mul(self.dimension()))
            .map_err(|_| IndexError::OutOfMemory { bytes })?;
        let seed = self.settings.seed;
        let mut chosen = (0..wanted).map(|i| spread(i, wanted, found, seed)).peekable();
        self.with_probe(|work, probe| {
            let mut start = 0;
            for (number, list) in old.lists.iter().enumerate() {
                let list = list.read();
                while let Some(i) = chosen.next_if(|&i| i < start + list.len()) {
                    let (number, scratch) = (number as u32, &mut probe.scratch);
                    old.read(&self.space, (number, &list, i - start), &mut work.row, scratch);
                    sample.extend_from_slice(&probe.scratch.floats);
                }
                start += list.len();
            }
            if let Some((count, vector)) = coming {
                let start = found - count;
                for i in chosen.filter(|&i| i >= start) {
                    vector(i - start, work);
                    self.space.floats(&work.row, &mut probe.scratch.floats);
                    sample.extend_from_slice(&probe.scratch.floats);
                }
            }
        });
        Ok(sample)
    }

    /// Copies the vectors of the old lists into the new ones. Both may change meanwhile: a change is
    /// noted, and replayed later.
    fn copy(&self, old: &Directory, new: &Directory) -> Result<(), IndexError> {
        let tasks = |(number, list): (
            usize,
            &crate::sync::RwLock<crate::index::ivf::lists::list::List>,
        )| {
            let len = list.read().len();
            (0..len).step_by(TASK).map(move |start| (number as u32, start))
        };
        let tasks: Vec<_> = old.lists.iter().enumerate().flat_map(tasks).collect();
        in_turn(tasks.len(), |task| {
            let (number, start) = tasks[task];
            self.with_probe(|work, probe| {
                let row = &mut work.row;
                let scratch = &mut probe.scratch;
                for position in start..start + TASK {
                    let key = {
                        let list = old.lists[number as usize].read();
                        let Some(&key) = list.keys.get(position) else { break };
                        old.read(&self.space, (number, &list, position), row, scratch);
                        key
                    };
                    match new.put(&self.space, key, row, scratch, None::<&dyn Fn()>) {
                        // The vector moved to another position, and was copied from there.
                        Ok(_) | Err(IndexError::KeyExists { .. }) => (),
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
        })
    }

    /// Replays changes that were made while lists were copied, until few are left.
    fn catch_up(&self, old: &Directory, new: &Directory) -> Result<(), IndexError> {
        /// Maximum number of rounds: many writers always make some more changes.
        const ROUNDS: usize = 16;

        for _ in 0..ROUNDS {
            let changed = std::mem::take(&mut *self.journal.lock());
            let few = changed.len() <= FEW;
            self.replay(old, new, changed)?;
            if few {
                break;
            }
        }
        Ok(())
    }

    /// Updates keys in the new lists from the old ones.
    fn replay(
        &self,
        old: &Directory,
        new: &Directory,
        mut keys: Vec<u64>,
    ) -> Result<(), IndexError> {
        keys.sort_unstable();
        keys.dedup();
        self.with_probe(|work, probe| {
            let row = &mut work.row;
            for key in keys {
                new.remove(key, |_| ());
                if old.read_key(&self.space, key, row, &mut probe.scratch) {
                    new.put(&self.space, key, row, &mut probe.scratch, None::<&dyn Fn()>)?;
                }
            }
            Ok(())
        })
    }
}
