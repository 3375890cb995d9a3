//! Extents, and reads of their blocks.

use std::fmt;
use std::ops::Range;

use super::view::View;
use crate::store::error::StoreError;
use crate::store::format::{BLOCK, ExtentRecord, Source, checksum, read};
use crate::store::progress::Progress;

/// Number of an extent, assigned by [`crate::store::WriteTransaction::create_extent`] and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtentId(pub u64);

/// Returns block `index` of an extent, verified unless it is in memory.
pub(crate) fn block<'p>(
    source: impl Source<'p>,
    record: ExtentRecord,
    index: u64,
) -> Result<&'p [u8], StoreError> {
    let start = index * BLOCK;
    let len = record.len.saturating_sub(start).min(BLOCK) as usize;
    if let Some(data) = source.in_memory(record.page) {
        let bytes = data.get(start as usize..start as usize + len);
        return bytes
            .ok_or_else(|| StoreError::corrupt(record.page, "an extent is shorter than it says"));
    }
    let page = record.page.saturating_add(start / source.page_size() as u64);
    if record.checksum == 0 {
        // Written by this process since the last checkpoint.
        return source.mapped(page, len);
    }
    let expected = if record.list_bytes() == 0 {
        record.checksum
    } else {
        let list = record.page.saturating_add(record.data_pages(source.page_size()));
        let list = source.run(list, record.list_bytes() as usize, record.checksum)?;
        read::u64(list, index as usize * 8)
            .filter(|&sum| sum != 0)
            .ok_or_else(|| StoreError::corrupt(record.page, "an extent's checksum is missing"))?
    };
    source.run(page, len, expected)
}

/// Returns bytes `range` of an extent, all touched blocks verified.
pub(crate) fn bytes<'p>(
    source: impl Source<'p>,
    record: ExtentRecord,
    range: Range<u64>,
) -> Result<&'p [u8], StoreError> {
    check_range(record, range.start, range.end.saturating_sub(range.start))?;
    if range.is_empty() {
        return Ok(&[]);
    }
    let (from, to) = (range.start as usize, range.end as usize);
    let whole = if let Some(data) = source.in_memory(record.page) {
        data
    } else {
        for index in range.start / BLOCK..range.end.div_ceil(BLOCK) {
            block(source, record, index)?;
        }
        source.mapped(record.page, record.len as usize)?
    };
    whole
        .get(from..to)
        .ok_or_else(|| StoreError::corrupt(record.page, "an extent is shorter than it says"))
}

/// Compares all blocks with their checksums, even blocks that were verified before.
pub(crate) fn verify(
    view: View<'_>,
    record: ExtentRecord,
    progress: Progress<'_>,
) -> Result<(), StoreError> {
    if view.in_memory(record.page).is_some() {
        return progress.step(record.len);
    }
    let wrong = |index: u64| {
        let page = record.page + index * BLOCK / view.page_size() as u64;
        StoreError::corrupt(page, "the checksum of an extent's block is wrong")
    };
    if record.checksum == 0 {
        return Err(wrong(0));
    }
    let mut list = Vec::new();
    for index in 0..record.blocks() {
        let bytes = block(view, record, index)?;
        let sum = checksum(bytes);
        progress.step(bytes.len() as u64)?;
        list.extend_from_slice(&sum.to_le_bytes());
        if record.list_bytes() == 0 && sum != record.checksum {
            return Err(wrong(index));
        }
    }
    if record.list_bytes() > 0 && checksum(&list) != record.checksum {
        return Err(wrong(0));
    }
    Ok(())
}

/// Refuses a range that reaches beyond the extent.
pub(crate) fn check_range(record: ExtentRecord, offset: u64, len: u64) -> Result<(), StoreError> {
    if offset.checked_add(len).is_none_or(|end| end > record.len) {
        return Err(StoreError::ExtentRange { offset, len, size: record.len });
    }
    Ok(())
}

/// An extent in a snapshot: adjacent bytes, aligned to 64 bytes. In the file, a new one is aligned
/// to 64 KiB from 64 KiB on, and to 2 MiB from 2 MiB on; compaction may move it to a place that is
/// aligned to less, if gaps would take much of the file. The bytes are read without a copy.
#[derive(Clone, Copy)]
pub struct Extent<'t> {
    view: View<'t>,
    record: ExtentRecord,
}

impl<'t> Extent<'t> {
    pub(crate) fn new(view: View<'t>, record: ExtentRecord) -> Self {
        Self { view, record }
    }

    pub(crate) fn record(&self) -> ExtentRecord {
        self.record
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        self.record.len
    }

    /// Returns whether the extent has no bytes.
    pub fn is_empty(&self) -> bool {
        self.record.len == 0
    }

    /// Returns all bytes. The first call verifies all blocks of 64 KiB against their checksums, which reads them; later calls in this
    /// process cost a comparison per block.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] with the first page of a damaged block.
    pub fn bytes(&self) -> Result<&'t [u8], StoreError> {
        self.range(0..self.record.len)
    }

    /// Returns the bytes in `range`; verifies only the blocks of 64 KiB that it touches.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExtentRange`] if the range reaches beyond the end, [`StoreError::Corrupt`] with the first
    /// page of a damaged block.
    pub fn range(&self, range: Range<u64>) -> Result<&'t [u8], StoreError> {
        bytes(self.view, self.record, range).map_err(|error| error.at(self.view.path()))
    }
}

impl fmt::Debug for Extent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extent").field("len", &self.record.len).finish_non_exhaustive()
    }
}
