//! The changes of one transaction, made by a user's calls or by recovered log records.

use crate::store::error::StoreError;
use crate::store::format::{
    ExtentRecord, LOG_OFFSET, MAX_EXTENT, NodeRef, Operation, Reader, Run, State, Stored,
    TableRecord,
};
use crate::store::pages::extent::check_range;
use crate::store::pages::{DIRECT, Mark, Workspace};
use crate::store::tree;

/// A table that the transaction has opened.
#[derive(Debug, Clone)]
pub(crate) struct OpenTable {
    pub(crate) name: String,
    pub(crate) record: TableRecord,
    changed: bool,
    dropped: bool,
}

/// The state that a savepoint keeps.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    mark: Mark,
    state: State,
    tables: Vec<OpenTable>,
}

pub(crate) struct Changes {
    pub(crate) pages: Workspace,
    pub(crate) state: State,
    pub(crate) tables: Vec<OpenTable>,
}

impl Changes {
    pub(crate) fn new(pages: Workspace) -> Self {
        let state = pages.writer.state;
        Self { pages, state, tables: Vec::new() }
    }

    /// Returns the table's place in `tables`, if it exists.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<usize>, StoreError> {
        if let Some(i) = self.tables.iter().position(|table| table.name == name) {
            return Ok((!self.tables[i].dropped).then_some(i));
        }
        if name.len() > tree::max_key(self.pages.page_size()) {
            return Ok(None);
        }
        let Some(value) = tree::get(&self.pages, self.state.catalog, name.as_bytes())? else {
            return Ok(None);
        };
        let record = TableRecord::decode(self.state.catalog.page, value)?;
        let name = name.to_owned();
        self.tables.push(OpenTable { name, record, changed: false, dropped: false });
        Ok(Some(self.tables.len() - 1))
    }

    /// Makes a table that does not exist. Returns its place.
    pub(crate) fn create(&mut self, name: &str, key_type: u8) -> Result<usize, StoreError> {
        let max = tree::max_key(self.pages.page_size());
        if name.len() > max {
            return Err(StoreError::NameTooLong { len: name.len(), max });
        }
        let record = TableRecord { root: NodeRef::EMPTY, len: 0, key_type };
        let new = OpenTable { name: name.to_owned(), record, changed: true, dropped: false };
        if let Some(i) = self.tables.iter().position(|table| table.name == name) {
            self.tables[i] = new;
            return Ok(i);
        }
        self.tables.push(new);
        Ok(self.tables.len() - 1)
    }

    pub(crate) fn check_key(&self, key: &[u8]) -> Result<(), StoreError> {
        let max = tree::max_key(self.pages.page_size());
        if key.len() > max {
            return Err(StoreError::KeyTooLong { len: key.len(), max });
        }
        Ok(())
    }

    pub(crate) fn insert(
        &mut self,
        table: usize,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let table = &mut self.tables[table];
        table.changed = true;
        let replaced = tree::insert(&mut self.pages, &mut table.record.root, key, value)?;
        table.record.len += u64::from(!replaced);
        Ok(replaced)
    }

    pub(crate) fn remove(&mut self, table: usize, key: &[u8]) -> Result<bool, StoreError> {
        let table = &mut self.tables[table];
        let removed = tree::remove(&mut self.pages, &mut table.record.root, key)?;
        table.changed |= removed;
        if removed {
            table.record.len = table.record.len.saturating_sub(1);
        }
        Ok(removed)
    }

    /// Replaces an empty table's tree by one that was loaded.
    pub(crate) fn set_loaded(&mut self, table: usize, root: NodeRef, len: u64) {
        let table = &mut self.tables[table];
        table.changed = true;
        (table.record.root, table.record.len) = (root, len);
    }

    pub(crate) fn drop_table(&mut self, name: &str) -> Result<bool, StoreError> {
        let Some(i) = self.find(name)? else { return Ok(false) };
        let root = self.tables[i].record.root;
        self.tables[i].dropped = true;
        self.tables[i].changed = true;
        let mut runs = Vec::new();
        tree::visit(&self.pages, root, &mut |visit| {
            match visit {
                tree::Visit::Node(node) => runs.push(Run::one(node.page())),
                tree::Visit::Entry(_, Stored::Overflow(value)) => {
                    let pages = value.len.div_ceil(self.pages.page_size() as u64);
                    runs.push(Run { start: value.page, pages });
                }
                tree::Visit::Entry(..) => {}
            }
            Ok(())
        })?;
        for run in runs {
            self.pages.free(run)?;
        }
        Ok(true)
    }

    pub(crate) fn extent(&self, extent: u64) -> Result<ExtentRecord, StoreError> {
        let root = self.state.extents;
        match tree::get(&self.pages, root, &extent.to_be_bytes())? {
            Some(value) => ExtentRecord::decode(root.page, value),
            None => Err(StoreError::ExtentMissing { extent }),
        }
    }

    fn put_extent(&mut self, extent: u64, record: ExtentRecord) -> Result<(), StoreError> {
        let root = &mut self.state.extents;
        tree::put_inline(&mut self.pages, root, &extent.to_be_bytes(), &record.encode())?;
        Ok(())
    }

    pub(crate) fn create_extent(&mut self, len: u64) -> Result<u64, StoreError> {
        if len > MAX_EXTENT {
            return Err(StoreError::TooLarge { bytes: len });
        }
        let extent = self.state.next_extent;
        let record = self.pages.new_extent(len)?;
        self.put_extent(extent, record)?;
        self.state.next_extent += 1;
        Ok(extent)
    }

    /// Makes an extent of `bytes`, which are more than [`DIRECT`](crate::store::pages::DIRECT).
    pub(crate) fn create_extent_of(&mut self, bytes: &[u8]) -> Result<u64, StoreError> {
        if bytes.len() as u64 > MAX_EXTENT {
            return Err(StoreError::TooLarge { bytes: bytes.len() as u64 });
        }
        let extent = self.state.next_extent;
        let record = self.pages.new_extent_of(bytes)?;
        self.put_extent(extent, record)?;
        self.state.next_extent += 1;
        Ok(extent)
    }

    pub(crate) fn write_extent(
        &mut self,
        extent: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let record = self.extent(extent)?;
        check_range(record, offset, bytes.len() as u64)?;
        let new = self.pages.write_extent(record, offset, bytes)?;
        if new != record {
            self.put_extent(extent, new)?;
        }
        Ok(())
    }

    pub(crate) fn remove_extent(&mut self, extent: u64) -> Result<(), StoreError> {
        let record = self.extent(extent)?;
        let pages = record.pages(self.pages.page_size());
        self.pages.free(Run { start: record.page, pages })?;
        tree::remove(&mut self.pages, &mut self.state.extents, &extent.to_be_bytes())?;
        Ok(())
    }

    /// Applies the operations of a log record.
    pub(crate) fn replay(&mut self, body: &[u8]) -> Result<(), StoreError> {
        let page = LOG_OFFSET / self.pages.page_size() as u64;
        let corrupt = || StoreError::corrupt(page, "a log record does not fit its state");
        let mut reader = Reader::new(body, page);
        let mut selected = None;
        while !reader.is_empty() {
            match reader.operation()? {
                Operation::Table { name, key_type } => {
                    selected = match self.find(name)? {
                        Some(i) => Some(i),
                        None => Some(self.create(name, key_type)?),
                    };
                }
                Operation::Insert { key, value } => {
                    self.check_key(key)?;
                    self.insert(selected.ok_or_else(corrupt)?, key, value)?;
                }
                Operation::Remove { key } => {
                    self.remove(selected.ok_or_else(corrupt)?, key)?;
                }
                Operation::DropTable { name } => {
                    self.drop_table(name)?;
                }
                Operation::CreateExtent { extent, len } => {
                    if len > DIRECT || extent != self.state.next_extent {
                        return Err(corrupt());
                    }
                    self.create_extent(len)?;
                }
                Operation::WriteExtent { extent, offset, bytes } => {
                    if self.extent(extent)?.len > DIRECT {
                        return Err(corrupt());
                    }
                    self.write_extent(extent, offset, bytes)?;
                }
                Operation::RemoveExtent { extent } => self.remove_extent(extent)?,
            }
            if self.pages.has_written {
                // No writer logs such a transaction; a forged record may try to take all memory.
                return Err(corrupt());
            }
        }
        Ok(())
    }

    pub(crate) fn save(&mut self) -> Saved {
        Saved { mark: self.pages.mark(), state: self.state, tables: self.tables.clone() }
    }

    pub(crate) fn restore(&mut self, saved: &Saved) {
        self.pages.roll_back(saved.mark);
        self.state = saved.state;
        self.tables.clone_from(&saved.tables);
    }

    /// Enters the changed tables into the catalog.
    pub(crate) fn seal(&mut self) -> Result<(), StoreError> {
        let catalog = &mut self.state.catalog;
        for table in self.tables.iter_mut().filter(|table| table.changed) {
            if table.dropped {
                tree::remove(&mut self.pages, catalog, table.name.as_bytes())?;
            } else {
                let record = table.record.encode();
                tree::put_inline(&mut self.pages, catalog, table.name.as_bytes(), &record)?;
            }
            table.changed = false;
        }
        Ok(())
    }
}
