//! Advice to the system about maps of which few rows are read.

use memmap2::MmapMut;

use super::available::available;
use super::head::Head;
use crate::collection::error::CollectionError;
use crate::collection::format::decode_chunk;
use crate::index::{FINER, VECTORS};
use crate::store::Table;

/// Of which columns few rows will be read between two times that a page is needed, as far as can be foreseen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sparse {
    None,
    /// Where there are codes, vectors, and codes that stand in for them, are read only to measure the best of the answers again.
    Vectors,
    /// What walks read does not fit memory.
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

/// Tells the system that few rows of a map will be read, here and there. Bringing what lies around them would push other
/// pages out of memory that are needed more.
pub(super) fn expect_few(map: &MmapMut) {
    #[cfg(unix)]
    // It is advice.
    let _ = map.advise(memmap2::Advice::Random);
    #[cfg(not(unix))]
    let _ = map;
}
