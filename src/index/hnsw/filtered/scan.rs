//! Scans under a filter: of the accepted vectors, or of all in the order of distance.

use super::FilteredSearch;
use crate::index::codes::representation::Representation;
use crate::index::codes::rerank::Exact;
use crate::index::entries::cost::measuring;
use crate::index::hnsw::Hnsw;
use crate::index::query::hits::{Hits, SearchPlan};
use crate::index::scratch::Work;

/// Returns the number of accepted vectors, the nearest by their codes, among which the nearest `k` are looked for.
fn kept(k: usize) -> usize {
    k.saturating_mul(4).saturating_add(32)
}

impl Hnsw {
    /// Returns the units that a scan of this number of accepted vectors costs: by the vectors, or by codes whose nearest are measured again.
    pub(super) fn accepted_cost(&self, k: usize, accepted: f64) -> f64 {
        let exact = accepted * self.scan_measure();
        exact.min(self.coded_cost(self.entries.walked(), k, accepted).unwrap_or(exact))
    }

    /// Returns the units that a scan by codes costs, if `form` has fine codes beside more exact data. The errors of others would reach beyond
    /// the nearest by the codes.
    fn coded_cost(&self, form: Representation<'_>, k: usize, accepted: f64) -> Option<f64> {
        self.entries.refined(form).filter(|codes| codes.coder.is_fine())?;
        let again = accepted.min(kept(k) as f64);
        Some(accepted * measuring(form.row_bytes()) + again * self.scan_measure())
    }
}

impl FilteredSearch<'_, '_> {
    /// Scans: all vectors in the order of distance, or the accepted ones, whichever asks less.
    pub(super) fn scan(&mut self, form: Representation<'_>, hits: &mut Hits) {
        // In the order of distance, it measures the rejected vectors too, and asks about few.
        let measures_more = self.index.scan_measure() * (1.0 - self.share);
        let is_in_order = self.ask > measures_more || self.request.screen.only_excluded().is_some();
        if !is_in_order && self.scan_codes(form, hits) {
            return;
        }
        let Self { index, request, timer, work, .. } = self;
        let exact = index.entries.exact_beside(form);
        if is_in_order {
            index.entries.scan_in_order(exact, request, timer, work, hits);
        } else {
            index.entries.scan_accepted(exact, request, timer, work, hits);
        }
    }

    /// Scans the accepted vectors by their codes, and measures the nearest again. Returns `false` if that does not pay, or if the errors of
    /// the codes may have put others of the nearest behind these.
    fn scan_codes(&mut self, form: Representation<'_>, hits: &mut Hits) -> bool {
        let Self { index, request, timer, work, share, .. } = self;
        let (k, accepted) = (request.k, *share * index.len() as f64);
        let cost = index.coded_cost(form, k, accepted);
        // The order of distances by codes is not that of a radius.
        let pays = request.radius.is_none()
            && cost.is_some_and(|cost| cost < accepted * index.scan_measure());
        let Some(codes) = form.codes.filter(|_| pays && k > 0) else { return false };
        let kept = kept(k);
        let measured = index.entries.nearest_accepted(form, request, kept, timer, work);
        let Work { ranked, row, coding, head, .. } = &mut **work;
        let is_whole = ranked.len() < kept;
        let last = ranked.last().map(|&(order, _)| codes.distance(order));
        let exact = index.entries.exact_beside(form);
        let query = exact.prepare(&index.entries.encoder, row, coding);
        let mut found = ranked.iter().map(|&(order, slot)| (codes.distance(order), slot));
        head.measure(Exact { form: exact, query }, &mut found, k, codes.coder.is_fine(), timer);
        let is_short = !is_whole && last.is_none_or(|last| head.may_be_nearer(last));
        if !timer.expired() && (head.is_blurred || is_short) {
            return false;
        }
        let measured = measured + head.sorted.len() as u64;
        let is_full = index.deliver_head(form, request, work, hits);
        hits.set_counters(measured, 0);
        hits.set_plan(SearchPlan::FilteredScan);
        is_full || is_whole || timer.expired()
    }
}
