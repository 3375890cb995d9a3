//! The answers of a filter.

use crate::arena::{Slot, Visited};

/// The verdicts of a filter about slots, each asked for once.
#[derive(Debug, Default)]
pub(in crate::index) struct Verdicts {
    asked: Visited,
    accepted: Visited,
    slots: u32,
    /// Verdicts about the few slots that are younger than the search.
    young: Vec<(Slot, bool)>,
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
    pub(in crate::index) fn of(&mut self, slot: Slot, ask: impl FnOnce() -> bool) -> bool {
        if slot.number() >= self.slots {
            return self.known(slot).unwrap_or_else(|| {
                let verdict = ask();
                self.young.push((slot, verdict));
                verdict
            });
        }
        if self.asked.insert(slot.number()) && ask() {
            self.accepted.insert(slot.number());
        }
        self.accepted.contains(slot.number())
    }

    /// Returns the verdict about a slot if the filter was asked.
    pub(in crate::index) fn known(&self, slot: Slot) -> Option<bool> {
        if slot.number() >= self.slots {
            let known = self.young.iter().find(|&&(young, _)| young == slot);
            return known.map(|&(_, verdict)| verdict);
        }
        self.asked.contains(slot.number()).then(|| self.accepted.contains(slot.number()))
    }

    /// Bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        self.asked.bytes()
            + self.accepted.bytes()
            + self.young.capacity() * size_of::<(Slot, bool)>()
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
            let (slot, is_even) = (Slot::new(slot), slot % 2 == 0);
            assert_eq!(verdicts.known(slot), None);
            assert_eq!(verdicts.of(slot, || is_even), is_even);
            assert_eq!(verdicts.of(slot, || panic!("asked again")), is_even);
            assert_eq!(verdicts.known(slot), Some(is_even));
        }
        verdicts.begin(20);
        assert!(
            [3, 4, 12, 13].map(Slot::new).into_iter().all(|slot| verdicts.known(slot).is_none())
        );
    }
}
