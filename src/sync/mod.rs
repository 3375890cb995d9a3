//! What threads meet at: locks, epochs and schedule points.
//!
//! They are those of `parking_lot` and `crossbeam`. Under `--cfg nearfield_model` they are a model checker's
//! (shuttle's), which runs threads as coroutines, one at a time, and chooses at each [`step`] which of them goes on:
//! `tests/models/` explores schedules so. There is a step before each access of the protocol that readers without
//! locks and writers keep, and nothing is left of it in other builds.

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
    pub(crate) use std::thread::sleep as pause;

    pub(crate) use crossbeam::epoch::{Guard, pin};
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

    /// Where another thread may come in between.
    #[inline(always)]
    pub(crate) const fn step() {}

    /// Whether a fault is planted here, which a model is to find.
    #[inline(always)]
    pub(crate) const fn is_planted(_fault: super::Fault) -> bool {
        false
    }
}

#[cfg(not(nearfield_model))]
pub(crate) use real::*;

/// Mistakes that models must find, or they would prove nothing: planted one at a time, in models only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(unreachable_pub, reason = "models name it, and nobody else")]
pub enum Fault {
    /// A column counts a row before it is written.
    CountedEarly,
    /// Searches start from a node before it has links.
    EntryEarly,
    /// The links back to a node are written before its own.
    LinkedBackEarly,
    /// A full row is empty for a moment before it is written anew.
    Emptied,
    /// Links of the tree are pruned like others.
    TreePruned,
    /// A link is added to a row without its lock.
    Unlocked,
    /// A slot is vacant as soon as no way leads to it, whoever is still there.
    VacantEarly,
    /// Sweeping takes no link out.
    Unswept,
    /// The old vector of a key that was replaced is not noted for those who search.
    ReplacedUnnoted,
    /// The keys of replaced vectors are looked up among those that were there before.
    ViewedEarly,
}
