//! The codes that a quantised index walks on, beside the vectors that it answers from.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::OnceLock;

use bytemuck::cast_slice;
use parking_lot::Mutex;

use super::engine::{Engine, code_engine};
use crate::arena::{ArenaError, Column};
use crate::metric::Metric;
use crate::quantization::{Bits, ScalarGrid};
use crate::simd::Isa;
use crate::vector::{Block, Element};

/// What a walk reads instead of the vectors.
///
/// Codes guide the walk, and the head of what it finds is measured again by the vectors
/// themselves, unless they are not kept ([`Originals::Dropped`]). An index starts without codes:
/// once about 4,000 vectors are in it, or one batch brings them, it fits the quantizer to a sample
/// and encodes what is there, a little with each insertion. Searches and insertions go on.
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
    /// Bits of a component for an index of these facts; none if it walks on its vectors.
    pub(super) fn bits(self, dimension: usize, metric: Metric, element: Element) -> Option<Bits> {
        let floats = matches!(element, Element::F32 | Element::F16 | Element::Bf16);
        match self {
            Self::Auto if !floats || dimension < 32 => None,
            Self::Auto if metric == Metric::InnerProduct => Some(Bits::Eight),
            Self::Auto | Self::Sq4 => Some(Bits::Four),
            // Bytes are their own codes.
            Self::Sq8 if floats => Some(Bits::Eight),
            Self::Sq8 | Self::None => None,
        }
    }
}

/// Vectors that must be there, or about to be, before a quantizer is fitted.
pub(super) const ENOUGH: usize = 4096;

/// Components of a sample: about a millisecond of work for the insertion that fits the quantizer.
const SAMPLE: usize = 1 << 16;

/// How many times as many vectors are looked at for a sample, where there are equal ones.
const LOOKS: u64 = 8;

/// Vectors that are encoded along with one insertion.
const STEP: u32 = 64;

/// How an index quantises.
#[derive(Debug)]
pub(super) struct Quantized {
    pub(super) bits: Bits,
    pub(super) originals: Originals,
    dimension: usize,
    metric: Metric,
    seed: u64,
    isa: Isa,
    codes: OnceLock<Codes>,
    /// Codes that do not reach to the last vector yet.
    filling: Mutex<Option<Codes>>,
}

/// A fitted quantizer and the codes of all vectors.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) grid: ScalarGrid,
    pub(super) engine: Box<dyn Engine>,
    pub(super) rows: Column<Block>,
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
    /// Prepares the query in `work.floats`.
    pub(super) fn prepare(&self, work: &mut CodeWork) {
        work.query.resize(self.grid.query_blocks(), Block::ZERO);
        self.grid.prepare(&work.floats, &mut work.rotated, &mut work.query);
    }

    /// Writes the code of the vector in `work.floats` into `work.code`.
    pub(super) fn encode(&self, work: &mut CodeWork) {
        work.code.resize(self.grid.code_blocks(), Block::ZERO);
        self.grid.encode(&work.floats, &mut work.rotated, &mut work.code);
    }

    /// Appends the code of the vector in `work.floats`.
    fn push(&self, work: &mut CodeWork) -> Result<u32, ArenaError> {
        self.encode(work);
        self.rows.push(|row| row.copy_from_slice(&work.code))
    }

    /// The distance that a key of the engine stands for.
    pub(super) fn distance(&self, key: u32) -> f32 {
        self.grid.distance(self.engine.distance(key))
    }
}

impl Quantized {
    pub(super) fn new(
        bits: Bits,
        originals: Originals,
        dimension: usize,
        metric: Metric,
        seed: u64,
        isa: Isa,
    ) -> Self {
        Self {
            bits,
            originals,
            dimension,
            metric,
            seed,
            isa,
            codes: OnceLock::new(),
            filling: Mutex::new(None),
        }
    }

    /// The quantizer of codes that are complete, as bytes.
    pub(super) fn grid(&self) -> Option<Vec<u8>> {
        self.codes().map(|codes| codes.grid.to_bytes())
    }

