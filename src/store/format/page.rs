//! Pages, runs of pages, and the buffers that hold them in memory.

use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Deref, DerefMut};

use xxhash_rust::xxh3::xxh3_64;

use crate::store::disk::Line;
use crate::store::error::StoreError;

/// Position of a page: its offset in the file divided by the page size.
pub(crate) type PageNo = u64;

/// Largest page number: 2^48 pages keep every offset in 64 bits.
pub(crate) const MAX_PAGES: u64 = 1 << 48;

/// Adjacent pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: PageNo,
    pub(crate) pages: u64,
}

impl Run {
    pub(crate) fn one(page: PageNo) -> Self {
        Self { start: page, pages: 1 }
    }

    pub(crate) fn end(self) -> PageNo {
        self.start + self.pages
    }
}

/// A pointer to a node as its parent keeps it. Page 0 is a meta slot, so 0 means no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NodeRef {
    pub(crate) page: PageNo,
    /// Checksum of the page in the file; 0 while the page is only in memory.
    pub(crate) checksum: u64,
}

impl NodeRef {
    pub(crate) const EMPTY: Self = Self { page: 0, checksum: 0 };

    pub(crate) fn is_empty(self) -> bool {
        self.page == 0
    }
}

/// Returns the XXH3 of the bytes, never 0: that value means "not written yet".
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes).max(1)
}

/// Bytes on the heap, aligned to a cache line as in the map.
pub(crate) struct PageBuf {
    lines: Box<[Line]>,
}

impl PageBuf {
    /// Returns `len` zero bytes, rounded up to a cache line.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] if the memory cannot be had.
    pub(crate) fn zeroed(len: usize) -> Result<Self, StoreError> {
        bytemuck::allocation::try_zeroed_vec(len.div_ceil(64))
            .map(|lines| Self { lines: lines.into_boxed_slice() })
            .map_err(|()| StoreError::TooLarge { bytes: len as u64 })
    }

    /// Returns a copy of `bytes`, zero-padded to a cache line.
    ///
    /// # Errors
    ///
    /// As [`Self::zeroed`].
    pub(crate) fn copy_of(bytes: &[u8]) -> Result<Self, StoreError> {
        // A page consists of whole lines. Zeroing the copy first would cost the same as copying.
        if let Ok(lines) = bytemuck::try_cast_slice::<u8, Line>(bytes) {
            let mut copy = Vec::new();
            let too_large = |_| StoreError::TooLarge { bytes: bytes.len() as u64 };
            copy.try_reserve_exact(lines.len()).map_err(too_large)?;
            copy.extend_from_slice(lines);
            return Ok(Self { lines: copy.into_boxed_slice() });
        }
        let mut buffer = Self::zeroed(bytes.len())?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(buffer)
    }
}

impl Deref for PageBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.lines)
    }
}

impl DerefMut for PageBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}

/// Hash of page numbers, which are small and dense: one multiplication spreads them.
#[derive(Default)]
pub(crate) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte as u64);
        }
    }

    fn write_u64(&mut self, n: u64) {
        // 2^64 divided by the golden ratio; the rotation brings the good high bits to the low end.
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(20);
    }
}

/// A map by page number.
pub(crate) type PageMap<V> = hashbrown::HashMap<PageNo, V, BuildHasherDefault<PageHasher>>;

/// Reads little-endian fields of a byte string; each function returns `None` beyond its end.
pub(crate) mod read {
    pub(crate) fn u16(bytes: &[u8], at: usize) -> Option<u16> {
        bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
    }

    pub(crate) fn u32(bytes: &[u8], at: usize) -> Option<u32> {
        bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
    }

    pub(crate) fn u64(bytes: &[u8], at: usize) -> Option<u64> {
        bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
    }
}
