//! The lists of an index, their centroids, and the list that holds each key.

pub(in crate::index::ivf) mod directory;
pub(in crate::index::ivf) mod estimates;
pub(in crate::index::ivf) mod list;
pub(in crate::index::ivf) mod places;
