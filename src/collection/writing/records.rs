//! Records of one commit, for readers that ask for many keys.

use std::fmt;

use super::handle::Collection;
use super::names::key_of;
use crate::attributes::Attributes;
use crate::collection::attributes::attributes;
use crate::collection::error::CollectionError;
use crate::collection::format::NAMES_OF_KEYS;
use crate::collection::reading::payload;
use crate::store::ReadTransaction;

/// Names, attributes and payloads as one commit of a collection left them. Made by [`Collection::records`].
///
/// It costs much less than a [`Snapshot`](crate::Snapshot), because it has no vectors. The file keeps the pages of the commit until it is
/// dropped.
pub struct RecordSnapshot<'a> {
    collection: &'a Collection,
    tx: ReadTransaction,
}

impl Collection {
    /// Returns the names, attributes and payloads of the newest commit, for many keys: [`payload`](Self::payload) and
    /// [`name_of`](Self::name_of) take a moment of their own at each call, and copy.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-records-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric};
    ///
    /// let films = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// for (name, vector) in [("Metropolis", [0.1, 0.2]), ("Playtime", [0.3, 0.1])] {
    ///     let key = tx.name_or_insert(name)?;
    ///     tx.upsert(key, &vector)?;
    /// }
    /// tx.commit()?;
    /// let found = films.search_batch(&[[0.1, 0.2], [0.3, 0.2]]).k(1).run()?;
    /// let records = films.records()?;
    /// let names: Vec<_> = found.iter().map(|hits| records.name_of(hits[0].key)).collect::<Result<_, _>>()?;
    /// assert_eq!(names, [Some(&b"Metropolis"[..]), Some(&b"Playtime"[..])]);
    /// # drop(records);
    /// # drop(films);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Forked`](crate::store::StoreError::Forked) in a forked child of the process that opened the collection.
    pub fn records(&self) -> Result<RecordSnapshot<'_>, CollectionError> {
        let tx = self.inner.store.begin_read().map_err(CollectionError::from);
        Ok(RecordSnapshot { collection: self, tx: tx.map_err(self.inner.place())? })
    }
}

impl RecordSnapshot<'_> {
    /// Returns the payload of a key, without copying it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn payload(&self, key: u64) -> Result<Option<&[u8]>, CollectionError> {
        payload(&self.tx, key).map_err(self.collection.inner.place())
    }

    /// Returns the name of a key, without copying it. Returns `None` if the key has no name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn name_of(&self, key: u64) -> Result<Option<&[u8]>, CollectionError> {
        let name = self.tx.look_up::<u64>(NAMES_OF_KEYS, key).map_err(CollectionError::from);
        name.map_err(self.collection.inner.place())
    }

    /// Returns the key of a name. Returns `None` if the name has no key in this commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn key_of(&self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        key_of(&self.tx, name.as_ref()).map_err(self.collection.inner.place())
    }

    /// Returns the attributes of a key. Returns `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn attributes(&self, key: u64) -> Result<Option<Attributes>, CollectionError> {
        let inner = &self.collection.inner;
        attributes(&self.tx, &inner.fields, key).map_err(inner.place())
    }
}

impl fmt::Debug for RecordSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordSnapshot").field("number", &self.tx.number()).finish_non_exhaustive()
    }
}
