//! The settings that every index has, and their ranges.

use std::fmt;

use super::distances::Engine;
use super::encode::Encoder;
use crate::distance::Custom;
use crate::error::IndexError;
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Maximum dimension of an index.
const MAX_DIMENSION: usize = 65_536;

/// The settings that every index has.
#[derive(Debug, Clone)]
pub(in crate::index) struct Basis {
    pub(in crate::index) dimension: usize,
    pub(in crate::index) metric: Metric,
    pub(in crate::index) element: Element,
    pub(in crate::index) isa: Option<Isa>,
    /// The metric, if it is [`Metric::Custom`].
    pub(in crate::index) custom: Option<Custom>,
}

impl Basis {
    pub(in crate::index) fn new(dimension: usize, metric: Metric) -> Self {
        let element = if metric == Metric::Hamming { Element::Bit } else { Element::F32 };
        Self { dimension, metric, element, isa: None, custom: None }
    }

    pub(in crate::index) fn custom(dimension: usize, custom: Custom) -> Self {
        let element = custom.element(dimension);
        Self { dimension, metric: Metric::Custom, element, isa: None, custom: Some(custom) }
    }

    pub(in crate::index) fn check(&self) -> Result<(Encoder, Isa, Engine), IndexError> {
        let Self { dimension, metric, element, isa, ref custom } = *self;
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
        let engine = match custom {
            Some(custom) => Engine::custom(custom, dimension, element)?,
            None => Engine::new(metric, element, isa)?,
        };
        Ok((encoder, isa, engine))
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

        /// Returns the metric by which vectors are compared; [`Metric::Custom`] for one that is written outside this crate.
        pub fn metric(&self) -> Metric {
            self.encoder().metric
        }

        /// Returns the type in which components are stored.
        pub fn element(&self) -> Element {
            self.encoder().element
        }
    };
}

/// Makes the accessors that tell about a custom metric.
macro_rules! custom_accessors {
    () => {
        /// Returns the name of the [custom metric](crate::custom::CustomMetric); `None` under the metrics of this crate.
        pub fn custom_metric(&self) -> Option<&str> {
            self.entries.engine.custom_use().map(CustomUse::name)
        }

        /// Returns how often the custom metric has panicked since the index was made or opened.
        pub fn metric_panics(&self) -> u64 {
            self.entries.engine.custom_use().map_or(0, CustomUse::panics)
        }
    };
}

/// The metric of an index in its debugging text: with the name of a custom metric.
pub(in crate::index) struct MetricName<'a>(
    pub(in crate::index) Metric,
    pub(in crate::index) Option<&'a str>,
);

impl fmt::Debug for MetricName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(name) => f.debug_tuple("Custom").field(&name).finish(),
            None => self.0.fmt(f),
        }
    }
}

pub(in crate::index) use {basis_accessors, basis_settings, custom_accessors};
