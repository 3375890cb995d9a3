//! How well codes fit the vectors that are inserted: a quantizer learns from those that the index has when it is fitted, and
//! later ones may come from elsewhere.
//!
//! Of one insertion in sixteen the error of its code is measured. Where those of an eighth of all vectors, as they came, are
//! off by more than those that the quantizer was fitted to, another quantizer is tried on a sample of all, and used if it is
//! better by enough. Where some of them are off by far more, it is tried as soon as these are seen, and walks read the
//! vectors until it is there: codes put such vectors anywhere.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::codes::CodeWork;
use crate::quantization::Coder;
use crate::sync::Mutex;
use crate::vector::Block;

/// Insertions from one that is measured to the next, on average.
const SAMPLED: u32 = 16;

/// Vectors of a sample whose errors are measured, at most.
const MEASURED: usize = 512;

/// The part of all vectors whose errors are compared with those at the fitting, and how many at least.
const PART: u32 = 8;
/// The same where training takes long.
const SLOW_PART: u32 = 4;
const LEAST: u32 = 512;

/// How many times as great their mean must be. Photographs and words in the order of their files never reach it.
const STRAIN: f32 = 1.2;

/// A squared error is far if it is `FAR` times the mean over the vectors that the quantizer was fitted to. Among vectors like these,
/// the share of far errors is below `1 / FAR` for every distribution (Markov's inequality). A share of `STRAIN / FAR` is a strain
/// by itself.
const FAR: f32 = 8.0;

/// Far errors that a window must hold.
const SOME_FAR: f32 = 4.0;

/// Set in the count of a file where walks are to read vectors.
const LOST: u32 = 1 << 31;

/// How much less, of the mean squared error, a new quantizer must be off to be worth making all codes anew.
const GAIN: f32 = 0.8;

/// Weight of the newest in the mean of recent errors.
const NEWEST: f32 = 1.0 / 64.0;

/// Beyond it errors are all the same, so that sums of some are finite.
const MOST: f32 = 1e30;

/// The first bytes of [`Fit::to_bytes`].
const MARK: [u8; 4] = *b"NFIT";

/// Squared errors.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Errors {
    /// The mean of those that the quantizer was fitted to.
    fitted: f32,
    /// The mean of those that came last.
    recent: f32,
    /// The sum of those that are compared next,
    sum: f32,
    /// how many they are,
    count: u32,
    /// and how many of them are [`FAR`] off.
    far: u32,
}

impl Errors {
    fn of(fitted: f32) -> Self {
        Self { fitted, recent: fitted, sum: 0.0, count: 0, far: 0 }
    }

    /// Begins another window.
    fn clear(&mut self) {
        (self.sum, self.count, self.far) = (0.0, 0, 0);
    }
}

/// The known errors of a quantizer.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// None of a quantizer from a file of an earlier version.
    errors: Mutex<Option<Errors>>,
    /// Vectors coded since it is in memory.
    coded: AtomicU32,
    /// A [`Trust`]; it rises until another quantizer was tried.
    trust: AtomicU8,
}

/// How far the codes of a quantizer can be trusted; each value includes the consequences of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Trust {
    /// They are off as expected.
    Good,
    /// Another quantizer is to be tried.
    Strained,
    /// Walks read vectors until it was.
    Lost,
}

/// Returns the squared distance of the vector in `floats` from the one that `code` means; `back` is scratch.
fn error(coder: &Coder, floats: &[f32], code: &[Block], back: &mut Vec<f32>) -> f32 {
    coder.decode(code, back);
    // In lanes, so that it vectorises.
    let mut lanes = [0.0_f32; 16];
    let (fours, rest) = floats.as_chunks::<16>();
    let (others, last) = back.as_chunks::<16>();
    for (a, b) in fours.iter().zip(others) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += (a - b) * (a - b);
        }
    }
    let rest: f32 = rest.iter().zip(last).map(|(a, b)| (a - b) * (a - b)).sum();
    (lanes.iter().sum::<f32>() + rest).min(MOST)
}

