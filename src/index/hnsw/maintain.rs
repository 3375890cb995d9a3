//! Work that removals leave: links to sweep away, slots to vacate, memory to return to the system.
#![expect(unsafe_code, reason = "who sweeps the links to a slot away says so")]

use std::time::Duration;

use super::Hnsw;
use crate::arena::{Slot, pin};
use crate::graph::{Counters, Sweep};
use crate::index::codes::Codes;
use crate::index::codes::fitting::Quantized;
use crate::index::entries::gather::{End, RUN};
use crate::index::reports::maintenance::Maintenance;
use crate::index::scratch::Work;
use crate::observe::watch;

/// Rows that are swept along with one change. In models everything is small.
const STEP: u32 = if cfg!(nearfield_model) { 3 } else { 256 };

/// The same if more slots wait for a sweep than hold vectors, which happens in an index from a file: it cannot know which links were swept
/// before. Until the sweep is complete each change takes a new slot, so that an index that is opened often would grow each time.
const HURRIED: u32 = if cfg!(nearfield_model) { STEP } else { 64 * STEP };

/// Slots of an index whose sweep takes a few milliseconds.
const SMALL: usize = 1 << 16;

/// A sweep begins when at least `FEW` slots, and one in `PART` of all slots, are hidden and not swept.
const FEW: usize = if cfg!(nearfield_model) { 1 } else { 64 };
const PART: usize = 64;

/// Slots that removals left behind, until they are swept.
#[derive(Debug, Default)]
pub(in crate::index) struct Remains {
    /// Hidden slots that no sweep has taken on.
    fresh: Vec<Slot>,
    /// Slots of the sweep in progress.
    swept: Vec<Slot>,
    sweep: Option<Sweep>,
}

impl Remains {
    /// Creates the remains of slots that were hidden before they could be swept.
    pub(in crate::index) fn of(slots: Vec<Slot>) -> Self {
        Self { fresh: slots, ..Self::default() }
    }

    /// Returns the number of slots that no sweep has finished.
    fn len(&self) -> usize {
        self.fresh.len() + self.swept.len()
    }

    /// Adds a hidden slot.
    pub(in crate::index) fn add(&mut self, slot: Slot) {
        self.fresh.push(slot);
    }
}

