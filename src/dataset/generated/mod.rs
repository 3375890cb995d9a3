//! Generated vectors that are as hard to search as real ones.

mod flat;
mod mixture;
mod random;
mod rotation;
mod spectrum;
#[cfg(test)]
mod tests;

pub use spectrum::Spectrum;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::{DatasetError, Vectors};
use flat::Flat;
use mixture::Mixture;

/// Clusters of flat vectors, unless the caller says otherwise.
const FLAT_CLUSTERS: usize = 100;

/// Generated base vectors and queries, of the same distribution unless a
/// [`query_shift`](GeneratedBuilder::query_shift) is set.
///
/// Uniform random vectors are nothing like embeddings: their intrinsic dimension is the full one,
/// and no index can search them well. Here each vector has a few *latent* coordinates, drawn from
/// a mixture of clusters of unequal size and shape; a random layer of neurons bends that
/// low-dimensional space into the full one, and noise is added. Other kinds of a [`Spectrum`] have the
/// principal components, the mean and the neighbourhoods of embeddings of text.
///
/// The same arguments give the same bits on every machine: the generator is xoshiro256++ seeded
/// through `SplitMix64`, and the arithmetic uses only operations that IEEE 754 defines to the last
/// bit.
///
/// ```
/// use nearfield::dataset::{Generated, Spectrum};
///
/// let set = Generated::builder(2000, 384).spectrum(Spectrum::Sentences).queries(50).build()?;
/// assert_eq!((set.base().len(), set.queries().len()), (2000, 50));
/// // The vectors have unit length, for the cosine.
/// let first = &set.base().to_f32()?[..384];
/// assert!((first.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
/// # Ok::<(), nearfield::dataset::DatasetError>(())
/// ```
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
    spectrum: Spectrum,
    query_shift: f32,
    latent: usize,
    /// `None`: as the spectrum says.
    clusters: Option<usize>,
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
            spectrum: Spectrum::Flat,
            query_shift: 0.0,
            latent: 48,
            clusters: None,
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

    /// Sets the kind of real vectors to imitate ([`Spectrum::Flat`] if not set).
    pub fn spectrum(mut self, spectrum: Spectrum) -> Self {
        self.spectrum = spectrum;
        self
    }

    /// Sets the difference between queries and base vectors, 0 to 1 (0 if not set: the same
    /// distribution). The mean of the queries is moved by this many times the root mean square distance of
    /// base vectors from their mean, and this share of the queries comes from the clusters
    /// that few base vectors come from. Flat vectors have no such queries.
    ///
    /// 1 is near single words that search among 50,000 embeddings of sentences: at an `ef` of 16, 64 and 256,
    /// their recall@10 is .780, .951 and .993, by 466, 1,375 and 4,505 distances; that of
    /// [`Spectrum::Sentences`] is .805, .982 and .998, by 487, 1,408 and 4,804.
    pub fn query_shift(mut self, query_shift: f32) -> Self {
        self.query_shift = query_shift;
        self
    }

    /// Sets the number of latent coordinates of flat vectors, 1 to 4,096 (48 if not set). The intrinsic dimension is lower, because
    /// clusters are flat: 17 for 100,000 x 128 with the defaults, by the maximum likelihood of
    /// the distances to 100 neighbours (Levina and Bickel, 2004); 200,000 SIFT descriptors
    /// of photographs have 19.
    pub fn latent(mut self, latent: usize) -> Self {
        self.latent = latent;
        self
    }

    /// Sets the number of clusters, 1 to 65,536 (if not set: 300 of terms, 100 of others).
    pub fn clusters(mut self, clusters: usize) -> Self {
        self.clusters = Some(clusters);
        self
    }

    /// Sets the standard deviation of the noise on each component of flat vectors (0.05 if not set); the
    /// components themselves have one of about 0.5.
    pub fn noise(mut self, noise: f32) -> Self {
        self.noise = noise;
        self
    }

    /// Sets the seed (0 if not set). Another seed gives another, equally hard set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Generates the set, in time proportional to `rows * dimension`: flat vectors on one thread,
    /// others on the threads of the caller's pool, else on all, with the same bits on any number. Those
    /// take, until the set is made, the memory of at most 18,000 further vectors and one for each cluster.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Argument`] if a choice is out of its range, and
    /// [`DatasetError::OutOfMemory`].
    pub fn build(self) -> Result<Generated, DatasetError> {
        self.check()?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let Some(mut shape) = self.spectrum.shape() else {
            let model = Flat::new(&self, self.clusters.unwrap_or(FLAT_CLUSTERS), &mut rng)?;
            let base = model.draw(self.rows, &mut rng)?;
            let queries = model.draw(self.queries, &mut rng)?;
            return Ok(Generated { base, queries });
        };
        shape.clusters = self.clusters.unwrap_or(shape.clusters);
        let model = Mixture::new(self.dimension, shape, &mut rng)?;
        let base = model.draw(self.rows, rng.next_u64(), 0.0)?;
        let queries = model.draw(self.queries, rng.next_u64(), self.query_shift)?;
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
        range("clusters", self.clusters.unwrap_or(1), 1 << 16, "1 to 65,536")?;
        let limit = isize::MAX as usize / 4 / self.dimension;
        range("rows", self.rows, limit, "at least 1, and what can be addressed")?;
        range("queries", self.queries, limit, "at least 1, and what can be addressed")?;
        let refused = |name, value: f32, allowed| {
            Err(DatasetError::Argument { name, value: value.to_string(), allowed })
        };
        if !(self.noise.is_finite() && self.noise >= 0.0) {
            return refused("noise", self.noise, "a finite number, 0 or above");
        }
        if self.spectrum == Spectrum::Flat && self.query_shift != 0.0 {
            return refused("query_shift", self.query_shift, "0 for flat vectors");
        }
        if !(0.0..=1.0).contains(&self.query_shift) {
            return refused("query_shift", self.query_shift, "0 to 1");
        }
        Ok(())
    }
}
