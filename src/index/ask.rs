//! Asking a filter about what a search finds, in the order of distance.
//!
//! A walk goes on for as long as too few of what it found are accepted, so that those that a filter rejects around the query
//! cost what as many more answers would. It asks about each slot once, and about none that is farther than the last answer.

use std::hint::black_box;
use std::time::Instant;

use super::codes::Codes;
use super::deliver::Scale;
use super::engine::Engine;
use super::entries::Entries;
use super::filter::Filter;
use super::hits::{Hits, Plan};
use super::hnsw::Hnsw;
use super::limit::Timer;
use super::request::Request;
use super::scan::Field;
use super::scatter::scattered;
use super::work::Work;
use crate::arena::Visited;
use crate::graph::Watch;

/// Nanoseconds of the unit of costs: asking about one slot after the other.
const UNIT: f64 = 2.5;

/// Calls that are timed together if they take less nanoseconds than that: looking at the clock takes long, and a first call
/// longer than others.
const TIMED: usize = 8;
const QUICK: f64 = 250.0;

/// Nanoseconds of a call that takes as long as many distances. A second call that takes as long shows that it was not by chance.
const SLOW: f64 = 10_000.0;

/// Candidates beyond the last answer that a walk keeps, as a share of those before it.
const BEYOND: f64 = 0.15;

/// How many times as many candidates a walk keeps next at most, where none of the last ones is accepted, and where some are.
const WIDER: (f64, f64) = (1.5, 1.5);

/// Accepted among so many of the candidates that were asked about last tell how many are to come.
const RECENT: usize = 32;

/// Candidates none of which is accepted, after which more are expected.
const HOPELESS: usize = 64;

/// Candidates that are put in order together when all vectors were measured, at first, and how
/// many times as many next.
const FIRST: usize = 64;
const GROWTH: usize = 4;

/// What a filter said of slots.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    asked: Visited,
    accepted: Visited,
    slots: u32,
}

impl Verdicts {
    fn begin(&mut self, slots: u32) {
        self.asked.begin(slots);
        self.accepted.begin(slots);
        self.slots = slots;
    }

    /// The verdict about a slot, for which `ask` is called the first time.
    fn of(&mut self, slot: u32, ask: impl FnOnce() -> bool) -> bool {
        if slot < self.slots && self.asked.insert(slot) && ask() {
            self.accepted.insert(slot);
        }
        self.has_accepted(slot)
    }

    fn has_accepted(&self, slot: u32) -> bool {
        slot < self.slots && self.accepted.contains(slot)
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.asked.bytes() + self.accepted.bytes()
    }
}

/// How a walk is to go whose finds are asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Candidates at first.
    pub(super) first: usize,
    /// Accepted ones to find.
    pub(super) wanted: usize,
    /// Candidates from which on it ends.
    pub(super) most: usize,
    /// Rejected ones that it can meet at most.
    pub(super) rejects: usize,
    /// Whether calls take so long that candidates are put in their exact order before.
    pub(super) is_dear: bool,
}

/// What came of asking.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Accepted candidates, up to those wanted.
    accepted: usize,
    /// Candidates before and with the last of them.
    rank: usize,
    /// The share of accepted ones among the last few.
    recent: f64,
    /// Candidates that were gone through.
    seen: usize,
}

impl Course {
    /// How many candidates a walk must keep, or `None` if as many as it kept are enough.
    fn next(self, asked: Asked, kept: usize, request: &Request<'_>) -> Option<usize> {
        let Asked { accepted, rank, recent, seen } = asked;
        // Those wanted beyond the answers count.
        let spare = self.wanted - request.k;
        let beyond = |rank: usize| {
            let more = ((rank as f64 * BEYOND) as usize).min(request.ef);
            rank.saturating_add(more.saturating_sub(spare))
        };
        if accepted >= self.wanted {
            let enough = beyond(rank);
            return (enough > kept).then_some(enough);
        }
        if recent == 0.0 && kept >= HOPELESS && self.rejects < usize::MAX {
            // Where all that is excluded is around the query, a scan comes to the end sooner.
            let end = beyond(self.rejects.saturating_add(self.wanted));
            if end >= self.most {
                return Some(self.most);
            }
        }
        let missing = (self.wanted - accepted) as f64;
        let expected = beyond(seen + (missing / recent.max(1e-3)) as usize) as f64;
        let most = kept as f64 * if recent > 0.0 { WIDER.1 } else { WIDER.0 };
        Some(
            (expected.min(most) as usize)
                .min(beyond(self.rejects.saturating_add(self.wanted)))
                .max(kept + 1),
        )
    }
}

