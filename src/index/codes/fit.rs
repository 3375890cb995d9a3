//! How well codes fit the vectors that are inserted: a quantizer learns from the vectors that the index has when it is
//! fitted, and later vectors may be unlike them.
//!
//! One insertion in sixteen measures the error of its code. If the errors over an eighth of all vectors, in the order of
//! insertion, exceed those of the vectors that the quantizer was fitted to, the index tries another quantizer on a
//! sample of all, and uses it if it is better by enough. If some of the errors are far greater, the index tries it as
//! soon as it measures them, and walks read the vectors until the new quantizer is ready, because codes put such vectors
//! anywhere.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::CodeWork;
use crate::quantization::Coder;
use crate::sync::Mutex;
use crate::vector::Block;

/// Average number of insertions from one measured insertion to the next.
const SAMPLED: u32 = 16;

/// Maximum number of vectors of a sample whose errors are measured: an insertion does it in passing.
const MEASURED: usize = 256;

/// A window of errors is compared with those at the fitting: those of one in `PART` of all vectors, and of at least
/// `LEAST`.
const PART: u32 = 8;
/// The same part if training is slow.
const SLOW_PART: u32 = 4;
const LEAST: u32 = 512;

/// Factor by which the mean of a window must exceed that at the fitting to be a strain. Photographs and words in the
/// order of their files never reach it.
const STRAIN: f32 = 1.2;

/// A squared error is far if it is `FAR` times the mean over the vectors that the quantizer was fitted to. Among vectors
/// like these, the share of far errors is below `1 / FAR` for every distribution (Markov's inequality). A share of
/// `STRAIN / FAR` is a strain by itself.
const FAR: f32 = 8.0;

/// Minimum number of far errors in a window that counts as lost.
const SOME_FAR: f32 = 4.0;

/// Bit set in the count of a file if walks are to read vectors.
const LOST: u32 = 1 << 31;

/// Ratio of mean squared errors, new to old, below which a new quantizer is worth encoding all vectors anew.
const GAIN: f32 = 0.8;

/// Weight of the newest error in the mean of recent errors.
const NEWEST: f32 = 1.0 / 64.0;

/// Ceiling of an error, so that sums of some are finite.
const MOST: f32 = 1e30;

/// The first bytes of [`Fit::to_bytes`].
const MARK: [u8; 4] = *b"NFIT";

/// Squared errors.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Errors {
    /// The mean over the vectors that the quantizer was fitted to.
    fitted: f32,
    /// The mean over the newest vectors.
    recent: f32,
    /// The sum over the current window,
    sum: f32,
    /// the number of errors in it,
    count: u32,
    /// and the number of those that are [`FAR`] off.
    far: u32,
}

impl Errors {
    fn of(fitted: f32) -> Self {
        let fitted = fitted.min(MOST);
        Self { fitted, recent: fitted, sum: 0.0, count: 0, far: 0 }
    }

    /// Begins another window.
    fn clear(&mut self) {
        (self.sum, self.count, self.far) = (0.0, 0, 0);
    }
}

/// The known errors of a quantizer.
#[derive(Debug, Default)]
pub(in crate::index) struct Fit {
    /// `None` for a quantizer from a file of an earlier version.
    errors: Mutex<Option<Errors>>,
    /// Vectors encoded since the quantizer is in memory.
    coded: AtomicU32,
    /// A [`Trust`]; it rises until the index has tried another quantizer.
    trust: AtomicU8,
}

/// Trust in the codes of a quantizer; each value includes the consequences of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Trust {
    /// The errors are as expected.
    Good,
    /// The index is to try another quantizer.
    Strained,
    /// Walks read vectors until the index has tried another quantizer.
    Lost,
}

