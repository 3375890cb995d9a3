//! Answers.

use std::fmt;
use std::ops::{Deref, Index};

/// One answer: a key and how far its vector is from the query.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hit {
    /// The key that the vector was inserted with.
    pub key: u64,
    /// Its distance from the query; [`Metric`](crate::Metric) tells the unit.
    pub distance: f32,
}

/// Which way a search went to find its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Plan {
    /// It walked the graph.
    #[default]
    Walk,
    /// It read the nearest lists of an [`Ivf`](crate::Ivf), with a filter or without.
    Probe,
    /// It looked at every vector.
    Scan,
    /// It looked at every vector that the filter accepts: there are few, or a walk did not find
    /// enough of them.
    FilteredScan,
    /// It walked over all nodes and kept those accepted: most are.
    FilteredWalk,
    /// It walked over accepted nodes, and through the nearest rejected ones to their neighbours.
    DirectedTwoHop,
    /// It walked over accepted nodes, and through any rejected ones to their neighbours.
    BlindTwoHop,
}

/// Hits that need no heap.
const INLINE: usize = 32;

/// The answers to one query, the nearest first; equal distances in the order of insertion,
/// in an [`Ivf`](crate::Ivf) in that of keys.
///
/// Up to 32 hits stand in the value itself, so a search for that many allocates nothing.
#[derive(Clone)]
pub struct Hits {
    inline: [Hit; INLINE],
    len: usize,
    /// All hits, if there are more than fit inline.
    heap: Vec<Hit>,
    distances: u64,
    hops: u64,
    plan: Plan,
    complete: bool,
}

impl Hits {
    /// No hits. Pass it to [`Search::run_into`](crate::Search::run_into), and again for the next
    /// query, to reuse its memory.
    pub const fn new() -> Self {
        let inline = [Hit { key: 0, distance: 0.0 }; INLINE];
        Self {
            inline,
            len: 0,
            heap: Vec::new(),
            distances: 0,
            hops: 0,
            plan: Plan::Walk,
            complete: true,
        }
    }

    /// The hits, the nearest first.
    pub fn as_slice(&self) -> &[Hit] {
        if self.heap.is_empty() { &self.inline[..self.len] } else { &self.heap }
    }

    /// The keys of the hits, the nearest first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.iter().map(|hit| hit.key)
    }

    /// How many distances the search computed.
    pub fn distances_computed(&self) -> u64 {
        self.distances
    }

    /// How many rows of the graph the search read, 0 for a scan; of an [`Ivf`](crate::Ivf), how
    /// many lists.
    pub fn hops(&self) -> u64 {
        self.hops
    }

    /// Which way the search went: what a filter made of it, by how many it accepts, and how many around the query.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Whether the search came to its end: not so if [`Search::deadline`](crate::Search::deadline)
    /// or [`Search::cancel`](crate::Search::cancel) broke it off. The hits are then the nearest of
    /// what was looked at, and may be fewer than wanted.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    pub(super) fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// The answer of a search that was over before it began.
    pub(super) fn set_nothing(&mut self) {
        self.heap.clear();
        (self.len, self.distances, self.hops) = (0, 0, 0);
        (self.plan, self.complete) = (Plan::Walk, false);
    }

    pub(super) fn set(&mut self, hits: impl Iterator<Item = Hit>) {
        self.clear();
        hits.for_each(|hit| self.push(hit));
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
        self.len = 0;
    }

    #[inline]
    pub(super) fn push(&mut self, hit: Hit) {
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

    /// Leaves the first hit of each key; whether there were others.
    pub(super) fn drop_repeated_keys(&mut self) -> bool {
        /// Hits of which each is compared with each: there is nothing to allocate.
        const FEW: usize = 64;

        let hits = self.as_slice();
        let is_first = |at: usize| hits[..at].iter().all(|hit| hit.key != hits[at].key);
        if hits.len() <= FEW && (0..hits.len()).all(is_first) {
            return false;
        }
        let mut firsts: Vec<(u64, usize)> =
            hits.iter().enumerate().map(|(at, hit)| (hit.key, at)).collect();
        firsts.sort_unstable();
        firsts.dedup_by_key(|&mut (key, _)| key);
        if firsts.len() == hits.len() {
            return false;
        }
        firsts.sort_unstable_by_key(|&(_, at)| at);
        let firsts: Vec<Hit> = firsts.into_iter().map(|(_, at)| hits[at]).collect();
        self.set(firsts.into_iter());
        true
    }

    pub(super) fn set_counters(&mut self, distances: u64, hops: u64) {
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

/// The answers to a batch of queries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchHits {
    hits: Vec<Hit>,
    /// Where each query's hits end.
    ends: Vec<usize>,
    plans: Vec<Plan>,
    complete: Vec<bool>,
}

impl BatchHits {
    pub(super) fn with_capacity(queries: usize, k: usize) -> Self {
        Self {
            hits: Vec::with_capacity(queries.saturating_mul(k)),
            ends: Vec::with_capacity(queries),
            plans: Vec::with_capacity(queries),
            complete: Vec::with_capacity(queries),
        }
    }

    pub(super) fn push(&mut self, hits: &Hits) {
        self.hits.extend_from_slice(hits);
        self.ends.push(self.hits.len());
        self.plans.push(hits.plan);
        self.complete.push(hits.complete);
    }

    pub(super) fn append(&mut self, other: &Self) {
        let start = self.hits.len();
        self.hits.extend_from_slice(&other.hits);
        self.ends.extend(other.ends.iter().map(|end| start + end));
        self.plans.extend_from_slice(&other.plans);
        self.complete.extend_from_slice(&other.complete);
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there were no queries.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The hits of query `i`, or `None` if there were not as many queries.
    pub fn get(&self, i: usize) -> Option<&[Hit]> {
        let end = *self.ends.get(i)?;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.hits[start..end])
    }

    /// Which way the search of query `i` went, as [`Hits::plan`].
    pub fn plan(&self, i: usize) -> Option<Plan> {
        self.plans.get(i).copied()
    }

    /// Whether the searches of all queries came to their ends, as [`Hits::is_complete`].
    pub fn is_complete(&self) -> bool {
        self.complete.iter().all(|&complete| complete)
    }

    /// Whether the search of query `i` did, as [`Hits::is_complete`].
    pub fn completed(&self, i: usize) -> Option<bool> {
        self.complete.get(i).copied()
    }

    /// The hits of each query, in the order of the queries.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Hit]> + '_ {
        (0..self.len()).map(|i| &self[i])
    }
}

impl Index<usize> for BatchHits {
    type Output = [Hit];

    /// # Panics
    ///
    /// If there were not as many queries.
    fn index(&self, i: usize) -> &[Hit] {
        self.get(i).expect("query number within the batch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hit_of_each_key_is_left() {
        for count in [0, 1, 11, 64, 65, 1000] {
            let hit = |at: u64, key: u64| Hit { key, distance: at as f32 };
            let mut hits = Hits::new();
            hits.set((0..count).map(|at| hit(at, at * 7919 % 1009)));
            let before = hits.clone();
            assert!(!hits.drop_repeated_keys() && hits == before);
            // Each key three times, in another order.
            let thrice = before.iter().chain(before.iter().rev()).chain(&*before).copied();
            hits.set(thrice);
            assert_eq!(hits.drop_repeated_keys(), count > 0);
            assert_eq!(hits, before);
        }
    }
}
