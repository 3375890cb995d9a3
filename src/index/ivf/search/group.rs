//! Many queries: each list is read once for all that probe it.

use std::sync::atomic::Ordering;

use super::asked::Asked;
use super::nearest::Nearest;
use super::probe::{Effort, Probe};
use super::rerank::Reranking;
use super::scan::{Scan, TILE};
use crate::index::ivf::Ivf;
use crate::index::ivf::lists::directory::{Directory, Scratch};
use crate::index::query::budget::{Limit, Timer};
use crate::index::query::hits::{BatchHits, Hits, SearchPlan};
use crate::index::query::request::Request;
use crate::vector::Block;

/// Queries that share the reading of lists; vectors do not move from list to list meanwhile.
const GROUP: usize = 1024;

/// Queries that are compared with centroids at once.
const RANKED: usize = 16;

/// A query that probes a list.
#[derive(Debug, Clone, Copy)]
struct Visit {
    /// Base of the list: a query is prepared for one base at a time.
    base: u32,
    query: u32,
    /// The list, with its distance in the upper half.
    ranked: u64,
}

/// Lists that a group of queries probes.
struct Group<'a> {
    directory: &'a Directory,
    effort: Effort,
    /// The lists of each query, one query after the other.
    lists: Vec<u64>,
    asked: Vec<Asked<'a>>,
}

impl Ivf {
    /// Answers encoded queries. The request has no filter, no radius and no limit.
    pub(in crate::index::ivf) fn find_groups(
        &self,
        queries: &[Block],
        request: &Request<'_>,
        out: &mut BatchHits,
    ) {
        let blocks = self.space.blocks();
        self.probes.with(|probe| {
            for queries in queries.chunks(GROUP * blocks) {
                let directory = &*self.directory();
                if let Some(effort) = self.effort(directory, request) {
                    self.find_group((directory, effort), queries, request, probe, out);
                    continue;
                }
                let mut none = Hits::new();
                none.set_plan(SearchPlan::Scan);
                queries.chunks_exact(blocks).for_each(|_| out.push(&none));
            }
        });
    }

    fn find_group(
        &self,
        (directory, effort): (&Directory, Effort),
        queries: &[Block],
        request: &Request<'_>,
        probe: &mut Probe,
        out: &mut BatchHits,
    ) {
        let blocks = self.space.blocks();
        let count = queries.len() / blocks;
        let mut distances = if directory.is_trained() { count * directory.lists.len() } else { 0 };
        let mut group = Group { directory, effort, lists: Vec::new(), asked: Vec::new() };
        group.lists.reserve_exact(count * effort.nprobe);
        for queries in queries.chunks(RANKED * blocks) {
            self.rank(queries, probe, &mut group);
        }
        let mut nearest = std::mem::take(&mut probe.nearest);
        nearest.resize_with(nearest.len().max(count), Nearest::default);
        let kept = if effort.again { effort.kept.max(self.depth.room()) } else { effort.kept };
        nearest[..count].iter_mut().for_each(|nearest| nearest.begin(kept));
        // Estimates of all these lists are not kept.
        probe.ends.clear();
        let still = self.moving.read();
        distances += self.read_together(queries, &mut group, probe, &mut nearest);
        let mut hits = Hits::new();
        let timer = &mut Timer::new(Limit::default(), effort.k, 0);
        for (number, query) in queries.chunks_exact(blocks).enumerate() {
            if nearest[number].len() < effort.enough && effort.nprobe < directory.lists.len() {
                // The query's lists hold too few vectors: alone, it continues with further lists.
                self.find_once(request, query, probe, &mut hits);
                distances += hits.distances_computed() as usize;
            } else {
                nearest[number].take_sorted(&mut probe.found);
                let lists = &group.lists[number * effort.nprobe..][..effort.nprobe];
                let (effort, filter) = (&effort, None);
                let reranking = Reranking { directory, query, effort, filter, lists, kept };
                let asked = &mut group.asked[number];
                distances += self.answer(reranking, asked, probe, timer, &mut hits);
                let all = effort.nprobe == directory.lists.len();
                hits.set_plan(if all { SearchPlan::Scan } else { SearchPlan::Probe });
            }
            out.push(&hits);
        }
        drop(still);
        probe.nearest = nearest;
        self.search_distances.fetch_add(distances as u64, Ordering::Relaxed);
    }

    /// Reads each list once for all queries that probe it, and offers its vectors to them. Returns
    /// the number of distances computed.
    fn read_together(
        &self,
        queries: &[Block],
        group: &mut Group<'_>,
        probe: &mut Probe,
        nearest: &mut [Nearest],
    ) -> usize {
        let (space, directory) = (&self.space, group.directory);
        let (blocks, effort) = (space.blocks(), &group.effort);
        let mut visits: Vec<Visit> = Vec::with_capacity(group.lists.len());
        for (lists, query) in group.lists.chunks_exact(effort.nprobe).zip(0..) {
            visits.extend(lists.iter().map(|&ranked| {
                let base = directory.bases.of_list(ranked as u32);
                Visit { base, query, ranked }
            }));
        }
        visits.sort_unstable_by_key(|visit| (visit.base, visit.ranked as u32, visit.query));
        let mut distances = 0;
        for visits in visits.chunk_by(|a, b| a.ranked as u32 == b.ranked as u32) {
            let number = visits[0].ranked as u32;
            let list = &*directory.lists[number as usize].read();
            let scan = Scan { ivf: self, list, number, effort };
            distances += visits.len() * list.len();
            if directory.codec.is_some() {
                for &Visit { query, ranked, .. } in visits {
                    let query = query as usize;
                    let formula = directory.formula(space, ranked);
                    if let Some((prepared, formula)) =
                        group.asked[query].prepared(number).zip(formula)
                    {
                        let distances = &mut probe.distances;
                        distances.clear();
                        scan.codes(prepared, formula, distances, &mut nearest[query], &mut ());
                    }
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
        distances
    }

    /// Notes the lists that a few queries probe.
    fn rank<'d>(&'d self, queries: &[Block], probe: &mut Probe, group: &mut Group<'d>) {
        let space = &self.space;
        let Probe { scratch, queries: rows, order, .. } = probe;
        let Scratch { floats, row, order_keys, .. } = scratch;
        let Group { directory, effort, lists, asked } = group;
        rows.clear();
        for query in queries.chunks_exact(space.blocks()) {
            space.floats(query, floats);
            space.pad(floats, row);
            rows.extend_from_slice(row);
            // Visits are ordered by base: a query stays prepared for one base.
            let floats = if directory.codec.is_some() { floats.clone() } else { Vec::new() };
            asked.push(Asked::new(space, directory, floats, 1));
        }
        directory.rank(space, rows, (order_keys, order), &mut (), 1);
        for order in order.chunks_exact_mut(directory.lists.len()) {
            if effort.nprobe < order.len() {
                order.select_nth_unstable(effort.nprobe);
            }
            lists.extend_from_slice(&order[..effort.nprobe]);
        }
    }
}