/// Returns the squared distance of the vector in `floats` from the one that `code` means; `back` is scratch.
fn error(coder: &Coder, floats: &[f32], code: &[Block], back: &mut Vec<f32>) -> f32 {
    coder.decode(code, back);
    // The sum has lanes, so that it vectorises.
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

/// Returns the mean squared error of the vectors in `sample`, which has at least one, or of some of them.
pub(in crate::index) fn mean_error(coder: &Coder, sample: &[f32], dimension: usize) -> f32 {
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

/// Returns whether codes with a mean squared error of `new` are worth replacing those with `old`, for the same vectors.
pub(in crate::index) fn is_worth(new: f32, old: f32) -> bool {
    new < GAIN * old
}

impl Fit {
    /// Creates the fit of a quantizer with a mean squared error of `fitted` on the vectors that it was fitted to.
    pub(in crate::index) fn of(fitted: f32) -> Self {
        Self { errors: Mutex::new(Some(Errors::of(fitted))), ..Self::default() }
    }

    /// Notes that no other quantizer fits the present vectors, whose mean squared error is `fitted`, much better.
    pub(in crate::index) fn settle(&self, fitted: f32) {
        if let Some(errors) = &mut *self.errors.lock() {
            errors.clear();
            errors.fitted = fitted;
        }
        self.trust.store(Trust::Good as u8, Ordering::Relaxed);
    }

    /// Limits the trust in the codes to `trust` at most.
    fn doubt(&self, trust: Trust) {
        self.trust.fetch_max(trust as u8, Ordering::Relaxed);
    }

    /// Creates the fit of a quantizer whose errors are not known yet: another quantizer is to be tried first.
    pub(in crate::index) fn unknown() -> Self {
        Self { trust: AtomicU8::new(Trust::Strained as u8), ..Self::default() }
    }

    /// Returns whether the error of the vectors that the quantizer was fitted to is known.
    pub(in crate::index) fn is_known(&self) -> bool {
        self.errors.lock().is_some()
    }

    /// Sets the mean squared error of the vectors fitted to, unless it is known.
    pub(in crate::index) fn learn(&self, fitted: f32) {
        let mut errors = self.errors.lock();
        if errors.is_none() {
            *errors = Some(Errors::of(fitted));
            self.trust.store(Trust::Good as u8, Ordering::Relaxed);
        }
    }

    /// Takes the error of the same quantizer in another index, unless it is known, and whether it is lost there.
    pub(in crate::index) fn adopt(&self, other: &Self) {
        if let Some(errors) = *other.errors.lock() {
            self.learn(errors.fitted);
            if other.is_lost() {
                self.doubt(Trust::Lost);
            }
        }
    }

    /// Returns whether another quantizer is to be tried.
    #[inline]
    pub(in crate::index) fn is_strained(&self) -> bool {
        self.trust.load(Ordering::Relaxed) >= Trust::Strained as u8
    }

    /// Returns whether walks should read vectors instead of codes: some codes have far errors, and the index has not
    /// tried another quantizer yet.
    #[inline]
    pub(in crate::index) fn is_lost(&self) -> bool {
        self.trust.load(Ordering::Relaxed) >= Trust::Lost as u8
    }

    /// Notes that another vector, in `work.floats`, got its code, in `work.code`, beside `len` others.
    #[inline]
    pub(in crate::index) fn watch(&self, coder: &Coder, len: usize, work: &mut CodeWork) {
        // Steps of the golden ratio sample alternating topics alike.
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

    /// Returns the errors as bytes, empty if they are not known.
    pub(in crate::index) fn to_bytes(&self) -> Vec<u8> {
        let Some(Errors { fitted, recent, sum, count, .. }) = *self.errors.lock() else {
            return Vec::new();
        };
        let count = if self.is_lost() { count | LOST } else { count };
        let mut bytes = MARK.to_vec();
        bytes.extend([fitted, recent, sum].map(f32::to_le_bytes).as_flattened());
        bytes.extend(count.to_le_bytes());
        bytes
    }

    /// Reads the bytes of [`Self::to_bytes`] at the front of others, and returns the rest, too. Returns `None` if their
    /// numbers cannot be errors.
    pub(in crate::index) fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
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

    /// Returns the root mean square error of the newest vectors, divided by that of the vectors fitted to.
    pub(in crate::index) fn ratio(&self) -> Option<f32> {
        let Errors { fitted, recent, .. } = (*self.errors.lock())?;
        // A quantizer that writes vectors unchanged loses nothing.
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

    /// Encodes `count` such vectors, times a factor, beside 8,000 others.
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
        // The mean of 1,000 vectors is compared, and 150 of them are enough.
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
