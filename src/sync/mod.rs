//! Synchronization of threads: locks, epochs and schedule points.
//!
//! Locks and epochs are those of `parking_lot` and `crossbeam`. Under `--cfg nearfield_model` they are a model checker's
//! (shuttle's), which runs threads as coroutines, one at a time, and chooses at each [`step`] the coroutine that continues:
//! `tests/models/` explores schedules this way. A step precedes each access of the protocol between lock-free readers and
//! writers. In other builds steps compile to nothing.

#[cfg(nearfield_model)]
pub mod model;

#[cfg(nearfield_model)]
pub(crate) use model::{
    Guard, Mutex, MutexGuard, RandomState, RwLock, RwLockReadGuard, RwLockWriteGuard, is_planted,
    pause, pin, step,
};

#[cfg(not(nearfield_model))]
mod real {
    pub(crate) use std::hash::RandomState;
    #[cfg(not(target_family = "wasm"))]
    pub(crate) use std::thread::sleep as pause;

    pub(crate) use crossbeam::epoch::{Guard, pin};
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

    /// Returns at once: the caller is the only thread.
    #[cfg(target_family = "wasm")]
    pub(crate) const fn pause(_time: std::time::Duration) {}

    /// Marks a schedule point: another thread may run here.
    #[inline(always)]
    pub(crate) const fn step() {}

    /// Returns whether `_fault`, which a model is to find, is planted.
    #[inline(always)]
    pub(crate) const fn is_planted(_fault: super::Fault) -> bool {
        false
    }
}

#[cfg(not(nearfield_model))]
pub(crate) use real::*;

/// Mistakes that models must find, because a model that misses them proves nothing. Models alone plant them, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(unreachable_pub, reason = "models name it, and nobody else")]
pub enum Fault {
    /// A column counts a row before the row is written.
    CountedEarly,
    /// Searches start from a node before it has links.
    EntryEarly,
    /// The links back to a node are written before the node's own links.
    LinkedBackEarly,
    /// A full row is empty for a moment before it is rewritten.
    Emptied,
    /// Links of the tree are pruned like others.
    TreePruned,
    /// A link is added to a row without its lock.
    Unlocked,
    /// A slot is vacant as soon as no link refers to it, although a guard may still be pinned.
    VacantEarly,
    /// A sweep removes no link.
    Unswept,
    /// The old vector of a replaced key is not noted for running searches.
    ReplacedUnnoted,
    /// The keys of replaced vectors are looked up in an earlier view of the keys.
    ViewedEarly,
}
