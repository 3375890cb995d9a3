//! The measured recall at each `ef`, and the curve that searches read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::IndexError;
use crate::sync::Mutex;

/// Maximum number of points of a curve.
pub(in crate::index) const POINTS: usize = 24;

/// Quantile of the normal distribution: one in forty of the bounds is too high.
const Z: f64 = 1.96;

/// Minimum number of neighbours of a query that are taken to be found or missed together.
const TOGETHER: f64 = 2.0;

/// The measured dependence of recall on `ef`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Calibration {
    /// Neighbours of each query. Searches for up to `k` neighbours use the result.
    pub k: usize,
    /// Number of queries.
    pub queries: usize,
    /// Whether the queries were vectors of the index.
    pub self_queries: bool,
    /// Number of vectors in the index.
    pub len: usize,
    /// Bits of a component of the codes that walks read; `None` if they read the vectors.
    pub code_bits: Option<u32>,
    /// The curve, by ascending `ef`. The last point may be that of a scan of every vector.
    pub points: Vec<CalibrationPoint>,
}

/// Recall at one `ef`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CalibrationPoint {
    /// Candidates kept during the walk.
    pub ef: usize,
    /// Share of the nearest `k` that was found, on average over the queries.
    pub recall: f64,
    /// A bound that the recall over all queries of this kind exceeds with a certainty of 97.5 %: the lower end of
    /// Wilson's interval (Wilson, 1927), for the number of independent trials that has the variance seen between
    /// queries. [`Search::recall`](crate::Search::recall) uses this bound.
    pub lower_bound: f64,
}

impl CalibrationPoint {
    /// Computes a point; `found` has the number of the `k` nearest that each query found.
    pub(in crate::index) fn new(ef: usize, k: usize, found: &[usize]) -> Self {
        let (queries, k) = (found.len() as f64, k as f64);
        let recall = found.iter().sum::<usize>() as f64 / (queries * k);
        let square = |&found: &usize| (found as f64 / k - recall).powi(2);
        let variance = found.iter().map(square).sum::<f64>() / (queries - 1.0).max(1.0);
        let alone = recall * (1.0 - recall) / k;
        let together = if alone > 0.0 { variance / alone } else { 0.0 };
        let trials = queries * k / together.max(TOGETHER).min(k);
        let lower_bound = wilson(recall, trials);
        Self { ef, recall, lower_bound }
    }
}

/// Returns the lower end of Wilson's interval for a share seen in `trials` trials.
fn wilson(share: f64, trials: f64) -> f64 {
    let square = Z * Z / trials;
    let spread = Z * (share * (1.0 - share) / trials + square / (4.0 * trials)).sqrt();
    ((share + square / 2.0 - spread) / (1.0 + square)).max(0.0)
}

/// The curve that searches read, without a lock. Each point is one word, and a mixture of two curves is no worse than
/// either.
#[derive(Debug, Default)]
pub(in crate::index) struct Curve {
    /// `ef << 32` and the bits of the recall that is certain; 0 behind the last point.
    points: [AtomicU64; POINTS],
    /// Answers that the curve was measured for; 0 for no curve.
    k: AtomicUsize,
    last: Mutex<Option<Calibration>>,
}

impl Curve {
    /// Returns the last calibration.
    pub(in crate::index) fn calibration(&self) -> Option<Calibration> {
        self.last.lock().clone()
    }

    pub(in crate::index) fn set(&self, calibration: &Calibration) {
        let mut last = self.last.lock();
        let words = calibration.points.iter().map(|point| {
            let ef = u32::try_from(point.ef).unwrap_or(u32::MAX);
            u64::from(ef) << 32 | u64::from((point.lower_bound as f32).to_bits())
        });
        for (place, word) in self.points.iter().zip(words.chain(std::iter::repeat(0))) {
            place.store(word, Ordering::Relaxed);
        }
        self.k.store(calibration.k, Ordering::Release);
        *last = Some(calibration.clone());
    }

    /// Returns the `ef` from which on the recall is certain. Between two points it interpolates on a straight line,
    /// which is below the curve.
    pub(in crate::index) fn ef(&self, recall: f64, k: Option<usize>) -> Result<usize, IndexError> {
        let measured = self.k.load(Ordering::Acquire);
        let k = k.unwrap_or(measured);
        if k > measured || measured == 0 {
            let measured = Some(measured).filter(|&measured| measured > 0);
            return Err(IndexError::NotCalibrated { k, measured });
        }
        let mut below: Option<(f64, f64)> = None;
        for word in &self.points {
            let word = word.load(Ordering::Relaxed);
            let (ef, certain) = ((word >> 32) as f64, f64::from(f32::from_bits(word as u32)));
            if word == 0 {
                break;
            }
            if certain >= recall {
                let Some((from, less)) = below else { return Ok(ef as usize) };
                return Ok(
                    (from + (ef - from) * (recall - less) / (certain - less)).ceil() as usize
                );
            }
            below = below.filter(|&(_, less)| less > certain).or(Some((ef, certain)));
        }
        let best = below.map_or(0.0, |(_, best)| best);
        Err(IndexError::RecallUnreachable { recall, best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_wilson() {
        // 81 of 100, from tables: 0.7222 to 0.8749.
        assert!((wilson(0.81, 100.0) - 0.7222).abs() < 1e-4);
        assert!(wilson(1.0, 100.0) < 1.0 && wilson(0.0, 100.0) < 1e-9);
        let even = CalibrationPoint::new(10, 10, &[9; 100]);
        let uneven: Vec<_> = (0..100).map(|i| if i % 10 == 0 { 0 } else { 10 }).collect();
        let uneven = CalibrationPoint::new(10, 10, &uneven);
        assert!((even.recall - 0.9).abs() < 1e-9 && (uneven.recall - 0.9).abs() < 1e-9);
        assert!(uneven.lower_bound < even.lower_bound && even.lower_bound < 0.9);
    }

    #[test]
    fn a_curve_gives_the_least_ef_that_is_certain() {
        let curve = Curve::default();
        let none = IndexError::NotCalibrated { k: 3, measured: None };
        assert_eq!(curve.ef(0.5, Some(3)), Err(none));
        let point = |ef, lower_bound| CalibrationPoint { ef, recall: lower_bound, lower_bound };
        let points = vec![point(10, 0.5), point(20, 0.75), point(40, 0.7), point(80, 0.875)];
        let (k, queries, self_queries, len) = (10, 1, true, 100);
        curve.set(&Calibration { k, queries, self_queries, len, code_bits: None, points });
        assert_eq!(curve.ef(0.3, None), Ok(10));
        assert_eq!(curve.ef(0.5, Some(10)), Ok(10));
        assert_eq!(curve.ef(0.625, Some(1)), Ok(15));
        assert_eq!(curve.ef(0.75, Some(1)), Ok(20));
        assert_eq!(curve.ef(0.875, Some(1)), Ok(80));
        assert_eq!(
            curve.ef(0.9, Some(1)),
            Err(IndexError::RecallUnreachable { recall: 0.9, best: 0.875 })
        );
        let fewer = IndexError::NotCalibrated { k: 11, measured: Some(10) };
        assert_eq!(curve.ef(0.5, Some(11)), Err(fewer));
    }
}
