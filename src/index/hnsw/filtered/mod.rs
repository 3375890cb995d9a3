//! Answers under a filter: the choice of a plan, and the search by it.
//!
//! Every plan keeps one promise: `k` hits, or all accepted vectors if there are fewer. A walk that ends with less is followed by
//! a scan of the accepted vectors.
//!
//! [`cost`] estimates plans before one is taken; [`course`] decides how a walk goes on that asks about its candidates, which
//! [`asking`] does; [`verdicts`] keeps answers of the filter, so that each slot is asked about once; [`scan`] is exact.

mod asking;
mod cost;
mod course;
mod scan;

use cost::{BLIND, CHEAP, Estimate, ONE_HOP, SCOUT, SCOUTS, scouts};
use course::{BEYOND_CODES, Course};

use super::Hnsw;
use super::walks::Walk;
use crate::arena::Slot;
use crate::graph::{Accepted, Beam, Counters, Node, Order, Watch};
use crate::index::codes::representation::Representation;
use crate::index::codes::rerank::Head;
use crate::index::entries::space::{Rows, found, nodes_of};
use crate::index::query::budget::Timer;
use crate::index::query::filter::Filter;
use crate::index::query::hits::{Hits, SearchPlan};
use crate::index::query::request::Request;
use crate::index::scratch::Work;

/// The growth of a walk's candidates where the first ones met suspiciously few accepted vectors.
const AGAIN: f64 = 4.0;

/// If this many times fewer than expected are accepted around the query, the filter avoids the query. The answers are then
/// scattered in all directions, each far from the others, and no walk finds most of them.
const AVOIDS: f64 = 4.0;

/// Above it, the search goes as if all were accepted, until it meets those that are not.
const ALMOST_ALL: f64 = 0.9;

/// A walk may end early if the last answer is at less than this many times the expected rank among its candidates.
const LATE: usize = 2;

/// The candidates that a walk keeps that asks in order, over those expected to be needed: for filters whose calls take long, and for others,
/// which are asked about more than `k` candidates.
const IN_RESERVE: f64 = 1.3;
const IN_PLENTY: f64 = 1.15;

/// The power of the accepted share by which a walk keeps more candidates: more answers need fewer candidates each for the same recall.
const KEPT: f64 = 0.75;

/// Accepted candidates expected beyond those wanted, in square roots of these: their number varies by less.
const SPARE: f64 = 2.0;

/// The share of the expected accepted candidates that is enough.
const ENOUGH: f64 = 0.75;

/// A walk in order gives way to detours at this multiple of its expected cost.
const GIVES_WAY: f64 = 1.5;

/// A search under a filter, in progress. The query is in `work.row`.
pub(in crate::index) struct FilteredSearch<'a, 't> {
    index: &'a Hnsw,
    request: &'a Request<'a>,
    filter: &'a dyn Filter,
    timer: &'a mut Timer<'t>,
    work: &'a mut Work,
    /// Units that a call of the filter takes.
    ask: f64,
    /// The accepted share of all vectors, as it is known or by the last sample; 0 without either.
    share: f64,
}

/// A walk that found enough, or whose time is over. The accepted candidates are in the scratch.
struct Walked<'a> {
    plan: SearchPlan,
    /// The representation that it read last.
    form: Representation<'a>,
    /// Whether the head is measured by vectors already, and known to be enough.
    is_measured: bool,
}

impl<'a, 't> FilteredSearch<'a, 't> {
    pub(in crate::index) fn new(
        index: &'a Hnsw,
        request: &'a Request<'a>,
        filter: &'a dyn Filter,
        timer: &'a mut Timer<'t>,
        work: &'a mut Work,
    ) -> Self {
        Self { index, request, filter, timer, work, ask: 1.0, share: 0.0 }
    }

