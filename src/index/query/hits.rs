//! Answers of searches.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Deref, Index, Range};

/// One answer: a key and the distance of its vector from the query.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hit {
    /// The key that the vector was inserted with.
    pub key: u64,
    /// The distance of the vector from the query; [`Metric`](crate::Metric) defines the unit.
    pub distance: f32,
}

/// How a search found its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SearchPlan {
    /// The search walked the graph.
    #[default]
    Walk,
    /// The search read the nearest lists of an [`Ivf`](crate::Ivf), with a filter or without.
    Probe,
    /// The search scanned every vector.
    Scan,
    /// The search scanned every vector that the filter accepts, because these are few or a walk did not find enough of
    /// them.
    FilteredScan,
    /// The search walked over all nodes and kept the accepted ones, because most are accepted.
    FilteredWalk,
    /// The search walked over accepted nodes, and through the nearest rejected ones to their neighbours.
    DirectedTwoHop,
    /// The search walked over accepted nodes, and through any rejected ones to their neighbours.
    BlindTwoHop,
}

/// Maximum number of hits without a heap allocation.
const INLINE: usize = 32;

/// The answers to one query, the nearest first; equal distances in the order of insertion,
/// in an [`Ivf`](crate::Ivf) in that of keys.
///
/// The value itself holds up to 32 hits, so a search for up to 32 allocates nothing.
#[derive(Clone)]
pub struct Hits {
    inline: [Hit; INLINE],
    len: usize,
    /// All hits, if they do not fit inline.
    heap: Vec<Hit>,
    distances: u64,
    hops: u64,
    plan: SearchPlan,
    complete: bool,
}

impl Hits {
    /// Returns no hits. Pass it to [`Search::run_into`](crate::Search::run_into), and again for the next query, to reuse
    /// its memory.
    pub const fn new() -> Self {
        let inline = [Hit { key: 0, distance: 0.0 }; INLINE];
        Self {
            inline,
            len: 0,
            heap: Vec::new(),
            distances: 0,
            hops: 0,
            plan: SearchPlan::Walk,
            complete: true,
        }
    }

    /// Returns the hits, the nearest first.
    pub fn as_slice(&self) -> &[Hit] {
        if self.heap.is_empty() { &self.inline[..self.len] } else { &self.heap }
    }

    /// Returns the keys of the hits, the nearest first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.iter().map(|hit| hit.key)
    }

    /// Returns the number of distances that the search computed.
    pub fn distances_computed(&self) -> u64 {
        self.distances
    }

    /// Returns the number of rows of the graph that the search read, 0 for a scan; for an [`Ivf`](crate::Ivf), the
    /// number of lists.
    pub fn hops(&self) -> u64 {
        self.hops
    }

    /// Returns how the search was executed. With a filter, the planner chooses by the share of accepted vectors, overall
    /// and near the query.
    pub fn plan(&self) -> SearchPlan {
        self.plan
    }

    /// Returns whether the search ran to its end: `false` if [`Search::timeout`](crate::Search::timeout) or
    /// [`Search::cancel`](crate::Search::cancel) stopped it. The hits are then the nearest of the visited vectors, and
    /// may be fewer than wanted.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub(in crate::index) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    pub(in crate::index) fn set_plan(&mut self, plan: SearchPlan) {
        self.plan = plan;
    }

    /// Sets the answer of a search that ended before it began.
    pub(in crate::index) fn set_nothing(&mut self) {
        self.heap.clear();
        (self.len, self.distances, self.hops) = (0, 0, 0);
        (self.plan, self.complete) = (SearchPlan::Walk, false);
    }

    pub(in crate::index) fn set(&mut self, hits: impl Iterator<Item = Hit>) {
        self.clear();
        hits.for_each(|hit| self.push(hit));
    }

    pub(in crate::index) fn clear(&mut self) {
        self.heap.clear();
        self.len = 0;
    }

    #[inline]
    pub(in crate::index) fn push(&mut self, hit: Hit) {
        if let Some(place) = self.inline.get_mut(self.len) {
            *place = hit;
        } else {
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.push(hit);
        }
        self.len += 1;
    }

    /// Keeps the first hit of each key. Returns whether any hit was dropped.
    pub(in crate::index) fn drop_repeated_keys(&mut self) -> bool {
        /// Maximum number of hits that are compared pairwise, without an allocation.
        const FEW: usize = 64;

        let hits = self.as_slice();
        let is_first = |at: usize| hits[..at].iter().all(|hit| hit.key != hits[at].key);
        if hits.len() <= FEW && (0..hits.len()).all(is_first) {
            return false;
        }
        let mut firsts: Vec<(u64, u64)> =
            hits.iter().enumerate().map(|(at, hit)| (hit.key, at as u64)).collect();
        firsts.sort_unstable();
        firsts.dedup_by_key(|&mut (key, _)| key);
        if firsts.len() == hits.len() {
            return false;
        }
        for (key, at) in &mut firsts {
            std::mem::swap(key, at);
        }
        firsts.sort_unstable();
        let firsts: Vec<Hit> = firsts.into_iter().map(|(at, _)| hits[at as usize]).collect();
        self.set(firsts.into_iter());
        true
    }

    pub(in crate::index) fn set_counters(&mut self, distances: u64, hops: u64) {
        (self.distances, self.hops) = (distances, hops);
    }
}

