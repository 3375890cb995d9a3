//! Measuring candidates again by their vectors, to the depth that the errors of the codes demand.
//!
//! The nearest candidates by their codes are measured in any case. They show the errors of codes
//! around this query, as a multiple of the deviation that random errors would have. Any other
//! vector that may be among the answers by that is then searched for in the lists, and measured too.

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::asked::Asked;
use super::nearest::Candidate;
use super::probe::{Effort, Probe};
use super::scan::Scan;
use crate::index::ivf::Ivf;
use crate::index::ivf::codes::codec::Spread;
use crate::index::ivf::lists::directory::Directory;
use crate::index::query::budget::Timer;
use crate::index::query::filter::Filter;
use crate::index::query::hits::{Hit, Hits};
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Weight of the expected deviation, in measured candidates.
const EXPECTED: f32 = 4.0;

/// Candidates that are measured between two checks for the end.
const STEP: usize = 16;

/// A search whose candidates are measured again.
#[derive(Clone, Copy)]
pub(in crate::index::ivf) struct Reranking<'a> {
    pub(in crate::index::ivf) directory: &'a Directory,
    /// The query as it is stored.
    pub(in crate::index::ivf) query: &'a [Block],
    pub(in crate::index::ivf) effort: &'a Effort,
    pub(in crate::index::ivf) filter: Option<&'a dyn Filter>,
    /// The lists that were read, with their distances.
    pub(in crate::index::ivf) lists: &'a [u64],
    /// Capacity for candidates: that of the effort, or more.
    pub(in crate::index::ivf) kept: usize,
}

/// Number of vectors that recent searches measured again.
#[derive(Debug, Default)]
pub(in crate::index::ivf) struct Depth(AtomicUsize);

impl Depth {
    /// Returns the capacity for candidates, so that seldom any is searched for again. Answers do not depend
    /// on it.
    pub(in crate::index::ivf) fn room(&self) -> usize {
        const MOST: usize = 2048;

        let recent = self.0.load(Ordering::Relaxed) / PARTS;
        (recent + recent / 4).min(MOST)
    }

    /// Adds a search to the average.
    fn learn(&self, measured: usize) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before - before / PARTS + measured, Ordering::Relaxed);
    }
}

/// Searches in the average.
const PARTS: usize = 16;

/// Buffers of a reranking.
#[derive(Debug, Default)]
pub(in crate::index::ivf) struct Again {
    /// Order key of the distance, and key.
    measured: Vec<(OrderKey, u64)>,
    /// The deviation of estimates, by the number of the list.
    deviations: Vec<f32>,
    /// Candidates beyond the first, with their least likely distance.
    others: Vec<(OrderKey, Candidate)>,
    /// The nearest `k` distances.
    nearest: BinaryHeap<OrderKey>,
    /// Keys of the first candidates, in order.
    first: Vec<u64>,
}

impl Again {
    /// Returns the bytes of memory in use.
    pub(in crate::index::ivf) fn bytes(&self) -> usize {
        self.measured.capacity() * size_of::<(OrderKey, u64)>()
            + (self.deviations.capacity() + self.nearest.capacity()) * 4
            + self.others.capacity() * size_of::<(OrderKey, Candidate)>()
            + self.first.capacity() * 8
    }
}

/// Excess of distances over estimates, in deviations.
#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    count: f32,
    sum: f32,
    squares: f32,
}

impl Errors {
    fn learn(&mut self, error: f32, deviation: f32) {
        let share = error / deviation;
        if share.is_finite() {
            self.count += 1.0;
            self.sum += share;
            self.squares += share * share;
        }
    }

    /// Returns the least likely excess of a distance over its estimate, in deviations: often less than
    /// zero.
    fn least(self, spread: Spread) -> f32 {
        let count = self.count + EXPECTED;
        let mean = self.sum / count;
        let variance = (self.squares + EXPECTED) / count - mean * mean;
        mean - spread.deviations * variance.max(spread.least_variance).sqrt()
    }
}

