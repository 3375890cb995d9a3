//! Checkpoints: columns and an empty journal in the file, and maps of it in memory.

use std::sync::Arc;

use super::handle::{Collection, Inner};
use super::pace::Holding;
use super::writer::Writer;
use crate::arena::Keeper;
use crate::collection::columns::{keep, settle_columns, write_columns};
use crate::collection::error::CollectionError;
use crate::collection::format::{DELTAS, JOURNAL};
use crate::collection::progress::Progress;
use crate::index::{Image, Stored};
use crate::observe::watch;
use crate::store::{Store, StoreError, WriteTransaction};

impl Collection {
    /// Writes all chunks that changed and empties the journal, so that the next opening has nothing to apply. Happens by itself
    /// when the journal is long ([`CollectionBuilder::checkpoint_after`](crate::CollectionBuilder::checkpoint_after)). Searches go on;
    /// transactions wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`], [`StoreError::Io`], [`StoreError::Deadlock`], [`CollectionError::Behind`].
    pub fn checkpoint(&self) -> Result<(), CollectionError> {
        self.checkpoint_along(&Progress::default())
    }

    pub(in crate::collection) fn checkpoint_along(
        &self,
        progress: &Progress<'_>,
    ) -> Result<(), CollectionError> {
        let mut writer = self.inner.take_writer()?.asking();
        self.inner.checkpoint(&mut writer, progress).map_err(self.inner.place())
    }
}

impl Inner {
    /// Returns whether the length of the journal makes a checkpoint due.
    pub(super) fn is_due(&self, writer: &Writer) -> bool {
        writer.journal > self.tuning.journal_limit(writer.columns).max(writer.put_off)
    }

    pub(in crate::collection) fn checkpoint(
        &self,
        writer: &mut Writer,
        progress: &Progress<'_>,
    ) -> Result<(), CollectionError> {
        self.checkpoint_by(writer, progress, Store::begin_write)
    }

    /// As [`Self::checkpoint`], unless it would need a longer file. Returns whether the checkpoint was made.
    pub(in crate::collection) fn checkpoint_within(
        &self,
        writer: &mut Writer,
        progress: &Progress<'_>,
    ) -> Result<bool, CollectionError> {
        match self.checkpoint_by(writer, progress, Store::begin_write_within) {
            Ok(()) => Ok(true),
            Err(CollectionError::Store(StoreError::TooLarge { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn checkpoint_by(
        &self,
        writer: &mut Writer,
        progress: &Progress<'_>,
        begin: impl FnOnce(&Store) -> Result<WriteTransaction, StoreError>,
    ) -> Result<(), CollectionError> {
        if writer.commit == writer.checkpointed && !writer.is_unsettled {
            return Ok(self.store.checkpoint()?);
        }
        watch!(let observed = crate::observe::Operation::Checkpoint.begin());
        watch!(let before = writer.column_bytes);
        let holding = Holding::new(self);
        self.index.frozen(|image| {
            let mut tx = begin(&self.store)?;
            writer.column_bytes += write_columns(&mut tx, &image, writer.commit, progress)?;
            tx.drop_table(JOURNAL)?;
            tx.table::<u64>(JOURNAL)?;
            tx.drop_table(DELTAS)?;
            // The checkpoint frees the journal and the old extents.
            tx.serve_removal();
            tx.commit()?;
            // After an earlier failure, unchanged maps may be of old extents, too.
            let all = std::mem::replace(&mut writer.is_unsettled, true);
            // Extents are in the file from here on, so that they can be mapped.
            self.store.checkpoint()?;
            (writer.journal, writer.checkpointed) = (0, writer.commit);
            writer.put_off = 0;
            (writer.deltas, writer.next_delta) = (0, 0);
            writer.count_anew();
            writer.touched = 0;
            writer.columns = column_bytes(&image);
            writer.checkpoints += 1;
            settle_columns(&Arc::new(self.store.begin_read()?), &image, all)
        })?;
        writer.is_unsettled = false;
        drop(holding);
        self.pace.lock().origins.clear();
        // The newest state lacks the views' extents.
        self.drop_idle_views();
        watch!(observed.done(writer.column_bytes - before));
        Ok(())
    }

    /// Makes the maps keep the newest snapshot of the store, which still has their extents, so that pages that were replaced since can
    /// be reused. Returns the number of that snapshot. Returns `None` if some maps are of older snapshots.
    pub(in crate::collection) fn pin_newest(
        &self,
        writer: &Writer,
    ) -> Result<Option<u64>, CollectionError> {
        if writer.is_unsettled {
            return Ok(None);
        }
        let tx = Arc::new(self.store.begin_read()?);
        self.index.frozen(|image| keep(&image, &(Arc::clone(&tx) as Keeper)));
        self.views.lock().pin(&tx, writer.checkpointed);
        Ok(Some(tx.number()))
    }

    /// Forgets views without a holder: each keeps its pages in the file.
    pub(in crate::collection) fn drop_idle_views(&self) {
        self.views.lock().drop_idle();
    }
}

/// Returns the bytes of all columns in a file.
pub(super) fn column_bytes(image: &Image<'_>) -> u64 {
    let bytes = image.columns.iter().map(|(_, c)| u64::from(c.rows()) * c.row_bytes() as u64);
    bytes.sum()
}
