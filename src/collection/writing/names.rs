//! Names in place of numbers: strings and ids of any bytes, each with its key.

use super::handle::Collection;
use super::transaction::Transaction;
use crate::collection::error::CollectionError;
use crate::collection::format::{
    FIRST_NAMED, HEAD, KEYS_OF_NAMES, LAST_NAMED, NAMES_OF_KEYS, key_of_name,
};
use crate::collection::reading::Snapshot;
use crate::error::IndexError;
use crate::store::{ReadTransaction, StoreError};

impl Transaction {
    /// Returns the key of a name, and gives a new name one: the next that has no vector, 2^63 and up, so that a collection can have
    /// both names and your numbers. The key stays the name's until [`remove`](Self::remove) or [`remove_name`](Self::remove_name) removes
    /// the name, and no other name gets it then. A name is a string, or any other bytes, such as the 16 of a UUID.
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
            return key_of_name(key);
        }
        let corrupt = CollectionError::corrupt("a name has a key that no name has");
        let last = store.table::<u64>(NAMES_OF_KEYS)?.last()?.map(|(key, _)| key);
        let removed = store.look_up::<str, _>(HEAD, LAST_NAMED, key_of_name)?.transpose()?;
        let mut key = match last.max(removed) {
            None => FIRST_NAMED,
            Some(last) if last < FIRST_NAMED => return Err(corrupt),
            Some(last) => last.checked_add(1).ok_or(IndexError::Full { len: usize::MAX })?,
        };
        // The number itself may be the key of a vector already.
        while self.contains(key) {
            key = key.checked_add(1).ok_or(IndexError::Full { len: usize::MAX })?;
        }
        self.give(key, name)?;
        Ok(key)
    }

    /// Gives a key a name, which no key has.
    pub(super) fn give(&mut self, key: u64, name: &[u8]) -> Result<(), CollectionError> {
        let store = self.store()?;
        let inserted = store.table::<[u8]>(KEYS_OF_NAMES)?.insert(name, &key.to_le_bytes());
        inserted.map_err(|error| match error {
            StoreError::KeyTooLong { len, max } => CollectionError::NameTooLong { len, max },
            error => error.into(),
        })?;
        store.table::<u64>(NAMES_OF_KEYS)?.insert(key, name)?;
        self.note_records();
        Ok(())
    }

    /// Gives the key of a name another name. Returns the key, whose vector, payload and attributes stay.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-rename-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric};
    ///
    /// let words = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = words.begin_write()?;
    /// let key = tx.name_or_insert("harbor")?;
    /// tx.upsert(key, &[0.3, 0.7])?;
    /// assert_eq!(tx.rename("harbor", "harbour")?, key);
    /// tx.commit()?;
    /// assert_eq!((words.key_of("harbor")?, words.key_of("harbour")?), (None, Some(key)));
    ///
    /// let mut tx = words.begin_write()?;
    /// tx.remove_named("harbour")?;
    /// tx.commit()?;
    /// assert!(words.key_of("harbour")?.is_none() && words.is_empty());
    /// # drop(words);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::NameMissing`] if no key has the first name, [`CollectionError::NameTaken`] if another key has the second one,
    /// [`CollectionError::NameTooLong`]; the transaction then stays unchanged. [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn rename(
        &mut self,
        from: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<u64, CollectionError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let missing = || CollectionError::NameMissing { name: from.to_vec() };
        let key = self.key_of(from)?.ok_or_else(missing)?;
        if from == to {
            return Ok(key);
        }
        if let Some(key) = self.key_of(to)? {
            return Err(CollectionError::NameTaken { name: to.to_vec(), key });
        }
        self.give(key, to)?;
        self.store()?.table::<[u8]>(KEYS_OF_NAMES)?.remove(from)?;
        Ok(key)
    }

    /// Removes a name from its key, whose vector, payload and attributes stay. Returns the key. Returns `None` if no key has the name. No other
    /// name gets the key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn remove_name(&mut self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        let key = self.key_of(name)?;
        if let Some(key) = key {
            self.clear_name(key)?;
        }
        Ok(key)
    }

    /// Removes a name with its key's vector, payload and attributes, as [`remove`](Self::remove) does by the key. Returns the key. Returns `None`
    /// if no key has the name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn remove_named(&mut self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        let key = self.key_of(name)?;
        if let Some(key) = key {
            self.remove(key)?;
        }
        Ok(key)
    }

    /// Removes the name of a key, if it has one.
    pub(super) fn clear_name(&mut self, key: u64) -> Result<(), CollectionError> {
        if key < FIRST_NAMED {
            return Ok(());
        }
        let Some(name) = self.name_of(key)? else { return Ok(()) };
        let store = self.store()?;
        let mut keys = store.table::<u64>(NAMES_OF_KEYS)?;
        let is_last = keys.last()?.is_some_and(|(last, _)| last == key);
        keys.remove(key)?;
        store.table::<[u8]>(KEYS_OF_NAMES)?.remove(&name)?;
        if is_last {
            // The greatest keys may go one after the other.
            let known = store.look_up::<str, _>(HEAD, LAST_NAMED, key_of_name)?.transpose()?;
            let last = known.map_or(key, |known| known.max(key));
            store.table::<str>(HEAD)?.insert(LAST_NAMED, &last.to_le_bytes())?;
        }
        self.note_changes(false);
        Ok(())
    }

    /// Returns the name of a key, with the changes of this transaction. Returns `None` if the key has no name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn name_of(&mut self, key: u64) -> Result<Option<Vec<u8>>, CollectionError> {
        Ok(self.store()?.look_up::<u64, _>(NAMES_OF_KEYS, key, <[u8]>::to_vec)?)
    }

    /// Returns the key of a name, also one that this transaction gave. Returns `None` if the name has no key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn key_of(&mut self, name: impl AsRef<[u8]>) -> Result<Option<u64>, CollectionError> {
        self.store()?.look_up::<[u8], _>(KEYS_OF_NAMES, name.as_ref(), key_of_name)?.transpose()
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

pub(super) fn key_of(tx: &ReadTransaction, name: &[u8]) -> Result<Option<u64>, CollectionError> {
    tx.look_up::<[u8]>(KEYS_OF_NAMES, name)?.map(key_of_name).transpose()
}
