use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::changes::{Changes, Saved};
use super::checkpoint::checkpoint;
use super::error::StoreError;
use super::extent::{Extent, ExtentId};
use super::key::Key;
use super::read::{check_type, names};
use super::record::Operation;
use super::shared::Shared;
use super::snapshot::State;
use super::table_mut::TableMut;
use super::view::View;
use super::workspace::{DIRECT, Placing, Workspace};
use super::writer::Writer;
use crate::observe::watch;

/// When a commit is safe.
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
    /// `commit` only makes it visible; the end of the process can lose it as well, up to the next commit that is
    /// not of this kind, checkpoint or close.
    None,
}

/// A transaction that changes the store. Dropped without a commit, it leaves no trace.
///
/// It sees its own changes; nobody else does before the commit. It is the only one: others wait in
/// [`super::Store::begin_write`]. Changed pages are kept in memory until then; [`TableMut::bulk_load`] and
/// extents above 4 MiB go to the file at once.
pub struct WriteTransaction {
    changes: Option<Changes>,
    durability: Durability,
    /// Operations for the log; `None` if they cannot be logged, so that a checkpoint has to stand for them.
    log: Option<Vec<u8>>,
    /// The table that logged operations are about.
    selected: Option<usize>,
    failed: bool,
    id: u64,
    savepoints: Vec<(u64, Saved, Option<Vec<u8>>)>,
    next_savepoint: u64,
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

    fn with(shared: &Arc<Shared>, mut writer: Box<Writer>) -> Result<Self, StoreError> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        if writer.inherited_log {
            // The ring may hold a future that was lost in a crash. A new salt ends its claim, before
            // anything is chained to what is left of it. An error poisons the store, which needs no writer then.
            checkpoint(shared, &mut writer)?;
        }
        Ok(Self {
            changes: Some(Changes::new(Workspace::new(Arc::clone(shared), writer))),
            durability: Durability::default(),
            log: Some(Vec::new()),
            selected: None,
            failed: false,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            savepoints: Vec::new(),
            next_savepoint: 0,
        })
    }

    /// The changes; gone only inside of `commit` and `drop`, which take the transaction itself.
    pub(super) fn changes(&mut self) -> Result<&mut Changes, StoreError> {
        if self.failed {
            return Err(StoreError::TransactionFailed);
        }
        self.changes.as_mut().ok_or(StoreError::TransactionFailed)
    }

    /// Lets operations fail that would need a longer file.
    pub(super) fn stay_within(&mut self) -> Result<(), StoreError> {
        self.change(|changes| {
            let pages = &mut changes.pages;
            let len = pages.shared.storage.len().map_err(StoreError::io("measure the file"))?;
            let end = pages.writer.allocator.end().max(len / pages.page_size() as u64);
            pages.placing = Placing::Before(end);
            Ok(())
        })
    }

    pub(super) fn view(&self) -> Result<&Changes, StoreError> {
        self.changes.as_ref().ok_or(StoreError::TransactionFailed)
    }

    /// Runs a change; if it fails or panics, the transaction can only be dropped.
    pub(super) fn change<T>(
        &mut self,
        f: impl FnOnce(&mut Changes) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = std::mem::replace(&mut self.failed, true);
        let changes = self.changes.as_mut().filter(|_| !before);
        let done = f(changes.ok_or(StoreError::TransactionFailed)?)?;
        self.failed = false;
        Ok(done)
    }

    pub(super) fn record(&mut self, operation: Operation<'_>) {
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

    /// Notes that the operations so far are not in the log: a checkpoint has to stand for them.
    pub(super) fn leave_log(&mut self) {
        self.log = None;
    }

    /// Leaves nothing but to drop the transaction.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    /// Sets when the commit is to be safe; [`Durability::Immediate`] unless set.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// The table of this name, made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyType`] if it has keys of another type, [`StoreError::KeyTooLong`] for the name,
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn table<K: Key + ?Sized>(&mut self, name: &str) -> Result<TableMut<'_, K>, StoreError> {
        let changes = self.changes()?;
        let table = if let Some(table) = changes.find(name)? {
            check_type::<K>(name, &changes.tables[table].record)?;
            table
        } else {
            let table = changes.create(name, K::TYPE)?;
            self.selected = None;
            self.record_table(table);
            table
        };
        Ok(TableMut::new(self, table))
    }

    /// Names of the tables that were there when the transaction began or that it has made, ascending.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn tables(&mut self) -> Result<Vec<String>, StoreError> {
        self.change(Changes::seal)?;
        let changes = self.view()?;
        names(View::Workspace(&changes.pages), changes.state.catalog)
    }

    /// Removes a table with all its entries; returns whether there was one. `O(pages)`.
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

    /// Makes an extent of `len` zero bytes and returns its number.
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

    /// Makes an extent of `bytes` and returns its number: as creating and writing it, but a long one is written once.
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
    /// Snapshots keep what they see, so an extent is copied when a transaction first writes to it: give
    /// data that changes here and there extents of some 64 KiB.
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
        super::extent::check_range(record, offset, bytes.len() as u64)?;
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

    /// An extent as the transaction has it now.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentMissing`], [`StoreError::Corrupt`].
    pub fn extent(&self, extent: ExtentId) -> Result<Extent<'_>, StoreError> {
        let changes = self.view()?;
        Ok(Extent::new(View::Workspace(&changes.pages), changes.extent(extent.0)?))
    }

    /// Remembers this moment. Costs a copy of the operations logged so far, and of each page when it is changed
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

    /// Undoes all that happened since the savepoint, which stays; later ones are gone.
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

    /// Makes the changes visible and, as the durability says, safe. After an error the store is as it was
    /// before, except that after [`StoreError::Io`] a power cut may bring the changes up or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::TransactionFailed`] if an operation failed before, [`StoreError::Io`] and
    /// [`StoreError::Poisoned`] if the disk refused.
    pub fn commit(mut self) -> Result<(), StoreError> {
        watch!(let observed = crate::observe::Operation::StoreCommit.begin());
        self.change(Changes::seal)?;
        let Some(mut changes) = self.changes.take() else {
            return Err(StoreError::TransactionFailed);
        };
        let unchanged = self.log.as_ref().is_some_and(Vec::is_empty);
        if unchanged && !changes.pages.has_written {
            flush(changes, self.durability)?;
            watch!(observed.done(1));
            return Ok(());
        }
        let shared = Arc::clone(&changes.pages.shared);
        let log = self.log.take();
        let applied = shared.writer.or_end(|| apply(&mut changes, log, self.durability));
        give_back(changes);
        let Applied { sync, publish } = applied?;
        if let Some(lsn) = sync {
            shared.sync_log(lsn)?;
        }
        if let Some(state) = publish {
            shared.frames.publish(state);
        }
        shared.traffic.commits.fetch_add(1, Ordering::Relaxed);
        watch!(observed.done(1));
        Ok(())
    }
}

