//! Statistics of a collection.

use crate::collection::error::CollectionError;
use crate::collection::writing::Collection;
use crate::index::Stats;
use crate::store;

/// Sizes of a collection, and counts of its operations.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CollectionStats {
    /// The index.
    pub index: Stats,
    /// The store of the collection's file.
    pub store: store::Stats,
    /// Number of the last commit.
    pub commit: u64,
    /// Bytes of journal behind the last checkpoint.
    pub journal_bytes: u64,
    /// Operations of the journal that the next opening would apply; it copies the rows of the others.
    pub pending_operations: u64,
    /// Bytes of rows that the next opening would copy.
    pub delta_bytes: u64,
    /// Bytes of vectors, keys, codes and graph in the file as of the last checkpoint.
    pub column_bytes: u64,
    /// Bytes of vectors, without padding, that were committed since the collection was opened.
    pub committed_vector_bytes: u64,
    /// Bytes of chunks that checkpoints have written since the collection was opened.
    pub checkpoint_bytes: u64,
    /// Checkpoints since the collection was opened.
    pub checkpoints: u64,
    /// Predicates and clauses since the collection was opened whose keys were kept from an evaluation before, on the same commit.
    pub selection_hits: u64,
    /// Predicates and costly clauses that were evaluated.
    pub selection_misses: u64,
    /// Bytes of the keys that are kept ([`CollectionBuilder::selection_memory`](crate::CollectionBuilder::selection_memory)).
    pub selection_bytes: u64,
}

impl CollectionStats {
    /// Returns the bytes written to the file for each byte of vectors committed, since the collection was opened; 0 without a commit.
    pub fn write_amplification(&self) -> f64 {
        if self.committed_vector_bytes == 0 {
            return 0.0;
        }
        self.store.written_bytes as f64 / self.committed_vector_bytes as f64
    }
}

impl Collection {
    /// Returns sizes and counts of operations, without reading a page. Waits for the running transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Deadlock`](crate::store::StoreError::Deadlock), [`StoreError::Io`](crate::store::StoreError::Io).
    pub fn stats(&self) -> Result<CollectionStats, CollectionError> {
        // A copy of the state, so that the rest stops no transaction.
        let writer = *self.inner.take_to_look()?;
        let selections = self.inner.selections.used();
        Ok(CollectionStats {
            index: self.inner.index.stats(),
            store: self.inner.store.stats()?,
            commit: writer.commit,
            journal_bytes: writer.journal,
            pending_operations: writer.late,
            delta_bytes: writer.deltas,
            column_bytes: writer.columns,
            committed_vector_bytes: writer.vector_bytes,
            checkpoint_bytes: writer.column_bytes,
            checkpoints: writer.checkpoints,
            selection_hits: selections.hits,
            selection_misses: selections.misses,
            selection_bytes: selections.bytes,
        })
    }
}