/// The mean squared error of the vectors in `sample`, which has one at least, or of some of them.
pub(super) fn mean_error(coder: &Coder, sample: &[f32], dimension: usize) -> f32 {
    let mut work = CodeWork::default();
    work.code.resize(coder.code_blocks(), Block::ZERO);
    let count = sample.len() / dimension;
    let measured = count.min(MEASURED);
    let errors = (0..measured).map(|i| {
        let at = i * count / measured * dimension;
        work.floats.clear();
        work.floats.extend_from_slice(&sample[at..at + dimension]);
        coder.encode(&mut work.floats, &mut work.rotated, &mut work.code);
        f64::from(error(coder, &work.floats, &work.code, &mut work.rotated))
    });
    (errors.sum::<f64>() / measured as f64) as f32
}

/// Whether codes with a mean squared error of `new` are worth being made in the place of those with `old`, for the same vectors.
pub(super) fn is_worth(new: f32, old: f32) -> bool {
    new < GAIN * old
}

impl Fit {
    /// Of a quantizer that was fitted to vectors with this mean squared error.
    pub(super) fn of(fitted: f32) -> Self {
        Self { errors: Mutex::new(Some(Errors::of(fitted))), ..Self::default() }
    }

    /// Notes that no other quantizer fits the vectors that are there much better, whose mean squared error is
    /// this.
    pub(super) fn settle(&self, fitted: f32) {
        if let Some(errors) = &mut *self.errors.lock() {
            errors.clear();
            errors.fitted = fitted;
        }
        self.trust.store(Trust::Good as u8, Ordering::Relaxed);
    }

    /// Notes that the codes can be trusted this far at most.
    fn doubt(&self, trust: Trust) {
        self.trust.fetch_max(trust as u8, Ordering::Relaxed);
    }

    /// Of a quantizer of which nothing is known yet: it is to be tried first.
    pub(super) fn unknown() -> Self {
        Self { trust: AtomicU8::new(Trust::Strained as u8), ..Self::default() }
    }

    /// Whether it is known how far off the codes of those vectors are that the quantizer was fitted to.
    pub(super) fn is_known(&self) -> bool {
        self.errors.lock().is_some()
    }

    /// Takes this for the mean squared error of the vectors fitted to, unless it is known.
    pub(super) fn learn(&self, fitted: f32) {
        let mut errors = self.errors.lock();
        if errors.is_none() {
            *errors = Some(Errors::of(fitted));
            self.trust.store(Trust::Good as u8, Ordering::Relaxed);
        }
    }

    /// Takes that of the same quantizer in another index, unless it is known, and whether it is lost there.
    pub(super) fn adopt(&self, other: &Self) {
        if let Some(errors) = *other.errors.lock() {
            self.learn(errors.fitted);
            if other.is_lost() {
                self.doubt(Trust::Lost);
            }
        }
    }

    /// Whether another quantizer is to be tried.
    #[inline]
    pub(super) fn is_strained(&self) -> bool {
        self.trust.load(Ordering::Relaxed) >= Trust::Strained as u8
    }

