//! Measuring the head of a walk's finds again by the vectors themselves.

use super::engine::Engine;
use super::limit::Timer;
use crate::arena::View;
use crate::vector::Block;

/// Candidates that may be measured again beyond those wanted, at least.
const LEAST: usize = 24;

/// Candidates that are measured without a look at the clock, at most.
const PART: usize = 64;

/// Candidates beyond those wanted that are measured in any case: errors are learned from the first.
const SURE: usize = 2;

/// Candidates that are measured between two looks at whether it is enough; a fourth of those wanted if that is more.
const STEP: usize = 4;

/// Candidates that are on their way to the CPU while others are measured: vectors are long, and come from far.
const AHEAD: usize = 8;

/// Standard deviations of the error by which a candidate's distance may be less than expected.
const DEVIATIONS: f32 = 3.5;

/// The nearest candidates by their codes, then by their vectors.
#[derive(Debug, Default)]
pub(super) struct Head {
    slots: Vec<u32>,
    /// Distances by codes.
    estimates: Vec<f32>,
    keys: Vec<u32>,
    /// Key and slot, the nearest first.
    pub(super) sorted: Vec<(u32, u32)>,
}

impl Head {
    /// How many of the candidates to measure for `k` answers, at most: all, if it takes so many, where codes are coarse.
    pub(super) fn depth(k: usize, codes_are_fine: bool) -> usize {
        if codes_are_fine { k.saturating_mul(2).max(k.saturating_add(LEAST)) } else { usize::MAX }
    }

    /// Measures the candidates, which come with their distances by codes, the nearest first, by their vectors; as many
    /// as there is time for, but some in any case. Ends when none of the others is likely to be
    /// among the nearest `k`.
    pub(super) fn measure(
        &mut self,
        engine: &dyn Engine,
        vectors: View<'_, Block>,
        query: &[Block],
        candidates: impl Iterator<Item = (f32, u32)>,
        k: usize,
        timer: &mut Timer<'_>,
    ) {
        let Self { slots, estimates, keys, sorted } = self;
        slots.clear();
        estimates.clear();
        for (estimate, slot) in candidates.filter(|&(_, slot)| slot < vectors.len()) {
            slots.push(slot);
            estimates.push(estimate);
        }
        keys.resize(slots.len(), 0);
        sorted.clear();
        let step = STEP.max(k / 4);
        let mut errors = Errors::default();
        let mut asked = 0;
        // Those that are certain to be measured. No more are asked for: what is not needed takes as long to come.
        let sure = slots.len().min(k.saturating_add(SURE));
        let mut planned = if k == 0 { slots.len() } else { sure };
        let mut judge_at = k;
        while sorted.len() < planned {
            let done = sorted.len();
            let end = planned.min(done + step.min(PART));
            let ahead = planned.min(end + AHEAD).max(asked);
            slots[asked..ahead].iter().for_each(|&slot| vectors.prefetch(slot));
            asked = ahead;
            engine.keys(vectors, query, &slots[done..end], &mut keys[done..end]);
            for at in done..end {
                errors.learn(engine.distance(keys[at]) - estimates[at]);
                sorted.push((keys[at], slots[at]));
            }
            if timer.is_late(end) {
                break;
            }
            if k > 0 && end >= k && (end >= judge_at || end == planned) {
                judge_at = end + step;
                let (_, &mut (kth, _), _) = sorted.select_nth_unstable(k - 1);
                let kth = engine.distance(kth);
                let may_be_nearer =
                    |&estimate: &f32| errors.least(estimate).total_cmp(&kth).is_le();
                planned = sure.max(estimates.partition_point(may_be_nearer));
            }
        }
        sorted.sort_unstable();
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        let words = self.slots.capacity() + self.estimates.capacity() + self.keys.capacity();
        words * 4 + self.sorted.capacity() * 8
    }
}

/// By how much distances differ from what codes made of them.
#[derive(Debug, Default)]
struct Errors {
    count: f32,
    sum: f32,
    squares: f32,
}

impl Errors {
    fn learn(&mut self, error: f32) {
        self.count += 1.0;
        self.sum += error;
        self.squares += error * error;
    }

    /// The least that a distance is likely to be.
    fn least(&self, estimate: f32) -> f32 {
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        estimate + mean - DEVIATIONS * variance.sqrt()
    }
}
