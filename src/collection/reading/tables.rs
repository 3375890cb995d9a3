//! Tables of the user's own in a snapshot.

use super::snapshot::Snapshot;
use crate::collection::error::CollectionError;
use crate::collection::format::OWN;
use crate::store::{Key, Table};

impl Snapshot {
    /// Returns a table of your own records, as [`Transaction::table`](crate::Transaction::table) made it. Returns `None` if this commit has none of
    /// this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyType`](crate::store::StoreError::KeyType) if the table has keys of another type,
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn table<K: Key + ?Sized>(
        &self,
        name: &str,
    ) -> Result<Option<Table<'_, K>>, CollectionError> {
        Ok(self.store().find_table(&format!("{OWN}{name}"))?)
    }

    /// Returns the names of the tables of your own records, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn tables(&self) -> Result<Vec<String>, CollectionError> {
        let names = self.store().tables()?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(OWN)).map(str::to_owned).collect())
    }
}
