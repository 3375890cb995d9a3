//! Meaning of a distance: its formula, unit, range and order.

use std::fmt;

/// The way two vectors are compared. Every distance is "smaller is nearer".
///
/// Distances are `f32`. Under [`L2`](Self::L2) and [`InnerProduct`](Self::InnerProduct) an index refuses vectors and
/// queries longer than 2^62 (4.6e18), whose distances could overflow
/// ([`VectorError::TooLong`](crate::VectorError::TooLong)). A file of an older version may have such vectors: a search
/// returns them last, with infinite distances. Differences below 1e-19 vanish when they are squared: scale such data up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// Squared Euclidean distance, `sum((a - b)^2)`, in `0..`. No square root is taken: it would
    /// not change the order.
    L2,
    /// Negated inner product, `-sum(a * b)`, in `..`: the largest product is the nearest. Not a
    /// metric in the mathematical sense: a vector need not be its own nearest neighbour.
    InnerProduct,
    /// Cosine distance, `1 - cos(a, b)`, in `0..=2`. Floating-point vectors are scaled to unit
    /// length once, when they are inserted. A zero vector has no direction and is refused. A vector is at distance 0 from
    /// itself, as is every vector that rounding alone keeps apart from it: up to about `6e-8 * (10 + dimension / 32)`.
    Cosine,
    /// Number of differing bits, in `0..=dimension`. Vectors are packed bits, eight to a byte,
    /// the first in the lowest bit.
    Hamming,
    /// A distance that is written outside this crate, which is named in other ways: see
    /// [`CustomMetric`](crate::custom::CustomMetric). Where a metric of this crate is chosen, it is refused.
    Custom,
}

impl Metric {
    /// Returns the name used in tables, files and on command lines: `l2`, `ip`, `cosine`, `hamming` or `custom`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::InnerProduct => "ip",
            Self::Cosine => "cosine",
            Self::Hamming => "hamming",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
