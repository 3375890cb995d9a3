//! What one search or insertion works with, lent from a pool that grows with the threads.

use std::fmt;

use crossbeam::queue::ArrayQueue;

use super::codes::CodeWork;
use super::encoder::Encoder;
use super::ivf::Probe;
use super::rerank::Head;
use super::scan::Matches;
use super::threads::OwnPool;
use crate::arena::Pool;
use crate::graph::Scratch;
use crate::vector::Block;

/// What searching and inserting need of any index.
pub(super) trait Parts: Sync + fmt::Debug {
    fn encoder(&self) -> &Encoder;

    fn work(&self) -> &WorkPool;

    fn own_pool(&self) -> &OwnPool;
}

/// Idle sets of buffers that are kept; more threads than this allocate anew.
const IDLE: usize = 256;

/// The buffers of one search or insertion.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) scratch: Scratch,
    /// One for each of the walks that take turns.
    pub(super) lanes: Vec<Scratch>,
    /// The encoded vector or query.
    pub(super) row: Vec<Block>,
    /// The vector that is being removed.
    pub(super) leaving: Vec<Block>,
    /// What codes are made with.
    pub(super) coding: CodeWork,
    /// Prepared queries of walks that take turns.
    pub(super) prepared: Vec<Block>,
    /// The head of a walk's finds, to be measured again.
    pub(super) head: Head,
    /// The nearest of each query of a batch.
    pub(super) pools: Vec<Pool>,
    /// Every slot, for a scan that wants more than a pool should hold.
    pub(super) all: Vec<(u32, u32)>,
    /// The nearest of what a filter accepts.
    pub(super) matches: Matches,
    /// Accepted slots that a walk may start from.
    pub(super) seeds: Vec<u32>,
    /// What a search of lists works with.
    pub(super) probe: Probe,
}

/// Idle buffers. Taking and giving back locks nothing.
#[derive(Debug)]
pub(super) struct WorkPool {
    idle: ArrayQueue<Box<Work>>,
}

impl WorkPool {
    pub(super) fn new() -> Self {
        Self { idle: ArrayQueue::new(IDLE) }
    }

    /// Runs `with` on a set of buffers.
    pub(super) fn with<R>(&self, with: impl FnOnce(&mut Work) -> R) -> R {
        let mut work = self.idle.pop().unwrap_or_default();
        let result = with(&mut work);
        // A full queue drops the buffers; a panic in `with` did so before.
        drop(self.idle.push(work));
        result
    }

    /// Bytes of the idle buffers: they are taken out one by one, looked at and put back.
    pub(super) fn bytes(&self) -> usize {
        let works: Vec<_> = std::iter::from_fn(|| self.idle.pop()).collect();
        let mut bytes = 0;
        for work in works {
            bytes += size_of::<Work>()
                + work.scratch.bytes()
                + work.lanes.iter().map(Scratch::bytes).sum::<usize>()
                + (work.row.capacity() + work.leaving.capacity()) * size_of::<Block>()
                + work.coding.bytes()
                + work.prepared.capacity() * size_of::<Block>()
                + work.head.bytes()
                + work.pools.iter().map(Pool::bytes).sum::<usize>()
                + work.all.capacity() * size_of::<(u32, u32)>()
                + work.matches.bytes()
                + work.seeds.capacity() * 4
                + work.probe.bytes();
            drop(self.idle.push(work));
        }
        bytes
    }
}
