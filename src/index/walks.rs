//! Answers of a graph index: walking, or looking at every vector where that costs less.

use std::sync::atomic::Ordering;

use super::codes::{CodeWork, Codes};
use super::deliver::Scale;
use super::filtered::FilteredSearch;
use super::hits::{BatchHits, Hits, Plan};
use super::hnsw::Hnsw;
use super::limit::Timer;
use super::request::Request;
use super::rerank::Reach;
use super::search::Searchable;
use super::space::Rows;
use super::work::Work;
use crate::arena::{Column, pin};
use crate::error::IndexError;
use crate::graph::{Beam, Counters, LANES, Scratch};
use crate::metric::Metric;
use crate::vector::Block;

/// Rows that a walk touches for each candidate it keeps: about this many at least.
const TOUCHED: usize = 16;

/// The index went over to codes, without vectors, in this moment.
#[derive(Debug)]
pub(super) struct WentOver;

/// Where a walk starts.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Where the graph's searches do.
    FromEntry,
    /// Where the last one ended, among copies.
    AmongCopies,
    /// From the head of what the last one found on codes, which did not tell near vectors apart.
    FromHead,
    /// Where the graph's searches do, with notes.
    Noting,
    /// Where the last one ended, which made notes.
    Wider,
}

impl Hnsw {
    /// The `ef` from which on every vector is looked at: a walk would touch about as many vectors
    /// as there are, and a scan is exact.
    pub(super) fn scan_ef(&self) -> usize {
        let cheap = self.entries.keys.len().div_ceil(TOUCHED);
        // Models walk however small the index is, unless they ask for more.
        if cfg!(nearfield_model) { cheap.max(1000) } else { cheap }
    }

