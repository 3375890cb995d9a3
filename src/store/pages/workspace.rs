//! The pages of a write transaction: its own in memory, and the pages of its base.

mod extents;

use std::sync::Arc;

use super::allocator::Fit;
use super::frames::Pin;
use super::shared::Shared;
use super::writer::Writer;
use crate::store::error::StoreError;
use crate::store::format::{Node, NodeMut, NodeRef, PageBuf, PageMap, PageNo, Run, Source};

/// Extents above this are written to the file at once instead of being kept in memory until the checkpoint.
pub(crate) const DIRECT: u64 = 4 << 20;

/// A run that this transaction made.
#[derive(Debug, Clone, Copy)]
struct Made {
    pages: u64,
    epoch: u32,
}

/// The places that new runs may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placing {
    /// In free space, else behind all pages.
    Anywhere,
    /// As before, but no run may end behind this page.
    Before(PageNo),
    /// Behind all pages.
    Beyond,
}

/// The facts that a savepoint needs for rolling back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    epoch: u32,
    given_up: usize,
}

/// The pages that a write transaction reads and changes.
///
/// A page is the transaction's own if it was made in the current epoch; a savepoint begins a new epoch, so that older pages are copied
/// before they are changed.
pub(crate) struct Workspace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Box<Writer>,
    pin: Pin,
    own: PageMap<(u32, PageBuf)>,
    made: PageMap<Made>,
    /// Runs of the base, or of an earlier epoch, that are not needed any more.
    given_up: Vec<Run>,
    epoch: u32,
    /// Whether the changes cannot be logged: pages were written to the file already, or extents take more memory than recovery would
    /// give them.
    pub(crate) has_written: bool,
    /// Bytes of the extents that were made in memory.
    extent_bytes: u64,
    /// First page beyond all used and free pages when the transaction began.
    end: PageNo,
    pub(crate) placing: Placing,
}

/// The changes that [`Workspace::install_all`] made to the writer.
#[derive(Default)]
pub(crate) struct Installed {
    /// Runs that waited before.
    waiting: usize,
    /// The pages that were installed in memory.
    own: Vec<PageNo>,
    /// The runs that the transaction made.
    made: Vec<Run>,
}

impl Workspace {
    pub(crate) fn new(shared: Arc<Shared>, mut writer: Box<Writer>) -> Self {
        writer.reclaim(&shared.frames);
        let pin = shared.frames.writer_pin();
        Self {
            end: writer.allocator.end(),
            shared,
            writer,
            pin,
            own: PageMap::default(),
            made: PageMap::default(),
            given_up: Vec::new(),
            epoch: 0,
            has_written: false,
            extent_bytes: 0,
            placing: Placing::Anywhere,
        }
    }

    pub(crate) fn page_size(&self) -> usize {
        self.shared.page_size
    }

    fn allocate(&mut self, pages: u64, align: u64) -> Result<Run, StoreError> {
        let size = self.page_size() as u64;
        let segments = &self.shared.frames.segments;
        let boundary = |page: PageNo| segments.segment_end(page * size) / size;
        let allocator = &mut self.writer.allocator;
        let run = match self.placing {
            Placing::Beyond => allocator.beyond(pages, align, boundary)?,
            Placing::Anywhere | Placing::Before(_) => allocator.run(pages, align, boundary)?,
        };
        if let Placing::Before(limit) = self.placing
            && run.end() > limit
        {
            allocator.release(run);
            allocator.trim();
            return Err(StoreError::TooLarge { bytes: pages * size });
        }
        self.made.insert(run.start, Made { pages: run.pages, epoch: self.epoch });
        Ok(run)
    }

    /// Allocates space in a free run before `limit`, if one has room.
    pub(crate) fn allocate_below(
        &mut self,
        pages: u64,
        align: u64,
        limit: PageNo,
        fit: Fit,
    ) -> Option<Run> {
        let size = self.page_size() as u64;
        let segments = &self.shared.frames.segments;
        let boundary = |page: PageNo| segments.segment_end(page * size) / size;
        let run = self.writer.allocator.below(pages, align, limit, (fit, boundary))?;
        self.made.insert(run.start, Made { pages: run.pages, epoch: self.epoch });
        Some(run)
    }