    /// Answers the request.
    pub(in crate::index) fn run(mut self, hits: &mut Hits) {
        let Self { index, request, filter, .. } = self;
        let (mut form, mut is_blurred) = (index.entries.walked(), false);
        self.work.scratch.counters = Counters::default();
        self.work.verdicts.begin(index.entries.keys.view().len());
        let known = index.few(filter, *request);
        let few = request.k == 0 || known.is_some();
        self.share = known.unwrap_or(0.0);
        if !few && request.screen.filter.is_some() && filter.count().is_none() {
            self.ask = index.entries.asking_cost(filter);
        }
        loop {
            let walked = if few { None } else { self.walk(form) };
            if is_blurred && self.timer.expired() {
                // The hits of the walk on codes are more than the beginning of another.
                return;
            }
            let Some(walked) = walked.filter(|walked| self.is_enough(walked)) else { break };
            form = walked.form;
            let is_full = if walked.is_measured {
                index.deliver_head(form, request, self.work, hits)
            } else {
                index.collect(form, request, self.timer, self.work, hits)
            };
            hits.set_plan(walked.plan);
            is_blurred = !walked.is_measured && self.work.head.is_blurred;
            if is_full && is_blurred && !self.timer.expired() {
                // The plan is chosen again, for the vectors or their finer codes.
                index.search_was_blurred(form, self.work);
                form = index.entries.exact_beside(form);
            } else if is_full || self.timer.expired() {
                return;
            } else {
                break;
            }
        }
        let walked = self.work.scratch.counters;
        self.scan(form, hits);
        hits.set_counters(hits.distances_computed() + walked.distances, walked.hops);
    }

    fn is_enough(&self, walked: &Walked<'_>) -> bool {
        let Work { head, scratch, .. } = &*self.work;
        let found = if walked.is_measured { head.sorted.len() } else { scratch.len() };
        self.timer.expired() || found >= self.request.k
    }

    /// Walks, if that costs less than a scan. The scratch then has the accepted candidates.
    fn walk(&mut self, form: Representation<'a>) -> Option<Walked<'a>> {
        let (index, ask) = (self.index, self.ask);
        let Request { k, ef, .. } = *self.request;
        if let Some(excluded) = self.request.screen.only_excluded()
            && excluded.len() < index.len() / 2
        {
            let course = Course { rejects: excluded.len(), ..self.course(ef) };
            return self.walk_and_ask(form, course);
        }
        let candidate = index.candidate_cost(index.entries.walked());
        if ask > candidate {
            // Each call counts: none is made for an estimate.
            return self.walk_and_ask(form, self.course(ef));
        }
        let mut seeds = std::mem::take(&mut self.work.seeds);
        let Estimate { share, scan, exact } =
            index.estimate(self.filter, ask, *self.request, &mut seeds);
        self.share = share;
        let first = ef.max((k as f64 / share * IN_RESERVE) as usize);
        let in_order = index.candidates_cost(form, first as f64) + k as f64 / share * ask;
        let walked = if let Some(walked) = self.walk_hopefully(form, share, scan) {
            Some(walked)
        } else if ask > CHEAP && in_order < scan.min(index.walk_cost(share, ef, ask)) {
            self.walk_and_ask(form, self.course(first))
        } else if scan <= index.walk_cost(share, ef, ask) {
            let pays = scan > SCOUT * index.walk_cost(1.0, SCOUTS.0 as usize, ask);
            pays.then(|| self.walk_nearby(form, scan)).flatten()
        } else if share > ONE_HOP {
            self.walk_over_all(form, share, exact)
        } else {
            self.walk_by_detours(form, &seeds, share, exact)
        };
        self.work.seeds = seeds;
        walked
    }

    /// A walk that asks about its candidates, instead of detours to accepted nodes: it finds enough soon if the filter has nothing to do
    /// with the query. Returns `None` if it does not, or if detours are expected to cost less.
    fn walk_hopefully(
        &mut self,
        form: Representation<'a>,
        share: f64,
        scan: f64,
    ) -> Option<Walked<'a>> {
        let (index, Request { k, ef, .. }) = (self.index, *self.request);
        if self.ask > CHEAP || share > ONE_HOP {
            return None;
        }
        let wanted = k.max(ef / 2);
        let first = ef.max((wanted as f64 / share * IN_PLENTY) as usize);
        let cost = index.candidates_cost(form, first as f64);
        if cost > scan.min(index.walk_cost(share, ef, self.ask)) {
            return None;
        }
        self.walk_and_ask(form, Course { wanted, scan: cost * GIVES_WAY, ..self.course(first) })
    }

