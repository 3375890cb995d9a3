//! Searches: ranking and reading lists, for one query or a group, and measuring the nearest candidates by vectors.

pub(in crate::index::ivf) mod asked;
pub(in crate::index::ivf) mod group;
pub(in crate::index::ivf) mod nearest;
pub(in crate::index::ivf) mod probe;
pub(in crate::index::ivf) mod rerank;
pub(in crate::index::ivf) mod scan;