    /// Allocates space behind all pages.
    pub(crate) fn allocate_beyond(&mut self, pages: u64, align: u64) -> Result<Run, StoreError> {
        let before = std::mem::replace(&mut self.placing, Placing::Beyond);
        let run = self.allocate(pages, align);
        self.placing = before;
        run
    }

    /// Returns whether this transaction made the run that begins at `start`.
    pub(crate) fn has_made(&self, start: PageNo) -> bool {
        self.made.contains_key(&start)
    }

    /// Returns the number of the state that this transaction started from when it was published.
    pub(crate) fn pinned(&self) -> u64 {
        self.pin.state.transaction
    }

    /// Makes a new page with an empty node.
    pub(crate) fn new_node(&mut self, level: u8) -> Result<PageNo, StoreError> {
        let mut buffer = PageBuf::zeroed(self.page_size())?;
        let page = self.allocate(1, 1)?.start;
        NodeMut::format(page, &mut buffer, level);
        self.own.insert(page, (self.epoch, buffer));
        Ok(page)
    }

    /// Returns a page of this transaction with the node's content: the same page if it is one already.
    pub(crate) fn own(&mut self, at: NodeRef) -> Result<PageNo, StoreError> {
        if let Some(&(epoch, _)) = self.own.get(&at.page)
            && epoch == self.epoch
        {
            return Ok(at.page);
        }
        let trusted = self.own.contains_key(&at.page) || self.pin.buffer(at.page).is_some();
        let node = (&*self).node(at)?;
        if !trusted {
            // Changing a node relies on sound offsets, and the checksum only shows that they are as written.
            node.validate()?;
        }
        let page = (&*self).run(at.page, self.page_size(), at.checksum)?;
        let buffer = self.shared.frames.copy_page(page)?;
        let page = self.allocate(1, 1)?.start;
        self.own.insert(page, (self.epoch, buffer));
        self.free(Run::one(at.page))?;
        Ok(page)
    }