    /// Returns the course of a walk that asks about its candidates until `k` are accepted.
    fn course(&self, first: usize) -> Course {
        let measure = self.index.scan_measure();
        let scan = self.index.len() as f64 * self.index.scan_measure_in_order();
        let (wanted, is_dear) = (self.request.k, self.ask > measure);
        let (rejects, share, beyond_codes) = (usize::MAX, None, BEYOND_CODES);
        Course { first, wanted, rejects, share, beyond_codes, scan, is_dear }
    }

    /// The walk of an unfiltered search, if the filter accepts enough vectors around the query that it costs less than a scan.
    fn walk_nearby(&mut self, form: Representation<'a>, scan: f64) -> Option<Walked<'a>> {
        self.walk_on(form, Beam::of(SCOUTS.0 as usize))?;
        let share = self.count_accepted(usize::MAX) as f64 / SCOUTS.0;
        let cost = self.index.walk_cost(share, self.request.ef, self.ask);
        if share <= ONE_HOP || cost >= scan || self.timer.expired() {
            return None;
        }
        self.walk_over_all(form, share, scan)
    }

    /// The walk over all nodes, if the filter accepts enough around the query. It goes on if it accepts fewer than elsewhere.
    fn walk_over_all(
        &mut self,
        form: Representation<'a>,
        share: f64,
        scan: f64,
    ) -> Option<Walked<'a>> {
        let Request { k, ef, .. } = *self.request;
        let first = (ef as f64 / share).ceil() as usize;
        if share <= ALMOST_ALL {
            if let Some(walked) = self.walk_and_reject(form, share, scan) {
                return Some(walked);
            }
            if form.is_coded() {
                // Codes may not tell apart the vectors around the query.
                return None;
            }
        }
        // Where almost all are accepted but for some near the query, as many more are wanted as are rejected.
        let wanted = if share > ALMOST_ALL { k } else { k.max(ef / 4 * 3) };
        let course = self.course(first);
        self.walk_and_ask(form, Course { wanted, scan: scan.min(course.scan), ..course })
    }

