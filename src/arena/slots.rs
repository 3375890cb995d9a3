//! Slots that lost their content: hidden at once, rewritten when no reader can be at their rows.
//!
//! Readers take no lock, so a row must not be written while one of them may have reached it. A slot
//! passes through three states. *Hidden*: it holds no possible answer, but links may still refer to
//! it. *Retired*: no link refers to it any more, but readers that began earlier may still reach it. *Vacant*: all of
//! these readers have ended (epoch-based reclamation, Fraser 2004), and its rows may be written.
#![expect(unsafe_code, reason = "that nobody can come to a slot is a promise of its users")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{ArenaError, Column, id};
use crate::sync::{self, Fault, Guard, Mutex, is_planted, pause, step};

id! {
    /// A place for an entry of an index: its key, its vector and its codes are in the rows of this number in their columns.
    ///
    /// A key keeps its slot until its vector is replaced, moved or removed. The slot of a removed vector is used again. The node of
    /// the vector in a graph has the same number: `index/entries/space.rs` converts one into the other.
    Slot
}

/// Slots in a word of the bitmap.
const WORD: u32 = u64::BITS;

/// The empty slots among a growing number of slots.
#[derive(Debug)]
pub(crate) struct Slots {
    /// A bit for each hidden slot; words beyond the last are zero.
    hidden: Column<AtomicU64, u32>,
    growth: Mutex<()>,
    /// Bits that are set.
    count: AtomicUsize,
    vacant: Arc<Vacancies>,
}

/// Slots that may be written.
#[derive(Debug, Default)]
struct Vacancies {
    book: Mutex<Book>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Book {
    /// The vacant slots, taken in ascending order, so that memory behind the last slot in use can be given back.
    heap: BinaryHeap<Reverse<Slot>>,
    /// The vacant slots without memory, in ascending order. A taken slot is always the first of all.
    released: VecDeque<Range<u32>>,
}

impl Vacancies {
    fn add(&self, slots: impl IntoIterator<Item = Slot>) {
        let mut book = self.book.lock();
        book.heap.extend(slots.into_iter().map(Reverse));
        self.len.store(book.heap.len(), Ordering::Release);
    }

    fn take(&self, limit: Slot) -> Option<Slot> {
        let mut book = self.book.lock();
        book.heap.peek().filter(|first| first.0 < limit)?;
        let Reverse(slot) = book.heap.pop()?;
        self.len.store(book.heap.len(), Ordering::Release);
        if let Some(run) = book.released.front_mut().filter(|run| run.start <= slot.number()) {
            run.start = slot.number() + 1;
            if run.start == run.end {
                book.released.pop_front();
            }
        }
        Some(slot)
    }
}

/// A slot that no reader can reach, owned by its writer.
#[derive(Debug)]
pub(crate) struct Vacant<'a> {
    slot: Slot,
    slots: &'a Slots,
    is_shown: bool,
}

/// Adjacent vacant slots that no thread can take meanwhile.
#[derive(Debug)]
pub(crate) struct VacantRun(Range<u32>);

/// Pins the current thread. A reader of slots without a lock holds a pin: slots that are retired meanwhile are not rewritten.
pub(crate) fn pin() -> Guard {
    sync::pin()
}

impl Slots {
    /// Creates slots that are all in use.
    pub(crate) fn new() -> Self {
        Self {
            hidden: Column::new(1),
            growth: Mutex::new(()),
            count: AtomicUsize::new(0),
            vacant: Arc::default(),
        }
    }

    /// Restores slots: those with a bit set in `words` are hidden.
    pub(crate) fn restore(words: &[u64]) -> Result<Self, ArenaError> {
        let slots = Self::new();
        for &word in words {
            slots.hidden.push(|row| row[0] = AtomicU64::new(word))?;
        }
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        slots.count.store(count, Ordering::Relaxed);
        Ok(slots)
    }

    /// Returns the words of which [`Self::restore`] makes the same slots.
    pub(crate) fn words(&self) -> Vec<u64> {
        let mut words = Vec::new();
        self.words_into(&mut words);
        words
    }

    /// Writes the same words in place of the content of `words`.
    pub(crate) fn words_into(&self, words: &mut Vec<u64>) {
        let view = self.hidden.view();
        words.clear();
        words.extend((0..view.len()).map(|at| {
            step();
            view.row(at)[0].load(Ordering::Acquire)
        }));
    }