    /// The request with the candidates that a walk keeps: where codes are coarse and vectors answer, the nearest by the
    /// vectors are among more by the codes.
    fn widened<'a>(&self, request: &Request<'a>, codes: Option<&Codes>) -> Request<'a> {
        let asked = request.ef.max(request.k);
        let ef = match codes {
            Some(codes) if self.entries.refines(codes) => codes.coder.widened(asked),
            _ => asked,
        };
        Request { ef, began: self.entries.replacing.now(), ..*request }
    }

    /// Bytes of a row that walks read.
    pub(super) fn row_bytes(&self) -> usize {
        self.entries.row_bytes(self.entries.walking_codes())
    }

    /// Walks to the query in `work.row`, without a filter; what is found is left in the scratch, and what its keys stand
    /// for is returned. Which of many equal vectors are the nearest, codes cannot tell: a walk on them that is caught
    /// among these is repeated on the vectors.
    pub(super) fn walk<'a>(
        &self,
        codes: Option<&'a Codes>,
        beam: Beam,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<Option<&'a Codes>, WentOver> {
        self.walk_and_again(codes, self.entries.standing_in(codes), beam, timer, work)
    }

    /// [`Self::walk`], on the codes, if there are, whatever it meets.
    pub(super) fn walk_on(
        &self,
        codes: Option<&Codes>,
        beam: Beam,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<(), WentOver> {
        self.walk_and_again(codes, codes, beam, timer, work).map(drop)
    }

    /// Walks on `codes`, and if it is caught among copies, on `again`. Returns the codes of its last walk.
    fn walk_and_again<'a>(
        &self,
        codes: Option<&'a Codes>,
        again: Option<&'a Codes>,
        beam: Beam,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<Option<&'a Codes>, WentOver> {
        self.walk_once(codes, Way::FromEntry, beam, timer, work)?;
        if !work.scratch.is_crowded || timer.expired() {
            return Ok(codes);
        }
        self.walk_past_copies(codes, again, beam, timer, work).map(|()| again)
    }

    /// After a walk on `codes` that was caught among copies: the same on `again`, and if that is caught, too, it goes on from
    /// there. It starts anew: codes put vectors that are equally far in some order, and a walk on them ends elsewhere.
    #[cold]
    #[inline(never)]
    pub(super) fn walk_past_copies(
        &self,
        codes: Option<&Codes>,
        again: Option<&Codes>,
        beam: Beam,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<(), WentOver> {
        let is_other = match (codes, again) {
            (Some(codes), Some(again)) => !std::ptr::eq(codes, again),
            (codes, again) => codes.is_some() != again.is_some(),
        };
        if is_other {
            self.walk_once(again, Way::FromEntry, beam, timer, work)?;
            if !work.scratch.is_crowded || timer.expired() {
                return Ok(());
            }
        }
        self.walk_once(again, Way::AmongCopies, beam, timer, work)
    }

    /// A walk on the codes, if there are, that keeps `ef` candidates: the one before it goes on, or
    /// one begins that may go on.
    pub(super) fn walk_wider(
        &self,
        codes: Option<&Codes>,
        goes_on: bool,
        ef: usize,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<(), WentOver> {
        let way = if goes_on { Way::Wider } else { Way::Noting };
        self.walk_once(codes, way, Beam::of(ef), timer, work)
    }

    fn walk_once(
        &self,
        codes: Option<&Codes>,
        way: Way,
        beam: Beam,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) -> Result<(), WentOver> {
        let Work { scratch, row, coding, head, .. } = work;
        let known = &head.sorted;
        if let Some(codes) = codes {
            self.entries.encoder.unit_into(row, &mut coding.floats);
            codes.prepare(coding);
            let space = Rows::new(&*codes.engine, &codes.rows, None);
            self.walk_in(space, &coding.query, way, known, beam, timer, scratch)
        } else {
            let space = Rows::new(&*self.engine, &self.entries.vectors, None);
            self.walk_in(space, row, way, known, beam, timer, scratch)
        }
    }

    /// [`Self::walk_once`], repeated while vectors are replaced.
    #[expect(clippy::too_many_arguments, reason = "those of a walk, and where it begins")]
    fn walk_in(
        &self,
        space: Rows<'_>,
        query: &[Block],
        way: Way,
        known: &[(u32, u32)],
        beam: Beam,
        timer: &mut Timer<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), WentOver> {
        /// Walks at most, one after the other.
        const ATTEMPTS: usize = 8;

        for _ in 0..ATTEMPTS {
            let began = self.entries.replacing.now();
            let walked = match way {
                Way::FromEntry => self.graph.search(space, query, beam, timer, scratch),
                Way::AmongCopies => self.graph.search_again(space, query, beam, timer, scratch),
                Way::FromHead => self.graph.search_from(space, query, known, beam, timer, scratch),
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

    /// How far a walk for all that is asked looks. Where distances may be negative, one does not tell how far another is.
    pub(super) fn beam(&self, request: &Request<'_>) -> Beam {
        let compares = self.metric() != Metric::InnerProduct && !request.takes_rounds;
        Beam { k: compares.then_some(request.k), ..Beam::of(request.ef) }
    }

    /// Turns what a walk to the query in `work.row` left in the scratch into hits. `false` if there are fewer than there should
    /// be: vectors that are removed but not swept yet, or keys that are being replaced, took the places.
    pub(super) fn collect(
        &self,
        codes: Option<&Codes>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        let all = self.entries.all_answer();
        let answers = |slot: u32| all || self.entries.answers(slot, request.began);
        let scale = self.scale(self.entries.standing_in(codes));
        work.head.is_blurred = false;
        let is_full = match codes {
            Some(codes) if self.entries.refines(codes) => {
                self.measure_head(codes, request.k, answers, timer, work);
                let sorted = work.head.sorted.iter().copied();
                self.entries.deliver(scale, request, sorted, hits)
            }
            _ => {
                let found = work.scratch.pool.iter().filter(|&(_, slot)| answers(slot));
                self.entries.deliver(scale, request, found, hits)
            }
        };
        let scratch = &work.scratch;
        hits.set_counters(scratch.counters.distances, scratch.counters.hops);
        hits.set_plan(Plan::Walk);
        // Models search within a radius to see what walks reach, without the scan that makes up for a walk.
        is_full || (cfg!(nearfield_model) && request.radius.is_some())
    }

    /// What keys of distances stand for where walks read these codes, or vectors.
    pub(super) fn scale<'a>(&'a self, codes: Option<&'a Codes>) -> Scale<'a> {
        codes.map_or(Scale::Vectors(&*self.engine), Scale::Codes)
    }

    /// Delivers the head that was [measured](Self::measure_found) by the vectors or finer codes. Returns `false` as
    /// [`Self::collect`] does.
    pub(super) fn deliver_head(
        &self,
        codes: &Codes,
        request: &Request<'_>,
        work: &Work,
        hits: &mut Hits,
    ) -> bool {
        let scale = self.scale(self.entries.standing_in(Some(codes)));
        let is_full = self.entries.deliver(scale, request, work.head.sorted.iter().copied(), hits);
        hits.set_counters(work.scratch.counters.distances, work.scratch.counters.hops);
        is_full
    }

    /// [`Self::measure_found`]. The head counts as blurred, too, where others of the nearest `k` are likely to be beyond the end
    /// of the walk.
    pub(super) fn measure_head(
        &self,
        codes: &Codes,
        k: usize,
        answers: impl Fn(u32) -> bool,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) {
        self.measure_found(codes, k, answers, timer, work);
        let Work { scratch, head, .. } = work;
        if let Some((middle, last)) = scratch.pool.reach() {
            let [middle, last] = [middle, last].map(|key| codes.distance(key));
            let (len, is_unbiased) = (scratch.pool.len(), codes.coder.is_unbiased());
            let allowed = Reach::allowed(k, len, len * len / codes.coder.widened(len));
            let reach = Reach { len, middle, last, is_unbiased, allowed };
            head.is_blurred |= head.is_short(k, head.kth, reach);
        }
    }

    /// Measures the nearest candidates of a walk on `codes` to the query in `work.row`, those that are `answers`, by the vectors or finer
    /// codes. The head is blurred if errors are of the size of distances.
    pub(super) fn measure_found(
        &self,
        codes: &Codes,
        k: usize,
        answers: impl Fn(u32) -> bool,
        timer: &mut Timer<'_>,
        work: &mut Work,
    ) {
        let Work { scratch, row, coding, head, .. } = work;
        let found = scratch.pool.iter().filter(|&(_, slot)| answers(slot));
        let found = found.map(|(key, slot)| (codes.distance(key), slot));
        let finer = self.entries.standing_in(Some(codes));
        if let Some(finer) = finer {
            self.entries.encoder.unit_into(row, &mut coding.floats);
            finer.prepare(coding);
        }
        let (column, query) = self.measured(finer, row, coding);
        let is_fine = codes.coder.is_fine();
        head.measure(self.scale(finer), column.view(), query, found, k, is_fine, timer);
        scratch.counters.distances += head.sorted.len() as u64;
    }

    /// Returns the distance of a key by which a head [was measured](Self::measure_found).
    pub(super) fn measured_distance(&self, codes: &Codes, key: u32) -> f32 {
        self.scale(self.entries.standing_in(Some(codes))).distance(key)
    }

    /// The rows that measure a head, and the query for them: vectors, or finer codes, for which the query was prepared.
    fn measured<'a>(
        &'a self,
        finer: Option<&'a Codes>,
        row: &'a [Block],
        coding: &'a CodeWork,
    ) -> (&'a Column<Block>, &'a [Block]) {
        finer.map_or((&self.entries.vectors, row), |finer| (&finer.rows, &coding.query))
    }

    /// The key of the distance from the query whose [head was measured](Self::measure_found) just now to a slot, as there.
    pub(super) fn measured_key(&self, codes: &Codes, slot: u32, work: &Work) -> Option<u32> {
        let finer = self.entries.standing_in(Some(codes));
        let (column, query) = self.measured(finer, &work.row, &work.coding);
        let (rows, mut key) = (column.view(), [0]);
        let is_there = slot < rows.len();
        is_there.then(|| {
            self.scale(finer).engine().keys(rows, query, &[slot], &mut key);
            key[0]
        })
    }

    /// [`Self::collect`]. Where codes did not tell near vectors apart, a walk on the vectors, or on what stands in for them,
    /// goes on from what was found, and its hits count.
    pub(super) fn collect_sharp(
        &self,
        codes: Option<&Codes>,
        beam: Beam,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        let is_full = self.collect(codes, request, timer, work, hits);
        match codes {
            Some(codes) if work.head.is_blurred && !timer.expired() => {
                self.collect_on_vectors(codes, beam, request, timer, work, hits)
            }
            _ => is_full,
        }
    }

    #[cold]
    #[inline(never)]
    fn collect_on_vectors(
        &self,
        codes: &Codes,
        beam: Beam,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        let finest = self.entries.standing_in(Some(codes));
        let mut walked = self.walk_once(finest, Way::FromHead, beam, timer, work);
        if walked.is_ok() && work.scratch.is_crowded && !timer.expired() {
            walked = self.walk_once(finest, Way::AmongCopies, beam, timer, work);
        }
        if walked.is_err() {
            return false;
        }
        let is_full = self.collect(finest, request, timer, work, hits);
        self.search_was_blurred(codes, work);
        is_full
    }

    /// Answers a request that is [`Self::widened`].
    pub(super) fn find_among(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        let _pin = pin();
        let request = &Request { began: self.entries.replacing.now(), ..*request };
        // Where many candidates are kept, putting one in its place takes longer than its distance.
        let bytes = self.row_bytes() + request.ef.min(self.scan_ef());
        let timer = &mut Timer::new(request.limit, request.k, bytes);
        if timer.expired() {
            return hits.set_nothing();
        }
        let codes = self.entries.walking_codes();
        let finest = self.entries.standing_in(codes);
        if codes.is_some_and(|codes| self.entries.refines(codes)) {
            timer.leave_for_vectors(self.entries.row_bytes(finest));
        }
        if let Some(filter) = request.screen.filter() {
            FilteredSearch::new(self, request, filter, timer, work).run(hits);
        } else if request.k == 0 || request.ef >= self.scan_ef() {
            match finest {
                Some(codes) => self.entries.scan_codes(codes, request, timer, work, hits),
                None => self.entries.scan(&*self.engine, request, timer, work, hits),
            }
        } else {
            work.scratch.counters = Counters::default();
            let beam = self.beam(request);
            let Ok(codes) = self.walk(codes, beam, timer, work) else {
                return self.find_among(request, work, hits);
            };
            let is_full = self.collect_sharp(codes, beam, request, timer, work, hits);
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
        let request = &self.widened(request, self.entries.walking_codes());
        self.find_among(request, work, hits);
    }

    fn find_all(&self, queries: &[Block], request: &Request<'_>, out: &mut BatchHits) {
        /// Longest rows whose walks take turns: four times sixteen of them are 16 KiB.
        const BYTES_IN_TURN: usize = 256;

        let _pin = pin();
        let blocks = self.entries.encoder.blocks();
        let codes = self.entries.walking_codes();
        let raised = &self.widened(request, codes);
        let plain =
            request.screen.filter().is_none() && request.limit.is_none() && !request.takes_rounds;
        let scans = request.k == 0 || raised.ef >= self.scan_ef();
        let mut hits = Hits::new();
        self.work.with(|work| {
            if plain && scans && self.entries.has_vectors() {
                let engine = &*self.engine;
                let distances = self.entries.scan_batch(engine, queries, raised, work, out);
                self.search_distances.fetch_add(distances, Ordering::Relaxed);
                return;
            }
            // What waits for its turn must still be in the first cache when the turn comes.
            if !plain || scans || self.row_bytes() > BYTES_IN_TURN {
                return self.find_each(queries, request, work, out);
            }
            for queries in queries.chunks(LANES * blocks) {
                self.find_lanes(codes, queries, raised, work, &mut hits, out);
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
