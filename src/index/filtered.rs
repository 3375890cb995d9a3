//! Answers under a filter: which way to look for them, and looking.
//!
//! Every way keeps one promise: `k` hits, or all vectors that are accepted if there are fewer. A
//! walk that ends with less is followed by a look at every accepted vector.

use super::ask::Course;
use super::codes::Codes;
use super::deliver::Scale;
use super::engine::Engine;
use super::entries::Entries;
use super::estimate::{
    ASKED, BLIND, CHEAP, Estimate, LOOK_UP, ONE_HOP, SCOUT, SCOUTS, measuring, scouts,
};
use super::filter::Filter;
use super::hits::{Hits, Plan};
use super::hnsw::Hnsw;
use super::limit::Timer;
use super::request::Request;
use super::rerank::Head;
use super::scan::{Field, is_set};
use super::space::Rows;
use super::work::Work;
use crate::graph::{Beam, Counters, Order, Watch};

/// So many times more are met by a second walk, where the first met suspiciously few.
const AGAIN: f64 = 4.0;
/// Where so many times fewer than expected are accepted around the query, the filter keeps away
/// from it. The answers are then scattered in all directions, each far from the others, and no
/// walk finds most of them.
const AVOIDS: f64 = 4.0;

/// Above it, the search goes as if all were accepted, until it meets those that are not.
const ALMOST_ALL: f64 = 0.9;

/// How many times as many candidates are kept, where they are asked about in order, as are expected to be needed.
const IN_RESERVE: f64 = 1.3;

impl Entries {
    /// The nearest accepted vectors, exactly: by the vectors if they are there, else by the codes.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    pub(super) fn scan_accepted(
        &self,
        engine: &dyn Engine,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, coding, matches, hidden, .. } = work;
        let (engine, column) =
            codes.map_or((engine, &self.vectors), |codes| (&*codes.engine, &codes.rows));
        let query = if codes.is_some() { &coding.query } else { row };
        let scale = codes.map_or(Scale::Vectors(engine), Scale::Codes);
        let within = self.key_within(scale, request.radius);
        let slots = column.len();
        let field = match filter.count() {
            // Looking up a few keys is less than asking about all slots.
            Some(count) if (count as f64) * LOOK_UP < slots as f64 => {
                let mut field = Field { engine, rows: column.view(), hidden: &[], within };
                matches.begin(request.k.min(slots));
                filter.for_each(&mut |key| {
                    if timer.spent(1) {
                        return false;
                    }
                    let slot = self.slot(key);
                    if slot.is_some_and(|slot| slot >= field.rows.len()) {
                        // Younger than the view, perhaps in place of one that is in it.
                        field.rows = column.view();
                    }
                    let slot = slot.filter(|&slot| slot < field.rows.len());
                    slot.is_none_or(|slot| matches.add(field, query, slot, timer))
                });
                field
            }
            _ => {
                // As many as take so long as measuring one row.
                let asked = (ASKED as f64 / measuring(self.row_bytes(codes))).ceil() as usize;
                let (rows, kept) = self.moment(column, request.k, hidden);
                let field = Field { engine, rows, hidden, within };
                matches.begin(kept.min(rows.len() as usize));
                self.each_accepted(field, filter, |slots| {
                    slots.iter().all(|&slot| matches.add(field, query, slot, timer))
                        && !timer.spent(asked)
                });
                field
            }
        };
        matches.finish(field, query, |found| {
            self.deliver(scale, request, found, hits);
        });
        hits.set_counters(matches.measured, 0);
        hits.set_plan(Plan::FilteredScan);
    }

    /// Calls `each` with the slots of a field that hold accepted keys, those of a tile at a time, until it returns `false`.
    fn each_accepted(
        &self,
        Field { rows, hidden, .. }: Field<'_>,
        filter: &dyn Filter,
        mut each: impl FnMut(&[u32]) -> bool,
    ) {
        // Taken after the rows: whoever has a row has a key.
        let keys = self.keys.view();
        let (mut slots, mut held) = ([0; ASKED], [0; ASKED]);
        let mut next = 0;
        while next < rows.len() {
            let tile = next..rows.len().min(next + ASKED as u32);
            let asked = if hidden.is_empty() {
                let run = keys.run(tile.clone());
                slots.iter_mut().zip(tile).for_each(|(place, slot)| *place = slot);
                next += run.len() as u32;
                run
            } else {
                next = tile.end;
                let mut count = 0;
                for slot in tile.filter(|&slot| !is_set(hidden, slot)) {
                    (slots[count], held[count]) = (slot, keys.row(slot)[0]);
                    count += 1;
                }
                &held[..count]
            };
            if !each(accepted(filter, &mut slots, asked)) {
                return;
            }
        }
    }
}

