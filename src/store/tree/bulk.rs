//! Building a tree from ascending keys: full pages, written once, from left to right.

use super::insert::separator;
use super::max_cell;
use crate::store::error::StoreError;
use crate::store::format::{
    BRANCH_HEAD, LEAF_HEAD, MAX_LEVEL, NodeMut, NodeRef, OVERFLOW, OverflowRef, PageBuf, PageNo,
    Run, checksum,
};
use crate::store::pages::Workspace;

/// Bytes of pages that are written at once.
const BATCH: usize = 1 << 20;

/// A node that is being filled.
struct Growing {
    buffer: PageBuf,
    count: usize,
    /// The key that leads to the node from its parent.
    separator: Vec<u8>,
}

/// Takes entries in ascending order and makes a tree of them. Memory: a page per level and 1 MiB.
pub(crate) struct Builder {
    levels: Vec<Growing>,
    last: Vec<u8>,
    len: u64,
    batch: Vec<u8>,
    run: Run,
    used: u64,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            levels: Vec::new(),
            last: Vec::new(),
            len: 0,
            batch: Vec::new(),
            run: Run { start: 0, pages: 0 },
            used: 0,
        }
    }

    /// Adds an entry, whose key must be greater than the last.
    pub(crate) fn push(
        &mut self,
        pages: &mut Workspace,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        if self.len > 0 && key <= &self.last[..] {
            return Err(StoreError::KeyOrder { position: self.len });
        }
        let record;
        let (tag, stored) = if LEAF_HEAD + key.len() + value.len() <= max_cell(pages.page_size()) {
            (value.len() as u16, value)
        } else {
            record = Self::store_value(pages, value)?.encode();
            (OVERFLOW, &record[..])
        };
        let cell = LEAF_HEAD + key.len() + stored.len();
        if self.levels.is_empty() {
            self.levels.push(Growing {
                buffer: PageBuf::zeroed(pages.page_size())?,
                count: 0,
                separator: Vec::new(),
            });
            NodeMut::format(0, &mut self.levels[0].buffer, 0);
        }
        if !NodeMut::new(0, &mut self.levels[0].buffer).fits(cell) {
            let next = separator(&self.last, key).to_vec();
            self.finish_node(pages, 0, next)?;
        }
        let leaf = &mut self.levels[0];
        NodeMut::new(0, &mut leaf.buffer).insert_leaf(leaf.count, key, tag, stored)?;
        leaf.count += 1;
        self.len += 1;
        self.last.clear();
        self.last.extend_from_slice(key);
        Ok(())
    }

    fn store_value(pages: &mut Workspace, value: &[u8]) -> Result<OverflowRef, StoreError> {
        let size = pages.page_size();
        let run = pages.new_direct(value.len().div_ceil(size) as u64)?;
        pages.write_direct(run.start * size as u64, value)?;
        Ok(OverflowRef { page: run.start, len: value.len() as u64, checksum: checksum(value) })
    }

    /// Writes out the node of a level, inserts it into its parent and starts the next, which `key` leads to.
    fn finish_node(
        &mut self,
        pages: &mut Workspace,
        level: usize,
        key: Vec<u8>,
    ) -> Result<(), StoreError> {
        let node = self.write_node(pages, level)?;
        let own = std::mem::replace(&mut self.levels[level].separator, key);
        self.add_child(pages, level + 1, &own, node)?;
        let growing = &mut self.levels[level];
        growing.count = 0;
        growing.buffer.fill(0);
        NodeMut::format(0, &mut growing.buffer, level as u8);
        Ok(())
    }

    fn add_child(
        &mut self,
        pages: &mut Workspace,
        level: usize,
        key: &[u8],
        child: NodeRef,
    ) -> Result<(), StoreError> {
        if level > MAX_LEVEL as usize {
            return Err(StoreError::corrupt(child.page, "the tree is too high"));
        }
        if self.levels.len() == level {
            let mut buffer = PageBuf::zeroed(pages.page_size())?;
            NodeMut::format(0, &mut buffer, level as u8);
            self.levels.push(Growing { buffer, count: 0, separator: Vec::new() });
        }
        if !NodeMut::new(0, &mut self.levels[level].buffer).fits(BRANCH_HEAD + key.len()) {
            self.finish_node(pages, level, key.to_vec())?;
        }
        let parent = &mut self.levels[level];
        let key = if parent.count == 0 { &[][..] } else { key };
        NodeMut::new(0, &mut parent.buffer).insert_child(parent.count, key, child)?;
        parent.count += 1;
        Ok(())
    }

    fn write_node(&mut self, pages: &mut Workspace, level: usize) -> Result<NodeRef, StoreError> {
        let size = pages.page_size();
        if self.used == self.run.pages {
            self.flush(pages)?;
            // Small loads allocate few pages, large ones whole batches.
            let want = (self.run.pages * 2).clamp(4, (BATCH / size) as u64);
            self.run = pages.new_direct(want)?;
            self.used = 0;
        }
        let page: PageNo = self.run.start + self.used;
        self.used += 1;
        let buffer = &self.levels[level].buffer;
        self.batch.extend_from_slice(buffer);
        Ok(NodeRef { page, checksum: checksum(buffer) })
    }

    fn flush(&mut self, pages: &mut Workspace) -> Result<(), StoreError> {
        if self.run.pages > 0 {
            pages.write_direct(self.run.start * pages.page_size() as u64, &self.batch)?;
            self.batch.clear();
            pages.settle_direct(self.run, self.used);
        }
        Ok(())
    }

    /// Writes the unfinished nodes. Returns the root and the number of entries.
    pub(crate) fn finish(mut self, pages: &mut Workspace) -> Result<(NodeRef, u64), StoreError> {
        let mut level = 0;
        let mut root = NodeRef::EMPTY;
        while level < self.levels.len() {
            root = self.write_node(pages, level)?;
            if level + 1 < self.levels.len() {
                let key = std::mem::take(&mut self.levels[level].separator);
                self.add_child(pages, level + 1, &key, root)?;
            }
            level += 1;
        }
        self.flush(pages)?;
        Ok((root, self.len))
    }
}
