//! Ending a search early: by a deadline, or by another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Instant;
use crate::graph::Watch;

/// Ends searches that run on other threads.
///
/// Clones are handles to the same flag: keep one, pass another to
/// [`Search::cancel`](crate::Search::cancel). A search reads the flag every few microseconds, and then
/// returns the hits found by then, marked as not complete.
///
/// ```
/// use nearfield::{CancelToken, Flat, Metric};
///
/// let index = Flat::builder(1, Metric::L2).build()?;
/// index.insert(1, &[0.0])?;
/// let cancel = CancelToken::new();
/// let hits = index.search(&[0.0]).cancel(&cancel).run()?;
/// assert!(hits.is_complete());
/// cancel.cancel();
/// let hits = index.search(&[0.0]).cancel(&cancel).run()?;
/// assert!(!hits.is_complete());
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    flag: Arc<AtomicBool>,
}

impl CancelToken {
    /// Creates a flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all searches that have a handle to this flag, also those that have not begun. For good.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

/// Conditions that end a search.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::index) struct Limit<'a> {
    pub(in crate::index) until: Option<Instant>,
    pub(in crate::index) cancel: Option<&'a CancelToken>,
    /// Cancelled if the filter failed.
    pub(in crate::index) failed: Option<&'a CancelToken>,
}

impl Limit<'_> {
    pub(in crate::index) fn is_none(&self) -> bool {
        self.until.is_none() && self.cancel.is_none() && self.failed.is_none()
    }

    /// Returns whether work that takes up to `time` cannot meet a condition.
    pub(in crate::index) fn is_beyond(&self, time: Duration) -> bool {
        let is_far = |until: Instant| until.saturating_duration_since(Instant::now()) > time;
        self.cancel.is_none() && self.failed.is_none() && self.until.is_none_or(is_far)
    }

    /// Returns whether it is time to end, if each of `answers` takes the time `each`.
    fn is_reached(&self, each: Duration, answers: usize) -> bool {
        let ahead = each * u32::try_from(answers).unwrap_or(u32::MAX);
        self.cancel.is_some_and(CancelToken::is_cancelled)
            || self.failed.is_some_and(CancelToken::is_cancelled)
            || self
                .until
                .is_some_and(|until| until.saturating_duration_since(Instant::now()) <= ahead)
    }
}

/// Bytes read or moved between two readings of the clock: some microseconds of work.
const STRIDE: usize = 1 << 16;

/// Nanoseconds that must be left for each wanted answer, to sort it and look up its
/// key; and half of it for each that is measured again, besides reading it.
const DELIVERY: u64 = 60;

/// Bytes of a vector that are read in a nanosecond, from anywhere in memory.
const READ: u64 = 8;

/// A [`Limit`] in use.
#[derive(Debug)]
pub(in crate::index) struct Timer<'a> {
    limit: Limit<'a>,
    /// Answers wanted.
    k: usize,
    /// Time that must be left for each answer.
    delivery: Duration,
    /// Distances until the clock is read next.
    left: isize,
    stride: isize,
    /// Distances before the clock was read last.
    spent: usize,
    expired: bool,
}

impl<'a> Timer<'a> {
    /// Starts a timer for a search for `k` answers in which a distance costs as long as reading `bytes`
    /// bytes.
    pub(in crate::index) fn new(limit: Limit<'a>, k: usize, bytes: usize) -> Self {
        let stride = if limit.is_none() {
            isize::MAX
        } else {
            (STRIDE / bytes.max(1)).clamp(1, 1024) as isize
        };
        let delivery = Duration::from_nanos(DELIVERY);
        let mut timer = Self { limit, k, delivery, left: stride, stride, spent: 0, expired: false };
        if !limit.is_none() {
            timer.look();
        }
        timer
    }

    /// Leaves time for measuring `2 * k` candidates again, by vectors of `bytes` bytes.
    pub(in crate::index) fn leave_for_vectors(&mut self, bytes: usize) {
        self.delivery += Duration::from_nanos(DELIVERY + 2 * bytes as u64 / READ);
    }

    /// Returns whether the time left only suffices to sort `found` candidates.
    pub(in crate::index) fn is_late(&mut self, found: usize) -> bool {
        let late = self.limit.is_reached(Duration::from_nanos(DELIVERY), found);
        self.expired |= late;
        late
    }

    /// Returns whether the search is over.
    #[inline(always)]
    pub(in crate::index) fn expired(&self) -> bool {
        self.expired
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self) -> bool {
        self.spent = self.spent.saturating_add_signed(self.stride.saturating_sub(self.left));
        self.left = self.stride;
        // The search can deliver only vectors that it met.
        let reached = self.limit.is_reached(self.delivery, self.spent.min(self.k));
        self.expired = self.expired || reached;
        if self.expired {
            // Every later call reads the clock.
            self.left = -1;
            self.stride = -1;
        }
        self.expired
    }
}

impl Watch for Timer<'_> {
    #[inline(always)]
    fn spent(&mut self, distances: usize) -> bool {
        self.left = self.left.saturating_sub_unsigned(distances);
        self.left < 0 && self.look()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_time_never_ends() {
        let mut timer = Timer::new(Limit::default(), 10, 64);
        for distances in [0, 1, 1 << 40, usize::MAX, usize::MAX] {
            assert!(!timer.spent(distances) && !timer.expired() && !timer.is_late(1000));
        }
    }

    #[test]
    fn a_token_ends_it_at_the_next_look_and_for_good() {
        let cancel = CancelToken::new();
        let limit = Limit { cancel: Some(&cancel), ..Limit::default() };
        let mut timer = Timer::new(limit, 10, 1 << 10);
        assert!(!timer.spent(1000));
        cancel.cancel();
        // 64 KiB are 64 rows.
        let looked = (0..100).position(|_| timer.spent(1));
        assert!(looked.is_some_and(|at| at <= 64), "{looked:?}");
        assert!(timer.expired() && timer.spent(0) && timer.spent(1) && timer.is_late(0));
        assert!(Timer::new(limit, 10, 64).expired());
    }

    #[test]
    fn time_is_left_for_what_was_found() {
        let until = Some(Instant::now() + Duration::from_hours(1));
        let limit = Limit { until, ..Limit::default() };
        // An hour holds 6e10 answers at 60 ns each.
        let mut timer = Timer::new(limit, usize::MAX, 64);
        assert!(!timer.spent(1_000_000) && !timer.is_late(1_000_000));
        timer.leave_for_vectors(1 << 30);
        assert!(timer.spent(1_000_000) && !timer.is_late(1_000_000));
        let mut few = Timer::new(limit, 10, 64);
        few.leave_for_vectors(1 << 30);
        assert!(!few.spent(1_000_000));
    }
}
