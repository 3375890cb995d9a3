//! The position of an iteration, and its bytes.

use std::collections::HashSet;
use std::fmt;

use crate::error::IndexError;
use crate::vector::Block;

/// The first byte of a cursor: the version of the form.
const VERSION: u8 = 1;

/// Position of an iteration: the keys that it gave, and where it continues.
///
/// It borrows nothing, not even the index: keep it between two requests of a user, as it is or as [bytes](Self::to_bytes), and continue by
/// [`Search::iter_from`](crate::Search::iter_from). It takes about 16 bytes for each hit given.
///
/// ```
/// use nearfield::search::Cursor;
/// use nearfield::{Flat, Metric};
///
/// let index = Flat::builder(1, Metric::L2).build()?;
/// index.insert_batch(&[1, 2, 3], &[1.0, 2.0, 3.0]).run()?;
/// let mut first = index.search(&[0.0]).iter()?;
/// assert_eq!(first.next().unwrap().key, 1);
/// let bytes = first.cursor().to_bytes();
///
/// let rest = index.search(&[0.0]).iter_from(Cursor::from_bytes(&bytes)?)?;
/// assert_eq!(rest.map(|hit| hit.key).collect::<Vec<_>>(), [2, 3]);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The encoded query; empty at the beginning.
    pub(super) row: Vec<Block>,
    /// Keys that were given.
    pub(super) given: HashSet<u64>,
    /// Answers of the last round; 0 at the beginning.
    pub(super) round: usize,
    /// Whether the last round scanned every vector.
    pub(super) scanned: bool,
}

impl Cursor {
    /// Returns the number of hits given until now.
    pub fn given(&self) -> usize {
        self.given.len()
    }

    /// Returns the position as bytes: the query, and eight bytes for each hit given. Equal positions have equal bytes.
    ///
    /// They are for this index, its copies and the file that it is saved to, and are not signed: a cursor that a stranger changed skips
    /// other keys, and harms nothing else.
    pub fn to_bytes(&self) -> Vec<u8> {
        let row: &[u8] = bytemuck::cast_slice(&self.row);
        let mut given: Vec<u64> = self.given.iter().copied().collect();
        given.sort_unstable();
        let mut bytes = Vec::with_capacity(Header::BYTES + row.len() + 8 * given.len());
        bytes.extend([VERSION, u8::from(self.scanned)]);
        bytes.extend((self.round as u64).to_le_bytes());
        bytes.extend((self.row.len() as u64).to_le_bytes());
        bytes.extend_from_slice(row);
        bytes.extend(given.iter().flat_map(|key| key.to_le_bytes()));
        bytes
    }

    /// Returns the position that [`to_bytes`](Self::to_bytes) gave as bytes.
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] if the bytes are not those of a cursor, or of one of a later version of this crate.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        Self::read(bytes).ok_or_else(|| IndexError::Parameter {
            name: "cursor",
            value: format!("{} bytes of another form", bytes.len()),
            allowed: "the bytes that a cursor gave",
        })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<{ Header::BYTES }>()?;
        let Header { scanned, round, blocks } = Header::read(header)?;
        let (row, keys) = rest.split_at_checked(blocks.checked_mul(size_of::<Block>())?)?;
        let (keys, []) = keys.as_chunks::<8>() else { return None };
        let keys = keys.iter().map(|key| u64::from_le_bytes(*key));
        // One form for each position.
        if !keys.clone().is_sorted_by(|a, b| a < b) {
            return None;
        }
        let mut blocks = vec![Block::ZERO; blocks];
        bytemuck::cast_slice_mut(&mut blocks).copy_from_slice(row);
        Some(Self { row: blocks, given: keys.collect(), round, scanned })
    }
}

/// The first bytes of a cursor.
struct Header {
    scanned: bool,
    round: usize,
    blocks: usize,
}

impl Header {
    const BYTES: usize = 18;

    fn read(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let scanned = match bytes[..2] {
            [VERSION, 0] => false,
            [VERSION, 1] => true,
            _ => return None,
        };
        let number = |at: usize| {
            let number = bytes[at..].first_chunk()?;
            usize::try_from(u64::from_le_bytes(*number)).ok()
        };
        Some(Self { scanned, round: number(2)?, blocks: number(10)? })
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("given", &self.given()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_and_others_refused() {
        let cursor = Cursor {
            row: vec![bytemuck::cast([7_u8; 64]), Block::ZERO],
            given: [9, 2, u64::MAX].into(),
            round: 64,
            scanned: true,
        };
        let bytes = cursor.to_bytes();
        assert_eq!(bytes.len(), 18 + 128 + 24);
        assert!(Cursor::from_bytes(&bytes).unwrap() == cursor);
        assert!(Cursor::from_bytes(&Cursor::default().to_bytes()).unwrap() == Cursor::default());
        // Each prefix and each changed byte is refused, or encodes another cursor.
        for end in 0..bytes.len() {
            let is_whole = Cursor::from_bytes(&bytes[..end])
                .is_ok_and(|cursor| cursor.to_bytes() == bytes[..end]);
            assert_eq!(is_whole, end >= 18 + 128 && end % 8 == 2, "{end}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut other = bytes.clone();
                other[at] = value;
                if let Ok(cursor) = Cursor::from_bytes(&other) {
                    assert_eq!(cursor.to_bytes(), other, "{at}");
                }
            }
        }
    }
}
