//! The vectors that quantizers accept, and their form.

use std::borrow::Cow;

use super::error::QuantizationError;
use super::quantizer::rows;
use crate::error::VectorError;
use crate::metric::Metric;
use crate::threads::map_chunks;
use crate::vector::Element;

/// The greatest dimension, and so the greatest number of squares in a sum.
pub(super) const MAX_DIMENSION: usize = 1 << 16;

/// The greatest magnitude of a component: 2^16 squares of differences of such numbers are still
/// finite in `f32`.
pub(super) const MAX_COMPONENT: f32 = (1_u64 << 50) as f32;

/// Refuses metrics and dimensions that no quantizer supports.
pub(super) fn check_space(dimension: usize, metric: Metric) -> Result<(), QuantizationError> {
    if dimension == 0 || dimension > MAX_DIMENSION {
        let value = dimension.to_string();
        let allowed = "1 to 65,536";
        return Err(QuantizationError::Parameter { name: "dimension", value, allowed });
    }
    if matches!(metric, Metric::Hamming | Metric::Custom) {
        let value = metric.to_string();
        let allowed = "l2, ip or cosine";
        return Err(QuantizationError::Parameter { name: "metric", value, allowed });
    }
    Ok(())
}

/// Returns the vector as a quantizer sees it: checked, and of unit length under cosine.
pub(super) fn admit(
    vector: &[f32],
    dimension: usize,
    metric: Metric,
) -> Result<Cow<'_, [f32]>, VectorError> {
    if vector.len() != dimension {
        return Err(VectorError::Length { expected: dimension, found: vector.len() });
    }
    // The fold has no branch per component, so that it vectorises; NaN is not within.
    let within = |limit: f32| vector.iter().fold(true, |all, x| all & (x.abs() <= limit));
    if metric == Metric::Cosine {
        if !within(f32::MAX) {
            return Err(refusal(vector, f32::MAX));
        }
        // Squares of f32 neither overflow nor vanish in f64.
        let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        if square == 0.0 {
            return Err(VectorError::ZeroNorm);
        }
        let scale = 1.0 / square.sqrt();
        return Ok(vector.iter().map(|&x| (f64::from(x) * scale) as f32).collect());
    }
    if within(MAX_COMPONENT) {
        Ok(Cow::Borrowed(vector))
    } else {
        Err(refusal(vector, MAX_COMPONENT))
    }
}

/// Returns the reason for which a vector with a component beyond `limit` is refused.
#[cold]
fn refusal(vector: &[f32], limit: f32) -> VectorError {
    let beyond = vector.iter().enumerate().find(|(_, x)| x.is_nan() || x.abs() > limit);
    match beyond {
        Some((component, &value)) if value.is_finite() => {
            VectorError::NotRepresentable { component, value, element: Element::F32 }
        }
        beyond => {
            VectorError::NonFinite { component: beyond.map_or(0, |(component, _)| component) }
        }
    }
}

/// Rows that a thread takes at once.
const TASK: usize = 64;

/// Returns [`admit`] of each row numbered in `chosen`, in that order.
pub(super) fn admit_rows(
    vectors: &[f32],
    dimension: usize,
    metric: Metric,
    chosen: &[usize],
) -> Result<Vec<f32>, QuantizationError> {
    let mut admitted = vec![0.0; chosen.len() * dimension];
    let refused = map_chunks(&mut admitted, TASK * dimension, |task, rows| {
        let rows = rows.chunks_exact_mut(dimension).zip(&chosen[task * TASK..]);
        let refused = rows.filter_map(|(row, &position)| {
            match admit(&vectors[position * dimension..][..dimension], dimension, metric) {
                Ok(vector) => {
                    row.copy_from_slice(&vector);
                    None
                }
                Err(source) => Some((position, source)),
            }
        });
        refused.min_by_key(|&(position, _)| position)
    });
    match refused.into_iter().flatten().min_by_key(|&(position, _)| position) {
        None => Ok(admitted),
        Some((position, source)) => Err(QuantizationError::BatchVector { position, source }),
    }
}

/// Returns the number of training vectors, of which at least `needed` are required.
pub(super) fn check_training(
    vectors: &[f32],
    dimension: usize,
    needed: usize,
) -> Result<usize, QuantizationError> {
    let found = rows(vectors, dimension)?;
    if found < needed {
        return Err(QuantizationError::TooFewVectors { needed, found });
    }
    Ok(found)
}
