//! Exact answers: scans of every vector.

use super::Entries;
use crate::arena::Pool;
use crate::index::codes::representation::Representation;
use crate::index::distances::field::{Field, POOLED};
use crate::index::query::budget::Timer;
use crate::index::query::hits::{BatchHits, Hits, SearchPlan};
use crate::index::query::request::Request;
use crate::index::scratch::Work;
use crate::vector::Block;

impl Entries {
    /// Finds the nearest to the query in `work.row` by the rows of `form`, which has all vectors.
    pub(in crate::index) fn scan(
        &self,
        form: Representation<'_>,
        request: &Request<'_>,
        timer: &mut Timer<'_>,
        work: &mut Work,
        hits: &mut Hits,
    ) {
        let Work { row, pools, hidden, all, coding, .. } = work;
        let query = form.prepare(&self.encoder, row, coding);
        let (rows, kept) = self.moment(form.rows, request.k, hidden);
        let within = self.order_within(form, request.radius);
        let field = Field { engine: form.engine, rows, hidden, within };
        let measured = field.scan(query, kept, (pools, all), timer, |found| {
            self.deliver(form, request, found, hits);
        });
        hits.set_counters(measured, 0);
        hits.set_plan(SearchPlan::Scan);
    }

    /// Finds the nearest to each of the queries by the vectors, which are all stored, in one pass.
    /// Returns the number of distances computed. The request has no filter and no limit.
    pub(in crate::index) fn scan_batch(
        &self,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        let form = self.by_vectors();
        let k = request.k.min(self.vectors.len());
        let count = queries.len() / self.vectors.stride();
        let timer = &mut Timer::new(request.limit, k, 0);
        let mut hits = Hits::new();
        if k > POOLED && request.radius.is_some() {
            return self.scan_batch_within(queries, request, work, out);
        }
        if k == 0 || k > POOLED {
            let mut distances = 0;
            for query in queries.chunks_exact(self.vectors.stride()) {
                work.row.clear();
                work.row.extend_from_slice(query);
                self.scan(form, request, timer, work, &mut hits);
                distances += hits.distances_computed();
                out.push(&hits);
            }
            return distances;
        }
        let Work { pools, hidden, .. } = work;
        let (rows, kept) = self.moment(&self.vectors, k, hidden);
        pools.resize_with(pools.len().max(count), Pool::default);
        pools[..count].iter_mut().for_each(|pool| pool.begin(kept));
        let within = self.order_within(form, request.radius);
        let field = Field { engine: form.engine, rows, hidden, within };
        let measured = field.offer(queries, &mut pools[..count], timer);
        for pool in &pools[..count] {
            self.deliver(form, request, &mut pool.iter(), &mut hits);
            hits.set_plan(SearchPlan::Scan);
            out.push(&hits);
        }
        measured
    }

    /// Does [`Self::scan_batch`] for more answers within a radius than a pool holds. The radius is likely to
    /// leave few, so that each query's list of them is short.
    fn scan_batch_within(
        &self,
        queries: &[Block],
        request: &Request<'_>,
        work: &mut Work,
        out: &mut BatchHits,
    ) -> u64 {
        /// Queries whose lists are in memory together.
        const GROUP: usize = 64;

        let form = self.by_vectors();
        let within = self.order_within(form, request.radius);
        let stride = self.vectors.stride();
        let (mut hits, mut measured) = (Hits::new(), 0);
        let mut lists = Vec::new();
        for queries in queries.chunks(GROUP * stride) {
            let (rows, kept) = self.moment(&self.vectors, request.k, &mut work.hidden);
            let field = Field { engine: form.engine, rows, hidden: &work.hidden, within };
            lists.resize_with(queries.len() / stride, Vec::new);
            lists.iter_mut().for_each(Vec::clear);
            field.scan_lists(queries, kept.min(rows.len() as usize), &mut lists);
            for list in &lists {
                self.deliver(form, request, &mut list.iter().copied(), &mut hits);
                hits.set_plan(SearchPlan::Scan);
                out.push(&hits);
            }
            measured += (lists.len() as u64) * u64::from(rows.len());
        }
        measured
    }
}
