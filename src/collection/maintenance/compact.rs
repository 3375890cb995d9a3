//! Compaction of the file of a collection.

use std::sync::Arc;

use crate::collection::columns::move_columns;
use crate::collection::error::CollectionError;
use crate::collection::progress::Progress;
use crate::collection::writing::{Collection, Writer};
use crate::index::Stored;
use crate::observe::watch;

impl Collection {
    /// Makes a checkpoint, moves pages from the end of the file to free space before them, and cuts
    /// the file. Transactions wait; searches go on.
    ///
    /// Payloads, names and the journal shrink with their content. Slots of removed vectors are kept for new ones; [`Collection::merge`]
    /// of a single snapshot into another file drops them, too.
    ///
    /// If no snapshot is open, one call leaves at most 5 % more than the log and the pages in use,
    /// as [`Store::compact`](crate::store::Store::compact) says. A snapshot that is open, here or in
    /// another process, keeps the pages that it sees where they are: `stats().store.held_bytes` of
    /// those are not in use otherwise. The file does not become longer beside it; the checkpoint is
    /// left out if it does not fit the file. Compacting again when the snapshot is gone does the
    /// rest.
    ///
    /// Returns the bytes by which the file has become shorter.
    ///
    /// # Errors
    ///
    /// As [`Collection::checkpoint`], and [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn compact(&self) -> Result<u64, CollectionError> {
        self.compact_along(&Progress::default())
    }

    pub(super) fn compact_along(&self, progress: &Progress<'_>) -> Result<u64, CollectionError> {
        watch!(let observed = crate::observe::Operation::Compact.begin());
        let mut writer = self.inner.take_writer()?.asking();
        let (inner, store) = (&self.inner, &self.inner.store);
        let before = store.file_bytes()?;
        if writer.is_unsettled {
            // An earlier step failed. After a checkpoint all maps are of the newest extents again.
            self.checkpoint_in_room(&mut writer, progress)?;
        }
        // The store's own checkpoint is first, because it needs next to no room: then the pages of removed payloads are free for the
        // columns.
        inner.drop_idle_views();
        let own = inner.pin_newest(&writer)?;
        store.checkpoint()?;
        let is_settled = if store.is_held(own)? {
            inner.checkpoint_within(&mut writer, progress)?
        } else {
            self.checkpoint_in_room(&mut writer, progress)?;
            true
        };
        progress.expect(store.used_bytes()?);
        let let_go = || {
            // A snapshot may have been made and dropped meanwhile.
            inner.drop_idle_views();
            if !is_settled {
                // Chunks that changed cannot become maps of other places, so their extents are held, too.
                return Ok(None);
            }
            let tx = Arc::new(store.begin_read()?);
            inner.index.frozen(|image| move_columns(&tx, &image))?;
            Ok::<_, CollectionError>(Some(tx.number()))
        };
        // The maps are unsettled until they have followed, also after an error on the way.
        let was_unsettled = std::mem::replace(&mut writer.is_unsettled, true);
        store.compact_along(&|bytes| progress.go_on(bytes), &let_go)?;
        writer.is_unsettled = was_unsettled;
        let freed = before.saturating_sub(store.file_bytes()?);
        drop(writer);
        watch!(observed.done(freed));
        Ok(freed)
    }

    /// Makes a checkpoint. On a full disk it first moves tree nodes, because free pages may be scattered, and columns need adjacent
    /// ones.
    fn checkpoint_in_room(
        &self,
        writer: &mut Writer,
        progress: &Progress<'_>,
    ) -> Result<(), CollectionError> {
        match self.inner.checkpoint(writer, progress) {
            Err(error) if error.is_full() => {
                // The second pass cuts off the pages that the maps kept during the first.
                for _ in 0..2 {
                    let own = self.inner.pin_newest(writer)?;
                    self.inner.store.compact_nodes_while(own, |bytes| progress.go_on(bytes))?;
                }
                self.inner.pin_newest(writer)?;
                self.inner.checkpoint(writer, progress)
            }
            done => done,
        }
    }
}
