//! The oracle of the tests: the formulas of the metrics, word for word, in double precision.

use crate::metric::Metric;
use crate::vector::VectorRef;

/// A distance, and the measure of its error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    /// The distance. Exact if the components are bytes or bits.
    pub(super) distance: f64,
    /// The sum of the magnitudes of the terms that are added up; for cosine, of the inner product.
    pub(super) magnitude: f64,
}

/// Returns the components as numbers; of packed bits, each bit.
pub(super) fn components(vector: VectorRef<'_>, metric: Metric) -> Vec<f64> {
    match vector {
        VectorRef::F32(v) => v.iter().map(|&x| x.into()).collect(),
        VectorRef::F16(v) => v.iter().map(|&x| x.to_f32().into()).collect(),
        VectorRef::Bf16(v) => v.iter().map(|&x| x.to_f32().into()).collect(),
        VectorRef::I8(v) => v.iter().map(|&x| x.into()).collect(),
        VectorRef::U8(v) if metric == Metric::Hamming => {
            v.iter().flat_map(|x| (0..8).map(move |bit| f64::from(x >> bit & 1))).collect()
        }
        VectorRef::U8(v) => v.iter().map(|&x| x.into()).collect(),
    }
}

/// Returns the distance of two vectors of equal length; `unit` if they are to be taken as of unit length.
pub(super) fn distance(metric: Metric, unit: bool, a: &[f64], b: &[f64]) -> Reference {
    assert_eq!(a.len(), b.len());
    let (mut squares, mut dot, mut magnitude, mut aa, mut bb) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut differing = 0;
    for (&a, &b) in a.iter().zip(b) {
        squares += (a - b) * (a - b);
        dot += a * b;
        magnitude += (a * b).abs();
        aa += a * a;
        bb += b * b;
        differing += usize::from(a.to_bits() != b.to_bits());
    }
    let norms = aa.sqrt() * bb.sqrt();
    let cosine = match (unit, norms == 0.0) {
        (true, _) => dot,
        (false, true) => 0.0,
        (false, false) => dot / norms,
    };
    match metric {
        Metric::L2 => Reference { distance: squares, magnitude: squares },
        Metric::InnerProduct => Reference { distance: -dot, magnitude },
        Metric::Cosine => Reference { distance: (1.0 - cosine).max(0.0), magnitude },
        Metric::Hamming => Reference { distance: differing as f64, magnitude },
        Metric::Custom => unreachable!("it has no formula"),
    }
}
