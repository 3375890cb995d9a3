//! Scalar quantization: each component of a rotated vector becomes a number of 4, 8 or 12 bits.
//!
//! The vector is centred and rotated at random, after which all components are about normally
//! distributed. Codes that walks read under L2 and the cosine share one uniform grid, which is the fastest to compare. All other codes
//! carry a scale each, so that vectors of any length keep their share of precision. Queries are rounded to a finer grid than 4-bit
//! codes.

mod persist;
mod quantizer;
mod round;
mod scaled;

pub use quantizer::{ScalarQuantizer, ScalarQuantizerBuilder};

use bytemuck::{cast_slice, cast_slice_mut};

use crate::distance::{
    BoundKernel, Eight, NIBBLES, NibbleDot, NibbleL2, NibblesDot, NibblesL2, ScaledBetweenDot,
    ScaledBetweenL2, ScaledDot, ScaledL2, ScaledNibbleDot, ScaledNibblesDot, TWELVE_BLOCKS,
    TWELVE_QUERY_BLOCKS, Twelve, TwelveDot, TwelveL2, TwelvesDot, TwelvesL2, dispatch, read_code,
    with_isa, write_code, write_query,
};
use crate::metric::Metric;
use crate::quantization::math::Rotation;
use crate::simd::Isa;
use crate::vector::{Block, Element};
use round::Round;

/// Half the width of the 4-bit grid that all vectors share, in standard deviations: beyond it, components are clipped.
const CLIP_4: f32 = 2.5;
/// Half the width of the 8-bit grid that all vectors share.
const CLIP_8: f32 = 4.0;

/// Greatest number of 12 bits.
const GREATEST_12: f32 = 2047.0;

/// Bits of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    Four,
    Eight,
    Twelve,
}

impl Bits {
    /// Returns the variant of `count` bits, if components can have that number.
    pub(crate) fn of(count: u32) -> Option<Self> {
        [Self::Four, Self::Eight, Self::Twelve].into_iter().find(|bits| bits.count() == count)
    }

    /// Returns the number of bits.
    pub(crate) fn count(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
            Self::Twelve => 12,
        }
    }
}

/// A trained grid.
#[derive(Debug, Clone)]
pub(crate) struct ScalarGrid {
    pub(super) bits: Bits,
    pub(super) metric: Metric,
    pub(super) mean: Vec<f32>,
    /// The mean, rotated, if queries have a plain form beside the centred one.
    rotated_mean: Vec<f32>,
    pub(super) rotation: Option<Rotation>,
    pub(super) dimension: usize,
    pub(super) is_scaled: bool,
    pub(super) step: f32,
    pub(super) error: f32,
    isa: Isa,
}

/// The learned numbers of a grid.
pub(super) struct Parts {
    /// Subtracted from a vector before it is rotated; empty under the inner product, which a shift would change.
    pub(super) mean: Vec<f32>,
    /// `None` for vectors of whole numbers that fit a byte, which are their own codes.
    pub(super) rotation: Option<Rotation>,
    /// Whether each code carries a scale. Codes of files of older versions do not.
    pub(super) is_scaled: bool,
    /// Width of a cell; for codes with scales, the width at a scale of 1.
    pub(super) step: f32,
    /// Mean squared distance between a vector and its decoded code.
    pub(super) error: f32,
}

/// Returns the kernel of codes of eight bits without scales: a query has the form of a code.
fn plain_bytes(is_product: bool, isa: Isa) -> Option<Box<dyn BoundKernel>> {
    if is_product {
        dispatch(Metric::InnerProduct, Element::I8, isa, true)
    } else {
        dispatch(Metric::L2, Element::U8, isa, true)
    }
}

impl ScalarGrid {
    pub(super) fn new(
        dimension: usize,
        metric: Metric,
        bits: Bits,
        isa: Isa,
        parts: Parts,
    ) -> Self {
        let Parts { mean, rotation, is_scaled, step, error } = parts;
        let rotated_mean = Vec::new();
        let mut grid = Self {
            bits,
            metric,
            mean,
            rotated_mean,
            rotation,
            dimension,
            is_scaled,
            step,
            error,
            isa,
        };
        if grid.has_plain_codes() {
            let mut rotated = Vec::new();
            grid.rotate_from(&grid.mean, true, &mut rotated);
            grid.rotated_mean = rotated;
        }
        grid
    }

    /// Fits a grid to the vectors of `sample`, which are stored without gaps, at least one. They have unit length under the cosine.
    /// Each code carries a scale under the inner product, because there no other test shows that a shared grid is too coarse or too
    /// small.
    pub(crate) fn train(
        sample: &[f32],
        dimension: usize,
        metric: Metric,
        bits: Bits,
        seed: u64,
        isa: Isa,
    ) -> Self {
        let rotation = Rotation::new(dimension, seed, isa);
        let scaled = metric == Metric::InnerProduct || bits == Bits::Twelve;
        Self::fit(sample, dimension, metric, bits, scaled, rotation)
    }

