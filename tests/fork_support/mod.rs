//! Forked children of a test, which end even if they hang.
#![allow(dead_code, reason = "each test program uses a part")]

/// Seconds after which a child has hung.
const PATIENCE: u32 = 120;

/// A forked child.
pub(crate) struct Forked(libc::pid_t);

impl Forked {
    /// Runs `f` in a forked child, beside this process.
    pub(crate) fn start(f: impl FnOnce() -> bool) -> Self {
        // SAFETY: the child calls `f` and ends without unwinding or running the exit handlers of the parent. Locks of other threads
        // that it may need are those of the allocator, which the C library takes care of.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: no handler is installed, so the signal ends the child.
                unsafe { libc::alarm(PATIENCE) };
                let is_right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(i32::from(!is_right.unwrap_or(false))) }
            }
            child => {
                assert!(child > 0);
                Self(child)
            }
        }
    }

    /// Waits for the child. Returns whether its function returned `true` in time.
    pub(crate) fn ends_well(self) -> bool {
        let mut status = 0;
        // SAFETY: waits for the child, for which nothing else waits.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        status == 0
    }
}

/// Runs `f` in a forked child, and returns whether it returned `true` in time.
pub(crate) fn in_child(f: impl FnOnce() -> bool) -> bool {
    Forked::start(f).ends_well()
}
