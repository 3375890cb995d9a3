//! Removing and replacing vectors of the exact index.

use super::Flat;
use crate::arena::{Slot, pin};
use crate::error::IndexError;
use crate::index::build::Insertable;
use crate::index::entries::Place;
use crate::index::scratch::Work;
use crate::observe::watch;
use crate::vector::AsVector;

impl Flat {
    /// Removes the vector of a key. Returns whether the key had one. Once it returns, no search finds it. Its slot is
    /// used again.
    ///
    /// # Errors
    ///
    /// As [`Hnsw::remove`](crate::Hnsw::remove).
    pub fn remove(&self, key: u64) -> Result<bool, IndexError> {
        watch!(let observed = crate::observe::Operation::Remove.begin());
        self.entries.admit()?;
        self.entries.reserve_hiding()?;
        let _one_leaves = self.leaving.lock();
        let slot = self.entries.map.remove(key, &self.entries.keys);
        if let Some(slot) = slot {
            self.bury(slot);
        }
        watch!(observed.done(slot.is_some().into()));
        Ok(slot.is_some())
    }

    /// Inserts a vector, in place of the vector of the same key if the key has one. Returns whether it had one. A search answers
    /// the old vector or the new one, never both, and only the new one if it begins after the return.
    ///
    /// # Errors
    ///
    /// As [`Hnsw::upsert`](crate::Hnsw::upsert).
    pub fn upsert<V: AsVector + ?Sized>(&self, key: u64, vector: &V) -> Result<bool, IndexError> {
        self.upsert_vector(key, vector.as_vector())
    }

    /// Replaces a vector as [`Hnsw`](crate::Hnsw) does.
    pub(super) fn supersede(
        &self,
        key: u64,
        only: Option<Slot>,
        work: &mut Work,
        write: impl FnOnce(&mut Work) -> Result<Option<Place>, IndexError>,
    ) -> Result<bool, IndexError> {
        self.entries.reserve_hiding()?;
        let _replacement = self.entries.replacing.begin();
        let _pin = pin();
        let Some(Place { slot: new, .. }) = write(work)? else { return Ok(false) };
        let _one_leaves = self.leaving.lock();
        let old = self.entries.slot(key).filter(|&old| only.is_none_or(|only| only == old));
        if let Some(old) = old {
            self.entries.supersede(key, old, new);
        } else {
            self.entries.slots.hide(new);
        }
        self.retire(vec![old.unwrap_or(new)]);
        Ok(old.is_some())
    }

    /// Hides a slot to which no key is mapped any more.
    fn bury(&self, slot: Slot) {
        self.entries.hide(slot);
        self.retire(vec![slot]);
    }
}
