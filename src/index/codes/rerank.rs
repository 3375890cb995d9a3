//! Measuring the head of a walk's candidates again by the vectors themselves, or by finer codes.

use super::representation::Representation;
use crate::arena::Slot;
use crate::index::query::budget::Timer;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Minimum number of candidates beyond those wanted that may be measured again.
const LEAST: usize = 24;

/// Maximum number of candidates that are measured before the clock is read.
const PART: usize = 64;

/// Candidates beyond those wanted that are measured in any case: errors are learned from the first.
const SURE: usize = 2;

/// Candidates that are measured between two checks for the end; a fourth of those wanted if that is more.
const STEP: usize = 4;

/// Maximum number of candidates that buffers have room for in advance.
const ROOM: usize = 1024;

/// Candidates whose vectors are prefetched while others are measured: vectors are long, and memory is slow.
const AHEAD: usize = 8;

/// With fine codes, reranking ends after `VAIN` times the rank of the last candidate that is among the answers: many are measured
/// only if codes do not separate near vectors.
const VAIN: usize = 4;

/// Errors of codes beyond this share of the distance of the last answer mean that vectors around the query look alike. On real
/// vectors (photographs, words, sentences) the errors of 4 bits are .03 to .06 of it, and .05 to .17 for one query in a
/// hundred; those of 1 bit, whose codes are coarse, are .07 to .24, and .11 to .76.
const BLURRED: f32 = 0.25;
const BLURRED_COARSE: f32 = 0.5;

/// Answers that are late by their codes, and answers expected beyond the end of a walk, as a share of those wanted: more of
/// either mean that codes miss the nearest. On words, of 10 answers with `ef` 64, a share of .01 is expected there
/// for one query in fifty with 1 bit, and next to none with more; with `ef` 16 it is .13.
const LATE: f32 = 0.25;
const MISSED: f32 = 0.015;
const MISSED_OF_FEW: f32 = 0.2;

/// Ratio of candidates to answers from which on candidates are not few.
const WIDE: usize = 4;

/// Standard deviations of the error by which a candidate's distance may be less than expected.
const DEVIATIONS: f32 = 3.5;

/// The nearest candidates by their codes, then by their vectors.
#[derive(Debug, Default)]
pub(in crate::index) struct Head {
    slots: Vec<Slot>,
    /// Distances by codes.
    estimates: Vec<f32>,
    orders: Vec<OrderKey>,
    /// Whether codes did not separate near vectors, because errors are of the size of distances.
    pub(in crate::index) is_blurred: bool,
    /// Order key and slot, the nearest first.
    pub(in crate::index) sorted: Vec<(OrderKey, Slot)>,
    errors: Errors,
    /// The distance of the last answer.
    pub(in crate::index) kth: f32,
}

/// The rows by which candidates are measured again, and the query for them.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Exact<'a> {
    pub(in crate::index) form: Representation<'a>,
    pub(in crate::index) query: &'a [Block],
}

/// Ends of walks that are tried, for each deviation of the errors, and in all.
const STEPS: f32 = 4.0;
const MOST_STEPS: u32 = 20;

/// Reach of a walk, by the codes.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Reach {
    /// Candidates that count.
    pub(in crate::index) len: usize,
    /// Distances of the candidate in the middle, and of the last.
    pub(in crate::index) middle: f32,
    pub(in crate::index) last: f32,
    /// Whether distances by these codes are right on average.
    pub(in crate::index) is_unbiased: bool,
    /// Maximum number of answers expected beyond the last candidate.
    pub(in crate::index) allowed: f32,
}

impl Reach {
    /// Returns the maximum number of answers expected beyond the end, for a search of `k` answers, with codes whose candidates are
    /// worth `asked` by the vectors. Few candidates prove little: with perfect codes, too, the last answers are at the end.
    pub(in crate::index) fn allowed(k: usize, len: usize, asked: usize) -> f32 {
        let missed = if asked >= WIDE * k { MISSED } else { MISSED_OF_FEW };
        if len >= 2 * k { missed * k as f32 } else { f32::INFINITY }
    }
}

impl Head {
    /// Returns the number of candidates among which the nearest `k` are, if codes separate near vectors.
    pub(in crate::index) fn enough_for(k: usize) -> usize {
        k.saturating_mul(2).max(k.saturating_add(LEAST))
    }

