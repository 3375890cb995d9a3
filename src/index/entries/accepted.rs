//! Exact answers under a filter: every accepted vector is measured, or every vector until enough are accepted.

use super::Entries;
use super::cost::{ASKED, LOOK_UP, measuring};
use super::key_hints::LEAST;
use crate::arena::Slot;
use crate::graph::Watch;
use crate::index::codes::representation::Representation;
use crate::index::distances::field::{Field, is_set};
use crate::index::query::budget::Timer;
use crate::index::query::filter::Filter;
use crate::index::query::hits::{Hits, SearchPlan};
use crate::index::query::key_sets::KeySet;
use crate::index::query::request::Request;
use crate::index::scratch::Work;

/// Candidates that are put in order together when all vectors were measured, at first, and the growth of the next ones.
const FIRST: usize = 64;
const GROWTH: usize = 4;

/// The cost of looking up a key whose slot is guessed, in the unit of asking about a slot.
const GUESS: f64 = 2.0;

impl Entries {
    /// Delivers the nearest accepted vectors, exactly by their form: by the vectors, or by codes.
    pub(in crate::index) fn scan_accepted(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let measured = self.nearest_accepted(form, request, request.k, timer, work);
        self.deliver(form, request, &mut work.ranked.iter().copied(), hits);
        hits.set_counters(measured, 0);
        hits.set_plan(SearchPlan::FilteredScan);
    }

    /// Leaves the `wanted` nearest accepted vectors by this form in `work.ranked`, the nearest first. Returns the number of distances
    /// computed.
    pub(in crate::index) fn nearest_accepted(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        wanted: usize,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> u64 {
        let Work { row, coding, matches, hidden, ranked, .. } = work;
        ranked.clear();
        let Some(filter) = request.screen.filter() else { return 0 };
        let Representation { rows: column, engine, .. } = form;
        let within = self.order_within(form, request.radius);
        let query = form.prepare(&self.encoder, row, coding);
        let (slots, count) = (column.len(), filter.count());
        let costs_less = |look_up: f64, count: usize| (count as f64) * look_up < slots as f64;
        // A few keys are looked up without a view of all.
        let is_few = count.is_some_and(|count| count < LEAST && costs_less(LOOK_UP, count));
        let (rows, kept) =
            if is_few { (column.view(), wanted) } else { self.moment(column, wanted, hidden) };
        // Taken after the rows: each row has a key.
        let keys = self.keys.view();
        let guesses = count
            .filter(|&count| costs_less(GUESS, count))
            .and_then(|count| self.hints.guesses(keys, (rows.len(), hidden), count));
        let look_up = if guesses.is_some() { GUESS } else { LOOK_UP };
        let field = match count {
            // Looking up these keys is less than asking about all slots.
            Some(count) if costs_less(look_up, count) => {
                let mut field = Field { engine, rows, hidden: &[], within };
                matches.begin(wanted.min(slots));
                filter.for_each(&mut |key| {
                    if timer.spent(1) {
                        return false;
                    }
                    let guess = guesses.as_ref().and_then(|guesses| guesses.slot(key));
                    let slot = guess.or_else(|| self.slot(key));
                    if slot.is_some_and(|slot| !field.rows.has(slot)) {
                        // Younger than the view, perhaps in place of one that is in it.
                        field.rows = column.view();
                    }
                    let slot = slot.filter(|&slot| field.rows.has(slot));
                    slot.is_none_or(|slot| matches.add(field, query, slot, timer))
                });
                field
            }
            _ => {
                // Calls that take the time of measuring one row.
                let asked = (ASKED as f64 / measuring(form.row_bytes())).ceil() as usize;
                let field = Field { engine, rows, hidden, within };
                matches.begin(kept.min(rows.len() as usize));
                self.each_accepted(field, filter, |slots| {
                    slots.iter().all(|&slot| matches.add(field, query, slot, timer))
                        && !timer.spent(asked)
                });
                field
            }
        };
        matches.finish(field, query, |found| ranked.extend(found));
        matches.measured
    }

    /// Delivers the same for filters that take longer than distances: all vectors are measured, and asked about in the order of
    /// distance until enough are accepted. Verdicts in `work`, which must have begun, are not asked for again.
    pub(in crate::index) fn scan_in_order(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Some(filter) = request.screen.filter() else { return };
        let Work { row, coding, hidden, all, ranked, verdicts, .. } = work;
        let query = form.prepare(&self.encoder, row, coding);
        let within = self.order_within(form, request.radius);
        let (rows, wanted) = self.moment(form.rows, request.k, hidden);
        let field = Field { engine: form.engine, rows, hidden, within };
        let measured = field.measure_all(query, all, timer);
        // Taken after the rows: each row has a key.
        let keys = self.keys.view();
        ranked.clear();
        // All excluded vectors may be the nearest.
        let excluded = request.screen.only_excluded().map_or(0, KeySet::len);
        let size = wanted.saturating_mul(2).saturating_add(excluded);
        let mut size = FIRST.max(size).min(all.len());
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
                if verdicts.of(near.1, || filter.accepts(keys.row(near.1)[0])) {
                    ranked.push(near);
                }
            }
            (from, size) = (end, size.saturating_mul(GROWTH));
        }
        self.deliver(form, request, &mut ranked.iter().copied(), hits);
        hits.set_counters(measured, 0);
        hits.set_plan(SearchPlan::FilteredScan);
    }

    /// Calls `each` with the slots of a field that hold accepted keys, those of a tile at a time, until it returns `false`.
    fn each_accepted(
        &self,
        Field { rows, hidden, .. }: Field<'_>,
        filter: &dyn Filter,
        mut each: impl FnMut(&[Slot]) -> bool,
    ) {
        // Taken after the rows: each row has a key.
        let keys = self.keys.view();
        let (mut slots, mut held) = ([Slot::new(0); ASKED], [0; ASKED]);
        let mut next = 0;
        while next < rows.len() {
            let tile = next..rows.len().min(next + ASKED as u32);
            let asked = if hidden.is_empty() {
                let run = keys.run(tile.clone());
                slots.iter_mut().zip(tile).for_each(|(place, slot)| *place = Slot::new(slot));
                next += run.len() as u32;
                run
            } else {
                next = tile.end;
                let mut count = 0;
                for slot in tile.map(Slot::new).filter(|&slot| !is_set(hidden, slot)) {
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
pub(in crate::index) fn accepted<'a>(
    filter: &dyn Filter,
    slots: &'a mut [Slot; ASKED],
    keys: &[u64],
) -> &'a [Slot] {
    // Bits beyond the keys may have any value.
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
