//! The answers of a filter, and the time that one takes.

use std::hint::black_box;
use std::time::Instant;

use crate::arena::Visited;
use crate::index::entries::Entries;
use crate::index::query::filter::Filter;

/// Nanoseconds of the unit of costs: asking about one slot after the other.
const UNIT: f64 = 2.5;

/// Calls that are timed together if they take fewer nanoseconds than that: reading the clock takes long, and a first call
/// longer than others.
const TIMED: usize = 8;
const QUICK: f64 = 250.0;

/// Nanoseconds of a call that takes as long as many distances. A second call that takes as long shows that the first was no exception.
const SLOW: f64 = 10_000.0;

/// The verdicts of a filter about slots, each asked for once.
#[derive(Debug, Default)]
pub(in crate::index) struct Verdicts {
    asked: Visited,
    accepted: Visited,
    slots: u32,
    /// Verdicts about the few slots that are younger than the search.
    young: Vec<(u32, bool)>,
}

impl Verdicts {
    /// Forgets all verdicts, and makes room for those about the first `slots` slots.
    pub(in crate::index) fn begin(&mut self, slots: u32) {
        self.asked.begin(slots);
        self.accepted.begin(slots);
        self.slots = slots;
        self.young.clear();
    }

    /// Returns the verdict about a slot. Calls `ask` the first time.
    pub(in crate::index::hnsw::filtered) fn of(
        &mut self,
        slot: u32,
        ask: impl FnOnce() -> bool,
    ) -> bool {
        if slot >= self.slots {
            return self.known(slot).unwrap_or_else(|| {
                let verdict = ask();
                self.young.push((slot, verdict));
                verdict
            });
        }
        if self.asked.insert(slot) && ask() {
            self.accepted.insert(slot);
        }
        self.accepted.contains(slot)
    }

    /// Returns the verdict about a slot if the filter was asked.
    pub(in crate::index::hnsw::filtered) fn known(&self, slot: u32) -> Option<bool> {
        if slot >= self.slots {
            let known = self.young.iter().find(|&&(young, _)| young == slot);
            return known.map(|&(_, verdict)| verdict);
        }
        self.asked.contains(slot).then(|| self.accepted.contains(slot))
    }

    /// Bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        self.asked.bytes()
            + self.accepted.bytes()
            + self.young.capacity() * size_of::<(u32, bool)>()
    }
}

impl Entries {
    /// Returns the units that a call of the filter takes. It makes few calls: one may take long.
    pub(in crate::index) fn asking_cost(&self, filter: &dyn Filter) -> f64 {
        let keys = self.keys.view();
        let sample = self.sampled(keys, 0..keys.len().min(4 * TIMED as u32));
        let mut held = sample.map(|(_, key)| key);
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
        // Reading the clock takes some of it, on some machines longer than a filter.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_asked_once_about_each_slot() {
        let mut verdicts = Verdicts::default();
        verdicts.begin(10);
        for slot in [3, 4, 12, 13] {
            assert_eq!(verdicts.known(slot), None);
            assert_eq!(verdicts.of(slot, || slot % 2 == 0), slot % 2 == 0);
            assert_eq!(verdicts.of(slot, || panic!("asked again")), slot % 2 == 0);
            assert_eq!(verdicts.known(slot), Some(slot % 2 == 0));
        }
        verdicts.begin(20);
        assert!([3, 4, 12, 13].into_iter().all(|slot| verdicts.known(slot).is_none()));
    }
}