    /// Measures the candidates, given with their distances by codes, the nearest first, by the rows: their vectors or finer codes.
    /// Measures all that the time allows, but some in any case. Ends when none of the others is likely to be
    /// among the nearest `k`, by their errors, and if codes are fine, by the ranks of the answers: [`VAIN`] times the
    /// rank of the last of the nearest `k` is enough, if it is more than [`Self::enough_for`].
    pub(in crate::index) fn measure(
        &mut self,
        Exact { form, query }: Exact<'_>,
        candidates: &mut dyn Iterator<Item = (f32, Slot)>,
        k: usize,
        codes_are_fine: bool,
        timer: &mut Timer<'_>,
    ) {
        let Self { slots, estimates, orders, sorted, is_blurred, errors, kth: last } = self;
        let rows = form.rows.view();
        slots.clear();
        estimates.clear();
        orders.clear();
        sorted.clear();
        // A search measures as many as its errors ask for. With room for all, a later one allocates nothing.
        let room = candidates.size_hint().1.map_or(0, |most| most.min(ROOM));
        slots.reserve(room);
        estimates.reserve(room);
        orders.reserve(room);
        sorted.reserve(room);
        let mut candidates = candidates.filter(|&(_, slot)| rows.has(slot));
        let mut take = |most: usize, slots: &mut Vec<Slot>, estimates: &mut Vec<f32>| {
            for (estimate, slot) in candidates.by_ref().take(most - slots.len()) {
                slots.push(slot);
                estimates.push(estimate);
            }
        };
        let all = if codes_are_fine && k > 0 { Self::enough_for(k) } else { usize::MAX };
        take(all, slots, estimates);
        let step = STEP.max(k / 4);
        *errors = Errors::default();
        let mut asked = 0;
        // Candidates that are certain to be measured. No others are prefetched: an unneeded vector takes as long to load.
        let sure = slots.len().min(k.saturating_add(SURE));
        let mut planned = if k == 0 { slots.len() } else { sure };
        let mut judge_at = k;
        // Candidates at the last judgement, and the rank of the last of the nearest `k` among them.
        let (mut judged, mut last_answer) = (0, 0);
        while sorted.len() < planned {
            let done = sorted.len();
            let end = planned.min(done + step.min(PART));
            let ahead = planned.min(end + AHEAD).max(asked);
            slots[asked..ahead].iter().for_each(|&slot| rows.prefetch(slot));
            asked = ahead;
            orders.resize(end, OrderKey::MIN);
            form.engine.orders(rows, query, &slots[done..end], &mut orders[done..end]);
            for at in done..end {
                errors.learn(form.distance(orders[at]) - estimates[at]);
                sorted.push((orders[at], slots[at]));
            }
            if timer.is_late(end) {
                break;
            }
            if k > 0 && end >= k && (end >= judge_at || end == planned) {
                judge_at = end + step;
                let nearest = bring_nearest(sorted, judged, k);
                let is_answer = |&order: &OrderKey| order <= nearest;
                // No candidate behind the last answer becomes one: the bound of the nearest only shrinks.
                let fresh = orders[judged..].iter().rposition(is_answer);
                let before = || orders[..=last_answer].iter().rposition(is_answer);
                last_answer = fresh.map(|at| judged + at).or_else(before).unwrap_or(0);
                judged = end;
                let kth = form.distance(nearest);
                let may_be_nearer =
                    |&estimate: &f32| errors.least(estimate).total_cmp(&kth).is_le();
                let mut likely = estimates.partition_point(may_be_nearer);
                if likely == estimates.len() && codes_are_fine {
                    take(slots.len().max(VAIN * (last_answer + 1)), slots, estimates);
                    likely = estimates.partition_point(may_be_nearer);
                }
                planned = sure.max(likely);
            }
        }
        sorted.sort_unstable();
        let kth = k.checked_sub(1).and_then(|last| sorted.get(last));
        *last = kth.map_or(f32::NAN, |&(order, _)| form.distance(order));
        let allowed = if codes_are_fine { BLURRED } else { BLURRED_COARSE };
        *is_blurred = errors.exceed(*last * allowed);
    }

    /// Returns the order key of the distance of the `k`th of the candidates that were [measured](Self::measure).
    pub(in crate::index) fn order_of(&self, k: usize) -> Option<OrderKey> {
        self.sorted.get(k.wrapping_sub(1)).map(|&(order, _)| order)
    }

    /// Returns the standard deviation of the errors of the codes' distances to the candidates that were measured.
    pub(in crate::index) fn deviation(&self) -> f32 {
        self.errors.deviation()
    }

    /// Returns whether a candidate with this distance by the codes may be nearer than the last of the nearest that were
    /// [measured](Self::measure).
    pub(in crate::index) fn may_be_nearer(&self, estimate: f32) -> bool {
        !self.errors.least(estimate).total_cmp(&self.kth).is_gt()
    }

    /// Returns whether others of the nearest `k`, of which `kth` is the distance of the last, are likely to be beyond the end of a walk.
    pub(in crate::index) fn is_short(&self, k: usize, kth: f32, reach: Reach) -> bool {
        let Reach { len, last, is_unbiased, allowed, .. } = reach;
        // Codes in order put all answers before half of the other candidates. A later answer might as well be beyond the end.
        let nearest = self.order_of(k).unwrap_or(OrderKey::MIN);
        let late = self
            .orders
            .iter()
            .skip(usize::midpoint(k, len))
            .filter(|&&order| order < nearest)
            .count();
        if late as f32 > LATE * k as f32 {
            return true;
        }
        let is_wide = allowed <= MISSED * k as f32;
        is_wide && is_unbiased && last < kth || self.missed(kth, reach, last) > allowed
    }

