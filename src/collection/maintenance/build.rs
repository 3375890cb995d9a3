//! Building the index of a field that was stored only.

use crate::collection::error::CollectionError;
use crate::collection::progress::Progress;
use crate::collection::writing::Collection;

/// Keys of a transaction.
const PIECE: usize = 10_000;

impl Collection {
    /// Adds the existing values of a field to the index, if a new [schema](crate::Transaction::declare) no longer declares it as stored only.
    /// Each 10,000 keys are a transaction; others may be made between them, and add their values themselves. After a crash or a cancelled
    /// [task](Collection::task), another call goes on behind the last of them. Until the end, predicates read the records of the field. Returns at once
    /// if the index has the field, or if no key ever had it.
    ///
    /// # Errors
    ///
    /// [`AttributeError::StoredOnly`](crate::attributes::AttributeError::StoredOnly) in [`CollectionError::Attribute`]; as
    /// [`begin_write`](Self::begin_write) and [`Transaction::commit`](crate::Transaction::commit).
    pub fn build_index(&self, field: &str) -> Result<(), CollectionError> {
        self.build_index_along(field, &Progress::default())
    }

    pub(super) fn build_index_along(
        &self,
        field: &str,
        progress: &Progress<'_>,
    ) -> Result<(), CollectionError> {
        progress.expect(self.len() as u64);
        loop {
            let mut tx = self.begin_write()?;
            let Some(count) = tx.index_some(field, PIECE)? else { return Ok(()) };
            tx.commit()?;
            progress.step(count)?;
        }
    }
}
