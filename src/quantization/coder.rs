//! The quantizers in the form in which indexes use them: codes and prepared queries are blocks.

use bytemuck::{cast_slice, cast_slice_mut};

use super::admit::MAX_COMPONENT;
use super::quantizer::Quantizer;
use crate::distance::{BoundKernel, with_isa};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::quantization::product::{ProductKernel, ProductQuantizer};
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
            Self::Product(_) | Self::Rabitq(_) => {
                let bytes = self.quantizer().map_or(0, Quantizer::code_len);
                bytes.div_ceil(size_of::<Block>())
            }
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
                quantizer.encode(vector, front(code, quantizer));
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
            Self::Product(quantizer) if quantizer.bits() == 8 => with_isa(ProductKernel::<8>, isa),
            Self::Product(_) => with_isa(ProductKernel::<4>, isa),
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
        // Adding zero makes a negative one positive.
        OrderKey::of_f32(distance.unwrap_or(f32::NAN) + 0.0)
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
mod tests {
    use super::*;
    use crate::distance::Ask;
    use crate::quantization::quantizer::PreparedQuery;
    use crate::quantization::tests::Random;

    const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

    fn codings(dimension: usize) -> Vec<Coding> {
        let product = |parts: usize, bits| Coding::Product { sub_vectors: parts as u32, bits };
        let mut all = [1, 2, 4].map(|bits| Coding::Rabitq { bits }).to_vec();
        all.extend([product(1, 4), product(dimension, 4), product(dimension.div_ceil(3), 8)]);
        all
    }

    fn vectors(random: &mut Random, count: usize, dimension: usize, metric: Metric) -> Vec<f32> {
        let mut all: Vec<f32> = (0..count * dimension).map(|_| random.signed() + 0.1).collect();
        if metric == Metric::Cosine {
            for row in all.chunks_exact_mut(dimension) {
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                for x in row {
                    *x /= norm;
                }
            }
        }
        all
    }

    /// Returns the distances of a query and four rows.
    fn distances(coder: &Coder, isa: Isa, query: &[Block], rows: [&[Block]; 4]) -> [f32; 4] {
        let found = Ask::of(query, rows).under(&*coder.query_kernel(isa).expect("available"));
        assert_eq!(found.keys, found.keys4);
        found.distances
    }

    #[test]
    fn kernels_give_the_distances_of_the_quantizer_on_every_instruction_set() {
        let mut random = Random(4);
        for dimension in [1, 20, 64, 129, 192] {
            for metric in METRICS {
                let base = vectors(&mut random, 40, dimension, metric);
                for coding in codings(dimension) {
                    let what = format!("{dimension} {metric:?} {coding:?}");
                    let mut sample = base.clone();
                    let coder =
                        Coder::train(&mut sample, dimension, metric, coding, 5, Isa::detect())
                            .expect("trained");
                    let quantizer = coder.quantizer().expect("no grid");
                    let mut scratch = Vec::new();
                    let rows: [Vec<Block>; 4] = std::array::from_fn(|i| {
                        let mut code = vec![Block::ZERO; coder.code_blocks()];
                        let mut row = base[i * dimension..][..dimension].to_vec();
                        coder.encode(&mut row, &mut scratch, &mut code);
                        code
                    });
                    let codes = rows.each_ref().map(|row| code_of(quantizer, row));
                    for (i, code) in codes.iter().enumerate() {
                        let row = &base[i * dimension..][..dimension];
                        // Scaling to unit length once more changes last digits.
                        if metric != Metric::Cosine {
                            assert_eq!(&quantizer.quantize(row).expect("legal"), code, "{what}");
                        }
                    }
                    // The old content of the blocks does not matter.
                    let garbage: Block = bytemuck::cast([0xa5_u8; 64]);
                    let mut blocks = vec![garbage; coder.query_blocks()];
                    let query = &base[10 * dimension..][..dimension];
                    coder.prepare(&mut query.to_vec(), &mut scratch, &mut blocks);
                    let prepared: Box<dyn PreparedQuery> = quantizer.prepare(query).expect("legal");
                    for &isa in Isa::available() {
                        let rows = rows.each_ref().map(Vec::as_slice);
                        let found = distances(&coder, isa, &blocks, rows);
                        for (found, code) in found.into_iter().zip(codes) {
                            let expected = prepared.distance(code).expect("a code");
                            let expected = if metric == Metric::InnerProduct {
                                expected
                            } else {
                                expected.max(0.0)
                            };
                            let off = (found - expected).abs();
                            assert!(off <= 1e-5 * (1.0 + expected.abs()), "{what} {isa:?}: {off}");
                        }
                    }
                    let between = quantizer.distance(codes[0], codes[1]).expect("codes");
                    assert_eq!(
                        coder.key_between(&rows[0], &rows[1]),
                        OrderKey::of_f32(between + 0.0)
                    );
                    if let Some(query) = coder.query_of(&rows[0]) {
                        let rows = rows.each_ref().map(Vec::as_slice);
                        let [_, found, ..] = distances(&coder, Isa::Scalar, &query, rows);
                        assert!((found - between).abs() <= 1e-5 * (1.0 + between.abs()), "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn coders_come_back_and_others_do_not() {
        let mut random = Random(9);
        let (dimension, isa) = (20, Isa::detect());
        for metric in METRICS {
            let mut sample = vectors(&mut random, 40, dimension, metric);
            for coding in codings(dimension) {
                let train = |sample: &mut Vec<f32>| {
                    Coder::train(sample, dimension, metric, coding, 5, isa).expect("trained")
                };
                let bytes = train(&mut sample).to_bytes();
                let back = Coder::from_bytes(&bytes, dimension, metric, coding, isa);
                assert_eq!(back.expect("sound").to_bytes(), bytes);
                for other in codings(dimension).into_iter().chain([Coding::Scalar(Bits::Four)]) {
                    let back = Coder::from_bytes(&bytes, dimension, metric, other, isa);
                    assert_eq!(back.is_some(), other == coding, "{coding:?} as {other:?}");
                }
                assert!(Coder::from_bytes(&bytes, dimension + 1, metric, coding, isa).is_none());
                let torn = &bytes[..bytes.len() - 1];
                assert!(Coder::from_bytes(torn, dimension, metric, coding, isa).is_none());
            }
        }
    }

    #[test]
    fn huge_components_and_few_vectors_are_taken() {
        let isa = Isa::detect();
        for metric in METRICS {
            for coding in codings(12) {
                let mut sample = vec![0.3_f32; 12];
                let coder = Coder::train(&mut sample, 12, metric, coding, 1, isa).expect("trained");
                let mut code = vec![Block::ZERO; coder.code_blocks()];
                let mut scratch = Vec::new();
                coder.encode(&mut [f32::MAX; 12], &mut scratch, &mut code);
                let mut query = vec![Block::ZERO; coder.query_blocks()];
                coder.prepare(&mut [-f32::MAX; 12], &mut scratch, &mut query);
                let rows = [code.as_slice(); 4];
                let distances = distances(&coder, isa, &query, rows);
                assert!(distances.iter().all(|x| x.is_finite()), "{metric:?} {coding:?}");
                let mut back = Vec::new();
                coder.decode(&code, &mut back);
                assert!(back.len() == 12 && back.iter().all(|x| x.is_finite()));
            }
        }
    }
}
