//! The state of the writer alone: free pages, pages in waiting, the end of the log.

use super::allocator::Allocator;
use super::backing::reserve;
use super::frames::Frames;
use super::waiting::{Held, Life, Waiting};
use crate::store::format::{Log, Meta, PageMap, PageNo, Run, State};

/// A run that a transaction gave up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freed {
    pub(crate) run: Run,
    /// Whether the run is only in memory, because no checkpoint has written it.
    pub(crate) is_fresh: bool,
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
    /// Runs that `state` does not need any more, reusable once no held state needs them.
    pub(crate) waiting: Waiting<Freed>,
    /// The transactions that made runs, by first page. A run without an entry is older than all held states.
    births: PageMap<u64>,
    /// Memory for the states that are held.
    scratch: Vec<u64>,
    /// Number of births that the last pruning left.
    births_kept: usize,
    /// The checkpoints that other processes read, as of the last checkpoint; their pages are kept.
    pub(crate) processes: Vec<u64>,
    /// Whether the ring may hold records that this process did not write: then a checkpoint with a new salt must
    /// come before the next record.
    pub(crate) inherited_log: bool,
    /// Bytes of the file that were written, so that writing them again needs no room.
    pub(crate) backed: u64,
    /// Bytes that the file is to have behind its last page: see [`super::backing`].
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
            waiting: Waiting::default(),
            births: PageMap::default(),
            scratch: Vec::new(),
            births_kept: 0,
            processes: Vec::new(),
            inherited_log: true,
            backed: meta.end * u64::from(meta.page_size),
            reserve: reserve(meta.page_size.into()),
        }
    }

    /// Frees the runs that no held state needs.
    pub(crate) fn reclaim(&mut self, frames: &Frames) {
        let (held, newest) = self.take_held(frames);
        let allocator = &mut self.allocator;
        self.waiting.release(&held, newest, |freed| {
            if freed.is_fresh {
                frames.retire(freed.run.start);
            }
            allocator.release(freed.run);
        });
        if self.births.len() > 1000 + 2 * self.births_kept
            && let Some(oldest) = held.oldest()
        {
            self.births.retain(|_, &mut born| born > oldest);
            self.births_kept = self.births.len();
        }
        self.scratch = held.into_states();
    }

    /// Returns the states that are held, and the newest one that a snapshot can be made of. Besides
    /// the snapshots, the newest state is held, and the last checkpoint, from which recovery
    /// starts.
    fn take_held(&mut self, frames: &Frames) -> (Held, u64) {
        let (pinned, newest) = frames.reclaim(std::mem::take(&mut self.scratch));
        let others = self.processes.iter().copied().chain([newest, self.meta.state.transaction]);
        (pinned.and(others), newest)
    }

    /// Notes that `transaction` made a run.
    pub(crate) fn make(&mut self, transaction: u64, start: PageNo) {
        self.births.insert(start, transaction);
    }

    /// Returns the transaction that made a run of `state`; 0 if all held states are of later ones.
    pub(crate) fn born(&self, start: PageNo) -> u64 {
        self.births.get(&start).copied().unwrap_or(0)
    }

    /// Notes that `transaction` gave up a run of the state before it.
    pub(crate) fn give_up(&mut self, transaction: u64, run: Run) {
        let is_fresh = self.fresh.remove(&run.start).is_some();
        let born = self.births.remove(&run.start).unwrap_or(0);
        self.waiting.push(Life { born, ended: transaction }, Freed { run, is_fresh });
    }

    /// Undoes the calls of [`Self::give_up`] since `count` runs waited for their first examination.
    pub(crate) fn take_back(&mut self, count: usize) {
        for (life, Freed { run, is_fresh }) in self.waiting.take_back(count) {
            if is_fresh {
                self.fresh.insert(run.start, run.pages);
            }
            if life.born > 0 {
                self.births.insert(run.start, life.born);
            }
        }
    }

    /// Undoes [`Self::make`].
    pub(crate) fn forget(&mut self, start: PageNo) {
        self.births.remove(&start);
    }

    /// Returns the runs that wait to be reused.
    pub(crate) fn waiting_runs(&self) -> impl Iterator<Item = Run> {
        self.waiting.iter().map(|(_, freed)| freed.run)
    }

    /// Returns the pages that snapshots, of this process and of others, keep from being reused.
    pub(crate) fn held_pages(&self, frames: &Frames) -> u64 {
        let mut states = frames.pinned();
        states.extend(&self.processes);
        let held = Held::new(states);
        let waiting = self.waiting.iter().filter(|&(life, _)| held.needs(life).is_some());
        waiting.map(|(_, freed)| freed.run.pages).sum()
    }

    /// Returns the first page that can hold data.
    pub(crate) fn reserved(&self) -> PageNo {
        self.meta.reserved()
    }
}
