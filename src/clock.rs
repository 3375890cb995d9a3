//! The clock of time limits and reports.
//!
//! It is the standard library's, except on `wasm32-unknown-unknown`, where that one panics: there the program sets a clock, and without
//! one no time passes.

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(crate) use std::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use program::{Instant, set};

/// Returns the time since the beginning of 1970, or zero if the system has no calendar.
pub(crate) fn since_1970() -> Duration {
    if cfg!(all(target_family = "wasm", target_os = "unknown")) {
        return Duration::ZERO;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns whether time passes.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(crate) const fn is_set() -> bool {
    true
}

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub(crate) use program::is_set;

/// The clock that the program sets.
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod program {
    use std::ops::{Add, Sub};
    use std::sync::OnceLock;
    use std::time::Duration;

    static CLOCK: OnceLock<fn() -> Duration> = OnceLock::new();

    /// Sets the function that tells the time since any fixed moment, `performance.now()` of a browser for example. Returns whether it
    /// was set: the first call counts. Without a clock, searches refuse a `timeout`, and times in reports are zero.
    pub fn set(now: fn() -> Duration) -> bool {
        CLOCK.set(now).is_ok()
    }

    pub(crate) fn is_set() -> bool {
        CLOCK.get().is_some()
    }

    /// A moment of the clock that [`set`] was given, in place of [`std::time::Instant`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Instant(Duration);

    impl Instant {
        /// Returns the present moment.
        pub fn now() -> Self {
            Self(CLOCK.get().map_or(Duration::ZERO, |now| now()))
        }

        /// Returns the time since this moment.
        pub fn elapsed(self) -> Duration {
            Self::now().saturating_duration_since(self)
        }

        /// Returns the time from `earlier` to this moment, or zero if this one is the earlier.
        pub fn saturating_duration_since(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }

        /// Returns the moment after `time`. Returns `None` beyond the end of time.
        pub fn checked_add(self, time: Duration) -> Option<Self> {
            self.0.checked_add(time).map(Self)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, time: Duration) -> Self {
            Self(self.0.saturating_add(time))
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, earlier: Self) -> Duration {
            self.saturating_duration_since(earlier)
        }
    }
}
