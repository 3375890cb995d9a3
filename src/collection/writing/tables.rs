//! Tables of the user's own, in the transactions of a collection.

use super::transaction::Transaction;
use crate::collection::error::CollectionError;
use crate::collection::format::OWN;
use crate::store::{Key, TableMut};

impl Transaction {
    /// Returns a table of your own records, made if the collection has none of this name: read and changed with vectors, payloads and
    /// attributes, and committed with them or not at all. The collection's own tables have other names, so that any name may be chosen.
    /// [`Snapshot::table`](crate::Snapshot::table) reads it. A backup has it; a merge and an export do not.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-tables-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric};
    ///
    /// let films = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// tx.upsert(7, &[0.1, 0.2])?;
    /// tx.table::<str>("visits")?.insert("2024-05-01", &7_u64.to_le_bytes())?;
    /// tx.commit()?;
    ///
    /// let moment = films.snapshot()?;
    /// let visits = moment.table::<str>("visits")?.ok_or("no table")?;
    /// assert_eq!(visits.get("2024-05-01")?, Some(&7_u64.to_le_bytes()[..]));
    /// # drop((moment, films));
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyType`] if the table has keys of another type, [`StoreError::NameTooLong`], [`StoreError::Corrupt`],
    /// [`StoreError::TransactionFailed`].
    ///
    /// [`StoreError::KeyType`]: crate::store::StoreError::KeyType
    /// [`StoreError::NameTooLong`]: crate::store::StoreError::NameTooLong
    /// [`StoreError::Corrupt`]: crate::store::StoreError::Corrupt
    /// [`StoreError::TransactionFailed`]: crate::store::StoreError::TransactionFailed
    pub fn table<K: Key + ?Sized>(
        &mut self,
        name: &str,
    ) -> Result<TableMut<'_, K>, CollectionError> {
        self.note_changes(true);
        Ok(self.store()?.table(&format!("{OWN}{name}"))?)
    }

    /// Removes a table of your own records. Returns whether the collection had it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt), [`StoreError::TransactionFailed`](crate::store::StoreError::TransactionFailed).
    pub fn drop_table(&mut self, name: &str) -> Result<bool, CollectionError> {
        let dropped = self.store()?.drop_table(&format!("{OWN}{name}"))?;
        self.note_changes(false);
        Ok(dropped)
    }
}
