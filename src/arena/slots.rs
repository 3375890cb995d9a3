//! Slots that lost their content: hidden at once, written anew when nobody can be looking.
//!
//! Readers take no lock, so a row must not be written while one of them may have come to it. A slot
//! goes through three states. *Hidden*: it holds nothing that may be answered, but ways may still lead to
//! it. *Retired*: no way leads to it any more, but who set out before may be on one. *Vacant*: all of
//! those have arrived (epoch-based reclamation, Fraser 2004), and its rows may be written.
#![expect(unsafe_code, reason = "that nobody can come to a slot is a promise of its users")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam::epoch::{self, Guard};
use parking_lot::Mutex;

use super::{ArenaError, Column};

/// Slots in a word of the bitmap.
const WORD: u32 = u64::BITS;

/// Which of a growing number of slots hold nothing.
#[derive(Debug)]
pub(crate) struct Slots {
    /// A bit for each slot that is hidden; words beyond the last are zero.
    hidden: Column<AtomicU64>,
    growth: Mutex<()>,
    /// Bits that are set.
    count: AtomicUsize,
    vacant: Arc<Vacancies>,
}

/// Slots that may be written.
#[derive(Debug, Default)]
struct Vacancies {
    /// The first ones are taken first, so that memory behind the last slot in use can be given back.
    heap: Mutex<BinaryHeap<Reverse<u32>>>,
    len: AtomicUsize,
}

impl Vacancies {
    fn add(&self, slots: &[u32]) {
        let mut heap = self.heap.lock();
        heap.extend(slots.iter().copied().map(Reverse));
        self.len.store(heap.len(), Ordering::Release);
    }
}

/// A slot that nobody looks at, owned by whoever writes it.
#[derive(Debug)]
pub(crate) struct Vacant<'a> {
    slot: u32,
    slots: &'a Slots,
    is_shown: bool,
}

/// Whoever reads slots without a lock holds one meanwhile: what is retired in this time stays as it is.
pub(crate) fn pin() -> Guard {
    epoch::pin()
}

impl Slots {
    /// All slots in use.
    pub(crate) fn new() -> Self {
        Self {
            hidden: Column::new(1),
            growth: Mutex::new(()),
            count: AtomicUsize::new(0),
            vacant: Arc::default(),
        }
    }

    /// Slots of which `words` has a bit set are hidden.
    pub(crate) fn restore(words: &[u64]) -> Result<Self, ArenaError> {
        let slots = Self::new();
        for &word in words {
            slots.hidden.push(|row| row[0] = AtomicU64::new(word))?;
        }
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        slots.count.store(count, Ordering::Relaxed);
        Ok(slots)
    }

    /// What [`Self::restore`] makes the same slots of.
    pub(crate) fn words(&self) -> Vec<u64> {
        let view = self.hidden.view();
        (0..view.len()).map(|at| view.row(at)[0].load(Ordering::Relaxed)).collect()
    }

    /// Whether the slot is hidden.
    #[inline]
    pub(crate) fn is_hidden(&self, slot: u32) -> bool {
        let view = self.hidden.view();
        let at = slot / WORD;
        // Whoever sees the bit of a slot that was written anew gone sees what was written.
        at < view.len() && view.row(at)[0].load(Ordering::Acquire) >> (slot % WORD) & 1 != 0
    }

