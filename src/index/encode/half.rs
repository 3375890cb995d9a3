//! Floats of half precision from many of single precision, with the instructions of a set.

use super::LARGE;
use crate::simd::{Simd, Task, run_detected};
use crate::vector::{Bf16, F16};

/// A float of half precision.
pub(in crate::index) trait Half: bytemuck::Pod {
    /// Returns the nearest float of half precision.
    fn narrow(value: f32) -> Self;

    fn is_finite(self) -> bool;

    /// Returns whether it is finite, and small enough that the length of its vector needs no check.
    fn is_small(self) -> bool;

    fn widen(self) -> f32;

    /// Returns the next float away from zero. The number is of a vector of unit length.
    fn longer(self) -> Self;

    /// Returns the next float towards zero. The number is not zero.
    fn shorter(self) -> Self;
}

impl Half for F16 {
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        Self::from_f32(value)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.to_bits() & 0x7c00 != 0x7c00
    }

    #[inline(always)]
    fn is_small(self) -> bool {
        self.is_finite()
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    fn longer(self) -> Self {
        Self::from_bits(self.to_bits() + 1)
    }

    fn shorter(self) -> Self {
        Self::from_bits(self.to_bits() - 1)
    }
}

impl Half for Bf16 {
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        Self::from_f32(value)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.to_bits() & 0x7f80 != 0x7f80
    }

    #[inline(always)]
    fn is_small(self) -> bool {
        self.to_bits() & 0x7fff < (LARGE.to_bits() >> 16) as u16
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    fn longer(self) -> Self {
        Self::from_bits(self.to_bits() + 1)
    }

    fn shorter(self) -> Self {
        Self::from_bits(self.to_bits() - 1)
    }
}

/// Writes the halves that are nearest to `values` times `scale` into the front of `out`. Returns whether all are small.
pub(in crate::index) fn narrow_all<H: Half>(
    values: impl Iterator<Item = f32>,
    scale: f64,
    out: &mut [H],
) -> bool {
    run_detected(Narrow { values, scale, out })
}

/// Returns the sum of the squares.
pub(in crate::index) fn sum_of_squares(values: impl ExactSizeIterator<Item = f32>) -> f64 {
    run_detected(Squares(values))
}

struct Squares<I>(I);

impl<I: ExactSizeIterator<Item = f32>> Task for Squares<I> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f64 {
        let Self(mut values) = self;
        // Independent sums let the additions overlap.
        let mut sums = [0.0; 8];
        while values.len() > 0 {
            for sum in &mut sums {
                let value = f64::from(values.next().unwrap_or(0.0));
                *sum += value * value;
            }
        }
        sums.iter().sum()
    }
}

struct Narrow<'a, I, H> {
    values: I,
    scale: f64,
    out: &'a mut [H],
}

impl<I: Iterator<Item = f32>, H: Half> Task for Narrow<'_, I, H> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> bool {
        let Self { values, scale, out } = self;
        let mut are_small = true;
        for (out, value) in out.iter_mut().zip(values) {
            *out = H::narrow((f64::from(value) * scale) as f32);
            are_small &= out.is_small();
        }
        are_small
    }
}
