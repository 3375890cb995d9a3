//! Many queries: each list is read once for all that probe it.

use std::sync::atomic::Ordering;

use super::Ivf;
use super::codec::Prepared;
use super::directory::{Directory, Scratch};
use super::nearest::Nearest;
use super::probe::{Effort, Probe};
use super::scan::{Scan, TILE};
use crate::index::hits::{BatchHits, Hits, Plan};
use crate::index::limit::{Limit, Timer};
use crate::index::request::Request;
use crate::index::work::Work;
use crate::vector::Block;

/// Queries that share the reading of lists; vectors do not move from list to list meanwhile.
const GROUP: usize = 1024;

/// Queries that are compared with centroids at once.
const RANKED: usize = 16;

/// A query that probes a list.
#[derive(Debug, Clone, Copy)]
struct Visit {
    list: u32,
    query: u32,
    /// The distance of the query and the list's centroid.
    bias: f32,
}

impl Ivf {
    /// Answers encoded queries. The request has no filter, no radius and no limit.
    pub(super) fn find_groups(
        &self,
        queries: &[Block],
        request: &Request<'_>,
        out: &mut BatchHits,
    ) {
        let blocks = self.space.blocks();
        self.work.with(|work| {
            for queries in queries.chunks(GROUP * blocks) {
                let directory = &*self.directory();
                if let Some(effort) = self.effort(directory, request) {
                    self.find_group(directory, queries, request, effort, work, out);
                    continue;
                }
                let mut none = Hits::new();
                none.set_plan(Plan::Scan);
                queries.chunks_exact(blocks).for_each(|_| out.push(&none));
            }
        });
    }

    fn find_group(
        &self,
        directory: &Directory,
        queries: &[Block],
        request: &Request<'_>,
        effort: Effort,
        work: &mut Work,
        out: &mut BatchHits,
    ) {
        let space = &self.space;
        let blocks = space.blocks();
        let count = queries.len() / blocks;
        let mut distances = if directory.is_trained() { count * directory.lists.len() } else { 0 };
        let mut visits: Vec<Visit> = Vec::with_capacity(count * effort.nprobe);
        let mut prepared: Vec<Prepared<'_>> = Vec::new();
        for (group, queries) in queries.chunks(RANKED * blocks).enumerate() {
            let first = (group * RANKED) as u32;
            self.rank(
                directory,
                queries,
                first,
                effort,
                &mut work.probe,
                &mut visits,
                &mut prepared,
            );
        }
        visits.sort_unstable_by_key(|visit| (visit.list, visit.query));

        let probe = &mut work.probe;
        let mut nearest = std::mem::take(&mut probe.nearest);
        nearest.resize_with(nearest.len().max(count), Nearest::default);
        nearest[..count].iter_mut().for_each(|nearest| nearest.begin(effort.kept));
        let still = self.moving.read();
        for visits in visits.chunk_by(|a, b| a.list == b.list) {
            let number = visits[0].list;
            let list = &*directory.lists[number as usize].read();
            let scan = Scan { ivf: self, list, number, effort: &effort };
            distances += visits.len() * list.len();
            if directory.codec.is_some() {
                for &Visit { query, bias, .. } in visits {
                    let (prepared, nearest) =
                        (&prepared[query as usize], &mut nearest[query as usize]);
                    scan.codes(prepared, bias, &mut probe.distances, nearest, &mut ());
                }
                continue;
            }
            for (tile, rows) in list.rows.chunks(TILE * blocks).enumerate() {
                for visit in visits {
                    let query = visit.query as usize;
                    let row = &queries[query * blocks..][..blocks];
                    scan.tile(tile, rows, row, &mut nearest[query]);
                }
            }
        }
        let mut hits = Hits::new();
        let timer = &mut Timer::new(Limit::default(), effort.k, 0);
        for (number, query) in queries.chunks_exact(blocks).enumerate() {
            if nearest[number].len() < effort.enough && effort.nprobe < directory.lists.len() {
                // Its lists hold too few vectors: alone, it goes on to further ones.
                work.row.clear();
                work.row.extend_from_slice(query);
                self.find_once(request, work, &mut hits);
                distances += hits.distances_computed() as usize;
            } else {
                nearest[number].take_sorted(&mut work.probe.found);
                let probe = &mut work.probe;
                distances += self.answer(directory, query, &effort, probe, timer, &mut hits);
                let all = effort.nprobe == directory.lists.len();
                hits.set_plan(if all { Plan::Scan } else { Plan::Probe });
            }
            out.push(&hits);
        }
        drop(still);
        work.probe.nearest = nearest;
        self.search_distances.fetch_add(distances as u64, Ordering::Relaxed);
    }

    /// Notes which lists a few queries probe, and prepares the queries for codes.
    #[expect(clippy::too_many_arguments, reason = "three things are made of a group of queries")]
    fn rank<'d>(
        &self,
        directory: &'d Directory,
        queries: &[Block],
        first: u32,
        effort: Effort,
        probe: &mut Probe,
        visits: &mut Vec<Visit>,
        prepared: &mut Vec<Prepared<'d>>,
    ) {
        let space = &self.space;
        let Probe { scratch, queries: rows, order, shifted, .. } = probe;
        let Scratch { floats, row, keys, .. } = scratch;
        rows.clear();
        for query in queries.chunks_exact(space.blocks()) {
            space.floats(query, floats);
            space.pad(floats, row);
            rows.extend_from_slice(row);
            let query = directory.prepare(floats, shifted);
            debug_assert!(query.is_ok(), "queries are brought into the range of quantizers");
            prepared.extend(query.ok().flatten());
        }
        directory.rank(space, rows, keys, order, &mut (), 1);
        for (order, query) in order.chunks_exact_mut(directory.lists.len()).zip(first..) {
            if effort.nprobe < order.len() {
                order.select_nth_unstable(effort.nprobe);
            }
            visits.extend(order[..effort.nprobe].iter().map(|&ranked| Visit {
                list: ranked as u32,
                query,
                bias: space.bias(ranked),
            }));
        }
    }
}