impl Default for Hits {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Hits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        self.as_slice()
    }
}

impl fmt::Debug for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl PartialEq for Hits {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<'a> IntoIterator for &'a Hits {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Hits {
    type Item = Hit;
    type IntoIter = IntoHits;

    fn into_iter(self) -> IntoHits {
        let len = self.as_slice().len();
        IntoHits { hits: self, range: 0..len }
    }
}

/// The hits of a search, one after the other. Made by `into_iter` of [`Hits`].
#[derive(Debug, Clone)]
pub struct IntoHits {
    hits: Hits,
    range: Range<usize>,
}

impl Iterator for IntoHits {
    type Item = Hit;

    fn next(&mut self) -> Option<Hit> {
        self.range.next().map(|at| self.hits[at])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for IntoHits {
    fn next_back(&mut self) -> Option<Hit> {
        self.range.next_back().map(|at| self.hits[at])
    }
}

impl ExactSizeIterator for IntoHits {}

impl FusedIterator for IntoHits {}

/// The answers to a batch of queries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchHits {
    hits: Vec<Hit>,
    /// The end of each query's hits.
    ends: Vec<usize>,
    plans: Vec<SearchPlan>,
    complete: Vec<bool>,
}

impl BatchHits {
    pub(in crate::index) fn with_capacity(queries: usize, k: usize) -> Self {
        Self {
            hits: Vec::with_capacity(queries.saturating_mul(k)),
            ends: Vec::with_capacity(queries),
            plans: Vec::with_capacity(queries),
            complete: Vec::with_capacity(queries),
        }
    }

    pub(in crate::index) fn push(&mut self, hits: &Hits) {
        self.hits.extend_from_slice(hits);
        self.ends.push(self.hits.len());
        self.plans.push(hits.plan);
        self.complete.push(hits.complete);
    }

    pub(in crate::index) fn append(&mut self, other: &Self) {
        let start = self.hits.len();
        self.hits.extend_from_slice(&other.hits);
        self.ends.extend(other.ends.iter().map(|end| start + end));
        self.plans.extend_from_slice(&other.plans);
        self.complete.extend_from_slice(&other.complete);
    }

    /// Returns the number of queries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether the batch had no queries.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the hits of query `i`, or `None` if the batch had no such query.
    pub fn get(&self, i: usize) -> Option<&[Hit]> {
        let end = *self.ends.get(i)?;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.hits[start..end])
    }

    /// Returns how the search of query `i` was executed, as [`Hits::plan`].
    pub fn plan(&self, i: usize) -> Option<SearchPlan> {
        self.plans.get(i).copied()
    }

