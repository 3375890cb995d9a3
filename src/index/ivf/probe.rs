//! One query: the lists of the nearest centroids, read one after the other.

use std::sync::atomic::{Ordering, fence};

use super::Ivf;
use super::codec::Prepared;
use super::directory::{Directory, Scratch};
use super::list::List;
use super::nearest::{Candidate, Nearest};
use crate::distance::key::{of_f32, to_f32};
use crate::index::hits::{BatchHits, Hit, Hits};
use crate::index::rerank::Head;
use crate::index::search::{Probing, Request, Searchable};
use crate::index::work::Work;
use crate::vector::Block;

/// Rows that are measured at once.
pub(super) const TILE: usize = 32;

/// What a search works with.
#[derive(Debug, Default)]
pub(in crate::index) struct Probe {
    pub(super) scratch: Scratch,
    /// Queries as rows of floats.
    pub(super) queries: Vec<Block>,
    /// For each query and list the distance and the number of the list.
    pub(super) order: Vec<u64>,
    /// A query as codes see it.
    pub(super) shifted: Vec<f32>,
    /// Distances of a list by its codes.
    pub(super) distances: Vec<f32>,
    pub(super) nearest: Vec<Nearest>,
    pub(super) found: Vec<Candidate>,
    /// Distance and key of candidates that were measured again.
    again: Vec<(u32, u64)>,
}

impl Probe {
    /// Bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        self.scratch.bytes()
            + self.queries.capacity() * size_of::<Block>()
            + self.order.capacity() * 8
            + (self.shifted.capacity() + self.distances.capacity()) * 4
            + self.nearest.iter().map(Nearest::bytes).sum::<usize>()
            + self.found.capacity() * size_of::<Candidate>()
            + self.again.capacity() * size_of::<(u32, u64)>()
    }
}

/// Lists that a search reads if nobody says: the share that holds the nearest falls with the number.
pub(super) fn default_nprobe(lists: usize) -> usize {
    (2.0 * (lists as f64).sqrt()).ceil() as usize
}

/// How many candidates a search keeps, and how many lists it reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) k: usize,
    /// Candidates by their codes; `k` where they are not measured again.
    pub(super) kept: usize,
    /// Candidates below which further lists are read.
    pub(super) enough: usize,
    pub(super) nprobe: usize,
}

impl Ivf {
    /// `None` if the answer is empty.
    pub(super) fn effort(&self, directory: &Directory, request: &Request) -> Option<Effort> {
        let Request { k, ef, nprobe } = *request;
        let again = directory.codec.is_some() && directory.has_rows;
        let kept = if again { ef.max(Head::depth(k)) } else { k };
        let lists = directory.lists.len();
        let nprobe = nprobe.unwrap_or_else(|| self.probes(directory)).clamp(1, lists);
        let enough = k.min(directory.len());
        (enough > 0).then_some(Effort { k, kept, enough, nprobe })
    }

    /// Answers the query in `work.row` from one state of the lists.
    pub(super) fn find_once(&self, request: &Request, work: &mut Work, hits: &mut Hits) {
        let directory = &*self.directory();
        let Work { row, probe, .. } = work;
        let Some(effort) = self.effort(directory, request) else {
            hits.set(std::iter::empty());
            hits.set_counters(0, 0);
            return;
        };
        let space = &self.space;
        let Scratch { floats, row: float_row, keys, .. } = &mut probe.scratch;
        space.floats(row, floats);
        space.pad(floats, float_row);
        directory.rank(space, float_row, keys, &mut probe.order);
        let lists = probe.order.len();
        if effort.nprobe < lists {
            probe.order.select_nth_unstable(effort.nprobe);
        }
        probe.order[..effort.nprobe].sort_unstable();
        let prepared = directory.prepare(floats, &mut probe.shifted);
        debug_assert!(prepared.is_ok(), "queries are brought into the range of quantizers");
        let prepared = prepared.ok().flatten();

        probe.nearest.resize_with(probe.nearest.len().max(1), Nearest::default);
        let nearest = &mut probe.nearest[0];
        nearest.begin(effort.kept);
        let (mut read, mut scanned) = (0, 0);
        while read < lists && (read < effort.nprobe || nearest.len() < effort.enough) {
            if read == effort.nprobe {
                probe.order[read..].sort_unstable();
            }
            let ranked = probe.order[read];
            let number = ranked as u32;
            let list = &*directory.lists[number as usize].read();
            let scan = Scan { ivf: self, directory, list, number };
            if let Some(prepared) = &prepared {
                let bias = space.bias(ranked);
                scan.codes(prepared, bias, &mut probe.distances, nearest);
            } else {
                scan.rows(row, nearest);
            }
            scanned += list.len();
            read += 1;
        }
        nearest.take_sorted(&mut probe.found);
        let ranked = if directory.is_trained() { lists } else { 0 };
        let again = self.answer(directory, row, effort.k, probe, hits);
        hits.set_counters((ranked + scanned + again) as u64, read as u64);
    }