/// Those of the slots whose keys, of which there may be fewer, are accepted.
pub(super) fn accepted<'a>(
    filter: &dyn Filter,
    slots: &'a mut [u32; ASKED],
    keys: &[u64],
) -> &'a [u32] {
    // Bits that stand for no key may be anything.
    let known = u64::MAX.checked_shr((ASKED - keys.len()) as u32).unwrap_or(0);
    let mut bits = filter.accepts_each(keys) & known;
    let mut count = 0;
    while bits != 0 {
        slots[count] = slots[bits.trailing_zeros() as usize];
        count += 1;
        bits &= bits - 1;
    }
    &slots[..count]
}

/// What ways cost, in units.
#[derive(Debug, Clone, Copy)]
struct Costs {
    /// A call of the filter, beyond the least.
    ask: f64,
    /// A look at every accepted vector.
    scan: f64,
}

/// Which way a walk went, and what it read at last.
type Walked<'a> = (Plan, Option<&'a Codes>);

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
        loop {
            let walked = if few {
                None
            } else {
                let mut seeds = std::mem::take(&mut work.seeds);
                let plan = self.walk_filtered(codes, request, filter, ask, &mut seeds, timer, work);
                work.seeds = seeds;
                plan
            };
            if blurred && timer.expired() {
                // What the walk on codes found is more than the beginning of another.
                return;
            }
            let enough = timer.expired() || work.scratch.pool.iter().len() >= request.k;
            let Some((plan, walked)) = walked.filter(|_| enough) else { break };
            codes = walked;
            let is_full = self.collect(codes, request, timer, work, hits);
            hits.set_plan(plan);
            blurred = work.head.is_blurred;
            match codes {
                // The way is looked for again, by the vectors or what stands in for them.
                Some(walked) if is_full && blurred && !timer.expired() => {
                    self.search_was_blurred(walked, work);
                    codes = self.entries.standing_in(codes);
                }
                _ if is_full || timer.expired() => return,
                _ => break,
            }
        }
        let walked = work.scratch.counters;
        let in_order = request.screen.only_excluded().is_some() || ask > self.scan_measure();
        self.scan_filtered(codes, request, filter, in_order, timer, work, hits);
        hits.set_counters(hits.distances_computed() + walked.distances, walked.hops);
    }

    /// Walks, where that costs less than a scan. What it found is left in the scratch.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_filtered<'a>(
        &'a self,
        codes: Option<&'a Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        ask: f64,
        seeds: &mut Vec<u32>,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Walked<'a>> {
        let Request { k, ef, .. } = *request;
        if let Some(excluded) = request.screen.only_excluded()
            && excluded.len() < self.len() / 2
        {
            return self.walk_around(codes, request, excluded.len(), timer, work);
        }
        let candidate = self.candidate_cost();
        let most = self.scan_ef();
        if ask > candidate {
            // Each call counts: none is made for an estimate.
            let course = Course { first: ef, wanted: k, most, rejects: usize::MAX, is_dear: true };
            return self.walk_and_ask(codes, request, filter, course, timer, work);
        }
        let Estimate { share, scan } = self.estimate(filter, ask, ef, seeds);
        let costs = Costs { ask, scan };
        let first = ef.max((k as f64 / share * IN_RESERVE) as usize);
        let in_order = first as f64 * candidate + k as f64 / share * ask;
        if ask > CHEAP && in_order < scan.min(self.walk_cost(share, ef, ask)) {
            let course = Course { first, wanted: k, most, rejects: usize::MAX, is_dear: true };
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
            return Some((plan, codes));
        }
        if share <= ALMOST_ALL && codes.is_some() {
            // Codes may not tell what is around the query apart.
            return None;
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
        Course { first, wanted, most, rejects: usize::MAX, is_dear: false }
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
        let course = Course { first: ef, wanted, most, rejects: excluded, is_dear: false };
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
                return Some((plan, codes));
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
