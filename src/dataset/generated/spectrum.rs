//! The kinds of generated data, by name, and the figures of each.

use std::fmt;
use std::str::FromStr;

use super::random::power;
use crate::dataset::DatasetError;
use crate::dataset::layout::zeroed;

/// Principal components whose share of the energy a kind gives.
pub(super) const LEADING: usize = 128;

/// The names of the kinds, as errors list them.
const NAMES: &str = "flat, text, sentences, terms";

/// The kind of real vectors that [`Generated`](super::Generated) imitates.
///
/// Kinds other than [`Flat`](Self::Flat) are unit vectors for the cosine, of any dimension. Each has the spectrum of a real set: the
/// share of the leading 128 principal components in the energy, which is the mean squared distance from the mean, and the decay
/// before and after them. It has clusters, families of similar vectors, vectors of unequal distance from their centre, of which
/// the nearest become hubs, and a mean that is not zero.
///
/// Each cell: the real set, then generated vectors of the same number and dimension. *Effective dimension* is that of the covariance,
/// `(sum l)^2 / sum l^2`; *intrinsic dimension* the median over queries of the maximum likelihood of the distances to 100
/// neighbours (Levina and Bickel, 2004); *near* the median ratio of the distance to the tenth neighbour to the mean distance; *skew* that of
/// the number of lists of ten neighbours that hold a vector, among 10,000 vectors.
///
/// | | `Text` | `Sentences` | `Terms` |
/// |---|---|---|---|
/// | vectors | 30,000 x 768 | 50,000 x 384 | 30,000 x 512 |
/// | share of the leading 128 | .78, .79 | .74, .75 | .51, .63 |
/// | effective dimension | 90, 92 | 132, 125 | 246, 202 |
/// | of the rest | 223, 209 | 164, 162 | 370, 280 |
/// | squared length of the mean | .35, .36 | .05, .06 | .02, .03 |
/// | intrinsic dimension | 20, 18 | 25, 27 | 11, 7 |
/// | near | .70, .71 | .74, .76 | .64, .53 |
/// | skew | 1.7, 1.9 | 1.7, 1.9 | 2.6, 7.8 |
/// | recall@10, `ef` 16 | .939, .947 | .872, .880 | .843, .879 |
/// | recall@10, `ef` 64 | .996, 1.000 | .986, .993 | .973, .970 |
/// | recall@10, `ef` 256 | 1.000, 1.000 | 1.000, 1.000 | .998, .989 |
/// | distances of a search, `ef` 16 | 372, 387 | 435, 459 | 291, 337 |
/// | distances, `ef` 64 | 969, 888 | 1,128, 1,110 | 750, 865 |
/// | distances, `ef` 256 | 2,794, 2,757 | 3,480, 3,385 | 2,411, 2,553 |
///
/// Recall and distances are those of an `Hnsw` of `f32` without codes, with `m` 16 and `ef_construction` 200.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spectrum {
    /// Few latent coordinates, bent into all components, and noise; components have a deviation of
    /// about 0.5, and vectors no common length. For squared L2.
    #[default]
    Flat,
    /// Definitions of words by features of a transformer, 768 components.
    Text,
    /// Sentences by a transformer, 384 components.
    Sentences,
    /// Definitions of words by weighted counts of their terms (TF-IDF and a singular value decomposition), 512 components.
    Terms,
}

