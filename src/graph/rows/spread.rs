//! How distances grow from one neighbour to the next, and walks that end when they have come far enough.
//!
//! Around a vector the `j`-th nearest is about `(j / i)^s` times as far as the `i`-th: the number of vectors grows with a
//! power of the radius, the local intrinsic dimension. Insertions see their nearest neighbours, and so
//! learn `s`. A walk for the `k` nearest that keeps `ef` candidates ends, at the latest, when the next one is farther than
//! all of them. Around some queries that is much farther than usual in comparison with the `k`-th: there the answers stand
//! out, and the walk may end before. This is the rule of adaptive beam search (Al-Jazzazi et al., 2025), stop beyond
//! `1 + gamma` times the distance of the `k`-th, with a factor that follows the data and `ef`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::Pool;
use crate::graph::space::Space;

/// Neighbours whose distances are compared: of this rank, and of the last one, if it has so many times the rank.
const RANK: usize = 10;
const TIMES: usize = 4;

/// Insertions that must have been seen.
const ENOUGH: u64 = 256;

/// How many more candidates a walk keeps, for each of `ef` beyond the wanted ones. It goes on to them only where distances
/// grow less than usual: time that is saved where the answers stand out. On real vectors (photographs, words,
/// sentences; codes of 4 bits) more of the nearest are found at every `ef`, and as many for 0 to 8 % fewer distances at a
/// recall of 0.95, 4 to 16 % at 0.99.
const MORE: f32 = 0.5;

/// How far an insertion walks, as a share of what `ef_construction` candidates usually span. Of those beyond, almost none
/// becomes a neighbour: on photographs, words and sentences recall at an `ef` stays where it is (within 0.001) with 0.6, and
/// falls by 0.001 on sentences with 0.4, as it does on all when `ef_construction` itself is 0.6 of what it was. Where vectors
/// crowd, it rises, as links then go to more than the crowd.
const ENOUGH_TO_LINK: f32 = 0.6;

/// Exponents beyond it are no property of vectors.
const MOST: f32 = 16.0;

/// Below this exponent all vectors are about equally far, as copies of a few vectors or whole numbers are. The distance of the
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
    pub(in crate::graph) fn learn<S: Space>(&self, space: S, pool: &Pool) {
        let last = pool.len().saturating_sub(1);
        if last < RANK * TIMES {
            return;
        }
        let (Some(near), Some(far)) = (pool.key_at(RANK - 1), pool.key_at(last)) else { return };
        let growth = f64::from(space.distance(far)) / f64::from(space.distance(near));
        let exponent = growth.ln() / ((last + 1) as f64 / RANK as f64).ln();
        // Neither vectors on one spot nor distances that may be negative tell anything.
        if exponent.is_finite() && (0.0..=f64::from(MOST)).contains(&exponent) {
            self.sum.fetch_add((exponent * UNIT) as u64, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One that has these [parts](Self::parts). From a file, they may be any numbers.
    pub(super) fn of((sum, count): (u64, u64)) -> Self {
        Self { sum: AtomicU64::new(sum), count: AtomicU64::new(count) }
    }

    /// A sum and a count, to be kept in a file.
    pub(super) fn parts(&self) -> (u64, u64) {
        (self.sum.load(Ordering::Relaxed), self.count.load(Ordering::Relaxed))
    }

    /// Learns what another has.
    pub(in crate::graph) fn absorb(&self, other: &Self) {
        let (sum, count) = other.parts();
        self.sum.fetch_add(sum, Ordering::Relaxed);
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    /// Forgets what was learned: from now on other distances are seen.
    pub(super) fn forget(&self) {
        self.sum.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    /// The exponent, once it is known, where distances grow.
    pub(in crate::graph) fn exponent(&self) -> Option<f32> {
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.sum.load(Ordering::Relaxed);
        let exponent = (sum as f64 / UNIT / count as f64) as f32;
        (count >= ENOUGH && (LEAST..=MOST).contains(&exponent)).then_some(exponent)
    }
}

/// When a walk may end although candidates are left.
#[derive(Debug, Clone, Copy)]
pub(in crate::graph) struct Halt {
    /// The rank, counted from zero, from which on it counts how much farther candidates are.
    rank: usize,
    /// Candidates so many times as far as it need not be looked at.
    stretch: f32,
    /// Its key when it was last looked at, and how far that makes the walk go.
    key: u32,
    reach: f32,
    /// A key that is known to be within.
    within: u32,
}

impl Default for Halt {
    fn default() -> Self {
        Self::NEVER
    }
}

impl Halt {
    /// Not before the last candidate.
    pub(in crate::graph) const NEVER: Self = Self {
        rank: usize::MAX,
        stretch: f32::INFINITY,
        key: u32::MAX,
        reach: f32::INFINITY,
        within: 0,
    };

    /// For an insertion that chooses `m` neighbours among the candidates of a walk with `ef`: when to end.
    pub(in crate::graph) fn of_insertion(m: usize, ef: usize, exponent: Option<f32>) -> Self {
        let rank = m.max(RANK);
        let span = ef as f32 * ENOUGH_TO_LINK;
        let Some(exponent) = exponent.filter(|_| span >= 2.0 * rank as f32) else {
            return Self::NEVER;
        };
        Self { rank: rank - 1, stretch: (span / rank as f32).powf(exponent), ..Self::NEVER }
    }

    /// For `k` answers of a walk with `ef` candidates: how many to keep, and when to end. If distances grow as usual, that
    /// is where the walk ends anyway.
    pub(in crate::graph) fn of_search(k: usize, ef: usize, exponent: Option<f32>) -> (usize, Self) {
        // How far the first few are says little.
        let rank = k.max(RANK);
        let Some(exponent) = exponent.filter(|_| ef / 2 >= rank) else { return (ef, Self::NEVER) };
        let kept = ef.saturating_add(((ef - k) as f32 * MORE) as usize);
        let stretch = (ef as f32 / rank as f32).powf(exponent);
        (kept, Self { rank: rank - 1, stretch, ..Self::NEVER })
    }

    /// Whether a walk with these candidates may end.
    #[inline(always)]
    pub(in crate::graph) fn is_far_enough<S: Space>(&mut self, space: S, pool: &Pool) -> bool {
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
    fn where_all_are_as_far_nothing_is_learned_of_when_to_end() {
        let of = |exponent: f32| Spread::of(((f64::from(exponent) * UNIT) as u64 * ENOUGH, ENOUGH));
        for none in [0.0, 0.5 * LEAST] {
            assert_eq!(of(none).exponent(), None);
        }
        // As random vectors of a thousand components have it.
        let (kept, halt) = Halt::of_search(10, 64, of(0.0147).exponent());
        assert!(kept == 91 && (1.02..1.03).contains(&halt.stretch), "{kept} {halt:?}");
    }
}
