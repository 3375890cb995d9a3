//! Answers under a filter: which way to look for them, and looking.
//!
//! Every way keeps one promise: `k` hits, or all vectors that are accepted if there are fewer. A
//! walk that ends with less is followed by a look at every accepted vector.

use super::ask::Course;
use super::codes::Codes;
use super::estimate::{
    BLIND, CHEAP, Costs, Estimate, IN_ORDER, LOOK_UP, ONE_HOP, SCOUT, SCOUTS, scouts,
};
use super::filter::Filter;
use super::hits::{Hits, Plan};
use super::hnsw::Hnsw;
use super::limit::Timer;
use super::request::Request;
use super::rerank::Head;
use super::space::Rows;
use super::work::Work;
use crate::graph::{Beam, Counters, Order, Watch};

/// So many times more are met by a second walk, where the first met suspiciously few.
const AGAIN: f64 = 4.0;
/// Where so many times fewer than expected are accepted around the query, the filter keeps away
/// from it. The answers are then scattered in all directions, each far from the others, and no
/// walk finds most of them.
pub(super) const AVOIDS: f64 = 4.0;

/// Above it, the search goes as if all were accepted, until it meets those that are not.
const ALMOST_ALL: f64 = 0.9;

/// How many times as many candidates are kept, where they are asked about in order, as are expected to be needed.
const IN_RESERVE: f64 = 1.3;

/// Which way a walk went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walked<'a> {
    pub(super) plan: Plan,
    /// The codes that the walk read at last.
    pub(super) codes: Option<&'a Codes>,
    /// How it can go on, if it can.
    pub(super) course: Option<Course>,
}

impl<'a> Walked<'a> {
    /// A walk that cannot go on.
    fn ended(plan: Plan, codes: Option<&'a Codes>) -> Self {
        Self { plan, codes, course: None }
    }
}

/// The cost and the share of a filter.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Units that a call costs.
    ask: f64,
    /// The accepted share, once it is estimated.
    share: f64,
}

impl Hnsw {
    /// Answers the query in `work.row` under a filter.
    pub(super) fn find_filtered(
        &self,
        request: &Request<'_>,
        filter: &dyn Filter,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let (mut codes, mut blurred) = (self.entries.walking_codes(), false);
        work.scratch.counters = Counters::default();
        let few = request.k == 0 || self.are_few(filter, request.ef);
        let is_asked = !few && request.screen.filter.is_some() && filter.count().is_none();
        let ask = if is_asked { self.entries.asking_cost(filter) } else { 1.0 };
        let mut known = Known { ask, share: 0.0 };
        work.verdicts.begin(0);
        let mut walked = None;
        if !few {
            walked = self.walk_filtered(codes, request, filter, &mut known, timer, work);
        }
        loop {
            if blurred && timer.expired() {
                // What the walk on codes found is more than the beginning of another.
                return;
            }
            let enough = timer.expired() || work.scratch.pool.iter().len() >= request.k;
            let Some(way) = walked.filter(|_| enough) else { break };
            codes = way.codes;
            let is_full = self.collect(codes, request, timer, work, hits);
            hits.set_plan(way.plan);
            blurred = work.head.is_blurred;
            match codes {
                Some(read) if is_full && blurred && !timer.expired() => {
                    let is_short = !work.head.has_large_errors;
                    let course = way.course.filter(|_| is_short);
                    if course.is_some_and(|course| course.is_over(work.kept.len())) {
                        break;
                    }
                    walked = course.and_then(|course| {
                        self.walk_farther(read, request, filter, course, timer, work)
                    });
                    if walked.is_none() {
                        // Another walk reads the vectors, or the finer codes.
                        self.search_was_blurred(read, work);
                        codes = self.entries.standing_in(codes);
                        walked =
                            self.walk_filtered(codes, request, filter, &mut known, timer, work);
                    }
                }
                _ if is_full || timer.expired() => return,
                _ => break,
            }
        }
        let walked = work.scratch.counters;
        let in_order = self.scans_in_order(request, known);
        self.scan_filtered(codes, request, filter, in_order, timer, work, hits);
        hits.set_counters(hits.distances_computed() + walked.distances, walked.hops);
    }

    /// Whether a scan asks about vectors in the order of distance, and not about each: where a call takes longer than a distance, or where
    /// this order costs less even if all rejected vectors are the nearest.
    fn scans_in_order(&self, request: &Request<'_>, Known { ask, share }: Known) -> bool {
        let (total, measure) = (self.len() as f64, self.scan_measure());
        let (ask, rejected) = match request.screen.only_excluded() {
            Some(excluded) => (LOOK_UP, (excluded.len() as f64).min(total)),
            None => (ask, (1.0 - share) * total),
        };
        let each = total * ask + (total - rejected) * measure;
        let in_order = total * measure + (rejected + request.k as f64) * (ask + IN_ORDER);
        ask > measure || in_order < each
    }