impl Entries {
    /// Units that a call of the filter takes. Few calls are made: one may take long.
    pub(super) fn asking_cost(&self, filter: &dyn Filter) -> f64 {
        let keys = self.keys.view();
        // The key of a slot that holds nothing may be being written.
        let slots = (0..keys.len().min(4 * TIMED as u32)).map(|at| scattered(at, keys.len()));
        let mut held = slots.filter(|&slot| !self.slots.is_hidden(slot)).map(|s| keys.row(s)[0]);
        let mut time = |calls: usize| {
            let mut known = [0; TIMED];
            let mut count = 0;
            for (place, key) in known[..calls].iter_mut().zip(&mut held) {
                (*place, count) = (key, count + 1);
            }
            let start = Instant::now();
            known[..count].iter().for_each(|&key| {
                black_box(filter.accepts(key));
            });
            (count > 0).then(|| start.elapsed().as_nanos() as f64 / count as f64)
        };
        // Looking at the clock takes some of it, on some machines longer than a filter.
        let look = || Instant::now().elapsed().as_nanos() as f64;
        let clock = look().min(look()).min(look());
        let Some(first) = time(1) else { return 1.0 };
        let mut nanos = first;
        let calls = if first < QUICK + 2.0 * clock { TIMED } else { 1 };
        for _ in 0..2 {
            let again = time(calls).unwrap_or(nanos);
            nanos = nanos.min(again);
            if calls == 1 && again > SLOW + clock {
                break;
            }
        }
        ((nanos - clock / calls as f64) / UNIT).max(1.0)
    }

    /// The nearest accepted vectors, exactly: all are measured, and asked about in the order of
    /// distance until there are enough. For filters that take longer than distances.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    pub(super) fn scan_in_order(
        &self,
        engine: &dyn Engine,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, coding, hidden, all, ranked, .. } = work;
        let scale = codes.map_or(Scale::Vectors(engine), Scale::Codes);
        let (column, query) =
            codes.map_or((&self.vectors, &*row), |codes| (&codes.rows, &coding.query));
        let within = self.key_within(scale, request.radius);
        let (rows, wanted) = self.moment(column, request.k, hidden);
        let field = Field { engine: scale.engine(), rows, hidden, within };
        let measured = field.measure_all(query, all, timer);
        // Taken after the rows: whoever has a row has a key.
        let keys = self.keys.view();
        ranked.clear();
        let mut size = FIRST.max(wanted.saturating_mul(2)).min(all.len());
        let mut from = 0;
        while from < all.len() && ranked.len() < wanted && !timer.expired() {
            let end = all.len().min(from.saturating_add(size));
            if end < all.len() {
                all[from..].select_nth_unstable(end - from - 1);
            }
            all[from..end].sort_unstable();
            for &near in &all[from..end] {
                if ranked.len() >= wanted || timer.spent(1) {
                    break;
                }
                if filter.accepts(keys.row(near.1)[0]) {
                    ranked.push(near);
                }
            }
            (from, size) = (end, size.saturating_mul(GROWTH));
        }
        self.deliver(scale, request, ranked.iter().copied(), hits);
        hits.set_counters(measured, 0);
        hits.set_plan(Plan::FilteredScan);
    }
}

