//! Removing and replacing vectors, and giving their slots away.
#![expect(unsafe_code, reason = "who sweeps the links to a slot away says so")]

use std::fmt;
use std::time::{Duration, Instant};

use super::batch::Insertable;
use super::space::{Linking, Rows};
use super::work::Work;
use super::{Flat, Hnsw};
use crate::arena::{Slots, pin};
use crate::error::IndexError;
use crate::graph::{Counters, Sweep};
use crate::vector::{AsVector, Block};

/// Rows that are swept along with one change.
const STEP: u32 = 256;

/// Removed vectors that a sweep waits for at least, and the part of all slots otherwise.
const FEW: usize = 64;
const PART: usize = 64;

/// What removing leaves behind, until it is swept.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// Hidden slots that no sweep has taken on.
    fresh: Vec<u32>,
    /// Those of the sweep that is under way.
    swept: Vec<u32>,
    sweep: Option<Sweep>,
}

impl Remains {
    /// Slots that were hidden before they could be swept.
    pub(super) fn of(slots: Vec<u32>) -> Self {
        Self { fresh: slots, ..Self::default() }
    }
}

/// What [`Hnsw::maintain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// Places of removed vectors that became free for others.
    pub freed: usize,
    /// Whether there is nothing left to do, or the budget was used up before.
    pub is_complete: bool,
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { freed, is_complete } = self;
        let rest = if *is_complete { "" } else { "; more to do" };
        write!(f, "{freed} places freed{rest}")
    }
}