impl Ivf {
    /// Makes hits of the candidates in `probe.found`, which are in ascending order. Returns the
    /// number of vectors that were measured again.
    pub(in crate::index::ivf) fn answer(
        &self,
        reranking: Reranking<'_>,
        asked: &mut Asked<'_>,
        probe: &mut Probe,
        timer: &mut Timer<'_>,
        hits: &mut Hits,
    ) -> usize {
        let Reranking { effort, .. } = reranking;
        if !effort.again {
            let hit = |c: &Candidate| Hit { key: c.key, distance: self.distance(effort, c.order) };
            let found = probe.found.iter().take(effort.k).map(hit);
            hits.set(found.take_while(|hit| effort.reaches(hit.distance)));
            return 0;
        }
        let Probe { found, again, .. } = probe;
        // If the capacity was used up, other vectors may be behind the last candidate.
        let worst = found.last().copied().filter(|_| found.len() == reranking.kept);
        again.others.clear();
        again
            .others
            .extend(found.drain(effort.kept.min(found.len())..).map(|c| (OrderKey::MIN, c)));
        let mut errors = Errors::default();
        self.measure_first(reranking, asked, probe, timer, &mut errors);
        let may_be_more = worst.is_some() || !probe.again.others.is_empty();
        if may_be_more && !timer.expired() {
            self.measure_others(reranking, (asked, worst, errors), probe, timer);
        }
        self.depth.learn(probe.again.measured.len());
        let (space, measured) = (&self.space, &mut probe.again.measured);
        measured.sort_unstable();
        let found = measured
            .iter()
            .take(effort.k)
            .map(|&(order, key)| {
                let distance = space.encoder.answered(space.engine.distance(order));
                Hit { key, distance }
            })
            .take_while(|hit| effort.reaches(hit.distance));
        hits.set(found);
        measured.len()
    }

    /// Measures the candidates in `probe.found`.
    fn measure_first(
        &self,
        reranking: Reranking<'_>,
        asked: &Asked<'_>,
        probe: &mut Probe,
        timer: &mut Timer<'_>,
        errors: &mut Errors,
    ) {
        let Reranking { directory, lists, query, .. } = reranking;
        let space = &self.space;
        let Probe { found, again, .. } = probe;
        let Again { measured, deviations, .. } = again;
        deviations.resize(directory.lists.len(), 0.0);
        for &ranked in lists {
            deviations[ranked as u32 as usize] = asked.deviation(ranked);
        }
        found.sort_unstable_by_key(|candidate| (candidate.list, candidate.position));
        measured.clear();
        for of_list in found.chunk_by(|a, b| a.list == b.list) {
            let number = of_list[0].list as usize;
            let list = directory.lists[number].read();
            for candidate in of_list {
                let position = candidate.position as usize;
                if list.keys.get(position) == Some(&candidate.key) {
                    crate::simd::prefetch(list.row(position, space.blocks()));
                }
            }
            for candidate in of_list {
                let Some(position) = list.still_at(candidate.position, candidate.key) else {
                    continue;
                };
                let row = list.row(position, space.blocks());
                let order = space.measure(row, query);
                measured.push((order, candidate.key));
                let distance = space.as_estimate(space.engine.distance(order));
                errors.learn(distance - candidate.order.to_f32(), deviations[number]);
            }
            if timer.is_late(measured.len()) {
                break;
            }
        }
    }