    /// Returns a node of this transaction.
    #[inline]
    pub(crate) fn owned(&self, page: PageNo) -> Result<Node<'_>, StoreError> {
        Node::new(page, &self.own.get(&page).ok_or_else(|| not_own(page))?.1)
    }

    /// Returns whether a page can be changed in place.
    pub(crate) fn is_own(&self, page: PageNo) -> bool {
        self.own.get(&page).is_some_and(|&(epoch, _)| epoch == self.epoch)
    }

    pub(crate) fn owned_copy(&self, page: PageNo) -> Result<Vec<u8>, StoreError> {
        Ok(self.own.get(&page).ok_or_else(|| not_own(page))?.1.to_vec())
    }

    pub(crate) fn bytes_mut(&mut self, page: PageNo) -> Result<&mut [u8], StoreError> {
        Ok(&mut self.own.get_mut(&page).ok_or_else(|| not_own(page))?.1)
    }

    #[inline]
    pub(crate) fn edit(&mut self, page: PageNo) -> Result<NodeMut<'_>, StoreError> {
        Ok(NodeMut::new(page, self.bytes_mut(page)?))
    }

    /// Gives up a run: at once if it was made in this epoch, else when the transaction commits.
    pub(crate) fn free(&mut self, run: Run) -> Result<(), StoreError> {
        match self.made.get(&run.start) {
            Some(made) if made.epoch == self.epoch => {
                let run = Run { start: run.start, pages: made.pages };
                self.made.remove(&run.start);
                self.own.remove(&run.start);
                self.writer.allocator.release(run);
            }
            _ => {
                // The run comes from a parent, which a corrupt file may have forged.
                let reserved = self.writer.reserved();
                let end = run.start.checked_add(run.pages);
                if run.start < reserved
                    || end.is_none_or(|end| end > self.writer.allocator.end())
                    || self.writer.meta.is_far(run)
                {
                    return Err(StoreError::corrupt(run.start, "it lies outside of the data"));
                }
                self.given_up.push(run);
            }
        }
        Ok(())
    }

    /// Begins a new epoch, to which [`Workspace::roll_back`] can return.
    pub(crate) fn mark(&mut self) -> Mark {
        let mark = Mark { epoch: self.epoch, given_up: self.given_up.len() };
        self.epoch += 1;
        mark
    }

    /// Undoes all changes since the mark, and begins a new epoch.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        self.given_up.truncate(mark.given_up);
        let (own, allocator) = (&mut self.own, &mut self.writer.allocator);
        self.made.retain(|&start, made| {
            let keep = made.epoch <= mark.epoch;
            if !keep {
                own.remove(&start);
                allocator.release(Run { start, pages: made.pages });
            }
            keep
        });
        self.epoch += 1;
    }

    /// Gives all pages back. Returns the writer, unchanged.
    pub(crate) fn abandon(mut self) -> (Arc<Shared>, Box<Writer>) {
        if self.has_written && !self.made.is_empty() {
            // An extent of zeros that is given up may have left a hole.
            let end = self.end * self.shared.page_size as u64;
            self.writer.backed = self.writer.backed.min(end);
        }
        for (start, made) in self.made.drain() {
            self.writer.allocator.release(Run { start, pages: made.pages });
        }
        // The file need not be longer than before.
        self.writer.allocator.trim_to(self.end);
        (self.shared, self.writer)
    }

    /// Returns the number of runs in memory.
    pub(crate) fn own_pages(&self) -> u64 {
        self.own.len() as u64
    }

    /// Returns the bytes of the pages in memory.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.own.values().map(|(_, buffer)| buffer.len() as u64).sum()
    }

    /// Installs the pages for readers as part of `transaction`, without publishing the new state.
    pub(crate) fn install(&mut self, transaction: u64) -> Result<(), StoreError> {
        self.install_all(transaction, None)
    }

    /// Undoes [`Self::install_all`].
    pub(crate) fn uninstall(&mut self, installed: Installed) {
        let Installed { waiting, own, made } = installed;
        let writer = &mut self.writer;
        writer.take_back(waiting);
        for page in own {
            writer.fresh.remove(&page);
            self.shared.frames.retire(page);
        }
        for run in made {
            writer.forget(run.start);
            writer.allocator.release(run);
        }
        writer.extent_bytes -= self.extent_bytes;
    }

    /// As [`Self::install`], and notes the changes of the writer in `undo`.
    pub(crate) fn install_all(
        &mut self,
        transaction: u64,
        mut undo: Option<&mut Installed>,
    ) -> Result<(), StoreError> {
        if let Some(undo) = &mut undo {
            undo.waiting = self.writer.waiting.recent();
        }
        for run in std::mem::take(&mut self.given_up) {
            if let Some(made) = self.made.remove(&run.start) {
                // Made and given up by this transaction, with a savepoint between.
                self.own.remove(&run.start);
                self.writer.allocator.release(Run { start: run.start, pages: made.pages });
            } else {
                self.writer.give_up(transaction, run);
            }
        }
        for (page, (_, buffer)) in self.own.drain() {
            let pages = self.made.get(&page).map_or(1, |made| made.pages);
            self.shared.frames.install(page, buffer, transaction)?;
            self.writer.fresh.insert(page, pages);
            if let Some(undo) = &mut undo {
                undo.own.push(page);
            }
        }
        for (start, made) in self.made.drain() {
            self.writer.make(transaction, start);
            if let Some(undo) = &mut undo {
                undo.made.push(Run { start, pages: made.pages });
            }
        }
        self.writer.extent_bytes += self.extent_bytes;
        Ok(())
    }
}

#[cold]
fn not_own(page: PageNo) -> StoreError {
    StoreError::corrupt(page, "it is reached twice in one tree")
}

impl<'p> Source<'p> for &'p Workspace {
    fn page_size(self) -> usize {
        self.shared.page_size
    }

    #[inline]
    fn run(self, page: PageNo, len: usize, checksum: u64) -> Result<&'p [u8], StoreError> {
        if let Some((_, buffer)) = self.own.get(&page) {
            return buffer
                .get(..len)
                .ok_or_else(|| StoreError::corrupt(page, "it is shorter than its parent says"));
        }
        self.pin.run(page, len, checksum)
    }

    fn in_memory(self, page: PageNo) -> Option<&'p [u8]> {
        match self.own.get(&page) {
            Some((_, buffer)) => Some(buffer),
            None => (&self.pin).in_memory(page),
        }
    }

    fn mapped(self, page: PageNo, len: usize) -> Result<&'p [u8], StoreError> {
        self.pin.mapped(page, len)
    }
}
