//! Metrics whose kernels users write.
//!
//! A user implements [`CustomMetric`] over plain slices. An index has a [`Custom`], and compares rows by the kernel that this binds
//! (`kernel.rs`): one virtual call a row. `shipped.rs` has the metrics that come with the crate.

mod kernel;
mod shipped;

pub(crate) use kernel::{CustomUse, Vigil};
pub use shipped::{Chebyshev, Haversine, Jaccard, Manhattan};

use std::fmt;
use std::sync::Arc;

use super::BoundKernel;
use crate::error::IndexError;
use crate::vector::Element;

/// A distance that is written outside this crate, for [`Flat`](crate::Flat) and [`Hnsw`](crate::Hnsw): the user writes the kernel, the index
/// does the rest.
///
/// An index is made by [`Flat::builder_with`](crate::Flat::builder_with) or [`Hnsw::builder_with`](crate::Hnsw::builder_with).
/// [`Manhattan`](crate::custom::Manhattan), [`Chebyshev`](crate::custom::Chebyshev), [`Jaccard`](crate::custom::Jaccard) and
/// [`Haversine`](crate::custom::Haversine) are implementations.
///
/// ```
/// use nearfield::Hnsw;
/// use nearfield::custom::CustomMetric;
///
/// /// The squared Euclidean distance, with a weight for each component.
/// struct Weighted(Vec<f32>);
///
/// impl CustomMetric for Weighted {
///     fn name(&self) -> &str {
///         "weighted"
///     }
///
///     fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
///         a.iter().zip(b).zip(&self.0).map(|((a, b), weight)| weight * (a - b) * (a - b)).sum()
///     }
/// }
///
/// let index = Hnsw::builder_with(2, Weighted(vec![1.0, 100.0])).build()?;
/// index.insert_batch(&[1, 2], &[5.0, 0.0, 0.0, 1.0]).run()?;
/// let hits = index.search(&[0.0, 0.0]).k(1).run()?;
/// assert_eq!((hits[0].key, hits[0].distance), (1, 25.0));
/// # Ok::<(), nearfield::IndexError>(())
/// ```
///
/// # The kernel
///
/// It must be symmetric, and give the same number for the same vectors whenever it is called: an index calls it from many threads at once,
/// for pairs of stored vectors and for pairs of a query and a stored vector, in either order. It need not satisfy the triangle
/// inequality; the nearer it is to doing so, the higher is the recall of an `Hnsw`. It must not call the index that it belongs to.
///
/// A kernel that breaks these rules makes answers poor. It makes no index unsound, and no call endless.
///
/// # The order of distances
///
/// Any number may be a distance. Distances ascend as numbers do: negative infinity, negative numbers, zero, positive numbers, infinity, and
/// last a NaN of any sign. A NaN is answered as it is, and is beyond every radius. See [`may_be_negative`](Self::may_be_negative) for
/// negative numbers.
///
/// # A panic
///
/// A panic of the kernel ends at the index. A search returns [`IndexError::MetricPanicked`], and an
/// iteration ends with [`is_complete`](crate::search::SearchIter::is_complete) false. A single insertion or `upsert` returns the error, and
/// the index is as it was; a batch that returns it has inserted a part, as with other errors. A removal is done: where
/// links are repaired, a pair whose distance panics counts as a NaN. The index stays usable. Calls that other
/// threads make on the same index at that time may return the error, too. A program that is built with `panic = "abort"` aborts.
///
/// # Limits
///
/// - [`Ivf`](crate::Ivf), [`Collection`](crate::Collection) and [`Distance`](crate::Distance) take no custom metric.
/// - Walks read the vectors: `build` refuses each [`Quantization`](crate::Quantization) but `None`.
/// - The crate brings no SIMD. The kernel is compiled as the user's crate is: plain loops over
///   [`chunks_exact`](slice::chunks_exact) with an accumulator for each place of a chunk become vector instructions.
/// - A file has the [name](Self::name) of the metric, and opening it takes the metric: [`Hnsw::open_with`](crate::Hnsw::open_with).
///
/// # Cost
///
/// A distance is one virtual call, and for elements other than `f32` and bits the conversion of the stored vector. A search of a `Flat`
/// computes `n` of them, one of an `Hnsw`, and an insertion, `O(log n)` in expectation. A search reads the clock for its timeout after 64 KiB of
/// vectors: with a kernel that takes microseconds for a pair, it may end milliseconds late.
pub trait CustomMetric: Send + Sync + 'static {
    /// Returns the name that files have, 1 to 64 bytes. Metrics of different formulas or parameters need different names, which stay the
    /// same for as long as files are kept.
    fn name(&self) -> &str;

    /// Returns the distance of two vectors, whose length is the dimension of the index. Components of other types than `f32` are
    /// converted to it, which is exact.
    fn distance(&self, a: &[f32], b: &[f32]) -> f32;

    /// Returns the distance of two vectors of packed bits, eight to a byte, the first in the lowest bit; bits behind the
    /// dimension are zero. An index over [`Element::Bit`] calls this in place of [`distance`](Self::distance).
    fn distance_of_bits(&self, _a: &[u8], _b: &[u8]) -> f32 {
        f32::NAN
    }

    /// Returns whether the metric is defined for vectors of this dimension and element type; `build` refuses others. By default, it is for
    /// all but bits.
    fn supports(&self, _dimension: usize, element: Element) -> bool {
        element != Element::Bit
    }

    /// Returns whether distances below zero are usual; `false` by default. If it is `true`, walks do not end early when further
    /// candidates are much farther than the answers in proportion: that takes some more distances. If it is `false` and a distance is
    /// negative nevertheless, the order of the answers is right, and an `Hnsw` may miss some.
    fn may_be_negative(&self) -> bool {
        false
    }
}

