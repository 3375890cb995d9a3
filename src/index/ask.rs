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
use super::estimate::{ASK, Costs};
use super::filter::Filter;
use super::filtered::{AVOIDS, Walked};
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

/// The growth of a walk's candidates from one step to the next, at most.
const WIDER: f64 = 1.5;

/// The growth of a walk on codes whose candidates end too early, by the errors of the codes: in one step, and in all before a walk on the
/// vectors begins.
const FARTHER: f64 = 1.2;
const FARTHEST: f64 = 2.0;

/// Shares of the cost of a scan: of a walk that met only rejected candidates last, before the planner takes a sample; and of the sample.
const DOUBTS: f64 = 0.2;
const ASKS: f64 = 1.0 / 32.0;

/// Fewer slots tell nothing of the accepted share.
const LEAST_SAMPLE: u32 = 32;

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
    pub(super) fn begin(&mut self, slots: u32) {
        self.asked.begin(slots);
        self.accepted.begin(slots);
        self.slots = slots;
    }

    /// The verdict about a slot, for which `ask` is called the first time. Slots that are younger are asked about each time.
    fn of(&mut self, slot: u32, ask: impl FnOnce() -> bool) -> bool {
        if slot >= self.slots {
            return ask();
        }
        if self.asked.insert(slot) && ask() {
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
    /// The accepted share of a sample, once it is asked about.
    pub(super) share: Option<f64>,
    /// Units that a call of the filter costs, and a scan.
    pub(super) costs: Costs,
    /// Whether calls take so long that candidates are put in their exact order before.
    pub(super) is_dear: bool,
    /// Candidates of a walk on codes at most, where its candidates ended too early.
    pub(super) farthest: usize,
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
    /// The course of a walk that keeps `first` candidates and goes on until `wanted` are accepted.
    pub(super) fn new(first: usize, wanted: usize, most: usize, costs: Costs) -> Self {
        let [rejects, farthest] = [usize::MAX; 2];
        Self { first, wanted, most, rejects, share: None, costs, is_dear: false, farthest }
    }

    fn wider(kept: usize) -> usize {
        (kept as f64 * FARTHER) as usize + 1
    }

    /// Returns whether the continuation of a walk that kept `kept` candidates would cost as much as a scan.
    pub(super) fn is_over(self, kept: usize) -> bool {
        Self::wider(kept) >= self.most
    }

    /// Returns the course of the continuation of a walk on codes that ended too early with `kept` candidates; `None` beyond [`FARTHEST`].
    fn farther(self, kept: usize) -> Option<Self> {
        let first = Self::wider(kept);
        let farthest = self.farthest.min((kept as f64 * FARTHEST) as usize);
        (first <= farthest).then_some(Self { first, farthest, ..self })
    }

    /// Returns the candidates of the next walk, which may meet `rejects` rejected vectors; `None` if the last walk kept enough.
    fn next(
        self,
        asked: Asked,
        kept: usize,
        rejects: usize,
        request: &Request<'_>,
    ) -> Option<usize> {
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
        if recent == 0.0 && kept >= HOPELESS && rejects < usize::MAX {
            // Where all that is rejected is around the query, a scan comes to the end sooner.
            let end = beyond(rejects.saturating_add(self.wanted));
            if end >= self.most {
                return Some(self.most);
            }
        }
        let missing = (self.wanted - accepted) as f64;
        let expected = beyond(seen + (missing / recent.max(1e-3)) as usize) as f64;
        Some(
            (expected.min(kept as f64 * WIDER) as usize)
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
        let Work { row, coding, hidden, all, ranked, verdicts, .. } = work;
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
                // A walk may have asked before.
                if verdicts.of(near.1, || filter.accepts(keys.row(near.1)[0])) {
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
    ) -> Option<Walked<'a>> {
        work.verdicts.begin(self.entries.keys.view().len());
        self.walk_on_asking(codes, false, request, filter, course, timer, work)
    }

    /// Continues a walk on codes that [`Self::walk_and_ask`] ended too early, with more candidates. Returns `None` beyond [`FARTHEST`].
    pub(super) fn walk_farther<'a>(
        &'a self,
        codes: &'a Codes,
        request: &Request<'_>,
        filter: &dyn Filter,
        course: Course,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let course = course.farther(work.kept.len())?;
        std::mem::swap(&mut work.scratch.pool, &mut work.kept);
        self.walk_on_asking(Some(codes), true, request, filter, course, timer, work)
    }

    /// Walks until enough are accepted, and leaves these in the scratch.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_on_asking<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        goes_on: bool,
        request: &Request<'_>,
        filter: &dyn Filter,
        course: Course,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let mut verdicts = std::mem::take(&mut work.verdicts);
        let walked = self
            .walk_until(codes, goes_on, request, filter, course, &mut verdicts, timer, work)
            .map(|(codes, course)| Walked {
                plan: Plan::FilteredWalk,
                codes,
                course: Some(course),
            });
        if let Some(Walked { codes, .. }) = walked {
            if codes.is_some_and(|codes| self.entries.refines(codes)) {
                work.kept.copy_from(&work.scratch.pool);
            }
            let keys = self.entries.keys.view();
            let answers = |slot: u32| self.entries.answers(slot, request.began);
            // Codes do not tell which of the others are nearer: all are asked about, if that takes little time.
            let asks_on = !course.is_dear && codes.is_some();
            work.scratch.pool.retain(usize::MAX, |slot| {
                if !asks_on || timer.spent(1) || timer.expired() {
                    return verdicts.has_accepted(slot);
                }
                verdicts.of(slot, || answers(slot) && filter.accepts(keys.row(slot)[0]))
            });
        }
        work.verdicts = verdicts;
        walked
    }

    /// The walk itself. Returns the codes that it read at last, and its course at the end.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_until<'a>(
        &'a self,
        mut codes: Option<&'a Codes>,
        mut goes_on: bool,
        request: &Request<'_>,
        filter: &dyn Filter,
        mut course: Course,
        verdicts: &mut Verdicts,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<(Option<&'a Codes>, Course)> {
        while course.first < course.most {
            self.walk_wider(codes, goes_on, course.first, timer, work).ok()?;
            goes_on = true;
            let refines = codes.is_some_and(|codes| self.entries.refines(codes));
            let mut is_dull = work.scratch.is_crowded;
            if !is_dull {
                let asked =
                    self.ask_in_order(codes, request, filter, course, verdicts, timer, work);
                if timer.expired() {
                    return Some((codes, course));
                }
                let is_blurred = refines && course.is_dear && work.head.is_blurred;
                is_dull = is_blurred && work.head.has_large_errors;
                if !is_dull {
                    let kept = work.scratch.pool.len();
                    let rejects = self.rejects(filter, asked, kept, &mut course);
                    match course.next(asked, kept, rejects, request) {
                        None if is_blurred => match course.farther(kept) {
                            Some(farther) => course = farther,
                            None => is_dull = true,
                        },
                        None => return Some((codes, course)),
                        // There is nothing more that a walk comes to.
                        Some(_) if kept < course.first => {
                            return (asked.accepted >= course.wanted).then_some((codes, course));
                        }
                        Some(next) => course.first = next,
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

    /// Returns the rejected vectors that a walk may meet at most, or `usize::MAX`. After a long walk whose last candidates were all
    /// rejected, the planner takes a sample. If the walk met far fewer accepted vectors than the sample, it may meet all rejected ones.
    fn rejects(
        &self,
        filter: &dyn Filter,
        asked: Asked,
        kept: usize,
        course: &mut Course,
    ) -> usize {
        let Costs { ask, scan } = course.costs;
        let is_long = kept as f64 * self.candidate_cost() > scan * DOUBTS;
        if course.rejects < usize::MAX || asked.recent > 0.0 || !is_long {
            return course.rejects;
        }
        let share = *course.share.get_or_insert_with(|| {
            let slots = (scan * ASKS / (ASK + ask)) as u32;
            if slots < LEAST_SAMPLE { 0.0 } else { self.sampled_share(filter, slots) }
        });
        let is_avoided = (asked.accepted + 1) as f64 * AVOIDS <= share * asked.seen as f64;
        if is_avoided { ((1.0 - share) * self.len() as f64) as usize } else { usize::MAX }
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
