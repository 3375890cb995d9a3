//! What ways to answers under a filter cost, estimated before one is taken.

use crate::arena::Slot;
use crate::index::codes::representation::Representation;
use crate::index::entries::accepted::accepted;
use crate::index::entries::cost::{ASK, ASKED, LOOK_UP, measuring, measuring_in_order};
use crate::index::hnsw::Hnsw;
use crate::index::query::filter::Filter;
use crate::index::query::request::Request;

/// Slots that are asked about to estimate the share of accepted ones: at least so many, until so
/// many are accepted, at most so many. They also give a walk places to start from.
const LEAST_ASKED: u32 = 64;
const ENOUGH_ACCEPTED: usize = 32;
const MOST_ASKED: u32 = 2048;

/// Candidates up to which each costs the same. Beyond, fewer neighbours of a row are new: among 50,000 sentences, a walk computes 18
/// distances a candidate with 64 candidates, 14 with 256, 10 with 1,000 and 7 with 3,000. The cost of each falls with this power.
const SHORT: f64 = 64.0;
const FALLS: f64 = 0.25;

/// Above it, a walk over all nodes finds enough accepted ones on its way.
pub(super) const ONE_HOP: f64 = 0.4;
/// Below it, the distances that put the detours in order cost more than they save.
pub(super) const BLIND: f64 = 0.08;

/// Accepted nodes that the walk into the query's neighbourhood should meet before detours begin.
const EXPECTED: f64 = 4.0;
/// Candidates of that walk.
pub(super) const SCOUTS: (f64, f64) = (16.0, 256.0);
/// A scan that costs so many times more than their walk is worth a look whether they are accepted.
pub(super) const SCOUT: f64 = 8.0;
/// A walk by detours needs about as many accepted nodes within two hops, or it ends in a corner.
const TWO_HOPS_MEET: f64 = 8.0;

/// Calls up to so many units take no longer than other plans count for them.
pub(super) const CHEAP: f64 = 8.0;

/// Candidates of the walk into the query's neighbourhood, where so many are accepted.
pub(super) fn scouts(share: f64) -> f64 {
    (EXPECTED / share).clamp(SCOUTS.0, SCOUTS.1).ceil()
}

/// What is known of a filter before the search.
pub(super) struct Estimate {
    /// Accepted among all vectors.
    pub(super) share: f64,
    /// Units that a look at every accepted vector costs, by its code if that is less.
    pub(super) scan: f64,
    /// Units that a look at every accepted vector costs, without codes.
    pub(super) exact: f64,
}

impl Hnsw {
    /// Returns the units that one more candidate of a short walk on `form` costs. Half of a row's neighbours were met
    /// before.
    pub(super) fn candidate_cost(&self, form: Representation<'_>) -> f64 {
        self.graph.row_capacity() as f64 / 2.0 * measuring(form.row_bytes()) * 1.5
    }

    /// Returns the units that a walk on `form` costs which keeps `count` candidates.
    pub(super) fn candidates_cost(&self, form: Representation<'_>, count: f64) -> f64 {
        let short = count.min(SHORT);
        self.candidate_cost(form) * short * (count / short.max(1.0)).powf(1.0 - FALLS)
    }

    /// Returns the number of candidates that a walk on `form` keeps for these units.
    pub(super) fn candidates_for(&self, form: Representation<'_>, units: f64) -> f64 {
        let count = units / self.candidate_cost(form);
        if count <= SHORT { count } else { SHORT * (count / SHORT).powf(1.0 / (1.0 - FALLS)) }
    }

    /// Returns the accepted share of `slots` slots, spread over the index; 1 of an empty sample.
    pub(super) fn sampled_share(&self, filter: &dyn Filter, slots: u32) -> f64 {
        let keys = self.entries.keys.view();
        let (mut asked, mut accepted) = (0, 0);
        for (_, key) in self.entries.sampled(keys, 0..slots.min(keys.len())) {
            asked += 1;
            accepted += u32::from(filter.accepts(key));
        }
        if asked == 0 { 1.0 } else { f64::from(accepted) / f64::from(asked) }
    }

