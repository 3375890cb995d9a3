//! From the file to the newest state: the newest meta slot, then the log behind it.
//!
//! Recovery writes nothing: it applies the log in memory, and the first transaction begins with a checkpoint.
//! A crash in between finds the same file again.

use std::sync::Arc;

use super::changes::Changes;
use crate::store::disk::{Readers, Segments, Storage, WriterLock};
use crate::store::error::StoreError;
use crate::store::format::{LOG_OFFSET, Meta, Reader, Run, checksum, damaged_behind, read_record};
use crate::store::pages::{Allocator, Frames, Freed, Life, Shared, Workspace, Writer};

/// Returns the newest checkpoint of a storage, with its pages mapped.
pub(crate) fn open_checkpoint(
    storage: &Arc<dyn Storage>,
) -> Result<(Meta, usize, Arc<Frames>), StoreError> {
    let (meta, slot) = Meta::newest(&**storage)?;
    let segments = Segments::new(storage.first_segment());
    segments.grow(&**storage, meta.end * meta.page_size as u64)?;
    let frames = Frames::new(meta.page_size as usize, segments, meta.state).of(storage.path());
    Ok((meta, slot, Arc::new(frames)))
}

/// Reads the list of free pages.
pub(crate) fn read_free_list(storage: &dyn Storage, meta: &Meta) -> Result<Allocator, StoreError> {
    let mut allocator = Allocator::new(meta.end);
    let list = meta.free_list;
    if list.page == 0 {
        // A new store: the pages between a short log and the far copies of the meta slots are listed by the first checkpoint.
        if meta.state.transaction == 1 && meta.far > meta.reserved() {
            let pages = meta.far - meta.reserved();
            allocator.release(Run { start: meta.reserved(), pages });
        }
        return Ok(allocator);
    }
    let size = meta.page_size as u64;
    let corrupt = |reason| StoreError::corrupt(list.page, reason);
    let pages = list.bytes / size;
    let end = list.page.checked_add(pages);
    if !list.bytes.is_multiple_of(size)
        || list.page < meta.reserved()
        || end.is_none_or(|end| end > meta.end)
    {
        return Err(corrupt("the list of free pages lies outside of the file"));
    }
    let mut bytes = vec![0; list.bytes as usize];
    let read = storage.read_at(list.page * size, &mut bytes);
    read.map_err(StoreError::io("read the list of free pages"))?;
    if checksum(&bytes) != list.checksum {
        return Err(corrupt("its checksum is not the one in the meta slot"));
    }
    let mut reader = Reader::new(&bytes, list.page);
    let mut at = 0_u64;
    while !reader.is_empty() {
        let (gap, pages) = (reader.number()?, reader.number()?);
        if pages == 0 {
            // Padding.
            break;
        }
        let start = at.checked_add(gap).filter(|&start| start >= meta.reserved());
        let end = start.and_then(|start| start.checked_add(pages)).filter(|&end| end <= meta.end);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(corrupt("the list of free pages names one outside of the data"));
        };
        if meta.is_far(Run { start, pages }) {
            return Err(corrupt("the list of free pages names the one of the meta slots"));
        }
        allocator.release(Run { start, pages });
        at = end;
    }
    Ok(allocator)
}

/// Applies the records of the log behind the writer's position. Returns the number of transactions.
pub(crate) fn replay(shared: &Arc<Shared>) -> Result<u64, StoreError> {
    let mut count = 0;
    loop {
        let writer = shared.writer.take()?;
        let at = writer.log.end();
        let record = match read_record(&*shared.storage, writer.meta.log_len, at) {
            Ok(Some(record)) if at.lsn + writer.meta.log_len >= record.next.lsn => record,
            Ok(_) => {
                shared.writer.give_back(writer);
                return Ok(count);
            }
            Err(error) => {
                shared.writer.give_back(writer);
                return Err(error);
            }
        };
        let page = LOG_OFFSET / shared.page_size as u64;
        let mut changes = Changes::new(Workspace::new(Arc::clone(shared), writer));
        let mut result = changes.replay(&record.body).and_then(|()| changes.seal());
        if changes.pages.has_written || record.transaction <= changes.pages.writer.state.transaction
        {
            result = Err(StoreError::corrupt(page, "a log record does not follow its state"));
        }
        if result.is_ok() {
            let before = changes.pages.writer.state;
            changes.state = changes.state.committed(&before, record.transaction);
            result = changes.pages.install(record.transaction);
            changes.pages.writer.state = changes.state;
            changes.pages.writer.log.skip_to(record.next);
        }
        let state = changes.state;
        let (shared, writer) = changes.pages.abandon();
        shared.writer.give_back(writer);
        result?;
        shared.frames.publish(state);
        shared.log_synced(record.next.lsn);
        count += 1;
    }
}

/// Opens a storage for writing, up to the newest state that it holds.
pub(crate) fn recover(
    storage: Arc<dyn Storage>,
    readers: Option<Readers>,
    lock: Option<WriterLock>,
) -> Result<(Arc<Shared>, u64), StoreError> {
    let (meta, slot, frames) = open_checkpoint(&storage)?;
    let allocator = read_free_list(&*storage, &meta)?;
    let mut writer = Box::new(Writer::new(meta, slot, allocator));
    writer.processes = readers.as_ref().map(Readers::processes).unwrap_or_default();
    if writer.processes.iter().any(|&checkpoint| checkpoint < meta.state.transaction) {
        // A process still reads an older checkpoint, and may need any of the free pages.
        let free: Vec<Run> = writer.allocator.runs().collect();
        writer.allocator = Allocator::new(meta.end);
        let life = Life { born: 0, ended: meta.state.transaction };
        for run in free {
            writer.waiting.push(life, Freed { run, is_fresh: false });
        }
    }
    let start = meta.log.lsn;
    let shared = Arc::new(Shared::new(storage, frames, writer, readers, lock));
    let count = replay(&shared)?;
    let end = shared.writer.with(|writer| Ok::<_, StoreError>(writer.log.end()))?;
    if damaged_behind(&*shared.storage, meta.log_len, start, end)? {
        let offset = LOG_OFFSET + end.lsn % meta.log_len;
        let reason = "the log is damaged in front of commits that were acknowledged";
        return Err(StoreError::corrupt(offset / meta.page_size as u64, reason));
    }
    Ok((shared, count))
}
