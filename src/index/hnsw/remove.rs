//! Removing and replacing vectors.

use super::Hnsw;
use crate::arena::{Slot, pin};
use crate::distance::Vigil;
use crate::error::IndexError;
use crate::graph::Counters;
use crate::index::build::Insertable;
use crate::index::entries::Place;
use crate::index::entries::space::{Linking, Rows};
use crate::index::scratch::Work;
use crate::observe::watch;
use crate::vector::AsVector;

/// Removes a key, if its vector is in the slot (if given). Returns whether it was removed.
pub(in crate::index) type Undo =
    fn(&Hnsw, u64, Option<Slot>, &mut Work) -> Result<bool, IndexError>;

impl Hnsw {
    /// Sets that insertions whose distances panicked are undone. A pointer: programs without custom metrics that remove nothing do
    /// not contain the removal.
    pub(crate) fn with_undo(self) -> Self {
        Self { undo: Some(Self::take_out_of), ..self }
    }

    /// Removes the vector of a key. Returns whether the key had one. Once it returns, no search finds it.
    ///
    /// The graph is repaired in place: neighbours are linked past the vector (IP-DiskANN, Xu et al., 2025), no
    /// other vector becomes unreachable, and the slot is used again once no search can read it.
    /// A removal takes about as long as an insertion. Insertions of other threads wait for some
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
        watch!(let observed = crate::observe::Operation::Remove.begin());
        self.entries.admit()?;
        self.work.with(|work| {
            let removed = self.take_out(key, work)?;
            self.sweep_on(work);
            watch!(observed.done(removed.into()));
            Ok(removed)
        })
    }

    /// Inserts a vector, in place of the vector of the same key if the key has one. Returns whether it had one. A search answers
    /// the old vector or the new one, never both, and only the new one if it begins after the return.
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
        self.upsert_vector(key, vector.as_vector())
    }

    /// Removes a key. Returns whether the index had it.
    fn take_out(&self, key: u64, work: &mut Work) -> Result<bool, IndexError> {
        if self.entries.slot(key).is_none() {
            return Ok(false);
        }
        self.take_out_of(key, None, work)
    }

    /// Removes a key, if its vector is in the slot `only` (if given). Returns whether it was removed.
    fn take_out_of(
        &self,
        key: u64,
        only: Option<Slot>,
        work: &mut Work,
    ) -> Result<bool, IndexError> {
        let slot = {
            let _alone = self.inserting.write();
            self.entries.reserve_hiding()?;
            if only.is_some_and(|only| self.entries.slot(key) != Some(only)) {
                return Ok(false);
            }
            // Another thread may have removed the key first.
            let Some(slot) = self.entries.map.remove(key, &self.entries.keys) else {
                return Ok(false);
            };
            self.entries.hide(slot);
            self.cut(slot, work);
            slot
        };
        self.bury(slot, work);
        Ok(true)
    }

    /// Replaces the vector of a key, if it has one and that is in the slot `only` (if given), by the one that `write` writes, if it
    /// does. Returns whether it was replaced.
    pub(in crate::index) fn supersede(
        &self,
        key: u64,
        only: Option<Slot>,
        work: &mut Work,
        write: impl FnOnce(&mut Work) -> Result<Option<Place>, IndexError>,
    ) -> Result<bool, IndexError> {
        let replacement = self.entries.replacing.begin();
        let (new, linked) = {
            let _shared = self.inserting.read();
            let _pin = pin();
            self.entries.reserve_hiding()?;
            let old = self.entries.slot(key);
            let Some(new) = write(work)? else { return Ok(false) };
            // As if the old vector were removed: the new node might otherwise depend on its links.
            let vigil = Vigil::begin(self.entries.engine.custom_use());
            self.link(new, old, work);
            (new.slot, vigil.end())
        };
        let (gone, is_replaced) = {
            let _alone = self.inserting.write();
            let old = self.entries.slot(key).filter(|&old| only.is_none_or(|only| only == old));
            let old = old.filter(|_| linked.is_ok());
            if let Some(old) = old {
                self.entries.supersede(key, old, new);
            } else {
                // Another thread removed or replaced the old vector, or the new one could not be compared: it is dropped.
                self.entries.slots.hide(new);
            }
            let gone = old.unwrap_or(new);
            self.cut(gone, work);
            (gone, old.is_some())
        };
        drop(replacement);
        self.bury(gone, work);
        linked.map(|()| is_replaced)
    }

    /// Cuts a hidden slot, to which no key is mapped, out of the graph. No other thread may be changing the index.
    fn cut(&self, slot: Slot, work: &mut Work) {
        work.scratch.counters = Counters::default();
        self.graph.cut(self.linking_space(), slot.into(), &mut work.scratch);
        self.count_insertion(work);
    }

    /// Links the neighbours of a slot that was cut out past it, and leaves the other links to the next sweep.
    fn bury(&self, slot: Slot, work: &mut Work) {
        let _shared = self.inserting.read();
        let _pin = pin();
        self.bypass(slot, work);
        self.remains.lock().add(slot);
    }

    /// Links the neighbours of a slot past it.
    fn bypass(&self, slot: Slot, work: &mut Work) {
        let node = slot.into();
        let Work { scratch, leaving, coding, .. } = &mut *work;
        scratch.counters = Counters::default();
        let query = self.entries.linked().prepare_slot(slot, leaving, coding);
        self.graph.bypass(self.linking_space(), query, node, scratch);
        self.count_insertion(work);
    }

    /// Returns the rows by which links are chosen, of codes or vectors, with the data for changing them.
    pub(in crate::index) fn linking_space(&self) -> Rows<'_> {
        Rows::new(self.entries.linked(), Some(self.linking()))
    }

    /// Returns the data for changing links.
    pub(in crate::index) fn linking(&self) -> Linking<'_> {
        // The distances of a custom metric are not squares.
        let is_custom = self.entries.engine.custom_use().is_some();
        let alpha = if is_custom { self.alpha.map(f32::sqrt) } else { self.alpha };
        Linking { slots: &self.entries.slots, leaving: None, alpha }
    }
}
