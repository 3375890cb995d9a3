//! Write transactions, savepoints and durability.

mod commit;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use super::read::{check_type, names};
use super::table_mut::TableMut;
use crate::store::durability::{Changes, Saved, checkpoint};
use crate::store::error::StoreError;
use crate::store::format::Operation;
use crate::store::key::Key;
use crate::store::pages::{
    DIRECT, Extent, ExtentId, Placing, Shared, View, Workspace, Writer, extent,
};
use commit::give_back;

/// The time at which a commit is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When `commit` returns, no crash and no power cut can lose it. Transactions that commit at the same time from
    /// several threads share one wait for the disk.
    #[default]
    Immediate,
    /// When `commit` returns, the operating system has it: the process may be killed, but a power cut can lose it
    /// until the next immediate commit, checkpoint or close.
    Eventual,
    /// `commit` only makes the changes visible; the end of the process can lose them as well, up to the next commit that is not of this
    /// kind, checkpoint or close.
    None,
}

/// A transaction that changes the store. A transaction that is dropped without a commit changes nothing.
///
/// It sees its own changes, which are hidden from others before the commit. A store has one write transaction at a time: other threads
/// wait in
/// [`crate::store::Store::begin_write`] for its end, and a thread that asks for another transaction, or for statistics, a check, a
/// checkpoint or a compaction, while it has one itself gets [`StoreError::Deadlock`]. A transaction may be handed to another
/// thread: the thread that uses it counts, and one that has not used it yet has a quarter of a second to do so. Changed pages are kept in memory until then; [`TableMut::bulk_load`] and
/// extents above 4 MiB go to the file at once.
pub struct WriteTransaction {
    changes: Option<Changes>,
    durability: Durability,
    /// Operations for the log; `None` if they cannot be logged, so that the commit makes a checkpoint.
    log: Option<Vec<u8>>,
    /// The table that logged operations change.
    selected: Option<usize>,
    failed: bool,
    id: u64,
    savepoints: Vec<(u64, Saved, Option<Vec<u8>>)>,
    next_savepoint: u64,
    /// The thread that used the transaction last.
    thread: ThreadId,
    /// Whether the transaction adds to the store, and not only removes.
    adds: bool,
}

/// A place in a transaction that [`WriteTransaction::roll_back`] returns to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    transaction: u64,
    number: u64,
}

