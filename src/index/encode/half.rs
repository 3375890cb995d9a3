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
pub(in crate::index) fn narrow_all<H: Half>(values: &[f32], scale: f64, out: &mut [H]) -> bool {
    run_detected(Narrow { values, scale, out })
}

/// Returns the sum of the squares.
pub(in crate::index) fn sum_of_squares(values: &[f32]) -> f64 {
    run_detected(Squares(values))
}

/// Returns the floats of single precision that equal `halves`.
pub(in crate::index) fn widen_all<H: Half>(halves: &[H]) -> Vec<f32> {
    let mut floats = Vec::new();
    widen_into(halves, &mut floats);
    floats
}

/// Replaces `floats` by the floats of single precision that equal `halves`.
pub(in crate::index) fn widen_into<H: Half>(halves: &[H], floats: &mut Vec<f32>) {
    floats.clear();
    floats.resize(halves.len(), 0.0);
    run_detected(Widen { halves, out: floats });
}

struct Widen<'a, H> {
    halves: &'a [H],
    out: &'a mut [f32],
}

impl<H: Half> Task for Widen<'_, H> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (out, half) in self.out.iter_mut().zip(self.halves) {
            *out = half.widen();
        }
    }
}

struct Squares<'a>(&'a [f32]);

impl Task for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> f64 {
        // Independent sums let the additions overlap.
        let mut sums = [0.0; 8];
        let (eights, rest) = self.0.as_chunks::<8>();
        for eight in eights {
            for (sum, &value) in sums.iter_mut().zip(eight) {
                *sum += f64::from(value) * f64::from(value);
            }
        }
        for (sum, &value) in sums.iter_mut().zip(rest) {
            *sum += f64::from(value) * f64::from(value);
        }
        sums.iter().sum()
    }
}

struct Narrow<'a, H> {
    values: &'a [f32],
    scale: f64,
    out: &'a mut [H],
}

impl<H: Half> Task for Narrow<'_, H> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> bool {
        let Self { values, scale, out } = self;
        let mut are_small = true;
        for (out, &value) in out.iter_mut().zip(values) {
            *out = H::narrow((f64::from(value) * scale) as f32);
            are_small &= out.is_small();
        }
        are_small
    }
}
