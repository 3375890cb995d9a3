//! From one list to many, and from few lists to more.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::builder::{IvfBuilder, IvfQuantization};
use super::codec::Codec;
use super::directory::{Directory, Scratch};
use super::{Ivf, Originals, Work};
use crate::error::IndexError;
use crate::index::quantized::ENOUGH;
use crate::observe::watch;
use crate::quantization::cluster;

/// Vectors for each list of a chosen number at which the index is trained.
const FIRST: usize = 32;
/// Lists for the square root of the number of vectors.
const LISTS: f64 = 4.0;
/// Vectors for a list at least, where the number of lists is not chosen.
const FEWEST: usize = 8;
/// Vectors of the sample for a list, and at least.
const SAMPLED: usize = 64;
const LEAST_SAMPLED: usize = 16;
/// Components of a sample above which it has the least number of vectors: 256 MiB.
const LARGE_SAMPLE: usize = 1 << 26;
/// Vectors of the sample that a quantizer is fitted to.
const CODED: usize = 8192;
/// Rounds of k-means.
const ROUNDS: usize = 10;
/// Growth after which the index is trained anew.
const GROWTH: usize = 4;
/// The same where vectors are known by their codes only, and each training costs precision.
const GROWTH_OF_CODES: usize = 16;
/// Positions of a list that one task copies.
const TASK: usize = 256;
/// Changes that a training may have to catch up with while others wait.
const FEW: usize = 256;

/// Vectors of a batch that is about to be inserted: their number, and what leaves the one at a
/// position in `work.row`.
pub(super) type Coming<'a> = (usize, &'a dyn Fn(usize, &mut Work));

/// Vectors at which an index is trained for the first time.
pub(super) fn first(settings: &IvfBuilder) -> usize {
    settings.lists.map_or(ENOUGH, |lists| lists.saturating_mul(FIRST))
}

impl Ivf {
    /// Looks after an insertion whether it is time to train.
    pub(super) fn tend(&self) {
        /// Insertions between two looks at the lists' lengths.
        const OFTEN: usize = 1024;

        let changes = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        let len = self.len();
        let due = len >= self.train_at.load(Ordering::Relaxed)
            || (changes.is_multiple_of(OFTEN) && self.is_uneven(len, changes));
        if due && self.train_on(len, None).is_err() {
            // There is no memory now. Lists stay as they are until there are many more vectors.
            self.train_at.store(len.saturating_mul(2), Ordering::Relaxed);
        }
    }

    /// Whether the lists have become twice as uneven as they were, through as many changes as half
    /// of the vectors.
    fn is_uneven(&self, len: usize, changes: usize) -> bool {
        if self.settings.lists.is_some() || changes < ENOUGH.max(len / 2) {
            return false;
        }
        let directory = self.directory();
        let before = f64::from_bits(self.balance.load(Ordering::Relaxed));
        directory.is_trained() && directory.imbalance() > 2.0 * before
    }

    /// Trains the index for `target` vectors: those that it has, and those that are coming. Does
    /// nothing if somebody else does.
    pub(super) fn train_on(
        &self,
        target: usize,
        coming: Option<Coming<'_>>,
    ) -> Result<(), IndexError> {
        // Not waited for: in a pool of threads, the one that trains may be further up this stack.
        let Some(_one) = self.training.try_lock() else { return Ok(()) };
        watch!(let observed = crate::observe::Operation::Train.begin());
        let old = self.directory();
        let coming_len = coming.map_or(0, |(count, _)| count);
        let found = old.len() + coming_len;
        let lists = self.settings.lists.unwrap_or_else(|| {
            let lists = (LISTS * (target as f64).sqrt()).ceil() as usize;
            lists.min(found / FEWEST).max(1)
        });
        let codes = if self.settings.quantization == IvfQuantization::Pq4 { 16 } else { 1 };
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
        let balance = if new.len() < ENOUGH { 2.0 } else { new.imbalance() };
        self.balance.store(balance.to_bits(), Ordering::Relaxed);
        watch!(let len = new.len() as u64);
        *self.directory.write() = Arc::new(new);
        drop(alone);
        watch!(observed.done(len));
        Ok(())
    }

