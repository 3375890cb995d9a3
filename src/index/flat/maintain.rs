//! Moving the vectors of an exact index together.
#![expect(unsafe_code, reason = "a slot is vacant once no key is mapped to it")]

use std::time::Duration;

use super::Flat;
use crate::arena::Slot;
use crate::index::entries::gather::{End, RUN};
use crate::index::reports::maintenance::Maintenance;
use crate::index::scratch::Work;
use crate::observe::watch;

impl Flat {
    /// Moves vectors together and returns memory, as [`Hnsw::maintain`](crate::Hnsw::maintain) does. A `Flat` needs no sweep: slots are
    /// free at once.
    pub fn maintain(&self, budget: Duration) -> Maintenance {
        watch!(let observed = crate::observe::Operation::Maintain.begin());
        let end = End::after(budget);
        self.entries.slots.settle(0);
        let moved = self.work.with(|work| {
            self.entries.gather(end, |key, slot| {
                let copy = |work: &mut Work| Ok(self.entries.copy_down(key, slot, work));
                self.supersede(key, Some(slot), work, copy)
            })
        });
        watch!(observed.done(moved.unwrap_or(0) as u64));
        let Some(moved) = moved else { return Maintenance::default() };
        self.entries.slots.settle(0);
        self.entries.map.shrink(&self.entries.keys);
        // A checkpoint copies the memory that this releases.
        let _nobody_leaves = self.leaving.lock();
        let before = self.entries.bytes();
        self.entries.release(RUN, |_| ());
        let returned_bytes = before.saturating_sub(self.entries.bytes());
        Maintenance { moved, returned_bytes, is_complete: true, ..Maintenance::default() }
    }

    /// Makes hidden slots, to which no key is mapped, vacant.
    pub(super) fn retire(&self, slots: Vec<Slot>) {
        // SAFETY: no key is mapped to the slots, a `Flat` has no links, and scans test `Slots::is_hidden`.
        unsafe { self.entries.slots.retire(slots) };
    }
}
