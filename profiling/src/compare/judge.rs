//! Judges differences.

use serde::{Deserialize, Serialize};

use super::facts::Fact;
use super::timing::Timing;

/// A loss of more than this many per cent is a failure.
const FAIL_PERCENT: f64 = 10.0;
/// A loss of about 3 % is reported: the measured value of a true 3 % varies around it, so the limit is below.
const WARN_PERCENT: f64 = 2.0;
/// The interval must exclude differences that two runs of one build show.
const CERTAIN_PERCENT: f64 = 0.8;
/// If a control is off further, or an interval is wider, the machine is too noisy to judge.
const NOISY_PERCENT: f64 = 3.0;
const WIDE_PERCENT: f64 = 5.0;

/// The worst of all verdicts is the verdict of the comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Certainly better.
    Better,
    /// Without a difference that matters.
    #[default]
    Same,
    /// The machine was too noisy to judge.
    Noisy,
    /// Worse; a person should decide.
    Worse,
    /// Much worse, or a quantity changed that must not: the change should be rejected.
    Fail,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::Noisy => "noisy",
            Self::Worse => "worse",
            Self::Fail => "FAIL",
        }
    }
}

pub(super) fn of_timing(timing: &Timing) -> Verdict {
    let (change, control) = (timing.change, timing.control);
    let strays = control.point.abs() >= NOISY_PERCENT && (control.low > 0.0 || control.high < 0.0);
    if strays || change.half_width().max(control.half_width()) > WIDE_PERCENT {
        return Verdict::Noisy;
    }
    if change.point >= FAIL_PERCENT && change.low > CERTAIN_PERCENT {
        Verdict::Fail
    } else if change.point >= WARN_PERCENT && change.low > CERTAIN_PERCENT {
        Verdict::Worse
    } else if change.point <= -WARN_PERCENT && change.high < -CERTAIN_PERCENT {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

/// The limit of a quantity's change.
struct Limit {
    /// Whether a greater value is better.
    rises: bool,
    /// Allowed loss, as a share of the base and in the quantity's own unit: the larger of both.
    share: f64,
    absolute: f64,
}

fn limit(quantity: &str) -> Limit {
    let (rises, share, absolute) = match quantity {
        "recall" => (true, 0.0, 0.002),
        "allocations per search" => (false, 0.0, 0.0),
        // A hash table grows a little earlier or later, depending on its hashes.
        "allocations per insertion" | "allocations per turnover" => (false, 0.01, 0.1),
        "instructions" => (false, 0.03, 0.0),
        // Distances, hops, bytes.
        _ => (false, 0.01, 0.0),
    };
    Limit { rises, share, absolute }
}

pub(super) fn of_fact(fact: &Fact) -> Verdict {
    let Limit { rises, share, absolute } = limit(&fact.quantity);
    let gain = if rises { fact.new - fact.base } else { fact.base - fact.new };
    let allowed = (share * fact.base.abs()).max(absolute);
    // Rounding of the last digit is not a loss.
    let slack = 1e-9 * fact.base.abs();
    if gain.is_nan() || gain < -(allowed + slack) {
        Verdict::Fail
    } else if gain > allowed + slack {
        Verdict::Better
    } else {
        Verdict::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Estimate;

    fn timing(change: [f64; 3], control: [f64; 3]) -> Verdict {
        let estimate = |[low, point, high]: [f64; 3]| Estimate { low, point, high };
        let (change, control) = (estimate(change), estimate(control));
        let workload = String::new();
        of_timing(&Timing { workload, micros: [1.0; 2], change, control, trials: 12 })
    }

    #[test]
    fn times() {
        let quiet = [-0.5, 0.1, 0.6];
        assert_eq!(timing([13.8, 15.1, 16.0], quiet), Verdict::Fail);
        assert_eq!(timing([2.1, 2.9, 3.8], quiet), Verdict::Worse);
        assert_eq!(timing([-0.4, 2.2, 4.9], quiet), Verdict::Same);
        assert_eq!(timing([-1.2, 0.3, 1.5], quiet), Verdict::Same);
        assert_eq!(timing([-4.2, -3.3, -2.5], quiet), Verdict::Better);
        assert_eq!(timing([13.8, 15.1, 16.0], [2.0, 3.5, 5.0]), Verdict::Noisy);
        assert_eq!(timing([-3.0, 4.0, 10.0], quiet), Verdict::Noisy);
    }

    #[test]
    fn quantities() {
        let of = |quantity: &str, base, new| {
            let (workload, quantity) = (String::new(), quantity.to_owned());
            of_fact(&Fact { workload, quantity, base, new })
        };
        assert_eq!(of("recall", 0.95, 0.9481), Verdict::Same);
        assert_eq!(of("recall", 0.95, 0.9479), Verdict::Fail);
        assert_eq!(of("recall", 0.95, 0.96), Verdict::Better);
        assert_eq!(of("allocations per search", 0.0, 0.002), Verdict::Fail);
        assert_eq!(of("allocations per search", 0.0, 0.0), Verdict::Same);
        assert_eq!(of("distances per search", 700.0, 706.0), Verdict::Same);
        assert_eq!(of("distances per search", 700.0, 708.0), Verdict::Fail);
        assert_eq!(of("bytes per vector", 660.0, 600.0), Verdict::Better);
        assert_eq!(of("instructions", 1e6, 1.031e6), Verdict::Fail);
        assert_eq!(of("recall", 0.9, f64::NAN), Verdict::Fail);
    }
}
