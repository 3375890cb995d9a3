//! Probes: searches for some of the vectors, which show whether codes distinguish near vectors.

use super::Hnsw;
use super::walks::Walk;
use crate::arena::{Slot, pin};
use crate::graph::Beam;
use crate::index::codes::Codes;
use crate::index::codes::blur::Window;
use crate::index::codes::fitting::ENOUGH;
use crate::index::codes::representation::Representation;
use crate::index::query::budget::{Limit, Timer};
use crate::index::sampling::scattered;
use crate::index::scratch::Work;
use crate::vector::Block;

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

impl Hnsw {
    /// Probes if it is time, after a change of an index with codes, and draws the conclusions.
    pub(in crate::index) fn mind_blur(&self, codes: &Codes, work: &mut Work) {
        let blur = &codes.blur;
        let changes = blur.count_change();
        let len = self.entries.keys.len();
        if len < LEAST || blur.is_settled() || !self.entries.refines(codes) {
            return;
        }
        // Without a batch, the index gets codes at this number of vectors.
        // Codes that may be far off choose no rows until another quantizer was tried.
        let is_lost = codes.fit.is_lost();
        let may_start = codes.coder.is_fine() && !blur.is_somewhere() && len >= ENOUGH && !is_lost;
        let waits = may_start && !blur.is_trusted();
        let mut trusted = blur.is_trusted() && !blur.is_somewhere() && !is_lost;
        // Until the result is known, codes that may be blurred choose the rows.
        let hurries = changes < FIRST || trusted && blur.changing.has_blurred();
        if waits || changes.is_multiple_of(if hurries { OFTEN } else { SELDOM }) {
            let _shared = self.inserting.read();
            if let Some(is_blurred) = self.look_around(codes, &blur.changing, work)
                && let Some(count) = blur.changing.add(is_blurred)
            {
                trusted = blur.conclude_changes(count) && (may_start || trusted);
            }
        }
        if trusted != blur.is_trusted() {
            // The exclusive lock excludes threads between two distances of one row, which must be of one kind. Another
            // thread may have seen more blurred probes.
            let _alone = self.inserting.write();
            if blur.set_trusted(trusted) {
                self.graph.change_measure(self.entries.measure());
            }
        }
    }

    /// Probes whether the codes blur other surroundings, too, after a search on `form` whose codes were blurred, with the query in
    /// `work.row`. An index from a file may never be changed.
    pub(in crate::index) fn search_was_blurred(&self, form: Representation<'_>, work: &mut Work) {
        let Some(codes) = form.codes else { return };
        let blur = &codes.blur;
        if blur.is_searched() {
            return;
        }
        let counters = work.scratch.counters;
        std::mem::swap(&mut work.row, &mut work.leaving);
        if let Some(is_blurred) = self.look_around(codes, &blur.searching, work)
            && let Some(count) = blur.searching.add(is_blurred)
        {
            blur.conclude_searches(count);
        }
        std::mem::swap(&mut work.row, &mut work.leaving);
        work.scratch.counters = counters;
    }

    /// Searches for a vector of the index. Returns whether the codes blur its surroundings, or `None` if the probe
    /// failed.
    fn look_around(&self, codes: &Codes, window: &Window, work: &mut Work) -> Option<bool> {
        let _pin = pin();
        let len = codes.rows.view().len();
        let look = window.next();
        let among = if look.is_multiple_of(2) { len } else { len.min(RECENT) };
        let slot = Slot::new(len.checked_sub(1 + scattered(look, among))?);
        // The row of a hidden slot may be incomplete.
        if self.entries.slots.is_hidden(slot) {
            return None;
        }
        work.row.resize(self.entries.encoder.blocks(), Block::ZERO);
        if !self.entries.row_into(slot, &mut work.row, &mut work.coding.floats) {
            return None;
        }
        let timer = &mut Timer::new(Limit::default(), NEAREST, 0);
        let form = Representation::of_codes(codes);
        let walk = Walk { form, beam: Beam::of(codes.coder.widened(FOUND)) };
        self.walk(walk, form, timer, work).ok()?;
        self.measure_head(codes, NEAREST, &|_| true, timer, work);
        Some(work.head.is_blurred || self.is_missed(codes, slot, work))
    }

    /// Returns whether the vector of `slot`, which was searched for, is nearer than others that were found in its place.
    fn is_missed(&self, codes: &Codes, slot: Slot, work: &Work) -> bool {
        let Some(&(farthest, _)) = work.head.sorted.get(NEAREST - 1) else { return false };
        let is_found = work.head.sorted[..NEAREST].iter().any(|&(_, found)| found == slot);
        !is_found && self.measured_order(codes, slot, work).is_some_and(|order| order < farthest)
    }
}
