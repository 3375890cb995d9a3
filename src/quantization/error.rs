//! Why a quantizer could not be trained, used or read.

use std::fmt;

use crate::error::VectorError;
use crate::error_kind::ErrorKind;

/// Why a quantizer could not be trained, used or read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum QuantizationError {
    /// The vector was refused: its length, a component that is not finite, no direction.
    Vector(VectorError),
    /// One vector of several was refused; the first one of several refused vectors.
    BatchVector {
        /// Position of the vector.
        position: usize,
        /// Why.
        source: VectorError,
    },
    /// The training vectors are fewer than the quantizer needs.
    TooFewVectors {
        /// Vectors needed.
        needed: usize,
        /// Vectors given.
        found: usize,
    },
    /// The code, or the codes together, have another length than this quantizer gives.
    CodeLength {
        /// Bytes expected.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The output slice has another length than the results.
    OutputLength {
        /// Elements expected.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A choice is out of its range.
    Parameter {
        /// The choice's name.
        name: &'static str,
        /// The value given, as text.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// The bytes are not those of such a quantizer.
    Bytes {
        /// The fault of the bytes.
        reason: &'static str,
    },
}

impl QuantizationError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Vector(error) | Self::BatchVector { source: error, .. } => error.kind(),
            Self::TooFewVectors { .. } => ErrorKind::NotReady,
            Self::CodeLength { .. } | Self::OutputLength { .. } | Self::Parameter { .. } => {
                ErrorKind::InvalidInput
            }
            Self::Bytes { .. } => ErrorKind::Corrupt,
        }
    }
}

impl fmt::Display for QuantizationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vector(e) => e.fmt(f),
            Self::BatchVector { position, source } => write!(f, "vector {position}: {source}"),
            Self::TooFewVectors { needed, found } => {
                write!(f, "{found} training vectors given where {needed} are needed")
            }
            Self::CodeLength { expected, found } => {
                write!(f, "codes of {found} bytes given where {expected} are expected")
            }
            Self::OutputLength { expected, found } => {
                write!(f, "place for {found} results given where {expected} are expected")
            }
            Self::Parameter { name, value, allowed } => {
                write!(f, "{name} is {value}; allowed: {allowed}")
            }
            Self::Bytes { reason } => write!(f, "not the bytes of this quantizer: {reason}"),
        }
    }
}

impl std::error::Error for QuantizationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Vector(e) | Self::BatchVector { source: e, .. } => Some(e),
            _ => None,
        }
    }
}

impl From<VectorError> for QuantizationError {
    fn from(e: VectorError) -> Self {
        Self::Vector(e)
    }
}
