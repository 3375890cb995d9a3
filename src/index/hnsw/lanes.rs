//! Walks to several queries of a batch, interleaved on one thread: the rows that one walk prefetches arrive while the others compute.

use std::sync::atomic::Ordering;

use super::Hnsw;
use super::walks::Walk;
use crate::graph::{Counters, LANES, Scratch};
use crate::index::codes::representation::Representation;
use crate::index::entries::space::Rows;
use crate::index::query::budget::Timer;
use crate::index::query::hits::{BatchHits, Hits};
use crate::index::query::request::Request;
use crate::index::scratch::Work;
use crate::index::search::Searchable;
use crate::vector::Block;

impl Hnsw {
    /// Answers up to [`LANES`] queries, whose walks take turns. The request has no filter and no
    /// limit.
    pub(in crate::index) fn find_lanes(
        &self,
        queries: &[Block],
        plain: &Request<'_>,
        work: &mut Work,
        hits: &mut Hits,
        out: &mut BatchHits,
    ) {
        let form = self.entries.walked();
        let request = &self.widened(plain, form);
        let blocks = self.entries.encoder.blocks();
        let count = queries.len() / blocks;
        let Work { lanes: scratches, coding, prepared, .. } = &mut *work;
        scratches.resize_with(LANES, Scratch::default);
        let scratches = &mut scratches[..count];
        for scratch in &mut *scratches {
            scratch.counters = Counters::default();
        }
        prepared.clear();
        let walked = if form.is_coded() {
            for query in queries.chunks_exact(blocks) {
                prepared.extend_from_slice(form.prepare(&self.entries.encoder, query, coding));
            }
            prepared
        } else {
            queries
        };
        let mut lanes: [&[Block]; LANES] = [&[]; LANES];
        for (lane, query) in lanes.iter_mut().zip(walked.chunks_exact(walked.len() / count)) {
            *lane = query;
        }
        let (lanes, space) = (&lanes[..count], Rows::new(form, None));
        let complete = self.graph.search_lanes(space, lanes, self.beam(request), scratches)
            && self.entries.follow_all(space, lanes, request.began, scratches);
        if !complete {
            // The index switched to codes, without vectors, during the walks.
            return self.find_each(queries, plain, work, out);
        }
        for (at, query) in queries.chunks_exact(blocks).enumerate() {
            work.row.clear();
            work.row.extend_from_slice(query);
            if self.collect_lane(form, at, request, work, hits) {
                self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
            } else {
                self.find_among(request, work, hits);
            }
            out.push(hits);
        }
    }

    /// Turns the pool of a lane's walk to the query in `work.row` into hits. Returns `false` if the query must be searched again.
    fn collect_lane(
        &self,
        form: Representation<'_>,
        lane: usize,
        request: &Request<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        if self.entries.may_have_missed(&work.lanes[lane]) {
            return false;
        }
        let timer = &mut Timer::new(request.limit, request.k, 0);
        let mut walk = Walk { form, beam: self.beam(request) };
        std::mem::swap(&mut work.lanes[lane], &mut work.scratch);
        if work.scratch.is_crowded {
            let exact = self.entries.exact_beside(form);
            let Ok(last) = self.walk_past_copies(walk, exact, timer, work) else { return false };
            walk = last;
        }
        let is_full = self.collect_sharp(walk, request, timer, work, hits);
        std::mem::swap(&mut work.lanes[lane], &mut work.scratch);
        is_full
    }
}
