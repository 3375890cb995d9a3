//! Facts about an index.

use super::calibrate::Calibration;
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// What an index holds and what it has done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Vectors in the index.
    pub len: usize,
    /// Components of a vector.
    pub dimension: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// What a component is stored as.
    pub element: Element,
    /// Bits of a component of the codes that walks read; none while they read the vectors.
    pub code_bits: Option<u32>,
    /// How far off the codes of the vectors are that were inserted last, about a thousand of them: the root mean square of the
    /// distances between a vector and the one that its code means, divided by that of the vectors that the quantizer was fitted
    /// to. About 1 while vectors are like those; more where they come from elsewhere, infinite where those lost nothing; 0
    /// where nothing is lost. An index that keeps its vectors, or rounds them, fits another quantizer when they are many, and
    /// the figure is about 1 again. One that [drops](crate::Originals::Dropped) them cannot: its answers are off by so much
    /// more, for good. `None` without codes, in an index from a file of an earlier version,
    /// and for lists, which have [their own](ListStats::code_error).
    pub code_error: Option<f32>,
    /// The instruction set in use.
    pub isa: Isa,
    /// Nodes on each level of the graph, the base first; empty for an exact index.
    pub levels: Vec<usize>,
    /// The lists of an inverted-file index.
    pub lists: Option<ListStats>,
    /// What [`Hnsw::calibrate`](crate::Hnsw::calibrate) measured last, if it was called.
    pub calibration: Option<Calibration>,
    /// Memory in use.
    pub bytes: Bytes,
    /// Distances that searches have computed since the index was made.
    pub search_distances: u64,
    /// Distances that insertions have computed since the index was made.
    pub insert_distances: u64,
}

impl Stats {
    /// Why the recall that was measured may not hold any more; `None` if it may, or was not
    /// measured. [`Search::recall`](crate::Search::recall) goes on as measured: calibrate anew.
    ///
    /// ```
    /// use nearfield::dataset::Generated;
    /// use nearfield::{Drift, Hnsw, Metric};
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

/// The index has so many times as many vectors as it had, or one in so many: its recall at the same
/// `ef` may be another by more than half a point.
const GROWN: f64 = 1.25;

/// Why a measured recall may not hold any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    /// The index has grown or shrunk by more than a quarter.
    Size {
        /// Vectors when recall was measured.
        measured: usize,
        /// Vectors now.
        now: usize,
    },
    /// Walks read other codes than they did, or codes instead of vectors.
    Codes,
}

/// The lists of an [`Ivf`](crate::Ivf) index.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ListStats {
    /// How many there are; one before the index is trained.
    pub count: usize,
    /// Those without a vector.
    pub empty: usize,
    /// Vectors in the longest.
    pub longest: usize,
    /// How many times as many vectors a search reads as if all lists were equally long: 1 is
    /// best.
    pub imbalance: f64,
    /// Lists that a search reads if it does not say.
    pub nprobe: usize,
    /// Whether the index is trained; a search looks at every vector until then.
    pub is_trained: bool,
    /// Trainings since the index was made.
    pub trainings: u64,
    /// Vectors since the last training that are farther from their centroids than those of its
    /// sample, or whose codes are off by more. The index is trained anew when they are many.
    pub strays: usize,
    /// Relative error of the codes: the root mean square of their errors, divided by
    /// [`residual`](Self::residual). `None` without codes, and after loading a file of an earlier
    /// version without originals, which does not record it.
    pub code_error: Option<f32>,
    /// Distance of the coded vectors from their centroids: the root mean square. `None` in the
    /// same cases.
    pub residual: Option<f32>,
}

/// Memory in use by its purpose, in bytes. Pages that are mapped but not yet used do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Bytes {
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

impl Bytes {
    /// All of them.
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
