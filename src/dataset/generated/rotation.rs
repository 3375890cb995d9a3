//! A random rotation in time `d log d`: signs and Walsh-Hadamard transforms of overlapping parts.

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

/// Rounds of signs and transforms. Two rounds join both parts through the components that they share; two more make the mix even.
const ROUNDS: usize = 4;

/// An orthogonal map of vectors of one dimension.
#[derive(Debug)]
pub(super) struct Rotation {
    /// For each round, a factor for each component: 1 or -1.
    signs: Vec<f32>,
}

impl Rotation {
    pub(super) fn new(dimension: usize, rng: &mut Xoshiro256PlusPlus) -> Self {
        let sign = || if rng.next_u64() >> 63 == 0 { 1.0 } else { -1.0 };
        Self { signs: std::iter::repeat_with(sign).take(ROUNDS * dimension).collect() }
    }

    /// Rotates a vector. Rounds transform, in turn, the first and the last components of the largest power of two that fits.
    pub(super) fn rotate(&self, vector: &mut [f32]) {
        let len = 1 << vector.len().ilog2();
        let last = vector.len() - len;
        for (round, signs) in self.signs.chunks_exact(vector.len()).enumerate() {
            for (component, sign) in vector.iter_mut().zip(signs) {
                *component *= sign;
            }
            let first = if round % 2 == 0 { 0 } else { last };
            transform(&mut vector[first..first + len]);
        }
    }
}

/// The Walsh-Hadamard transform of a power of two of numbers, which keeps lengths.
fn transform(numbers: &mut [f32]) {
    let mut half = 1;
    while half < numbers.len() {
        for block in numbers.chunks_exact_mut(2 * half) {
            let (left, right) = block.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (numbers.len() as f32).sqrt();
    for number in numbers {
        *number *= scale;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn axes_become_an_even_orthonormal_basis() {
        for dimension in [1, 2, 3, 64, 100, 768] {
            let rotation = Rotation::new(dimension, &mut Xoshiro256PlusPlus::seed_from_u64(3));
            let axes: Vec<Vec<f32>> = (0..dimension)
                .map(|at| {
                    let mut axis = vec![0.0; dimension];
                    axis[at] = 1.0;
                    rotation.rotate(&mut axis);
                    axis
                })
                .collect();
            for (i, a) in axes.iter().enumerate() {
                for (j, b) in axes.iter().enumerate().take(i + 1) {
                    let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                    assert!(
                        (dot - f32::from(u8::from(i == j))).abs() < 1e-5,
                        "{dimension} {i} {j}"
                    );
                }
                // No axis stays near an axis.
                let most = a.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                assert!(dimension < 64 || most < 0.8, "{dimension} {i}: {most}");
            }
        }
    }
}
