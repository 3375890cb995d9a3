//! Costs of searches under a filter: calls of the filter, look-ups of keys, and rows that are measured.

use std::hint::black_box;
use std::ops::Range;

use super::Entries;
use crate::arena::{Slot, View};
use crate::clock::Instant;
use crate::index::query::filter::Filter;
use crate::index::sampling::scattered;

/// Nanoseconds of the unit of costs: asking about one slot after the other.
const UNIT: f64 = 2.5;

/// Costs in the unit of asking about one slot after the other, about 2.5 ns: looking up a key, and asking about a slot somewhere in
/// memory.
pub(in crate::index) const LOOK_UP: f64 = 10.0;
pub(in crate::index) const ASK: f64 = 9.0;

/// Returns the cost of measuring a row of `bytes` bytes somewhere in memory, in the same unit: 50 ns for 256, 200 for 1536.
pub(in crate::index) fn measuring(bytes: usize) -> f64 {
    8.0 + bytes as f64 / 22.0
}

/// Bytes of a row after which the processor reads ahead.
const READ_AHEAD: usize = 320;

/// Returns the cost of measuring a row if all rows are read in their order: 105 ns for 1536 bytes. For short rows, it is that of a row
/// somewhere: a scan puts all distances in order, and must pay for sure.
pub(in crate::index) fn measuring_in_order(bytes: usize) -> f64 {
    measuring(bytes.min(READ_AHEAD)) + bytes.saturating_sub(READ_AHEAD) as f64 / 60.0
}

/// Slots that are asked about together, and between two thoughts of the time.
pub(in crate::index) const ASKED: usize = 64;

/// Calls that are timed together if they take fewer nanoseconds than that: reading the clock takes long, and a first call
/// longer than others.
const TIMED: usize = 8;
const QUICK: f64 = 250.0;

/// Nanoseconds of a call that takes as long as many distances. A second call that takes as long shows that the first was no exception.
const SLOW: f64 = 10_000.0;

impl Entries {
    /// Returns slots and keys of a sample spread over the index, in the order of their numbers. Hidden slots are left out, because another
    /// thread may be writing their keys.
    pub(in crate::index) fn sampled<'a>(
        &'a self,
        keys: View<'a, u64>,
        numbers: Range<u32>,
    ) -> impl Iterator<Item = (Slot, u64)> + 'a {
        let slots = numbers.map(move |number| Slot::new(scattered(number, keys.len())));
        let held = slots.filter(|&slot| !self.slots.is_hidden(slot));
        held.map(move |slot| (slot, keys.row(slot)[0]))
    }

    /// Returns the units that a call of the filter takes. It makes few calls: one may take long.
    pub(in crate::index) fn asking_cost(&self, filter: &dyn Filter) -> f64 {
        let keys = self.keys.view();
        let sample = self.sampled(keys, 0..keys.len().min(5 * TIMED as u32));
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
        let (calls, times) = if first < QUICK + 2.0 * clock { (TIMED, 4) } else { (1, 2) };
        // The least counts: on a busy machine, most of the times may be too long.
        for _ in 0..times {
            let again = time(calls).unwrap_or(nanos);
            nanos = nanos.min(again);
            if calls == 1 && again > SLOW + clock {
                break;
            }
        }
        ((nanos - clock / calls as f64) / UNIT).max(1.0)
    }
}
