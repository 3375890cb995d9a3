//! Tables that a write transaction may change.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use super::table::{Entry, Range};
use super::write::WriteTransaction;
use crate::store::error::StoreError;
use crate::store::format::{Operation, TableRecord};
use crate::store::key::Key;
use crate::store::pages::{View, Workspace};
use crate::store::tree::{self, Builder};

/// A table in a write transaction.
pub struct TableMut<'t, K: Key + ?Sized> {
    transaction: &'t mut WriteTransaction,
    table: usize,
    key: PhantomData<fn(&K)>,
}

impl<'t, K: Key + ?Sized> TableMut<'t, K> {
    pub(super) fn new(transaction: &'t mut WriteTransaction, table: usize) -> Self {
        Self { transaction, table, key: PhantomData }
    }

    fn parts(&self) -> Result<(&Workspace, TableRecord), StoreError> {
        let changes = self.transaction.view()?;
        let table = changes.tables.get(self.table).ok_or(StoreError::TransactionFailed)?;
        Ok((&changes.pages, table.record))
    }

    /// Returns the number of entries. `O(1)`.
    pub fn len(&self) -> u64 {
        self.parts().map_or(0, |(_, record)| record.len)
    }

    /// Returns whether the table has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value of `key`. `O(log n)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way is damaged.
    pub fn get(&self, key: K::Item<'_>) -> Result<Option<&[u8]>, StoreError> {
        let (pages, record) = self.parts()?;
        tree::get(pages, record.root, K::encode(key).as_ref()).map_err(pages.shared.place())
    }

    /// Sets the value of `key`. Returns whether the key had one. `O(log n)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyTooLong`], [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn insert(&mut self, key: K::Item<'_>, value: &[u8]) -> Result<bool, StoreError> {
        self.insert_encoded(K::encode(key).as_ref(), value)
    }

    fn insert_encoded(&mut self, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        let table = self.table;
        self.transaction.changes()?.check_key(key)?;
        let replaced = self.transaction.change(|changes| changes.insert(table, key, value))?;
        self.transaction.record_table(table);
        self.transaction.record(Operation::Insert { key, value });
        Ok(replaced)
    }

    /// Removes `key`. Returns whether the table had it. `O(log n)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn remove(&mut self, key: K::Item<'_>) -> Result<bool, StoreError> {
        let key = K::encode(key);
        let key = key.as_ref();
        let table = self.table;
        let removed = self.transaction.change(|changes| changes.remove(table, key))?;
        if removed {
            self.transaction.record_table(table);
            self.transaction.record(Operation::Remove { key });
        }
        Ok(removed)
    }

    /// Loads entries whose keys ascend. Returns the number of entries.
    ///
    /// Into an empty table, full pages are written to the file from left to right, with little memory,
    /// and the commit makes a checkpoint instead of a log record. Into any other, it inserts one by one.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyOrder`] if a key is not greater than the one before it, [`StoreError::KeyTooLong`],
    /// [`StoreError::Io`]; the transaction can only be dropped or rolled back then.
    pub fn bulk_load<'e>(
        &mut self,
        entries: impl IntoIterator<Item = (K::Item<'e>, &'e [u8])>,
    ) -> Result<u64, StoreError> {
        self.load(&mut entries.into_iter().map(|(item, value)| (K::encode(item), value)))
    }

    /// Loads entries in any order. Returns the number of entries given. The last one of equal keys counts.
    ///
    /// Sorts references to the entries first, `O(n log n)` with 48 bytes of memory for each and without copying keys or values, and
    /// goes on like [`TableMut::bulk_load`].
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyTooLong`], [`StoreError::Io`]; the transaction can only be dropped or rolled back then.
    pub fn bulk_load_unsorted<'e>(
        &mut self,
        entries: impl IntoIterator<Item = (K::Item<'e>, &'e [u8])>,
    ) -> Result<u64, StoreError> {
        let mut sorted = Vec::new();
        for (item, value) in entries {
            let key = K::encode(item);
            // The leading bytes decide almost every comparison of the sort, without following a reference.
            sorted.push((leading_bytes(key.as_ref()), key, value));
        }
        let count = sorted.len() as u64;
        // A stable sort keeps equal keys in the caller's order.
        sorted.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.as_ref().cmp(b.1.as_ref())));
        sorted.dedup_by(|later, kept| {
            let equal = later.0 == kept.0 && later.1.as_ref() == kept.1.as_ref();
            if equal {
                kept.2 = later.2;
            }
            equal
        });
        self.load(&mut sorted.into_iter().map(|(_, key, value)| (key, value)))?;
        Ok(count)
    }

    /// Does [`Self::bulk_load`]. The entries are behind a pointer, so that this is compiled once for each kind of keys.
    fn load<E: AsRef<[u8]>>(
        &mut self,
        entries: &mut dyn Iterator<Item = (E, &[u8])>,
    ) -> Result<u64, StoreError> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(0);
        }
        let table = self.table;
        if self.is_empty() {
            self.transaction.leave_log();
            return self.transaction.change(|changes| {
                let mut builder = Builder::new();
                for (key, value) in entries {
                    changes.check_key(key.as_ref())?;
                    builder.push(&mut changes.pages, key.as_ref(), value)?;
                }
                let (root, len) = builder.finish(&mut changes.pages)?;
                changes.set_loaded(table, root, len);
                Ok(len)
            });
        }
        let mut last: Option<E> = None;
        let mut position = 0;
        for (key, value) in entries {
            if last.as_ref().is_some_and(|last| last.as_ref() >= key.as_ref()) {
                self.transaction.fail();
                return Err(StoreError::KeyOrder { position });
            }
            self.insert_encoded(key.as_ref(), value)?;
            last = Some(key);
            position += 1;
        }
        Ok(position)
    }

    /// Returns the entry with the smallest key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way is damaged.
    pub fn first(&self) -> Result<Option<Entry<'_, K>>, StoreError> {
        self.entries()?.next().transpose()
    }

    /// Returns the entry with the greatest key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way is damaged.
    pub fn last(&self) -> Result<Option<Entry<'_, K>>, StoreError> {
        self.entries()?.next_back().transpose()
    }

    /// Returns all entries, ascending, from either end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way to either end is damaged.
    pub fn entries(&self) -> Result<Range<'_, K>, StoreError> {
        let (pages, record) = self.parts()?;
        Range::new(View::Workspace(pages), record.root, Bound::Unbounded, Bound::Unbounded)
    }

    /// Returns the entries whose keys are in `range`, ascending, from either end. A range whose start is behind its end is empty.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a page on the way to either end is damaged.
    #[expect(single_use_lifetimes, reason = "`impl Trait` needs a name for it")]
    pub fn range<'r>(
        &self,
        range: impl RangeBounds<K::Item<'r>>,
    ) -> Result<Range<'_, K>, StoreError> {
        let (pages, record) = self.parts()?;
        Range::over(View::Workspace(pages), record.root, &range)
    }
}

impl<K: Key + ?Sized> fmt::Debug for TableMut<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableMut").field("key", &K::NAME).field("len", &self.len()).finish()
    }
}

/// Returns the first eight bytes as a number that orders as they do.
fn leading_bytes(key: &[u8]) -> u64 {
    let mut eight = [0; 8];
    let len = key.len().min(8);
    eight[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(eight)
}
