//! One error over the errors of all parts, for functions that call several of them.

use std::fmt;

use crate::attributes::AttributeError;
use crate::collection::CollectionError;
use crate::dataset::DatasetError;
use crate::error::{IndexError, VectorError};
use crate::error_kind::ErrorKind;
use crate::quantization::QuantizationError;
use crate::store::StoreError;

/// Any error of this crate. Each function returns the error of its own part; `?` turns each of these errors into this one.
///
/// ```no_run
/// use nearfield::dataset::Vectors;
/// use nearfield::{ErrorKind, Hnsw, Metric};
///
/// fn main() -> nearfield::Result<()> {
///     let vectors = Vectors::open("words.fvecs")?; // DatasetError
///     let words = Hnsw::builder(100, Metric::Cosine).build()?; // IndexError
///     for (key, vector) in (0..).zip(vectors.iter()) {
///         words.insert(key, &vector)?;
///     }
///     match words.save("words.nf") {
///         Err(error) if error.kind() == ErrorKind::DiskFull => eprintln!("{error}"),
///         other => other?, // CollectionError
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// A vector was refused.
    Vector(VectorError),
    /// An index refused.
    Index(IndexError),
    /// A collection, or the file of an index, refused.
    Collection(CollectionError),
    /// A store refused.
    Store(StoreError),
    /// A quantizer refused.
    Quantization(QuantizationError),
    /// A data set could not be read, written or made.
    Dataset(DatasetError),
    /// Attributes or a predicate were refused.
    Attribute(AttributeError),
}

/// The result of a function that calls several parts of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Calls a method of the error that `$error` wraps.
macro_rules! inner {
    ($error:expr, $inner:ident => $call:expr) => {
        match $error {
            Error::Vector($inner) => $call,
            Error::Index($inner) => $call,
            Error::Collection($inner) => $call,
            Error::Store($inner) => $call,
            Error::Quantization($inner) => $call,
            Error::Dataset($inner) => $call,
            Error::Attribute($inner) => $call,
        }
    };
}

impl Error {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        inner!(self, error => error.kind())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        inner!(self, error => error.fmt(f))
    }
}

impl std::error::Error for Error {
    /// Returns the source of the wrapped error, whose text is the text of this one.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        inner!(self, error => error.source())
    }
}

macro_rules! from {
    ($($domain:ident => $variant:ident),*) => {
        $(
            impl From<$domain> for Error {
                fn from(error: $domain) -> Self {
                    Self::$variant(error)
                }
            }
        )*
    };
}

from! {
    VectorError => Vector,
    IndexError => Index,
    CollectionError => Collection,
    StoreError => Store,
    QuantizationError => Quantization,
    DatasetError => Dataset,
    AttributeError => Attribute
}
