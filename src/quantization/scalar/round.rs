//! Rounding to whole numbers, with the instructions of a set: baseline x86-64 has none for it.

use crate::simd::{Isa, Simd, Task, run_on};

/// The scale and shift of a number before it is rounded, ties to even, and the limits at which it is clipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) scale: f32,
    pub(super) shift: f32,
    pub(super) least: f32,
    pub(super) greatest: f32,
}

impl Round {
    /// Rounds a number; the result has at most 22 bits.
    #[inline(always)]
    pub(super) fn one(self, x: f32) -> i32 {
        /// A number without places behind the point: adding `x` to it rounds `x` to a whole number, ties to even, which the lowest bits
        /// of the sum then are.
        const WHOLE: f32 = 1.5 * (1 << 23) as f32;

        let Self { scale, shift, least, greatest } = self;
        let x = (x * scale + shift).max(least).min(greatest) + WHOLE;
        x.to_bits().wrapping_sub(WHOLE.to_bits()) as i32
    }

    /// Rounds each of the numbers. Returns the sum of the results and the sum of their squares. Each result fits an `i8`, or a `u8`, of
    /// which the bits are written.
    pub(super) fn all(self, isa: Isa, from: &[f32], to: &mut [u8]) -> (i32, i32) {
        run_on(isa, All { round: self, from, to })
    }
}

struct All<'a> {
    round: Round,
    from: &'a [f32],
    to: &'a mut [u8],
}

impl Task for All<'_> {
    type Output = (i32, i32);

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> (i32, i32) {
        let Self { round, from, to } = self;
        let (mut sum, mut squares) = (0, 0_i32);
        for (to, &x) in to.iter_mut().zip(from) {
            let x = round.one(x);
            *to = x as u8;
            sum += x;
            // Encoding ignores the sum of squares, and over many bytes it may overflow.
            squares = squares.wrapping_add(x * x);
        }
        (sum, squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instruction_sets_round_alike() {
        let from: Vec<f32> =
            (-600..600).map(|i| i as f32 * 0.125).chain([f32::MAX, -1e30, f32::NAN]).collect();
        let round = Round { scale: 4.0, shift: -0.25, least: -127.0, greatest: 127.0 };
        let expected: Vec<i8> = from
            .iter()
            .map(|&x| {
                let x = f64::from(x) * 4.0 - 0.25;
                if x.is_nan() { -127 } else { x.round_ties_even().clamp(-127.0, 127.0) as i8 }
            })
            .collect();
        for &isa in Isa::available() {
            let mut to = vec![0; from.len()];
            let (sum, squares) = round.all(isa, &from, &mut to);
            assert_eq!(bytemuck::cast_slice::<u8, i8>(&to), expected, "{isa}");
            assert_eq!(sum, expected.iter().map(|&x| i32::from(x)).sum::<i32>());
            assert_eq!(squares, expected.iter().map(|&x| i32::from(x).pow(2)).sum::<i32>());
        }
    }
}
