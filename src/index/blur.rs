//! Whether codes tell near vectors apart, as seen from some of the vectors.
//!
//! Codes are fitted to all vectors at once. Where these lie in clusters much narrower than the whole, those of a cluster
//! have nearly the same code: rows chosen by codes hold any of them and not the nearest, and no walk finds its way there. So
//! the first rows are chosen by the vectors; then some vectors are searched for, and now and then more. Where codes blur
//! the surroundings of none, they choose the next rows; where they blur some, the vectors do; where
//! they blur most, walks read the vectors, too.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::codes::Codes;
use super::hnsw::Hnsw;
use super::limit::{Limit, Timer};
use super::quantized::ENOUGH;
use super::scatter::scattered;
use super::work::Work;
use crate::arena::pin;
use crate::graph::Beam;
use crate::vector::Block;

/// Vectors that are searched for before anything is said.
const LOOKS: u32 = 32;

/// So many with blurred surroundings among them make the vectors choose the rows, and so many the walks read them. On real
/// vectors (photographs, words, sentences) with scalar codes it is none, or rarely one; with 1 bit up to seven.
const SOME: u32 = LOOKS / 8;
const MOST: u32 = LOOKS / 2;

/// Changes of the index from one look to the next, at first or where something was blurred, and after so many.
const OFTEN: u64 = 8;
const SELDOM: u64 = 64;
const FIRST: u64 = 2048;

/// Without so many vectors there is no near and far.
const LEAST: usize = 256;

/// Half of the vectors searched for are among so many that came last.
const RECENT: u32 = 2048;

/// The nearest whose distances are compared, among as many found.
const NEAREST: usize = 5;
const FOUND: usize = 64;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Blur {
    /// Changes of the index since it is in memory.
    changes: AtomicU64,
    changing: Window,
    searching: Window,
    /// Whether searches have looked around enough.
    is_searched: AtomicBool,
    /// Whether walks should read the vectors.
    is_everywhere: AtomicBool,
    /// Whether vectors choose rows for it.
    is_somewhere: AtomicBool,
    /// Whether codes choose rows.
    is_trusted: AtomicBool,
}

/// Looks, those of changes apart from those of searches: where a batch is to give the same index whatever goes on beside it,
/// changes look at the same vectors.
#[derive(Debug, Default)]
struct Window {
    /// All of them.
    looks: AtomicU32,
    /// The last few: how many, and how many blurred ones above.
    last: AtomicU32,
}

impl Window {
    /// Counts a look; if these are enough, how many are blurred.
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
    /// Of codes that an index has already: until something is seen, they are used as before.
    pub(super) fn unseen(codes_are_fine: bool) -> Self {
        Self { is_trusted: AtomicBool::new(codes_are_fine), ..Self::default() }
    }

    /// Takes over what was seen in another index. Nobody uses this one yet.
    pub(super) fn absorb(&self, other: &Self) {
        self.is_everywhere.fetch_or(other.is_everywhere(), Ordering::Relaxed);
        if other.is_somewhere() {
            self.is_somewhere.store(true, Ordering::Relaxed);
            self.is_trusted.store(false, Ordering::Relaxed);
        }
    }

    /// Whether walks should not read the codes.
    #[inline]
    pub(super) fn is_everywhere(&self) -> bool {
        self.is_everywhere.load(Ordering::Relaxed)
    }

    /// Whether the codes may choose rows.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted.load(Ordering::Relaxed)
    }

    fn is_somewhere(&self) -> bool {
        self.is_somewhere.load(Ordering::Relaxed)
    }

    /// Whether there is nothing more to be seen.
    fn is_settled(&self) -> bool {
        self.is_everywhere() && self.is_somewhere() && !self.is_trusted()
    }
}

impl Hnsw {
    /// After a change of an index with codes: looks around if it is time, and draws the conclusions.
    pub(super) fn mind_blur(&self, codes: &Codes, work: &mut Work) {
        let blur = &codes.blur;
        let changes = blur.changes.fetch_add(1, Ordering::Relaxed);
        let len = self.entries.keys.len();
        if len < LEAST || blur.is_settled() || !self.entries.refines(codes) {
            return;
        }
        // Without a batch, codes come when as many are there.
        let may_start = codes.coder.is_fine() && !blur.is_somewhere() && len >= ENOUGH;
        let waits = may_start && !blur.is_trusted();
        let mut trusted = blur.is_trusted() && !blur.is_somewhere();
        // Until it is known, rows are chosen by what may be blurred.
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
            // Nobody is between two distances of a row: all go on with the same. Another thread may have seen more.
            let _alone = self.inserting.write();
            let trusted = trusted && !blur.is_somewhere();
            if blur.is_trusted.swap(trusted, Ordering::Relaxed) != trusted {
                self.graph.forget_distances();
            }
        }
    }

    /// After a search whose codes were blurred, with the query in `work.row`: whether this is so elsewhere. An index
    /// from a file is perhaps never changed.
    pub(super) fn search_was_blurred(&self, codes: &Codes, work: &mut Work) {
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

    /// Searches for some vector; whether the codes do not tell what is around it apart.
    fn look_around(&self, codes: &Codes, window: &Window, work: &mut Work) -> Option<bool> {
        let _pin = pin();
        let len = codes.rows.view().len();
        let look = window.looks.fetch_add(1, Ordering::Relaxed);
        let among = if look.is_multiple_of(2) { len } else { len.min(RECENT) };
        let slot = len.checked_sub(1 + scattered(look, among))?;
        // What is hidden may be being written.
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

    /// Whether the vector of a slot, which was searched for, is nearer than others that were found in its place.
    fn is_missed(&self, codes: &Codes, slot: u32, work: &Work) -> bool {
        let Some(&(farthest, _)) = work.head.sorted.get(NEAREST - 1) else { return false };
        let is_found = work.head.sorted[..NEAREST].iter().any(|&(_, found)| found == slot);
        !is_found && self.measured_key(codes, slot, work).is_some_and(|key| key < farthest)
    }
}