    /// Slots that are hidden, retired or vacant.
    pub(crate) fn hidden(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Slots that may be written.
    pub(crate) fn vacant(&self) -> usize {
        self.vacant.len.load(Ordering::Acquire)
    }

    /// Makes sure that [`Self::hide`] finds memory for the slot.
    pub(crate) fn reserve(&self, slot: u32) -> Result<(), ArenaError> {
        let _one = self.growth.lock();
        while self.hidden.len() <= (slot / WORD) as usize {
            self.hidden.push(|_| ())?;
        }
        Ok(())
    }

    /// Hides a slot; there must be [room](Self::reserve).
    pub(crate) fn hide(&self, slot: u32) {
        let bit = 1 << (slot % WORD);
        let before = self.hidden.view().row(slot / WORD)[0].fetch_or(bit, Ordering::AcqRel);
        debug_assert!(before & bit == 0, "hidden twice");
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Tells that nobody who comes from now on can come to the slots, which are hidden. They become vacant when all who
    /// hold a [`pin`] have let it go.
    ///
    /// # Safety
    ///
    /// No link, key or other way leads to the slots any more, none will before they are taken, and who reads slots in
    /// their order passes over hidden ones.
    pub(crate) unsafe fn retire(&self, slots: Vec<u32>) {
        if slots.is_empty() {
            return;
        }
        let vacant = Arc::clone(&self.vacant);
        let guard = epoch::pin();
        guard.defer(move || vacant.add(&slots));
        guard.flush();
    }

    /// Lets what was retired become vacant, if nobody holds a [`pin`]: who works alone need not wait for others to come by.
    pub(crate) fn hasten() {
        // Each pin moves the epoch on by one at most; two are between retiring and vacancy.
        for _ in 0..4 {
            epoch::pin().flush();
        }
    }

    /// The first vacant slot. It goes back if it is not [shown](Vacant::show).
    pub(crate) fn take(&self) -> Option<Vacant<'_>> {
        if self.vacant() == 0 {
            return None;
        }
        let mut heap = self.vacant.heap.lock();
        let Reverse(slot) = heap.pop()?;
        self.vacant.len.store(heap.len(), Ordering::Release);
        Some(Vacant { slot, slots: self, is_shown: false })
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.hidden.bytes() + self.vacant.heap.lock().capacity() * size_of::<u32>()
    }
}

impl Vacant<'_> {
    /// The slot's number.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Tells that the slot is written: it is hidden no more.
    pub(crate) fn show(mut self) {
        self.is_shown = true;
        let Self { slot, slots, .. } = self;
        let bit = 1 << (slot % WORD);
        slots.hidden.view().row(slot / WORD)[0].fetch_and(!bit, Ordering::AcqRel);
        slots.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Vacant<'_> {
    fn drop(&mut self) {
        if !self.is_shown {
            self.slots.vacant.add(&[self.slot]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_in_order_once_nobody_looks() {
        let slots = Slots::new();
        slots.reserve(200).unwrap();
        for slot in [130, 7, 64] {
            slots.hide(slot);
            assert!(slots.is_hidden(slot) && !slots.is_hidden(slot + 1));
        }
        assert!(!slots.is_hidden(u32::MAX) && slots.hidden() == 3);
        let reader = pin();
        // SAFETY: the slots of this test are numbers without rows.
        unsafe { slots.retire(vec![130, 7, 64]) };
        Slots::hasten();
        assert!(slots.take().is_none(), "a reader may be there");
        drop(reader);
        // Other tests hold pins, too, but not for long.
        while slots.vacant() == 0 {
            Slots::hasten();
        }
        let first = slots.take().unwrap();
        assert_eq!(first.slot(), 7);
        drop(first);
        for slot in [7, 64, 130] {
            let vacant = slots.take().unwrap();
            assert_eq!(vacant.slot(), slot);
            assert!(slots.is_hidden(slot));
            vacant.show();
            assert!(!slots.is_hidden(slot));
        }
        assert!(slots.take().is_none() && slots.hidden() == 0);
        assert!(slots.bytes() > 0);
    }

    #[test]
    fn hidden_slots_come_back() {
        let slots = Slots::new();
        slots.reserve(70).unwrap();
        slots.hide(3);
        slots.hide(70);
        let same = Slots::restore(&slots.words()).unwrap();
        assert_eq!((same.words(), same.hidden()), (slots.words(), 2));
        assert!(same.is_hidden(70) && same.vacant() == 0);
    }
}
