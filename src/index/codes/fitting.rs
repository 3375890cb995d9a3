//! From vectors to codes: a quantizer is fitted, the vectors are encoded beside insertions, and then all walks switch to the codes.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytemuck::cast_slice;
use xxhash_rust::xxh3::xxh3_64;

use super::blur::Blur;
use super::fit::{Fit, is_worth, mean_error};
use super::pair::{Coders, Sample};
use crate::arena::{ArenaError, Column, Renewed, Slot};
use crate::index::codes::{CodeWork, Codes, Originals};
use crate::metric::Metric;
use crate::quantization::{Bits, Coder, Coding, is_byte};
use crate::simd::Isa;
use crate::sync::Mutex;
use crate::threads;
use crate::vector::Block;

/// Minimum number of vectors, present or about to be inserted, before a quantizer is fitted.
pub(in crate::index) const ENOUGH: usize = 4096;

/// Vectors read for each vector of a sample, at most, if some are equal.
const LOOKS: u64 = 8;

/// Training vectors for each held-out vector, if a quantizer fits its training vectors too well.
pub(in crate::index) const HELD_OUT: usize = 8;

/// Components of a sample that an insertion reads in passing: a few milliseconds of work.
const HURRIED: usize = 1 << 20;

/// Components that are encoded along with one insertion: a millisecond of work.
const STEP: usize = 1 << 14;

/// Maximum and minimum number of vectors that are encoded along with one insertion.
const STEPS: RangeInclusive<u32> = 8..=64;

/// Quantization of an index.
#[derive(Debug)]
pub(in crate::index) struct Quantized {
    pub(in crate::index) coding: Coding,
    pub(in crate::index) originals: Originals,
    dimension: usize,
    metric: Metric,
    seed: u64,
    isa: Isa,
    /// Codes, which [`Hnsw::go_over`](crate::index::Hnsw) replaces.
    pub(in crate::index) codes: Renewed<Codes>,
    /// Whether other codes are being made beside `codes`. It is set while the index is not changed.
    is_renewing: AtomicBool,
    /// Shared with the thread that fits a quantizer.
    filling: Arc<Mutex<Filling>>,
}

/// Progress of an index towards codes.
#[derive(Debug, Default)]
enum Filling {
    #[default]
    Nothing,
    /// A thread is fitting a quantizer.
    Fitting,
    /// Fitting a quantizer to this number of vectors failed.
    Failed(usize),
    /// Codes that do not reach to the last vector yet, without finer ones if they will replace others.
    Codes(Box<Codes>),
}

impl Filling {
    /// Returns whether a thread should fit a quantizer to `count` vectors: after a failure, to twice the number.
    fn wants(&self, count: usize) -> bool {
        match *self {
            Self::Nothing => count > 0,
            Self::Failed(before) => count / 2 >= before,
            Self::Fitting | Self::Codes(_) => false,
        }
    }
}

/// The result of fitting a quantizer: a failure, unless another is noted. After a failure, walks continue as before.
struct Outcome {
    filling: Arc<Mutex<Filling>>,
    count: usize,
}

impl Outcome {
    fn is(&self, codes: Codes) {
        *self.filling.lock() = Filling::Codes(Box::new(codes));
    }

    fn is_nothing(&self) {
        *self.filling.lock() = Filling::Nothing;
    }
}

impl Drop for Outcome {
    /// Notes a failure, also while a panic unwinds.
    fn drop(&mut self) {
        let mut filling = self.filling.lock();
        if matches!(*filling, Filling::Fitting) {
            *filling = Filling::Failed(self.count);
        }
    }
}

impl Quantized {
    pub(in crate::index) fn new(
        coding: Coding,
        originals: Originals,
        dimension: usize,
        metric: Metric,
        seed: u64,
        isa: Isa,
    ) -> Self {
        let (codes, is_renewing, filling) =
            (Renewed::new(), AtomicBool::new(false), Arc::default());
        Self { coding, originals, dimension, metric, seed, isa, codes, is_renewing, filling }
    }

