//! Statistics of samples.

/// Returns the smallest sample that the share `q` of all does not exceed. `sorted` is in ascending order and not empty.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Returns the middle sample, or the mean of the two in the middle. Returns `NAN` without samples.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Returns the mean without the lowest and the highest fifth: nearly as sharp as the mean, and one process that had a
/// bad moment does not move it. Returns `NAN` without samples.
pub(crate) fn trimmed_mean(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 5;
    let middle = &sorted[cut..sorted.len() - cut];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// An estimate with the interval that holds the truth in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Estimate {
    pub(crate) point: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// Returns the trimmed mean of independent samples; the interval by resampling them, in the same order in every run.
    pub(crate) fn of(samples: &[f64]) -> Self {
        const RESAMPLES: usize = 4000;
        let mut state = 0x6e65_6172_u64;
        let mut resample = vec![0.0; samples.len()];
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                for slot in &mut resample {
                    *slot = samples[(next(&mut state) % samples.len() as u64) as usize];
                }
                trimmed_mean(&resample)
            })
            .collect();
        means.sort_by(f64::total_cmp);
        Self {
            point: trimmed_mean(samples),
            low: quantile(&means, 0.025),
            high: quantile(&means, 0.975),
        }
    }

    /// Returns half the length of the interval.
    pub(crate) fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Converts a logarithm of a ratio to the change in per cent.
    pub(crate) fn log_to_percent(self) -> Self {
        let percent = |log: f64| 100.0 * log.exp_m1();
        Self { point: percent(self.point), low: percent(self.low), high: percent(self.high) }
    }
}

/// Returns the next number of `SplitMix64`.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let sorted: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(quantile(&sorted, 0.5), 500.0);
        assert_eq!(quantile(&sorted, 0.999), 999.0);
        assert_eq!(quantile(&sorted, 1.0), 1000.0);
        assert_eq!(quantile(&[7.0], 0.0), 7.0);
    }

    #[test]
    fn middles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(trimmed_mean(&[1000.0, 1.0, 2.0, 3.0, -500.0]), 2.0);
    }

    /// About 95 of 100 intervals must contain the known mean of the samples; with 12 samples somewhat fewer.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut state = 1;
        let mut normal = || {
            // Irwin and Hall: twelve uniform numbers, variance one.
            (0..12).map(|_| (next(&mut state) >> 11) as f64 / (1_u64 << 53) as f64).sum::<f64>()
                - 6.0
        };
        let held = (0..400)
            .filter(|_| {
                let samples: Vec<f64> = (0..12).map(|_| 3.0 + normal()).collect();
                let estimate = Estimate::of(&samples);
                (estimate.low..=estimate.high).contains(&3.0)
            })
            .count();
        assert!((340..=392).contains(&held), "{held} of 400");
    }
}
