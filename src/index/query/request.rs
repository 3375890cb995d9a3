//! Parameters of a search, as the index uses them.

use super::budget::Limit;
use super::filter::Screen;
use super::hits::{Hits, SearchPlan};

/// Parameters of a search, the same for every query.
#[derive(Clone, Copy)]
pub(in crate::index) struct Request<'a> {
    /// Maximum number of answers.
    pub(in crate::index) k: usize,
    pub(in crate::index) ef: usize,
    /// Lists to read; `None` if the index chooses.
    pub(in crate::index) nprobe: Option<usize>,
    pub(in crate::index) screen: Screen<'a>,
    /// Maximum distance of an answer.
    pub(in crate::index) radius: Option<f32>,
    /// Whether all answers within the radius are wanted, or more than one search finds at once: rounds find them sooner.
    pub(in crate::index) takes_rounds: bool,
    pub(in crate::index) limit: Limit<'a>,
    /// When the search began, as a moment of replacements.
    pub(in crate::index) began: u64,
}

/// Answers within a radius that the first round searches for, if all of them are wanted.
const FIRST_ROUND: usize = 64;

/// Factor by which the next round searches for more answers.
const GROWTH: usize = 4;

impl Request<'_> {
    /// Runs the rounds, each a search for more answers, until `find` finds fewer than it searched for.
    pub(in crate::index) fn rounds(
        &self,
        hits: &mut Hits,
        mut find: impl FnMut(&Request<'_>, &mut Hits),
    ) {
        let (mut distances, mut hops) = (0, 0);
        let mut k = FIRST_ROUND.min(self.k);
        loop {
            // The last answers would have lower recall than the first if `ef` did not exceed `k`.
            find(&Request { k, ef: k.saturating_add(self.ef), ..*self }, hits);
            distances += hits.distances_computed();
            hops += hits.hops();
            if hits.len() < k || k == self.k || !hits.is_complete() {
                break;
            }
            let scanned = matches!(hits.plan(), SearchPlan::Scan | SearchPlan::FilteredScan);
            k = if scanned { self.k } else { k.saturating_mul(GROWTH).min(self.k) };
        }
        hits.set_counters(distances, hops);
    }
}