    /// Asks about some slots, spread over all; those accepted are left in `seeds`.
    pub(super) fn estimate(
        &self,
        filter: &dyn Filter,
        ask: f64,
        Request { k, ef, .. }: Request<'_>,
        seeds: &mut Vec<Slot>,
    ) -> Estimate {
        let keys = self.entries.keys.view();
        let total = keys.len();
        seeds.clear();
        let (mut tried, mut asked) = (0, 0);
        let (mut slots, mut held) = ([Slot::new(0); ASKED], [0; ASKED]);
        // A small part of a walk, where calls are not for nothing.
        let budget = self.candidates_cost(self.entries.walked(), ef as f64) / 32.0 / ask;
        let most = if ask > CHEAP { (budget as u32).clamp(4, MOST_ASKED) } else { MOST_ASKED };
        let most = most.min(total);
        while tried < most && (asked < LEAST_ASKED || seeds.len() < ENOUGH_ACCEPTED) {
            let mut count = 0;
            for near in self.entries.sampled(keys, tried..most.min(tried + ASKED as u32)) {
                (slots[count], held[count]) = near;
                count += 1;
            }
            tried += ASKED as u32;
            asked += count as u32;
            seeds.extend_from_slice(accepted(filter, &mut slots, &held[..count]));
        }
        // Walks meet no slots that hold nothing; a scan passes over them.
        let slots = f64::from(total);
        let total = slots - self.entries.slots.hidden() as f64;
        let (asked, total) = (f64::from(asked).max(1.0), total.max(1.0));
        // One more than was seen: none accepted among few does not mean that there is none.
        let share = ((seeds.len() as f64 + 0.5) / (asked + 0.5)).min(1.0);
        let (share, ask) = match filter.count() {
            Some(count) => {
                let count = (count as f64).min(total);
                // Keys that are not in the index count, too; only the slots asked show that.
                let most = count / total;
                let expected = asked * most;
                let fewer = (seeds.len() as f64) < expected - 3.0 * expected.sqrt() - 1.0;
                let share = if fewer || asked >= total { share.min(most) } else { most };
                (share, (count * LOOK_UP).min(slots))
            }
            None => (share, slots * ask),
        };
        let accepted = share * total;
        let scan = ask + self.accepted_cost(k, accepted);
        Estimate { share, scan, exact: ask + accepted * self.scan_measure() }
    }

    /// Units that a scan needs for each vector that is accepted.
    pub(super) fn scan_measure(&self) -> f64 {
        measuring(self.entries.exact().row_bytes())
    }

    /// Units that a scan of all vectors in order needs for each.
    pub(super) fn scan_measure_in_order(&self) -> f64 {
        measuring_in_order(self.entries.exact().row_bytes())
    }

    /// Returns the accepted share of all vectors if it is known, and so few are accepted that no walk costs less than to look at each,
    /// wherever they are.
    pub(super) fn few(
        &self,
        filter: &dyn Filter,
        Request { k, ef, .. }: Request<'_>,
    ) -> Option<f64> {
        let count = filter.count()? as f64;
        let scouts = self.walk_cost(1.0, SCOUTS.0 as usize, 0.0);
        let least = self.walk_cost(1.0, ef, 0.0).min(SCOUT * scouts);
        let cost = count * LOOK_UP + self.accepted_cost(k, count);
        (cost <= least).then(|| (count / (self.len() as f64).max(1.0)).min(1.0))
    }

    /// Units that a walk costs, roughly.
    pub(super) fn walk_cost(&self, share: f64, ef: usize, ask: f64) -> f64 {
        let form = self.entries.walked();
        let measure = measuring(form.row_bytes());
        let (ef, row) = (ef as f64, self.graph.row_capacity() as f64);
        // The least is in what asking somewhere in memory costs.
        let ask = ASK + ask - 1.0;
        let over_all = |ef: f64| self.candidates_cost(form, ef);
        if share > ONE_HOP {
            over_all(ef / share) + ef / share * ask
        } else if share > BLIND {
            // A row of gates and a row of accepted nodes are measured, some gates' rows read.
            ef * row * (2.0 * measure + ask / share)
        } else if share * row * row > TWO_HOPS_MEET {
            // Half of the nodes two hops away were asked about before.
            over_all(scouts(share)) + ef * row * row * ask / 2.0
        } else {
            f64::INFINITY
        }
    }
}
