//! The memory of a collection that the system cannot take back, and its limit.

use std::sync::Arc;

use super::handle::Inner;
use super::writer::Writer;
use crate::collection::columns::spill_columns;
use crate::collection::error::CollectionError;
use crate::collection::progress::Progress;
use crate::index::{Image, LEVELS, Stored};

/// Maximum bytes of a mapped column that one operation turns into private pages: the first and last page of a row.
const TOUCH: u64 = 2 * 4096;

/// Bytes that are memory of the process, or may become it. Chunks count whole.
#[derive(Debug, Clone, Copy, Default)]
struct Footprint {
    /// Rows of the graph: any insertion may change any of them.
    graph: u64,
    graph_changed: u64,
    /// Vectors, keys and codes that are not mapped.
    held: u64,
    /// Vectors, keys and codes that are mapped, and were changed in some places.
    changed: u64,
    /// Bytes that a vector takes in all columns.
    row: u64,
    /// Columns besides those of the graph.
    columns: u64,
}

impl Footprint {
    fn of(image: &Image<'_>) -> Self {
        let mut found = Self::default();
        for &(number, column) in &image.columns {
            let is_graph = number >= LEVELS;
            found.row += column.row_bytes() as u64;
            found.columns += u64::from(!is_graph);
            for chunk in 0..column.chunks() {
                let bytes = u64::from(column.rows_of(chunk)) * column.row_bytes() as u64;
                let (is_held, is_changed) = (!column.is_overlaid(chunk), column.is_changed(chunk));
                if is_graph {
                    found.graph += bytes;
                    found.graph_changed += if is_held || is_changed { bytes } else { 0 };
                } else if is_held {
                    found.held += bytes;
                } else if is_changed {
                    found.changed += bytes;
                }
            }
        }
        found
    }

    /// Returns the bytes of vectors, keys and codes in memory, and of the pages of maps that commits have changed, at most `changed`.
    fn own(&self, writer: &Writer) -> u64 {
        self.held + self.changed.min(writer.touched)
    }
}

/// The memory that a transaction may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    limit: u64,
    /// Bytes that the collection takes before the first operation.
    taken: u64,
    /// Bytes that an operation adds.
    operation: u64,
}

impl Allowance {
    /// Refuses a transaction of `operations` operations, whose vectors and payloads take `bytes` bytes, if it does not fit.
    pub(super) fn admit(&self, operations: usize, bytes: u64) -> Result<(), CollectionError> {
        // The transaction, the journal's parts, and pages of the store each have the vectors; fewer have the payloads.
        let needed = (self.taken)
            .saturating_add(self.operation.saturating_mul(operations as u64))
            .saturating_add(bytes.saturating_mul(3));
        if needed > self.limit {
            return Err(CollectionError::Memory { needed, limit: self.limit });
        }
        Ok(())
    }
}

impl Inner {
    /// Makes room in memory, if it is limited. Returns the allowance.
    pub(super) fn allowance(
        &self,
        writer: &mut Writer,
    ) -> Result<Option<Allowance>, CollectionError> {
        let Some(limit) = self.memory_limit() else { return Ok(None) };
        let mut found = self.index.frozen(|image| Footprint::of(&image));
        let room = limit.saturating_sub(found.graph);
        if found.own(writer) > room / 2 || found.graph_changed > limit {
            match self.checkpoint(writer, &Progress::default()) {
                Ok(()) => {
                    let tx = Arc::new(self.store.begin_read()?);
                    writer.is_unsettled = true;
                    found = self.index.frozen(|image| {
                        spill_columns(&tx, &image)?;
                        Ok::<_, CollectionError>(Footprint::of(&image))
                    })?;
                    writer.is_unsettled = false;
                }
                // On a full disk the transaction may still remove vectors within the limit.
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Allowance {
            limit,
            taken: found.graph + found.own(writer) + self.store.resident_bytes(),
            operation: found.row + found.columns * TOUCH,
        }))
    }
}

impl Writer {
    /// Adds the bytes of maps that a commit may have turned into private pages.
    pub(super) fn touch(&mut self, operations: usize, image: &Image<'_>) {
        let found = Footprint::of(image);
        let bytes = (found.row + found.columns * TOUCH).saturating_mul(operations as u64);
        self.touched = self.touched.saturating_add(bytes);
    }
}
