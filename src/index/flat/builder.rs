//! The builder of the exact index.

use super::Flat;
use crate::distance::Custom;
use crate::error::IndexError;
use crate::index::entries::Entries;
use crate::index::settings::{Basis, basis_settings};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Settings of a [`Flat`] index. Made by [`Flat::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FlatBuilder {
    basis: Basis,
}

impl FlatBuilder {
    pub(in crate::index) fn new(dimension: usize, metric: Metric) -> Self {
        Self { basis: Basis::new(dimension, metric) }
    }

    pub(in crate::index) fn custom(dimension: usize, custom: Custom) -> Self {
        Self { basis: Basis::custom(dimension, custom) }
    }

    basis_settings!();

    /// Returns the empty index.
    ///
    /// # Errors
    ///
    /// As [`HnswBuilder::build`](crate::HnswBuilder::build).
    pub fn build(self) -> Result<Flat, IndexError> {
        let (encoder, isa, engine) = self.basis.check()?;
        Ok(Flat::new(Entries::new(encoder, engine, None), isa))
    }
}
