//! Writing the newest state to the file.
//!
//! Everything goes to free space: pages, then a sync, then the meta slot that is not in use, then a sync. A power
//! cut at any moment leaves one slot whole, with all that it leads to and the log behind it.

use std::sync::Arc;

use crate::store::disk::{Readers, SyncPoint};
use crate::store::error::StoreError;
use crate::store::format::{
    ExtentRecord, FreeList, Meta, Node, NodeMut, NodeRef, PageBuf, PageMap, PageNo, Run, State,
    Stored, TableRecord, checksum, put_number,
};
use crate::store::pages::backing::provide;
use crate::store::pages::{
    Allocator, Claim, Fit, Freed, Installed, Life, Pin, Shared, Workspace, Writer, extent,
};

use crate::observe::watch;

/// Adjacent pages are written together up to this many bytes.
const BATCH: usize = 1 << 20;

/// Pages as they are written to the file: children's checksums are known only now.
struct Sealed<'a> {
    shared: &'a Shared,
    writer: &'a Writer,
    /// Nodes that differ from their buffer in memory, which readers may be reading.
    changed: PageMap<PageBuf>,
    /// Lists of checksums of extents.
    lists: Vec<(PageNo, Vec<u8>)>,
    pin: Pin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    Catalog,
    Extents,
    User,
}

impl Sealed<'_> {
    /// Gives the node and all below it their checksums.
    fn seal(&mut self, at: NodeRef, tree: Tree) -> Result<NodeRef, StoreError> {
        if at.is_empty() || !self.writer.fresh.contains_key(&at.page) {
            return Ok(at);
        }
        let size = self.shared.page_size;
        let missing = || StoreError::corrupt(at.page, "a page in memory is missing");
        let bytes =
            self.pin.buffer(at.page).ok_or_else(missing)?.get(..size).ok_or_else(missing)?;
        let node = Node::new(at.page, bytes)?;
        let mut children = Vec::new();
        let mut records = Vec::new();
        // Children are collected first, because sealing them borrows `self`.
        for i in 0..node.count() {
            if !node.is_leaf() {
                let child = node.child(i)?;
                if self.writer.fresh.contains_key(&child.page) {
                    children.push((i, child));
                }
            } else if tree != Tree::User
                && let Stored::Inline(value) = node.entry(i)?.1
            {
                records.push((i, value.to_vec()));
            }
        }
        let mut page: Option<PageBuf> = None;
        let copy = |page: &mut Option<PageBuf>, pin: &Pin| {
            if page.is_none() {
                *page = Some(PageBuf::copy_of(pin.buffer(at.page).ok_or_else(missing)?)?);
            }
            Ok::<(), StoreError>(())
        };
        for (i, child) in children {
            let sealed = self.seal(child, tree)?;
            copy(&mut page, &self.pin)?;
            if let Some(page) = &mut page {
                NodeMut::new(at.page, page).set_child(i, sealed)?;
            }
        }
        for (i, value) in records {
            let new = if tree == Tree::Catalog {
                let mut record = TableRecord::decode(at.page, &value)?;
                record.root = self.seal(record.root, Tree::User)?;
                record.encode().to_vec()
            } else {
                let mut record = ExtentRecord::decode(at.page, &value)?;
                if record.checksum == 0 {
                    self.seal_extent(&mut record)?;
                }
                record.encode().to_vec()
            };
            if new != value {
                copy(&mut page, &self.pin)?;
                if let Some(page) = &mut page {
                    NodeMut::new(at.page, page).value_mut(i)?.copy_from_slice(&new);
                }
            }
        }
        let sum = if let Some(page) = page {
            let sum = checksum(&page);
            self.changed.insert(at.page, page);
            sum
        } else {
            checksum(self.pin.buffer(at.page).ok_or_else(missing)?)
        };
        Ok(NodeRef { page: at.page, checksum: sum })
    }

    fn seal_extent(&mut self, record: &mut ExtentRecord) -> Result<(), StoreError> {
        let mut list = Vec::with_capacity(record.list_bytes() as usize);
        let mut last = 0;
        for index in 0..record.blocks() {
            last = checksum(extent::block(&self.pin, *record, index)?);
            if record.list_bytes() > 0 {
                list.extend_from_slice(&last.to_le_bytes());
            }
        }
        record.checksum = match record.blocks() {
            0 => checksum(&[]),
            1 => last,
            _ => {
                let sum = checksum(&list);
                self.lists.push((record.page + record.data_pages(self.shared.page_size), list));
                sum
            }
        };
        Ok(())
    }

    /// Writes all pages that are only in memory, adjacent pages together.
    fn write(&self) -> Result<(), StoreError> {
        let size = self.shared.page_size as u64;
        let mut pieces: Vec<(PageNo, &[u8])> = Vec::with_capacity(self.writer.fresh.len());
        for &page in self.writer.fresh.keys() {
            let bytes = match self.changed.get(&page) {
                Some(changed) => changed,
                None => self
                    .pin
                    .buffer(page)
                    .ok_or_else(|| StoreError::corrupt(page, "a page in memory is missing"))?,
            };
            pieces.push((page, bytes));
        }
        pieces.extend(self.lists.iter().map(|(page, list)| (*page, &list[..])));
        pieces.sort_unstable_by_key(|&(page, _)| page);
        let mut batch = Batch { shared: self.shared, offset: 0, bytes: Vec::new() };
        for (page, bytes) in pieces {
            batch.write(page * size, bytes)?;
        }
        batch.flush()
    }
}