    /// Measures all other vectors that may be among the answers. `after` has the query, the last of
    /// the candidates that were measured, and their errors.
    fn measure_others(
        &self,
        reranking: Reranking<'_>,
        after: (&mut Asked<'_>, Option<Candidate>, Errors),
        probe: &mut Probe,
        timer: &mut Timer<'_>,
    ) {
        let Reranking { directory, effort, query, lists, .. } = reranking;
        let (asked, worst, errors) = after;
        let space = &self.space;
        let least = directory.codec.as_ref().map_or(0.0, |codec| errors.least(codec.spread()));
        let Again { measured, nearest, .. } = &mut probe.again;
        nearest.clear();
        nearest.extend(measured.iter().map(|&(order, _)| order));
        while nearest.len() > effort.k {
            nearest.pop();
        }
        let farthest = |nearest: &BinaryHeap<OrderKey>| {
            let kth = nearest.peek().filter(|_| nearest.len() == effort.k);
            let kth = kth.map_or(f32::INFINITY, |&order| space.engine.distance(order));
            space.as_estimate(effort.radius.map_or(kth, |radius| kth.min(radius)))
        };
        let bound = farthest(nearest);
        let Again { deviations, others, .. } = &mut probe.again;
        others.retain_mut(|(likely, candidate)| {
            let distance = candidate.order.to_f32() + least * deviations[candidate.list as usize];
            *likely = OrderKey::of_f32(distance + 0.0);
            distance <= bound
        });
        if let Some(worst) = worst {
            let reached = worst.order.to_f32();
            let is_enough =
                |&ranked: &u64| bound - least * deviations[ranked as u32 as usize] < reached;
            if !lists.iter().all(is_enough) {
                self.look_for_others(reranking, (asked, worst, least, bound), probe, timer);
            }
        }
        let Again { measured, others, nearest, .. } = &mut probe.again;
        others.sort_unstable();
        for step in others.chunks(STEP) {
            let bound = OrderKey::of_f32(farthest(nearest) + 0.0);
            if step[0].0 > bound || timer.is_late(measured.len()) {
                break;
            }
            for (likely, candidate) in step {
                if *likely > bound {
                    break;
                }
                let list = directory.lists[candidate.list as usize].read();
                let Some(position) = list.still_at(candidate.position, candidate.key) else {
                    continue;
                };
                let order = space.measure(list.row(position, space.blocks()), query);
                measured.push((order, candidate.key));
                nearest.push(order);
                if nearest.len() > effort.k {
                    nearest.pop();
                }
            }
        }
    }

    /// Adds to `others` the vectors behind the worst candidate that may be nearer than the bound.
    fn look_for_others(
        &self,
        reranking: Reranking<'_>,
        after: (&mut Asked<'_>, Candidate, f32, f32),
        probe: &mut Probe,
        timer: &mut Timer<'_>,
    ) {
        let Reranking { directory, effort, filter, lists, .. } = reranking;
        let (asked, worst, least, bound) = after;
        let Probe { found, distances, ends, again, .. } = probe;
        let Again { deviations, others, first, .. } = again;
        first.clear();
        first.extend(found.iter().map(|candidate| candidate.key));
        first.extend(others.iter().map(|(_, candidate)| candidate.key));
        first.sort_unstable();
        let is_kept = ends.len() == lists.len();
        for (at, &ranked) in lists.iter().enumerate() {
            let number = ranked as u32;
            let below = least * deviations[number as usize];
            if bound - below < worst.order.to_f32() {
                continue;
            }
            let before = others.len();
            let mut take = |scan: Scan<'_>, start: usize, distances: &[f32]| {
                for (position, &distance) in (start..scan.list.len()).zip(distances) {
                    if distance + below > bound {
                        continue;
                    }
                    let candidate = scan.candidate(OrderKey::of_f32(distance + 0.0), position);
                    // A vector that moved within its list since then was measured already.
                    if candidate > worst && first.binary_search(&candidate.key).is_err() {
                        others.push((OrderKey::of_f32(distance + below + 0.0), candidate));
                    }
                }
            };
            if is_kept {
                let start = if at == 0 { 0 } else { ends[at - 1] };
                let list = &*directory.lists[number as usize].read();
                let scan = Scan { ivf: self, list, number, effort };
                take(scan, 0, &distances[start..ends[at]]);
            } else if let Some(formula) = directory.formula(&self.space, ranked)
                && let Some(prepared) = asked.prepared(number)
            {
                let list = &*directory.lists[number as usize].read();
                let scan = Scan { ivf: self, list, number, effort };
                distances.clear();
                scan.estimates(prepared, formula, distances, timer, |start, distances| {
                    take(scan, start, distances);
                });
            }
            // No lock is held while the filter runs.
            if let Some(filter) = filter {
                let mut at = before;
                others.retain(|(_, candidate)| {
                    at += 1;
                    at <= before || (!timer.expired() && filter.accepts(candidate.key))
                });
            }
            if timer.expired() {
                break;
            }
        }
    }
}
