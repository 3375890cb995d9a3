//! What only the writer knows: free pages, pages in waiting, the end of the log.

use std::collections::VecDeque;

use super::allocator::Allocator;
use super::frames::Frames;
use super::log::Log;
use super::meta::Meta;
use super::page::{PageMap, PageNo, Run};
use super::room::reserve;
use super::snapshot::State;

/// A run that a transaction gave up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freed {
    /// The transaction; older readers may still look at the run.
    pub(crate) transaction: u64,
    pub(crate) run: Run,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) allocator: Allocator,
    /// The newest state, which the next transaction starts from; perhaps not on the disk yet.
    pub(crate) state: State,
    /// The last checkpoint and its slot.
    pub(crate) meta: Meta,
    pub(crate) slot: usize,
    pub(crate) log: Log,
    /// Runs of `state` that are only in memory: the next checkpoint writes them.
    pub(crate) fresh: PageMap<u64>,
    /// Bytes of the extents that were made in memory since the last checkpoint.
    pub(crate) extent_bytes: u64,
    /// Given up before they were ever written: reusable when no reader sees them.
    pub(crate) freed_fresh: VecDeque<Freed>,
    /// Given up, but part of a checkpoint: reusable when that is replaced and no reader sees them.
    pub(crate) freed_durable: VecDeque<Freed>,
    /// The oldest checkpoint that another process reads; none older may lose a page.
    pub(crate) oldest_process: u64,
    /// Whether the ring may hold records that this process did not write: then a checkpoint with a new salt must
    /// come before the next record.
    pub(crate) inherited_log: bool,
    /// Bytes of the file that were really written, so that writing them again needs no room.
    pub(crate) backed: u64,
    /// Bytes that the file is to have behind its last page: see [`super::room`].
    pub(crate) reserve: u64,
}

impl Writer {
    pub(crate) fn new(meta: Meta, slot: usize, allocator: Allocator) -> Self {
        Self {
            allocator,
            state: meta.state,
            meta,
            slot,
            log: Log::new(meta.log_len, meta.log),
            fresh: PageMap::default(),
            extent_bytes: 0,
            freed_fresh: VecDeque::new(),
            freed_durable: VecDeque::new(),
            oldest_process: u64::MAX,
            inherited_log: true,
            backed: meta.end * u64::from(meta.page_size),
            reserve: reserve(meta.page_size.into()),
        }
    }

    /// Takes back what no reader can see any more.
    pub(crate) fn reclaim(&mut self, frames: &Frames) {
        let oldest = frames.reclaim();
        while let Some(freed) = self.freed_fresh.pop_front_if(|freed| freed.transaction <= oldest) {
            frames.retire(freed.run.start, freed.transaction);
            self.allocator.release(freed.run);
        }
        let oldest = oldest.min(self.meta.state.transaction).min(self.oldest_process);
        while let Some(freed) = self.freed_durable.pop_front_if(|freed| freed.transaction <= oldest)
        {
            self.allocator.release(freed.run);
        }
    }

    /// Notes that `transaction` gave up a run of the state before it.
    pub(crate) fn give_up(&mut self, transaction: u64, run: Run) {
        let freed = Freed { transaction, run };
        if self.fresh.remove(&run.start).is_some() {
            self.freed_fresh.push_back(freed);
        } else {
            self.freed_durable.push_back(freed);
        }
    }

    /// Pages that wait to be reused.
    pub(crate) fn waiting_pages(&self) -> u64 {
        let waiting = self.freed_fresh.iter().chain(&self.freed_durable);
        waiting.map(|freed| freed.run.pages).sum()
    }

    /// First page that can hold data.
    pub(crate) fn reserved(&self) -> PageNo {
        self.meta.reserved()
    }
}