    /// Returns the quantizers of complete codes, as bytes, with the errors of their fit.
    pub(in crate::index) fn coder(&self) -> Option<Vec<u8>> {
        Some([self.codes()?.fit.to_bytes(), self.quantizers()?].concat())
    }

    /// Returns the quantizers of complete codes, as bytes, without the errors of their fit.
    pub(in crate::index) fn quantizers(&self) -> Option<Vec<u8>> {
        self.codes().map(|codes| Coders::bytes(codes.all().map(|codes| &*codes.coder)))
    }

    /// Takes codes from a file. For the codes that walks read, and then for finer ones, `rows` returns a column whose rows
    /// have the number of blocks passed to it. Returns `None` if the quantizers do not match this index.
    pub(in crate::index) fn restore<E>(
        &self,
        coder: &[u8],
        rows: impl FnMut(usize) -> Result<Column<Block>, E>,
    ) -> Result<Option<()>, E> {
        let Self { dimension, metric, isa, .. } = *self;
        let Some(coders) = Coders::from_bytes(coder, dimension, metric, self.codings(), isa) else {
            return Ok(None);
        };
        let blur = Blur::unseen(coders.walked.is_fine());
        let codes = coders.codes(isa, blur, rows)?;
        Ok(codes.and_then(|codes| self.codes.set(codes).ok()))
    }

    /// Returns the coding of the codes that walks read, and of the finer ones. Codes that answer have a scale for each vector.
    fn codings(&self) -> (Coding, Option<Coding>) {
        let bits = match self.originals {
            Originals::Sq8 => Some(Bits::Eight),
            Originals::Sq12 => Some(Bits::Twelve),
            Originals::Kept | Originals::Dropped => None,
        };
        match (self.coding, bits) {
            (Coding::Scalar(walked), Some(bits)) if walked == bits => (Coding::Rounded(bits), None),
            (Coding::Scalar(walked), None) if !self.originals.is_kept() => {
                (Coding::Rounded(walked), None)
            }
            (walked, bits) => (walked, bits.map(Coding::Rounded)),
        }
    }

    /// Returns the codes, once they are complete. The caller is [pinned](crate::arena::pin), or keeps the index from being changed.
    #[inline]
    pub(in crate::index) fn codes(&self) -> Option<&Codes> {
        self.codes.get()
    }

    /// Fits the quantizer to some of `count` vectors, which `vector` writes as floats, unless
    /// another thread did before. A slow fit runs in another thread, or at once if the caller `waits`.
    pub(in crate::index) fn fit(
        &self,
        count: usize,
        waits: bool,
        vector: impl Fn(usize, &mut Vec<f32>),
    ) {
        let Some(outcome) = self.begin_fitting(count, None) else { return };
        // The lock is not held meanwhile: training may run on threads that have insertions to do.
        let sample = self.sample(count, waits, vector);
        let isa = self.isa;
        let train = self.training(sample);
        let fit = move || {
            let codes = train().map(|coders| {
                coders
                    .codes(isa, Blur::default(), |blocks| Ok::<_, Infallible>(Column::new(blocks)))
            });
            if let Some(Ok(Some(codes))) = codes {
                outcome.is(codes);
            }
        };
        self.run(waits, Box::new(fit));
    }