impl WriteTransaction {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        Self::with(shared, shared.writer.take()?)
    }

    pub(crate) fn try_new(shared: &Arc<Shared>) -> Result<Option<Self>, StoreError> {
        shared.writer.try_take()?.map(|writer| Self::with(shared, writer)).transpose()
    }

    fn with(shared: &Arc<Shared>, writer: Box<Writer>) -> Result<Self, StoreError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let inherited = writer.inherited_log;
        let mut tx = Self {
            changes: Some(Changes::new(Workspace::new(Arc::clone(shared), writer))),
            durability: Durability::default(),
            log: Some(Vec::new()),
            selected: None,
            failed: false,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            savepoints: Vec::new(),
            next_savepoint: 0,
            thread: thread::current().id(),
            adds: false,
        };
        if inherited {
            // The ring may hold a future that was lost in a crash. A new salt invalidates its records, before a record is chained to
            // them.
            tx.settle()?;
        }
        Ok(tx)
    }

    /// Makes a checkpoint of the state that the transaction begins with, before it changes anything.
    fn settle(&mut self) -> Result<(), StoreError> {
        let changes = self.changes()?;
        let shared = Arc::clone(&changes.pages.shared);
        checkpoint(&shared, &mut changes.pages.writer).map_err(shared.place())?;
        self.renew();
        Ok(())
    }

    /// Begins anew, without any change.
    fn renew(&mut self) {
        self.changes = self.changes.take().map(|changes| {
            let (shared, writer) = changes.pages.abandon();
            Changes::new(Workspace::new(shared, writer))
        });
    }

    /// Returns the changes, which are missing only inside of `commit` and `drop`, which take the transaction.
    pub(super) fn changes(&mut self) -> Result<&mut Changes, StoreError> {
        if self.failed {
            return Err(StoreError::TransactionFailed);
        }
        self.note();
        self.changes.as_mut().ok_or(StoreError::TransactionFailed)
    }

    /// Notes in the store the thread that has the transaction now.
    fn note(&mut self) {
        let this = thread::current().id();
        if self.thread != this
            && let Some(changes) = &self.changes
        {
            changes.pages.shared.writer.used();
            self.thread = this;
        }
    }

    /// Makes operations fail that would need a longer file.
    pub(crate) fn stay_within(&mut self) -> Result<(), StoreError> {
        self.change(|changes| {
            let pages = &mut changes.pages;
            let len = pages.shared.storage.len().map_err(StoreError::io("measure the file"))?;
            // The reserve stays.
            let len = len.saturating_sub(pages.writer.reserve);
            let end = pages.writer.allocator.end().max(len / pages.page_size() as u64);
            pages.placing = Placing::Before(end);
            Ok(())
        })
    }

    /// Returns the current changes. Does not note the thread that uses them: see [`Self::note`].
    pub(super) fn view(&self) -> Result<&Changes, StoreError> {
        self.changes.as_ref().ok_or(StoreError::TransactionFailed)
    }

    /// Runs a change; if it fails or panics, the transaction can only be dropped.
    pub(crate) fn change<T>(
        &mut self,
        f: impl FnOnce(&mut Changes) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.note();
        let before = std::mem::replace(&mut self.failed, true);
        let changes = self.changes.as_mut().filter(|_| !before);
        let changes = changes.ok_or(StoreError::TransactionFailed)?;
        changes.pages.shared.admit()?;
        let done = f(changes).map_err(|error| error.at(changes.pages.shared.path()))?;
        self.failed = false;
        Ok(done)
    }

    pub(super) fn record(&mut self, operation: Operation<'_>) {
        use Operation::{CreateExtent, Insert, WriteExtent};
        self.adds |= matches!(operation, Insert { .. } | CreateExtent { .. } | WriteExtent { .. });
        let Some(changes) = &self.changes else { return };
        let limit = changes.pages.writer.log.max_body();
        let Some(log) = &mut self.log else { return };
        if changes.pages.has_written || log.len() + operation.max_len() > limit {
            self.log = None;
        } else {
            operation.encode(log);
        }
    }

    pub(super) fn record_table(&mut self, table: usize) {
        if self.selected == Some(table) {
            return;
        }
        self.selected = Some(table);
        let Some(open) = self.changes.as_ref().and_then(|changes| changes.tables.get(table)) else {
            return;
        };
        let (name, key_type) = (open.name.clone(), open.record.key_type);
        self.record(Operation::Table { name: &name, key_type });
    }

    /// Notes that the log lacks the earlier operations, so that the commit makes a checkpoint instead.
    pub(super) fn leave_log(&mut self) {
        self.adds = true;
        self.log = None;
    }

    /// Notes that the transaction serves a removal, even if it writes, so that it may use the reserve of the file.
    pub(crate) fn serve_removal(&mut self) {
        self.adds = false;
    }

    /// Marks the transaction as failed, so that it can only be dropped.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    /// Sets the durability of the commit; [`Durability::Immediate`] unless set.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Returns the table of this name, made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyType`] if it has keys of another type, [`StoreError::NameTooLong`],
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn table<K: Key + ?Sized>(&mut self, name: &str) -> Result<TableMut<'_, K>, StoreError> {
        let table = self.find_or_create(name, K::TYPE)?;
        check_type::<K>(name, &self.changes()?.tables[table].record)?;
        Ok(TableMut::new(self, table))
    }

    /// Returns the table of this name, made with this type of keys if it does not exist, with its keys as bytes. The caller writes only
    /// bytes that keys of this type have.
    pub(crate) fn raw_table(
        &mut self,
        name: &str,
        key_type: u8,
    ) -> Result<TableMut<'_, [u8]>, StoreError> {
        let table = self.find_or_create(name, key_type)?;
        Ok(TableMut::new(self, table))
    }

    /// Returns the place of the table of this name, made with this type of keys if it does not exist.
    fn find_or_create(&mut self, name: &str, key_type: u8) -> Result<usize, StoreError> {
        let changes = self.changes()?;
        if let Some(table) = changes.find(name)? {
            return Ok(table);
        }
        let table = changes.create(name, key_type)?;
        self.selected = None;
        self.record_table(table);
        Ok(table)
    }

    /// Returns whether a table of this name exists.
    pub(crate) fn has_table(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.changes()?.find(name)?.is_some())
    }

    /// Passes the value of `key` in a table to `read`. Returns `None` if the table, which this does not make, or the key does not exist.
    pub(crate) fn look_up<K: Key + ?Sized, R>(
        &mut self,
        table: &str,
        key: K::Item<'_>,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        Ok(if self.has_table(table)? { self.table::<K>(table)?.get(key)?.map(read) } else { None })
    }

    /// Returns the names of the tables that existed when the transaction began or that it has made, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        self.change(Changes::seal)?;
        let changes = self.view()?;
        names(View::Workspace(&changes.pages), changes.state.catalog)
    }

    /// Removes a table with all its entries. Returns whether the table existed. `O(pages)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn drop_table(&mut self, name: &str) -> Result<bool, StoreError> {
        let dropped = self.change(|changes| changes.drop_table(name))?;
        if dropped {
            self.selected = None;
            self.record(Operation::DropTable { name });
        }
        Ok(dropped)
    }

    /// Makes an extent of `len` zero bytes. Returns its number.
    ///
    /// Up to 4 MiB it is kept in memory until the next checkpoint and its writes are logged. A longer one is
    /// written to the file at once, and the commit makes a checkpoint instead of a log record.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] above 1 TiB, [`StoreError::Io`], [`StoreError::TransactionFailed`].
    pub fn create_extent(&mut self, len: u64) -> Result<ExtentId, StoreError> {
        let extent = self.change(|changes| changes.create_extent(len))?;
        self.record(Operation::CreateExtent { extent, len });
        Ok(ExtentId(extent))
    }

    /// Makes an extent of `bytes`. Returns its number. The result is that of creating and writing it, but a long extent is written
    /// once.
    ///
    /// # Errors
    ///
    /// As [`WriteTransaction::create_extent`].
    pub(crate) fn put_extent(&mut self, bytes: &[u8]) -> Result<ExtentId, StoreError> {
        let len = bytes.len() as u64;
        if len <= DIRECT {
            let extent = self.create_extent(len)?;
            self.write_extent(extent, 0, bytes)?;
            return Ok(extent);
        }
        let extent = self.change(|changes| changes.create_extent_of(bytes))?;
        self.record(Operation::CreateExtent { extent, len });
        Ok(ExtentId(extent))
    }

    /// Writes `bytes` into an extent at `offset`.
    ///
    /// Snapshots keep their bytes, so an extent is copied when a transaction first writes to it: give data with scattered changes
    /// extents of some 64 KiB.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentMissing`], [`StoreError::ExtentRange`], [`StoreError::Corrupt`],
    /// [`StoreError::TransactionFailed`].
    pub fn write_extent(
        &mut self,
        extent: ExtentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let record = self.changes()?.extent(extent.0)?;
        extent::check_range(record, offset, bytes.len() as u64)?;
        self.change(|changes| changes.write_extent(extent.0, offset, bytes))?;
        self.record(Operation::WriteExtent { extent: extent.0, offset, bytes });
        Ok(())
    }

    /// Removes an extent.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentMissing`], [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn remove_extent(&mut self, extent: ExtentId) -> Result<(), StoreError> {
        self.changes()?.extent(extent.0)?;
        self.change(|changes| changes.remove_extent(extent.0))?;
        self.record(Operation::RemoveExtent { extent: extent.0 });
        Ok(())
    }

    /// Returns an extent with the changes of the transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentMissing`], [`StoreError::Corrupt`].
    pub fn extent(&self, extent: ExtentId) -> Result<Extent<'_>, StoreError> {
        let changes = self.view()?;
        changes.pages.shared.writer.used();
        Ok(Extent::new(View::Workspace(&changes.pages), changes.extent(extent.0)?))
    }

    /// Saves the current state of the transaction. Costs a copy of the operations logged before, and of each page when it is changed
    /// next.
    ///
    /// # Errors
    ///
    /// [`StoreError::TransactionFailed`].
    pub fn savepoint(&mut self) -> Result<Savepoint, StoreError> {
        let saved = self.changes()?.save();
        let number = self.next_savepoint;
        self.next_savepoint += 1;
        self.savepoints.push((number, saved, self.log.clone()));
        Ok(Savepoint { transaction: self.id, number })
    }

    /// Undoes all changes since the savepoint, which stays valid; later savepoints become invalid.
    ///
    /// # Errors
    ///
    /// [`StoreError::SavepointInvalid`], [`StoreError::TransactionFailed`].
    pub fn roll_back(&mut self, savepoint: Savepoint) -> Result<(), StoreError> {
        self.changes()?;
        let position = self.savepoints.iter().position(|saved| saved.0 == savepoint.number);
        let Some(position) = position.filter(|_| savepoint.transaction == self.id) else {
            return Err(StoreError::SavepointInvalid);
        };
        self.savepoints.truncate(position + 1);
        let (_, saved, log) = self.savepoints[position].clone();
        self.changes()?.restore(&saved);
        self.log = log;
        self.selected = None;
        Ok(())
    }
}

impl Drop for WriteTransaction {
    fn drop(&mut self) {
        if let Some(changes) = self.changes.take() {
            give_back(changes);
        }
    }
}

impl fmt::Debug for WriteTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTransaction")
            .field("durability", &self.durability)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