impl<M: CustomMetric + ?Sized> CustomMetric for Arc<M> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        (**self).distance(a, b)
    }

    fn distance_of_bits(&self, a: &[u8], b: &[u8]) -> f32 {
        (**self).distance_of_bits(a, b)
    }

    fn supports(&self, dimension: usize, element: Element) -> bool {
        (**self).supports(dimension, element)
    }

    fn may_be_negative(&self) -> bool {
        (**self).may_be_negative()
    }
}

/// Maximum number of bytes of a name.
pub(crate) const MAX_NAME: usize = 64;

/// Binds a metric to a dimension and an element type.
type Bind =
    fn(&Custom, usize, Element) -> Result<(Box<dyn BoundKernel>, Arc<CustomUse>), IndexError>;

/// A custom metric and its name.
#[derive(Clone)]
pub(crate) struct Custom {
    metric: Arc<dyn CustomMetric>,
    name: Arc<str>,
    /// A pointer: only programs that make a custom metric contain the kernel.
    bind: Bind,
}

impl Custom {
    pub(crate) fn new(metric: impl CustomMetric) -> Self {
        let name = metric.name().into();
        Self { metric: Arc::new(metric), name, bind: checked }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the element type of an index that sets none: `f32`, or bits if the metric supports only these.
    pub(crate) fn element(&self, dimension: usize) -> Element {
        let supports = |element| self.metric.supports(dimension, element);
        let is_of_bits = !supports(Element::F32) && supports(Element::Bit);
        if is_of_bits { Element::Bit } else { Element::F32 }
    }

    /// Returns the kernel over vectors of this dimension and element type, and its use in one index.
    pub(crate) fn bind(
        &self,
        dimension: usize,
        element: Element,
    ) -> Result<(Box<dyn BoundKernel>, Arc<CustomUse>), IndexError> {
        (self.bind)(self, dimension, element)
    }
}

/// Does [`Custom::bind`].
fn checked(
    custom: &Custom,
    dimension: usize,
    element: Element,
) -> Result<(Box<dyn BoundKernel>, Arc<CustomUse>), IndexError> {
    let Custom { metric, name, .. } = custom;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(IndexError::Parameter {
            name: "name of the metric",
            value: format!("a text of {} bytes", name.len()),
            allowed: "1 to 64 bytes",
        });
    }
    if !metric.supports(dimension, element) {
        return Err(IndexError::Parameter {
            name: "metric",
            value: format!("\"{name}\" over {dimension} components of {element}"),
            allowed: "one that supports the dimension and the element type",
        });
    }
    Ok(kernel::bind(custom, dimension, element))
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.name).finish()
    }
}