    /// The centroids and the quantizer, with empty lists.
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
        let codec = |directory: &Directory| {
            if settings.quantization == IvfQuantization::None {
                return Ok(None);
            }
            let step = sampled.div_ceil(CODED.min(sampled));
            let some: Vec<&[f32]> = sample.chunks_exact(dimension).step_by(step).collect();
            let some = if some.len() < needed {
                sample.chunks_exact(dimension).take(needed).collect()
            } else {
                some
            };
            let residuals: Vec<Vec<f32>> = some
                .par_chunks(TASK)
                .map(|vectors| {
                    let (mut scratch, mut residuals) = (Scratch::default(), Vec::new());
                    for vector in vectors {
                        self.space.pad(vector, &mut scratch.row);
                        let keys = &mut scratch.keys;
                        let list = directory.nearest(&self.space, &scratch.row, keys);
                        directory.residual(&self.space, vector, list, &mut residuals);
                    }
                    residuals
                })
                .collect();
            let IvfBuilder { quantization, sub_vectors, seed, .. } = *settings;
            Codec::train(quantization, sub_vectors, dimension, seed, &residuals.concat())
        };
        Directory::new(&self.space, &centroids, codec, settings.originals == Originals::Kept)
    }

    /// Centroids without those that are there twice, and with more of them where vectors are
    /// dense: k-means puts few where vectors are near to each other, however many they are.
    fn split(&self, sample: &[f32], centroids: &[f32]) -> Result<Vec<f32>, IndexError> {
        /// Times the mean length at which a list is split.
        const LONG: usize = 8;

        let dimension = self.dimension();
        let mut seen = HashSet::new();
        let centroids: Vec<&[f32]> = centroids
            .chunks_exact(dimension)
            .filter(|c| seen.insert(c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()))
            .collect();
        let mut split = centroids.concat();
        let directory = Directory::new(&self.space, &split, |_| Ok(None), true)?;
        let lists: Vec<u32> = sample
            .par_chunks(TASK * dimension)
            .flat_map_iter(|vectors| {
                let mut scratch = Scratch::default();
                let (space, directory) = (&self.space, &directory);
                vectors.chunks_exact(dimension).map(move |vector| {
                    space.pad(vector, &mut scratch.row);
                    directory.nearest(space, &scratch.row, &mut scratch.keys)
                })
            })
            .collect();
        let mut members = vec![Vec::new(); centroids.len()];
        for (vector, &list) in sample.chunks_exact(dimension).zip(&lists) {
            members[list as usize].push(vector);
        }
        let mean = lists.len().div_ceil(centroids.len());
        for (list, members) in members.iter().enumerate() {
            // What is all in one place cannot be split.
            if members.len() <= LONG * mean || members.iter().all(|vector| *vector == members[0]) {
                continue;
            }
            let parts = members.len() / mean;
            let seed = self.settings.seed.wrapping_add(list as u64);
            let parts = cluster(&members.concat(), dimension, parts, ROUNDS, seed);
            // The first takes the place of the whole.
            let (first, others) = parts.split_at(dimension);
            split[list * dimension..][..dimension].copy_from_slice(first);
            split.extend_from_slice(others);
        }
        Ok(split)
    }

    /// About `wanted` vectors as floats, evenly from those that are there and those that come.
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
        // The chosen are `0, found / wanted, 2 * found / wanted, ...`, rounded down.
        let mut chosen =
            (0..wanted).map(|i| (i as u64 * found as u64 / wanted as u64) as usize).peekable();
        self.work.with(|work| {
            let mut start = 0;
            for (number, list) in old.lists.iter().enumerate() {
                let list = list.read();
                let Work { row, probe, .. } = &mut *work;
                while let Some(i) = chosen.next_if(|&i| i < start + list.len()) {
                    let (number, scratch) = (number as u32, &mut probe.scratch);
                    old.read(&self.space, number, &list, i - start, row, scratch);
                    sample.extend_from_slice(&probe.scratch.floats);
                }
                start += list.len();
            }
            if let Some((count, vector)) = coming {
                let start = found - count;
                for i in chosen.filter(|&i| i >= start) {
                    vector(i - start, work);
                    let Work { row, probe, .. } = &mut *work;
                    self.space.floats(row, &mut probe.scratch.floats);
                    sample.extend_from_slice(&probe.scratch.floats);
                }
            }
        });
        Ok(sample)
    }

    /// Puts the vectors of the old lists into the new ones. Both may change meanwhile: a change is
    /// noted, and made again later.
    fn copy(&self, old: &Directory, new: &Directory) -> Result<(), IndexError> {
        let tasks = |(number, list): (usize, &crate::sync::RwLock<super::list::List>)| {
            let len = list.read().len();
            (0..len).step_by(TASK).map(move |start| (number as u32, start))
        };
        let tasks: Vec<_> = old.lists.iter().enumerate().flat_map(tasks).collect();
        tasks.into_par_iter().with_max_len(1).try_for_each(|(number, start)| {
            self.work.with(|work| {
                let Work { row, probe, .. } = work;
                let scratch = &mut probe.scratch;
                for position in start..start + TASK {
                    let key = {
                        let list = old.lists[number as usize].read();
                        let Some(&key) = list.keys.get(position) else { break };
                        old.read(&self.space, number, &list, position, row, scratch);
                        key
                    };
                    match new.put(&self.space, key, row, scratch, false, || ()) {
                        // It moved to another position, and was met there.
                        Ok(_) | Err(IndexError::KeyExists { .. }) => (),
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
        })
    }

    /// Makes changes again that were made while lists were copied, until few are left.
    fn catch_up(&self, old: &Directory, new: &Directory) -> Result<(), IndexError> {
        /// Rounds: with many writers there are always some more.
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

    /// Brings keys in the new lists to what the old ones say.
    fn replay(
        &self,
        old: &Directory,
        new: &Directory,
        mut keys: Vec<u64>,
    ) -> Result<(), IndexError> {
        keys.sort_unstable();
        keys.dedup();
        self.work.with(|work| {
            let Work { row, probe, .. } = work;
            for key in keys {
                new.remove(key, |_| ());
                if old.read_key(&self.space, key, row, &mut probe.scratch) {
                    new.put(&self.space, key, row, &mut probe.scratch, false, || ())?;
                }
            }
            Ok(())
        })
    }
}
