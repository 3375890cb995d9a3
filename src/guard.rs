//! Guards of the design that tests turn off, one by one, to see that each is missed.
//!
//! Without `--cfg nearfield_guards` all of them are on, and this module compiles to nothing.

/// A guard that keeps several users of one file apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The lock of the writer excludes another writer.
    WriterLock,
    /// A file that is open for writing is not replaced.
    ReplaceLock,
    /// A reader locks the checkpoint that it reads.
    ReaderLock,
    /// The writer looks for readers before it reuses pages.
    FindReaders,
    /// The library refuses a call from a forked child.
    Fork,
    /// Compaction leaves extents that a snapshot holds in place, and a view recognises extents by their places. Either is enough, so both go off.
    Layout,
}

/// Returns whether the guard is off.
#[cfg(not(nearfield_guards))]
#[inline(always)]
pub(crate) const fn is_off(_: Guard) -> bool {
    false
}

#[cfg(nearfield_guards)]
pub(crate) fn is_off(guard: Guard) -> bool {
    std::env::var(GUARD_VARIABLE).is_ok_and(|name| name == format!("{guard:?}"))
}

/// The variable that names the guard that is off.
#[cfg(nearfield_guards)]
pub const GUARD_VARIABLE: &str = "NEARFIELD_GUARD_OFF";

/// The names of all guards.
#[cfg(nearfield_guards)]
pub const GUARDS: [&str; 6] =
    ["WriterLock", "ReplaceLock", "ReaderLock", "FindReaders", "Fork", "Layout"];
