//! Buffers of one search or insertion, lent from a pool that grows with the threads.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::atomic::AtomicCell;

use super::codes::CodeWork;
use super::encode::Encoder;
use super::parallel::OwnPool;
use crate::arena::{Pool, Slot};
use crate::distance::CustomUse;
use crate::error::IndexError;
use crate::graph::Scratch;
use crate::index::codes::rerank::Head;
use crate::index::distances::field::Matches;
use crate::index::query::verdicts::Verdicts;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Parts that searches and insertions need of any index.
pub(super) trait Parts: Sync + fmt::Debug {
    fn encoder(&self) -> &Encoder;

    fn work(&self) -> &ScratchPool;

    fn own_pool(&self) -> &OwnPool;

    /// Refuses a process that cannot rely on the data of the index.
    fn admit(&self) -> Result<(), IndexError> {
        Ok(())
    }

    /// Returns the use of a custom metric, whose kernel may panic.
    fn custom_use(&self) -> Option<&CustomUse> {
        None
    }
}

/// Maximum number of idle sets of buffers; threads beyond it allocate anew.
const IDLE: usize = 256;

/// The buffers of one search or insertion.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) scratch: Scratch,
    /// Scratch of each walk that takes turns with others.
    pub(super) lanes: Vec<Scratch>,
    /// The encoded vector or query.
    pub(super) row: Vec<Block>,
    /// The vector that is being removed.
    pub(super) leaving: Vec<Block>,
    /// Buffers for codes.
    pub(super) coding: CodeWork,
    /// Prepared queries of walks that take turns.
    pub(super) prepared: Vec<Block>,
    /// The head of a walk's finds, to be measured again.
    pub(super) head: Head,
    /// The nearest candidates of each query of a batch.
    pub(super) pools: Vec<Pool>,
    /// Slots that a scan skips, as bits.
    pub(super) hidden: Vec<u64>,
    /// Every slot, for a scan of more answers than a pool should hold.
    pub(super) all: Vec<(OrderKey, Slot)>,
    /// The nearest vectors that a filter accepts.
    pub(super) matches: Matches,
    /// Order keys and slots, in order.
    pub(super) ranked: Vec<(OrderKey, Slot)>,
    /// Verdicts of a filter.
    pub(super) verdicts: Verdicts,
    /// Accepted slots that a walk may start from.
    pub(super) seeds: Vec<Slot>,
}

/// Buffers that a pool lends.
pub(super) trait Buffers: Default {
    /// Returns the bytes of memory in use.
    fn bytes(&self) -> usize;
}

/// Idle buffers, each thread's own first: the buffers that it used last are in its caches, and have the size that its searches
/// need. Taking and returning them takes no lock.
pub(super) struct ScratchPool<T = Work> {
    idle: Box<[AtomicCell<Option<Box<T>>>]>,
}

/// Returns the place that a thread tries first. The places of the first threads are in cache lines of their own.
fn place() -> usize {
    /// Places in a cache line.
    const LINE: usize = 64 / size_of::<usize>();

    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = {
            let thread = THREADS.fetch_add(1, Ordering::Relaxed);
            (thread * LINE + thread * LINE / IDLE) % IDLE
        };
    }
    PLACE.with(|&place| place)
}

impl<T: Buffers> ScratchPool<T> {
    pub(super) fn new() -> Self {
        Self { idle: (0..IDLE).map(|_| AtomicCell::default()).collect() }
    }

    /// Returns all places, those near `first` first.
    fn places(&self, first: usize) -> impl Iterator<Item = &AtomicCell<Option<Box<T>>>> {
        let (before, after) = self.idle.split_at(first);
        after.iter().chain(before)
    }

    /// Runs `with` on a set of buffers.
    pub(super) fn with<R>(&self, with: impl FnOnce(&mut T) -> R) -> R {
        let first = place();
        let mut buffers = self.places(first).find_map(AtomicCell::take).unwrap_or_default();
        let result = with(&mut buffers);
        // Without a free place, buffers are dropped; a panic in `with` did so before.
        self.give(first, buffers);
        result
    }

    fn give(&self, first: usize, buffers: Box<T>) {
        // The previous contents of the place move to the next.
        let mut buffers = Some(buffers);
        for place in self.places(first) {
            buffers = place.swap(buffers);
            if buffers.is_none() {
                break;
            }
        }
    }

    /// Returns the bytes of the idle buffers, taking each out and putting it back.
    pub(super) fn bytes(&self) -> usize {
        let mut bytes = 0;
        for (at, place) in self.idle.iter().enumerate() {
            if let Some(buffers) = place.take() {
                bytes += buffers.bytes();
                self.give(at, buffers);
            }
        }
        bytes
    }
}

impl<T> fmt::Debug for ScratchPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScratchPool").finish_non_exhaustive()
    }
}

impl Buffers for Work {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.scratch.bytes()
            + self.lanes.iter().map(Scratch::bytes).sum::<usize>()
            + (self.row.capacity() + self.leaving.capacity()) * size_of::<Block>()
            + self.coding.bytes()
            + self.prepared.capacity() * size_of::<Block>()
            + self.head.bytes()
            + self.pools.iter().map(Pool::bytes).sum::<usize>()
            + self.all.capacity() * size_of::<(OrderKey, Slot)>()
            + self.matches.bytes()
            + self.ranked.capacity() * 8
            + self.verdicts.bytes()
            + self.seeds.capacity() * 4
            + self.hidden.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_the_buffers_that_it_had_and_takes_idle_ones_before_new_ones() {
        let pool = ScratchPool::<Work>::new();
        let address = |work: &mut Work| std::ptr::from_mut(work) as usize;
        let first = pool.with(address);
        assert_eq!(pool.with(address), first);
        let (outer, inner) = pool.with(|work| (address(work), pool.with(address)));
        assert_eq!(outer, first);
        assert_ne!(inner, first);
        // Another thread finds idle buffers, though they are elsewhere.
        let other = std::thread::scope(|scope| scope.spawn(|| pool.with(address)).join().unwrap());
        assert!(other == first || other == inner);
        assert_eq!(pool.idle.iter().filter_map(AtomicCell::take).count(), 2);
    }

    #[test]
    fn buffers_are_never_lent_twice() {
        let pool = ScratchPool::<Work>::new();
        std::thread::scope(|scope| {
            for thread in (0..8).map(Slot::new) {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
                        pool.with(|work| {
                            work.seeds.clear();
                            work.seeds.extend([thread; 16]);
                            if thread == Slot::new(0) {
                                pool.bytes();
                            }
                            assert_eq!(work.seeds, [thread; 16]);
                        });
                    }
                });
            }
        });
        assert!(pool.idle.iter().any(|place| place.take().is_some()));
    }
}
