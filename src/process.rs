//! Tells the process that opened a file from the copies of it that `fork` makes.
//!
//! A forked child inherits open files, their locks and all memory. If it wrote, it would write over its parent's
//! commits, and no lock would stop it. So each writer remembers the process that opened the file.
#![cfg_attr(
    all(target_os = "linux", not(miri)),
    expect(unsafe_code, reason = "a page that the kernel clears in a forked child")
)]

use std::io;

use crate::guard::{Guard, is_off};

/// The identity of a process. A forked child differs from its parent. Process numbers do not distinguish them: in separate
/// namespaces, a parent and its child can both be process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    /// Returns the calling process. Costs a read of memory on Linux and a system call elsewhere.
    pub(crate) fn current() -> Self {
        Self(token::current())
    }

    /// Returns a number that no other process of a family of forks has; neither 0 nor the greatest.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Returns whether the caller runs in this process and not in a forked child of it.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current() || is_off(Guard::Fork)
    }

    /// Refuses a caller in a forked child, which has copies of this process's objects and shares its files and their locks.
    pub(crate) fn admit(self) -> Result<(), Forked> {
        if self.is_current() { Ok(()) } else { Err(Forked) }
    }
}

/// Returns the number that the system gave the process.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn id() -> u32 {
    std::process::id()
}

/// A module of WebAssembly has no number, and does not fork.
#[cfg(target_family = "wasm")]
pub(crate) const fn id() -> u32 {
    1
}

/// The caller is a forked child, and the object is its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forked;

impl From<Forked> for io::Error {
    fn from(_: Forked) -> Self {
        io::ErrorKind::PermissionDenied.into()
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod token {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use memmap2::MmapMut;

    /// Bytes requested: the system rounds up to a page.
    const LEN: usize = 8;

    /// A page that reads as zero in a forked child, until the child writes its own token.
    struct Page {
        /// Keeps the page mapped.
        _map: MmapMut,
        token: *const AtomicU64,
    }

    // SAFETY: `token`, which points to an atomic, is the only access to the page.
    unsafe impl Send for Page {}
    // SAFETY: as above.
    unsafe impl Sync for Page {}

    impl Page {
        /// Returns `None` if the kernel cannot clear pages in a child (before Linux 4.14).
        fn new() -> Option<Self> {
            let mut map = MmapMut::map_anon(LEN).ok()?;
            let at = map.as_mut_ptr();
            // SAFETY: the range is a private anonymous map of this process, which the advice is for.
            let refused = unsafe { libc::madvise(at.cast(), LEN, libc::MADV_WIPEONFORK) };
            if refused != 0 {
                return None;
            }
            Some(Self { token: at.cast_const().cast(), _map: map })
        }

        fn token(&self) -> u64 {
            /// Inherited by children: a token that a child takes is greater than its parent's.
            static NEXT: AtomicU64 = AtomicU64::new(1);

            // SAFETY: the pointer is to the first bytes of a page that lives as long as `self`, aligned as pages are;
            // every access is atomic.
            let cell = unsafe { &*self.token };
            let seen = cell.load(Ordering::Relaxed);
            if seen != 0 {
                return seen;
            }
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            match cell.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => new,
                Err(other) => other,
            }
        }
    }

    pub(super) fn current() -> u64 {
        static PAGE: OnceLock<Option<Page>> = OnceLock::new();
        match PAGE.get_or_init(Page::new) {
            Some(page) => page.token(),
            None => u64::from(super::id()),
        }
    }
}

#[cfg(any(not(target_os = "linux"), miri))]
mod token {
    pub(super) fn current() -> u64 {
        u64::from(super::id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_the_same_on_every_thread() {
        let here = Process::current();
        assert_eq!((here.is_current(), here.admit()), (true, Ok(())));
        let there = std::thread::spawn(Process::current).join().unwrap();
        assert_eq!(here, there);
    }
}
