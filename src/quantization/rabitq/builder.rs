//! Choices and training.

use super::RabitqQuantizer;
use crate::metric::Metric;
use crate::quantization::admit::{admit_rows, check_space, check_training};
use crate::quantization::error::QuantizationError;

/// The choices for a [`RabitqQuantizer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RabitqQuantizerBuilder {
    dimension: usize,
    metric: Metric,
    bits: u32,
    seed: u64,
}

impl RabitqQuantizerBuilder {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        Self { dimension, metric, bits: 1, seed: 0 }
    }

    /// Sets the bits for each component: 1 (if not set), 2 or 4.
    pub fn bits(mut self, bits: u32) -> Self {
        self.bits = bits;
        self
    }

    /// Sets the seed of the rotation (0 if not set).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Learns the mean of `vectors`, which are stored without gaps; at least one is needed. The
    /// result does not depend on the number of threads.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Parameter`], [`QuantizationError::TooFewVectors`];
    /// [`QuantizationError::Vector`] if the components are no whole number of vectors;
    /// [`QuantizationError::BatchVector`] if a vector is refused.
    pub fn train(&self, vectors: &[f32]) -> Result<RabitqQuantizer, QuantizationError> {
        let Self { dimension, metric, bits, seed } = *self;
        check_space(dimension, metric)?;
        if ![1, 2, 4].contains(&bits) {
            let (name, value, allowed) = ("bits", bits.to_string(), "1, 2 or 4");
            return Err(QuantizationError::Parameter { name, value, allowed });
        }
        let count = check_training(vectors, dimension, 1)?;
        let mut sums = vec![0.0_f64; dimension];
        // Rows are admitted in groups, because under cosine these are copies.
        let positions: Vec<usize> = (0..count).collect();
        for chosen in positions.chunks(4096) {
            let rows = admit_rows(vectors, dimension, metric, chosen)?;
            for row in rows.chunks_exact(dimension) {
                for (sum, &x) in sums.iter_mut().zip(row) {
                    *sum += f64::from(x);
                }
            }
        }
        let centre = sums.into_iter().map(|sum| (sum / count as f64) as f32).collect();
        Ok(RabitqQuantizer::new(metric, dimension, bits, seed, centre))
    }
}
