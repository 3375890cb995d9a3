//! Reading a node of the B+tree from bytes.
//!
//! Header: kind `u8`, level `u8`, count `u16`, skip `u16`, reserved `u16`, heap `u32`, live `u32`. Then one
//! slot of 8 bytes per entry: head `u32`, offset `u16`, key length `u16`. Cells have any place behind the slots. `skip` is a number of
//! leading bytes that all keys of the node share; a slot's *head* is the four bytes that follow them, so nearly every comparison of a
//! search compares two adjacent integers, instead of two strings behind a pointer.
//!
//! The bytes are not trusted: each access is checked against the end of the page.

use std::cmp::Ordering;

use super::page::{NodeRef, PageNo, read};
use crate::store::error::StoreError;

pub(crate) const HEADER: usize = 16;
pub(crate) const SLOT: usize = 8;
pub(crate) const LEAF: u8 = 1;
pub(crate) const BRANCH: u8 = 2;

/// Set in a leaf cell's length if the value is in a separate run.
pub(crate) const OVERFLOW: u16 = 1 << 15;
/// Bytes of the record of an overflowing value: page, length, checksum.
pub(crate) const OVERFLOW_RECORD: usize = 24;
/// Maximum number of slots that are searched by counting: their cache lines are then loaded at once, without branches to predict, while
/// each step of a bisection would wait for the previous one.
const COUNTED: usize = 64;
/// Bytes before the key in a leaf cell: the length.
pub(crate) const LEAF_HEAD: usize = 2;
/// Bytes before the key in a branch cell: child page, child checksum.
pub(crate) const BRANCH_HEAD: usize = 16;

/// Levels above the leaves that a tree may have; more than any tree that fits a file can need.
pub(crate) const MAX_LEVEL: u8 = 40;

/// A value as its leaf holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Inline(&'a [u8]),
    Overflow(OverflowRef),
}

/// The place of a value that is too long for a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverflowRef {
    pub(crate) page: PageNo,
    pub(crate) len: u64,
    pub(crate) checksum: u64,
}

impl OverflowRef {
    pub(crate) fn encode(self) -> [u8; OVERFLOW_RECORD] {
        let mut out = [0; OVERFLOW_RECORD];
        out[..8].copy_from_slice(&self.page.to_le_bytes());
        out[8..16].copy_from_slice(&self.len.to_le_bytes());
        out[16..].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            page: read::u64(bytes, 0)?,
            len: read::u64(bytes, 8)?,
            checksum: read::u64(bytes, 16)?,
        })
    }
}

/// Returns the four bytes of a key behind the common prefix, as a number that orders as they do.
#[inline]
pub(crate) fn head_of(key: &[u8], skip: usize) -> u32 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(four) = rest.first_chunk::<4>() {
        return u32::from_be_bytes(*four);
    }
    let mut four = [0; 4];
    four[..rest.len()].copy_from_slice(rest);
    u32::from_be_bytes(four)
}

/// Returns the length of the common prefix.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// A view of a page that holds a node.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    page: PageNo,
    bytes: &'a [u8],
    slots: &'a [[u8; SLOT]],
    skip: usize,
}

impl<'a> Node<'a> {
    /// Reads the header.
    #[inline]
    pub(crate) fn new(page: PageNo, bytes: &'a [u8]) -> Result<Self, StoreError> {
        let corrupt = || StoreError::corrupt(page, "its node header is invalid");
        let head: &[u8; HEADER] = bytes.first_chunk().ok_or_else(corrupt)?;
        let count = u16::from_le_bytes([head[2], head[3]]) as usize;
        let skip = u16::from_le_bytes([head[4], head[5]]) as usize;
        let slots = bytes.get(HEADER..HEADER + count * SLOT).ok_or_else(corrupt)?;
        let kind_fits = match head[0] {
            LEAF => head[1] == 0,
            BRANCH => head[1] > 0 && head[1] <= MAX_LEVEL && count > 0,
            _ => false,
        };
        if !kind_fits {
            return Err(corrupt());
        }
        Ok(Self { page, bytes, slots: slots.as_chunks().0, skip })
    }

    pub(crate) fn page(self) -> PageNo {
        self.page
    }

    /// Returns the distance from the leaves, whose level is 0.
    #[inline]
    pub(crate) fn level(self) -> u8 {
        self.bytes[1]
    }