    /// The walk of an unfiltered search, with a pool that is larger by what it will reject, and once more with twice the pool if that costs
    /// less than a scan. Returns `None` if it found too few accepted ones.
    fn walk_and_reject(
        &mut self,
        form: Representation<'a>,
        share: f64,
        scan: f64,
    ) -> Option<Walked<'a>> {
        let request = self.request;
        let k = request.k as f64;
        // With fewer candidates, chance leaves too few accepted ones of every other walk.
        let least = (k + SPARE * k.sqrt()) / share;
        let ef = (request.ef as f64 / share.powf(KEPT)).max(least).ceil() as usize;
        // The walk ends early if the answers are much nearer than the rest, as an unfiltered one does.
        let expected = (request.k as f64 / share).ceil() as usize;
        let beam = self.index.beam(&Request { k: expected, ef, ..*request });
        self.walk_on(form, beam)?;
        let enough = request.k.max((ef as f64 * share * ENOUGH) as usize);
        let widened = self.index.candidates_cost(form, 2.0 * ef as f64);
        let (last, mut count) = self.with_accepted(|ranks| {
            let last = ranks.nth(request.k - 1);
            (last, last.map_or(0, |_| request.k + ranks.take(enough - request.k).count()))
        });
        let is_late = last.is_none_or(|rank| rank > expected * LATE);
        if is_late && beam.k.is_some() && !self.timer.expired() {
            // The filter rejects the nearest, so that an early end tells nothing of the accepted ones.
            self.walk_on(form, Beam::of(ef))?;
            count = self.count_accepted(enough);
        }
        if count < enough && !self.timer.expired() && widened < scan {
            self.walk_on(form, Beam::of(2 * ef))?;
            count = self.count_accepted(enough);
        }
        // If the time is over, the candidates so far count.
        if count < enough && !self.timer.expired() {
            return None;
        }
        let Self { index, filter, timer, work, .. } = self;
        let entries = &index.entries;
        let keys = entries.keys.view();
        // Those beyond are neither measured again nor delivered, or there is no time for it.
        let most = match form.codes {
            Some(codes) if timer.expired() || codes.coder.is_fine() => Head::enough_for(request.k),
            Some(_) => usize::MAX,
            // Two of them may have one key.
            None if entries.replacing.is_ambiguous() => request.k.saturating_mul(2),
            None => request.k,
        };
        work.scratch.retain(most, |node| {
            let slot = Slot::from(node);
            entries.answers(slot, request.began) && filter.accepts(keys.row(slot)[0])
        });
        Some(Walked { plan: SearchPlan::FilteredWalk, form, is_measured: false })
    }

    fn walk_by_detours(
        &mut self,
        form: Representation<'a>,
        seeds: &[Slot],
        share: f64,
        scan: f64,
    ) -> Option<Walked<'a>> {
        let mut scouts = scouts(share);
        for _ in 0..2 {
            self.walk_on(form, Beam::of(scouts as usize))?;
            let expected = scouts * share;
            let met = self.count_accepted(usize::MAX) as f64;
            if met > scouts * ONE_HOP && !self.timer.expired() {
                return self.walk_over_all(form, met / scouts, scan);
            }
            if self.timer.expired() || expected < 1.0 || met * AVOIDS >= expected {
                let order = if share > BLIND { Order::Directed } else { Order::Blind };
                let plan = self.detour(form, order, seeds);
                return Some(Walked { plan, form, is_measured: false });
            }
            // One in fifty filters that have nothing to do with the query does so by chance.
            scouts *= AGAIN;
        }
        None
    }

    /// Walks as an unfiltered search does, but does not leave `form`, also among equal vectors.
    fn walk_on(&mut self, form: Representation<'_>, beam: Beam) -> Option<()> {
        self.index.walk(Walk { form, beam }, form, self.timer, self.work).ok().map(drop)
    }

    /// Passes the ranks of the accepted candidates, from 0, to `with`, up to the end of the time.
    fn with_accepted<R>(&mut self, with: impl FnOnce(&mut dyn Iterator<Item = usize>) -> R) -> R {
        let Self { index, filter, timer, work, .. } = self;
        let keys = index.entries.keys.view();
        let accepts =
            |slot: Slot| !index.entries.slots.is_hidden(slot) && filter.accepts(keys.row(slot)[0]);
        let met = found(&work.scratch).take_while(|_| !timer.spent(1)).enumerate();
        with(&mut met.filter(|&(_, (_, slot))| accepts(slot)).map(|(rank, _)| rank))
    }

    /// Returns the number of accepted candidates, up to `most`.
    fn count_accepted(&mut self, most: usize) -> usize {
        self.with_accepted(|ranks| ranks.take(most).count())
    }

    /// A walk among accepted nodes, from the candidates of an unfiltered one.
    fn detour(&mut self, form: Representation<'_>, order: Order, seeds: &[Slot]) -> SearchPlan {
        let Self { index, request, filter, timer, work, .. } = self;
        let Work { scratch, row, coding, .. } = &mut **work;
        let (space, query) = (Rows::new(form, None), form.prepared(row, coding));
        // Taken after the rows: each row has a key.
        let keys = index.entries.keys.view();
        let accepts = &mut |node: Node| {
            let slot = Slot::from(node);
            !index.entries.slots.is_hidden(slot) && filter.accepts(keys.row(slot)[0])
        };
        let seeds = nodes_of(seeds);
        let accepted = Accepted { ef: request.ef, order, seeds, accepts };
        index.graph.search_accepted(space, query, accepted, *timer, scratch);
        match order {
            Order::Directed => SearchPlan::DirectedTwoHop,
            Order::Blind => SearchPlan::BlindTwoHop,
        }
    }
}
