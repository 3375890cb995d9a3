//! Growth of distances from one neighbour to the next, and walks that end once the next candidate is far enough.
//!
//! The `j`-th nearest neighbour of a vector is about `(j / i)^s` times as distant as the `i`-th: the number of vectors grows with a
//! power of the radius, the local intrinsic dimension. Insertions see their nearest neighbours, and so
//! learn `s`. A walk for the `k` nearest that keeps `ef` candidates ends, at the latest, when the next candidate is farther than
//! all of them. Around some queries that is much farther than usual in comparison with the `k`-th: the answers are set apart
//! there, and the walk may end before. This is the rule of adaptive beam search (Al-Jazzazi et al., 2025), stop beyond
//! `1 + gamma` times the distance of the `k`-th, with a factor that follows the data and `ef`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::arena::Pool;
use crate::graph::id::Row;
use crate::graph::space::Space;
use crate::order_key::OrderKey;

/// The exponent is fitted between the neighbour of rank `RANK` and the last one, which must have at least rank `RANK * TIMES`.
const RANK: usize = 10;
const TIMES: usize = 4;

/// Number of insertions after which the exponent is used.
const ENOUGH: u64 = 256;

/// Additional candidates that a walk keeps, for each candidate of `ef` beyond the wanted ones. The walk visits them only if distances
/// grow less than usual: this saves time if the answers are set apart. On real vectors (photographs, words,
/// sentences; codes of 4 bits) walks find more of the nearest at every `ef`, and need 0 to 8 % fewer distances for a
/// recall of 0.95, 4 to 16 % for 0.99.
const MORE: f32 = 0.5;

/// Distance at which an insertion's walk ends, as a share of the usual span of `ef_construction` candidates. Of the candidates beyond,
/// almost none becomes a neighbour: on photographs, words and sentences recall at an `ef` does not change (within 0.001) with 0.6. It
/// falls by 0.001 on sentences with 0.4, and on all three if `ef_construction` itself shrinks to 0.6 of its value. If vectors
/// crowd, recall rises, because links then reach beyond the crowd.
const ENOUGH_TO_LINK: f32 = 0.6;

/// Largest exponent that is a property of vectors.
const MOST: f32 = 16.0;

/// Below this exponent all vectors are about equally distant, as copies of a few vectors or whole numbers are. The distance of the
/// `k`-th then does not bound the answers: the errors of codes exceed the growth of distances.
const LEAST: f32 = 1.0 / 256.0;

/// Units of a sum of exponents.
const UNIT: f64 = 65536.0;

/// The exponent `s`, a mean over insertions.
#[derive(Debug, Default)]
pub(in crate::graph) struct Spread {
    sum: AtomicU64,
    count: AtomicU64,
}