    #[inline]
    pub(crate) fn is_leaf(self) -> bool {
        self.bytes[0] == LEAF
    }

    #[inline]
    pub(crate) fn count(self) -> usize {
        self.slots.len()
    }

    /// Returns the number of bytes of entries: slots and live cells.
    pub(crate) fn used(self) -> usize {
        self.count() * SLOT + read::u32(self.bytes, 12).unwrap_or(0) as usize
    }

    #[inline]
    fn head(self, i: usize) -> u32 {
        let s = self.slots[i];
        u32::from_le_bytes([s[0], s[1], s[2], s[3]])
    }

    #[cold]
    fn bad_cell(self) -> StoreError {
        StoreError::corrupt(self.page, "a cell reaches beyond the page")
    }

    /// Returns the offset of a cell and the length of its key.
    #[inline]
    fn slot(self, i: usize) -> Result<(usize, usize), StoreError> {
        let s = self.slots.get(i).ok_or_else(|| self.bad_cell())?;
        Ok((u16::from_le_bytes([s[4], s[5]]) as usize, u16::from_le_bytes([s[6], s[7]]) as usize))
    }

    #[inline]
    fn key_behind(self, i: usize, head: usize) -> Result<&'a [u8], StoreError> {
        let (offset, len) = self.slot(i)?;
        let start = offset + head;
        self.bytes.get(start..start + len).ok_or_else(|| self.bad_cell())
    }

    /// Returns the key of entry `i`. The first key of a branch is empty and means "less than all".
    #[inline]
    pub(crate) fn key(self, i: usize) -> Result<&'a [u8], StoreError> {
        self.key_behind(i, if self.is_leaf() { LEAF_HEAD } else { BRANCH_HEAD })
    }

    /// Returns key and value of entry `i` of a leaf.
    #[inline]
    pub(crate) fn entry(self, i: usize) -> Result<(&'a [u8], Stored<'a>), StoreError> {
        let (offset, key_len) = self.slot(i)?;
        let cell = self.bytes.get(offset..).ok_or_else(|| self.bad_cell())?;
        let len = read::u16(cell, 0).ok_or_else(|| self.bad_cell())?;
        let rest = &cell[LEAF_HEAD..];
        let (key, rest) = rest.split_at_checked(key_len).ok_or_else(|| self.bad_cell())?;
        let value = if len & OVERFLOW == 0 {
            rest.get(..len as usize).map(Stored::Inline)
        } else {
            OverflowRef::decode(rest).map(Stored::Overflow)
        };
        Ok((key, value.ok_or_else(|| self.bad_cell())?))
    }

    /// Returns child `i` of a branch.
    #[inline]
    pub(crate) fn child(self, i: usize) -> Result<NodeRef, StoreError> {
        let (offset, _) = self.slot(i)?;
        let page = read::u64(self.bytes, offset).ok_or_else(|| self.bad_cell())?;
        let checksum = read::u64(self.bytes, offset + 8).ok_or_else(|| self.bad_cell())?;
        Ok(NodeRef { page, checksum })
    }

    /// Returns the offset of the cell of entry `i` and the number of its bytes.
    pub(crate) fn cell(self, i: usize) -> Result<(usize, usize), StoreError> {
        let (offset, key_len) = self.slot(i)?;
        let len = if self.is_leaf() {
            let len = read::u16(self.bytes, offset).ok_or_else(|| self.bad_cell())?;
            let value = if len & OVERFLOW == 0 { len as usize } else { OVERFLOW_RECORD };
            LEAF_HEAD + key_len + value
        } else {
            BRANCH_HEAD + key_len
        };
        Ok((offset, len))
    }

    pub(crate) fn cell_bytes(self, i: usize) -> Result<&'a [u8], StoreError> {
        let (offset, len) = self.cell(i)?;
        self.bytes.get(offset..offset + len).ok_or_else(|| self.bad_cell())
    }

    /// Returns the value of `key` in a leaf.
    ///
    /// Unlike [`Node::search`] it need not know whether the key shares the prefix, because the key that is found is compared whole. So
    /// it does not wait for the first key's cell, which is another cache miss.
    #[inline]
    pub(crate) fn find(self, key: &[u8]) -> Result<Option<Stored<'a>>, StoreError> {
        let count = self.count();
        let head = head_of(key, self.skip);
        let i = self.bound(0, head);
        if i == count || self.head(i) != head {
            return Ok(None);
        }
        let (found, value) = self.entry(i)?;
        if found == key {
            return Ok(Some(value));
        }
        if i + 1 == count || self.head(i + 1) != head {
            return Ok(None);
        }
        match self.locate(key, i + 1)? {
            Ok(i) => Ok(Some(self.entry(i)?.1)),
            Err(_) => Ok(None),
        }
    }

    /// Returns the first slot in `from..` whose head is not below `target`.
    #[inline]
    fn bound(self, from: usize, target: u32) -> usize {
        let (mut base, mut size) = (from, self.count() - from);
        while size > COUNTED {
            let half = size / 2;
            base = if self.head(base + half - 1) < target { base + half } else { base };
            size -= half;
        }
        let below = self.slots[base..base + size].iter().map(|s| {
            let head = u32::from_le_bytes([s[0], s[1], s[2], s[3]]);
            u32::from(head < target)
        });
        base + below.sum::<u32>() as usize
    }

    /// Returns the position of `key` in `from..`: `Ok` of the entry that has it, `Err` of the first greater entry.
    #[inline]
    fn locate(self, key: &[u8], from: usize) -> Result<Result<usize, usize>, StoreError> {
        let count = self.count();
        if from >= count {
            return Ok(Err(from));
        }
        if self.skip > 0 {
            let first = self.key(from)?;
            let shared = first.get(..self.skip).ok_or_else(|| self.bad_cell())?;
            match key[..self.skip.min(key.len())].cmp(shared) {
                Ordering::Less => return Ok(Err(from)),
                Ordering::Greater => return Ok(Err(count)),
                Ordering::Equal => {}
            }
        }
        let head = head_of(key, self.skip);
        let mut low = self.bound(from, head);
        if low == count || self.head(low) != head {
            return Ok(Err(low));
        }
        // Equal heads: usually one entry, else keys that agree in the first bytes.
        let mut high = if low + 1 < count && self.head(low + 1) == head {
            head.checked_add(1).map_or(count, |next| self.bound(low, next))
        } else {
            low + 1
        };
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle)?.cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// Returns the position of `key` in a leaf: `Ok` of its entry, or `Err` of the position for inserting it.
    #[inline]
    pub(crate) fn search(self, key: &[u8]) -> Result<Result<usize, usize>, StoreError> {
        self.locate(key, 0)
    }

    /// Returns the child of a branch that leads to `key`.
    #[inline]
    pub(crate) fn route(self, key: &[u8]) -> Result<usize, StoreError> {
        Ok(match self.locate(key, 1)? {
            Ok(i) => i,
            Err(i) => i - 1,
        })
    }

    /// Checks all conditions that reading relies on but does not check at each step: cells within the page that do not overlap,
    /// ascending keys, true prefix and heads.
    pub(crate) fn validate(self) -> Result<(), StoreError> {
        let corrupt = |reason| Err(StoreError::corrupt(self.page, reason));
        let heap = read::u32(self.bytes, 8).unwrap_or(0) as usize;
        let mut cells = Vec::with_capacity(self.count());
        let first = usize::from(!self.is_leaf());
        let mut previous: Option<&[u8]> = None;
        for i in 0..self.count() {
            let (offset, len) = self.cell(i)?;
            if offset < heap || offset + len > self.bytes.len() {
                return corrupt("a cell lies outside the heap");
            }
            cells.push((offset, len));
            let key = self.key(i)?;
            if i < first {
                if !key.is_empty() {
                    return corrupt("the first key of a branch is not empty");
                }
                continue;
            }
            if key.len() < self.skip || self.head(i) != head_of(key, self.skip) {
                return corrupt("a slot does not agree with its key");
            }
            if let Some(previous) = previous
                && (previous >= key || previous[..self.skip] != key[..self.skip])
            {
                return corrupt("keys do not ascend");
            }
            previous = Some(key);
        }
        if heap < HEADER + self.count() * SLOT || heap > self.bytes.len() {
            return corrupt("the heap overlaps the slots");
        }
        let live: usize = cells.iter().map(|&(_, len)| len).sum();
        if read::u32(self.bytes, 12) != Some(live as u32) {
            return corrupt("the count of live bytes is wrong");
        }
        cells.sort_unstable();
        if cells.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            return corrupt("cells overlap");
        }
        Ok(())
    }
}
