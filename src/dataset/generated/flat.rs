//! Vectors of few latent coordinates, bent into all components.

use rand::rngs::Xoshiro256PlusPlus;

use super::GeneratedBuilder;
use super::random::{normal, uniform};
use crate::dataset::layout::zeroed;
use crate::dataset::{DatasetError, Vectors};

/// The distribution that vectors are drawn from.
pub(super) struct Flat {
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

impl Flat {
    pub(super) fn new(
        choices: &GeneratedBuilder,
        clusters: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Result<Self, DatasetError> {
        let &GeneratedBuilder { dimension, latent, noise, .. } = choices;
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

    pub(super) fn draw(
        &self,
        rows: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Result<Vectors, DatasetError> {
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