    /// Takes codes that came from a file. `rows` gives them a column whose rows have as many blocks as it is told;
    /// `None` if the grid is none for this index.
    pub(super) fn restore<E>(
        &self,
        grid: &[u8],
        rows: impl FnOnce(usize) -> Result<Column<Block>, E>,
    ) -> Result<Option<()>, E> {
        let Self { bits, dimension, metric, isa, .. } = *self;
        let grid = ScalarGrid::from_bytes(grid, dimension, metric, bits, isa);
        let (Some(grid), Some(engine)) = (grid, code_engine(metric, bits, isa)) else {
            return Ok(None);
        };
        let rows = rows(grid.code_blocks())?;
        Ok(self.codes.set(Codes { grid, engine, rows }).ok())
    }

    /// The codes, once they are complete.
    #[inline]
    pub(super) fn codes(&self) -> Option<&Codes> {
        self.codes.get()
    }

    /// Fits the quantizer to some of `count` vectors, which `vector` writes as floats, unless
    /// somebody did so before.
    pub(super) fn fit(&self, count: usize, vector: impl Fn(usize, &mut Vec<f32>)) {
        let mut filling = self.filling.lock();
        if filling.is_some() || self.codes.get().is_some() || count == 0 {
            return;
        }
        let grid = self.train(count, vector);
        let Some(engine) = code_engine(self.metric, self.bits, self.isa) else { return };
        let rows = Column::new(grid.code_blocks());
        *filling = Some(Codes { grid, engine, rows });
    }

    /// A quantizer for `count > 0` vectors, which `vector` writes as floats.
    pub(super) fn train(&self, count: usize, vector: impl Fn(usize, &mut Vec<f32>)) -> ScalarGrid {
        let wanted = (SAMPLE / self.dimension).clamp(64, count.max(64)).min(count);
        let mut sample = Vec::with_capacity(wanted * self.dimension);
        let mut floats = Vec::new();
        // Of equal vectors one is enough: many would hide what the others need. Where there are, more are looked at.
        let mut seen = HashSet::with_capacity(wanted);
        for look in 0..LOOKS * wanted as u64 {
            let (round, i) = (look / wanted as u64, look % wanted as u64);
            let at = (i * LOOKS + round) * count as u64 / (LOOKS * wanted as u64);
            vector(at as usize, &mut floats);
            let mut hasher = DefaultHasher::new();
            hasher.write(cast_slice(&floats));
            if seen.insert(hasher.finish()) {
                sample.extend_from_slice(&floats);
            }
            if seen.len() == wanted {
                break;
            }
        }
        let Self { bits, dimension, metric, seed, isa, .. } = *self;
        ScalarGrid::train(&sample, dimension, metric, bits, seed, isa)
    }

    /// Encodes some of the `count` vectors that have no code yet; `true` if few are left.
    pub(super) fn fill(
        &self,
        count: u32,
        work: &mut CodeWork,
        vector: impl Fn(u32, &mut Vec<f32>),
    ) -> Result<bool, ArenaError> {
        let Some(filling) = self.filling.try_lock() else { return Ok(false) };
        let Some(codes) = &*filling else { return Ok(false) };
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
        if let Some(codes) = &*filling {
            for slot in codes.rows.len() as u32..count {
                vector(slot, &mut work.floats);
                codes.push(work)?;
            }
        }
        if let Some(codes) = filling.take() {
            // Only who took them sets them.
            drop(self.codes.set(codes));
        }
        Ok(())
    }

    /// Whether a quantizer is fitted but not in use yet.
    pub(super) fn is_filling(&self) -> bool {
        self.codes.get().is_none() && self.filling.lock().is_some()
    }

    /// Bytes of codes that are not complete.
    pub(super) fn bytes(&self) -> usize {
        self.filling.lock().as_ref().map_or(0, |codes| codes.rows.bytes())
    }
}
