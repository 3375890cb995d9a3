//! Choices and training.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::{Part, ProductQuantizer, split};
use crate::metric::Metric;
use crate::quantization::admit::{admit_rows, check_space, check_training};
use crate::quantization::error::QuantizationError;
use crate::quantization::math::{KMeans, Rotation, sample};
use crate::simd::Isa;
use crate::threads::{map, map_chunks};

/// The choices for a [`ProductQuantizer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ProductQuantizerBuilder {
    dimension: usize,
    metric: Metric,
    sub_vectors: Option<usize>,
    bits: u32,
    rotated: bool,
    rounds: usize,
    seed: u64,
}

impl ProductQuantizerBuilder {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        Self { dimension, metric, sub_vectors: None, bits: 8, rotated: false, rounds: 25, seed: 0 }
    }

    /// Sets the number of sub-vectors, 1 to the dimension. If not set, it is an eighth of the dimension for 8
    /// bits and a quarter for 4 bits, rounded up: one bit for each component.
    pub fn sub_vectors(mut self, sub_vectors: usize) -> Self {
        self.sub_vectors = Some(sub_vectors);
        self
    }

    /// Sets the bits for each sub-vector: 8 (if not set) or 4.
    pub fn bits(mut self, bits: u32) -> Self {
        self.bits = bits;
        self
    }

    /// Sets whether vectors are rotated at random before they are cut (no, if not set). The rotation spreads their energy evenly over
    /// all sub-vectors, which helps if a few components hold most of it, and does harm if neighbouring components belong together, as
    /// in SIFT descriptors.
    pub fn rotated(mut self, rotated: bool) -> Self {
        self.rotated = rotated;
        self
    }

    /// Sets the maximum number of rounds of k-means (25 if not set).
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets the seed (0 if not set). The same vectors and seed give the same quantizer to the last bit, with any number of threads.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Learns the centroids from `vectors`, which are stored without gaps. At least `2^bits` are needed; of more than `256 * 2^bits`,
    /// only a random sample of that size is read. The work
    /// is spread over the rayon pool that the caller is in, and is proportional to
    /// `vectors * dimension * 2^bits * rounds`.
    ///
    /// # Errors
    ///
    /// [`QuantizationError::Parameter`], [`QuantizationError::TooFewVectors`];
    /// [`QuantizationError::Vector`] if the components are no whole number of vectors;
    /// [`QuantizationError::BatchVector`] if a vector is refused.
    pub fn train(&self, vectors: &[f32]) -> Result<ProductQuantizer, QuantizationError> {
        let Self { dimension, metric, bits, rotated, rounds, seed, .. } = *self;
        let wrong = |name, value: String, allowed| {
            Err(QuantizationError::Parameter { name, value, allowed })
        };
        check_space(dimension, metric)?;
        if bits != 4 && bits != 8 {
            return wrong("bits", bits.to_string(), "4 or 8");
        }
        let sub_vectors = self.sub_vectors.unwrap_or(dimension.div_ceil(bits as usize));
        if sub_vectors == 0 || sub_vectors > dimension {
            return wrong("sub_vectors", sub_vectors.to_string(), "1 to the dimension");
        }
        let clusters = 1 << bits;
        let count = check_training(vectors, dimension, clusters)?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let chosen = sample(count, KMeans::enough(clusters, count), &mut rng);
        let rotation = rotated.then(|| (seed, Rotation::new(dimension, seed, Isa::detect())));
        let mut rows = admit_rows(vectors, dimension, metric, &chosen)?;
        let mut length = dimension;
        if let Some((_, rotation)) = &rotation {
            length = rotation.len();
            rows = rotate_rows(rotation, dimension, &rows);
        }
        let ranges: Vec<_> = split(length, sub_vectors).collect();
        let parts = map(ranges.len(), |i| {
            let range = ranges[i].clone();
            let points: Vec<f32> =
                rows.chunks_exact(length).flat_map(|row| &row[range.clone()]).copied().collect();
            let kmeans = KMeans { clusters, rounds, seed: seed.wrapping_add(i as u64) };
            Part { centroids: kmeans.train(range.len(), &points), range }
        });
        Ok(ProductQuantizer::new(metric, dimension, bits, rotation, parts))
    }
}

/// Rows that a thread takes at once.
const TASK: usize = 64;

/// Returns rows of `dimension` components, rotated, which may make them longer.
fn rotate_rows(rotation: &Rotation, dimension: usize, rows: &[f32]) -> Vec<f32> {
    let length = rotation.len();
    let mut rotated = vec![0.0; rows.len() / dimension * length];
    map_chunks(&mut rotated, TASK * length, |task, rotated| {
        let rows = rows[task * TASK * dimension..].chunks_exact(dimension);
        for (to, from) in rotated.chunks_exact_mut(length).zip(rows) {
            to[..dimension].copy_from_slice(from);
            rotation.apply(to);
        }
    });
    rotated
}
