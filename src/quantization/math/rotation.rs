//! A random rotation in `O(d log d)`: signs and Walsh-Hadamard transforms in turn.
//!
//! It spreads the energy of any vector evenly over its components, so that one uniform grid fits
//! all of them (Ailon and Chazelle, The fast Johnson-Lindenstrauss transform, 2009). Lengths that
//! are no power of two are transformed by their first and their last power of two in turn.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::simd::{Isa, Simd, Task, run_on};

/// Lengths are padded with zeros to a multiple of it.
const UNIT: usize = 64;

/// Signs and transforms in a rotation of a power of two; twice this number otherwise.
const ROUNDS: usize = 3;

/// An orthogonal map of vectors.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    len: usize,
    /// Signs of each round, one for each component of its transform.
    signs: Vec<f32>,
    /// The power of two that is transformed at a time.
    width: usize,
    rounds: usize,
    isa: Isa,
}

impl Rotation {
    /// Returns the rotation of a seed, for vectors of `dimension` components.
    pub(crate) fn new(dimension: usize, seed: u64, isa: Isa) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self::with_signs(dimension, isa, || random.random())
    }

    /// Returns the rotation whose signs are plus if `plus` returns `true`.
    pub(in crate::quantization) fn with_signs(
        dimension: usize,
        isa: Isa,
        mut plus: impl FnMut() -> bool,
    ) -> Self {
        let len = dimension.next_multiple_of(UNIT);
        let width = 1 << len.ilog2();
        let rounds = if width == len { ROUNDS } else { 2 * ROUNDS };
        let signs = (0..rounds * width).map(|_| if plus() { 1.0 } else { -1.0 }).collect();
        Self { len, signs, width, rounds, isa }
    }

    /// Returns whether each sign is plus.
    pub(in crate::quantization) fn signs(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        self.signs.iter().map(|&sign| sign > 0.0)
    }

    /// Returns the instruction set that rotates.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns the number of components of a rotated vector: the dimension, rounded up to a multiple of 64.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Rotates a vector of [`Self::len`] components.
    pub(crate) fn apply(&self, vector: &mut [f32]) {
        self.run(vector, false);
    }

    /// Undoes [`Self::apply`].
    pub(crate) fn invert(&self, vector: &mut [f32]) {
        self.run(vector, true);
    }

    fn run(&self, vector: &mut [f32], backward: bool) {
        debug_assert_eq!(vector.len(), self.len);
        let rounds = Rounds { rotation: self, vector, backward };
        run_on(self.isa, rounds);
    }
}

/// The rounds on one vector.
struct Rounds<'a> {
    rotation: &'a Rotation,
    vector: &'a mut [f32],
    backward: bool,
}

impl Task for Rounds<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Rotation { len, ref signs, width, rounds, .. } = *self.rotation;
        let scale = 1.0 / (width as f32).sqrt();
        for round in 0..rounds {
            let round = if self.backward { rounds - 1 - round } else { round };
            let start = if round % 2 == 1 { len - width } else { 0 };
            let part = &mut self.vector[start..start + width];
            let signs = &signs[round * width..][..width];
            if self.backward {
                hadamard(simd, part.as_chunks_mut().0);
            }
            for (x, sign) in part.iter_mut().zip(signs) {
                *x *= sign * scale;
            }
            if !self.backward {
                hadamard(simd, part.as_chunks_mut().0);
            }
        }
    }
}

/// Computes the Walsh-Hadamard transform of a power of two, not scaled; it is its own inverse, except for the scale.
#[inline(always)]
fn hadamard<S: Simd>(simd: S, blocks: &mut [[f32; 16]]) {
    for block in &mut *blocks {
        simd.hadamard(block);
    }
    // Two strides at a time: each number is read and written half as often.
    let mut half = 1;
    while 4 * half <= blocks.len() {
        for four in blocks.chunks_exact_mut(4 * half) {
            let (ab, cd) = four.split_at_mut(2 * half);
            let ((a, b), (c, d)) = (ab.split_at_mut(half), cd.split_at_mut(half));
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                for i in 0..16 {
                    let (e, f) = (a[i] + b[i], a[i] - b[i]);
                    let (g, h) = (c[i] + d[i], c[i] - d[i]);
                    (a[i], b[i], c[i], d[i]) = (e + g, f + h, e - g, f - h);
                }
            }
        }
        half *= 4;
    }
    if half < blocks.len() {
        let (first, second) = blocks.split_at_mut(half);
        for (a, b) in first.iter_mut().zip(second) {
            for i in 0..16 {
                (a[i], b[i]) = (a[i] + b[i], a[i] - b[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_and_products_are_kept_and_energy_is_spread() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        for dimension in [1, 3, 64, 100, 128, 129, 384, 768, 960, 1000, 1536] {
            let rotation = Rotation::new(dimension, 7, Isa::detect());
            let len = rotation.len();
            let mut original = vec![0.0; len];
            original[..dimension].fill_with(|| random.random::<f32>() - 0.3);
            let norm: f32 = original.iter().map(|x| x * x).sum();
            let mut rotated = original.clone();
            rotation.apply(&mut rotated);
            let after: f32 = rotated.iter().map(|x| x * x).sum();
            assert!((after / norm - 1.0).abs() < 1e-4, "{dimension}");
            rotation.invert(&mut rotated);
            let error =
                original.iter().zip(&rotated).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-5, "{dimension}: {error}");

            // All in one component becomes all alike, up to chance.
            let mut single = vec![0.0; len];
            single[0] = 1.0;
            rotation.apply(&mut single);
            let largest = single.iter().map(|x| x.abs()).fold(0.0, f32::max);
            assert!(largest * (len as f32).sqrt() < 6.0, "{dimension}: {largest}");
        }
    }

    #[test]
    fn a_rotation_is_a_function_of_its_seed_on_every_instruction_set() {
        let vector: Vec<f32> = (0..192).map(|i| (i as f32).sin()).collect();
        let rotated = |seed, isa| {
            let mut vector = vector.clone();
            Rotation::new(192, seed, isa).apply(&mut vector);
            vector
        };
        for &isa in Isa::available() {
            let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(rotated(3, isa)), bits(rotated(3, Isa::Scalar)));
        }
        assert_ne!(rotated(3, Isa::Scalar), rotated(4, Isa::Scalar));
    }
}
