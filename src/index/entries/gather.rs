//! Moving vectors together, so that vacant slots return their memory.

use std::time::Duration;

use super::Entries;
use crate::arena::{Slot, pin};
use crate::clock::Instant;
use crate::error::IndexError;

/// Compaction starts when at least 4,096 slots are vacant and they are a quarter of the slots that still own memory.
const WASTE: (usize, usize) = if cfg!(nearfield_model) { (1, 8) } else { (4096, 4) };

/// Minimum length of a run of vacant slots whose memory is returned.
pub(in crate::index) const RUN: u32 = 1024;

/// A time to end at.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct End(Option<Instant>);

impl End {
    pub(in crate::index) fn after(budget: Duration) -> Self {
        // A budget beyond the end of time sets no end.
        Self(Instant::now().checked_add(budget))
    }

    pub(in crate::index) fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}

impl Entries {
    /// Moves vectors from the end to vacant slots, if these are many; `relocate` moves the vector of a key from a slot, if
    /// it is still there. Returns the number of moved vectors, or `None` if the time is over.
    pub(in crate::index) fn gather(
        &self,
        end: End,
        mut relocate: impl FnMut(u64, Slot) -> Result<bool, IndexError>,
    ) -> Option<usize> {
        let mut moved = 0;
        let (vacant, slots) = (self.slots.vacant(), self.keys.len());
        let released = self.slots.released(slots);
        let (few, part) = WASTE;
        if vacant - released.min(vacant) < few.max((slots - released) / part) {
            return Some(moved);
        }
        for slot in (0..slots as u32).rev().map(Slot::new) {
            if self.slots.is_hidden(slot) {
                continue;
            }
            if !self.slots.has_vacant_below(slot) {
                break;
            }
            if end.is_over() {
                return None;
            }
            let key = {
                let _pin = pin();
                self.key_at(slot)
            };
            // Without memory the vector stays where it is.
            moved += usize::from(key.is_some_and(|key| relocate(key, slot).unwrap_or(false)));
        }
        Some(moved)
    }
}
