//! Long values and extents of a write transaction: in memory, or written to the file at once.

use super::{DIRECT, Made, Workspace};
use crate::store::error::StoreError;
use crate::store::format::{BLOCK, ExtentRecord, OverflowRef, PageBuf, PageNo, Run, checksum};
use crate::store::pages::backing::{Claim, fill, provide};
use crate::store::pages::extent;

/// Maximum bytes of the extents in memory between two checkpoints: a log record of a few bytes makes an extent of [`DIRECT`] bytes, so
/// a small log could otherwise make recovery take any amount of memory.
const EXTENTS_IN_MEMORY: u64 = 64 << 20;

/// A longer gap in front of a long extent of zeros, which must lie in one segment of the map, takes no room on the disk either.
const MOST_GAP: u64 = 64 << 20;

impl Workspace {
    /// Keeps a value that is too long for a leaf in a new run.
    pub(crate) fn store_value(&mut self, value: &[u8]) -> Result<OverflowRef, StoreError> {
        let buffer = PageBuf::copy_of(value)?;
        let page = self.allocate(value.len().div_ceil(self.page_size()) as u64, 1)?.start;
        self.own.insert(page, (self.epoch, buffer));
        Ok(OverflowRef { page, len: value.len() as u64, checksum: checksum(value) })
    }

    pub(crate) fn free_value(&mut self, value: OverflowRef) -> Result<(), StoreError> {
        let pages = value.len.div_ceil(self.page_size() as u64);
        self.free(Run { start: value.page, pages })
    }

    /// Makes an extent of zeros.
    pub(crate) fn new_extent(&mut self, len: u64) -> Result<ExtentRecord, StoreError> {
        let size = self.page_size();
        let mut record = ExtentRecord { page: 0, len, checksum: 0 };
        if len <= DIRECT {
            self.extent_bytes += len;
            self.has_written |= self.writer.extent_bytes + self.extent_bytes > EXTENTS_IN_MEMORY;
            let buffer = PageBuf::zeroed(record.data_pages(size) as usize * size)?;
            record.page = self.allocate(record.pages(size), record.align(size))?.start;
            self.own.insert(record.page, (self.epoch, buffer));
        } else {
            record.page = self.allocate(record.pages(size), record.align(size))?.start;
            let (mut at, end) = (record.page * size as u64, record.page * size as u64 + len);
            if at.saturating_sub(self.writer.backed) <= MOST_GAP {
                self.back_up_to(at)?;
            }
            self.has_written = true;
            let before = self.shared.storage.len().map_err(StoreError::io("measure the file"))?;
            let pages_end = (record.page + record.pages(size)) * size as u64;
            if before < pages_end {
                // A long extent of zeros takes no room on the disk before it is written to.
                let resized = self.shared.storage.set_len(pages_end);
                resized.map_err(StoreError::io("grow the file"))?;
            }
            self.writer.backed = self.writer.backed.max(pages_end);
            self.provide(record.page + record.pages(size))?;
            // The file is zero beyond its old end.
            let zeros = vec![0; (1 << 20).min(len as usize)];
            while at < end.min(before) {
                let n = (end.min(before) - at).min(zeros.len() as u64) as usize;
                self.write_direct(at, &zeros[..n])?;
                at += n as u64;
            }
        }
        Ok(record)
    }

    /// Makes an extent of `bytes`, more than [`DIRECT`], which are written to the file at once.
    pub(crate) fn new_extent_of(&mut self, bytes: &[u8]) -> Result<ExtentRecord, StoreError> {
        let size = self.page_size();
        let mut record = ExtentRecord { page: 0, len: bytes.len() as u64, checksum: 0 };
        record.page = self.allocate(record.pages(size), record.align(size))?.start;
        let start = record.page * size as u64;
        self.back_up_to(start)?;
        self.write_direct(start, bytes)?;
        self.writer.backed = self.writer.backed.max(start + record.len);
        self.provide(record.page + record.pages(size))?;
        Ok(record)
    }

    /// Makes the file long enough for all pages before `end`, which are written at once, and maps it.
    fn provide(&mut self, end: PageNo) -> Result<(), StoreError> {
        self.has_written = true;
        provide(&self.shared, &mut self.writer, end, Claim::Growth)
    }

    /// As [`Self::provide`], for pages that only move.
    fn provide_for_move(&mut self, end: PageNo) -> Result<(), StoreError> {
        self.has_written = true;
        provide(&self.shared, &mut self.writer, end, Claim::Checkpoint)
    }