    /// Fits a quantizer in place of that of `old` to some of all `count > 0` vectors, unless one is being fitted. If it fits
    /// them no better, `old` settles with its error. Otherwise as [`Self::fit`].
    pub(in crate::index) fn refit(
        &self,
        old: &Codes,
        count: usize,
        waits: bool,
        vector: impl Fn(usize, &mut Vec<f32>),
    ) {
        let Some(outcome) = self.begin_fitting(count, Some(old)) else { return };
        let sample = self.sample(count, waits, vector);
        let Self { coding, dimension, metric, seed, isa, .. } = *self;
        let (coder, fit) = (Arc::clone(&old.coder), Arc::clone(&old.fit));
        let refit = move || {
            let (mut learned, others) = sample.hold_out(coding, dimension);
            let before = mean_error(&coder, others.as_ref().unwrap_or(&learned), dimension);
            let Some(new) = Coder::train(&mut learned, dimension, metric, coding, seed, isa) else {
                return;
            };
            let after = mean_error(&new, others.as_ref().unwrap_or(&learned), dimension);
            if !is_worth(after, before) {
                fit.settle(before);
                return outcome.is_nothing();
            }
            let column = Column::new(new.code_blocks());
            if let Some(codes) = Codes::new(new, isa, column, Blur::default(), Fit::of(after)) {
                outcome.is(codes);
            }
        };
        self.run(waits, Box::new(refit));
    }

    /// Notes the errors of codes of some of `count > 0` vectors, to which the quantizer was perhaps fitted.
    pub(in crate::index) fn learn(
        &self,
        codes: &Codes,
        count: usize,
        vector: impl Fn(usize, &mut Vec<f32>),
    ) {
        let sample = self.sample(count, false, vector);
        codes.fit.learn(mean_error(&codes.coder, &sample.floats, self.dimension));
    }

    /// Reserves fitting a quantizer to `count` vectors, the first one or one in place of that of `old`, unless another caller
    /// did.
    fn begin_fitting(&self, count: usize, old: Option<&Codes>) -> Option<Outcome> {
        let mut filling = self.filling.lock();
        if !filling.wants(count) || self.is_renewing() || !self.are_current(old) {
            return None;
        }
        *filling = Filling::Fitting;
        drop(filling);
        Some(Outcome { filling: self.filling.clone(), count })
    }

    /// Returns whether these are the complete codes.
    pub(in crate::index) fn are_current(&self, codes: Option<&Codes>) -> bool {
        let address = |codes: Option<&Codes>| codes.map(std::ptr::from_ref);
        address(self.codes()) == address(codes)
    }

    /// Returns whether a quantizer may be fitted to `count` vectors: no fit is running, and a fit to nearly this number has not failed.
    pub(in crate::index) fn may_fit(&self, count: usize) -> bool {
        self.filling.lock().wants(count)
    }

    /// Runs `fit`, in another thread if it takes long and the caller does not wait.
    fn run(&self, waits: bool, fit: Box<dyn FnOnce() + Send>) {
        if self.coding.is_slow() && !waits {
            // If no thread can be started, `fit` and with it the outcome are dropped.
            threads::spawn("nearfield-train", fit);
        } else {
            fit();
        }
    }

    /// Returns quantizers for `count > 0` vectors, which `vector` writes as floats, as bytes.
    pub(in crate::index) fn train(
        &self,
        count: usize,
        vector: impl Fn(usize, &mut Vec<f32>),
    ) -> Option<Vec<u8>> {
        let coders = self.training(self.sample(count, true, vector))()?;
        let quantizers = Coders::bytes(std::iter::once(&coders.walked).chain(&coders.finer));
        Some([coders.fit.to_bytes(), quantizers].concat())
    }

