//! RaBitQ: signs, or a few bits, of a randomly rotated vector, and an unbiased estimate of the
//! distance with a bound on its error.

mod builder;
mod grid;
mod kernel;
mod query;
#[cfg(test)]
mod tests;

pub use builder::RabitqQuantizerBuilder;
pub(crate) use kernel::RabitqKernel;
pub use query::{Estimate, RabitqQuery};

use std::borrow::Cow;
use std::fmt;

use crate::error::VectorError;
use crate::metric::Metric;
use crate::quantization::admit::admit;
use crate::quantization::bytes::{Reader, Writer, wrong};
use crate::quantization::error::QuantizationError;
use crate::quantization::math::Rotation;
use crate::quantization::quantizer::{PreparedQuery, Quantizer, check_codes, check_output};
use crate::simd::{Isa, run_on};
use grid::Fit;

const MARK: [u8; 4] = *b"NFRQ";

/// RaBitQ (Gao and Long, SIGMOD 2024) with 1 bit a component, and its extension to 2 and 4 bits
/// (Gao et al., SIGMOD 2025).
///
/// The mean of the training vectors is subtracted, the rest is rotated by a random orthogonal
/// matrix, and the direction that is left is replaced by the nearest direction of a grid with
/// `2^bits` values a component. A code holds one *plane* of bits for each bit, and three numbers,
/// or four for inner products: the length of the residual, the scale that makes the estimate unbiased, and its possible error. Only the
/// mean is learnt, so training is one pass and the
/// quantizer suits any data; the rotation makes the error depend on the dimension alone.
///
/// A query is rotated likewise and coded with 4 or 8 bits a component; products of the two are
/// counts of bits. [`RabitqQuery::estimate`] gives the distance with its bound.
///
/// | | cost |
/// |---|---|
/// | code | `bits * dimension / 8` bytes, rounded up to words of 8, and 12 or 16 more |
/// | quantize | `dimension * log(dimension)` |
/// | prepare | `dimension * log(dimension)` |
/// | distance | `dimension / 64` population counts for each pair of bits, 4 to 32 of them |
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{Quantizer, RabitqQuantizer};
///
/// let vectors: Vec<f32> = (0..64 * 200).map(|i| (i as f32 * 0.37).sin()).collect();
/// let quantizer = RabitqQuantizer::builder(64, Metric::L2).bits(2).seed(1).train(&vectors)?;
/// assert_eq!(quantizer.code_len(), 2 * 8 + 12);
///
/// let query = quantizer.query(&vectors[..64])?;
/// let estimate = query.estimate(&quantizer.quantize(&vectors[640..704])?)?;
/// let exact: f32 = (0..64).map(|i| (vectors[i] - vectors[640 + i]).powi(2)).sum();
/// assert!((estimate.distance - exact).abs() < 2.0 * estimate.bound);
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
pub struct RabitqQuantizer {
    metric: Metric,
    dimension: usize,
    bits: u32,
    seed: u64,
    centre: Vec<f32>,
    /// `|centre|^2`.
    centre_square: f32,
    rotation: Rotation,
    isa: Isa,
}

/// The numbers of a code besides its planes.
#[derive(Debug, Clone, Copy)]
struct Factors {
    /// The length of the residual, the vector less the centre.
    norm: f32,
    /// The factor of a point of the grid that makes its product with the residual the square of the residual's length.
    scale: f32,
    /// The length of the difference between the scaled point and the residual, to which the difference is orthogonal.
    error: f32,
    /// The inner product of the vector and the centre; zero unless the metric is the inner product.
    product: f32,
}

/// The relation of a query to the centre.
#[derive(Debug, Clone, Copy)]
struct Centring {
    /// The multiple of the centre that is subtracted from the query.
    multiple: f32,
    /// The inner product of the query and the centre; zero unless the metric is the inner product.
    product: f32,
}

impl RabitqQuantizer {
    /// Starts the choices for vectors of `dimension` components.
    pub fn builder(dimension: usize, metric: Metric) -> RabitqQuantizerBuilder {
        RabitqQuantizerBuilder::new(dimension, metric)
    }