    /// Fills the file up to `offset`, behind which the transaction writes, without a hole.
    fn back_up_to(&mut self, offset: u64) -> Result<(), StoreError> {
        self.has_written = true;
        fill(&self.shared, &mut self.writer, offset)
    }

    /// Provides room for the pages of this transaction, so that the next checkpoint can write them.
    pub(crate) fn claim_room(&mut self, only_removes: bool) -> Result<(), StoreError> {
        let end = self.writer.allocator.end();
        let made: u64 = self.made.values().map(|made| made.pages).sum();
        let given_up: u64 = self.given_up.iter().map(|run| run.pages).sum();
        // A change that replaces pages gives back the same number after the next checkpoint.
        let grows = !only_removes && made > given_up;
        let claim = if grows { Claim::Growth } else { Claim::Removal };
        provide(&self.shared, &mut self.writer, end, claim)
    }

    pub(crate) fn write_direct(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.has_written = true;
        let shared = &self.shared;
        shared.wrote(bytes.len() as u64);
        // The pages were free, so an error affects only the transaction.
        shared.storage.write_at(offset, bytes).map_err(StoreError::io("write pages"))
    }

    /// Writes into an extent, which is copied first unless it was made in this epoch. The caller has
    /// checked the range. Returns the new record.
    pub(crate) fn write_extent(
        &mut self,
        mut record: ExtentRecord,
        offset: u64,
        bytes: &[u8],
    ) -> Result<ExtentRecord, StoreError> {
        let size = self.page_size();
        let own = self.made.get(&record.page).is_some_and(|made| made.epoch == self.epoch);
        if !own {
            let old = record;
            record = self.new_extent(old.len)?;
            let mut at = 0;
            while at < old.len {
                let n = (old.len - at).min(BLOCK) as usize;
                let block = extent::block(&*self, old, at / BLOCK)?[..n].to_vec();
                self.put_extent(record, at, &block)?;
                at += n as u64;
            }
            self.free(Run { start: old.page, pages: old.pages(size) })?;
        }
        self.put_extent(record, offset, bytes)?;
        record.checksum = 0;
        Ok(record)
    }

    /// Copies an extent to `run`, in the file. Returns the record of the copy.
    pub(crate) fn move_extent(
        &mut self,
        old: ExtentRecord,
        run: Run,
    ) -> Result<ExtentRecord, StoreError> {
        let size = self.page_size();
        self.provide_for_move(run.end())?;
        let mut list = Vec::with_capacity(old.list_bytes() as usize);
        for index in 0..old.blocks() {
            let block = extent::block(&*self, old, index)?.to_vec();
            self.write_direct(run.start * size as u64 + index * BLOCK, &block)?;
            if old.list_bytes() > 0 {
                list.extend_from_slice(&checksum(&block).to_le_bytes());
            }
        }
        // The checkpoint writes the list of an extent that is not sealed yet.
        if old.checksum != 0 && !list.is_empty() {
            self.write_direct((run.start + old.data_pages(size)) * size as u64, &list)?;
        }
        self.free(Run { start: old.page, pages: old.pages(size) })?;
        Ok(ExtentRecord { page: run.start, ..old })
    }

    /// Copies a long value to `run`, in the file.
    pub(crate) fn move_value(
        &mut self,
        old: OverflowRef,
        bytes: &[u8],
        run: Run,
    ) -> Result<OverflowRef, StoreError> {
        self.provide_for_move(run.end())?;
        self.write_direct(run.start * self.page_size() as u64, bytes)?;
        self.free_value(old)?;
        Ok(OverflowRef { page: run.start, ..old })
    }

    fn put_extent(
        &mut self,
        record: ExtentRecord,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        if let Some((_, buffer)) = self.own.get_mut(&record.page) {
            let at = offset as usize;
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        self.write_direct(record.page * self.page_size() as u64 + offset, bytes)
    }

    /// Allocates `pages` pages that the caller writes to the file.
    pub(crate) fn new_direct(&mut self, pages: u64) -> Result<Run, StoreError> {
        let run = self.allocate(pages, 1)?;
        self.provide(run.end())?;
        Ok(run)
    }

    /// Splits a run of [`Workspace::new_direct`] into pages, and gives back those from `used` on.
    pub(crate) fn settle_direct(&mut self, run: Run, used: u64) {
        self.made.remove(&run.start);
        for page in run.start..run.start + used {
            self.made.insert(page, Made { pages: 1, epoch: self.epoch });
        }
        if used < run.pages {
            let rest = Run { start: run.start + used, pages: run.pages - used };
            self.writer.allocator.release(rest);
        }
    }
}