impl Hnsw {
    /// Removes the vector of a key; whether there was one. When it returns, no search finds it.
    ///
    /// The graph is repaired in place: neighbours are linked past the vector (IP-DiskANN, Xu et al., 2025), no
    /// other vector becomes unreachable, and the place is used again once no search can be looking at it.
    /// Takes about as long as an insertion. Insertions of other threads wait for some
    /// microseconds, searches do not.
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(2, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2], &[0.0, 0.0, 3.0, 4.0]).run()?;
    /// assert!(index.remove(1)?);
    /// assert!(!index.remove(1)?);
    /// assert_eq!(index.search(&[0.0, 0.0]).run()?[0].key, 2);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::OutOfMemory`]; the index is then as it was.
    pub fn remove(&self, key: u64) -> Result<bool, IndexError> {
        self.work.with(|work| {
            let removed = self.take_out(key, work)?;
            self.sweep_on(work);
            Ok(removed)
        })
    }

    /// Inserts a vector, in place of the one under the same key if there is one; whether there was. A search answers
    /// the old one or the new one, never both, and only the new one if it begins when this has returned.
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(2, Metric::L2).build()?;
    /// assert!(!index.upsert(1, &[0.0, 0.0])?);
    /// assert!(index.upsert(1, &[3.0, 4.0])?);
    /// assert_eq!(index.get(1), Some(vec![3.0, 4.0]));
    /// assert_eq!(index.len(), 1);
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Hnsw::insert`], but for [`IndexError::KeyExists`]. The index is then as it was.
    pub fn upsert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<bool, IndexError> {
        self.work.with(|work| {
            work.row.resize(self.entries.encoder.blocks(), Block::ZERO);
            self.entries.encoder.encode(vector.as_vector(), &mut work.row)?;
            self.upsert_row(key, work)
        })
    }

    /// [`Self::upsert`] of the vector in `work.row`.
    pub(super) fn upsert_row(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        loop {
            if self.entries.slot(key).is_none() {
                match self.insert_row(key, work) {
                    // Another thread was faster.
                    Err(IndexError::KeyExists { .. }) => {}
                    other => return other.map(|()| false),
                }
            }
            if self.replace(key, work)? {
                return Ok(true);
            }
        }
    }

    /// Removes a key; whether it was there.
    fn take_out(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        if self.entries.slot(key).is_none() {
            return Ok(false);
        }
        let slot = {
            let _alone = self.inserting.write();
            self.entries.reserve_hiding()?;
            // Another thread may have been faster.
            let Some(slot) = self.entries.map.remove(key, &self.entries.keys) else {
                return Ok(false);
            };
            self.entries.slots.hide(slot);
            self.cut(slot, work);
            slot
        };
        self.bury(slot, work);
        Ok(true)
    }

    /// Replaces the vector of a key that is there by the one in `work.row`; `false` if it is not there any more.
    fn replace(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        let replacement = self.entries.replacing.begin();
        let new = {
            let _shared = self.inserting.read();
            let _pin = pin();
            self.entries.reserve_hiding()?;
            let Work { row, coding, .. } = &mut *work;
            let old = self.entries.slot(key);
            let new = self.entries.write(key, row, coding, Some(&self.graph))?;
            // As if the old one were gone: it might be what the new one hangs on.
            self.link(new, old, work);
            new.slot
        };
        let (old, is_replaced) = {
            let _alone = self.inserting.write();
            if let Some(old) = self.entries.slot(key) {
                self.entries.replacing.switch(old, || {
                    self.entries.map.redirect(key, new, &self.entries.keys);
                    self.entries.slots.hide(old);
                });
                self.cut(old, work);
                (old, true)
            } else {
                // Another thread removed it: there is nothing to replace.
                self.entries.slots.hide(new);
                self.cut(new, work);
                (new, false)
            }
        };
        drop(replacement);
        self.bury(old, work);
        self.advance(work);
        self.sweep_on(work);
        Ok(is_replaced)
    }

    /// Cuts a hidden slot, to which no key leads, out of the graph. Nobody else may be changing the index.
    fn cut(&self, slot: u32, work: &mut Work) {
        work.scratch.counters = Counters::default();
        self.graph.cut(self.linking_space(), slot, &mut work.scratch);
        self.count_insertion(work);
    }

    /// Links the neighbours of a slot that was cut out past it, and leaves the rest to the next sweep.
    fn bury(&self, slot: u32, work: &mut Work) {
        let _shared = self.inserting.read();
        let _pin = pin();
        self.bypass(slot, work);
        self.remains.lock().fresh.push(slot);
    }

    /// Links the neighbours of a slot past it.
    fn bypass(&self, slot: u32, work: &mut Work) {
        let Work { scratch, leaving, coding, .. } = &mut *work;
        scratch.counters = Counters::default();
        if let Some(codes) = self.entries.codes() {
            codes.grid.decode(codes.rows.view().row(slot), &mut coding.floats);
            codes.prepare(coding);
            self.graph.bypass(self.linking_space(), &coding.query, slot, scratch);
        } else {
            leaving.clear();
            leaving.extend_from_slice(self.entries.vectors.view().row(slot));
            self.graph.bypass(self.linking_space(), leaving, slot, scratch);
        }
        self.count_insertion(work);
    }

    /// What walks read, the codes or the vectors, with what changing rows needs.
    fn linking_space(&self) -> Rows<'_> {
        let linking = Some(self.linking());
        match self.entries.codes() {
            Some(codes) => Rows::new(&*codes.engine, &codes.rows, linking),
            None => Rows::new(&*self.engine, &self.entries.vectors, linking),
        }
    }

    /// What changing rows needs.
    pub(super) fn linking(&self) -> Linking<'_> {
        Linking { slots: &self.entries.slots, leaving: None, alpha: self.alpha }
    }

    /// Goes on with the sweep, or begins one, if there is enough to sweep: a little work, after a change.
    pub(super) fn sweep_on(&self, work: &mut Work) {
        if self.entries.slots.hidden() == self.entries.slots.vacant() {
            return;
        }
        let _shared = self.inserting.read();
        let Some(mut remains) = self.remains.try_lock() else { return };
        let enough = (self.entries.keys.len() / PART).max(FEW);
        if remains.sweep.is_none() && remains.fresh.len() < enough {
            return;
        }
        self.sweep(&mut remains, STEP, work);
    }

    /// Sweeps some rows, and retires the slots once all are swept; `true` then. The index must be shared with others
    /// who change it, at most.
    fn sweep(&self, remains: &mut Remains, rows: u32, work: &mut Work) -> bool {
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
        // SAFETY: the slots were hidden, and their keys taken out of the map, before the sweep began, while nobody changed
        // the graph. Since then links are written to living nodes only (`Graph::find`, `connect`, `mend`), where searches
        // start is a living node (`Graph::cut`), and the sweep, now through, took out the links that there were. Scans ask
        // `Slots::is_hidden`. A key leads to a slot only by `append` and `replace`, which write it first.
        unsafe { self.entries.slots.retire(swept) };
        true
    }

    /// Does what removals have left to be done, for about as long as `budget`: takes out the last links to removed
    /// vectors, so that their places can be used again. Insertions and removals do this, too, a little
    /// at a time; call it after many removals, in a quiet hour. Searches and changes may go on meanwhile.
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
        // A budget beyond the end of time is none.
        let end = Instant::now().checked_add(budget);
        let mut done = Maintenance::default();
        self.work.with(|work| {
            loop {
                {
                    let _shared = self.inserting.read();
                    let mut remains = self.remains.lock();
                    if remains.sweep.is_none() && remains.fresh.is_empty() {
                        done.is_complete = true;
                        break;
                    }
                    let _pin = pin();
                    let count = remains.swept.len() + remains.fresh.len();
                    if self.sweep(&mut remains, 16 * STEP, work) {
                        done.freed += count - remains.fresh.len();
                    }
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    break;
                }
            }
        });
        Slots::hasten();
        if done.is_complete {
            self.entries.map.shrink(&self.entries.keys);
        }
        done
    }
}

impl Flat {
    /// Removes the vector of a key; whether there was one. When it returns, no search finds it. Its place is used
    /// again.
    ///
    /// # Errors
    ///
    /// As [`Hnsw::remove`].
    pub fn remove(&self, key: u64) -> Result<bool, IndexError> {
        self.entries.reserve_hiding()?;
        let _one_leaves = self.leaving.lock();
        let slot = self.entries.map.remove(key, &self.entries.keys);
        if let Some(slot) = slot {
            self.bury(slot);
        }
        Ok(slot.is_some())
    }

    /// Inserts a vector, in place of the one under the same key if there is one; whether there was. A search answers
    /// the old one or the new one, never both, and only the new one if it begins when this has returned.
    ///
    /// # Errors
    ///
    /// As [`Hnsw::upsert`].
    pub fn upsert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<bool, IndexError> {
        self.work.with(|work| {
            work.row.resize(self.entries.encoder.blocks(), Block::ZERO);
            self.entries.encoder.encode(vector.as_vector(), &mut work.row)?;
            self.upsert_row(key, work)
        })
    }

    /// [`Self::upsert`] of the vector in `work.row`.
    pub(super) fn upsert_row(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        loop {
            if self.entries.slot(key).is_none() {
                match self.insert_encoded(key, work) {
                    // Another thread was faster.
                    Err(IndexError::KeyExists { .. }) => {}
                    other => return other.map(|()| false),
                }
            }
            self.entries.reserve_hiding()?;
            let _replacement = self.entries.replacing.begin();
            let new = self.entries.write(key, &work.row, &mut work.coding, None)?.slot;
            let _one_leaves = self.leaving.lock();
            let Some(old) = self.entries.slot(key) else {
                self.bury(new);
                continue;
            };
            self.entries.replacing.switch(old, || {
                self.entries.map.redirect(key, new, &self.entries.keys);
                self.entries.slots.hide(old);
            });
            self.retire(old);
            return Ok(true);
        }
    }

    /// Hides a slot that no key leads to any more.
    fn bury(&self, slot: u32) {
        self.entries.slots.hide(slot);
        self.retire(slot);
    }

    fn retire(&self, slot: u32) {
        // SAFETY: no key leads to the slot, there are no links, and scans ask `Slots::is_hidden`.
        unsafe { self.entries.slots.retire(vec![slot]) };
    }
}
