//! Detects whether codes distinguish near vectors, by probes: searches for some of the vectors.
//!
//! Codes are fitted to all vectors at once. If the vectors lie in clusters much narrower than the whole, the vectors of
//! a cluster have nearly the same code: rows chosen by codes link arbitrary vectors of the cluster instead of the
//! nearest, and no walk finds the nearest. So the vectors choose the first rows; then the index probes some vectors, and
//! now and then more. If codes blur the surroundings of no probed vector, codes choose the next rows. If they blur some,
//! the vectors choose the rows. If they blur most, walks read the vectors, too.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::Hnsw;
use crate::arena::pin;
use crate::graph::Beam;
use crate::index::codes::Codes;
use crate::index::codes::fitting::ENOUGH;
use crate::index::query::budget::{Limit, Timer};
use crate::index::sampling::scattered;
use crate::index::scratch::Work;
use crate::vector::Block;

/// Number of probes before a conclusion.
const LOOKS: u32 = 32;

/// Of these probes, `SOME` blurred ones make the vectors choose the rows, and `MOST` blurred ones make walks read the
/// vectors. On real vectors (photographs, words, sentences), scalar codes blur no probe, or rarely one; 1-bit codes blur
/// up to seven.
const SOME: u32 = LOOKS / 8;
const MOST: u32 = LOOKS / 2;

/// Probe interval in index changes: `OFTEN` for the first `FIRST` changes and while a recent probe was blurred, `SELDOM`
/// afterwards.
const OFTEN: u64 = 8;
const SELDOM: u64 = 64;
const FIRST: u64 = 2048;

/// Minimum number of vectors for a probe, because fewer have no near and far.
const LEAST: usize = 256;

/// Half of the probes search for one of the `RECENT` newest vectors.
const RECENT: u32 = 2048;

/// A probe compares the distances of the `NEAREST` nearest of `FOUND` candidates.
const NEAREST: usize = 5;
const FOUND: usize = 64;

/// Results of the probes.
#[derive(Debug, Default)]
pub(in crate::index) struct Blur {
    /// Changes of the index since it is in memory.
    changes: AtomicU64,
    changing: Window,
    searching: Window,
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
struct Window {
    /// Number of all probes.
    looks: AtomicU32,
    /// Recent probes: their number in the low half, the number of blurred ones in the high half.
    last: AtomicU32,
}

impl Window {
    /// Counts a probe. Returns the number of blurred probes if the recent ones are enough.
    fn add(&self, is_blurred: bool) -> Option<u32> {
        let one = 1 + (u32::from(is_blurred) << 16);
        let counted = self.last.fetch_add(one, Ordering::Relaxed) + one;
        (counted & 0xffff == LOOKS).then(|| self.last.swap(0, Ordering::Relaxed) >> 16)
    }

    fn has_blurred(&self) -> bool {
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

    fn is_somewhere(&self) -> bool {
        self.is_somewhere.load(Ordering::Relaxed)
    }

    /// Returns whether further probes cannot change the result.
    fn is_settled(&self) -> bool {
        self.is_everywhere() && self.is_somewhere() && !self.is_trusted()
    }
}

impl Hnsw {
    /// Probes if it is time, after a change of an index with codes, and draws the conclusions.
    pub(in crate::index) fn mind_blur(&self, codes: &Codes, work: &mut Work) {
        let blur = &codes.blur;
        let changes = blur.changes.fetch_add(1, Ordering::Relaxed);
        let len = self.entries.keys.len();
        if len < LEAST || blur.is_settled() || !self.entries.refines(codes) {
            return;
        }
        // Without a batch, the index gets codes at this number of vectors.
        let may_start = codes.coder.is_fine() && !blur.is_somewhere() && len >= ENOUGH;
        let waits = may_start && !blur.is_trusted();
        let mut trusted = blur.is_trusted() && !blur.is_somewhere();
        // Until the result is known, codes that may be blurred choose the rows.
        let hurries = changes < FIRST || trusted && blur.changing.has_blurred();
        if waits || changes.is_multiple_of(if hurries { OFTEN } else { SELDOM }) {
            let _shared = self.inserting.read();
            if let Some(is_blurred) = self.look_around(codes, &blur.changing, work)
                && let Some(count) = blur.changing.add(is_blurred)
            {
                blur.is_everywhere.fetch_or(count >= MOST, Ordering::Relaxed);
                blur.is_somewhere.fetch_or(count >= SOME, Ordering::Relaxed);
                trusted = count < SOME && (may_start || trusted);
            }
        }
        if trusted != blur.is_trusted() {
            // The exclusive lock excludes threads between two distances of one row, which must be of one kind. Another
            // thread may have seen more blurred probes.
            let _alone = self.inserting.write();
            let trusted = trusted && !blur.is_somewhere();
            if blur.is_trusted.swap(trusted, Ordering::Relaxed) != trusted {
                self.graph.forget_distances();
            }
        }
    }

    /// Probes whether the codes blur other surroundings, too, after a search whose codes were blurred, with the query in
    /// `work.row`. An index from a file may never be changed.
    pub(in crate::index) fn search_was_blurred(&self, codes: &Codes, work: &mut Work) {
        let blur = &codes.blur;
        if blur.is_searched.load(Ordering::Relaxed) {
            return;
        }
        let counters = work.scratch.counters;
        std::mem::swap(&mut work.row, &mut work.leaving);
        if let Some(is_blurred) = self.look_around(codes, &blur.searching, work)
            && let Some(count) = blur.searching.add(is_blurred)
        {
            blur.is_everywhere.fetch_or(count >= MOST, Ordering::Relaxed);
            blur.is_searched.store(true, Ordering::Relaxed);
        }
        std::mem::swap(&mut work.row, &mut work.leaving);
        work.scratch.counters = counters;
    }

    /// Searches for a vector of the index. Returns whether the codes blur its surroundings, or `None` if the probe
    /// failed.
    fn look_around(&self, codes: &Codes, window: &Window, work: &mut Work) -> Option<bool> {
        let _pin = pin();
        let len = codes.rows.view().len();
        let look = window.looks.fetch_add(1, Ordering::Relaxed);
        let among = if look.is_multiple_of(2) { len } else { len.min(RECENT) };
        let slot = len.checked_sub(1 + scattered(look, among))?;
        // The row of a hidden slot may be incomplete.
        if self.entries.slots.is_hidden(slot) {
            return None;
        }
        work.row.resize(self.entries.encoder.blocks(), Block::ZERO);
        if !self.entries.row_into(slot, &mut work.row, &mut work.coding.floats) {
            return None;
        }
        let timer = &mut Timer::new(Limit::default(), NEAREST, 0);
        self.walk_on(Some(codes), Beam::of(codes.coder.widened(FOUND)), timer, work).ok()?;
        self.measure_head(codes, NEAREST, |_| true, timer, work);
        Some(work.head.is_blurred || self.is_missed(codes, slot, work))
    }

    /// Returns whether the vector of `slot`, which was searched for, is nearer than others that were found in its place.
    fn is_missed(&self, codes: &Codes, slot: u32, work: &Work) -> bool {
        let Some(&(farthest, _)) = work.head.sorted.get(NEAREST - 1) else { return false };
        let is_found = work.head.sorted[..NEAREST].iter().any(|&(_, found)| found == slot);
        !is_found && self.measured_key(codes, slot, work).is_some_and(|key| key < farthest)
    }
}
