//! Walks to several queries of a batch, interleaved on one thread: the rows that one walk prefetches arrive while the others compute.

use std::sync::atomic::Ordering;

use super::Hnsw;
use crate::graph::{Counters, LANES, Scratch};
use crate::index::codes::Codes;
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
        let codes = self.entries.walking_codes();
        let request = &self.widened(plain, codes);
        let blocks = self.entries.encoder.blocks();
        let count = queries.len() / blocks;
        let Work { lanes: scratches, coding, prepared, .. } = &mut *work;
        scratches.resize_with(LANES, Scratch::default);
        let scratches = &mut scratches[..count];
        for scratch in &mut *scratches {
            scratch.counters = Counters::default();
        }
        let mut lanes: [&[Block]; LANES] = [&[]; LANES];
        let complete = if let Some(codes) = codes {
            prepared.clear();
            for query in queries.chunks_exact(blocks) {
                self.entries.encoder.unit_into(query, &mut coding.floats);
                codes.prepare(coding);
                prepared.extend_from_slice(&coding.query);
            }
            for (lane, query) in lanes.iter_mut().zip(prepared.chunks_exact(coding.query.len())) {
                *lane = query;
            }
            let space = Rows::new(&codes.engine, &codes.rows, None);
            self.graph.search_lanes(space, &lanes[..count], self.beam(request), scratches)
                && self.entries.follow_all(space, &lanes[..count], request.began, scratches)
        } else {
            for (lane, query) in lanes.iter_mut().zip(queries.chunks_exact(blocks)) {
                *lane = query;
            }
            let space = Rows::new(&self.engine, &self.entries.vectors, None);
            self.graph.search_lanes(space, &lanes[..count], self.beam(request), scratches)
                && self.entries.follow_all(space, &lanes[..count], request.began, scratches)
        };
        if !complete {
            // The index switched to codes, without vectors, during the walks.
            return self.find_each(queries, plain, work, out);
        }
        for (at, query) in queries.chunks_exact(blocks).enumerate() {
            work.row.clear();
            work.row.extend_from_slice(query);
            if self.collect_lane(codes, at, request, work, hits) {
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
        mut codes: Option<&Codes>,
        lane: usize,
        request: &Request<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) -> bool {
        if self.entries.may_have_missed(&work.lanes[lane]) {
            return false;
        }
        let timer = &mut Timer::new(request.limit, request.k, 0);
        let beam = self.beam(request);
        std::mem::swap(&mut work.lanes[lane], &mut work.scratch);
        if work.scratch.is_crowded {
            let again = self.entries.standing_in(codes);
            if self.walk_past_copies(codes, again, beam, timer, work).is_err() {
                return false;
            }
            codes = again;
        }
        let is_full = self.collect_sharp((codes, beam), request, timer, work, hits);
        std::mem::swap(&mut work.lanes[lane], &mut work.scratch);
        is_full
    }
}
