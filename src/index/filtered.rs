//! Answers under a filter: which way to look for them, and looking.
//!
//! Every way keeps one promise: `k` hits, or all vectors that are accepted if there are fewer. A
//! walk that ends with less is followed by a look at every accepted vector.

use super::codes::Codes;
use super::deliver::Scale;
use super::engine::Engine;
use super::entries::Entries;
use super::filter::Filter;
use super::hits::{Hits, Plan};
use super::hnsw::Hnsw;
use super::limit::Timer;
use super::request::Request;
use super::rerank::Head;
use super::scan::{Field, is_set};
use super::scatter::scattered;
use super::space::Rows;
use super::work::Work;
use crate::graph::{Beam, Counters, Order, Watch};

/// Slots that are asked about to estimate the share of accepted ones: at least so many, until so
/// many are accepted, at most so many. They also give a walk places to start from.
const LEAST_ASKED: u32 = 64;
const ENOUGH_ACCEPTED: usize = 32;
const MOST_ASKED: u32 = 2048;

/// Above it, a walk over all nodes finds enough accepted ones on its way.
const ONE_HOP: f64 = 0.4;
/// Below it, the distances that put the detours in order cost more than they save.
const BLIND: f64 = 0.08;

/// Accepted nodes that the walk into the query's neighbourhood should meet before detours begin.
const EXPECTED: f64 = 4.0;
/// Candidates of that walk.
const SCOUTS: (f64, f64) = (16.0, 256.0);
/// A scan that costs so many times more than their walk is worth a look whether they are accepted.
const SCOUT: f64 = 8.0;
/// So many times more are met by a second walk, where the first met suspiciously few.
const AGAIN: f64 = 4.0;
/// Where so many times fewer than expected are accepted around the query, the filter keeps away
/// from it. The answers are then scattered in all directions, each far from the others, and no
/// walk finds most of them.
const AVOIDS: f64 = 4.0;

/// A walk by detours needs about as many accepted nodes within two hops, or it ends in a corner.
const TWO_HOPS_MEET: f64 = 8.0;

/// Costs in the unit of asking about one slot after the other, about 2.5 ns: looking up a key, and asking about a slot somewhere in
/// memory.
const LOOK_UP: f64 = 10.0;
const ASK: f64 = 9.0;

/// Measuring a row of so many bytes somewhere in memory, in the same unit: 50 ns for 256, 200 for 1536.
fn measuring(bytes: usize) -> f64 {
    8.0 + bytes as f64 / 22.0
}

/// Slots that are asked about together, and between two thoughts of the time.
const ASKED: usize = 64;

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
        let slots = column.len();
        let field = match filter.count() {
            // Looking up a few keys is less than asking about all slots.
            Some(count) if (count as f64) * LOOK_UP < slots as f64 => {
                let mut field = Field { engine, rows: column.view(), hidden: &[] };
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
                let field = Field { engine, rows, hidden };
                matches.begin(kept.min(rows.len() as usize));
                self.each_accepted(field, filter, |slots| {
                    slots.iter().all(|&slot| matches.add(field, query, slot, timer))
                        && !timer.spent(asked)
                });
                field
            }
        };
        let scale = codes.map_or(Scale::Vectors(engine), Scale::Codes);
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
fn accepted<'a>(filter: &dyn Filter, slots: &'a mut [u32; ASKED], keys: &[u64]) -> &'a [u32] {
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

/// Candidates of the walk into the query's neighbourhood, where so many are accepted.
fn scouts(share: f64) -> f64 {
    (EXPECTED / share).clamp(SCOUTS.0, SCOUTS.1).ceil()
}

/// What is known of a filter before the search.
struct Estimate {
    /// Accepted among all vectors.
    share: f64,
    /// Units that a look at every accepted vector costs.
    scan: f64,
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
        loop {
            let plan = if request.k == 0 || self.are_few(filter, request.ef) {
                None
            } else {
                let mut seeds = std::mem::take(&mut work.seeds);
                let plan = self.walk_filtered(codes, request, filter, &mut seeds, timer, work);
                work.seeds = seeds;
                plan
            };
            if blurred && timer.expired() {
                // What the walk on codes found is more than the beginning of another.
                return;
            }
            let enough = timer.expired() || work.scratch.pool.iter().len() >= request.k;
            let Some(plan) = plan.filter(|_| enough) else { break };
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
        self.scan_filtered(codes, request, filter, timer, work, hits);
        hits.set_counters(hits.distances_computed() + walked.distances, walked.hops);
    }