    /// Returns the least distance by the codes, of some beyond the last, up to which a walk would have to go so that it is not
    /// [short](Self::is_short).
    pub(in crate::index) fn reach_for(&self, kth: f32, reach: Reach) -> f32 {
        let step = self.errors.deviation() / STEPS;
        let mut tried = (0..MOST_STEPS).map(|at| reach.last + step * at as f32);
        let is_enough = |&end: &f32| end >= kth && self.missed(kth, reach, end) <= reach.allowed;
        tried.find(is_enough).unwrap_or(f32::INFINITY)
    }

    /// Returns the number of the nearest that are expected beyond the distance `end` by the codes, because codes put them there.
    fn missed(&self, kth: f32, Reach { len, middle, last, .. }: Reach, end: f32) -> f32 {
        let deviation = self.errors.deviation();
        // In deviations: the margin of the last answer, and the density of candidates at the end.
        let margin = (end + self.errors.mean() - kth) / deviation;
        let density = (len / 2) as f32 / (last - middle) * deviation;
        density * beyond(margin)
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        let words = self.slots.capacity() + self.estimates.capacity() + self.orders.capacity();
        words * 4 + self.sorted.capacity() * 8
    }
}

/// Brings the nearest `k` to the front. If `judged` is not 0, they are in front of the first `judged`. Returns the order key of the last of
/// them.
fn bring_nearest(sorted: &mut [(OrderKey, Slot)], judged: usize, k: usize) -> OrderKey {
    let mut front = sorted.len();
    if judged >= k {
        let last = sorted[k - 1];
        front = k;
        for at in judged..sorted.len() {
            if sorted[at] < last {
                sorted.swap(front, at);
                front += 1;
            }
        }
        if front == k {
            return last.0;
        }
    }
    sorted[..front].select_nth_unstable(k - 1).1.0
}

/// Differences between distances and their estimates by codes.
#[derive(Debug, Default, Clone, Copy)]
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

    /// Returns whether the root mean square of the errors is larger than a positive distance.
    fn exceed(&self, distance: f32) -> bool {
        distance > 0.0 && self.squares > self.count * distance * distance
    }

    /// Returns the least that a distance is likely to be.
    fn least(&self, estimate: f32) -> f32 {
        estimate + self.mean() - DEVIATIONS * self.deviation()
    }

    fn mean(&self) -> f32 {
        self.sum / self.count
    }

    fn deviation(&self) -> f32 {
        let mean = self.mean();
        (self.squares / self.count - mean * mean).max(0.0).sqrt()
    }
}

/// Returns the mean excess of a normal number, of deviation 1, over `margin`.
fn beyond(margin: f32) -> f32 {
    let density = (-0.5 * margin * margin).exp() * 0.398_942_3;
    // The share of numbers above it (Abramowitz and Stegun, 26.2.16).
    let t = 1.0 / (1.0 + 0.332_67 * margin.abs());
    let above = density * t * (0.436_183_6 + t * (-0.120_167_6 + t * 0.937_298));
    let above = if margin < 0.0 { 1.0 - above } else { above };
    density - margin * above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_stay_in_front_as_candidates_come() {
        let mut state = 1_u32;
        for k in [1, 2, 7, 40] {
            let mut sorted: Vec<(OrderKey, Slot)> = Vec::new();
            let mut judged = 0;
            while sorted.len() < 200 {
                for _ in 0..k.max(5) {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let slot = Slot::new(sorted.len() as u32);
                    sorted.push((OrderKey::from_bits(state >> 26), slot));
                }
                let last = bring_nearest(&mut sorted, judged, k);
                judged = sorted.len();
                let mut expected = sorted.clone();
                expected.sort_unstable();
                let mut front = sorted[..k].to_vec();
                front.sort_unstable();
                assert_eq!(front, expected[..k]);
                assert_eq!((last, sorted[k - 1]), (expected[k - 1].0, expected[k - 1]));
            }
        }
    }

    #[test]
    fn what_is_beyond_a_margin_is_that_of_a_normal_number() {
        for margin in [-3.0_f32, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0] {
            let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            let steps = (0..12_000).map(|i| (f64::from(i) + 0.5) / 1000.0);
            let sum: f64 = steps.map(|x| x * density(f64::from(margin) + x) / 1000.0).sum();
            assert!((f64::from(beyond(margin)) - sum).abs() < 5e-5, "{margin}: {sum}");
        }
        // Without errors no answer is missed.
        assert!(beyond(f32::INFINITY).is_nan());
    }
}
