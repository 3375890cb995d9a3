//! The codes that a quantised index walks on, beside the vectors that it answers from.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytemuck::cast_slice;
use xxhash_rust::xxh3::xxh3_64;

use super::blur::Blur;
use super::encoder::Encoder;
use super::engine::{Engine, code_engine};
use crate::arena::{ArenaError, Column};
use crate::error::IndexError;
use crate::metric::Metric;
use crate::quantization::{Bits, Coder, Coding};
use crate::simd::Isa;
use crate::sync::Mutex;
use crate::vector::{Block, Element};

/// What a walk reads instead of the vectors.
///
/// Codes guide the walk, and the head of what it finds is measured again by the vectors
/// themselves, unless they are not kept ([`Originals::Dropped`]). An index starts without codes:
/// once about 4,000 vectors are in it, or one batch brings them, it fits the quantizer to a sample
/// and encodes what is there, a little with each insertion. Searches and insertions go on.
///
/// One grid serves all vectors, so those of a cluster much narrower than the whole get nearly the same code. Where vectors
/// are kept, such an index is built by them and finds what it would find without codes: a search that sees that its
/// codes are off by as much as the answers are far goes on on the vectors, and where most would, all
/// walks read vectors from the start ([`Stats::code_bits`](crate::Stats::code_bits) is `None` then). Inner products do not
/// tell how far is far: under [`Metric::InnerProduct`] such clusters take [`Sq8`](Self::Sq8), or no codes.
///
/// | | bits a component | compression of `f32` | for |
/// |---|---|---|---|
/// | [`Sq8`](Self::Sq8) | 8 | 4 | inner products, and answers by codes alone |
/// | [`Sq4`](Self::Sq4) | 4 | 8 | speed |
/// | [`Rabitq`](Self::Rabitq) | 1, 2, 4 | 32, 16, 8 | little memory, hundreds of dimensions |
/// | [`Pq`](Self::Pq) | `sub_vectors * bits / dimension` | any | little memory, whatever the dimension |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Quantization {
    /// The vectors.
    #[default]
    None,
    /// What is fastest at equal recall for the dimension, the metric and the element type.
    Auto,
    /// 8 bits a component: a quarter of `f32`.
    Sq8,
    /// 4 bits a component: an eighth of `f32`.
    Sq4,
    /// Product quantization ([`ProductQuantizer`](crate::quantization::ProductQuantizer)): each of `sub_vectors` parts of the
    /// vector, 1 to its dimension, becomes one of 16 or 256 centroids (`bits` 4 or 8). Training takes
    /// a second or so: a batch that brings enough vectors waits for it, and single insertions go on beside it. Rows of the
    /// graph are chosen by the vectors where these are kept.
    Pq {
        /// Parts of a vector.
        sub_vectors: usize,
        /// Bits for each.
        bits: u32,
    },
    /// `RaBitQ` ([`RabitqQuantizer`](crate::quantization::RabitqQuantizer)) with 1, 2 or 4 bits a component. Rows of the
    /// graph are chosen by the vectors where these are kept.
    Rabitq {
        /// Bits a component.
        bits: u32,
    },
}

/// Whether the vectors themselves stay in the index once it has codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Originals {
    /// They do, as the index's element type, and decide the order of the answers.
    #[default]
    Kept,
    /// They do not: codes answer alone, with distances and vectors as exact as codes are. The
    /// vectors inserted before there were codes stay, about 4,000 at most.
    Dropped,
}