    /// Walks, where that costs less than a scan. What it found is left in the scratch.
    fn walk_filtered(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        seeds: &mut Vec<u32>,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Plan> {
        let Estimate { share, scan } = self.estimate(filter, seeds);
        if scan <= self.walk_cost(share, request.ef) {
            let pays = scan > SCOUT * self.walk_cost(1.0, SCOUTS.0 as usize);
            let walk = || self.walk_nearby(codes, request, filter, scan, timer, work);
            pays.then(walk).flatten()
        } else if share > ONE_HOP {
            self.walk_over_all(codes, request, filter, seeds, share, timer, work)
        } else {
            self.walk_by_detours(codes, request, filter, seeds, share, timer, work)
        }
    }

    fn scan_filtered(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let codes = self.entries.standing_in(codes);
        if let Some(codes) = codes {
            self.entries.encoder.unit_into(&work.row, &mut work.coding.floats);
            codes.prepare(&mut work.coding);
        }
        self.entries.scan_accepted(&*self.engine, codes, request, filter, timer, work, hits);
    }

    /// Asks about some slots, spread over all; those accepted are left in `seeds`.
    fn estimate(&self, filter: &dyn Filter, seeds: &mut Vec<u32>) -> Estimate {
        let keys = self.entries.keys.view();
        let total = keys.len();
        seeds.clear();
        let (mut tried, mut asked) = (0, 0);
        let (mut slots, mut held) = ([0; ASKED], [0; ASKED]);
        let most = MOST_ASKED.min(total);
        while tried < most && (asked < LEAST_ASKED || seeds.len() < ENOUGH_ACCEPTED) {
            let mut count = 0;
            for at in tried..most.min(tried + ASKED as u32) {
                let slot = scattered(at, total);
                // The key of a slot that holds nothing may be being written.
                if !self.entries.slots.is_hidden(slot) {
                    (slots[count], held[count]) = (slot, keys.row(slot)[0]);
                    count += 1;
                }
            }
            tried += ASKED as u32;
            asked += count as u32;
            seeds.extend_from_slice(accepted(filter, &mut slots, &held[..count]));
        }
        let measure = self.scan_measure();
        // Walks meet no slots that hold nothing; a scan passes over them.
        let slots = f64::from(total);
        let total = slots - self.entries.slots.hidden() as f64;
        let (asked, total) = (f64::from(asked).max(1.0), total.max(1.0));
        // One more than was seen: none accepted among few does not mean that there is none.
        let share = ((seeds.len() as f64 + 0.5) / (asked + 0.5)).min(1.0);
        match filter.count() {
            Some(count) => {
                let count = (count as f64).min(total);
                // Keys that are not in the index count, too; only the slots asked show that.
                let most = count / total;
                let expected = asked * most;
                let fewer = (seeds.len() as f64) < expected - 3.0 * expected.sqrt() - 1.0;
                let share = if fewer || asked >= total { share.min(most) } else { most };
                let ask = (count * LOOK_UP).min(slots);
                Estimate { share, scan: ask + share * total * measure }
            }
            None => Estimate { share, scan: slots + share * total * measure },
        }
    }

    /// Units that a scan needs for each vector that is accepted.
    fn scan_measure(&self) -> f64 {
        measuring(self.entries.row_bytes(self.entries.standing_in(self.entries.codes())))
    }

    /// Whether so few keys are accepted that no walk costs less than to look at each, wherever they are.
    fn are_few(&self, filter: &dyn Filter, ef: usize) -> bool {
        let least = self.walk_cost(1.0, ef).min(SCOUT * self.walk_cost(1.0, SCOUTS.0 as usize));
        let each = LOOK_UP + self.scan_measure();
        filter.count().is_some_and(|count| count as f64 * each <= least)
    }

    /// Units that a walk costs, roughly.
    fn walk_cost(&self, share: f64, ef: usize) -> f64 {
        let measure = measuring(self.row_bytes());
        let (ef, row) = (ef as f64, self.graph.row_capacity() as f64);
        // Half of a row's neighbours were met before.
        let over_all = |ef: f64| ef * row / 2.0 * measure * 1.5;
        if share > ONE_HOP {
            over_all(ef / share)
        } else if share > BLIND {
            // A row of gates and a row of accepted nodes are measured, some gates' rows read.
            ef * row * (2.0 * measure + ASK / share)
        } else if share * row * row > TWO_HOPS_MEET {
            // Half of the nodes two hops away were asked about before.
            over_all(scouts(share)) + ef * row * row * ASK / 2.0
        } else {
            f64::INFINITY
        }
    }

    /// The walk of an unfiltered search, where so much of what is around the query is accepted, however few are elsewhere,
    /// that it costs less than a scan.
    fn walk_nearby(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        scan: f64,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Plan> {
        let beam = Beam::of(SCOUTS.0 as usize);
        self.walk_on(codes, beam, timer, work).ok()?;
        let share = self.accepted(filter, usize::MAX, timer, work) as f64 / SCOUTS.0;
        if share <= ONE_HOP || self.walk_cost(share, request.ef) >= scan || timer.expired() {
            return None;
        }
        self.walk_and_reject(codes, request, filter, share, timer, work).ok()
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
        if self.walk_on(codes, Beam::of(ef), timer, work).is_err() {
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

    /// [`Self::walk_and_reject`].
    /// Where fewer are accepted around the query than elsewhere, a walk by detours follows; where
    /// next to none are, nothing (see [`AVOIDS`]).
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_over_all(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        seeds: &[u32],
        share: f64,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Plan> {
        let accepted = match self.walk_and_reject(codes, request, filter, share, timer, work) {
            Ok(plan) => return Some(plan),
            Err(accepted) => accepted as f64,
        };
        if accepted * AVOIDS < request.ef as f64 {
            return None;
        }
        self.detour(codes, request.ef, Order::Directed, filter, seeds, timer, work);
        Some(Plan::DirectedTwoHop)
    }

    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn walk_by_detours(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        filter: &dyn Filter,
        seeds: &[u32],
        share: f64,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Option<Plan> {
        let mut scouts = scouts(share);
        for _ in 0..2 {
            self.walk_on(codes, Beam::of(scouts as usize), timer, work).ok()?;
            let expected = scouts * share;
            let met = self.accepted(filter, usize::MAX, timer, work) as f64;
            if met > scouts * ONE_HOP && !timer.expired() {
                let share = met / scouts;
                return self.walk_over_all(codes, request, filter, seeds, share, timer, work);
            }
            if timer.expired() || expected < 1.0 || met * AVOIDS >= expected {
                let order = if share > BLIND { Order::Directed } else { Order::Blind };
                self.detour(codes, request.ef, order, filter, seeds, timer, work);
                return Some(match order {
                    Order::Directed => Plan::DirectedTwoHop,
                    Order::Blind => Plan::BlindTwoHop,
                });
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
