//! Generated vectors that are as hard to search as real ones.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::layout::zeroed;
use super::{DatasetError, Vectors};

/// Generated base vectors and queries of the same distribution.
///
/// Uniform random vectors are nothing like embeddings: their intrinsic dimension is the full one,
/// and no index can search them well. Here each vector has a few *latent* coordinates, drawn from
/// a mixture of clusters of unequal size and shape; a random layer of neurons bends that
/// low-dimensional space into the full one, and noise is added.
///
/// The same arguments give the same bits on every machine: the generator is xoshiro256++ seeded
/// through `SplitMix64`, and the arithmetic uses only operations that IEEE 754 defines to the last
/// bit.
#[derive(Debug)]
pub struct Generated {
    base: Vectors,
    queries: Vectors,
}

/// The choices for [`Generated`].
#[derive(Debug, Clone)]
#[must_use]
pub struct GeneratedBuilder {
    rows: usize,
    dimension: usize,
    queries: usize,
    latent: usize,
    clusters: usize,
    noise: f32,
    seed: u64,
}

impl Generated {
    /// Starts a set of `rows` base vectors, by default with 1,000 queries.
    pub fn builder(rows: usize, dimension: usize) -> GeneratedBuilder {
        GeneratedBuilder {
            rows,
            dimension,
            queries: 1000,
            latent: 48,
            clusters: 100,
            noise: 0.05,
            seed: 0,
        }
    }

    /// Returns the vectors to search among.
    pub fn base(&self) -> &Vectors {
        &self.base
    }

    /// Returns the vectors to search for.
    pub fn queries(&self) -> &Vectors {
        &self.queries
    }

    /// Returns both parts.
    pub fn into_parts(self) -> (Vectors, Vectors) {
        (self.base, self.queries)
    }
}

impl GeneratedBuilder {
    /// Sets the number of queries, at least one.
    pub fn queries(mut self, queries: usize) -> Self {
        self.queries = queries;
        self
    }

    /// Sets the number of latent coordinates, 1 to 4,096 (48 if not set). The intrinsic dimension is lower, because
    /// clusters are flat: 17 for 100,000 x 128 with the defaults, by the maximum likelihood of
    /// the distances to 100 neighbours (Levina and Bickel, 2004); 200,000 SIFT descriptors
    /// of photographs have 19.
    pub fn latent(mut self, latent: usize) -> Self {
        self.latent = latent;
        self
    }

    /// Sets the number of clusters, 1 to 65,536 (100 if not set).
    pub fn clusters(mut self, clusters: usize) -> Self {
        self.clusters = clusters;
        self
    }

    /// Sets the standard deviation of the noise on each component (0.05 if not set); the components
    /// themselves have one of about 0.5.
    pub fn noise(mut self, noise: f32) -> Self {
        self.noise = noise;
        self
    }

    /// Sets the seed (0 if not set). Another seed gives another, equally hard set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Generates the set, in time proportional to `rows * dimension`, on one thread.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Argument`] if a choice is out of its range, and
    /// [`DatasetError::OutOfMemory`].
    pub fn build(self) -> Result<Generated, DatasetError> {
        self.check()?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let model = Model::new(&self, &mut rng)?;
        let base = model.draw(self.rows, &mut rng)?;
        let queries = model.draw(self.queries, &mut rng)?;
        Ok(Generated { base, queries })
    }

    fn check(&self) -> Result<(), DatasetError> {
        let range = |name, value: usize, limit: usize, allowed| {
            if (1..=limit).contains(&value) {
                Ok(())
            } else {
                Err(DatasetError::Argument { name, value: value.to_string(), allowed })
            }
        };
        range("dimension", self.dimension, 1 << 16, "1 to 65,536")?;
        range("latent", self.latent, 1 << 12, "1 to 4,096")?;
        range("clusters", self.clusters, 1 << 16, "1 to 65,536")?;
        let limit = isize::MAX as usize / 4 / self.dimension;
        range("rows", self.rows, limit, "at least 1, and what can be addressed")?;
        range("queries", self.queries, limit, "at least 1, and what can be addressed")?;
        if self.noise.is_finite() && self.noise >= 0.0 {
            return Ok(());
        }
        let value = self.noise.to_string();
        Err(DatasetError::Argument { name: "noise", value, allowed: "a finite number, 0 or above" })
    }
}

