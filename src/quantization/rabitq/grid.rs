//! The grid: vectors of odd integers, `2^bits` values a component, symmetric about zero.
//!
//! Component `i` is `2 v - (2^bits - 1)` where `v` has the bits that the planes hold for `i`. Hence
//! it is also a sum of powers of two, one for each plane, each taken with the sign of its bit.

use crate::simd::{Simd, Task};

/// Scales that the search starts from, as multiples of the usual one.
const FACTORS: [f64; 5] = [1.0, 0.8, 0.9, 1.1, 1.2];
/// Maximum number of rounds in which a scale is improved.
const ROUNDS: usize = 6;

/// The relation of a point of the grid to the vector that it replaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// The vector's length.
    pub(super) norm: f32,
    /// The factor of the point that makes its product with the vector `norm^2`.
    pub(super) scale: f32,
    /// The length of the difference between the scaled point and the vector.
    pub(super) error: f32,
}

/// Writes the plane of one bit of the values of a grid point, over zeros.
pub(super) fn write_plane(values: &[u8], bit: u32, plane: &mut [u8]) {
    for (byte, values) in plane.iter_mut().zip(values.chunks(8)) {
        for (i, value) in values.iter().enumerate() {
            *byte |= (value >> bit & 1) << i;
        }
    }
}

/// Finds a point of the grid whose direction is near to that of a vector.
///
/// For a given scale the nearest point is found component by component, and for a given point the
/// best scale is a quotient; done in turn, neither makes the distance greater. The start is the
/// best uniform quantizer of a normal distribution, which components of a rotated vector have.
pub(super) struct Nearest<'a> {
    pub(super) residual: &'a [f32],
    pub(super) bits: u32,
    /// Receives `v` of each component.
    pub(super) values: &'a mut [u8],
}

impl Task for Nearest<'_> {
    type Output = Fit;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Fit {
        let Self { residual, bits, values } = self;
        let square = super::dot(residual, residual);
        if square == 0.0 {
            values.fill(0);
            return Fit { norm: 0.0, scale: 0.0, error: 0.0 };
        }
        // Steps of the best uniform quantizer, in standard deviations (Max, IRE Transactions on
        // Information Theory 6, 1960, table II; 8 bits by the same equations).
        let step = match bits {
            1 => 1.596,
            2 => 0.9957,
            4 => 0.3352,
            _ => 0.0308,
        };
        let step = step * (square / residual.len() as f64).sqrt();
        let (mut best, mut best_step, mut product, mut length) = (0.0, step, 0.0, 0.0);
        for factor in if bits == 1 { &FACTORS[..1] } else { &FACTORS } {
            let mut step = factor * step;
            for _ in 0..ROUNDS {
                let (p, l) = products(residual, bits, (1.0 / step) as f32);
                // The square of the cosine, but for the length of the vector.
                if p * p <= best * l {
                    break;
                }
                (best, best_step, product, length) = (p * p / l, step, p, l);
                // Odd numbers: a step of the grid is two.
                step = 2.0 * p / l;
            }
        }
        let (middle, last) = bounds(bits);
        for (value, x) in values.iter_mut().zip(residual) {
            *value = cell(x * (1.0 / best_step) as f32, middle, last) as i32 as u8;
        }
        let scale = square / product;
        let error = (scale * scale * length - square).max(0.0).sqrt();
        Fit { norm: square.sqrt() as f32, scale: scale as f32, error: error as f32 }
    }
}

/// Returns the summand that makes cells begin at zero, and the number of the last cell.
fn bounds(bits: u32) -> (f32, f32) {
    let middle = (1_u32 << (bits - 1)) as f32;
    (middle, 2.0 * middle - 1.0)
}

/// Returns the number of the cell, 0 to `last`, that contains a component.
#[inline(always)]
fn cell(x: f32, middle: f32, last: f32) -> f32 {
    /// Adding this number rounds to a whole number on every instruction set.
    const ROUNDING: f32 = 12_582_912.0;
    let x = x + middle;
    let x = if x > 0.25 { x } else { 0.25 };
    let x = if x < last + 0.25 { x } else { last + 0.25 };
    (x - 0.5 + ROUNDING) - ROUNDING
}

/// Returns the product of the vector and its grid point at a scale, and the square of the point's length.
#[inline(always)]
fn products(residual: &[f32], bits: u32, scale: f32) -> (f64, f64) {
    let (middle, last) = bounds(bits);
    let (mut product, mut length) = (0.0, 0.0);
    // Sums of sixteen lanes in single precision, those of 256 components in double.
    for residual in residual.chunks(256) {
        let (mut products, mut lengths) = ([0.0_f32; 16], [0.0_f32; 16]);
        let (sixteens, rest) = residual.as_chunks::<16>();
        for sixteen in sixteens {
            for lane in 0..16 {
                let odd = 2.0 * cell(sixteen[lane] * scale, middle, last) - last;
                products[lane] += sixteen[lane] * odd;
                lengths[lane] += odd * odd;
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            let odd = 2.0 * cell(x * scale, middle, last) - last;
            products[lane] += x * odd;
            lengths[lane] += odd * odd;
        }
        product += products.iter().map(|&p| f64::from(p)).sum::<f64>();
        length += lengths.iter().map(|&l| f64::from(l)).sum::<f64>();
    }
    (product, length)
}

/// Returns the components of the grid point that `planes` hold, the plane of the highest bit first.
pub(super) fn components(planes: &[u8], bits: u32, dimension: usize) -> Vec<f32> {
    let plane_len = planes.len() / bits as usize;
    let greatest = (1_i32 << bits) - 1;
    (0..dimension)
        .map(|i| {
            let bit = |plane: &[u8]| i32::from(plane[i / 8] >> (i % 8) & 1);
            let value = planes.chunks_exact(plane_len).fold(0, |v, plane| v << 1 | bit(plane));
            (2 * value - greatest) as f32
        })
        .collect()
}

/// The inner product of two grid points of the same number of bits.
pub(super) struct Product<'a> {
    pub(super) planes: [&'a [u8]; 2],
    pub(super) plane_len: usize,
    pub(super) dimension: usize,
}

impl Task for Product<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> i64 {
        let [a, b] = self.planes.map(|planes| planes.chunks_exact(self.plane_len));
        let (mut sum, mut weights) = (0, 0);
        for (i, a) in a.rev().enumerate() {
            for (j, b) in b.clone().rev().enumerate() {
                let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
                let differing: u32 = words
                    .map(|(a, b)| (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).count_ones())
                    .sum();
                sum += i64::from(differing) << (i + j);
                weights += 1_i64 << (i + j);
            }
        }
        weights * self.dimension as i64 - 2 * sum
    }
}
