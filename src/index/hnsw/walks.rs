//! Answers of a graph index: by a walk, or by a scan of every vector if that costs less.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Hnsw;
use super::filtered::FilteredSearch;
use crate::arena::{Slot, pin};
use crate::error::IndexError;
use crate::graph::{Beam, Counters, LANES, Node};
use crate::index::codes::Codes;
use crate::index::codes::representation::Representation;
use crate::index::codes::rerank::{Exact, Reach};
use crate::index::entries::space::{Rows, found};
use crate::index::query::budget::{Limit, Timer};
use crate::index::query::hits::{BatchHits, Hits, SearchPlan};
use crate::index::query::request::Request;
use crate::index::scratch::Work;
use crate::index::search::Searchable;
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Vectors of which a scan costs as much as a candidate of a walk on them.
const TOUCHED: usize = 16;

/// Bytes of a vector from which on a scan of vectors costs as many times more than a walk on codes, at most four times: where a scan of
/// 50,000 sentences of 1,536 bytes takes 4.4 ms, a walk on codes takes as long with 6,000 candidates.
const SCANNED: usize = 768;

/// The index switched to codes, without vectors, during the walk.
#[derive(Debug)]
pub(in crate::index) struct WentOver;

/// A walk: the representation that it reads, and its beam.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Walk<'a> {
    pub(in crate::index) form: Representation<'a>,
    pub(in crate::index) beam: Beam,
}

/// Start of a walk.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// At the entry point of the graph.
    FromEntry,
    /// At the end of the last walk, among copies.
    AmongCopies,
    /// From the head of the last walk, whose codes did not separate near vectors.
    FromHead,
    /// At the entry point of the graph, with notes.
    Noting,
    /// At the end of the last walk, which made notes.
    Wider,
}

impl Hnsw {
    /// Returns the `ef` from which on a search scans every vector: a walk would cost about as much, and a scan is exact.
    pub(in crate::index) fn scan_ef(&self) -> usize {
        let mut cheap = self.entries.keys.len().div_ceil(TOUCHED);
        let form = self.entries.walked();
        if self.entries.refined(form).is_some() {
            let exact = self.entries.exact_beside(form).row_bytes();
            cheap *= (exact / SCANNED).clamp(1, 4);
        }
        // Models walk however small the index is, unless they ask for more.
        if cfg!(nearfield_model) { cheap.max(1000) } else { cheap }
    }

