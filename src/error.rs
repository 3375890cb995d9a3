//! Errors of vectors and calls: one small enum for each domain.

use std::fmt;

use crate::error_kind::ErrorKind;
use crate::metric::Metric;
use crate::vector::Element;

/// The reason why a vector was refused.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum VectorError {
    /// The vector's length is not the one of the index.
    Length {
        /// Elements expected: the dimension, or the bytes that pack it for bits.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A component is not a number or is infinite.
    NonFinite {
        /// Position of the component.
        component: usize,
    },
    /// A zero vector has no direction, so it has no cosine.
    ZeroNorm,
    /// The vector is so long that its distances, squared lengths or products, may exceed `f32`:
    /// [`Metric`] states the limit.
    TooLong {
        /// Its length.
        length: f64,
    },
    /// A component cannot be stored in the index's element type without changing its value
    /// (integers), or it overflows to infinity (half precision).
    NotRepresentable {
        /// Position of the component.
        component: usize,
        /// Its value.
        value: f32,
        /// The element type of the index.
        element: Element,
    },
    /// Packed bits were given to an index of numbers, or numbers to an index of bits.
    ElementMismatch {
        /// The element type of the index.
        expected: Element,
        /// The element type of the vector.
        found: Element,
    },
}

impl VectorError {
    /// Returns the kind of the error, [`ErrorKind::InvalidInput`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { expected, found } => {
                write!(f, "vector has {found} elements where {expected} are expected")
            }
            Self::NonFinite { component } => {
                write!(f, "component {component} is not a finite number")
            }
            Self::ZeroNorm => f.write_str("a zero vector has no direction, so no cosine distance"),
            Self::TooLong { length } => {
                write!(f, "vector of length {length:e}, where distances allow 2^62 (4.6e18)")
            }
            Self::NotRepresentable { component, value, element } => {
                write!(f, "component {component} is {value}, which {element} cannot hold")
            }
            Self::ElementMismatch { expected, found } => {
                write!(f, "vector of {found} given where {expected} is expected")
            }
        }
    }
}

impl std::error::Error for VectorError {}

/// The reason why an index could not be built, changed or searched.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum IndexError {
    /// The vector was refused.
    Vector(VectorError),
    /// One vector of a batch was refused. Validation precedes insertion, so no vector of the batch was inserted.
    BatchVector {
        /// Position of the vector in the batch.
        position: usize,
        /// The reason.
        source: VectorError,
    },
    /// The number of keys and the number of vectors of a batch differ.
    BatchLength {
        /// Keys given.
        keys: usize,
        /// Vectors given.
        vectors: usize,
    },
    /// The key is in the index already.
    KeyExists {
        /// The key.
        key: u64,
    },
    /// A parameter of the builder or of a query is out of its range.
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given, as text.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// This metric is not defined over this element type.
    Unsupported {
        /// The metric.
        metric: Metric,
        /// The element type.
        element: Element,
    },
    /// The index has fewer vectors than training needs.
    TooFewVectors {
        /// Vectors needed.
        needed: usize,
        /// Vectors in the index.
        found: usize,
    },
    /// The index cannot hold more vectors.
    Full {
        /// The number it holds.
        len: usize,
    },
    /// The operating system gave no memory; the index is as it was.
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// A search asked for a recall before [`Hnsw::calibrate`](crate::Hnsw::calibrate) measured the `ef` that
    /// reaches it.
    NotCalibrated {
        /// Answers wanted.
        k: usize,
        /// The number of answers that recall was measured for; `None` if recall was not measured.
        measured: Option<usize>,
    },
    /// A search asked for a recall that no `ef` reached when recall was measured.
    RecallUnreachable {
        /// The recall asked for.
        recall: f64,
        /// The greatest recall that is certain.
        best: f64,
    },
    /// Indexes that are to be searched together differ in dimension, metric or custom metric.
    ShardMismatch {
        /// Position of the first index that differs from the one at position 0.
        shard: usize,
        /// The property that differs: the dimension, the metric or the custom metric.
        name: &'static str,
        /// The property of the index at position 0, as text.
        expected: String,
        /// The property of this index, as text.
        found: String,
    },
    /// The index reads its file in place, and the process that opened it has forked: the parent does not keep the pages that this
    /// child reads. Open the file anew in the child.
    Forked,
    /// The caller cancelled the operation before its end.
    Cancelled,
    /// The kernel of a [`CustomMetric`](crate::custom::CustomMetric) panicked. A search has no answer; a single insertion or
    /// replacement left the index as it was. The index stays usable.
    MetricPanicked {
        /// The name of the metric.
        metric: String,
        /// The message of the panic.
        message: String,
    },
    /// A pool of threads could not be started.
    Threads {
        /// The text of the operating system.
        reason: String,
    },
}

