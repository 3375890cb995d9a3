//! Exact answers: scans of every vector.

use super::Entries;
use crate::arena::Pool;
use crate::index::codes::Codes;
use crate::index::codes::scale::Scale;
use crate::index::distances::Engine;
use crate::index::distances::field::{Field, POOLED};
use crate::index::query::budget::Timer;
use crate::index::query::hits::{BatchHits, Hits, Plan};
use crate::index::query::request::Request;
use crate::index::scratch::Work;
use crate::vector::Block;

impl Entries {
    /// Finds the nearest to the query in `work.row` by the vectors, which are all stored.
    pub(in crate::index) fn scan(
        &self,
        engine: &Engine,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, pools, hidden, all, .. } = work;
        let (rows, kept) = self.moment(&self.vectors, request.k, hidden);
        let within = self.order_within(Scale::Vectors(engine), request.radius);
        let field = Field { engine, rows, hidden, within };
        let measured = field.scan(row, kept, (pools, all), timer, |found| {
            self.deliver(Scale::Vectors(engine), request, found, hits);
        });
        hits.set_counters(measured, 0);
        hits.set_plan(Plan::Scan);
    }

    /// Finds the nearest to the query in `work.row` by the codes.
    pub(in crate::index) fn scan_codes(
        &self,
        codes: &Codes,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, pools, hidden, all, coding, .. } = work;
        self.encoder.unit_into(row, &mut coding.floats);
        codes.prepare(coding);
        let (rows, kept) = self.moment(&codes.rows, request.k, hidden);
        let within = self.order_within(Scale::Codes(codes), request.radius);
        let field = Field { engine: &codes.engine, rows, hidden, within };
        let measured = field.scan(&coding.query, kept, (pools, all), timer, |found| {
            self.deliver(Scale::Codes(codes), request, found, hits);
        });
        hits.set_counters(measured, 0);
        hits.set_plan(Plan::Scan);
    }

    /// Finds the nearest to each of the queries by the vectors, which are all stored, in one pass.
    /// Returns the number of distances computed. The request has no filter and no limit.
    pub(in crate::index) fn scan_batch(
        &self,
        engine: &Engine,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        let k = request.k.min(self.vectors.len());
        let count = queries.len() / self.vectors.stride();
        let timer = &mut Timer::new(request.limit, k, 0);
        let mut hits = Hits::new();
        if k > POOLED && request.radius.is_some() {
            return self.scan_batch_within(engine, queries, request, work, out);
        }
        if k == 0 || k > POOLED {
            let mut distances = 0;
            for query in queries.chunks_exact(self.vectors.stride()) {
                work.row.clear();
                work.row.extend_from_slice(query);
                self.scan(engine, request, timer, work, &mut hits);
                distances += hits.distances_computed();
                out.push(&hits);
            }
            return distances;
        }
        let Work { pools, hidden, .. } = work;
        let (rows, kept) = self.moment(&self.vectors, k, hidden);
        pools.resize_with(pools.len().max(count), Pool::default);
        pools[..count].iter_mut().for_each(|pool| pool.begin(kept));
        let within = self.order_within(Scale::Vectors(engine), request.radius);
        let field = Field { engine, rows, hidden, within };
        let measured = field.offer(queries, &mut pools[..count], timer);
        for pool in &pools[..count] {
            self.deliver(Scale::Vectors(engine), request, pool.iter(), &mut hits);
            hits.set_plan(Plan::Scan);
            out.push(&hits);
        }
        measured
    }

    /// Does [`Self::scan_batch`] for more answers within a radius than a pool holds. The radius is likely to
    /// leave few, so that each query's list of them is short.
    fn scan_batch_within(
        &self,
        engine: &Engine,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        /// Queries whose lists are in memory together.
        const GROUP: usize = 64;

        let scale = Scale::Vectors(engine);
        let within = self.order_within(scale, request.radius);
        let stride = self.vectors.stride();
        let (mut hits, mut measured) = (Hits::new(), 0);
        let mut lists = Vec::new();
        for queries in queries.chunks(GROUP * stride) {
            let (rows, kept) = self.moment(&self.vectors, request.k, &mut work.hidden);
            let field = Field { engine, rows, hidden: &work.hidden, within };
            lists.resize_with(queries.len() / stride, Vec::new);
            lists.iter_mut().for_each(Vec::clear);
            field.scan_lists(queries, kept.min(rows.len() as usize), &mut lists);
            for list in &lists {
                self.deliver(scale, request, list.iter().copied(), &mut hits);
                hits.set_plan(Plan::Scan);
                out.push(&hits);
            }
            measured += (lists.len() as u64) * u64::from(rows.len());
        }
        measured
    }
}