impl Hnsw {
    /// Completes the work that removals left, for about as long as `budget`: removes the last links to removed
    /// vectors, so that their slots can be used again. Insertions and removals do this, too, a little
    /// at a time. If then a quarter of the index or more is free slots, and some thousands, vectors move
    /// from its end to free slots (each takes about as long as an insertion), and unused memory
    /// returns to the system on Linux. Codes that are being made anew
    /// ([`Stats::code_error`](crate::Stats::code_error)) are completed. Call it after many removals, in a quiet hour. Searches
    /// and changes may run meanwhile.
    ///
    /// ```
    /// use std::time::Duration;
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(1, Metric::L2).build()?;
    /// for key in 0..1000 {
    ///     index.insert(key, &[key as f32])?;
    /// }
    /// for key in 0..900 {
    ///     index.remove(key)?;
    /// }
    /// let done = index.maintain(Duration::from_secs(1));
    /// assert!(done.is_complete);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    pub fn maintain(&self, budget: Duration) -> Maintenance {
        watch!(let observed = crate::observe::Operation::Maintain.begin());
        let end = End::after(budget);
        let mut done = Maintenance::default();
        self.work.with(|work| {
            // While codes are made anew, vectors stay where they are.
            self.renew_all(|| !end.is_over(), work);
            while self.sweep_all(end, &mut done, work) {
                match self.gather(end, work) {
                    Some(0) => {
                        done.is_complete = true;
                        break;
                    }
                    Some(moved) => done.moved += moved,
                    None => break,
                }
            }
        });
        if done.is_complete {
            self.entries.map.shrink(&self.entries.keys);
            let _shared = self.inserting.read();
            let bytes = || self.graph.bytes(&self.entries.slots).0 + self.entries.bytes();
            let before = bytes();
            self.entries.release(RUN, |run| self.graph.release(run));
            done.returned_bytes = before.saturating_sub(bytes());
        }
        watch!(observed.done((done.freed + done.moved) as u64));
        done
    }

    /// Sweeps until no link to a hidden slot is left. Returns `false` if the time is over before.
    fn sweep_all(&self, end: End, done: &mut Maintenance, work: &mut Work) -> bool {
        let is_clean = loop {
            {
                let _shared = self.inserting.read();
                let mut remains = self.remains.lock();
                if remains.sweep.is_none() && remains.fresh.is_empty() {
                    break true;
                }
                let _pin = pin();
                let count = remains.len();
                if self.sweep_some(&mut remains, 16 * STEP, work) {
                    done.freed += count - remains.fresh.len();
                }
            }
            if end.is_over() {
                break false;
            }
        };
        let waiting = self.remains.lock().len();
        self.entries.slots.settle(waiting);
        is_clean
    }

    /// Moves vectors from the end to vacant slots, by [`Entries::gather`].
    fn gather(&self, end: End, work: &mut Work) -> Option<usize> {
        self.entries.gather(end, |key, slot| {
            let copy = |work: &mut Work| Ok(self.entries.copy_down(key, slot, work));
            self.supersede(key, Some(slot), work, copy)
        })
    }

    /// Completes the sweep of a small index in which more slots wait for it than hold vectors: one that was just opened, and is about to
    /// repeat the last commits. They then use these slots again.
    pub(super) fn sweep_small(&self) {
        let waits = self.remains.lock().len() > self.len();
        if waits && self.entries.keys.len() <= SMALL {
            let end = End::after(Duration::MAX);
            self.work.with(|work| self.sweep_all(end, &mut Maintenance::default(), work));
        }
    }

    /// Continues the sweep, or begins one if enough slots wait for it: a little work, after a change.
    pub(in crate::index) fn sweep_on(&self, work: &mut Work) {
        if self.entries.slots.hidden() == self.entries.slots.vacant() {
            return;
        }
        let _shared = self.inserting.read();
        let Some(mut remains) = self.remains.try_lock() else { return };
        let enough = (self.entries.keys.len() / PART).max(FEW);
        if remains.sweep.is_none() && remains.fresh.len() < enough {
            return;
        }
        let step = if remains.len() > self.len() { HURRIED } else { STEP };
        self.sweep_some(&mut remains, step, work);
    }

    /// Sweeps some rows, and retires the slots once all rows are swept. Returns whether it did. The caller holds `inserting`, at
    /// least shared.
    fn sweep_some(&self, remains: &mut Remains, rows: u32, work: &mut Work) -> bool {
        let from = if let Some(from) = remains.sweep {
            from
        } else {
            remains.swept = std::mem::take(&mut remains.fresh);
            Sweep::default()
        };
        work.scratch.counters = Counters::default();
        remains.sweep = self.graph.sweep(self.linking_space(), from, rows, &mut work.scratch);
        self.count_insertion(work);
        if remains.sweep.is_some() {
            return false;
        }
        let swept = std::mem::take(&mut remains.swept);
        // SAFETY: the slots were hidden, and their keys removed from the map, before the sweep began, while no other thread changed
        // the graph. Since then links are written to living nodes only (`Graph::find`, `connect`, `mend`), the entry point is a
        // living node (`Graph::cut`), and the sweep, now complete, removed the links that existed. Scans test
        // `Slots::is_hidden`. A key is mapped to a slot only by `append` and `replace`, which write the slot first.
        unsafe { self.entries.slots.retire(swept) };
        true
    }

    /// Replaces the codes of the index by `codes`. The caller holds `inserting` alone.
    pub(in crate::index) fn go_over(&self, quantized: &Quantized, codes: Codes) {
        // SAFETY: searches, `get`, `stats` and `calibrate` pin before they read the codes, and stay pinned until they are done.
        // Changes of the index, `frozen` and `check` hold `inserting` meanwhile, which the caller holds alone. The parts of a
        // merge are not changed.
        unsafe { quantized.codes.replace(codes) }
        quantized.set_renewing(false);
        self.graph.change_measure(self.entries.measure());
    }
}