/// Collects adjacent writes.
pub(crate) struct Batch<'a> {
    shared: &'a Shared,
    offset: u64,
    bytes: Vec<u8>,
}

impl Batch<'_> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let adjacent = offset == self.offset + self.bytes.len() as u64;
        if !adjacent || self.bytes.len() + bytes.len() > BATCH {
            self.flush()?;
            self.offset = offset;
        }
        if bytes.len() >= BATCH {
            self.shared.wrote(bytes.len() as u64);
            let result = self.shared.storage.write_at(offset, bytes);
            self.offset = offset + bytes.len() as u64;
            return result.map_err(StoreError::io("write pages"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if !self.bytes.is_empty() {
            self.shared.wrote(self.bytes.len() as u64);
            let result = self.shared.storage.write_at(self.offset, &self.bytes);
            self.bytes.clear();
            result.map_err(StoreError::io("write pages"))?;
        }
        Ok(())
    }
}

/// Returns the list of free runs once this checkpoint has replaced the last: numbers in LEB128, for each run its distance from the end
/// of the run before and its length.
fn free_list(allocator: &Allocator, writer: &Writer, old: Option<Run>) -> Vec<u8> {
    let mut free = allocator.clone();
    for run in writer.waiting_runs().chain(old) {
        free.release(run);
    }
    let mut list = Vec::new();
    let mut at = 0;
    for run in free.runs() {
        put_number(&mut list, run.start - at);
        put_number(&mut list, run.pages);
        at = run.end();
    }
    list
}

/// The free pages as a checkpoint leaves them, and the place of their list.
type Listed = (Allocator, FreeList);

/// Writes the list of free pages, in pages that it does not name.
fn write_free_list(
    shared: &Shared,
    writer: &mut Writer,
    old: Option<Run>,
) -> Result<Listed, StoreError> {
    let segments = &shared.frames.segments;
    let size = shared.page_size as u64;
    let boundary = |page: PageNo| segments.segment_end(page * size) / size;
    let mut allocator = writer.allocator.clone();
    if allocator.free_pages() == 0 && writer.waiting.is_empty() && old.is_none() {
        return Ok((allocator, FreeList::default()));
    }
    let run = allocator.run(list_pages(shared, &allocator, writer, old), 1, boundary)?;
    put_free_list(shared, writer, allocator, old, run)
}

/// Writes the list of free pages in front of the old one, which is at the end, so that the new end is in front of that, too. No page
/// may be waiting. Returns `None` if no free run in front has room.
fn write_free_list_in_front(
    shared: &Shared,
    writer: &mut Writer,
    old: Run,
) -> Result<Option<Listed>, StoreError> {
    let segments = &shared.frames.segments;
    let size = shared.page_size as u64;
    let boundary = |page: PageNo| segments.segment_end(page * size) / size;
    let mut allocator = writer.allocator.clone();
    if allocator.free_pages() == 0 {
        allocator.cut(old.start);
        return Ok(Some((allocator, FreeList::default())));
    }
    let pages = list_pages(shared, &allocator, writer, None);
    let how = (Fit::First, boundary);
    let Some(run) = allocator.below(pages, 1, old.start, how) else { return Ok(None) };
    // No page is allocated between here and the meta slot, so the old list stays whole while it is in use.
    allocator.cut(old.start);
    put_free_list(shared, writer, allocator, None, run).map(Some)
}

/// Returns the number of pages that the list needs. Taking space for the list changes it by two runs at most, of two numbers of seven
/// bytes at most.
fn list_pages(shared: &Shared, allocator: &Allocator, writer: &Writer, old: Option<Run>) -> u64 {
    (free_list(allocator, writer, old).len() as u64 + 4 * 14).div_ceil(shared.page_size as u64)
}

fn put_free_list(
    shared: &Shared,
    writer: &mut Writer,
    allocator: Allocator,
    old: Option<Run>,
    run: Run,
) -> Result<Listed, StoreError> {
    let size = shared.page_size as u64;
    let mut list = free_list(&allocator, writer, old);
    debug_assert!(list.len() as u64 <= run.pages * size);
    list.resize((run.pages * size) as usize, 0);
    provide(shared, writer, allocator.end(), Claim::Checkpoint)?;
    shared.wrote(list.len() as u64);
    let written = shared.storage.write_at(run.start * size, &list);
    written.map_err(StoreError::io("write the list of free pages"))?;
    let bytes = list.len() as u64;
    Ok((allocator, FreeList { page: run.start, bytes, checksum: checksum(&list) }))
}

/// A checkpoint that is written, except for its meta slot.
struct Prepared {
    state: State,
    /// Pages that need not be in memory any more.
    fresh: Vec<PageNo>,
    allocator: Allocator,
    free_list: FreeList,
    /// The list that this one replaces.
    old: Option<Run>,
}

/// Writes the writer's state to the file and publishes it to readers. After an error the writer is unchanged. If the disk may be
/// changed by then, the store takes no more writes.
pub(crate) fn checkpoint(shared: &Shared, writer: &mut Writer) -> Result<(), StoreError> {
    observed_checkpoint(shared, writer, false)
}

/// As [`checkpoint`], for a file that is to be cut: the list of free pages moves away from the end if it can.
pub(crate) fn cutting_checkpoint(shared: &Shared, writer: &mut Writer) -> Result<(), StoreError> {
    observed_checkpoint(shared, writer, true)
}

fn observed_checkpoint(
    shared: &Shared,
    writer: &mut Writer,
    is_cut: bool,
) -> Result<(), StoreError> {
    watch!(let observed = crate::observe::Operation::StoreCheckpoint.begin());
    let prepared = shared.writer.unless_panic(|| prepare(shared, writer, is_cut))?;
    shared.or_poison(|| finish(shared, writer, prepared))?;
    watch!(observed.done(1));
    Ok(())
}

/// Writes pages to free space, which changes no page in use.
fn prepare(shared: &Shared, writer: &mut Writer, is_cut: bool) -> Result<Prepared, StoreError> {
    let transaction = writer.state.transaction + 1;
    // The pages of the old list are freed with the checkpoint that they belong to.
    let FreeList { page, bytes, .. } = writer.meta.free_list;
    let old = (page != 0).then(|| Run { start: page, pages: bytes / shared.page_size as u64 });
    provide(shared, writer, writer.allocator.end(), Claim::Checkpoint)?;
    let pin = shared.frames.writer_pin();
    let (state, fresh) = {
        let mut sealed =
            Sealed { shared, writer, changed: PageMap::default(), lists: Vec::new(), pin };
        let catalog = sealed.seal(writer.state.catalog, Tree::Catalog)?;
        let extents = sealed.seal(writer.state.extents, Tree::Extents)?;
        sealed.write()?;
        let state = State { transaction, catalog, extents, ..writer.state };
        (state, writer.fresh.keys().copied().collect::<Vec<_>>())
    };
    let last = old
        .filter(|old| is_cut && old.end() == writer.allocator.end() && writer.waiting.is_empty());
    let in_front = match last {
        Some(old) => write_free_list_in_front(shared, writer, old)?,
        None => None,
    };
    let (old, (allocator, free_list)) = match in_front {
        Some(listed) => (None, listed),
        None => (old, write_free_list(shared, writer, old)?),
    };
    Ok(Prepared { state, fresh, allocator, free_list, old })
}

impl Workspace {
    /// Makes the pages part of the file, as `state`, by a checkpoint. After an error the writer no longer has them.
    pub(crate) fn commit_by_checkpoint(&mut self, state: State) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let transaction = self.writer.state.transaction + 1;
        let mut installed = Installed::default();
        shared.or_poison(|| self.install_all(transaction, Some(&mut installed)))?;
        let before = std::mem::replace(&mut self.writer.state, State { transaction, ..state });
        let done = checkpoint(&shared, &mut self.writer);
        if done.is_err() {
            self.writer.state = before;
            self.uninstall(installed);
        }
        done
    }
}