impl Quantization {
    /// What makes codes in an index of these facts; none if it walks on its vectors.
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] if there is no such quantizer.
    pub(super) fn coding(self, encoder: &Encoder) -> Result<Option<Coding>, IndexError> {
        let Encoder { dimension, metric, element } = *encoder;
        let wrong = |allowed| {
            let value = format!("{self:?}");
            Err(IndexError::Parameter { name: "quantization", value, allowed })
        };
        if element == Element::Bit && !matches!(self, Self::None | Self::Auto) {
            return wrong("None or Auto over packed bits, which are codes already");
        }
        let floats = matches!(element, Element::F32 | Element::F16 | Element::Bf16);
        Ok(match self {
            Self::None => None,
            Self::Auto if !floats || dimension < 32 => None,
            Self::Auto if metric == Metric::InnerProduct => Some(Coding::Scalar(Bits::Eight)),
            Self::Auto | Self::Sq4 => Some(Coding::Scalar(Bits::Four)),
            // Bytes are their own codes.
            Self::Sq8 => floats.then_some(Coding::Scalar(Bits::Eight)),
            Self::Pq { sub_vectors, bits } => {
                if sub_vectors == 0 || sub_vectors > dimension {
                    return wrong("sub_vectors from 1 to the dimension");
                }
                if bits != 4 && bits != 8 {
                    return wrong("4 or 8 bits for each sub-vector");
                }
                Some(Coding::Product { sub_vectors: sub_vectors as u32, bits })
            }
            Self::Rabitq { bits: bits @ (1 | 2 | 4) } => Some(Coding::Rabitq { bits }),
            Self::Rabitq { .. } => return wrong("1, 2 or 4 bits a component"),
        })
    }
}

/// Vectors that must be there, or about to be, before a quantizer is fitted.
pub(super) const ENOUGH: usize = 4096;

/// How many times as many vectors are looked at for a sample, where there are equal ones.
const LOOKS: u64 = 8;

/// Components of a sample that an insertion takes in passing: a few milliseconds of work.
const HURRIED: usize = 1 << 20;

/// Vectors that are encoded along with one insertion.
const STEP: u32 = 64;

/// How an index quantises.
#[derive(Debug)]
pub(super) struct Quantized {
    pub(super) coding: Coding,
    pub(super) originals: Originals,
    dimension: usize,
    metric: Metric,
    seed: u64,
    isa: Isa,
    codes: OnceLock<Codes>,
    /// Shared with the thread that fits a quantizer.
    filling: Arc<Mutex<Filling>>,
}

/// How far an index without codes is on its way to have some.
#[derive(Debug, Default)]
enum Filling {
    #[default]
    Nothing,
    /// Somebody fits a quantizer.
    Fitting,
    /// None could be fitted to as many vectors.
    Failed(usize),
    /// Codes that do not reach to the last vector yet.
    Codes(Box<Codes>),
}

impl Filling {
    /// Whether somebody should fit a quantizer to `count` vectors: after a failure, to twice as many.
    fn wants(&self, count: usize) -> bool {
        match *self {
            Self::Nothing => count > 0,
            Self::Failed(before) => count / 2 >= before,
            Self::Fitting | Self::Codes(_) => false,
        }
    }
}

/// What comes of fitting a quantizer: a failure, unless it is said to be codes. Walks go on reading vectors then.
struct Outcome {
    filling: Arc<Mutex<Filling>>,
    count: usize,
}

impl Outcome {
    fn is(&self, codes: Codes) {
        *self.filling.lock() = Filling::Codes(Box::new(codes));
    }
}

impl Drop for Outcome {
    /// Also while a panic unwinds.
    fn drop(&mut self) {
        let mut filling = self.filling.lock();
        if matches!(*filling, Filling::Fitting) {
            *filling = Filling::Failed(self.count);
        }
    }
}

/// A fitted quantizer and the codes of all vectors.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) coder: Arc<Coder>,
    pub(super) engine: Box<dyn Engine>,
    pub(super) rows: Column<Block>,
    pub(super) blur: Blur,
}

/// What encoding works with.
#[derive(Debug, Default)]
pub(super) struct CodeWork {
    /// A vector as floats.
    pub(super) floats: Vec<f32>,
    pub(super) rotated: Vec<f32>,
    /// A prepared query.
    pub(super) query: Vec<Block>,
    pub(super) code: Vec<Block>,
}

