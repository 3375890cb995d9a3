//! Snapshots.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::table::{Range, Table};
use crate::mmap::MmapMut;
use crate::process::Process;
use crate::store::disk::{ReaderLock, Storage};
use crate::store::error::StoreError;
use crate::store::format::{ExtentRecord, NodeRef, Source, TableRecord};
use crate::store::key::Key;
use crate::store::pages::{Extent, ExtentId, Pin, Shared, View};
use crate::store::tree;

/// The type of a table's keys, and the table with its keys as bytes.
pub(crate) type RawTable<'t> = (u8, Table<'t, [u8]>);

/// A checkpoint and the commits that were applied on top of it.
pub(crate) struct Base {
    pub(crate) shared: Arc<Shared>,
    pub(crate) checkpoint: u64,
    /// Keeps the writer from reusing the checkpoint's pages. `None` without locks.
    _lock: Option<ReaderLock>,
}

impl Base {
    pub(crate) fn new(shared: Arc<Shared>, checkpoint: u64, lock: Option<ReaderLock>) -> Self {
        Self { shared, checkpoint, _lock: lock }
    }
}

/// A snapshot: the store as one commit left it, for the lifetime of the transaction.
///
/// It blocks no transaction and none blocks it. Its pages are not reused while it exists; versions between it and the next snapshot
/// are. May be sent to and shared with other threads.
pub struct ReadTransaction {
    pin: Pin,
    /// In a process that only reads: keeps the lock by which the writer finds this snapshot.
    _base: Option<Arc<Base>>,
    storage: Arc<dyn Storage>,
    /// The process that may read, because the transaction does not keep the pages for a forked child.
    process: Process,
}

impl ReadTransaction {
    pub(crate) fn new(pin: Pin, base: Option<Arc<Base>>, storage: Arc<dyn Storage>) -> Self {
        Self { pin, _base: base, storage, process: Process::current() }
    }

    /// Returns the number of the commit that the snapshot shows. Later commits have greater numbers; checkpoints use up numbers too.
    pub fn number(&self) -> u64 {
        self.pin.state.transaction
    }

    /// Returns the number of the layout of extents: in states with the same number every extent has the same bytes at the same place.
    pub(crate) fn layout(&self) -> u64 {
        self.pin.state.layout
    }

