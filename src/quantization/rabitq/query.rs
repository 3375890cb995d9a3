//! A query as planes of bits, and the estimate of distances.

use std::fmt;

use super::grid::{Fit, write_plane};
use super::{Centring, Factors, Quantizer, RabitqQuantizer};
use crate::metric::Metric;
use crate::quantization::error::QuantizationError;
use crate::quantization::quantizer::{PreparedQuery, check_codes};
use crate::simd::{Simd, Task, run_on};

/// Standard deviations that the bound of an estimate spans unless set: the number of the paper.
const EPSILON: f32 = 1.9;

/// The possible loss of single precision in rotations and sums, as a share of the greatest term.
const ROUNDING: f32 = 1e-6;

/// A distance and its possible error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimated distance.
    pub distance: f32,
    /// The greatest difference of the true distance, either way, with the probability of [`RabitqQuery::with_epsilon`].
    pub bound: f32,
}

/// A query prepared by [`RabitqQuantizer::query`].
///
/// ```
/// use nearfield::Metric;
/// use nearfield::quantization::{Quantizer, RabitqQuantizer};
///
/// let vectors: Vec<f32> = (0..100 * 50).map(|i| (i as f32 * 1.7).cos()).collect();
/// let quantizer = RabitqQuantizer::builder(100, Metric::L2).bits(4).train(&vectors)?;
/// let codes = quantizer.quantize_batch(&vectors)?;
///
/// // The nearest to a vector: only those are looked at exactly that may be nearer than the best.
/// let query = quantizer.query(&vectors[500..600])?.with_epsilon(3.0);
/// let (mut nearest, mut least, mut exact) = (0, f32::INFINITY, 0);
/// for (i, code) in codes.chunks(quantizer.code_len()).enumerate() {
///     let estimate = query.estimate(code)?;
///     if estimate.distance - estimate.bound < least {
///         exact += 1;
///         let vector = &vectors[100 * i..][..100];
///         let distance = vector.iter().zip(&vectors[500..]).map(|(a, b)| (a - b).powi(2)).sum();
///         (nearest, least) = if distance < least { (i, distance) } else { (nearest, least) };
///     }
/// }
/// assert_eq!(nearest, 5);
/// assert!(exact < 25);
/// # Ok::<(), nearfield::quantization::QuantizationError>(())
/// ```
pub struct RabitqQuery<'a> {
    quantizer: &'a RabitqQuantizer,
    /// For each group of four planes, the lowest bits first, steps of 128 components in the layout
    /// of `Simd::plane_counts`.
    planes: Vec<[u8; 64]>,
    norm: f32,
    scale: f32,
    error: f32,
    centring: Centring,
    epsilon: f32,
}

impl<'a> RabitqQuery<'a> {
    /// Prepares a vector ready to be centred.
    pub(super) fn new(quantizer: &'a RabitqQuantizer, query: &[f32]) -> Self {
        let mut planes = vec![[0; 64]; quantizer.query_planes()];
        let centring = quantizer.centring(query);
        let Fit { norm, scale, error } =
            quantizer.write_query(query, centring.multiple, &mut Vec::new(), &mut planes);
        Self { quantizer, planes, norm, scale, error, centring, epsilon: EPSILON }
    }

    /// Sets the number of standard deviations that an estimate's bound spans. The error is close to normally
    /// distributed, so the true distance lies within the bound with a probability of at least
    /// about 0.68 for 1, 0.94 for 1.9 (if not set), 0.95 for 2 and 0.997 for 3, over the choice of
    /// the rotation. A negative number or NaN counts as zero.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f32) -> Self {
        self.epsilon = epsilon.max(0.0);
        self
    }

    /// Returns the estimated distance to the vector that has this code, and its bound (theorem 3.2 of the
    /// paper, with the error of the query's own code added in). Distances are unbiased, so small
    /// ones of [`Metric::L2`] may be estimated below zero.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::CodeLength`].
    pub fn estimate(&self, code: &[u8]) -> Result<Estimate, QuantizationError> {
        check_codes(code, self.quantizer.code_len(), 1)?;
        let mut distance = 0.0;
        self.run(code, std::slice::from_mut(&mut distance));
        let (_, factors) = self.quantizer.parts(code);
        Ok(Estimate { distance, bound: self.bound(factors) })
    }

    /// Returns the bound of an estimate. The product of a code's and the query's scaled grid points differs from the product of
    /// residuals by three products with errors. Each is the product of two vectors in random position to each other, with the standard
    /// deviation of their lengths over the root of the dimension.
    fn bound(&self, code: Factors) -> f32 {
        let of_code = code.error * self.norm;
        let of_query = code.norm * self.error;
        let of_both = code.error * self.error;
        let dimension = self.quantizer.rotation.len();
        let root = ((dimension - 1).max(1) as f32).sqrt();
        let deviation = (of_code * of_code + of_query * of_query + of_both * of_both).sqrt() / root;
        let squares = code.norm * code.norm + self.norm * self.norm;
        let centre = self.quantizer.centre_square;
        match self.quantizer.metric {
            Metric::InnerProduct => {
                let Centring { multiple, product } = self.centring;
                let magnitude =
                    squares + multiple.abs() * (centre + code.product.abs()) + product.abs();
                self.epsilon * deviation + ROUNDING * magnitude
            }
            Metric::Cosine => self.epsilon * deviation + ROUNDING * (squares + centre),
            _ => 2.0 * self.epsilon * deviation + ROUNDING * (squares + centre),
        }
    }

    /// Writes the distances to `codes` into `out`, which has the number of the codes.
    fn run(&self, codes: &[u8], out: &mut [f32]) {
        let (query, isa) = (self, self.quantizer.isa);
        match self.quantizer.bits {
            1 => run_on(isa, Distances::<1, 1> { query, codes, out }),
            2 => run_on(isa, Distances::<2, 1> { query, codes, out }),
            _ => run_on(isa, Distances::<4, 2> { query, codes, out }),
        }
    }
}

