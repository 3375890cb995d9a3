//! The meaning of the keys of distances.

use super::Codes;
use crate::index::distances::Engine;

/// The meaning of the keys of distances.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) enum Scale<'a> {
    /// Distances between vectors.
    Vectors(&'a dyn Engine),
    /// Distances between a prepared query and codes.
    Codes(&'a Codes),
}

impl Scale<'_> {
    /// Returns the distance that a key encodes.
    pub(in crate::index) fn distance(self, key: u32) -> f32 {
        match self {
            Self::Vectors(engine) => engine.distance(key),
            Self::Codes(codes) => codes.distance(key),
        }
    }

    /// Returns the engine that computes the keys.
    pub(in crate::index) fn engine(&self) -> &dyn Engine {
        match self {
            Self::Vectors(engine) => *engine,
            Self::Codes(codes) => &*codes.engine,
        }
    }
}