impl Spectrum {
    /// Returns the name that [`FromStr`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Text => "text",
            Self::Sentences => "sentences",
            Self::Terms => "terms",
        }
    }

    /// Returns the figures of a kind of mixtures, or `None` for flat vectors.
    pub(super) fn shape(self) -> Option<Shape> {
        match self {
            Self::Flat => None,
            Self::Text => Some(Shape {
                leading: 0.75,
                knee: 3.0,
                decay: 0.8,
                fall: 4.2,
                mean: 0.35,
                clusters: 100,
                centre: 0.27,
                cluster_spread: 1.0,
                spread: 1.3,
                directions: 48,
                local: 0.55,
                atoms: 0,
                active: 0,
                shared: 0.0,
                noise: 0.18,
                families: 5000,
                kinship: 0.6,
            }),
            Self::Sentences => Some(Shape {
                leading: 0.71,
                knee: 1.5,
                decay: 0.58,
                fall: 1.5,
                mean: 0.05,
                clusters: 100,
                centre: 0.2,
                cluster_spread: 1.0,
                spread: 1.4,
                directions: 72,
                local: 0.57,
                atoms: 0,
                active: 0,
                shared: 0.0,
                noise: 0.23,
                families: 10_000,
                kinship: 0.6,
            }),
            Self::Terms => Some(Shape {
                leading: 0.3,
                knee: 8.0,
                decay: 0.4,
                fall: 0.1,
                mean: 0.02,
                clusters: 300,
                centre: 0.5,
                cluster_spread: 1.8,
                spread: 1.8,
                directions: 0,
                local: 0.0,
                atoms: 1000,
                active: 4,
                shared: 0.42,
                noise: 0.03,
                families: 8000,
                kinship: 0.4,
            }),
        }
    }
}

impl fmt::Display for Spectrum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Spectrum {
    type Err = DatasetError;

    /// Reads the name of a kind, in lower case.
    fn from_str(name: &str) -> Result<Self, DatasetError> {
        let kinds = [Self::Flat, Self::Text, Self::Sentences, Self::Terms];
        kinds.into_iter().find(|kind| kind.name() == name).ok_or_else(|| DatasetError::Argument {
            name: "spectrum",
            value: format!("'{name}'"),
            allowed: NAMES,
        })
    }
}

/// The figures of a mixture. Shares are shares of the energy: the mean squared distance from the mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The share of the leading components in the variance of each ingredient. Few clusters and atoms of unequal weight raise the
    /// share that is measured.
    pub(super) leading: f32,
    /// Within these, the variance of component `j` is in proportion to `(1 + j / knee)` to the power of `-decay`.
    pub(super) knee: f64,
    pub(super) decay: f64,
    /// Beyond these, it is in proportion to the share of the components from `j` on, to the power of `fall`.
    pub(super) fall: f64,
    /// The share of the mean in the squared length of vectors.
    pub(super) mean: f32,
    pub(super) clusters: usize,
    /// The share of the cluster's centre. Other shares are of a cluster and a vector of average extent.
    pub(super) centre: f32,
    /// The extent of clusters is between `1 / cluster_spread` and `cluster_spread`.
    pub(super) cluster_spread: f32,
    /// The same for single vectors: those near their centre become hubs.
    pub(super) spread: f32,
    /// Directions in which a cluster extends, and their share.
    pub(super) directions: usize,
    pub(super) local: f32,
    /// Directions that all clusters share, of which each vector is the sum of a few, and their share.
    pub(super) atoms: usize,
    pub(super) active: usize,
    pub(super) shared: f32,
    /// The share of noise in all directions.
    pub(super) noise: f32,
    /// Families, which share up to `kinship` of the energy of their vectors around the centre.
    pub(super) families: usize,
    pub(super) kinship: f32,
}

impl Shape {
    /// Returns the standard deviation of each principal component, with variances that sum to 1.
    pub(super) fn deviations(&self, dimension: usize) -> Result<Vec<f32>, DatasetError> {
        let mut variances: Vec<f64> = zeroed(dimension)?;
        let (leading, rest) = variances.split_at_mut(dimension.min(LEADING));
        for (j, variance) in leading.iter_mut().enumerate() {
            *variance = 1.0 / power(1.0 + j as f64 / self.knee, self.decay);
        }
        let count = rest.len() as f64;
        for (j, variance) in rest.iter_mut().enumerate() {
            *variance = power(1.0 - j as f64 / count, self.fall);
        }
        let share = if rest.is_empty() { 1.0 } else { f64::from(self.leading) };
        for (part, share) in [(leading, share), (rest, 1.0 - share)] {
            let sum: f64 = part.iter().sum();
            for variance in part {
                *variance *= share / sum;
            }
        }
        let mut deviations: Vec<f32> = zeroed(dimension)?;
        for (deviation, variance) in deviations.iter_mut().zip(variances) {
            *deviation = variance.sqrt() as f32;
        }
        Ok(deviations)
    }
}
