//! Advice to the system about maps with few rows to be read.

use super::available::available;
use super::head::Head;
use crate::collection::error::CollectionError;
use crate::collection::format::decode_chunk;
use crate::index::{FINER, VECTORS};
use crate::mmap::MmapMut;
use crate::store::Table;

/// The columns of which searches are expected to read few rows while a page stays in memory.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sparse {
    None,
    /// An index with codes reads vectors, and the finer codes in their place, only to measure the best answers again.
    Vectors,
    /// The columns that walks read do not fit memory.
    All,
}

impl Sparse {
    pub(super) fn of(table: &Table<'_, u64>, head: &Head) -> Result<Self, CollectionError> {
        let has_codes = head.checkpoint.state.coder.is_some();
        let mut walked = 0_u64;
        for entry in table.range(..)? {
            let (key, chunk) = entry?;
            if !has_codes || !Self::Vectors.holds((key >> 32) as u32) {
                walked = walked.saturating_add(decode_chunk(chunk)?.1);
            }
        }
        Ok(match available() {
            Some(available) if walked > available / 4 * 3 => Self::All,
            _ if has_codes => Self::Vectors,
            _ => Self::None,
        })
    }

    pub(super) fn holds(self, column: u32) -> bool {
        match self {
            Self::None => false,
            Self::Vectors => matches!(column, VECTORS | FINER),
            Self::All => true,
        }
    }
}

/// Advises the system that few, scattered rows of a map will be read. Reading the pages around them would push out of memory pages that
/// are needed more.
pub(super) fn expect_few(map: &MmapMut) {
    #[cfg(unix)]
    // A refusal costs time only, because this is advice.
    let _ = map.advise(memmap2::Advice::Random);
    #[cfg(not(unix))]
    let _ = map;
}