impl CodeWork {
    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        (self.floats.capacity() + self.rotated.capacity()) * 4
            + (self.query.capacity() + self.code.capacity()) * size_of::<Block>()
    }
}

impl Codes {
    fn new(coder: Coder, isa: Isa, rows: Column<Block>, blur: Blur) -> Option<Self> {
        let coder = Arc::new(coder);
        let engine = code_engine(&coder, isa)?;
        Some(Self { coder, engine, rows, blur })
    }

    /// Prepares the query in `work.floats`.
    pub(super) fn prepare(&self, work: &mut CodeWork) {
        work.query.resize(self.coder.query_blocks(), Block::ZERO);
        self.coder.prepare(&mut work.floats, &mut work.rotated, &mut work.query);
    }

    /// Writes the code of the vector in `work.floats` into `work.code`.
    pub(super) fn encode(&self, work: &mut CodeWork) {
        work.code.resize(self.coder.code_blocks(), Block::ZERO);
        self.coder.encode(&mut work.floats, &mut work.rotated, &mut work.code);
    }

    /// Appends the code of the vector in `work.floats`.
    fn push(&self, work: &mut CodeWork) -> Result<u32, ArenaError> {
        self.encode(work);
        self.rows.push(|row| row.copy_from_slice(&work.code))
    }

    /// The distance that a key of the engine stands for.
    pub(super) fn distance(&self, key: u32) -> f32 {
        self.coder.distance(self.engine.distance(key))
    }
}

impl Quantized {
    pub(super) fn new(
        coding: Coding,
        originals: Originals,
        dimension: usize,
        metric: Metric,
        seed: u64,
        isa: Isa,
    ) -> Self {
        let (codes, filling) = (OnceLock::new(), Arc::default());
        Self { coding, originals, dimension, metric, seed, isa, codes, filling }
    }

    /// The quantizer of codes that are complete, as bytes.
    pub(super) fn coder(&self) -> Option<Vec<u8>> {
        self.codes().map(|codes| codes.coder.to_bytes())
    }

    /// Takes codes that came from a file. `rows` gives them a column whose rows have as many blocks as it is told;
    /// `None` if the quantizer is none for this index.
    pub(super) fn restore<E>(
        &self,
        coder: &[u8],
        rows: impl FnOnce(usize) -> Result<Column<Block>, E>,
    ) -> Result<Option<()>, E> {
        let Self { coding, dimension, metric, isa, .. } = *self;
        let Some(coder) = Coder::from_bytes(coder, dimension, metric, coding, isa) else {
            return Ok(None);
        };
        let rows = rows(coder.code_blocks())?;
        let blur = Blur::unseen(coder.is_fine());
        Ok(Codes::new(coder, isa, rows, blur).and_then(|codes| self.codes.set(codes).ok()))
    }

    /// The codes, once they are complete.
    #[inline]
    pub(super) fn codes(&self) -> Option<&Codes> {
        self.codes.get()
    }

    /// Fits the quantizer to some of `count` vectors, which `vector` writes as floats, unless
    /// somebody did so before. If that takes long it is done in another thread, or at once if the caller `waits`.
    pub(super) fn fit(&self, count: usize, waits: bool, vector: impl Fn(usize, &mut Vec<f32>)) {
        {
            let mut filling = self.filling.lock();
            if !filling.wants(count) || self.codes.get().is_some() {
                return;
            }
            *filling = Filling::Fitting;
        }
        let outcome = Outcome { filling: self.filling.clone(), count };
        // Nobody is kept from looking at it meanwhile: training may run on threads that have insertions to do.
        let sample = self.sample(count, waits, vector);
        let Self { coding, isa, .. } = *self;
        let train = self.training(sample);
        let fit = move || {
            let codes = train().and_then(|coder| {
                let rows = Column::new(coder.code_blocks());
                Codes::new(coder, isa, rows, Blur::default())
            });
            if let Some(codes) = codes {
                outcome.is(codes);
            }
        };
        if coding.is_slow() && !waits {
            let thread = std::thread::Builder::new().name("nearfield-train".to_owned());
            // Without a thread, `fit` and with it the outcome are dropped.
            drop(thread.spawn(fit));
        } else {
            fit();
        }
    }

