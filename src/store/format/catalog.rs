//! The records of the two system trees.

use super::page::{NodeRef, read};
use crate::store::error::StoreError;

/// Bytes of a block of an extent, the unit of verification.
pub(crate) const BLOCK: u64 = 64 << 10;

/// A table, by its name in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableRecord {
    pub(crate) root: NodeRef,
    /// Number of entries.
    pub(crate) len: u64,
    pub(crate) key_type: u8,
}

impl TableRecord {
    pub(crate) const BYTES: usize = 32;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.root.page.to_le_bytes());
        out[8..16].copy_from_slice(&self.root.checksum.to_le_bytes());
        out[16..24].copy_from_slice(&self.len.to_le_bytes());
        out[24] = self.key_type;
        out
    }

    pub(crate) fn decode(page: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let field = |at| {
            read::u64(bytes, at)
                .filter(|_| bytes.len() == Self::BYTES)
                .ok_or_else(|| StoreError::corrupt(page, "a table's record is malformed"))
        };
        let root = NodeRef { page: field(0)?, checksum: field(8)? };
        Ok(Self { root, len: field(16)?, key_type: bytes[24] })
    }
}

/// An extent, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtentRecord {
    pub(crate) page: u64,
    /// Bytes of data.
    pub(crate) len: u64,
    /// Checksum of the data if it is one block, else of the list of the blocks' checksums behind it; 0 while the extent is only in
    /// memory.
    pub(crate) checksum: u64,
}

impl ExtentRecord {
    pub(crate) const BYTES: usize = 24;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.page.to_le_bytes());
        out[8..16].copy_from_slice(&self.len.to_le_bytes());
        out[16..].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(page: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let field = |at| {
            read::u64(bytes, at)
                .filter(|_| bytes.len() == Self::BYTES)
                .ok_or_else(|| StoreError::corrupt(page, "an extent's record is malformed"))
        };
        let record = Self { page: field(0)?, len: field(8)?, checksum: field(16)? };
        if record.len > MAX_EXTENT {
            return Err(StoreError::corrupt(page, "an extent is longer than any can be"));
        }
        Ok(record)
    }

    /// Returns the number of blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.len.div_ceil(BLOCK)
    }

    /// Returns the number of pages of the data.
    pub(crate) fn data_pages(&self, page_size: usize) -> u64 {
        self.len.div_ceil(page_size as u64).max(1)
    }

    /// Returns the number of bytes of the list of checksums; 0 for one block.
    pub(crate) fn list_bytes(&self) -> u64 {
        if self.blocks() > 1 { self.blocks() * 8 } else { 0 }
    }

    /// Returns the number of pages of data and list.
    pub(crate) fn pages(&self, page_size: usize) -> u64 {
        self.data_pages(page_size) + self.list_bytes().div_ceil(page_size as u64)
    }

    /// Returns the alignment of the first page of a new extent, in pages: 2 MiB from 2 MiB on, so that huge
    /// pages can map it, else 64 KiB from 64 KiB on, the coarsest granularity of mappings.
    /// Compaction may move it to a place that is aligned to less.
    pub(crate) fn align(&self, page_size: usize) -> u64 {
        let bytes = match self.len {
            0x20_0000.. => 2 << 20,
            0x1_0000.. => 64 << 10,
            _ => page_size as u64,
        };
        bytes / page_size as u64
    }
}

/// Longest extent: 1 TiB.
pub(crate) const MAX_EXTENT: u64 = 1 << 40;
