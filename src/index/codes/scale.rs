//! The meaning of the order keys.

use super::Codes;
use crate::index::distances::Engine;
use crate::order_key::OrderKey;

/// The meaning of the order keys.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) enum Scale<'a> {
    /// Distances between vectors.
    Vectors(&'a Engine),
    /// Distances between a prepared query and codes.
    Codes(&'a Codes),
}

impl Scale<'_> {
    /// Returns the distance that an order key encodes.
    pub(in crate::index) fn distance(self, order: OrderKey) -> f32 {
        match self {
            Self::Vectors(engine) => engine.distance(order),
            Self::Codes(codes) => codes.distance(order),
        }
    }

    /// Returns the engine that computes the order keys.
    pub(in crate::index) fn engine(&self) -> &Engine {
        match self {
            Self::Vectors(engine) => engine,
            Self::Codes(codes) => &codes.engine,
        }
    }
}
