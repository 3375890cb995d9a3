//! Pseudo-random numbers.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Numbers of a normal distribution.
pub(crate) struct Normal(SmallRng);

impl Normal {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub(crate) fn next(&mut self) -> f32 {
        // Box and Muller: the sum of a few uniform numbers would have no tails.
        let (a, b) = (1.0 - self.0.random::<f64>(), self.0.random::<f64>());
        ((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    }

    pub(crate) fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.next()).collect()
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }
}

/// Returns uniform numbers from -1 to 1.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Returns uniform numbers from -0.5 to 0.5.
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(step).take(n).collect()
}
