//! The public face of [`ScalarGrid`]: choices, codes as bytes, parameters as bytes.

use std::fmt;

use bytemuck::{cast_slice, cast_slice_mut};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::{Bits, Parts, ScalarGrid};
use crate::error::VectorError;
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::quantization::admit::{admit, admit_rows, check_space, check_training};
use crate::quantization::bytes::{Reader, Writer, wrong};
use crate::quantization::error::QuantizationError;
use crate::quantization::math::{Rotation, sample};
use crate::quantization::quantizer::{PreparedQuery, Quantizer, check_codes, check_output};
use crate::simd::Isa;
use crate::vector::{Block, Element};

const MARK: [u8; 4] = *b"NFSQ";

/// Vectors that are enough to fit a grid, which has one number to learn besides the mean.
const ENOUGH: usize = 16_384;

/// Scalar quantization: each component becomes a number of 12, 8 or 4 bits.
///
/// Vectors are centred (not for inner products) and rotated at random, after which all components
/// are about normally distributed. Codes of 4 bits under L2 and the cosine share one uniform grid. All other codes carry a scale each
/// (locally-adaptive quantization, LVQ: Aguerrebere et al., 2023), in the lowest bits of eight components: a decoded vector is off by a
/// share of its length, from 2^-32 to 2^32 times the length of the training vectors. A vector that centring would make longer is not
/// centred. Each query has a scale, too. [`Hnsw`](crate::Hnsw) walks on these codes. Vectors of whole numbers in `0..=255` are their
/// own
/// codes of 8 bits, if all training vectors are such and the metric is [`Metric::L2`]; others are refused then.
///
/// | | cost |
/// |---|---|
/// | code | `bits * dimension / 8` bytes, rounded up to a multiple of 64; with 12 bits, of 192 |
/// | quantize | `dimension * log(dimension)` |
/// | prepare | `dimension * log(dimension)` |
/// | distance | `dimension` integer products, 64 to 128 at a time |
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{Quantizer, ScalarQuantizer};
///
/// let vectors: Vec<f32> = (0..100 * 50).map(|i| (i as f32 * 1.7).cos()).collect();
/// let quantizer = ScalarQuantizer::builder(100, Metric::Cosine).bits(4).train(&vectors)?;
/// let codes = quantizer.quantize_batch(&vectors)?;
/// assert_eq!(codes.len(), 50 * 64);
///
/// let mut distances = [0.0; 50];
/// quantizer.prepare(&vectors[700..800])?.distances(&codes, &mut distances)?;
/// let nearest = (0..50).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
/// assert_eq!(nearest, Some(7));
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
pub struct ScalarQuantizer {
    grid: ScalarGrid,
    seed: u64,
    isa: Isa,
}

/// The choices for a [`ScalarQuantizer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ScalarQuantizerBuilder {
    dimension: usize,
    metric: Metric,
    bits: u32,
    seed: u64,
}

impl ScalarQuantizerBuilder {
    /// Sets the bits for each component: 12, 8 (if not set) or 4.
    pub fn bits(mut self, bits: u32) -> Self {
        self.bits = bits;
        self
    }

    /// Sets the seed of the rotation and of the choice of a sample (0 if not set).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Learns mean and deviation of `vectors`, which are stored without gaps. At least one is needed; of more than 16,384, only a
    /// random sample of that size is read.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Parameter`], [`QuantizationError::TooFewVectors`];
    /// [`QuantizationError::Vector`] if the components are no whole number of vectors;
    /// [`QuantizationError::BatchVector`] if a vector is refused.
    pub fn train(&self, vectors: &[f32]) -> Result<ScalarQuantizer, QuantizationError> {
        let Self { dimension, metric, bits, seed } = *self;
        check_space(dimension, metric)?;
        let Some(bits) = Bits::of(bits) else {
            let (name, value, allowed) = ("bits", bits.to_string(), "4, 8 or 12");
            return Err(QuantizationError::Parameter { name, value, allowed });
        };
        let count = check_training(vectors, dimension, 1)?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let chosen = sample(count, ENOUGH, &mut rng);
        let rows = admit_rows(vectors, dimension, metric, &chosen)?;
        let isa = Isa::detect();
        let grid = ScalarGrid::train_scaled(&rows, dimension, metric, bits, seed, isa);
        Ok(ScalarQuantizer { grid, seed, isa })
    }
}

impl ScalarQuantizer {
    /// Starts the choices for vectors of `dimension` components.
    pub fn builder(dimension: usize, metric: Metric) -> ScalarQuantizerBuilder {
        ScalarQuantizerBuilder { dimension, metric, bits: 8, seed: 0 }
    }

    /// Returns the bits for each component: 4, 8 or 12.
    pub fn bits(&self) -> u32 {
        self.grid.bits.count()
    }

    /// Writes the distances of a prepared query, or of a code if `between`, to `codes` into `distances`, which has the number of the
    /// codes.
    fn run(&self, query: &[Block], between: bool, codes: &[u8], distances: &mut [f32]) {
        let grid = &self.grid;
        let kernel = if between { grid.code_kernel(self.isa) } else { grid.query_kernel(self.isa) };
        let Some(kernel) = kernel else {
            debug_assert!(false, "detected instruction sets have all kernels");
            return;
        };
        // Codes have any address, and some kernels need whole cache lines.
        let mut code = vec![Block::ZERO; grid.code_blocks()];
        let bytes = size_of::<Block>() * code.len();
        for (distance, from) in distances.iter_mut().zip(codes.chunks_exact(bytes)) {
            cast_slice_mut(&mut code).copy_from_slice(from);
            let mut order = OrderKey::MIN;
            let orders = std::slice::from_mut(&mut order);
            kernel.orders_in_line(cast_slice(query), cast_slice(&code), orders);
            *distance = grid.distance(kernel.distance(order));
        }
    }
}