    /// Returns the table of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::TableMissing`], [`StoreError::KeyType`] if it has keys of another type,
    /// [`StoreError::Corrupt`].
    pub fn table<K: Key + ?Sized>(&self, name: &str) -> Result<Table<'_, K>, StoreError> {
        let missing = || StoreError::TableMissing { table: name.to_owned() };
        self.find_table(name)?.ok_or_else(missing)
    }

    /// Returns the table of this name. Returns `None` if the store has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyType`] if it has keys of another type, [`StoreError::Corrupt`].
    pub fn find_table<K: Key + ?Sized>(
        &self,
        name: &str,
    ) -> Result<Option<Table<'_, K>>, StoreError> {
        self.admit()?;
        let Some(record) = self.table_record(name)? else { return Ok(None) };
        check_type::<K>(name, &record)?;
        Ok(Some(Table::new(&self.pin, record)))
    }

    /// Returns the type of the keys of a table, and the table with its keys as bytes. Returns `None` if the store has none.
    pub(crate) fn raw_table(&self, name: &str) -> Result<Option<RawTable<'_>>, StoreError> {
        self.admit()?;
        let Some(record) = self.table_record(name)? else { return Ok(None) };
        Ok(Some((record.key_type, Table::new(&self.pin, record))))
    }

    fn table_record(&self, name: &str) -> Result<Option<TableRecord>, StoreError> {
        let catalog = self.pin.state.catalog;
        let found = tree::get(&self.pin, catalog, name.as_bytes())
            .and_then(|value| value.map(|v| TableRecord::decode(catalog.page, v)).transpose());
        found.map_err(|error| self.place(error))
    }

    /// Returns the value of `key` in a table. Returns `None` if the table or the key does not exist.
    pub(crate) fn look_up<K: Key + ?Sized>(
        &self,
        table: &str,
        key: K::Item<'_>,
    ) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.find_table::<K>(table)?.map(|table| table.get(key)).transpose()?.flatten())
    }

    /// Refuses a forked child of the process that opened the store.
    fn admit(&self) -> Result<(), StoreError> {
        self.process.admit().map_err(|forked| self.place(forked.into()))
    }

    /// Adds the path of the file to an error.
    fn place(&self, error: StoreError) -> StoreError {
        error.at(self.path())
    }

    /// Returns the path of the file, for errors. Returns `None` in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.pin.path()
    }

    /// Returns the names of all tables, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.admit()?;
        names(View::Pin(&self.pin), self.pin.state.catalog)
    }

    /// Returns the extent of this number.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentMissing`], [`StoreError::Corrupt`].
    pub fn extent(&self, extent: ExtentId) -> Result<Extent<'_>, StoreError> {
        self.admit()?;
        let root = self.pin.state.extents;
        let found = tree::get(&self.pin, root, &extent.0.to_be_bytes())
            .and_then(|value| value.map(|v| ExtentRecord::decode(root.page, v)).transpose());
        match found.map_err(|error| self.place(error))? {
            Some(record) => Ok(Extent::new(View::Pin(&self.pin), record)),
            None => Err(StoreError::ExtentMissing { extent: extent.0 }),
        }
    }

    /// Returns the bytes of an extent as a map whose changes stay in it. The map must not outlive this transaction.
    ///
    /// With `verified`, or without a file, the bytes are compared with their checksums and copied; else they are mapped without a
    /// check.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentMissing`], [`StoreError::Corrupt`], [`StoreError::TooLarge`], [`StoreError::Io`].
    pub(crate) fn map_extent(
        &self,
        extent: ExtentId,
        verified: bool,
    ) -> Result<MmapMut, StoreError> {
        let bytes = self.extent(extent)?;
        let record = bytes.record();
        let too_large = || StoreError::TooLarge { bytes: record.len };
        let len = usize::try_from(record.len).map_err(|_| too_large())?;
        let in_file = Source::in_memory(&self.pin, record.page).is_none();
        if in_file && !verified && len > 0 {
            // The store's own map is tested first, because the file must hold the whole extent.
            self.pin.mapped(record.page, len).map_err(|error| self.place(error))?;
            let offset = record.page * self.pin.page_size() as u64;
            let map = self.storage.map_private(offset, len);
            let map = map.map_err(StoreError::io("map a piece of the file"));
            if let Some(map) = map.map_err(|error| self.place(error))? {
                return Ok(map);
            }
        }
        let bytes = bytes.bytes()?;
        let mut map = MmapMut::map_anon(len.max(1)).map_err(|_| too_large())?;
        map[..len].copy_from_slice(bytes);
        Ok(map)
    }

    /// Returns the numbers of all extents, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`].
    pub fn extents(&self) -> Result<Vec<ExtentId>, StoreError> {
        use std::ops::Bound::Unbounded;

        self.admit()?;
        let root = self.pin.state.extents;
        let range: Range<'_, u64> = Range::new(View::Pin(&self.pin), root, Unbounded, Unbounded)?;
        range.map(|entry| entry.map(|(number, _)| ExtentId(number))).collect()
    }
}

pub(crate) fn names(view: View<'_>, catalog: NodeRef) -> Result<Vec<String>, StoreError> {
    use std::ops::Bound::Unbounded;
    let range: Range<'_, str> = Range::new(view, catalog, Unbounded, Unbounded)?;
    range.map(|entry| entry.map(|(name, _)| name.to_owned())).collect()
}

pub(crate) fn check_type<K: Key + ?Sized>(
    name: &str,
    record: &TableRecord,
) -> Result<(), StoreError> {
    if record.key_type != K::TYPE {
        return Err(StoreError::KeyType {
            table: name.to_owned(),
            expected: K::NAME,
            found: record.key_type,
        });
    }
    Ok(())
}

impl fmt::Debug for ReadTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadTransaction").field("number", &self.number()).finish_non_exhaustive()
    }
}