impl Spread {
    /// Learns from the nearest neighbours of a vector.
    pub(in crate::graph) fn learn<S: Space>(&self, space: S, pool: &Pool<Row>) {
        let last = pool.len().saturating_sub(1);
        if last < RANK * TIMES {
            return;
        }
        let (Some(near), Some(far)) = (pool.key_at(RANK - 1), pool.key_at(last)) else { return };
        let growth = f64::from(space.distance(far)) / f64::from(space.distance(near));
        let exponent = growth.ln() / ((last + 1) as f64 / RANK as f64).ln();
        // Vectors on one spot and distances that may be negative give no exponent.
        if exponent.is_finite() && (0.0..=f64::from(MOST)).contains(&exponent) {
            self.sum.fetch_add((exponent * UNIT) as u64, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Creates a spread from its [parts](Self::parts). Those of a file may be any numbers.
    fn of((sum, count): (u64, u64)) -> Self {
        Self { sum: AtomicU64::new(sum), count: AtomicU64::new(count) }
    }

    /// Returns a sum and a count, to be kept in a file.
    pub(super) fn parts(&self) -> (u64, u64) {
        (self.sum.load(Ordering::Relaxed), self.count.load(Ordering::Relaxed))
    }

    /// Adds the exponents that `other` learned.
    pub(in crate::graph) fn absorb(&self, other: &Self) {
        let (sum, count) = other.parts();
        self.sum.fetch_add(sum, Ordering::Relaxed);
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    /// Forgets all exponents: the space gives other distances from now on.
    fn forget(&self) {
        self.sum.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    /// Returns the exponent, once it is known, if distances grow.
    pub(in crate::graph) fn exponent(&self) -> Option<f32> {
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.sum.load(Ordering::Relaxed);
        let exponent = (sum as f64 / UNIT / count as f64) as f32;
        (count >= ENOUGH && (LEAST..=MOST).contains(&exponent)).then_some(exponent)
    }
}

/// The distances by which insertions choose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Those of vectors, which never change.
    Vectors,
    /// Those of codes, which are other ones from now on.
    Codes,
}

/// The exponents of both measures. Codes may choose rows for a while, and vectors again: these have the exponent that they had.
#[derive(Debug, Default)]
pub(in crate::graph) struct Spreads {
    vectors: Spread,
    codes: Spread,
    is_by_codes: AtomicBool,
}

impl Spreads {
    /// Creates the spreads of a graph from a file, from the [parts](Spread::parts) of one.
    pub(super) fn of(parts: (u64, u64)) -> Self {
        Self { vectors: Spread::of(parts), ..Self::default() }
    }

    /// Returns the spread by the present measure.
    #[inline]
    pub(in crate::graph) fn present(&self) -> &Spread {
        if self.is_by_codes.load(Ordering::Relaxed) { &self.codes } else { &self.vectors }
    }

    /// Changes the measure.
    pub(super) fn change(&self, measure: Measure) {
        self.codes.forget();
        self.is_by_codes.store(measure == Measure::Codes, Ordering::Relaxed);
    }
}

/// The condition under which a walk ends although candidates are left.
#[derive(Debug, Clone, Copy)]
pub(in crate::graph) struct Halt {
    /// Rank, counted from zero, of the candidate whose distance bounds the walk.
    rank: usize,
    /// The walk ends at candidates farther than `stretch` times the distance at `rank`.
    stretch: f32,
    /// The key at `rank` when it was last read, and the distance at which the walk ends for it.
    key: OrderKey,
    reach: f32,
    /// A key that is known to be within `reach`.
    within: OrderKey,
}

impl Default for Halt {
    fn default() -> Self {
        Self::NEVER
    }
}

impl Halt {
    /// Ends a walk at its last candidate only.
    pub(in crate::graph) const NEVER: Self = Self {
        rank: usize::MAX,
        stretch: f32::INFINITY,
        key: OrderKey::MAX,
        reach: f32::INFINITY,
        within: OrderKey::MIN,
    };

    /// Returns the end of an insertion's walk with `ef`, which chooses `m` neighbours among its candidates.
    pub(in crate::graph) fn of_insertion(m: usize, ef: usize, exponent: Option<f32>) -> Self {
        let rank = m.max(RANK);
        let span = ef as f32 * ENOUGH_TO_LINK;
        let Some(exponent) = exponent.filter(|_| span >= 2.0 * rank as f32) else {
            return Self::NEVER;
        };
        Self { rank: rank - 1, stretch: (span / rank as f32).powf(exponent), ..Self::NEVER }
    }

    /// Returns the number of candidates to keep for `k` answers of a walk with `ef` candidates, and the end of the walk. If distances
    /// grow as usual, the walk ends there anyway.
    pub(in crate::graph) fn of_search(k: usize, ef: usize, exponent: Option<f32>) -> (usize, Self) {
        // The distances of the first few vary too much.
        let rank = k.max(RANK);
        let Some(exponent) = exponent.filter(|_| ef / 2 >= rank) else { return (ef, Self::NEVER) };
        let kept = ef.saturating_add(((ef - k) as f32 * MORE) as usize);
        let stretch = (ef as f32 / rank as f32).powf(exponent);
        (kept, Self { rank: rank - 1, stretch, ..Self::NEVER })
    }

    /// Returns whether a walk with these candidates may end.
    #[inline(always)]
    pub(in crate::graph) fn is_far_enough<S: Space>(&mut self, space: S, pool: &Pool<Row>) -> bool {
        let (Some(key), Some(next)) = (pool.key_at(self.rank), pool.peek()) else { return false };
        if key != self.key {
            self.key = key;
            self.reach = space.distance(key) * self.stretch;
            self.within = key;
        }
        if next <= self.within {
            return false;
        }
        self.within = next;
        space.distance(next) > self.reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_their_exponent_again_after_codes() {
        let spreads = Spreads::of(((2.0 * UNIT) as u64 * ENOUGH, ENOUGH));
        assert_eq!(spreads.present().exponent(), Some(2.0));
        spreads.change(Measure::Codes);
        assert_eq!(spreads.present().exponent(), None);
        spreads.present().absorb(&Spread::of(((3.0 * UNIT) as u64 * ENOUGH, ENOUGH)));
        assert_eq!(spreads.present().exponent(), Some(3.0));
        spreads.change(Measure::Codes);
        assert_eq!(spreads.present().exponent(), None);
        spreads.change(Measure::Vectors);
        assert_eq!(spreads.present().exponent(), Some(2.0));
    }

    #[test]
    fn where_all_are_as_far_nothing_is_learned_of_when_to_end() {
        let of = |exponent: f32| Spread::of(((f64::from(exponent) * UNIT) as u64 * ENOUGH, ENOUGH));
        for none in [0.0, 0.5 * LEAST] {
            assert_eq!(of(none).exponent(), None);
        }
        // The exponent of random vectors of a thousand components.
        let (kept, halt) = Halt::of_search(10, 64, of(0.0147).exponent());
        assert!(kept == 91 && (1.02..1.03).contains(&halt.stretch), "{kept} {halt:?}");
    }
}