    /// Returns whether the searches of all queries ran to their ends, as [`Hits::is_complete`].
    pub fn is_complete(&self) -> bool {
        self.complete.iter().all(|&complete| complete)
    }

    /// Returns whether the search of query `i` ran to its end, as [`Hits::is_complete`].
    pub fn completed(&self, i: usize) -> Option<bool> {
        self.complete.get(i).copied()
    }

    /// Returns the hits of each query, in the order of the queries.
    pub fn iter(&self) -> BatchIter<'_> {
        BatchIter { batch: self, range: 0..self.len() }
    }
}

impl<'a> IntoIterator for &'a BatchHits {
    type Item = &'a [Hit];
    type IntoIter = BatchIter<'a>;

    fn into_iter(self) -> BatchIter<'a> {
        self.iter()
    }
}

/// The hits of each query of a batch. Made by [`BatchHits::iter`].
#[derive(Debug, Clone)]
pub struct BatchIter<'a> {
    batch: &'a BatchHits,
    range: Range<usize>,
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = &'a [Hit];

    fn next(&mut self) -> Option<&'a [Hit]> {
        self.range.next().map(|at| &self.batch[at])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for BatchIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.range.next_back().map(|at| &self.batch[at])
    }
}

impl ExactSizeIterator for BatchIter<'_> {}

impl FusedIterator for BatchIter<'_> {}

impl IntoIterator for BatchHits {
    type Item = Vec<Hit>;
    type IntoIter = IntoBatch;

    fn into_iter(self) -> IntoBatch {
        let len = self.len();
        IntoBatch { batch: self, range: 0..len }
    }
}

/// The hits of each query of a batch, owned. Made by `into_iter` of [`BatchHits`].
#[derive(Debug, Clone)]
pub struct IntoBatch {
    batch: BatchHits,
    range: Range<usize>,
}

impl Iterator for IntoBatch {
    type Item = Vec<Hit>;

    fn next(&mut self) -> Option<Vec<Hit>> {
        self.range.next().map(|at| self.batch[at].to_vec())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for IntoBatch {}

impl FusedIterator for IntoBatch {}

impl Index<usize> for BatchHits {
    type Output = [Hit];

    /// # Panics
    ///
    /// If the batch had no query `i`.
    fn index(&self, i: usize) -> &[Hit] {
        self.get(i).expect("query number within the batch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_batches_are_iterated_borrowed_and_owned() {
        let mut batch = BatchHits::default();
        for count in [0, 3, 200] {
            let mut hits = Hits::new();
            hits.set((0..count).map(|key| Hit { key, distance: key as f32 }));
            let owned: Vec<Hit> = hits.clone().into_iter().collect();
            assert!(owned == *hits && hits.clone().into_iter().rev().eq(owned.into_iter().rev()));
            assert_eq!(hits.clone().into_iter().len(), hits.len());
            batch.push(&hits);
        }
        let lengths: Vec<usize> = (&batch).into_iter().map(<[Hit]>::len).collect();
        assert_eq!(lengths, [0, 3, 200]);
        assert!(batch.iter().rev().map(<[Hit]>::len).eq([200, 3, 0]));
        let borrowed: Vec<Vec<Hit>> = batch.iter().map(<[Hit]>::to_vec).collect();
        assert_eq!(batch.into_iter().collect::<Vec<_>>(), borrowed);
    }

    #[test]
    fn the_first_hit_of_each_key_is_left() {
        for count in [0, 1, 11, 64, 65, 1000] {
            let hit = |at: u64, key: u64| Hit { key, distance: at as f32 };
            let mut hits = Hits::new();
            hits.set((0..count).map(|at| hit(at, at * 7919 % 1009)));
            let before = hits.clone();
            assert!(!hits.drop_repeated_keys() && hits == before);
            // The hits hold each key three times, in another order.
            let thrice = before.iter().chain(before.iter().rev()).chain(&*before).copied();
            hits.set(thrice);
            assert_eq!(hits.drop_repeated_keys(), count > 0);
            assert_eq!(hits, before);
        }
    }
}