/// The distribution that vectors are drawn from.
struct Model {
    dimension: usize,
    latent: usize,
    /// For each cluster, `latent` centres and then `latent` scales.
    clusters: Vec<f32>,
    /// Weights of each neuron towards the latent coordinates, then its bias.
    inner: Vec<f32>,
    /// Weights of each neuron towards the components.
    outer: Vec<f32>,
    noise: f32,
}

impl Model {
    fn new(choices: &GeneratedBuilder, rng: &mut Xoshiro256PlusPlus) -> Result<Self, DatasetError> {
        let &GeneratedBuilder { dimension, latent, clusters, noise, .. } = choices;
        let neurons = 3 * latent;
        let mut model = Self {
            dimension,
            latent,
            clusters: zeroed(clusters * 2 * latent)?,
            inner: zeroed(neurons * (latent + 1))?,
            outer: zeroed(neurons * dimension)?,
            noise,
        };
        for cluster in model.clusters.chunks_exact_mut(2 * latent) {
            let (centre, scale) = cluster.split_at_mut(latent);
            centre.fill_with(|| normal(rng));
            scale.fill_with(|| 0.3 + 0.7 * uniform(rng));
        }
        let inner = 1.5 / (latent as f32).sqrt();
        model.inner.fill_with(|| inner * normal(rng));
        let outer = 1.0 / (neurons as f32).sqrt();
        model.outer.fill_with(|| outer * normal(rng));
        Ok(model)
    }

    fn draw(&self, rows: usize, rng: &mut Xoshiro256PlusPlus) -> Result<Vectors, DatasetError> {
        let mut data: Vec<f32> = zeroed(rows * self.dimension)?;
        let mut point = vec![0.0; self.latent];
        for row in data.chunks_exact_mut(self.dimension) {
            // The square makes some clusters many times larger than others.
            let chance = uniform(rng);
            let clusters = self.clusters.len() / (2 * self.latent);
            let cluster = (chance * chance * clusters as f32) as usize;
            let cluster = &self.clusters[cluster * 2 * self.latent..][..2 * self.latent];
            let (centre, scale) = cluster.split_at(self.latent);
            for ((p, c), s) in point.iter_mut().zip(centre).zip(scale) {
                *p = c + s * normal(rng);
            }
            let neurons = self.inner.chunks_exact(self.latent + 1);
            for (weights, outer) in neurons.zip(self.outer.chunks_exact(self.dimension)) {
                let bias = weights[self.latent];
                let sum = weights.iter().zip(&point).fold(bias, |sum, (w, p)| sum + w * p);
                // Soft sign bends like the hyperbolic tangent, but needs no library function.
                let neuron = sum / (1.0 + sum.abs());
                for (component, weight) in row.iter_mut().zip(outer) {
                    *component += neuron * weight;
                }
            }
            for component in row {
                *component += self.noise * normal(rng);
            }
        }
        Ok(Vectors::from_f32(rows, self.dimension, data))
    }
}

/// Returns a number in `0..1`, with 24 random bits.
fn uniform(rng: &mut Xoshiro256PlusPlus) -> f32 {
    (rng.next_u64() >> 40) as f32 / (1 << 24) as f32
}

/// Returns a nearly normal number, with mean 0 and variance 1: the sum of four uniform numbers of 16 bits, whose
/// variance is 1/3. Exact arithmetic, one draw, and tails that end at 3.5.
fn normal(rng: &mut Xoshiro256PlusPlus) -> f32 {
    const SQRT_3: f32 = 1.732_050_8;
    let bits = rng.next_u64();
    let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum();
    (sum as f32 / 65_535.0 - 2.0) * SQRT_3
}