    /// Returns whether the slot is hidden.
    #[inline]
    pub(crate) fn is_hidden(&self, slot: Slot) -> bool {
        let view = self.hidden.view();
        let at = slot.number() / WORD;
        step();
        // A reader that sees the bit of a rewritten slot cleared also sees the new rows.
        at < view.len()
            && view.row(at)[0].load(Ordering::Acquire) >> (slot.number() % WORD) & 1 != 0
    }

    /// Returns the number of slots that are hidden, retired or vacant.
    pub(crate) fn hidden(&self) -> usize {
        step();
        self.count.load(Ordering::Acquire)
    }

    /// Returns the number of slots that may be written.
    pub(crate) fn vacant(&self) -> usize {
        step();
        self.vacant.len.load(Ordering::Acquire)
    }

    /// Makes sure that [`Self::hide`] finds memory for the slot.
    pub(crate) fn reserve(&self, slot: Slot) -> Result<(), ArenaError> {
        let _one = self.growth.lock();
        while self.hidden.len() <= (slot.number() / WORD) as usize {
            self.hidden.push(|_| ())?;
        }
        Ok(())
    }

    /// Hides a slot; there must be [room](Self::reserve).
    pub(crate) fn hide(&self, slot: Slot) {
        let bit = 1 << (slot.number() % WORD);
        step();
        let before =
            self.hidden.view().row(slot.number() / WORD)[0].fetch_or(bit, Ordering::AcqRel);
        debug_assert!(before & bit == 0, "hidden twice");
        step();
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Retires hidden `slots`: they become vacant once every [`pin`] held now is released.
    ///
    /// # Safety
    ///
    /// No link, key or other reference leads to the slots, and none is created before the slots are taken again. A reader
    /// of slots in their order skips slots that were hidden at any moment since it holds its [`pin`].
    pub(crate) unsafe fn retire(&self, slots: Vec<Slot>) {
        if slots.is_empty() {
            return;
        }
        if is_planted(Fault::VacantEarly) {
            return self.vacant.add(slots);
        }
        let vacant = Arc::clone(&self.vacant);
        let guard = pin();
        guard.defer(move || vacant.add(slots));
        guard.flush();
    }

    /// Waits until all hidden slots except `others` are vacant: for the holders of a [`pin`], if they release it soon.
    /// The slots must be retired.
    pub(crate) fn settle(&self, others: usize) {
        /// Enough for a search that has begun.
        const TRIES: u32 = 200;
        for tried in 0..TRIES {
            // Each pin advances the epoch by one at most; two are between retiring and vacancy.
            for _ in 0..4 {
                pin().flush();
            }
            if self.vacant() + others >= self.hidden() {
                return;
            }
            if tried > 0 {
                pause(Duration::from_micros(50));
            }
        }
    }

    /// Takes the first vacant slot. The slot becomes vacant again if it is not [shown](Vacant::show).
    pub(crate) fn take(&self) -> Option<Vacant<'_>> {
        self.take_below(Slot::new(u32::MAX))
    }

    /// Takes the first vacant slot, if it is below `limit`.
    pub(crate) fn take_below(&self, limit: Slot) -> Option<Vacant<'_>> {
        if self.vacant() == 0 {
            return None;
        }
        let slot = self.vacant.take(limit)?;
        Some(Vacant { slot, slots: self, is_shown: false })
    }

    /// Returns whether the first vacant slot is below `limit`.
    pub(crate) fn has_vacant_below(&self, limit: Slot) -> bool {
        self.vacant.book.lock().heap.peek().is_some_and(|first| first.0 < limit)
    }

    /// Returns the number of slots below `limit` whose memory was given back, and which were not taken since.
    pub(crate) fn released(&self, limit: usize) -> usize {
        let below = |at: u32| (at as usize).min(limit);
        let book = self.vacant.book.lock();
        book.released.iter().map(|run| below(run.end) - below(run.start)).sum()
    }

    /// Gives the memory of vacant slots back if at least `least` are adjacent: calls `release` for
    /// each such run.
    pub(crate) fn release(&self, least: u32, mut release: impl FnMut(&VacantRun)) {
        let mut slots: Vec<Slot> = {
            let mut book = self.vacant.book.lock();
            book.released.clear();
            self.vacant.len.store(0, Ordering::Release);
            std::mem::take(&mut book.heap).into_iter().map(|Reverse(slot)| slot).collect()
        };
        slots.sort_unstable();
        let mut runs = VecDeque::new();
        for run in slots
            .chunk_by(|a, b| a.number() + 1 == b.number())
            .filter(|run| run.len() >= least as usize)
        {
            let first = run[0].number();
            let run = VacantRun(first..first + run.len() as u32);
            release(&run);
            runs.push_back(run.0);
        }
        let mut book = self.vacant.book.lock();
        book.released = runs;
        book.heap.extend(slots.into_iter().map(Reverse));
        self.vacant.len.store(book.heap.len(), Ordering::Release);
    }

    /// Returns the bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.hidden.bytes() + self.vacant.book.lock().heap.capacity() * size_of::<Slot>()
    }
}

