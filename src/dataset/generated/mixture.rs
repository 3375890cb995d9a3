//! Vectors with the spectrum of an embedding: clusters, families of similar vectors, shared atoms and noise, around a mean.
//!
//! A vector is a centre, plus a part that it shares with its family, plus a part of its own; the shares differ from vector to vector. Both parts
//! lie in the few directions of the cluster, are sums of atoms that all clusters share, and have noise in every direction. Each
//! ingredient has the variances of the spectrum along the principal components, so that the sum has them too. A rotation then hides these axes.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::random::{normal, power, uniform};
use super::rotation::Rotation;
use super::spectrum::Shape;
use crate::dataset::layout::zeroed;
use crate::dataset::{DatasetError, Vectors};
use crate::threads;

/// Rows of one task.
const ROWS: usize = 256;

/// Rows by which the length of the mean is chosen.
const SAMPLE: usize = 1024;

/// Directions of all clusters together, at most: more clusters share them.
const DIRECTIONS: usize = 8192;

/// The distribution that vectors are drawn from, in coordinates of the principal components.
pub(super) struct Mixture {
    dimension: usize,
    shape: Shape,
    /// The standard deviation of each component.
    deviations: Vec<f32>,
    /// For each cluster, its centre.
    centres: Vec<f32>,
    /// For each cluster, a factor of its extent.
    extents: Vec<f32>,
    /// Directions in which clusters extend, in the order of the clusters.
    directions: Vec<f32>,
    atoms: Vec<f32>,
    /// For each family, its cluster.
    clusters: Vec<u32>,
    /// For each family, its shared part.
    families: Vec<f32>,
    mean: Vec<f32>,
    /// The way from the mean to the mean of shifted queries.
    shift: Vec<f32>,
    rotation: Rotation,
}

/// The rows of a draw: the seed of the first, and the share of queries of another kind.
#[derive(Clone, Copy)]
struct Stream {
    seed: u64,
    shift: f32,
}