impl Quantizer for ScalarQuantizer {
    fn metric(&self) -> Metric {
        self.grid.metric
    }

    fn dimension(&self) -> usize {
        self.grid.dimension
    }

    fn code_len(&self) -> usize {
        size_of::<Block>() * self.grid.code_blocks()
    }

    fn quantize_into(&self, vector: &[f32], code: &mut [u8]) -> Result<(), QuantizationError> {
        check_codes(code, self.code_len(), 1)?;
        let vector = admit(vector, self.grid.dimension, self.grid.metric)?;
        if let Some(component) = self.grid.misfit(&vector) {
            let (value, element) = (vector[component], Element::U8);
            return Err(VectorError::NotRepresentable { component, value, element }.into());
        }
        let mut blocks = vec![Block::ZERO; self.grid.code_blocks()];
        self.grid.encode(&vector, &mut Vec::new(), &mut blocks);
        code.copy_from_slice(cast_slice(&blocks));
        Ok(())
    }

    fn dequantize_into(&self, code: &[u8], vector: &mut [f32]) -> Result<(), QuantizationError> {
        check_codes(code, self.code_len(), 1)?;
        check_output(vector.len(), self.grid.dimension)?;
        let mut decoded = Vec::new();
        self.grid.decode(&blocks(code), &mut decoded);
        vector.copy_from_slice(&decoded);
        Ok(())
    }

    fn distance(&self, a: &[u8], b: &[u8]) -> Result<f32, QuantizationError> {
        check_codes(a, self.code_len(), 1)?;
        check_codes(b, self.code_len(), 1)?;
        let (a_blocks, b_blocks) = (blocks(a), blocks(b));
        if self.grid.differ(&a_blocks, &b_blocks) {
            return Ok(self.grid.distance_of_decoded(&a_blocks, &b_blocks));
        }
        let mut distance = 0.0;
        self.run(&a_blocks, true, b, std::slice::from_mut(&mut distance));
        Ok(distance)
    }

    fn prepare<'a>(
        &'a self,
        query: &[f32],
    ) -> Result<Box<dyn PreparedQuery + 'a>, QuantizationError> {
        let query = admit(query, self.grid.dimension, self.grid.metric)?;
        let mut blocks = vec![Block::ZERO; self.grid.query_blocks()];
        self.grid.prepare(&query, &mut Vec::new(), &mut blocks);
        Ok(Box::new(ScalarQuery { quantizer: self, blocks }))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let ScalarGrid { metric, dimension, step, error, .. } = self.grid;
        let mut writer = Writer::new(MARK, dimension, metric);
        writer.u32(self.bits());
        writer.u32(u32::from(self.grid.rotation.is_some()) | u32::from(self.grid.is_scaled) << 1);
        writer.u64(self.seed);
        writer.f32(step);
        writer.f32(error);
        writer.u32(self.grid.mean.len() as u32);
        self.grid.mean.iter().for_each(|&x| writer.f32(x));
        writer.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, QuantizationError> {
        let mut reader = Reader::new(MARK, bytes)?;
        let (dimension, metric) = (reader.dimension, reader.metric);
        let Some(bits) = Bits::of(reader.u32()?) else {
            return wrong("the number of bits is not 4, 8 or 12");
        };
        let (flags, seed) = (reader.u32()?, reader.u64()?);
        let (is_rotated, is_scaled) = match flags {
            0 => (false, false),
            1 => (true, false),
            3 => (true, true),
            _ => return wrong("the flags are unknown"),
        };
        let (step, error) = (reader.f32()?, reader.f32()?);
        if !step.is_normal() || step < 0.0 || !error.is_finite() || error < 0.0 {
            return wrong("the grid has no width");
        }
        let mean_len = reader.u32()? as usize;
        if mean_len != 0 && mean_len != dimension {
            return wrong("the mean is of another dimension");
        }
        let mean = reader.components(mean_len)?;
        reader.finish()?;
        let isa = Isa::detect();
        let rotation = is_rotated.then(|| Rotation::new(dimension, seed, isa));
        let parts = Parts { mean, rotation, is_scaled, step, error };
        let grid = ScalarGrid::new(dimension, metric, bits, isa, parts);
        Ok(Self { grid, seed, isa })
    }
}

impl fmt::Debug for ScalarQuantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarQuantizer")
            .field("dimension", &self.grid.dimension)
            .field("metric", &self.grid.metric)
            .field("bits", &self.bits())
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Returns a code in blocks, which kernels can read.
fn blocks(code: &[u8]) -> Vec<Block> {
    let mut blocks = vec![Block::ZERO; code.len() / size_of::<Block>()];
    cast_slice_mut(&mut blocks).copy_from_slice(code);
    blocks
}

/// A query in the form of the kernels.
struct ScalarQuery<'a> {
    quantizer: &'a ScalarQuantizer,
    blocks: Vec<Block>,
}

impl PreparedQuery for ScalarQuery<'_> {
    fn distance(&self, code: &[u8]) -> Result<f32, QuantizationError> {
        let mut distance = 0.0;
        self.distances(code, std::slice::from_mut(&mut distance))?;
        Ok(distance)
    }

    fn distances(&self, codes: &[u8], distances: &mut [f32]) -> Result<(), QuantizationError> {
        check_codes(codes, self.quantizer.code_len(), distances.len())?;
        self.quantizer.run(&self.blocks, false, codes, distances);
        Ok(())
    }
}

impl fmt::Debug for ScalarQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarQuery").field("quantizer", &self.quantizer).finish_non_exhaustive()
    }
}