    /// Returns whether walks should read vectors instead of codes: the errors of some codes are far, and no other quantizer was tried yet.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.trust.load(Ordering::Relaxed) >= Trust::Lost as u8
    }

    /// Notes that a vector more, in `work.floats`, got its code, in `work.code`, beside `len` others.
    #[inline]
    pub(super) fn watch(&self, coder: &Coder, len: usize, work: &mut CodeWork) {
        // Steps of the golden ratio: topics that come in turns are seen alike.
        let turn = self.coded.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b1);
        if turn < u32::MAX / SAMPLED {
            self.measure(coder, len, work);
        }
    }

    #[inline(never)]
    fn measure(&self, coder: &Coder, len: usize, work: &mut CodeWork) {
        let CodeWork { floats, rotated, code, .. } = work;
        let error = error(coder, floats, code, rotated);
        let mut errors = self.errors.lock();
        let Some(errors) = &mut *errors else { return };
        errors.recent += (error - errors.recent) * NEWEST;
        errors.sum += error;
        errors.count += 1;
        errors.far += u32::from(error > FAR * errors.fitted);
        let part = if coder.is_slow() { SLOW_PART } else { PART };
        let enough = (u32::try_from(len).unwrap_or(u32::MAX) / part).max(LEAST) / SAMPLED;
        if errors.far as f32 >= (enough as f32 * STRAIN / FAR).max(SOME_FAR) {
            self.doubt(Trust::Lost);
            errors.clear();
        } else if errors.count >= enough {
            if errors.sum > STRAIN * errors.fitted * errors.count as f32 {
                self.doubt(Trust::Strained);
            }
            errors.clear();
        }
    }

    /// Returns the errors as bytes, none if they are not known.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Some(Errors { fitted, recent, sum, count, .. }) = *self.errors.lock() else {
            return Vec::new();
        };
        let count = if self.is_lost() { count | LOST } else { count };
        let mut bytes = MARK.to_vec();
        bytes.extend([fitted, recent, sum].map(f32::to_le_bytes).as_flattened());
        bytes.extend(count.to_le_bytes());
        bytes
    }

    /// Reads the bytes of [`Self::to_bytes`] at the front of others, which are returned, too; `None` if their numbers cannot
    /// be errors.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let Some(rest) = bytes.strip_prefix(&MARK) else { return Some((Self::unknown(), bytes)) };
        let (numbers, rest) = rest.split_at_checked(16)?;
        let [fitted, recent, sum, count] = numbers.as_chunks::<4>().0 else { return None };
        let [fitted, recent, sum] = [fitted, recent, sum].map(|&x| f32::from_le_bytes(x));
        if [fitted, recent, sum].iter().any(|x| x.is_nan() || *x < 0.0) {
            return None;
        }
        let count = u32::from_le_bytes(*count);
        let trust = if count & LOST > 0 { Trust::Lost } else { Trust::Good };
        let errors = Errors { fitted, recent, sum, count: count & !LOST, far: 0 };
        let fit = Self {
            errors: Mutex::new(Some(errors)),
            trust: AtomicU8::new(trust as u8),
            ..Self::default()
        };
        Some((fit, rest))
    }

    /// Returns the root mean square error of the vectors that came last, by that of the vectors fitted to.
    pub(super) fn ratio(&self) -> Option<f32> {
        let Errors { fitted, recent, .. } = (*self.errors.lock())?;
        // A quantizer that writes vectors as they are loses nothing.
        if recent == 0.0 { Some(0.0) } else { Some((recent / fitted).sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::quantization::{Bits, Coding};
    use crate::simd::Isa;

    const DIMENSION: usize = 16;

    /// Numbers of 0 to 1.
    fn vector(at: usize) -> impl Iterator<Item = f32> {
        (0..DIMENSION).map(move |i| ((at * DIMENSION + i) * 41 % 101) as f32 / 100.0)
    }

    /// A grid for these vectors, and its fit.
    fn fitted() -> (Coder, Fit) {
        let mut sample: Vec<f32> = (0..250).flat_map(vector).collect();
        let (coding, isa) = (Coding::Scalar(Bits::Four), Isa::detect());
        let coder = Coder::train(&mut sample, DIMENSION, Metric::L2, coding, 1, isa).unwrap();
        let fit = Fit::of(mean_error(&coder, &sample, DIMENSION));
        (coder, fit)
    }

    /// Takes in such vectors, times a factor, beside 8,000 others.
    fn insert(coder: &Coder, fit: &Fit, count: usize, factor: impl Fn(usize) -> f32) {
        let mut work = CodeWork::default();
        for at in 0..count {
            work.code.resize(coder.code_blocks(), Block::ZERO);
            work.floats.clear();
            work.floats.extend(vector(at).map(|x| x * factor(at)));
            coder.encode(&mut work.floats, &mut work.rotated, &mut work.code);
            fit.watch(coder, 8000, &mut work);
        }
    }

    #[test]
    fn a_few_vectors_far_off_are_noticed_and_kept_in_mind() {
        let (coder, fit) = fitted();
        insert(&coder, &fit, 3000, |_| 1.0);
        assert!(!fit.is_strained() && !fit.is_lost());
        // Of 1,000 vectors the mean is compared, and 150 of them are enough.
        insert(&coder, &fit, 250, |_| 50.0);
        assert!(fit.is_strained() && fit.is_lost());
        let (restored, _) = Fit::from_bytes(&fit.to_bytes()).unwrap();
        assert!(restored.is_strained() && restored.is_lost());
        assert_eq!(restored.to_bytes(), fit.to_bytes());
        let other = Fit::default();
        other.adopt(&fit);
        assert!(other.is_lost() && other.is_strained());
        restored.settle(1.0);
        assert!(!restored.is_strained() && !restored.is_lost());
    }

    #[test]
    fn single_vectors_far_off_do_not_keep_walks_from_codes() {
        let (coder, fit) = fitted();
        insert(&coder, &fit, 8000, |at| if at % 100 == 0 { 50.0 } else { 1.0 });
        assert!(!fit.is_lost());
    }
}