impl Mixture {
    pub(super) fn new(
        dimension: usize,
        shape: Shape,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Result<Self, DatasetError> {
        let deviations = shape.deviations(dimension)?;
        let pool = (shape.clusters * shape.directions).min(DIRECTIONS.max(shape.directions));
        let mut model = Self {
            dimension,
            shape,
            centres: gaussians(shape.clusters, &deviations, rng)?,
            extents: zeroed(shape.clusters)?,
            directions: gaussians(pool, &deviations, rng)?,
            atoms: gaussians(shape.atoms, &deviations, rng)?,
            clusters: zeroed(shape.families)?,
            families: zeroed(shape.families * dimension)?,
            mean: zeroed(dimension)?,
            shift: zeroed(dimension)?,
            rotation: Rotation::new(dimension, rng),
            deviations,
        };
        model.extents.fill_with(|| around_one(shape.cluster_spread, rng));
        model.clusters.fill_with(|| skewed(shape.clusters, rng) as u32);
        let mut families = std::mem::take(&mut model.families);
        let seed = rng.next_u64();
        threads::map_chunks(&mut families, ROWS * dimension, |task, rows| {
            for (at, row) in rows.chunks_exact_mut(dimension).enumerate() {
                let family = task * ROWS + at;
                let cluster = model.clusters[family] as usize;
                model.add_own(cluster, 1.0, row, &mut row_rng(seed, family));
            }
        });
        model.families = families;
        // Rows without a mean tell how long the mean must be.
        let sample = model.draw_raw(SAMPLE, Stream { seed: rng.next_u64(), shift: 0.0 })?;
        let energy = sum_of_squares(&sample) / SAMPLE as f32;
        for (share, vector) in
            [(shape.mean / (1.0 - shape.mean), &mut model.mean), (1.0, &mut model.shift)]
        {
            vector.fill_with(|| normal(rng));
            let scale = (share * energy / sum_of_squares(vector)).sqrt();
            for component in vector {
                *component *= scale;
            }
        }
        Ok(model)
    }

    /// Draws unit vectors, each from a generator of its own, so that the number of threads does not matter.
    pub(super) fn draw(&self, rows: usize, seed: u64, shift: f32) -> Result<Vectors, DatasetError> {
        let mut data = self.draw_raw(rows, Stream { seed, shift })?;
        threads::map_chunks(&mut data, ROWS * self.dimension, |_, rows| {
            for row in rows.chunks_exact_mut(self.dimension) {
                self.rotation.rotate(row);
                let length = sum_of_squares(row).sqrt();
                for component in row {
                    *component /= length;
                }
            }
        });
        Ok(Vectors::from_f32(rows, self.dimension, data))
    }

    /// Draws vectors of any length, along the principal components.
    fn draw_raw(&self, rows: usize, stream: Stream) -> Result<Vec<f32>, DatasetError> {
        let mut data: Vec<f32> = zeroed(rows * self.dimension)?;
        threads::map_chunks(&mut data, ROWS * self.dimension, |task, rows| {
            for (at, row) in rows.chunks_exact_mut(self.dimension).enumerate() {
                let mut rng = row_rng(stream.seed, task * ROWS + at);
                self.add_row(stream.shift, row, &mut rng);
            }
        });
        Ok(data)
    }

    fn add_row(&self, shift: f32, row: &mut [f32], rng: &mut Xoshiro256PlusPlus) {
        let Shape { families, kinship, centre, .. } = self.shape;
        let mut family = skewed(families, rng);
        // Families that are rare among the base vectors are frequent among shifted queries.
        if uniform(rng) < shift {
            family = families - 1 - family;
        }
        let kinship = kinship * uniform(rng);
        let cluster = self.clusters[family] as usize;
        self.add_own(cluster, (1.0 - kinship).sqrt(), row, rng);
        add(row, kinship.sqrt(), self.part(&self.families, family));
        add(row, centre.sqrt(), self.part(&self.centres, cluster));
        add(row, 1.0, &self.mean);
        if shift > 0.0 {
            add(row, shift, &self.shift);
        }
    }

    /// Adds `scale` times the part of a vector that only its cluster limits.
    fn add_own(&self, cluster: usize, scale: f32, row: &mut [f32], rng: &mut Xoshiro256PlusPlus) {
        let shape = &self.shape;
        let scale = scale * self.extents[cluster] * around_one(shape.spread, rng);
        if shape.directions > 0 {
            let pool = self.directions.len() / self.dimension;
            let each = scale * (shape.local / shape.directions as f32).sqrt();
            for direction in 0..shape.directions {
                let at = (cluster * shape.directions + direction) % pool;
                add(row, each * normal(rng), self.part(&self.directions, at));
            }
        }
        if shape.active > 0 {
            // The mean square of the fourth power of a uniform number is 1/9.
            let each = 3.0 * scale * (shape.shared / shape.active as f32).sqrt();
            for _ in 0..shape.active {
                let atom = skewed(shape.atoms, rng);
                let weight = uniform(rng);
                let square = weight * weight;
                add(row, each * square * square, self.part(&self.atoms, atom));
            }
        }
        let noise = scale * shape.noise.sqrt();
        for (component, deviation) in row.iter_mut().zip(&self.deviations) {
            *component += noise * deviation * normal(rng);
        }
    }

    /// Returns the direction of a principal component.
    #[cfg(test)]
    pub(super) fn axis(&self, component: usize) -> Vec<f32> {
        let mut axis = vec![0.0; self.dimension];
        axis[component] = 1.0;
        self.rotation.rotate(&mut axis);
        axis
    }

    fn part<'a>(&self, rows: &'a [f32], at: usize) -> &'a [f32] {
        &rows[at * self.dimension..][..self.dimension]
    }
}

/// Returns random vectors of these standard deviations, one after the other.
fn gaussians(
    rows: usize,
    deviations: &[f32],
    rng: &mut Xoshiro256PlusPlus,
) -> Result<Vec<f32>, DatasetError> {
    let mut data: Vec<f32> = zeroed(rows * deviations.len())?;
    for row in data.chunks_exact_mut(deviations.len()) {
        for (component, deviation) in row.iter_mut().zip(deviations) {
            *component = deviation * normal(rng);
        }
    }
    Ok(data)
}

/// Returns the generator of a row. The factor differs from that of `SplitMix64`, by whose steps seeds are stretched.
fn row_rng(seed: u64, row: usize) -> Xoshiro256PlusPlus {
    let step = (row as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(step))
}

/// Returns a number below `count`, low ones more often: number i with a probability in proportion to `1 / sqrt(i)`.
fn skewed(count: usize, rng: &mut Xoshiro256PlusPlus) -> usize {
    let chance = uniform(rng);
    ((chance * chance * count as f32) as usize).min(count - 1)
}

/// Returns a number from `1 / spread` to `spread`, its logarithm evenly distributed.
fn around_one(spread: f32, rng: &mut Xoshiro256PlusPlus) -> f32 {
    let factor = power(spread.into(), 2.0 * f64::from(uniform(rng))) as f32;
    factor / spread
}

fn add(row: &mut [f32], factor: f32, vector: &[f32]) {
    for (component, x) in row.iter_mut().zip(vector) {
        *component += factor * x;
    }
}

/// Returns the sum of squares, in eight sums that do not wait for each other.
fn sum_of_squares(numbers: &[f32]) -> f32 {
    let (whole, rest) = numbers.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for chunk in whole {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    let rest: f32 = rest.iter().map(|x| x * x).sum();
    sums.iter().sum::<f32>() + rest
}