    /// Walks, where that costs less than a scan. What it found is left in the scratch.
    fn walk_filtered<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        known: &mut Known,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let mut seeds = std::mem::take(&mut work.seeds);
        let walked = self.walk_best(codes, request, filter, known, &mut seeds, timer, work);
        work.seeds = seeds;
        walked
    }

    /// The walk that is likely to cost least.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_best<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        known: &mut Known,
        seeds: &mut Vec<u32>,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let (Request { k, ef, .. }, ask) = (*request, known.ask);
        if let Some(excluded) = request.screen.only_excluded()
            && excluded.len() < self.len() / 2
        {
            return self.walk_around(codes, request, excluded.len(), timer, work);
        }
        let candidate = self.candidate_cost();
        let most = self.scan_ef();
        if ask > candidate {
            // Each call counts: none is made for an estimate.
            let costs = Costs { ask, scan: self.len() as f64 * self.scan_measure() };
            let course = Course { is_dear: true, ..Course::new(ef, k, most, costs) };
            return self.walk_and_ask(codes, request, filter, course, timer, work);
        }
        let Estimate { share, scan } = self.estimate(filter, ask, ef, seeds);
        known.share = share;
        let costs = Costs { ask, scan };
        let first = ef.max((k as f64 / share * IN_RESERVE) as usize);
        let in_order = first as f64 * candidate + k as f64 / share * ask;
        if ask > CHEAP && in_order < scan.min(self.walk_cost(share, ef, ask)) {
            let course = Course { is_dear: true, ..Course::new(first, k, most, costs) };
            return self.walk_and_ask(codes, request, filter, course, timer, work);
        }
        if scan <= self.walk_cost(share, ef, ask) {
            let pays = scan > SCOUT * self.walk_cost(1.0, SCOUTS.0 as usize, ask);
            let walk = || self.walk_nearby(codes, request, filter, costs, timer, work);
            pays.then(walk).flatten()
        } else if share > ONE_HOP {
            self.walk_over_all(codes, request, filter, share, costs, timer, work)
        } else {
            self.walk_by_detours(codes, request, filter, seeds, share, costs, timer, work)
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn scan_filtered(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        in_order: bool,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let codes = self.entries.standing_in(codes);
        if let Some(codes) = codes {
            self.entries.encoder.unit_into(&work.row, &mut work.coding.floats);
            codes.prepare(&mut work.coding);
        }
        let (entries, engine) = (&self.entries, &*self.engine);
        if in_order {
            entries.scan_in_order(engine, codes, request, filter, timer, work, hits);
        } else {
            entries.scan_accepted(engine, codes, request, filter, timer, work, hits);
        }
    }

    /// The walk of an unfiltered search, where so much of what is around the query is accepted, however few are elsewhere,
    /// that it costs less than a scan.
    fn walk_nearby<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        costs: Costs,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let beam = Beam::of(SCOUTS.0 as usize);
        self.walk_on(codes, beam, timer, work).ok()?;
        let share = self.accepted(filter, usize::MAX, timer, work) as f64 / SCOUTS.0;
        let cost = self.walk_cost(share, request.ef, costs.ask);
        if share <= ONE_HOP || cost >= costs.scan || timer.expired() {
            return None;
        }
        self.walk_over_all(codes, request, filter, share, costs, timer, work)
    }

    /// The walk of an unfiltered search, with a pool that is larger by what it will reject. How many it found that are
    /// accepted, where there are too few.
    fn walk_and_reject(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        share: f64,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<Plan, usize> {
        let ef = (request.ef as f64 / share).ceil() as usize;
        // It ends where the answers stand out, as an unfiltered one does.
        let expected = (request.k as f64 / share).ceil() as usize;
        let beam = self.beam(&Request { k: expected, ef, ..*request });
        if self.walk_on(codes, beam, timer, work).is_err() {
            return Err(0);
        }
        // Where the time is over, what there is counts.
        let enough = request.k.max(request.ef / 4 * 3);
        let accepted = self.accepted(filter, enough, timer, work);
        if !timer.expired() && accepted < enough {
            return Err(accepted);
        }
        let keys = self.entries.keys.view();
        let entries = &self.entries;
        let accepts =
            |slot: u32| entries.answers(slot, request.began) && filter.accepts(keys.row(slot)[0]);
        // Those beyond are neither measured again nor delivered, or there is no time for it.
        let most = match codes {
            Some(codes) if timer.expired() || codes.coder.is_fine() => Head::enough_for(request.k),
            Some(_) => usize::MAX,
            // Two of them may have one key.
            None if entries.replacing.is_ambiguous() => request.k.saturating_mul(2),
            None => request.k,
        };
        work.scratch.pool.retain(most, accepts);
        Ok(Plan::FilteredWalk)
    }

    /// The walk over all nodes, where so much around the query is accepted. It goes on where fewer
    /// are than elsewhere.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_over_all<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        share: f64,
        costs: Costs,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        if share <= ALMOST_ALL
            && let Ok(plan) = self.walk_and_reject(codes, request, filter, share, timer, work)
        {
            return Some(Walked::ended(plan, codes));
        }
        let course = self.course_over_all(codes, request, share, costs);
        self.walk_and_ask(codes, request, filter, course, timer, work)
    }

    /// The walk over all nodes, where so much around the query is accepted: how it goes.
    fn course_over_all(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        share: f64,
        costs: Costs,
    ) -> Course {
        let Request { k, ef, .. } = *request;
        // Where almost all are accepted but for some near the query, as many more are wanted as are rejected.
        let wanted = if share > ALMOST_ALL { k } else { k.max(ef / 4 * 3) };
        let first = (ef as f64 / share).ceil() as usize;
        // Longer than a scan takes, at a time.
        let pays = (costs.scan / self.candidate_cost()) as usize;
        let most = self.scan_ef().min(pays.max(first + 1));
        let wanted = wanted.max(self.head(codes, k));
        Course::new(first, wanted, most, costs)
    }

    /// Accepted candidates among which the `k` nearest are.
    fn head(&self, codes: Option<&Codes>, k: usize) -> usize {
        match codes {
            Some(codes) if self.entries.refines(codes) => Head::enough_for(k),
            _ => k,
        }
    }

    /// The walk around keys that are excluded, and nothing else is.
    fn walk_around<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        excluded: usize,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let Request { k, ef, .. } = *request;
        let most = self.scan_ef();
        let wanted = self.head(codes, k);
        let costs = Costs { ask: LOOK_UP, scan: self.len() as f64 * self.scan_measure() };
        let course = Course { rejects: excluded, ..Course::new(ef, wanted, most, costs) };
        self.walk_and_ask(codes, request, &request.screen, course, timer, work)
    }

    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_by_detours<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        seeds: &[u32],
        share: f64,
        costs: Costs,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let mut scouts = scouts(share);
        for _ in 0..2 {
            self.walk_on(codes, Beam::of(scouts as usize), timer, work).ok()?;
            let expected = scouts * share;
            let met = self.accepted(filter, usize::MAX, timer, work) as f64;
            if met > scouts * ONE_HOP && !timer.expired() {
                let share = met / scouts;
                return self.walk_over_all(codes, request, filter, share, costs, timer, work);
            }
            if timer.expired() || expected < 1.0 || met * AVOIDS >= expected {
                let order = if share > BLIND { Order::Directed } else { Order::Blind };
                self.detour(codes, request.ef, order, filter, seeds, timer, work);
                let plan = match order {
                    Order::Directed => Plan::DirectedTwoHop,
                    Order::Blind => Plan::BlindTwoHop,
                };
                return Some(Walked::ended(plan, codes));
            }
            // One in fifty filters that have nothing to do with the query does so by chance.
            scouts *= AGAIN;
        }
        None
    }

    /// How many of the nodes that a walk left are accepted, as far as there is time to ask; `most` at most.
    fn accepted(
        &self,
        filter: &dyn Filter,
        most: usize,
        timer: &mut Timer<'_>,
        work: &Work,
    ) -> usize {
        let keys = self.entries.keys.view();
        let accepts =
            |slot: u32| !self.entries.slots.is_hidden(slot) && filter.accepts(keys.row(slot)[0]);
        let met = work.scratch.pool.iter().take_while(|_| !timer.spent(1));
        met.filter(|&(_, slot)| accepts(slot)).take(most).count()
    }

    /// A walk among accepted nodes, from what an unfiltered one left.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn detour(
        &self,
        codes: Option<&Codes>,
        ef: usize,
        order: Order,
        filter: &dyn Filter,
        seeds: &[u32],
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) {
        let Work { scratch, row, coding, .. } = work;
        let (space, query) = match codes {
            Some(codes) => (Rows::new(&*codes.engine, &codes.rows, None), &coding.query),
            None => (Rows::new(&*self.engine, &self.entries.vectors, None), &*row),
        };
        // Taken after the rows: whoever has a row has a key.
        let keys = self.entries.keys.view();
        let accepts = &mut |slot: u32| {
            !self.entries.slots.is_hidden(slot) && filter.accepts(keys.row(slot)[0])
        };
        self.graph.search_accepted(space, query, ef, order, seeds, accepts, timer, scratch);
    }
}