    /// Returns the bits for each component: 1, 2 or 4.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Prepares a query: [`Quantizer::prepare`], with the type that can
    /// [`RabitqQuery::estimate`].
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Vector`], as for [`Quantizer::quantize_into`].
    pub fn query(&self, query: &[f32]) -> Result<RabitqQuery<'_>, QuantizationError> {
        Ok(RabitqQuery::new(self, &self.admit(query)?))
    }

    /// Returns whether `code` can be a code of this quantizer: it has the length, and its numbers are finite.
    pub(crate) fn is_code(&self, code: &[u8]) -> bool {
        if code.len() != self.code_len() {
            return false;
        }
        let Factors { norm, scale, error, product } = self.parts(code).1;
        [norm, scale, error, product].iter().all(|x| x.is_finite())
    }

    fn new(metric: Metric, dimension: usize, bits: u32, seed: u64, centre: Vec<f32>) -> Self {
        let isa = Isa::detect();
        let rotation = Rotation::new(dimension, seed, isa);
        let centre_square = dot(&centre, &centre) as f32;
        Self { metric, dimension, bits, seed, centre, centre_square, rotation, isa }
    }

    /// Returns the vector ready to be centred.
    fn admit<'a>(&self, vector: &'a [f32]) -> Result<Cow<'a, [f32]>, VectorError> {
        admit(vector, self.dimension, self.metric)
    }

    /// Replaces `rotated` by the vector less a multiple of the centre, rotated.
    fn residual_into(&self, vector: &[f32], multiple: f32, rotated: &mut Vec<f32>) {
        rotated.clear();
        rotated.extend(vector.iter().zip(&self.centre).map(|(x, c)| x - multiple * c));
        rotated.resize(self.rotation.len(), 0.0);
        self.rotation.apply(rotated);
    }

    /// Returns the relation of a query to the centre. Errors are in proportion to the query's residual, and the centre is not near to
    /// queries of all lengths: under the inner product, the multiple of the centre that leaves the shortest residual is subtracted.
    fn centring(&self, query: &[f32]) -> Centring {
        if self.metric != Metric::InnerProduct {
            return Centring { multiple: 1.0, product: 0.0 };
        }
        let product = dot(query, &self.centre) as f32;
        let multiple = product / self.centre_square;
        Centring { multiple: if multiple.is_finite() { multiple } else { 0.0 }, product }
    }

    /// Returns the point of the grid that is nearest to the residual of a vector ready to be centred, less this multiple of the centre.
    /// `scratch` then holds the components of both.
    fn nearest_point<'s>(
        &self,
        vector: &[f32],
        multiple: f32,
        bits: u32,
        scratch: &'s mut Vec<f32>,
    ) -> (&'s [u8], Fit) {
        self.residual_into(vector, multiple, scratch);
        let len = scratch.len();
        scratch.resize(len + len.div_ceil(4), 0.0);
        let (residual, values) = scratch.split_at_mut(len);
        let values = &mut bytemuck::cast_slice_mut(values)[..len];
        let fit = run_on(self.isa, grid::Nearest { residual, bits, values });
        (values, fit)
    }

    /// Writes the code of a vector ready to be centred. Returns the squared distance of the vector
    /// from the grid point whose products with it are unbiased.
    pub(crate) fn encode(&self, vector: &[f32], scratch: &mut Vec<f32>, code: &mut [u8]) -> f32 {
        let (planes, factors) = code.split_at_mut(self.planes_len());
        let (values, Fit { norm, scale, error }) =
            self.nearest_point(vector, 1.0, self.bits, scratch);
        planes.fill(0);
        for (number, plane) in planes.chunks_exact_mut(self.plane_len()).enumerate() {
            grid::write_plane(values, self.bits - 1 - number as u32, plane);
        }
        let product =
            if self.metric == Metric::InnerProduct { dot(vector, &self.centre) } else { 0.0 };
        let numbers = [norm, scale, error, product as f32];
        for (bytes, number) in factors.chunks_exact_mut(4).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        error * error
    }

    /// [`Quantizer::quantize_into`] with the result of [`Self::encode`].
    pub(crate) fn quantize_measured(
        &self,
        vector: &[f32],
        code: &mut [u8],
    ) -> Result<f32, QuantizationError> {
        check_codes(code, self.code_len(), 1)?;
        Ok(self.encode(&self.admit(vector)?, &mut Vec::new(), code))
    }

    /// Returns the bytes of a plane, whole words of eight.
    fn plane_len(&self) -> usize {
        8 * self.rotation.len().div_ceil(64)
    }

    /// Returns the bytes of all planes.
    fn planes_len(&self) -> usize {
        self.bits as usize * self.plane_len()
    }

    /// Returns the number of factors behind the planes.
    fn factors(&self) -> usize {
        if self.metric == Metric::InnerProduct { 4 } else { 3 }
    }

    /// Splits a code of the right length.
    #[inline(always)]
    fn parts<'c>(&self, code: &'c [u8]) -> (&'c [u8], Factors) {
        let (planes, factors) = code.split_at(self.planes_len());
        let (factors, _) = factors.as_chunks::<4>();
        let factor = |i: usize| factors.get(i).map_or(0.0, |&bytes| f32::from_le_bytes(bytes));
        let factors =
            Factors { norm: factor(0), scale: factor(1), error: factor(2), product: factor(3) };
        (planes, factors)
    }

    /// Returns the distance, given the product of the residuals of two vectors, the sum of the squares of the residuals' lengths, and the
    /// part of the vectors' product that the residuals' product lacks.
    #[inline(always)]
    fn finish(&self, product: f32, squares: f32, of_centre: f32) -> f32 {
        match self.metric {
            Metric::InnerProduct => -product - of_centre,
            Metric::Cosine => 0.5 * squares - product,
            _ => squares - 2.0 * product,
        }
    }
}

impl Quantizer for RabitqQuantizer {
    fn metric(&self) -> Metric {
        self.metric
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn code_len(&self) -> usize {
        self.planes_len() + 4 * self.factors()
    }

    fn quantize_into(&self, vector: &[f32], code: &mut [u8]) -> Result<(), QuantizationError> {
        self.quantize_measured(vector, code).map(drop)
    }

    fn dequantize_into(&self, code: &[u8], vector: &mut [f32]) -> Result<(), QuantizationError> {
        check_codes(code, self.code_len(), 1)?;
        check_output(vector.len(), self.dimension)?;
        let (planes, Factors { norm, scale, .. }) = self.parts(code);
        let mut rotated = grid::components(planes, self.bits, self.rotation.len());
        // The multiple of the grid's point that is nearest to the residual, shorter than the multiple that makes products unbiased.
        let square = dot(&rotated, &rotated) * f64::from(scale);
        let nearest =
            if square > 0.0 { (f64::from(norm) * f64::from(norm) / square) as f32 } else { 0.0 };
        self.rotation.invert(&mut rotated);
        for ((x, residual), c) in vector.iter_mut().zip(rotated).zip(&self.centre) {
            *x = nearest * residual + c;
        }
        Ok(())
    }

    /// Returns zero for equal codes. The product of two other codes is too small, because both have lost length, but the nearer they
    /// are, the more of their errors they share.
    fn distance(&self, a: &[u8], b: &[u8]) -> Result<f32, QuantizationError> {
        check_codes(a, self.code_len(), 1)?;
        check_codes(b, self.code_len(), 1)?;
        let ((a_planes, a), (b_planes, b)) = (self.parts(a), self.parts(b));
        let product = run_on(
            self.isa,
            grid::Product {
                planes: [a_planes, b_planes],
                plane_len: self.plane_len(),
                dimension: self.rotation.len(),
            },
        );
        // Lengths of the scaled grid points, and the cosine of the angle between them.
        let lengths = a.norm.hypot(a.error) * b.norm.hypot(b.error);
        let norms = a.norm * b.norm;
        let of_centre = a.product + b.product - self.centre_square;
        if norms == 0.0 {
            return Ok(self.finish(0.0, a.norm * a.norm + b.norm * b.norm, of_centre));
        }
        let cosine = (a.scale * b.scale * product as f32 / lengths).clamp(-1.0, 1.0);
        // Near orthogonality the cosine of codes is too small by the ratio of lengths, and that of
        // equal codes is right. For one bit this is within 0.02 of the law between,
        // sin(pi / 2 * cosine) (Charikar, STOC 2002).
        let lost = lengths / norms - 1.0;
        let cosine = (cosine * (1.0 + lost * (1.0 - cosine * cosine))).clamp(-1.0, 1.0);
        let squares = a.norm * a.norm + b.norm * b.norm;
        Ok(self.finish(norms * cosine, squares, of_centre))
    }

    fn prepare<'a>(
        &'a self,
        query: &[f32],
    ) -> Result<Box<dyn PreparedQuery + 'a>, QuantizationError> {
        Ok(Box::new(self.query(query)?))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new(MARK, self.dimension, self.metric);
        writer.u32(self.bits);
        writer.u64(self.seed);
        self.centre.iter().for_each(|&x| writer.f32(x));
        writer.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, QuantizationError> {
        let mut reader = Reader::new(MARK, bytes)?;
        let (dimension, metric) = (reader.dimension, reader.metric);
        let (bits, seed) = (reader.u32()?, reader.u64()?);
        if ![1, 2, 4].contains(&bits) {
            return wrong("the number of bits is not 1, 2 or 4");
        }
        let centre = reader.components(dimension)?;
        reader.finish()?;
        Ok(Self::new(metric, dimension, bits, seed, centre))
    }
}

impl fmt::Debug for RabitqQuantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabitqQuantizer")
            .field("dimension", &self.dimension)
            .field("metric", &self.metric)
            .field("bits", &self.bits)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Returns the inner product, in double precision.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    sums.iter().sum::<f64>() + rest
}
