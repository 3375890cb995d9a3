//! The settings that every index has, and their ranges.

use super::distances::Engine;
use super::encode::Encoder;
use crate::error::IndexError;
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Maximum dimension of an index.
const MAX_DIMENSION: usize = 65_536;

/// The settings that every index has.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Basis {
    pub(in crate::index) dimension: usize,
    pub(in crate::index) metric: Metric,
    pub(in crate::index) element: Element,
    pub(in crate::index) isa: Option<Isa>,
}

impl Basis {
    pub(in crate::index) fn new(dimension: usize, metric: Metric) -> Self {
        let element = if metric == Metric::Hamming { Element::Bit } else { Element::F32 };
        Self { dimension, metric, element, isa: None }
    }

    pub(in crate::index) fn check(&self) -> Result<(Encoder, Isa, Engine), IndexError> {
        let Self { dimension, metric, element, isa } = *self;
        in_range("dimension", dimension, 1..=MAX_DIMENSION, "1 to 65536")?;
        let isa = isa.unwrap_or_else(Isa::detect);
        if !Isa::available().contains(&isa) {
            return Err(IndexError::Parameter {
                name: "isa",
                value: isa.to_string(),
                allowed: "what this CPU can run",
            });
        }
        let encoder = Encoder { dimension, metric, element };
        Ok((encoder, isa, Engine::new(metric, element, isa)?))
    }
}

pub(in crate::index) fn in_range(
    name: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
    allowed: &'static str,
) -> Result<(), IndexError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(IndexError::Parameter { name, value: value.to_string(), allowed })
}

macro_rules! basis_settings {
    () => {
        /// Sets the type in which components are stored; [`Element::F32`] by default, [`Element::Bit`] under
        /// [`Metric::Hamming`]. Vectors of other types are converted when they are inserted or searched for: to half
        /// precision by rounding, to integers only if that is exact.
        pub fn element(mut self, element: Element) -> Self {
            self.basis.element = element;
            self
        }

        /// Sets the instruction set to use; by default the best one ([`Isa::detect`]).
        pub fn isa(mut self, isa: Isa) -> Self {
            self.basis.isa = Some(isa);
            self
        }
    };
}

/// Makes the accessors that tell the settings of every index, and whether it is empty.
macro_rules! basis_accessors {
    () => {
        /// Returns whether the index has no vectors.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Returns the number of components of a vector.
        pub fn dimension(&self) -> usize {
            self.encoder().dimension
        }

        /// Returns the metric by which vectors are compared.
        pub fn metric(&self) -> Metric {
            self.encoder().metric
        }

        /// Returns the type in which components are stored.
        pub fn element(&self) -> Element {
            self.encoder().element
        }
    };
}

pub(in crate::index) use {basis_accessors, basis_settings};