    /// [`Self::train`] for codes that answer in place of vectors: errors are in proportion to the vectors' lengths.
    pub(crate) fn train_scaled(
        sample: &[f32],
        dimension: usize,
        metric: Metric,
        bits: Bits,
        seed: u64,
        isa: Isa,
    ) -> Self {
        let rotation = Rotation::new(dimension, seed, isa);
        let scaled = metric == Metric::InnerProduct || bits != Bits::Four;
        Self::fit(sample, dimension, metric, bits, scaled, rotation)
    }

    fn fit(
        sample: &[f32],
        dimension: usize,
        metric: Metric,
        bits: Bits,
        scaled: bool,
        rotation: Rotation,
    ) -> Self {
        let isa = rotation.isa();
        let exact =
            bits == Bits::Eight && metric == Metric::L2 && sample.iter().all(|&x| is_byte(x));
        let rotation = (!exact).then_some(rotation);
        let centred = metric != Metric::InnerProduct && !exact;
        let mean = if centred { mean(sample, dimension) } else { Vec::new() };
        let is_scaled = scaled && !exact;
        let parts = Parts { mean, rotation, is_scaled, step: 1.0, error: 0.0 };
        let mut grid = Self::new(dimension, metric, bits, isa, parts);
        if exact {
            return grid;
        }
        let count = (sample.len() / dimension) as f64;
        let mut squares = 0.0_f64;
        let mut rotated = Vec::new();
        for vector in sample.chunks_exact(dimension) {
            grid.rotate(vector, &mut rotated);
            squares += rotated.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        }
        let deviation = (squares / (count * rotated.len() as f64)).sqrt() as f32;
        let step = match bits {
            _ if is_scaled => grid.base_step(deviation),
            Bits::Four => deviation * CLIP_4 / 8.0,
            Bits::Eight | Bits::Twelve => deviation * CLIP_8 / 128.0,
        };
        // Equal vectors have no deviation; any grid serves them.
        grid.step = if step.is_normal() { step } else { 1.0 };
        let mut errors = 0.0_f64;
        let (mut code, mut back) = (vec![Block::ZERO; grid.code_blocks()], Vec::new());
        for vector in sample.chunks_exact(dimension) {
            grid.encode(vector, &mut rotated, &mut code);
            grid.decode(&code, &mut back);
            let error = vector.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2));
            errors += error.sum::<f64>();
        }
        grid.error = (errors / count) as f32;
        grid
    }

    /// Returns the mean squared error of the codes of the training vectors.
    pub(crate) fn error(&self) -> f32 {
        self.error
    }

    /// Returns the first component of a vector that is lost, if whole numbers are their own codes, and the component is not such a
    /// number.
    pub(crate) fn misfit(&self, vector: &[f32]) -> Option<usize> {
        if self.rotation.is_some() {
            return None;
        }
        vector.iter().position(|&x| !is_byte(x))
    }

    /// Returns the number of blocks of a code.
    pub(crate) fn code_blocks(&self) -> usize {
        match self.bits {
            Bits::Four => self.len().div_ceil(NIBBLES),
            Bits::Eight => self.len().div_ceil(size_of::<Block>()),
            Bits::Twelve => TWELVE_BLOCKS * self.len().div_ceil(NIBBLES),
        }
    }

    /// Returns the number of blocks of a prepared query.
    pub(crate) fn query_blocks(&self) -> usize {
        // Codes with scales may be centred or plain, and a query has a form for either.
        let forms = if self.is_scaled && self.metric != Metric::InnerProduct { 2 } else { 1 };
        match self.bits {
            Bits::Eight if self.is_scaled => forms * self.code_blocks() + 1,
            Bits::Twelve if self.is_scaled => {
                forms * TWELVE_QUERY_BLOCKS * self.len().div_ceil(NIBBLES) + 1
            }
            Bits::Four => 2 * self.code_blocks() + 1,
            Bits::Eight => self.code_blocks(),
            Bits::Twelve => TWELVE_QUERY_BLOCKS * self.len().div_ceil(NIBBLES) + 1,
        }
    }

    /// Writes the code of `vector` into `code`; `rotated` is scratch.
    pub(crate) fn encode(&self, vector: &[f32], rotated: &mut Vec<f32>, code: &mut [Block]) {
        match self.bits {
            _ if self.is_scaled => self.encode_scaled(vector, rotated, code),
            Bits::Eight => self.encode_bytes(vector, rotated, code),
            Bits::Twelve => {
                self.rotate(vector, rotated);
                write_code(code, rotated, self.twelve());
            }
            Bits::Four => {
                self.rotate(vector, rotated);
                // Cells beyond the last component add nothing to a distance.
                rotated.resize(code.len() * NIBBLES, 0.0);
                scaled::write_nibbles(rotated, 1.0 / self.step, code);
            }
        }
    }

    /// Writes the query `vector` in the form of the kernels into `query`; `rotated` is scratch.
    pub(crate) fn prepare(&self, vector: &[f32], rotated: &mut Vec<f32>, query: &mut [Block]) {
        if self.is_scaled {
            return self.prepare_scaled(vector, rotated, query);
        }
        if self.bits == Bits::Eight {
            return self.encode_bytes(vector, rotated, query);
        }
        self.rotate(vector, rotated);
        if self.bits == Bits::Twelve {
            return write_query(query, rotated, self.twelve());
        }
        let Some((last, query)) = query.split_last_mut() else { return };
        let (query, rest) = cast_slice_mut::<_, u8>(query).split_at_mut(rotated.len());
        let constant = &mut cast_slice_mut::<Block, i32>(std::slice::from_mut(last))[0];
        let eighth = 8.0 / self.step;
        // Bytes beyond the last component add nothing to a distance.
        if self.metric == Metric::InnerProduct {
            let round = Round { scale: eighth, shift: 0.0, least: -127.0, greatest: 127.0 };
            let (sum, _) = round.all(self.isa, rotated, query);
            rest.fill(0);
            *constant = 15 * sum;
        } else {
            // The grid begins at -8 steps; the middle of its first cell is half a step, 4 eighths,
            // above.
            let round = Round { scale: eighth, shift: 60.0, least: -4.0, greatest: 123.0 };
            let (_, squares) = round.all(self.isa, rotated, query);
            rest.fill(64);
            *constant = squares + 64 * 64 * rest.len() as i32;
        }
    }

    /// Writes the decoded vector of `code` into `vector`.
    pub(crate) fn decode(&self, code: &[Block], vector: &mut Vec<f32>) {
        vector.clear();
        let step = self.step_of(code);
        let bytes: &[u8] = cast_slice(code);
        // Scales and inner products have bytes with a sign.
        let is_signed = self.is_scaled || self.metric == Metric::InnerProduct;
        match (self.bits, &self.rotation) {
            (Bits::Four, _) => {
                for bytes in bytes.as_chunks::<64>().0 {
                    let value = |cell: u8| (f32::from(cell) - 7.5) * step;
                    vector.extend(bytes.iter().map(|byte| value(byte & 15)));
                    vector.extend(bytes.iter().map(|byte| value(byte >> 4)));
                }
            }
            (Bits::Twelve, _) => {
                let value = |at| read_code(code, at) as f32 * step;
                vector.extend((0..self.len()).map(value));
            }
            (Bits::Eight, None) => vector.extend(bytes.iter().map(|&byte| f32::from(byte))),
            (Bits::Eight, _) if is_signed => {
                vector.extend(bytes.iter().map(|&byte| f32::from(byte as i8) * step));
            }
            (Bits::Eight, _) => {
                vector.extend(bytes.iter().map(|&byte| (f32::from(byte) - 127.5) * step));
            }
        }
        vector.truncate(self.len());
        if let Some(rotation) = &self.rotation {
            rotation.invert(vector);
        }
        vector.truncate(self.dimension);
        if self.is_plain(code) {
            return;
        }
        for (x, mean) in vector.iter_mut().zip(&self.mean) {
            *x += mean;
        }
    }

    /// Returns the distance under the metric for a kernel's distance over this grid.
    pub(crate) fn distance(&self, raw: f32) -> f32 {
        let square = self.step * self.step;
        match (self.metric, self.bits) {
            (Metric::InnerProduct, Bits::Four) => raw * square / 16.0,
            (Metric::InnerProduct, Bits::Eight | Bits::Twelve) => raw * square,
            (metric, bits) => {
                let square = match bits {
                    Bits::Four => raw * square / 64.0,
                    Bits::Eight | Bits::Twelve => raw * square,
                };
                // The mean that rounding adds. The kernels of codes with scales subtract it.
                let error = if self.is_scaled { 0.0 } else { self.error };
                let distance = (square - error).max(0.0);
                if metric == Metric::Cosine { distance / 2.0 } else { distance }
            }
        }
    }

    /// Returns whether a prepared query has another form than a code.
    pub(crate) fn has_queries(&self) -> bool {
        self.bits != Bits::Eight || self.is_scaled
    }

    /// Returns the kernel between prepared queries and codes. Returns `None` if this CPU lacks `isa`.
    pub(crate) fn query_kernel(&self, isa: Isa) -> Option<Box<dyn BoundKernel>> {
        match (self.bits, self.metric == Metric::InnerProduct, self.is_scaled) {
            (Bits::Four, true, true) => with_isa(ScaledNibbleDot, isa),
            (Bits::Eight, true, true) => with_isa(ScaledDot::<Eight>::default(), isa),
            (Bits::Eight, false, true) => with_isa(ScaledL2::<Eight>::default(), isa),
            (Bits::Twelve, true, true) => with_isa(ScaledDot::<Twelve>::default(), isa),
            (Bits::Twelve, false, true) => with_isa(ScaledL2::<Twelve>::default(), isa),
            (Bits::Four, true, false) => with_isa(NibbleDot, isa),
            // Codes of 4 bits carry scales under the inner product only.
            (Bits::Four, false, _) => with_isa(NibbleL2, isa),
            (Bits::Eight, is_product, false) => plain_bytes(is_product, isa),
            (Bits::Twelve, true, false) => with_isa(TwelveDot, isa),
            (Bits::Twelve, false, false) => with_isa(TwelveL2, isa),
        }
    }

    /// Returns the kernel between two codes with the same [`Self::is_plain`]; as [`Self::query_kernel`].
    pub(crate) fn code_kernel(&self, isa: Isa) -> Option<Box<dyn BoundKernel>> {
        match (self.bits, self.metric == Metric::InnerProduct, self.is_scaled) {
            (Bits::Four, true, true) => with_isa(ScaledNibblesDot, isa),
            (Bits::Eight, true, true) => with_isa(ScaledBetweenDot::<Eight>::default(), isa),
            (Bits::Eight, false, true) => with_isa(ScaledBetweenL2::<Eight>::default(), isa),
            (Bits::Twelve, true, true) => with_isa(ScaledBetweenDot::<Twelve>::default(), isa),
            (Bits::Twelve, false, true) => with_isa(ScaledBetweenL2::<Twelve>::default(), isa),
            (Bits::Four, true, false) => with_isa(NibblesDot, isa),
            (Bits::Four, false, _) => with_isa(NibblesL2, isa),
            (Bits::Eight, is_product, false) => plain_bytes(is_product, isa),
            (Bits::Twelve, true, false) => with_isa(TwelvesDot, isa),
            (Bits::Twelve, false, false) => with_isa(TwelvesL2, isa),
        }
    }

    fn encode_bytes(&self, vector: &[f32], rotated: &mut Vec<f32>, code: &mut [Block]) {
        self.rotate(vector, rotated);
        let code: &mut [u8] = cast_slice_mut(code);
        let scale = 1.0 / self.step;
        if self.rotation.is_none() {
            let round = Round { scale: 1.0, shift: 0.0, least: 0.0, greatest: 255.0 };
            round.all(self.isa, rotated, code);
        } else if self.metric == Metric::InnerProduct {
            let round = Round { scale, shift: 0.0, least: -127.0, greatest: 127.0 };
            round.all(self.isa, rotated, code);
        } else {
            for (byte, &x) in code.iter_mut().zip(&*rotated) {
                *byte = (x * scale + 128.0).clamp(0.0, 255.0) as u8;
            }
        }
        code[rotated.len()..].fill(0);
    }

    /// Returns the rounding of a component to a whole number of 12 bits.
    fn twelve(&self) -> impl Fn(f32) -> i32 {
        let (least, greatest) = (-1.0 - GREATEST_12, GREATEST_12);
        let round = Round { scale: 1.0 / self.step, shift: 0.0, least, greatest };
        move |x| round.one(x)
    }

    /// Returns the number of components of a rotated vector.
    fn len(&self) -> usize {
        self.rotation.as_ref().map_or(self.dimension, Rotation::len)
    }

    fn rotate(&self, vector: &[f32], rotated: &mut Vec<f32>) {
        self.rotate_from(vector, false, rotated);
    }

    /// Centres a vector, unless it is plain, and rotates it.
    fn rotate_from(&self, vector: &[f32], is_plain: bool, rotated: &mut Vec<f32>) {
        rotated.clear();
        rotated.resize(self.len(), 0.0);
        rotated[..vector.len()].copy_from_slice(vector);
        if !is_plain {
            for (x, mean) in rotated.iter_mut().zip(&self.mean) {
                *x -= mean;
            }
        }
        if let Some(rotation) = &self.rotation {
            rotation.apply(rotated);
        }
    }
}

/// Returns whether a component is a whole number that fits a byte.
pub(crate) fn is_byte(x: f32) -> bool {
    (0.0..=255.0).contains(&x) && x.fract() == 0.0
}

fn mean(sample: &[f32], dimension: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; dimension];
    for vector in sample.chunks_exact(dimension) {
        for (sum, &x) in sums.iter_mut().zip(vector) {
            *sum += f64::from(x);
        }
    }
    let count = (sample.len() / dimension) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

#[cfg(test)]
mod tests;
