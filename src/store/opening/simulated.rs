//! Stores on simulated disks.

use std::sync::Arc;

use super::handle::Store;
use super::options::StoreOptions;
use crate::store::disk::{SimulatedDisk, Storage};
use crate::store::error::StoreError;
use crate::store::format::{far_page, is_unfinished};

impl StoreOptions {
    /// Opens the store on a simulated disk, or makes it on an empty one.
    ///
    /// # Errors
    ///
    /// As for [`StoreOptions::open`], but for [`StoreError::Locked`].
    pub fn open_simulated(&self, disk: &SimulatedDisk) -> Result<Store, StoreError> {
        let is_new = self.is_new(disk)?;
        self.open_storage(Arc::new(disk.clone()), is_new)
    }

    /// Returns whether a disk has no store yet. A disk has no second name under which a store could be made, so a power cut can leave
    /// an unfinished store.
    fn is_new(&self, disk: &SimulatedDisk) -> Result<bool, StoreError> {
        self.check()?;
        let len = disk.len().map_err(StoreError::io("ask for the length of the file"))?;
        Ok(len == 0
            || is_unfinished(disk, len, far_page(self.log_len, self.page_size) * self.page_size)?)
    }
}
