//! Detection of vectors that differ from those that the lists and codes were trained on.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytemuck::{Pod, Zeroable};

/// The bounds that a training sets for later vectors, and the number of vectors beyond them.
#[derive(Debug)]
pub(in crate::index::ivf) struct Drift {
    limits: DriftLimits,
    strays: AtomicUsize,
}

/// Bounds beyond which a vector counts as a stray.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::index::ivf) struct DriftLimits {
    /// Bound of the squared distance from the centroid.
    pub(in crate::index::ivf) distance: f32,
    /// Bound of the square of the code's relative error.
    pub(in crate::index::ivf) code_error: f32,
}

impl DriftLimits {
    /// Bounds that no vector exceeds.
    pub(in crate::index::ivf) const NONE: Self =
        Self { distance: f32::INFINITY, code_error: f32::INFINITY };

    /// Returns bounds that few of a sample exceed. Vectors to which centroids were not fitted are
    /// farther from them, so some slack is left.
    pub(in crate::index::ivf) fn of_sample(distances: &mut [f32], code_errors: &mut [f32]) -> Self {
        const SLACK: f32 = 1.5;

        Self { distance: SLACK * usual(distances), code_error: SLACK * usual(code_errors) }
    }
}

/// Returns a number that a sixteenth of `numbers` exceed; infinity if `numbers` is empty.
fn usual(numbers: &mut [f32]) -> f32 {
    let at = numbers.len() - numbers.len() / 16;
    if numbers.is_empty() {
        return f32::INFINITY;
    }
    let (_, &mut number, _) =
        numbers.select_nth_unstable_by(at.min(numbers.len() - 1), f32::total_cmp);
    number
}

impl Drift {
    pub(in crate::index::ivf) fn new(limits: DriftLimits, strays: usize) -> Self {
        Self { limits, strays: AtomicUsize::new(strays) }
    }

    pub(in crate::index::ivf) fn limits(&self) -> DriftLimits {
        self.limits
    }

    /// Returns whether a vector is a stray.
    pub(in crate::index::ivf) fn is_stray(&self, distance: f32, code_error: f32) -> bool {
        distance > self.limits.distance || code_error > self.limits.code_error
    }

    /// Counts a stray.
    pub(in crate::index::ivf) fn count(&self) {
        self.strays.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of strays since the training.
    pub(in crate::index::ivf) fn strays(&self) -> usize {
        self.strays.load(Ordering::Relaxed)
    }

    /// Resets the count.
    pub(in crate::index::ivf) fn forget(&self) {
        self.strays.store(0, Ordering::Relaxed);
    }
}

/// Sums over the residuals that were inserted into a list since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(in crate::index::ivf) struct Figures {
    pub(in crate::index::ivf) count: u64,
    /// Sum of the squares of the residuals' lengths.
    pub(in crate::index::ivf) lengths: f64,
    /// Sum of the codes' errors.
    pub(in crate::index::ivf) errors: f64,
}

impl Figures {
    pub(in crate::index::ivf) fn add(&mut self, length: f32, error: f32) {
        self.count += 1;
        self.lengths += f64::from(length);
        self.errors += f64::from(error);
    }

    /// Returns whether these can be sums, of no more numbers than are counted without overflow.
    pub(in crate::index::ivf) fn is_sound(&self) -> bool {
        let sum = |sum: f64| sum.is_finite() && sum >= 0.0;
        self.count <= 1 << 62 && sum(self.lengths) && sum(self.errors)
    }

    /// Returns the root mean squares of lengths and errors.
    pub(in crate::index::ivf) fn margins(&self) -> Margins {
        let count = self.count.max(1) as f64;
        let root = |sum: f64| (sum / count).sqrt() as f32;
        Margins { length: root(self.lengths), error: root(self.errors) }
    }
}

/// Lengths of the residuals of a list, and errors of their codes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::index::ivf) struct Margins {
    pub(in crate::index::ivf) length: f32,
    pub(in crate::index::ivf) error: f32,
}

/// [`Margins`] that searches read while insertions change them.
#[derive(Debug, Default)]
pub(in crate::index::ivf) struct SharedMargins(AtomicU64);

impl SharedMargins {
    pub(in crate::index::ivf) fn set(&self, margins: Margins) {
        let Margins { length, error } = margins;
        let both = u64::from(length.to_bits()) << 32 | u64::from(error.to_bits());
        self.0.store(both, Ordering::Relaxed);
    }

    pub(in crate::index::ivf) fn get(&self) -> Margins {
        let both = self.0.load(Ordering::Relaxed);
        Margins { length: f32::from_bits((both >> 32) as u32), error: f32::from_bits(both as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_the_sample_and_most_of_others_are_strays() {
        let mut distances: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
        let mut errors = vec![0.04; 1000];
        let limits = DriftLimits::of_sample(&mut distances, &mut errors);
        let drift = Drift::new(limits, 0);
        let strays = distances.iter().filter(|&&distance| drift.is_stray(distance, 0.04)).count();
        assert!(strays <= 1000 / 16, "{strays}");
        assert!(drift.is_stray(1.5, 0.04) && drift.is_stray(0.5, 0.1));
        // Without codes, the error does not count.
        let limits = DriftLimits::of_sample(&mut distances, &mut []);
        assert!(!Drift::new(limits, 0).is_stray(0.5, f32::MAX));
        // For a sample of equal vectors, all others are strays.
        let limits = DriftLimits::of_sample(&mut [0.0; 100], &mut []);
        let drift = Drift::new(limits, 7);
        assert!(drift.is_stray(1e-30, 0.0) && !drift.is_stray(0.0, 0.0));
        drift.count();
        assert_eq!(drift.strays(), 8);
        drift.forget();
        assert_eq!(drift.strays(), 0);
    }

    #[test]
    fn margins_are_root_mean_squares() {
        let mut figures = Figures::default();
        assert_eq!(figures.margins(), Margins::default());
        for (length, error) in [(1.0, 0.0), (7.0, 0.5)] {
            figures.add(length, error);
        }
        let margins = figures.margins();
        assert_eq!(margins, Margins { length: 2.0, error: 0.5 });
        let shared = SharedMargins::default();
        shared.set(margins);
        assert_eq!(shared.get(), margins);
        assert!(figures.is_sound());
        assert!(!Figures { lengths: -1.0, ..figures }.is_sound());
        assert!(!Figures { errors: f64::NAN, ..figures }.is_sound());
        assert!(!Figures { count: u64::MAX, ..figures }.is_sound());
    }
}