    /// Returns the request with the `ef` that a walk on `form` uses: if codes are coarse and vectors answer, a walk keeps more
    /// candidates by their codes, because the nearest by the vectors are among these.
    pub(super) fn widened<'a>(
        &self,
        request: &Request<'a>,
        form: Representation<'_>,
    ) -> Request<'a> {
        let asked = request.ef.max(request.k);
        let refined = self.entries.refined(form);
        let ef = refined.map_or(asked, |codes| codes.coder.widened(asked));
        Request { ef, began: self.entries.replacing.now(), ..*request }
    }

    /// Walks to the query in `work.row`, without a filter. Leaves the candidates in the scratch, and returns the walk that found
    /// them. A walk that is caught among equal vectors is repeated on `again`, because codes cannot tell which of many equal vectors
    /// are the nearest.
    pub(in crate::index) fn walk<'a>(
        &self,
        walk: Walk<'a>,
        again: Representation<'a>,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<Walk<'a>, WentOver> {
        self.walk_once(walk, Way::FromEntry, timer, work)?;
        if !work.scratch.is_crowded || timer.expired() {
            return Ok(walk);
        }
        self.walk_past_copies(walk, again, timer, work)
    }

    /// Repeats a walk that was caught among copies, on `again`, and continues from its end if it is caught, too.
    /// The repetition starts anew because codes put equally distant vectors in some order, and a walk on them ends elsewhere.
    #[cold]
    #[inline(never)]
    pub(in crate::index) fn walk_past_copies<'a>(
        &self,
        walk: Walk<'a>,
        again: Representation<'a>,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<Walk<'a>, WentOver> {
        let is_other = !walk.form.is_same(again);
        let walk = Walk { form: again, ..walk };
        if is_other {
            self.walk_once(walk, Way::FromEntry, timer, work)?;
            if !work.scratch.is_crowded || timer.expired() {
                return Ok(walk);
            }
        }
        self.walk_once(walk, Way::AmongCopies, timer, work)?;
        Ok(walk)
    }

    /// Walks with the candidates of a beam: continues the last walk if it `goes_on`, or begins one that may be continued.
    pub(in crate::index) fn walk_wider(
        &self,
        walk: Walk<'_>,
        goes_on: bool,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<(), WentOver> {
        let way = if goes_on { Way::Wider } else { Way::Noting };
        self.walk_once(walk, way, timer, work)
    }

    /// Walks once, and again while vectors are replaced.
    fn walk_once(
        &self,
        Walk { form, beam }: Walk<'_>,
        way: Way,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<(), WentOver> {
        /// Maximum number of walks, one after the other.
        const ATTEMPTS: usize = 8;

        let Work { scratch, row, coding, head, .. } = work;
        let query = form.prepare(&self.entries.encoder, row, coding);
        let space = Rows::new(form, None);
        for _ in 0..ATTEMPTS {
            let began = self.entries.replacing.now();
            let walked = match way {
                Way::FromEntry => self.graph.search(space, query, beam, timer, scratch),
                Way::AmongCopies => self.graph.search_again(space, query, beam, timer, scratch),
                Way::FromHead => {
                    let known = head.sorted.iter().map(|&(order, slot)| (order, Node::from(slot)));
                    self.graph.search_from(space, query, (known, beam), timer, scratch)
                }
                Way::Noting => self.graph.search_noting(space, query, beam.ef, timer, scratch),
                Way::Wider => {
                    self.graph.widen(space, query, beam.ef, timer, scratch);
                    true
                }
            };
            if !walked || !self.entries.follow(space, query, began, scratch) {
                return Err(WentOver);
            }
            let is_over = matches!(way, Way::Wider) || timer.expired();
            if is_over || !self.entries.may_have_missed(scratch) {
                break;
            }
        }
        Ok(())
    }

    /// Returns the beam of a walk for a whole request. If distances may be negative, one distance does not bound another.
    pub(in crate::index) fn beam(&self, request: &Request<'_>) -> Beam {
        let compares = self.metric() != Metric::InnerProduct && !request.takes_rounds;
        Beam { k: compares.then_some(request.k), ..Beam::of(request.ef) }
    }

    /// Turns the candidates of a walk on `form` to the query in `work.row` from the scratch into hits. Returns `false` if hits are
    /// missing because removed vectors that are not swept yet, or keys that are being replaced, took their places.
    pub(in crate::index) fn collect(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        let all = self.entries.all_answer();
        let answers = |slot: Slot| all || self.entries.answers(slot, request.began);
        work.head.is_blurred = false;
        let is_full = if let Some(codes) = self.entries.refined(form) {
            self.measure_head(codes, request.k, &answers, timer, work);
            self.deliver_head(form, request, work, hits)
        } else {
            let exact = self.entries.exact_beside(form);
            let mut found = found(&work.scratch).filter(|&(_, slot)| answers(slot));
            let is_full = self.entries.deliver(exact, request, &mut found, hits);
            let counters = work.scratch.counters;
            hits.set_counters(counters.distances, counters.hops);
            is_full
        };
        hits.set_plan(SearchPlan::Walk);
        // Models search within a radius to check the reach of walks, without the scan that completes a walk.
        is_full || (cfg!(nearfield_model) && request.radius.is_some())
    }

    /// Delivers the head of a walk on `form` that was [measured](Self::measure_found) by more exact data. Returns `false` as
    /// [`Self::collect`] does.
    pub(in crate::index) fn deliver_head(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        work: &Work,
        hits: &mut Hits,
    ) -> bool {
        let exact = self.entries.exact_beside(form);
        let is_full =
            self.entries.deliver(exact, request, &mut work.head.sorted.iter().copied(), hits);
        hits.set_counters(work.scratch.counters.distances, work.scratch.counters.hops);
        is_full
    }

    /// Does [`Self::measure_found`]. The head counts as blurred, too, if others of the nearest `k` are likely to be beyond the end
    /// of the walk.
    pub(in crate::index) fn measure_head(
        &self,
        codes: &Codes,
        k: usize,
        answers: &dyn Fn(Slot) -> bool,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) {
        self.measure_found(codes, k, answers, timer, work);
        let Work { scratch, head, .. } = work;
        if let Some((middle, last)) = scratch.reach() {
            let [middle, last] = [middle, last].map(|order| codes.distance(order));
            let (len, is_unbiased) = (scratch.len(), codes.coder.is_unbiased());
            let allowed = Reach::allowed(k, len, len * len / codes.coder.widened(len));
            let reach = Reach { len, middle, last, is_unbiased, allowed };
            head.is_blurred |= head.is_short(k, head.kth, reach);
        }
    }

    /// Measures the nearest candidates of a walk on `codes` to the query in `work.row` that are `answers`, by the vectors or finer
    /// codes. The head is blurred if errors are of the size of distances.
    pub(in crate::index) fn measure_found(
        &self,
        codes: &Codes,
        k: usize,
        answers: &dyn Fn(Slot) -> bool,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) {
        let Work { scratch, row, coding, head, .. } = work;
        let form = self.measuring(codes);
        let query = form.prepare(&self.entries.encoder, row, coding);
        {
            let found = found(scratch).filter(|&(_, slot)| answers(slot));
            let mut found = found.map(|(order, slot)| (codes.distance(order), slot));
            head.measure(Exact { form, query }, &mut found, k, codes.coder.is_fine(), timer);
        }
        scratch.counters.distances += head.sorted.len() as u64;
    }

    /// Returns the representation by which the head of a walk on `codes` is [measured](Self::measure_found).
    pub(in crate::index) fn measuring<'a>(&'a self, codes: &'a Codes) -> Representation<'a> {
        self.entries.exact_beside(Representation::of_codes(codes))
    }

    /// Returns the order key of the distance from the query whose [head was measured](Self::measure_found) just now to a slot, on the same rows.
    pub(in crate::index) fn measured_order(
        &self,
        codes: &Codes,
        slot: Slot,
        work: &Work,
    ) -> Option<OrderKey> {
        let form = self.measuring(codes);
        let (rows, mut order) = (form.rows.view(), [OrderKey::MIN]);
        rows.has(slot).then(|| {
            let query = form.prepared(&work.row, &work.coding);
            form.engine.orders(rows, query, &[slot], &mut order);
            order[0]
        })
    }

    /// Does [`Self::collect`]. If codes did not separate near vectors, a walk on the vectors, or on the finer codes,
    /// continues from these candidates, and its hits count.
    pub(in crate::index) fn collect_sharp(
        &self,
        walk: Walk<'_>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        let is_full = self.collect(walk.form, request, timer, work, hits);
        if work.head.is_blurred && !timer.expired() {
            return self.collect_on_vectors(walk, request, timer, work, hits);
        }
        is_full
    }

    #[cold]
    #[inline(never)]
    fn collect_on_vectors(
        &self,
        blurred: Walk<'_>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        let walk = Walk { form: self.entries.exact_beside(blurred.form), ..blurred };
        let mut walked = self.walk_once(walk, Way::FromHead, timer, work);
        if walked.is_ok() && work.scratch.is_crowded && !timer.expired() {
            walked = self.walk_once(walk, Way::AmongCopies, timer, work);
        }
        if walked.is_err() {
            return false;
        }
        let is_full = self.collect(walk.form, request, timer, work, hits);
        self.search_was_blurred(blurred.form, work);
        is_full
    }

    /// Answers a request that is [`Self::widened`].
    pub(in crate::index) fn find_among(
        &self,
        request: &Request<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let _pin = pin();
        let request = &Request { began: self.entries.replacing.now(), ..*request };
        let form = self.entries.walked();
        // With many candidates, inserting one into the sorted pool takes longer than its distance.
        let bytes = form.row_bytes() + request.ef.min(self.scan_ef());
        let timer = &mut Timer::new(request.limit, request.k, bytes);
        if timer.expired() {
            return hits.set_nothing();
        }
        let exact = self.entries.exact_beside(form);
        if self.entries.refined(form).is_some() {
            timer.leave_for_vectors(exact.row_bytes());
        }
        if let Some(filter) = request.screen.filter() {
            FilteredSearch::new(self, request, filter, timer, work).run(hits);
        } else if request.k == 0 || request.ef >= self.scan_ef() {
            self.entries.scan(exact, request, timer, work, hits);
        } else {
            work.scratch.counters = Counters::default();
            let walk = Walk { form, beam: self.beam(request) };
            let Ok(walk) = self.walk(walk, exact, timer, work) else {
                return self.find_among(request, work, hits);
            };
            let is_full = self.collect_sharp(walk, request, timer, work, hits);
            if !is_full && !timer.expired() {
                let again = Request { ef: request.ef.saturating_mul(2), ..*request };
                return self.find_among(&again, work, hits);
            }
        }
        hits.set_complete(!timer.expired());
        self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
    }
}

impl Searchable for Hnsw {
    fn find(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        let _pin = pin();
        let request = &self.widened(request, self.entries.walked());
        self.find_among(request, work, hits);
    }

    fn find_all(&self, queries: &[Block], request: &Request<'_>, out: &mut BatchHits) {
        /// Time that a walk takes for a candidate, several times over: with that much time left, walks that take turns read no clock.
        const CANDIDATE: Duration = Duration::from_micros(30);
        /// Longest rows whose walks take turns: four times sixteen of them are 16 KiB.
        const BYTES_IN_TURN: usize = 256;

        let _pin = pin();
        let blocks = self.entries.encoder.blocks();
        let form = self.entries.walked();
        let raised = &self.widened(request, form);
        let plain = request.screen.filter().is_none() && !request.takes_rounds;
        let scans = request.k == 0 || raised.ef >= self.scan_ef();
        let mut hits = Hits::new();
        self.work.with(|work| {
            if plain && scans && request.limit.is_none() && self.entries.has_vectors() {
                let distances = self.entries.scan_batch(queries, raised, work, out);
                self.search_distances.fetch_add(distances, Ordering::Relaxed);
                return;
            }
            // The rows of a walk that waits for its turn must still be in the first cache when its turn comes.
            if !plain || scans || form.row_bytes() > BYTES_IN_TURN {
                return self.find_each(queries, request, work, out);
            }
            let candidates = u32::try_from(LANES * raised.ef).unwrap_or(u32::MAX);
            let unlimited = &Request { limit: Limit::default(), ..*request };
            for queries in queries.chunks(LANES * blocks) {
                if request.limit.is_beyond(CANDIDATE * candidates) {
                    self.find_lanes(queries, unlimited, work, &mut hits, out);
                } else {
                    self.find_each(queries, request, work, out);
                }
            }
        });
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn ef_for(&self, recall: f64, k: Option<usize>) -> Result<usize, IndexError> {
        self.curve.ef(recall, k)
    }
}
