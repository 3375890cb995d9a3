//! Whether codes distinguish near vectors, by the results of probes.
//!
//! Codes are fitted to all vectors at once. If the vectors lie in clusters much narrower than the whole, the vectors of
//! a cluster have nearly the same code: rows chosen by codes link arbitrary vectors of the cluster instead of the
//! nearest, and no walk finds the nearest. So the vectors choose the first rows; then the index probes some vectors, and
//! now and then more. If codes blur the surroundings of no probed vector, codes choose the next rows. If they blur some,
//! the vectors choose the rows. If they blur most, walks read the vectors, too.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Number of probes before a conclusion.
const LOOKS: u32 = 32;

/// Of these probes, `SOME` blurred ones make the vectors choose the rows, and `MOST` blurred ones make walks read the
/// vectors. On real vectors (photographs, words, sentences), scalar codes blur no probe, or rarely one; 1-bit codes blur
/// up to seven.
const SOME: u32 = LOOKS / 8;
const MOST: u32 = LOOKS / 2;

/// Results of the probes.
#[derive(Debug, Default)]
pub(in crate::index) struct Blur {
    /// Changes of the index since it is in memory.
    changes: AtomicU64,
    pub(in crate::index) changing: Window,
    pub(in crate::index) searching: Window,
    /// Whether searches have made enough probes.
    is_searched: AtomicBool,
    /// Whether walks should read the vectors.
    is_everywhere: AtomicBool,
    /// Whether the vectors choose rows because some probes were blurred.
    is_somewhere: AtomicBool,
    /// Whether codes choose rows.
    is_trusted: AtomicBool,
}

/// Probes of changes, or those of searches. The two are separate because a batch may have to give the same index
/// with any searches beside it: changes must then probe the same vectors.
#[derive(Debug, Default)]
pub(in crate::index) struct Window {
    /// Number of all probes.
    looks: AtomicU32,
    /// Recent probes: their number in the low half, the number of blurred ones in the high half.
    last: AtomicU32,
}

impl Window {
    /// Returns the number of probes before this one.
    pub(in crate::index) fn next(&self) -> u32 {
        self.looks.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a probe. Returns the number of blurred probes if the recent ones are enough.
    pub(in crate::index) fn add(&self, is_blurred: bool) -> Option<u32> {
        let one = 1 + (u32::from(is_blurred) << 16);
        let counted = self.last.fetch_add(one, Ordering::Relaxed) + one;
        (counted & 0xffff == LOOKS).then(|| self.last.swap(0, Ordering::Relaxed) >> 16)
    }

    pub(in crate::index) fn has_blurred(&self) -> bool {
        self.last.load(Ordering::Relaxed) >> 16 > 0
    }
}

impl Blur {
    /// Returns the state of codes that an index has already: until a probe gives a result, they are used as before.
    pub(in crate::index) fn unseen(codes_are_fine: bool) -> Self {
        Self { is_trusted: AtomicBool::new(codes_are_fine), ..Self::default() }
    }

    /// Adds the results of another index's probes. No other thread uses this state yet.
    pub(in crate::index) fn absorb(&self, other: &Self) {
        self.is_everywhere.fetch_or(other.is_everywhere(), Ordering::Relaxed);
        if other.is_somewhere() {
            self.is_somewhere.store(true, Ordering::Relaxed);
            self.is_trusted.store(false, Ordering::Relaxed);
        }
    }

    /// Returns whether walks should not read the codes.
    #[inline]
    pub(in crate::index) fn is_everywhere(&self) -> bool {
        self.is_everywhere.load(Ordering::Relaxed)
    }

    /// Returns whether the codes may choose rows.
    pub(in crate::index) fn is_trusted(&self) -> bool {
        self.is_trusted.load(Ordering::Relaxed)
    }

    /// Returns whether the vectors choose rows because some probes were blurred.
    pub(in crate::index) fn is_somewhere(&self) -> bool {
        self.is_somewhere.load(Ordering::Relaxed)
    }

    /// Returns whether further probes cannot change the result.
    pub(in crate::index) fn is_settled(&self) -> bool {
        self.is_everywhere() && self.is_somewhere() && !self.is_trusted()
    }

    /// Counts a change of the index. Returns the number of those before.
    pub(in crate::index) fn count_change(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::Relaxed)
    }

    /// Draws the conclusion of enough probes of changes, `blurred` of which were blurred. Returns whether codes may choose rows.
    pub(in crate::index) fn conclude_changes(&self, blurred: u32) -> bool {
        self.is_everywhere.fetch_or(blurred >= MOST, Ordering::Relaxed);
        self.is_somewhere.fetch_or(blurred >= SOME, Ordering::Relaxed);
        blurred < SOME
    }

    /// Sets whether the codes may choose rows; they may not if some probes were blurred. Returns whether this changes.
    pub(in crate::index) fn set_trusted(&self, trusted: bool) -> bool {
        let trusted = trusted && !self.is_somewhere();
        self.is_trusted.swap(trusted, Ordering::Relaxed) != trusted
    }

    /// Returns whether searches have made enough probes.
    pub(in crate::index) fn is_searched(&self) -> bool {
        self.is_searched.load(Ordering::Relaxed)
    }

    /// Draws the conclusion of enough probes of searches, `blurred` of which were blurred.
    pub(in crate::index) fn conclude_searches(&self, blurred: u32) {
        self.is_everywhere.fetch_or(blurred >= MOST, Ordering::Relaxed);
        self.is_searched.store(true, Ordering::Relaxed);
    }
}
