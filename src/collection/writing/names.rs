//! Names in place of numbers: strings and ids of any bytes, each with its key.

use super::handle::Collection;
use super::transaction::Transaction;
use crate::collection::error::CollectionError;
use crate::collection::format::{FIRST_NAMED, KEYS_OF_NAMES, NAMES_OF_KEYS};
use crate::collection::reading::Snapshot;
use crate::error::IndexError;
use crate::store::{ReadTransaction, StoreError};

impl Transaction {
    /// Returns the key of a name, and gives a new name one: the next that has no vector, 2^63 and up, so that a collection can have
    /// both names and your numbers. The key stays the name's for the lifetime of the collection. A name is a string, or any other
    /// bytes, such as
    /// the 16 of a UUID.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-names-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric};
    ///
    /// let words = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = words.begin_write()?;
    /// let key = tx.name_or_insert("harbour")?;
    /// tx.upsert(key, &[0.3, 0.7])?;
    /// tx.commit()?;
    ///
    /// let hits = words.search(&[0.0, 1.0]).k(1).run()?;
    /// assert_eq!(words.name_of(hits[0].key)?.as_deref(), Some(&b"harbour"[..]));
    /// # drop(words);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::NameTooLong`] above an eighth of a page, [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn name_or_insert(&mut self, name: impl AsRef<[u8]>) -> Result<u64, CollectionError> {
        let name = name.as_ref();
        let store = self.store()?;
        if let Some(key) = store.table::<[u8]>(KEYS_OF_NAMES)?.get(name)? {
            return decode(key);
        }
        let last = store.table::<u64>(NAMES_OF_KEYS)?.last()?.map(|(key, _)| key);
        let corrupt = CollectionError::corrupt("a name has a key that no name has");
        let mut key = match last {
            None => FIRST_NAMED,
            Some(last) if last < FIRST_NAMED => return Err(corrupt),
            Some(last) => last.checked_add(1).ok_or(corrupt)?,
        };
        // The number itself may be the key of a vector already.
        while self.contains(key) {
            key = key.checked_add(1).ok_or(IndexError::Full { len: usize::MAX })?;
        }
        let store = self.store()?;
        let inserted = store.table::<[u8]>(KEYS_OF_NAMES)?.insert(name, &key.to_le_bytes());
        inserted.map_err(|error| match error {
            StoreError::KeyTooLong { len, max } => CollectionError::NameTooLong { len, max },
            error => error.into(),
        })?;
        store.table::<u64>(NAMES_OF_KEYS)?.insert(key, name)?;
        self.note_records();
        Ok(key)
    }

    /// Returns the key of a name, also one that this transaction gave. Returns `None` if the name has no key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn key_of(&mut self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        let table = self.store()?.table::<[u8]>(KEYS_OF_NAMES)?;
        table.get(name.as_ref())?.map(decode).transpose()
    }
}

impl Collection {
    /// Returns the key of a name, in the newest commit. Returns `None` if the name has no key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn key_of(&self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        key_of(&self.inner.store.begin_read()?, name.as_ref())
    }

    /// Returns the name of a key, in the newest commit. Returns `None` if the key has no name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn name_of(&self, key: u64) -> Result<Option<Vec<u8>>, CollectionError> {
        let tx = self.inner.store.begin_read()?;
        Ok(tx.look_up::<u64>(NAMES_OF_KEYS, key)?.map(<[u8]>::to_vec))
    }
}

impl Snapshot {
    /// Returns the key of a name. Returns `None` if the name has no key in this commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn key_of(&self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        key_of(self.store(), name.as_ref())
    }

    /// Returns the name of a key, without copying it. Returns `None` if the key has no name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn name_of(&self, key: u64) -> Result<Option<&[u8]>, CollectionError> {
        Ok(self.store().look_up::<u64>(NAMES_OF_KEYS, key)?)
    }
}

fn key_of(tx: &ReadTransaction, name: &[u8]) -> Result<Option<u64>, CollectionError> {
    tx.look_up::<[u8]>(KEYS_OF_NAMES, name)?.map(decode).transpose()
}

fn decode(key: &[u8]) -> Result<u64, CollectionError> {
    let corrupt = CollectionError::corrupt("the key of a name is malformed");
    Ok(u64::from_le_bytes(key.try_into().map_err(|_| corrupt)?))
}