/// What is left to do for a commit when the next transaction may already begin.
struct Applied {
    /// The log must be on the disk up to here.
    sync: Option<u64>,
    /// The state to show then; none if a checkpoint has shown it.
    publish: Option<State>,
}

fn apply(
    changes: &mut Changes,
    log: Option<Vec<u8>>,
    durability: Durability,
) -> Result<Applied, StoreError> {
    let shared = Arc::clone(&changes.pages.shared);
    let pages = &mut changes.pages;
    let state = State { transaction: pages.writer.state.transaction + 1, ..changes.state };
    let log = log.filter(|log| !pages.has_written && pages.writer.log.fits(log.len()));
    let mut sync = None;
    if let Some(body) = &log {
        let ring = &mut pages.writer.log;
        ring.set_synced(shared.synced());
        ring.append(state.transaction, body);
        if durability != Durability::None {
            shared.wrote(ring.write(&*shared.storage)?);
            shared.log_written(ring.end().lsn);
        }
        if durability == Durability::Immediate {
            sync = Some(ring.end().lsn);
        }
        shared.traffic.committed.fetch_add(body.len() as u64, Ordering::Relaxed);
    } else {
        shared.traffic.committed.fetch_add(pages.own_bytes(), Ordering::Relaxed);
    }
    pages.install(state.transaction)?;
    pages.writer.state = state;
    if log.is_none() {
        checkpoint(&shared, &mut pages.writer)?;
        return Ok(Applied { sync: None, publish: None });
    }
    Ok(Applied { sync, publish: Some(state) })
}

/// Commits nothing, which still makes earlier commits as safe as the durability says.
fn flush(mut changes: Changes, durability: Durability) -> Result<(), StoreError> {
    let mut written = Ok(0);
    if durability != Durability::None {
        let shared = Arc::clone(&changes.pages.shared);
        let log = &mut changes.pages.writer.log;
        written = shared.writer.or_end(|| log.write(&*shared.storage));
        if written.is_ok() {
            shared.log_written(log.end().lsn);
        }
    }
    let lsn = changes.pages.writer.log.end().lsn;
    let shared = give_back(changes);
    shared.wrote(written?);
    if durability == Durability::Immediate { shared.sync_log(lsn) } else { Ok(()) }
}

/// Lets the next transaction begin.
fn give_back(changes: Changes) -> Arc<Shared> {
    let (shared, writer) = changes.pages.abandon();
    shared.writer.give_back(writer);
    shared
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
