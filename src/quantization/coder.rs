//! The quantizers in the form in which indexes use them: codes and prepared queries are blocks.

use bytemuck::{cast_slice, cast_slice_mut};

use super::admit::MAX_COMPONENT;
use super::quantizer::Quantizer;
use crate::distance::{BoundKernel, with_isa};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::quantization::product::{ProductKernel, ProductQuantizer, make_unit};
use crate::quantization::rabitq::{RabitqKernel, RabitqQuantizer};
use crate::quantization::scalar::{Bits, ScalarGrid};
use crate::simd::Isa;
use crate::vector::Block;

/// The kind of quantizer that makes the codes of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Scalar(Bits),
    /// Scalar codes that answer in place of vectors. Each carries its own scale.
    Rounded(Bits),
    /// Sub-vectors, and 4 or 8 bits for each.
    Product {
        sub_vectors: u32,
        bits: u32,
    },
    /// 1, 2 or 4 bits a component.
    Rabitq {
        bits: u32,
    },
}

/// A trained quantizer of an index.
#[derive(Debug)]
pub(crate) enum Coder {
    Scalar(ScalarGrid),
    Product(ProductQuantizer),
    Rabitq(RabitqQuantizer),
}

impl Coding {
    /// Returns the maximum number of vectors of `dimension` components that a quantizer is trained on.
    pub(crate) fn sample(self, dimension: usize) -> usize {
        /// Components that are enough for means and deviations: about a millisecond of work.
        const MOMENTS: usize = 1 << 16;
        /// Vectors for each centroid.
        const POINTS: usize = 64;

        match self {
            Self::Product { bits, .. } => POINTS << bits,
            Self::Scalar(_) | Self::Rounded(_) | Self::Rabitq { .. } => MOMENTS / dimension,
        }
    }

    /// Returns whether training takes so long that no caller is to wait for it.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Product { .. })
    }
}

impl Coder {
    /// Trains a quantizer on the vectors of `sample`, which are stored without gaps, at least one. They have unit length under the
    /// cosine.
    pub(crate) fn train(
        sample: &mut Vec<f32>,
        dimension: usize,
        metric: Metric,
        coding: Coding,
        seed: u64,
        isa: Isa,
    ) -> Option<Self> {
        if !matches!(coding, Coding::Scalar(_) | Coding::Rounded(_)) {
            sample.iter_mut().for_each(clamp);
        }
        match coding {
            Coding::Scalar(bits) => {
                Some(Self::Scalar(ScalarGrid::train(sample, dimension, metric, bits, seed, isa)))
            }
            Coding::Rounded(bits) => {
                let grid = ScalarGrid::train_scaled(sample, dimension, metric, bits, seed, isa);
                Some(Self::Scalar(grid))
            }
            Coding::Product { sub_vectors, bits } => {
                if metric == Metric::InnerProduct {
                    sample.chunks_exact_mut(dimension).for_each(|row| _ = make_unit(row));
                }
                // With fewer vectors than centroids, vectors are repeated.
                let (found, needed) = (sample.len(), dimension << bits);
                for at in found..needed {
                    sample.push(sample[at % found]);
                }
                let builder = ProductQuantizer::builder(dimension, metric).bits(bits);
                let builder = builder.sub_vectors(sub_vectors as usize).seed(seed);
                builder.train(sample).ok().map(Self::Product)
            }
            Coding::Rabitq { bits } => {
                let builder = RabitqQuantizer::builder(dimension, metric).bits(bits).seed(seed);
                builder.train(sample).ok().map(Self::Rabitq)
            }
        }
    }

