//! The mathematics of quantizers: rotations, k-means, and distances to many centroids at once.

mod centroids;
mod kmeans;
mod rotation;

pub(super) use centroids::Centroids;
pub(crate) use kmeans::cluster;
pub(super) use kmeans::{KMeans, sample};
pub(crate) use rotation::Rotation;