impl RabitqQuantizer {
    /// Returns the number of blocks of a query's planes: for each group of four planes, one for 128 components.
    pub(super) fn query_planes(&self) -> usize {
        query_bits(self.bits) as usize / 4 * self.rotation.len().div_ceil(128)
    }

    /// Writes the planes of a query, a vector ready to be centred, less this multiple of the centre, in the layout of
    /// `Simd::plane_counts`.
    pub(super) fn write_query(
        &self,
        query: &[f32],
        multiple: f32,
        scratch: &mut Vec<f32>,
        planes: &mut [[u8; 64]],
    ) -> Fit {
        let bits = query_bits(self.bits);
        let (values, fit) = self.nearest_point(query, multiple, bits, scratch);
        let steps = planes.len() / (bits as usize / 4);
        planes.as_flattened_mut().fill(0);
        for bit in 0..bits as usize {
            let group = &mut planes[bit / 4 * steps..][..steps];
            for (step, values) in group.iter_mut().zip(values.chunks(128)) {
                for (half, values) in values.chunks(64).enumerate() {
                    write_plane(values, bit as u32, &mut step[32 * half + 8 * (bit % 4)..][..8]);
                }
            }
        }
        fit
    }
}

/// Returns the bits of a query's component, a number at which the error of the query's code hardly counts.
pub(super) fn query_bits(bits: u32) -> u32 {
    if bits <= 2 { 4 } else { 8 }
}

impl PreparedQuery for RabitqQuery<'_> {
    fn distance(&self, code: &[u8]) -> Result<f32, QuantizationError> {
        let mut distance = 0.0;
        self.distances(code, std::slice::from_mut(&mut distance))?;
        Ok(distance)
    }

    fn distances(&self, codes: &[u8], distances: &mut [f32]) -> Result<(), QuantizationError> {
        check_codes(codes, self.quantizer.code_len(), distances.len())?;
        self.run(codes, distances);
        Ok(())
    }
}

impl fmt::Debug for RabitqQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabitqQuery")
            .field("quantizer", &self.quantizer)
            .field("epsilon", &self.epsilon)
            .finish_non_exhaustive()
    }
}

/// The distances to codes of `B` planes from a query of `G` groups of four planes.
struct Distances<'a, const B: usize, const G: usize> {
    query: &'a RabitqQuery<'a>,
    codes: &'a [u8],
    out: &'a mut [f32],
}

impl<const B: usize, const G: usize> Task for Distances<'_, B, G> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { query, codes, out } = self;
        let quantizer = query.quantizer;
        let plane_len = quantizer.plane_len();
        let steps = query.planes.len() / G;
        let mut groups: [&[[u8; 64]]; G] = [&[]; G];
        for (group, planes) in groups.iter_mut().zip(query.planes.chunks_exact(steps)) {
            *group = planes;
        }
        // The product of equal planes.
        let greatest = ((1_i32 << B) - 1) * ((1 << (4 * G)) - 1);
        let equal = greatest * quantizer.rotation.len() as i32;
        let square = query.norm * query.norm;
        for (distance, code) in out.iter_mut().zip(codes.chunks_exact(quantizer.code_len())) {
            let (planes, factors) = quantizer.parts(code);
            let mut total = simd.i32_zero();
            for (b, plane) in planes.chunks_exact(plane_len).enumerate() {
                total = add_differing(simd, total, plane, groups, B - 1 - b);
            }
            let differing = simd.i32_sum(total);
            let product = factors.scale * query.scale * equal.wrapping_sub(2 * differing) as f32;
            let squares = factors.norm * factors.norm + square;
            let Centring { multiple, product: of_query } = query.centring;
            let of_centre = of_query + multiple * (factors.product - quantizer.centre_square);
            *distance = quantizer.finish(product, squares, of_centre);
        }
    }
}

/// Adds to the lanes of `total` the number of bits in which a code's plane differs from each of a query's, times the weights of both.
#[inline(always)]
pub(super) fn add_differing<S: Simd, const G: usize>(
    simd: S,
    total: S::I32,
    plane: &[u8],
    groups: [&[[u8; 64]]; G],
    shift: usize,
) -> S::I32 {
    let (words, last) = plane.as_chunks::<16>();
    let mut counts = [simd.plane_zero(); G];
    for (counts, group) in counts.iter_mut().zip(groups) {
        for (words, query) in words.iter().zip(group) {
            *counts = simd.plane_counts(*counts, words, query);
        }
    }
    if let Some(last) = last.first_chunk::<8>() {
        let mut padded = [0; 16];
        padded[..8].copy_from_slice(last);
        for (counts, group) in counts.iter_mut().zip(groups) {
            if let Some(query) = group.get(words.len()) {
                *counts = simd.plane_counts(*counts, &padded, query);
            }
        }
    }
    let mut total = total;
    for (g, counts) in counts.into_iter().enumerate() {
        total = simd.plane_weigh(total, counts, (shift + 4 * g) as u32);
    }
    total
}