impl VacantRun {
    /// Returns the slots' numbers.
    pub(crate) fn slots(&self) -> Range<u32> {
        self.0.clone()
    }
}

impl Vacant<'_> {
    /// Returns the slot.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Shows the slot, whose rows are written: it is hidden no more.
    pub(crate) fn show(mut self) {
        self.is_shown = true;
        let Self { slot, slots, .. } = self;
        let bit = 1 << (slot.number() % WORD);
        step();
        slots.hidden.view().row(slot.number() / WORD)[0].fetch_and(!bit, Ordering::AcqRel);
        step();
        slots.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Vacant<'_> {
    fn drop(&mut self) {
        if !self.is_shown {
            self.slots.vacant.add([self.slot]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_in_order_once_nobody_looks() {
        let slots = Slots::new();
        slots.reserve(Slot::new(200)).unwrap();
        for slot in [130, 7, 64] {
            slots.hide(Slot::new(slot));
            assert!(slots.is_hidden(Slot::new(slot)) && !slots.is_hidden(Slot::new(slot + 1)));
        }
        assert!(!slots.is_hidden(Slot::new(u32::MAX)) && slots.hidden() == 3);
        let reader = pin();
        // SAFETY: the slots of this test are numbers without rows.
        unsafe { slots.retire([130, 7, 64].map(Slot::new).to_vec()) };
        slots.settle(0);
        assert!(slots.take().is_none(), "a reader may be there");
        drop(reader);
        // Other tests hold pins, too, but not for long.
        while slots.vacant() == 0 {
            slots.settle(0);
        }
        let first = slots.take().unwrap();
        assert_eq!(first.slot(), Slot::new(7));
        drop(first);
        for slot in [7, 64, 130].map(Slot::new) {
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
    fn what_was_released_is_counted_until_it_is_taken() {
        let slots = Slots::new();
        slots.reserve(Slot::new(400)).unwrap();
        let gone = (0..400).filter(|slot| *slot != 100 && *slot != 103);
        let gone: Vec<_> = gone.map(Slot::new).collect();
        for &slot in &gone {
            slots.hide(slot);
        }
        // SAFETY: the slots of this test are numbers without rows.
        unsafe { slots.retire(gone) };
        while slots.vacant() < 398 {
            slots.settle(0);
        }
        let mut runs = Vec::new();
        slots.release(10, |run| runs.push(run.slots()));
        assert_eq!(runs, [0..100, 104..400]);
        assert_eq!((slots.released(400), slots.vacant()), (396, 398));
        for _ in 0..103 {
            slots.take().unwrap().show();
        }
        assert_eq!((slots.released(400), slots.released(110)), (295, 5));
        assert!(slots.take_below(Slot::new(105)).is_none());
        assert_eq!(slots.take_below(Slot::new(106)).unwrap().slot(), Slot::new(105));
        // The slot became vacant again, but its memory may have been used.
        assert_eq!((slots.released(400), slots.vacant()), (294, 295));
        slots.release(1000, |_| panic!("no run is so long"));
        assert_eq!((slots.released(400), slots.vacant()), (0, 295));
    }

    #[test]
    fn hidden_slots_come_back() {
        let slots = Slots::new();
        slots.reserve(Slot::new(70)).unwrap();
        slots.hide(Slot::new(3));
        slots.hide(Slot::new(70));
        let same = Slots::restore(&slots.words()).unwrap();
        assert_eq!((same.words(), same.hidden()), (slots.words(), 2));
        assert!(same.is_hidden(Slot::new(70)) && same.vacant() == 0);
    }
}
