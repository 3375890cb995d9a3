//! The check of a whole store.

use crate::store::error::StoreError;
use crate::store::format::{
    ExtentRecord, NodeRef, PageMap, PageNo, Run, Source, State, Stored, TableRecord, checksum,
};
use crate::store::key::Key;
use crate::store::pages::{Pin, Shared, View, Writer, extent};
use crate::store::progress::Progress;
use crate::store::tree::{self, Visit};

/// The objects that [`crate::store::Store::check`] has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Tables.
    pub tables: u64,
    /// Entries of all tables.
    pub entries: u64,
    /// Extents.
    pub extents: u64,
    /// Pages in use.
    pub used_pages: u64,
    /// Pages that are free or wait to be freed.
    pub free_pages: u64,
}

struct Checker<'a> {
    pin: &'a Pin,
    progress: Progress<'a>,
    /// Pages of each run in use, by first page.
    runs: PageMap<u64>,
    pages: u64,
    limit: PageNo,
}

impl Checker<'_> {
    fn claim(&mut self, run: Run) -> Result<(), StoreError> {
        if run.start == 0 || run.start.checked_add(run.pages).is_none_or(|end| end > self.limit) {
            return Err(StoreError::corrupt(run.start, "it lies outside of the file"));
        }
        if self.runs.insert(run.start, run.pages).is_some() {
            return Err(StoreError::corrupt(run.start, "it is used twice"));
        }
        self.pages += run.pages;
        Ok(())
    }

    /// Checks a tree and calls `entry` for each entry. Returns the number of entries.
    fn tree(
        &mut self,
        root: NodeRef,
        mut entry: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let (pin, progress) = (self.pin, self.progress);
        let size = pin.page_size();
        let mut entries = 0;
        let mut last: Option<Vec<u8>> = None;
        self.node_checksums(root)?;
        tree::visit(pin, root, &mut |visit| {
            match visit {
                Visit::Node(node) => {
                    // A node is claimed before its children, because a page that is met twice ends the walk.
                    self.claim(Run::one(node.page()))?;
                    progress.step(size as u64)?;
                    node.validate()?;
                    if node.is_leaf() && node.count() == 0 {
                        return Err(StoreError::corrupt(node.page(), "a leaf is empty"));
                    }
                    for i in 0..if node.is_leaf() { 0 } else { node.count() } {
                        self.node_checksums(node.child(i)?)?;
                    }
                }
                Visit::Entry(key, stored) => {
                    if last.as_deref().is_some_and(|last| last >= key) {
                        return Err(StoreError::corrupt(root.page, "keys of a tree do not ascend"));
                    }
                    last = Some(key.to_vec());
                    entries += 1;
                    if tree::get(pin, root, key)?.is_none() {
                        return Err(StoreError::corrupt(root.page, "a key is not found by search"));
                    }
                    match stored {
                        Stored::Inline(value) => entry(self, key, value)?,
                        Stored::Overflow(value) => {
                            let pages = value.len.div_ceil(size as u64);
                            self.claim(Run { start: value.page, pages })?;
                            progress.step(pages * size as u64)?;
                            let bytes = pin.value(stored)?;
                            if checksum(bytes) != value.checksum {
                                let reason = "a value's checksum is wrong";
                                return Err(StoreError::corrupt(value.page, reason));
                            }
                            entry(self, key, bytes)?;
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok(entries)
    }

    /// Reads a page of the file again, even if it was verified before.
    fn node_checksums(&self, at: NodeRef) -> Result<(), StoreError> {
        if at.is_empty() || self.pin.buffer(at.page).is_some() {
            return Ok(());
        }
        let bytes = self.pin.mapped(at.page, self.pin.page_size())?;
        if at.checksum == 0 || checksum(bytes) != at.checksum {
            let reason = "its checksum is not the one in its parent";
            return Err(StoreError::corrupt(at.page, reason));
        }
        Ok(())
    }
}

/// Checks the newest state; with `space`, also that each page is either used or free.
pub(crate) fn check(
    shared: &Shared,
    space: bool,
    progress: Progress<'_>,
) -> Result<CheckReport, StoreError> {
    // This call has the writer, so no transaction commits meanwhile, and the state and the free pages belong together.
    shared.writer.look(|writer| {
        shared.writer.ask();
        check_state(shared, writer, space, progress)
    })
}

fn check_state(
    shared: &Shared,
    writer: &Writer,
    space: bool,
    progress: Progress<'_>,
) -> Result<CheckReport, StoreError> {
    let mut pin = shared.frames.writer_pin();
    // The writer's state may be ahead of the published one.
    pin.state = State { transaction: pin.state.transaction, ..writer.state };
    let (catalog, extents) = (pin.state.catalog, pin.state.extents);
    let limit = writer.allocator.end();
    let mut checker = Checker { pin: &pin, progress, runs: PageMap::default(), pages: 0, limit };
    let mut report = CheckReport::default();
    let mut tables = Vec::new();
    report.tables = checker.tree(catalog, |_, name, value| {
        let record = TableRecord::decode(catalog.page, value)?;
        if <str as Key>::decode(name).is_none() {
            return Err(StoreError::corrupt(catalog.page, "a table's name is not UTF-8"));
        }
        tables.push(record);
        Ok(())
    })?;
    for table in tables {
        let entries = checker.tree(table.root, |_, _, _| Ok(()))?;
        if entries != table.len {
            return Err(StoreError::corrupt(table.root.page, "a table's count is wrong"));
        }
        report.entries += entries;
    }
    let size = shared.page_size;
    report.extents = checker.tree(extents, |checker, key, value| {
        let record = ExtentRecord::decode(extents.page, value)?;
        if u64::decode(key).is_none_or(|number| number >= writer.state.next_extent) {
            return Err(StoreError::corrupt(extents.page, "an extent's number is out of range"));
        }
        checker.claim(Run { start: record.page, pages: record.pages(size) })?;
        extent::verify(View::Pin(checker.pin), record, progress)
    })?;
    report.used_pages = checker.pages;
    let mut all: Vec<Run> =
        checker.runs.iter().map(|(&start, &pages)| Run { start, pages }).collect();
    let reserved = writer.reserved();
    let far = (writer.meta.far != 0).then_some(Run::one(writer.meta.far));
    all.extend(far);
    if space {
        let list = writer.meta.free_list;
        let list =
            (list.page != 0).then_some(Run { start: list.page, pages: list.bytes / size as u64 });
        let free: Vec<Run> =
            writer.allocator.runs().chain(writer.waiting_runs()).chain(list).collect();
        report.free_pages = free.iter().map(|run| run.pages).sum();
        all.extend(free);
    }
    all.sort_unstable_by_key(|run| run.start);
    let mut at = reserved;
    for run in all {
        if run.start < at {
            return Err(StoreError::corrupt(run.start, "it is used twice, or used and free"));
        }
        if space && run.start > at {
            return Err(StoreError::corrupt(at, "it is neither used nor free"));
        }
        at = run.end();
    }
    if space && at != limit {
        return Err(StoreError::corrupt(at, "it is neither used nor free"));
    }
    Ok(report)
}