    /// A quantizer for `count > 0` vectors, which `vector` writes as floats.
    pub(super) fn train(
        &self,
        count: usize,
        vector: impl Fn(usize, &mut Vec<f32>),
    ) -> Option<Coder> {
        self.training(self.sample(count, true, vector))()
    }

    fn training(&self, mut sample: Vec<f32>) -> impl FnOnce() -> Option<Coder> + Send + 'static {
        let Self { coding, dimension, metric, seed, isa, .. } = *self;
        move || Coder::train(&mut sample, dimension, metric, coding, seed, isa)
    }

    /// Some of `count > 0` vectors, which `vector` writes as floats: fewer if the caller cannot wait.
    fn sample(&self, count: usize, waits: bool, vector: impl Fn(usize, &mut Vec<f32>)) -> Vec<f32> {
        let most = if waits { usize::MAX } else { HURRIED / self.dimension };
        let wanted = self.coding.sample(self.dimension).min(most).max(64).min(count);
        let mut sample = Vec::with_capacity(wanted * self.dimension);
        let mut floats = Vec::new();
        // Of equal vectors one is enough: many would hide what the others need. Where there are, more are looked at.
        let mut seen = HashSet::with_capacity(wanted);
        for look in 0..LOOKS * wanted as u64 {
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
        sample
    }

    /// Encodes some of the `count` vectors that have no code yet; `true` if few are left.
    pub(super) fn fill(
        &self,
        count: u32,
        work: &mut CodeWork,
        vector: impl Fn(u32, &mut Vec<f32>),
    ) -> Result<bool, ArenaError> {
        let Some(filling) = self.filling.try_lock() else { return Ok(false) };
        let Filling::Codes(codes) = &*filling else { return Ok(false) };
        let done = codes.rows.len() as u32;
        for slot in done..count.min(done + STEP) {
            vector(slot, &mut work.floats);
            codes.push(work)?;
        }
        Ok(count <= done + STEP)
    }

    /// Encodes the last of the `count` vectors, and lets everybody see the codes. Nobody may
    /// append a vector meanwhile.
    pub(super) fn finish(
        &self,
        count: u32,
        work: &mut CodeWork,
        vector: impl Fn(u32, &mut Vec<f32>),
    ) -> Result<(), ArenaError> {
        let mut filling = self.filling.lock();
        if let Filling::Codes(codes) = &*filling {
            for slot in codes.rows.len() as u32..count {
                vector(slot, &mut work.floats);
                codes.push(work)?;
            }
        }
        if let Filling::Codes(codes) = std::mem::take(&mut *filling) {
            // Only who took them sets them.
            drop(self.codes.set(*codes));
        }
        Ok(())
    }

    /// Whether a quantizer is fitted but not in use yet.
    pub(super) fn is_filling(&self) -> bool {
        self.codes.get().is_none() && matches!(*self.filling.lock(), Filling::Codes(_))
    }

    /// Bytes of codes that are not complete.
    pub(super) fn bytes(&self) -> usize {
        match &*self.filling.lock() {
            Filling::Codes(codes) => codes.rows.bytes(),
            Filling::Nothing | Filling::Fitting | Filling::Failed(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Not with each insertion that follows, but when there are twice as many.
        assert!(!fails(199));
        assert!(fails(200));
        quantized.fit(400, true, |at, floats| {
            floats.clear();
            floats.extend((0..8).map(|i| (at * 8 + i) as f32));
        });
        assert!(quantized.is_filling());
    }
}
