//! Facts about an index.

use super::calibration::Calibration;
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Sizes, settings and counters of an index.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// Vectors in the index.
    pub len: usize,
    /// Components of a vector.
    pub dimension: usize,
    /// The metric by which vectors are compared.
    pub metric: Metric,
    /// Type of a stored component.
    pub element: Element,
    /// Bits of a component of the codes that walks read; `None` while walks read the vectors.
    pub code_bits: Option<u32>,
    /// Error of the codes of the vectors that were inserted last, about a thousand of them: the root mean square of the
    /// distances between a vector and the one that its code means, divided by that of the vectors that the quantizer was fitted
    /// to. The figure is about 1 while new vectors resemble the fitted ones, more if they do not, infinite if the fitted vectors lost
    /// nothing, and 0 if the new ones lose nothing. An index that keeps its vectors, or rounds them, fits another quantizer when
    /// such vectors are many, and the figure is about 1 again. An index that [drops](crate::Originals::Dropped) vectors cannot:
    /// its answers keep this larger error for good. `None` without codes, in an index from a file of an earlier version,
    /// and for lists, which have [their own](ListStats::code_error).
    pub code_error: Option<f32>,
    /// The instruction set in use.
    pub isa: Isa,
    /// Nodes on each level of the graph, the base first; empty for an exact index.
    pub levels: Vec<usize>,
    /// The lists of an inverted-file index.
    pub lists: Option<ListStats>,
    /// Last result of [`Hnsw::calibrate`](crate::Hnsw::calibrate), if it was called.
    pub calibration: Option<Calibration>,
    /// Memory in use.
    pub bytes: MemoryUsage,
    /// Distances that searches have computed since the index was made.
    pub search_distances: u64,
    /// Distances that insertions have computed since the index was made.
    pub insert_distances: u64,
}

impl Stats {
    /// Returns why the measured recall may no longer hold; `None` if it may hold, or was not
    /// measured. [`Search::recall`](crate::Search::recall) continues to use the measurement: calibrate again.
    ///
    /// ```
    /// use nearfield::dataset::Generated;
    /// use nearfield::report::Drift;
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let (base, _) = Generated::builder(2000, 16).build()?.into_parts();
    /// let index = Hnsw::builder(16, Metric::L2).build()?;
    /// index.insert_batch(&(0..2000).collect::<Vec<_>>(), &base).run()?;
    /// index.calibrate().run()?;
    /// assert_eq!(index.stats().drift(), None);
    /// index.insert_batch(&(2000..4000).collect::<Vec<_>>(), &base).run()?;
    /// assert_eq!(index.stats().drift(), Some(Drift::Size { measured: 2000, now: 4000 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drift(&self) -> Option<Drift> {
        let calibration = self.calibration.as_ref()?;
        let (measured, now) = (calibration.len, self.len);
        let (small, large) = (measured.min(now) as f64, measured.max(now) as f64);
        if calibration.code_bits != self.code_bits {
            Some(Drift::Codes)
        } else if large > small * GROWN {
            Some(Drift::Size { measured, now })
        } else {
            None
        }
    }
}

/// Growth or shrinkage (factor) beyond which recall at the same `ef` can change by more than half a point.
const GROWN: f64 = 1.25;

/// Reason why a measured recall may no longer hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Drift {
    /// The index has grown or shrunk by more than a quarter.
    Size {
        /// Vectors when recall was measured.
        measured: usize,
        /// Vectors now.
        now: usize,
    },
    /// Walks read other codes than when recall was measured, or codes instead of vectors.
    Codes,
}

/// The lists of an [`Ivf`](crate::Ivf) index.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ListStats {
    /// Number of lists; one before the index is trained.
    pub count: usize,
    /// Lists without a vector.
    pub empty: usize,
    /// Vectors in the longest list.
    pub longest: usize,
    /// Ratio of the vectors that a search reads to those that it would read if all lists were equally long: 1 is
    /// best.
    pub imbalance: f64,
    /// Lists that a search reads if the caller sets no `nprobe`.
    pub nprobe: usize,
    /// Whether the index is trained; a search scans every vector until then.
    pub is_trained: bool,
    /// Trainings since the index was made.
    pub trainings: u64,
    /// Vectors since the last training that are farther from their centroids than those of its
    /// sample, or whose codes have larger errors. The index is trained anew when strays are many.
    pub strays: usize,
    /// Relative error of the codes: the root mean square of their errors, divided by
    /// [`residual`](Self::residual). `None` without codes, and after loading a file of an earlier
    /// version without originals, which does not record it.
    pub code_error: Option<f32>,
    /// Distance of the coded vectors from their centroids: the root mean square. `None` if
    /// [`code_error`](Self::code_error) is.
    pub residual: Option<f32>,
}

/// Memory in use by purpose, in bytes. Pages that are mapped but not yet used do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MemoryUsage {
    /// Stored vectors, with the padding to whole cache lines.
    pub vectors: usize,
    /// Codes of a quantizer, and the centroids of a product quantizer.
    pub codes: usize,
    /// Centroids of an inverted-file index.
    pub centroids: usize,
    /// Neighbour lists of the base level.
    pub rows: usize,
    /// Neighbour lists of the upper levels.
    pub upper: usize,
    /// Keys, and the map from keys to slots.
    pub keys: usize,
    /// Idle buffers of searches and insertions.
    pub scratch: usize,
}

impl MemoryUsage {
    /// Returns the sum of all fields.
    pub const fn total(&self) -> usize {
        self.vectors
            + self.codes
            + self.centroids
            + self.rows
            + self.upper
            + self.keys
            + self.scratch
    }
}