impl IndexError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Vector(error) | Self::BatchVector { source: error, .. } => error.kind(),
            Self::BatchLength { .. }
            | Self::Parameter { .. }
            | Self::Unsupported { .. }
            | Self::MetricPanicked { .. } => ErrorKind::InvalidInput,
            Self::KeyExists { .. } => ErrorKind::AlreadyExists,
            Self::TooFewVectors { .. }
            | Self::NotCalibrated { .. }
            | Self::RecallUnreachable { .. } => ErrorKind::NotReady,
            Self::Full { .. } => ErrorKind::LimitReached,
            Self::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            Self::ShardMismatch { .. } => ErrorKind::Incompatible,
            Self::Forked => ErrorKind::Forked,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Threads { .. } => ErrorKind::Io,
        }
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vector(e) => e.fmt(f),
            Self::BatchVector { position, source } => {
                write!(f, "vector {position} of the batch: {source}")
            }
            Self::BatchLength { keys, vectors } => {
                write!(f, "{keys} keys given for {vectors} vectors")
            }
            Self::KeyExists { key } => {
                write!(f, "key {key} is in the index already; call `upsert` to replace its vector")
            }
            Self::Parameter { name, value, allowed } => {
                write!(f, "{name} is {value}; allowed: {allowed}")
            }
            Self::Unsupported { metric, element } => {
                write!(f, "{metric} is not defined over {element}")
            }
            Self::TooFewVectors { needed, found } => {
                write!(
                    f,
                    "training takes {needed} vectors; the index has {found}: insert more first"
                )
            }
            Self::Full { len } => write!(f, "the index is full at {len} vectors"),
            Self::OutOfMemory { bytes } => {
                write!(
                    f,
                    "the operating system refused {bytes} bytes of memory; the index is as it was"
                )
            }
            Self::NotCalibrated { k, measured: None } => {
                write!(f, "recall of {k} answers is not known: call `calibrate` on the index first")
            }
            Self::NotCalibrated { k, measured: Some(measured) } => write!(
                f,
                "recall was measured for up to {measured} answers, and {k} are wanted: \
                 calibrate with `k({k})`"
            ),
            Self::RecallUnreachable { recall, best } => write!(
                f,
                "a recall of {recall} was not reached when the index was calibrated, {best:.4} was: \
                 calibrate with a greater `max_ef` or more queries, or build a better graph"
            ),
            Self::ShardMismatch { shard, name, expected, found } => {
                write!(
                    f,
                    "{name} of shard {shard} is {found}, where the first shard's is {expected}"
                )
            }
            Self::Forked => f.write_str(
                "the file was opened before this process was forked off; open it anew in the child",
            ),
            Self::Cancelled => f.write_str("the operation was cancelled before its end"),
            Self::MetricPanicked { metric, message } => {
                write!(f, "the metric \"{metric}\" panicked: {message}; mend its kernel")
            }
            Self::Threads { reason } => write!(f, "threads could not be started: {reason}"),
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Vector(e) | Self::BatchVector { source: e, .. } => Some(e),
            _ => None,
        }
    }
}

impl From<VectorError> for IndexError {
    fn from(e: VectorError) -> Self {
        Self::Vector(e)
    }
}
