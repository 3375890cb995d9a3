//! Loading an index from its maps into memory.

use super::check::chunk_bytes;
use crate::collection::error::CollectionError;
use crate::collection::format::{COLUMNS, chunk_key, decode_chunk};
use crate::collection::progress::Progress;
use crate::collection::writing::Collection;
use crate::index::Stored;
use crate::observe::watch;
use crate::store::ExtentId;

impl Collection {
    /// Reads the whole index into memory, in huge pages if the system has them, and compares the chunks of the file with their
    /// checksums.
    ///
    /// By default searches read the map of the file, which takes no memory of the process and serves collections larger than memory. If
    /// the collection fits memory, searches are faster after loading, and do not touch the file any more. Searches go on meanwhile;
    /// transactions wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt) for the first chunk that is damaged, [`IndexError::OutOfMemory`](crate::IndexError::OutOfMemory).
    pub fn preload(&self) -> Result<(), CollectionError> {
        self.load_along(&Progress::default())
    }

    pub(super) fn load_along(&self, progress: &Progress<'_>) -> Result<(), CollectionError> {
        watch!(let observed = crate::observe::Operation::Load.begin());
        // A checkpoint moves chunks.
        let writer = self.inner.take_writer()?.asking();
        self.load_alone(progress).map_err(self.inner.place())?;
        drop(writer);
        watch!(observed.done(1));
        Ok(())
    }

    fn load_alone(&self, progress: &Progress<'_>) -> Result<(), CollectionError> {
        let tx = self.inner.store.begin_read()?;
        // Without the table the file has no chunk.
        let Some(table) = tx.find_table::<u64>(COLUMNS)? else { return Ok(()) };
        let columns = self.inner.index.frozen(|image| {
            for (_, column) in &image.columns {
                progress.expect(u64::from(column.rows()) * column.row_bytes() as u64);
            }
            image.columns.iter().map(|(_, column)| column.chunks()).collect::<Vec<_>>()
        });
        for (at, &chunks) in columns.iter().enumerate() {
            for chunk in 0..chunks {
                self.inner.index.frozen(|image| {
                    let (number, column) = image.columns[at];
                    progress.step(chunk_bytes(column, chunk))?;
                    if !column.is_overlaid(chunk) {
                        return Ok(());
                    }
                    let stored = table.get(chunk_key(number, chunk))?;
                    if let Some((extent, _)) = stored.map(decode_chunk).transpose()? {
                        tx.extent(ExtentId(extent))?.bytes()?;
                    }
                    Ok::<(), CollectionError>(column.promote(chunk)?)
                })?;
            }
        }
        Ok(())
    }
}