    fn training(&self, sample: Sample) -> impl FnOnce() -> Option<Coders> + Send + 'static {
        let Self { dimension, metric, seed, isa, .. } = *self;
        let codings = self.codings();
        move || Coders::train(sample, dimension, metric, codings, seed, isa)
    }

    /// Returns some of `count > 0` vectors, which `vector` writes as floats: fewer if the caller cannot wait.
    fn sample(&self, count: usize, waits: bool, vector: impl Fn(usize, &mut Vec<f32>)) -> Sample {
        let most = if waits { usize::MAX } else { HURRIED / self.dimension };
        let learned = self.coding.sample(self.dimension);
        // Some vectors are held out.
        let wanted = if self.coding.is_slow() { learned + learned / HELD_OUT } else { learned };
        let wanted = wanted.min(most).max(64).min(count);
        let mut sample = Vec::with_capacity(wanted * self.dimension);
        let mut floats = Vec::new();
        // The sample takes one of several equal vectors, because copies would displace others. If it meets copies, it reads on.
        let mut seen = HashSet::with_capacity(wanted);
        let mut looks = 0;
        for look in 0..LOOKS * wanted as u64 {
            looks = look as usize + 1;
            let (round, i) = (look / wanted as u64, look % wanted as u64);
            let at = (i * LOOKS + round) * count as u64 / (LOOKS * wanted as u64);
            vector(at as usize, &mut floats);
            if seen.insert(xxh3_64(cast_slice(&floats))) {
                sample.extend_from_slice(&floats);
            }
            if seen.len() == wanted {
                break;
            }
        }
        // If the sample met each vector twice on average, it lacks few of the different vectors.
        let is_whole = seen.len() <= looks.min(count) / 2;
        if self.may_keep_whole() && sample.iter().all(|&x| is_byte(x)) {
            // Vectors of bytes are their own codes only if all vectors are such.
            for at in 0..count {
                vector(at, &mut floats);
                if !floats.iter().all(|&x| is_byte(x)) {
                    sample.extend_from_slice(&floats);
                    break;
                }
            }
        }
        Sample { floats: sample, is_whole }
    }

    /// Returns whether the codes that answer in place of vectors may store whole numbers.
    fn may_keep_whole(&self) -> bool {
        let (walked, finer) = self.codings();
        let last = finer.unwrap_or(walked);
        self.metric == Metric::L2 && last == Coding::Rounded(Bits::Eight)
    }

    /// Encodes some of the `count` vectors that have no code yet. Returns `true` if few are left.
    pub(in crate::index) fn fill(
        &self,
        count: u32,
        waits: bool,
        work: &mut CodeWork,
        vector: impl Fn(Slot, &mut Vec<f32>),
    ) -> Result<bool, ArenaError> {
        // A caller that waits encodes the same number with each insertion, also while other threads are busy.
        let filling = if waits { Some(self.filling.lock()) } else { self.filling.try_lock() };
        let Some(mut filling) = filling else { return Ok(false) };
        let Filling::Codes(codes) = &*filling else { return Ok(false) };
        let end = codes.rows.len() as u32 + self.step();
        let is_kept = self.extend(codes, count.min(end), work, vector)?;
        if !is_kept {
            *filling = Filling::Nothing;
        }
        Ok(is_kept && count <= end)
    }

    /// Returns the number of vectors that are encoded along with one insertion.
    fn step(&self) -> u32 {
        ((STEP / self.dimension) as u32).clamp(*STEPS.start(), *STEPS.end())
    }

    /// Encodes the last of the `count` vectors, and publishes the codes; codes that will replace others are
    /// returned. The index may not be changed meanwhile.
    pub(in crate::index) fn finish(
        &self,
        count: u32,
        work: &mut CodeWork,
        vector: impl Fn(Slot, &mut Vec<f32>),
    ) -> Result<Option<Codes>, ArenaError> {
        let mut filling = self.filling.lock();
        if let Filling::Codes(codes) = &*filling
            && !self.extend(codes, count, work, vector)?
        {
            *filling = Filling::Nothing;
            return Ok(None);
        }
        let Filling::Codes(mut codes) = std::mem::take(&mut *filling) else { return Ok(None) };
        if let Some(old) = self.codes.get() {
            codes.finer.clone_from(&old.finer);
            return Ok(Some(*codes));
        }
        // Only the thread that took the codes sets them.
        drop(self.codes.set(*codes));
        Ok(None)
    }

    /// Encodes the vectors that have no code yet, up to the slot `end`. Returns whether all can be kept: a vector that was being
    /// inserted while the quantizer was fitted may have fractions, though all others are whole numbers.
    fn extend(
        &self,
        codes: &Codes,
        end: u32,
        work: &mut CodeWork,
        vector: impl Fn(Slot, &mut Vec<f32>),
    ) -> Result<bool, ArenaError> {
        for slot in (codes.rows.len() as u32..end).map(Slot::new) {
            vector(slot, &mut work.floats);
            if !self.originals.is_kept() && codes.check_kept(&work.floats).is_err() {
                return Ok(false);
            }
            codes.encode(work);
            codes.reserve()?;
            codes.push(work)?;
        }
        Ok(true)
    }

    /// Returns whether a quantizer is fitted but not in use yet.
    pub(in crate::index) fn is_filling(&self) -> bool {
        matches!(*self.filling.lock(), Filling::Codes(_))
    }

    /// Returns whether the codes are complete, and no others are being made: a slot may be written again then.
    pub(in crate::index) fn is_complete(&self) -> bool {
        self.codes.get().is_some() && !self.is_renewing()
    }

    /// Returns whether codes are being made to replace others.
    pub(in crate::index) fn is_renewing(&self) -> bool {
        self.is_renewing.load(Ordering::Acquire)
    }

    /// Notes whether codes are being made to replace others. The index may not be changed meanwhile.
    pub(in crate::index) fn set_renewing(&self, is_renewing: bool) {
        self.is_renewing.store(is_renewing, Ordering::Release);
    }

    /// Returns the bytes of codes that are not complete.
    pub(in crate::index) fn bytes(&self) -> usize {
        match &*self.filling.lock() {
            Filling::Codes(codes) => codes.all().map(|codes| codes.rows.bytes()).sum(),
            Filling::Nothing | Filling::Fitting | Filling::Failed(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::codes::Quantization;
    use crate::index::encode::Encoder;
    use crate::vector::Element;

    #[test]
    fn a_failure_is_not_for_ever() {
        let encoder = Encoder { dimension: 8, metric: Metric::L2, element: Element::F32 };
        let coding = Quantization::Sq4.coding(&encoder).unwrap().unwrap();
        let quantized = Quantized::new(coding, Originals::default(), 8, Metric::L2, 0, Isa::Scalar);
        let fails = |count: usize| {
            let fit = || quantized.fit(count, true, |_, _| panic!("a vector that cannot be read"));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(fit)).is_err()
        };
        assert!(fails(100));
        assert!(!quantized.is_filling());
        // Not with each insertion that follows, but at twice the number.
        assert!(!fails(199));
        assert!(fails(200));
        quantized.fit(400, true, |at, floats| {
            floats.clear();
            floats.extend((0..8).map(|i| (at * 8 + i) as f32));
        });
        assert!(quantized.is_filling());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "exact codes have no error")]
    fn each_kind_of_many_copies_is_learned() {
        const KINDS: usize = 64;
        let coding = Coding::Product { sub_vectors: 16, bits: 4 };
        let (metric, isa) = (Metric::InnerProduct, Isa::detect());
        let quantized = Quantized::new(coding, Originals::default(), KINDS, metric, 0, isa);
        let one_hot = |at: usize, floats: &mut Vec<f32>| {
            floats.clear();
            floats.extend((0..KINDS).map(|i| if i == at % KINDS { 1.0 } else { 0.0 }));
        };
        let sample = quantized.sample(10 * KINDS, true, one_hot);
        assert!(sample.is_whole && sample.floats.len() == KINDS * KINDS);
        let coders = quantized.training(sample)().unwrap();
        for kind in 0..KINDS {
            let mut floats = Vec::new();
            one_hot(kind, &mut floats);
            assert_eq!(mean_error(&coders.walked, &floats, KINDS), 0.0, "kind {kind}");
        }
        // Of vectors without copies, some are held out to measure errors on.
        let sample = quantized.sample(10 * KINDS, true, |at, floats| {
            one_hot(at, floats);
            floats[0] += at as f32;
        });
        assert!(!sample.is_whole);
        let (learned, others) = sample.hold_out(coding, KINDS);
        let (learned, others) = (learned.len() / KINDS, others.unwrap().len() / KINDS);
        assert_eq!((learned, others), (569, 71));
    }
}