impl Hnsw {
    /// Walks, asks about what was found in the order of distance, and goes on with more candidates until enough are accepted.
    /// These are left in the scratch; the plan is returned, and what was walked on last.
    pub(super) fn walk_and_ask<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        course: Course,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<(Plan, Option<&'a Codes>)> {
        let mut verdicts = std::mem::take(&mut work.verdicts);
        verdicts.begin(self.entries.keys.view().len());
        let walked = self.walk_until(codes, request, filter, course, &mut verdicts, timer, work);
        if walked.is_some() {
            let keys = self.entries.keys.view();
            let answers = |slot: u32| self.entries.answers(slot, request.began);
            // Codes do not tell which of the others are nearer: all are asked about, if that takes little time.
            let asks_on = !course.is_dear && codes.is_some() && !timer.expired();
            work.scratch.pool.retain(usize::MAX, |slot| {
                let is_time = asks_on && !timer.spent(1);
                let ask = || is_time && answers(slot) && filter.accepts(keys.row(slot)[0]);
                verdicts.of(slot, ask)
            });
        }
        work.verdicts = verdicts;
        walked
    }

    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_until<'a>(
        &'a self,
        mut codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        course: Course,
        verdicts: &mut Verdicts,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<(Plan, Option<&'a Codes>)> {
        let (mut ef, mut goes_on) = (course.first, false);
        while ef < course.most {
            self.walk_wider(codes, goes_on, ef, timer, work).ok()?;
            goes_on = true;
            let refines = codes.is_some_and(|codes| self.entries.refines(codes));
            let mut is_dull = work.scratch.is_crowded;
            if !is_dull {
                let asked =
                    self.ask_in_order(codes, request, filter, course, verdicts, timer, work);
                is_dull = refines && course.is_dear && work.head.is_blurred;
                if timer.expired() {
                    return Some((Plan::FilteredWalk, codes));
                }
                if !is_dull {
                    let kept = work.scratch.pool.len();
                    match course.next(asked, kept, request) {
                        None => return Some((Plan::FilteredWalk, codes)),
                        // There is nothing more that a walk comes to.
                        Some(_) if kept < ef => {
                            return (asked.accepted >= course.wanted)
                                .then_some((Plan::FilteredWalk, codes));
                        }
                        Some(next) => ef = next,
                    }
                }
            }
            if is_dull {
                if !refines || timer.expired() {
                    return None;
                }
                // Codes do not tell what is around the query apart.
                (codes, goes_on) = (self.entries.standing_in(codes), false);
            }
        }
        None
    }

    /// Asks about the nearest of what a walk found, until enough are accepted.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn ask_in_order(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        course: Course,
        verdicts: &mut Verdicts,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Asked {
        let all = self.entries.all_answer();
        let answers = |slot: u32| all || self.entries.answers(slot, request.began);
        let kept = work.scratch.pool.len();
        let mut depth = course.wanted.min(kept);
        loop {
            let mut ranked = std::mem::take(&mut work.ranked);
            ranked.clear();
            match codes {
                Some(codes) if course.is_dear && self.entries.refines(codes) => {
                    self.measure_head(codes, depth, answers, timer, work);
                    work.scratch.counters.distances += work.head.sorted.len() as u64;
                    ranked.extend_from_slice(&work.head.sorted);
                    ranked.truncate(depth);
                    if work.head.is_blurred {
                        depth = kept;
                    }
                }
                _ => {
                    ranked.extend(work.scratch.pool.iter());
                    depth = kept;
                }
            }
            let asked = self.ask_about(&ranked, answers, filter, course.wanted, verdicts, timer);
            work.ranked = ranked;
            if asked.accepted >= course.wanted || depth >= kept || timer.expired() {
                return asked;
            }
            depth = kept.min(depth + depth / 2 + 8);
        }
    }

    /// Asks about one after the other.
    fn ask_about(
        &self,
        ranked: &[(u32, u32)],
        answers: impl Fn(u32) -> bool,
        filter: &dyn Filter,
        wanted: usize,
        verdicts: &mut Verdicts,
        timer: &mut Timer<'_>,
    ) -> Asked {
        // Taken after the rows: whoever has a row has a key.
        let keys = self.entries.keys.view();
        let mut asked = Asked { accepted: 0, rank: 0, recent: 0.0, seen: 0 };
        for &(_, slot) in ranked {
            if asked.accepted >= wanted || timer.spent(1) {
                break;
            }
            asked.seen += 1;
            if verdicts.of(slot, || answers(slot) && filter.accepts(keys.row(slot)[0])) {
                asked.accepted += 1;
                asked.rank = asked.seen;
            }
        }
        let last = &ranked[asked.seen.saturating_sub(RECENT)..asked.seen];
        let accepted = last.iter().filter(|&&(_, slot)| verdicts.has_accepted(slot)).count();
        asked.recent = accepted as f64 / last.len().max(1) as f64;
        asked
    }
}
