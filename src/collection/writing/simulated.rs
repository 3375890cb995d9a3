//! Collections on simulated disks.

use std::time::Instant;

use super::handle::Collection;
use crate::collection::builder::CollectionBuilder;
use crate::collection::error::CollectionError;
use crate::store::SimulatedDisk;

impl CollectionBuilder {
    /// Opens or makes a collection on a simulated disk, for tests of power cuts.
    ///
    /// # Errors
    ///
    /// As [`CollectionBuilder::open`], but for [`StoreError::Locked`](crate::store::StoreError::Locked).
    pub fn open_simulated(self, disk: &SimulatedDisk) -> Result<Collection, CollectionError> {
        let start = Instant::now();
        let store = self.store_options().open_simulated(disk)?;
        Collection::with_store(store, Some(&self), start)
    }
}