    /// Makes hits of the candidates in `probe.found`; the number of those measured again is
    /// returned.
    pub(super) fn answer(
        &self,
        directory: &Directory,
        query: &[Block],
        k: usize,
        probe: &mut Probe,
        hits: &mut Hits,
    ) -> usize {
        let space = &self.space;
        let Probe { found, again, .. } = probe;
        if directory.codec.is_none() {
            let hit =
                |c: &Candidate| Hit { key: c.key, distance: space.engine.distance(c.distance) };
            hits.set(found.iter().take(k).map(hit));
            return 0;
        }
        if !directory.has_rows {
            let distance = |key| space.distance(to_f32(key));
            let hit = |c: &Candidate| Hit { key: c.key, distance: distance(c.distance) };
            hits.set(found.iter().take(k).map(hit));
            return 0;
        }
        found.sort_unstable_by_key(|candidate| (candidate.list, candidate.position));
        again.clear();
        for of_list in found.chunk_by(|a, b| a.list == b.list) {
            let list = directory.lists[of_list[0].list as usize].read();
            for candidate in of_list {
                let position = candidate.position as usize;
                if list.keys.get(position) == Some(&candidate.key) {
                    crate::simd::prefetch(list.row(position, space.blocks()));
                }
            }
            for candidate in of_list {
                // Somebody may have changed the list since it was read.
                let expected = candidate.position as usize;
                let position = if list.keys.get(expected) == Some(&candidate.key) {
                    expected
                } else if let Some(position) = list.position(candidate.key) {
                    position
                } else {
                    continue;
                };
                let mut key = 0;
                let row = list.row(position, space.blocks());
                space.engine.keys_in_line(row, query, std::slice::from_mut(&mut key));
                again.push((key, candidate.key));
            }
        }
        again.sort_unstable();
        hits.set(
            again
                .iter()
                .take(k)
                .map(|&(distance, key)| Hit { key, distance: space.engine.distance(distance) }),
        );
        again.len()
    }
}

/// A list that is read.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) ivf: &'a Ivf,
    pub(super) directory: &'a Directory,
    pub(super) list: &'a List,
    pub(super) number: u32,
}

impl Scan<'_> {
    /// Offers all vectors, measured by their rows.
    pub(super) fn rows(self, query: &[Block], nearest: &mut Nearest) {
        let blocks = self.ivf.space.blocks();
        for (tile, rows) in self.list.rows.chunks(TILE * blocks).enumerate() {
            self.tile(tile, rows, query, nearest);
        }
    }

    /// Offers the vectors of one tile of rows.
    #[inline]
    pub(super) fn tile(self, tile: usize, rows: &[Block], query: &[Block], nearest: &mut Nearest) {
        let space = &self.ivf.space;
        let mut keys = [0; TILE];
        let keys = &mut keys[..rows.len() / space.blocks()];
        space.engine.keys_in_line(rows, query, keys);
        let mut bound = nearest.bound();
        for (place, &distance) in keys.iter().enumerate() {
            if distance <= bound {
                self.offer(distance, tile * TILE + place, nearest);
                bound = nearest.bound();
            }
        }
    }

    /// Offers all vectors, measured by their codes.
    pub(super) fn codes(
        self,
        query: &Prepared<'_>,
        bias: f32,
        distances: &mut Vec<f32>,
        nearest: &mut Nearest,
    ) {
        distances.resize(self.list.len(), 0.0);
        query.scan(&self.list.codes, distances);
        let weight = self.ivf.space.weight();
        for (distance, term) in distances.iter_mut().zip(&self.list.terms) {
            *distance = bias + (term + weight * *distance);
        }
        let bound_of = |nearest: &Nearest| match nearest.bound() {
            u32::MAX => f32::INFINITY,
            bound => to_f32(bound),
        };
        let mut bound = bound_of(nearest);
        for (chunk, start) in distances.chunks(16).zip((0..).step_by(16)) {
            // Hardly any is near enough: sixteen are dismissed at once.
            if chunk.iter().fold(f32::INFINITY, |least, &d| if d < least { d } else { least })
                > bound
            {
                continue;
            }
            for (place, &distance) in chunk.iter().enumerate() {
                if distance <= bound {
                    self.offer(of_f32(distance + 0.0), start + place, nearest);
                    bound = bound_of(nearest);
                }
            }
        }
    }

    fn offer(self, distance: u32, position: usize, nearest: &mut Nearest) {
        let key = self.list.keys[position];
        let (list, position) = (self.number, position as u32);
        nearest.offer(Candidate { distance, key, list, position });
    }
}

impl Searchable for Ivf {
    fn find(&self, request: &Request, work: &mut Work, hits: &mut Hits) {
        /// Searches that may be disturbed by a vector that moves, before one holds moves up.
        const ATTEMPTS: usize = 2;

        let undisturbed = (0..ATTEMPTS).any(|_| {
            let before = self.moves.load(Ordering::Acquire);
            self.find_once(request, work, hits);
            // What was read of lists comes before the second look.
            fence(Ordering::Acquire);
            before.is_multiple_of(2) && self.moves.load(Ordering::Relaxed) == before
        });
        if !undisturbed {
            let _still = self.moving.read();
            self.find_once(request, work, hits);
        }
        self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
    }

    fn find_all(&self, queries: &[Block], request: &Request, out: &mut BatchHits) {
        self.find_groups(queries, request, out);
    }

    fn probing(&self) -> Probing {
        Probing::Lists
    }

    fn grain(&self, count: usize) -> usize {
        // As few groups as there are threads: each reads a list once.
        count.div_ceil(rayon::current_num_threads()).max(64)
    }
}