    /// Returns the quantizer of bytes that [`Self::to_bytes`] gave for an index of these facts. Returns `None` for other bytes.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        dimension: usize,
        metric: Metric,
        coding: Coding,
        isa: Isa,
    ) -> Option<Self> {
        match coding {
            Coding::Scalar(bits) | Coding::Rounded(bits) => {
                ScalarGrid::from_bytes(bytes, dimension, metric, bits, isa).map(Self::Scalar)
            }
            Coding::Product { sub_vectors, bits } => {
                let found = ProductQuantizer::from_bytes(bytes).ok()?;
                let fits = found.dimension() == dimension
                    && found.metric() == metric
                    && found.bits() == bits
                    && found.sub_vectors() == sub_vectors as usize
                    && !found.is_rotated();
                fits.then_some(Self::Product(found))
            }
            Coding::Rabitq { bits } => {
                let found = RabitqQuantizer::from_bytes(bytes).ok()?;
                let fits = found.dimension() == dimension
                    && found.metric() == metric
                    && found.bits() == bits;
                fits.then_some(Self::Rabitq(found))
            }
        }
    }

    /// Returns the mean squared error of the codes of the vectors that this quantizer was just trained on, if training measured it.
    pub(crate) fn training_error(&self) -> Option<f32> {
        match self {
            Self::Scalar(grid) => Some(grid.error()),
            Self::Product(_) | Self::Rabitq(_) => None,
        }
    }

    /// Returns whether training took long: [`Coding::is_slow`].
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Self::Product(_))
    }

    /// Returns whether rows of a graph are as good by these codes as by the vectors.
    pub(crate) fn is_fine(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    /// Returns whether distances by these codes are right on average. A product quantizer gives the distances of centroids, which are
    /// nearer than the vectors. A grid's distances are less by the error of all vectors, which near vectors share.
    pub(crate) fn is_unbiased(&self) -> bool {
        match self {
            Self::Rabitq(_) => true,
            Self::Scalar(grid) => grid.metric == Metric::InnerProduct,
            Self::Product(quantizer) => quantizer.metric() == Metric::InnerProduct,
        }
    }

    /// Returns the number of candidates by these codes that contain the nearest vectors about as likely as `ef` candidates by the
    /// vectors. The variance of a code's error falls with the dimension and with 4 to the bits of a component (RaBitQ, Gao and Long,
    /// 2024); with this factor, photographs, words and sentences stay within half a point of recall.
    pub(crate) fn widened(&self, ef: usize) -> usize {
        /// Extra candidates per unit of `ef` for 0-bit codes in one dimension; divided below by `4^bits` and by the dimension.
        const BEYOND: f32 = 1024.0;
        /// More extra candidates per unit of `ef` would win few of the nearest vectors for their time.
        const MOST: f32 = 3.0;

        let (bits, dimension) = match self {
            Self::Scalar(_) => return ef,
            Self::Rabitq(quantizer) => (quantizer.bits() as f32, quantizer.dimension() as f32),
            Self::Product(quantizer) => {
                let bits = quantizer.sub_vectors() as f32 * quantizer.bits() as f32;
                (bits / quantizer.dimension() as f32, quantizer.dimension() as f32)
            }
        };
        let beyond = (BEYOND / 4f32.powf(bits) / dimension).min(MOST);
        ef.saturating_add((ef as f32 * beyond) as usize)
    }

    /// Returns the trained quantizer as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Scalar(grid) => grid.to_bytes(),
            Self::Product(quantizer) => quantizer.to_bytes(),
            Self::Rabitq(quantizer) => quantizer.to_bytes(),
        }
    }

    /// Returns the bits of a component, rounded up.
    pub(crate) fn bits(&self) -> u32 {
        match self {
            Self::Scalar(grid) => grid.bits.count(),
            Self::Rabitq(quantizer) => quantizer.bits(),
            Self::Product(quantizer) => {
                let bits = quantizer.sub_vectors() * quantizer.bits() as usize;
                bits.div_ceil(quantizer.dimension()) as u32
            }
        }
    }

    /// Returns the bytes of the trained numbers, if they are more than a few vectors.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Product(quantizer) => quantizer.bytes(),
            Self::Scalar(_) | Self::Rabitq(_) => 0,
        }
    }

    /// Returns the number of blocks of a code.
    pub(crate) fn code_blocks(&self) -> usize {
        match self {
            Self::Scalar(grid) => grid.code_blocks(),
            Self::Product(quantizer) => quantizer.code_blocks(),
            Self::Rabitq(quantizer) => quantizer.code_len().div_ceil(size_of::<Block>()),
        }
    }

    /// Returns the number of blocks of a prepared query.
    pub(crate) fn query_blocks(&self) -> usize {
        match self {
            Self::Scalar(grid) => grid.query_blocks(),
            Self::Product(quantizer) => quantizer.query_blocks(),
            Self::Rabitq(quantizer) => quantizer.query_blocks(),
        }
    }

    /// Writes the code of `vector` into `code`, and overwrites `scratch`. Components of the vector beyond all bounds may be changed.
    pub(crate) fn encode(&self, vector: &mut [f32], scratch: &mut Vec<f32>, code: &mut [Block]) {
        match self {
            Self::Scalar(grid) => grid.encode(vector, scratch, code),
            Self::Product(quantizer) => {
                vector.iter_mut().for_each(clamp);
                quantizer.write_code(vector, scratch, code);
            }
            Self::Rabitq(quantizer) => {
                vector.iter_mut().for_each(clamp);
                quantizer.encode(vector, scratch, front(code, quantizer));
            }
        }
    }

    /// Writes the query `vector` in the form of the kernels into `query`; as [`Self::encode`].
    pub(crate) fn prepare(&self, vector: &mut [f32], scratch: &mut Vec<f32>, query: &mut [Block]) {
        match self {
            Self::Scalar(grid) => grid.prepare(vector, scratch, query),
            Self::Product(quantizer) => {
                vector.iter_mut().for_each(clamp);
                quantizer.write_blocks(vector, query);
            }
            Self::Rabitq(quantizer) => {
                vector.iter_mut().for_each(clamp);
                quantizer.write_blocks(vector, scratch, query);
            }
        }
    }

    /// Replaces `vector` by the decoded vector of `code`.
    pub(crate) fn decode(&self, code: &[Block], vector: &mut Vec<f32>) {
        if let Self::Scalar(grid) = self {
            return grid.decode(code, vector);
        }
        let Some(quantizer) = self.quantizer() else { return };
        vector.clear();
        vector.resize(quantizer.dimension(), 0.0);
        let decoded = quantizer.dequantize_into(code_of(quantizer, code), vector);
        debug_assert!(decoded.is_ok(), "lengths agree");
        let factor = self.factor(code);
        for x in vector {
            *x *= factor;
        }
    }

    /// Returns the distance under the metric for a kernel's distance.
    pub(crate) fn distance(&self, raw: f32) -> f32 {
        match self {
            Self::Scalar(grid) => grid.distance(raw),
            Self::Product(_) | Self::Rabitq(_) => raw,
        }
    }

    /// Returns the kernel between prepared queries and codes. Returns `None` if this CPU lacks `isa`.
    pub(crate) fn query_kernel(&self, isa: Isa) -> Option<Box<dyn BoundKernel>> {
        match self {
            Self::Scalar(grid) => grid.query_kernel(isa),
            Self::Product(quantizer) => {
                let has_lengths = quantizer.has_lengths();
                match quantizer.bits() {
                    8 => with_isa(ProductKernel::<8> { has_lengths }, isa),
                    _ => with_isa(ProductKernel::<4> { has_lengths }, isa),
                }
            }
            Self::Rabitq(quantizer) => match quantizer.bits() {
                1 => with_isa(RabitqKernel::<1, 1>, isa),
                2 => with_isa(RabitqKernel::<2, 1>, isa),
                _ => with_isa(RabitqKernel::<4, 2>, isa),
            },
        }
    }

    /// Returns the kernel between two codes, if the quantizer has one beside that of queries.
    pub(crate) fn code_kernel(&self, isa: Isa) -> Option<Box<dyn BoundKernel>> {
        match self {
            Self::Scalar(grid) if grid.has_queries() => grid.code_kernel(isa),
            Self::Scalar(_) | Self::Product(_) | Self::Rabitq(_) => None,
        }
    }

    /// Returns the first component of a vector that a code of whole numbers would change.
    pub(crate) fn misfit(&self, vector: &[f32]) -> Option<usize> {
        match self {
            Self::Scalar(grid) => grid.misfit(vector),
            Self::Product(_) | Self::Rabitq(_) => None,
        }
    }

    /// Returns whether codes are of two kinds, centred and plain, which the kernel between codes does not compare.
    pub(crate) fn has_plain_codes(&self) -> bool {
        matches!(self, Self::Scalar(grid) if grid.has_plain_codes())
    }

    /// Returns whether two codes are of two kinds: [`Self::query_of`] one of them is compared with the other.
    pub(crate) fn differ(&self, a: &[Block], b: &[Block]) -> bool {
        matches!(self, Self::Scalar(grid) if grid.differ(a, b))
    }

    /// Returns the prepared query with the distances of a code. A product quantizer loses nothing when its codes are coded again, and
    /// preparing takes the time of a few distances between codes. Returns `None` if codes are compared otherwise.
    pub(crate) fn query_of(&self, code: &[Block]) -> Option<Vec<Block>> {
        if matches!(self, Self::Rabitq(_)) {
            return None;
        }
        let mut vector = Vec::new();
        self.decode(code, &mut vector);
        let mut query = vec![Block::ZERO; self.query_blocks()];
        self.prepare(&mut vector, &mut Vec::new(), &mut query);
        Some(query)
    }

    /// Returns the order key of the distance between two codes, for quantizers that have no kernel for it.
    pub(crate) fn key_between(&self, a: &[Block], b: &[Block]) -> OrderKey {
        let distance = self.quantizer().and_then(|quantizer| {
            quantizer.distance(code_of(quantizer, a), code_of(quantizer, b)).ok()
        });
        let factor = self.factor(a) * self.factor(b);
        // Adding zero makes a negative one positive.
        OrderKey::of_f32(distance.unwrap_or(f32::NAN) * factor + 0.0)
    }

    /// Returns the factor of the vector that the quantizer decodes from a code.
    fn factor(&self, code: &[Block]) -> f32 {
        match self {
            Self::Product(quantizer) => quantizer.factor(code),
            Self::Scalar(_) | Self::Rabitq(_) => 1.0,
        }
    }

    fn quantizer(&self) -> Option<&dyn Quantizer> {
        match self {
            Self::Scalar(_) => None,
            Self::Product(quantizer) => Some(quantizer),
            Self::Rabitq(quantizer) => Some(quantizer),
        }
    }
}

/// Returns the bytes of a code.
fn code_of<'a>(quantizer: &dyn Quantizer, code: &'a [Block]) -> &'a [u8] {
    &cast_slice(code)[..quantizer.code_len()]
}

/// Returns the bytes of a code that is to be written, before zeros.
fn front<'a>(code: &'a mut [Block], quantizer: &dyn Quantizer) -> &'a mut [u8] {
    let (code, rest) = cast_slice_mut(code).split_at_mut(quantizer.code_len());
    rest.fill(0);
    code
}

/// Clamps a component to the range that quantizers admit.
fn clamp(x: &mut f32) {
    *x = x.clamp(-MAX_COMPONENT, MAX_COMPONENT);
}

#[cfg(test)]
mod tests;
