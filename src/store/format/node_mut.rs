//! Changing a node of the B+tree in bytes.
//!
//! These functions change pages of a write transaction only. Such pages were made here or were validated when they were copied, so
//! their offsets are sound.

use super::node::{
    BRANCH, BRANCH_HEAD, HEADER, LEAF, LEAF_HEAD, Node, SLOT, common_prefix, head_of,
};
use super::page::{NodeRef, PageNo};
use crate::store::error::StoreError;

/// A page of a write transaction that holds a node.
pub(crate) struct NodeMut<'a> {
    page: PageNo,
    bytes: &'a mut [u8],
}

impl<'a> NodeMut<'a> {
    /// Returns the node that is in the page.
    pub(crate) fn new(page: PageNo, bytes: &'a mut [u8]) -> Self {
        Self { page, bytes }
    }

    /// Makes the page an empty node of this level.
    pub(crate) fn format(page: PageNo, bytes: &'a mut [u8], level: u8) -> Self {
        bytes[..HEADER].fill(0);
        bytes[0] = if level == 0 { LEAF } else { BRANCH };
        bytes[1] = level;
        let mut node = Self { page, bytes };
        node.set_heap(node.bytes.len());
        node
    }

    pub(crate) fn view(&self) -> Result<Node<'_>, StoreError> {
        Node::new(self.page, self.bytes)
    }

    fn count(&self) -> usize {
        u16::from_le_bytes([self.bytes[2], self.bytes[3]]) as usize
    }

    fn set_count(&mut self, count: usize) {
        self.bytes[2..4].copy_from_slice(&(count as u16).to_le_bytes());
    }

    fn skip(&self) -> usize {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]]) as usize
    }

    fn set_skip(&mut self, skip: usize) {
        self.bytes[4..6].copy_from_slice(&(skip as u16).to_le_bytes());
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes([
            self.bytes[at],
            self.bytes[at + 1],
            self.bytes[at + 2],
            self.bytes[at + 3],
        ]) as usize
    }

    fn set_heap(&mut self, heap: usize) {
        self.bytes[8..12].copy_from_slice(&(heap as u32).to_le_bytes());
    }

    fn set_live(&mut self, live: usize) {
        self.bytes[12..16].copy_from_slice(&(live as u32).to_le_bytes());
    }

    fn is_leaf(&self) -> bool {
        self.bytes[0] == LEAF
    }

    /// Returns the index of the first entry with a real key.
    fn first(&self) -> usize {
        usize::from(!self.is_leaf())
    }

    /// Returns the number of free bytes, if cells were moved together.
    fn free(&self) -> usize {
        self.bytes.len() - HEADER - self.count() * SLOT - self.u32(12)
    }

    /// Returns whether a cell of `len` bytes fits.
    pub(crate) fn fits(&self, len: usize) -> bool {
        self.free() >= len + SLOT
    }

    fn write_slot(&mut self, i: usize, head: u32, offset: usize, key_len: usize) {
        let at = HEADER + i * SLOT;
        self.bytes[at..at + 4].copy_from_slice(&head.to_le_bytes());
        self.bytes[at + 4..at + 6].copy_from_slice(&(offset as u16).to_le_bytes());
        self.bytes[at + 6..at + 8].copy_from_slice(&(key_len as u16).to_le_bytes());
    }

    /// Moves the cells together at the end of the page.
    fn compact(&mut self) -> Result<(), StoreError> {
        let old = self.bytes.to_vec();
        let node = Node::new(self.page, &old)?;
        let mut heap = self.bytes.len();
        for i in 0..node.count() {
            let cell = node.cell_bytes(i)?;
            heap -= cell.len();
            self.bytes[heap..heap + cell.len()].copy_from_slice(cell);
            let at = HEADER + i * SLOT + 4;
            self.bytes[at..at + 2].copy_from_slice(&(heap as u16).to_le_bytes());
        }
        self.set_heap(heap);
        Ok(())
    }

    /// Recomputes prefix and heads for `skip` leading bytes.
    fn set_prefix(&mut self, skip: usize) -> Result<(), StoreError> {
        self.set_skip(skip);
        for i in self.first()..self.count() {
            let head = head_of(self.view()?.key(i)?, skip);
            let at = HEADER + i * SLOT;
            self.bytes[at..at + 4].copy_from_slice(&head.to_le_bytes());
        }
        Ok(())
    }

    /// Sets the longest prefix that the first and the last key share.
    fn refresh_prefix(&mut self) -> Result<(), StoreError> {
        let (first, count) = (self.first(), self.count());
        let skip = if first < count {
            let node = self.view()?;
            common_prefix(node.key(first)?, node.key(count - 1)?)
        } else {
            0
        };
        self.set_prefix(skip)
    }

    /// Makes room for a cell as entry `i`, which must fit. Returns the cell.
    fn insert_cell(&mut self, i: usize, key: &[u8], len: usize) -> Result<&mut [u8], StoreError> {
        debug_assert!(self.fits(len));
        let count = self.count();
        if self.u32(8) < HEADER + (count + 1) * SLOT + len {
            self.compact()?;
        }
        // Slot 0 of a branch has no key and takes no part in the prefix.
        if i >= self.first() {
            if count <= self.first() {
                self.set_skip(key.len());
            } else {
                let shared = common_prefix(self.view()?.key(self.first())?, key);
                if shared < self.skip() {
                    self.set_prefix(shared)?;
                }
            }
        }
        let heap = self.u32(8) - len;
        let live = self.u32(12) + len;
        self.set_heap(heap);
        self.set_live(live);
        let (at, end) = (HEADER + i * SLOT, HEADER + count * SLOT);
        self.bytes.copy_within(at..end, at + SLOT);
        self.set_count(count + 1);
        let head = if i >= self.first() { head_of(key, self.skip()) } else { 0 };
        self.write_slot(i, head, heap, key.len());
        Ok(&mut self.bytes[heap..heap + len])
    }

    /// Inserts a leaf entry; `tag` is the value's length, with [`super::node::OVERFLOW`] if `value` is a
    /// record.
    pub(crate) fn insert_leaf(
        &mut self,
        i: usize,
        key: &[u8],
        tag: u16,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let cell = self.insert_cell(i, key, LEAF_HEAD + key.len() + value.len())?;
        cell[..LEAF_HEAD].copy_from_slice(&tag.to_le_bytes());
        cell[LEAF_HEAD..LEAF_HEAD + key.len()].copy_from_slice(key);
        cell[LEAF_HEAD + key.len()..].copy_from_slice(value);
        Ok(())
    }

    /// Inserts a child; the key of child 0 is empty.
    pub(crate) fn insert_child(
        &mut self,
        i: usize,
        key: &[u8],
        child: NodeRef,
    ) -> Result<(), StoreError> {
        let cell = self.insert_cell(i, key, BRANCH_HEAD + key.len())?;
        cell[..8].copy_from_slice(&child.page.to_le_bytes());
        cell[8..16].copy_from_slice(&child.checksum.to_le_bytes());
        cell[16..].copy_from_slice(key);
        Ok(())
    }

    /// Points entry `i` of a branch at another page.
    pub(crate) fn set_child(&mut self, i: usize, child: NodeRef) -> Result<(), StoreError> {
        let (offset, _) = self.view()?.cell(i)?;
        self.bytes[offset..offset + 8].copy_from_slice(&child.page.to_le_bytes());
        self.bytes[offset + 8..offset + 16].copy_from_slice(&child.checksum.to_le_bytes());
        Ok(())
    }

    /// Returns the bytes of the inline value of entry `i`.
    pub(crate) fn value_mut(&mut self, i: usize) -> Result<&mut [u8], StoreError> {
        let (offset, len) = self.view()?.cell(i)?;
        let key_len = self.view()?.key(i)?.len();
        Ok(&mut self.bytes[offset + LEAF_HEAD + key_len..offset + len])
    }

    /// Removes entry `i`.
    pub(crate) fn remove(&mut self, i: usize) -> Result<(), StoreError> {
        let (offset, len) = self.view()?.cell(i)?;
        let (count, live) = (self.count(), self.u32(12));
        let (at, end) = (HEADER + i * SLOT, HEADER + count * SLOT);
        self.bytes.copy_within(at + SLOT..end, at);
        self.set_count(count - 1);
        self.set_live(live - len);
        if offset == self.u32(8) {
            self.set_heap(offset + len);
        }
        Ok(())
    }

    /// Turns the first child's key into "less than all" after the first one was removed.
    pub(crate) fn clear_first_key(&mut self) -> Result<(), StoreError> {
        if self.count() == 0 || self.view()?.key(0)?.is_empty() {
            return Ok(());
        }
        let child = self.view()?.child(0)?;
        self.remove(0)?;
        self.insert_child(0, &[], child)
    }

    /// Appends entries `range` of `from`, a node of the same kind that is not this one. They must fit.
    pub(crate) fn append_from(
        &mut self,
        from: Node<'_>,
        range: std::ops::Range<usize>,
    ) -> Result<(), StoreError> {
        let mut bytes = 0;
        for i in range.clone() {
            bytes += from.cell(i)?.1;
        }
        if self.u32(8) < HEADER + (self.count() + range.len()) * SLOT + bytes {
            self.compact()?;
        }
        for i in range {
            let cell = from.cell_bytes(i)?;
            let key_len = from.key(i)?.len();
            let (count, heap) = (self.count(), self.u32(8) - cell.len());
            self.bytes[heap..heap + cell.len()].copy_from_slice(cell);
            let live = self.u32(12) + cell.len();
            self.set_heap(heap);
            self.set_live(live);
            self.set_count(count + 1);
            self.write_slot(count, 0, heap, key_len);
        }
        self.refresh_prefix()
    }
}
