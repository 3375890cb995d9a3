//! The nearest candidates of a search.

use std::collections::BinaryHeap;

use crate::graph::Watch;
use crate::order_key::OrderKey;

/// Position and distance of a vector. Ordered by distance, then by key, so that an answer
/// does not depend on the order in which vectors were offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::index::ivf) struct Candidate {
    /// The order key of its distance.
    pub(in crate::index::ivf) order: OrderKey,
    pub(in crate::index::ivf) key: u64,
    pub(in crate::index::ivf) list: u32,
    pub(in crate::index::ivf) position: u32,
}

/// A bounded set of the nearest candidates.
#[derive(Debug, Default)]
pub(in crate::index::ivf) struct Nearest {
    heap: BinaryHeap<Candidate>,
    capacity: usize,
    /// Candidates that a filter has yet to test.
    waiting: Vec<Candidate>,
}

impl Nearest {
    /// Empties the set and bounds it to `capacity > 0` candidates.
    pub(in crate::index::ivf) fn begin(&mut self, capacity: usize) {
        debug_assert!(capacity > 0);
        self.heap.clear();
        self.waiting.clear();
        self.capacity = capacity;
    }

    /// Returns the bound: no candidate of a greater order key can enter.
    #[inline(always)]
    pub(in crate::index::ivf) fn bound(&self) -> OrderKey {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.capacity => worst.order,
            _ => OrderKey::MAX,
        }
    }

    /// Adds a candidate if it is nearer than the worst, or if the set is not full.
    pub(in crate::index::ivf) fn offer(&mut self, candidate: Candidate) {
        if self.heap.len() < self.capacity {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// Notes a candidate for [`Self::admit`].
    pub(in crate::index::ivf) fn wait(&mut self, candidate: Candidate) {
        self.waiting.push(candidate);
    }

    /// Adds the waiting candidates that `accepts` accepts, for as long as the time allows.
    pub(in crate::index::ivf) fn admit(
        &mut self,
        accepts: impl Fn(u64) -> bool,
        watch: &mut impl Watch,
    ) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for candidate in waiting.drain(..) {
            if candidate.order <= self.bound() {
                if accepts(candidate.key) {
                    self.offer(candidate);
                }
                if watch.spent(1) {
                    break;
                }
            }
        }
        self.waiting = waiting;
    }

    /// Returns the number of candidates.
    pub(in crate::index::ivf) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns the order keys of their distances, unsorted.
    pub(in crate::index::ivf) fn orders(&self) -> impl Iterator<Item = OrderKey> + '_ {
        self.heap.iter().map(|candidate| candidate.order)
    }

    /// Replaces the contents of `sorted` by the candidates, the nearest first.
    pub(in crate::index::ivf) fn take_sorted(&mut self, sorted: &mut Vec<Candidate>) {
        sorted.clear();
        sorted.extend(self.heap.drain());
        sorted.sort_unstable();
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index::ivf) fn bytes(&self) -> usize {
        (self.heap.capacity() + self.waiting.capacity()) * size_of::<Candidate>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_whatever_the_order() {
        let mut all: Vec<_> = (0..500_u32)
            .map(|i| Candidate {
                order: OrderKey::from_bits(i.wrapping_mul(2_654_435_761) >> 28),
                key: u64::from(i % 100),
                list: i,
                position: 0,
            })
            .collect();
        let mut sorted = Vec::new();
        let mut nearest = Nearest::default();
        for capacity in [1, 3, 64, 1000] {
            let mut answers = Vec::new();
            for _ in 0..2 {
                nearest.begin(capacity);
                for &candidate in &all {
                    if candidate.order <= nearest.bound() {
                        nearest.offer(candidate);
                    }
                }
                assert_eq!(nearest.len(), capacity.min(500));
                nearest.take_sorted(&mut sorted);
                answers.push(sorted.clone());
                all.reverse();
            }
            let mut expected = all.clone();
            expected.sort_unstable();
            expected.truncate(capacity);
            assert_eq!(answers, [expected.clone(), expected]);
        }
    }
}