/// Makes a prepared checkpoint the newest.
fn finish(shared: &Shared, writer: &mut Writer, prepared: Prepared) -> Result<(), StoreError> {
    let Prepared { state, fresh, allocator, free_list, old } = prepared;
    let transaction = state.transaction;
    shared.sync(SyncPoint::CheckpointData)?;

    let slot = 1 - writer.slot;
    let salt = checksum(&[&writer.meta.uuid[..], &transaction.to_le_bytes()].concat())
        ^ std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), transaction);
    let log = writer.log.restarted(salt);
    let meta = Meta { log, state, free_list, end: allocator.end(), ..writer.meta };
    meta.write(&*shared.storage, slot)?;
    shared.wrote(512);
    shared.sync(SyncPoint::CheckpointMeta)?;

    writer.log.restart(log);
    shared.log_synced(log.lsn);
    shared.traffic.checkpoints.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    for page in fresh {
        shared.frames.retire(page);
    }
    writer.allocator = allocator;
    if let Some(run) = old {
        // No snapshot reads the old list.
        let life = Life { born: transaction, ended: transaction };
        writer.waiting.push(life, Freed { run, is_fresh: false });
    }
    writer.fresh.clear();
    writer.extent_bytes = 0;
    writer.meta = meta;
    writer.slot = slot;
    writer.state = state;
    writer.inherited_log = false;
    shared.frames.publish(state);
    // The readers are listed after the slot is written: a reader that is not found yet checks again, and finds a newer checkpoint.
    writer.processes = shared.readers.as_ref().map(Readers::processes).unwrap_or_default();
    writer.reclaim(&shared.frames);
    Ok(())
}
