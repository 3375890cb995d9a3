//! One query: the lists of the nearest centroids, read one after the other.

use std::sync::atomic::{Ordering, fence};

use super::Ivf;
use super::codec::Prepared;
use super::directory::{Directory, Scratch};
use super::nearest::{Candidate, Nearest};
use super::scan::Scan;
use crate::distance::key::to_f32;
use crate::error::IndexError;
use crate::graph::Watch;
use crate::index::filter::Filter;
use crate::index::hits::{BatchHits, Hit, Hits, Plan};
use crate::index::limit::Timer;
use crate::index::request::Request;
use crate::index::rerank::Head;
use crate::index::search::Searchable;
use crate::index::work::Work;
use crate::vector::Block;

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
    /// Distances of a part of a list by its codes.
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

/// How a search goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) k: usize,
    /// Whether vectors are measured by their codes,
    by_codes: bool,
    /// and the nearest again by their rows.
    again: bool,
    /// Candidates; more than `k` where they are measured again.
    pub(super) kept: usize,
    /// Candidates below which further lists are read.
    pub(super) enough: usize,
    pub(super) nprobe: usize,
    /// The farthest answer.
    radius: Option<f32>,
    /// The same, where all within it are wanted, however many.
    all_within: Option<f32>,
    /// The same, where the first measurement is the last.
    pub(super) cut: Option<f32>,
    /// Whether a filter is asked about candidates.
    pub(super) asks: bool,
}

impl Effort {
    /// By rows, for the answers only.
    fn by_rows(self) -> Self {
        Self { by_codes: false, again: false, kept: self.k, cut: self.all_within, ..self }
    }

    /// Whether an answer may be so far.
    fn reaches(&self, distance: f32) -> bool {
        self.radius.is_none_or(|radius| distance <= radius)
    }
}

impl Ivf {
    /// `None` if the answer is empty.
    pub(super) fn effort(&self, directory: &Directory, request: &Request<'_>) -> Option<Effort> {
        let Request { k, ef, nprobe, radius, .. } = *request;
        let by_codes = directory.codec.is_some();
        let again = by_codes && directory.has_rows;
        let kept = if again { ef.max(Head::enough_for(k)) } else { k };
        let cut = radius.filter(|_| !again && request.takes_rounds);
        let lists = directory.lists.len();
        let nprobe = nprobe.unwrap_or_else(|| self.probes(directory)).clamp(1, lists);
        let enough = k.min(directory.len());
        let asks = request.screen.filter().is_some();
        let all_within = radius.filter(|_| request.takes_rounds);
        let effort =
            Effort { k, by_codes, again, kept, enough, nprobe, radius, all_within, cut, asks };
        // Codes do not tell which of many vectors are within a radius.
        let effort = if again && request.takes_rounds { effort.by_rows() } else { effort };
        (enough > 0).then_some(effort)
    }

    /// The distance that a candidate's number stands for.
    pub(super) fn distance(&self, effort: &Effort, key: u32) -> f32 {
        if effort.by_codes {
            self.space.distance(to_f32(key))
        } else {
            self.space.encoder.answered(self.space.engine.distance(key))
        }
    }

    /// Bytes that are read for a distance.
    fn bytes_read(&self, effort: &Effort) -> usize {
        match self.settings.quantization.bits() {
            Some(bits) if effort.by_codes => self.dimension() * bits as usize / 8,
            _ => self.space.blocks() * size_of::<Block>(),
        }
    }

    /// Answers the query in `work.row` from one state of the lists.
    pub(super) fn find_once(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        let directory = &*self.directory();
        let Work { row, probe, .. } = work;
        let Some(mut effort) = self.effort(directory, request) else {
            hits.set(std::iter::empty());
            hits.set_counters(0, 0);
            hits.set_plan(Plan::Scan);
            return hits.set_complete(true);
        };
        let few = request.screen.filter().filter(|filter| is_few(directory, *filter, &effort));
        if few.is_some() {
            // The filter gives keys, all of which it accepts.
            effort.asks = false;
            if effort.again {
                effort = effort.by_rows();
            }
        }
        let bytes = self.bytes_read(&effort);
        let timer = &mut Timer::new(request.limit, effort.kept, bytes);
        if timer.expired() {
            return hits.set_nothing();
        }
        if effort.again {
            timer.leave_for_vectors(self.space.blocks() * size_of::<Block>());
        }
        let space = &self.space;
        let Scratch { floats, row: float_row, keys, .. } = &mut probe.scratch;
        space.floats(row, floats);
        space.pad(floats, float_row);
        let prepared = if effort.by_codes {
            let prepared = directory.prepare(floats, &mut probe.shifted);
            debug_assert!(prepared.is_ok(), "queries are brought into the range of quantizers");
            prepared.ok().flatten()
        } else {
            None
        };
        probe.nearest.resize_with(probe.nearest.len().max(1), Nearest::default);
        probe.nearest[0].begin(effort.kept);
        let lists = directory.lists.len();
        let ranks = few.is_none() || prepared.is_some();
        let weight = (space.float_blocks() * size_of::<Block>() / bytes.max(1)).max(1);
        let ranked = if ranks {
            directory.rank(space, float_row, keys, &mut probe.order, timer, weight)
        } else {
            0
        };
        let (scanned, read) = match few {
            _ if timer.expired() => (0, 0),
            Some(filter) => {
                let measured =
                    self.look_up(directory, &effort, filter, prepared.as_ref(), row, probe, timer);
                (measured, 0)
            }
            None => {
                let filter = request.screen.filter();
                self.read_lists(directory, &effort, filter, prepared.as_ref(), row, probe, timer)
            }
        };
        probe.nearest[0].take_sorted(&mut probe.found);
        let again = self.answer(directory, row, &effort, probe, timer, hits);
        hits.set_counters((ranked + scanned + again) as u64, read as u64);
        hits.set_complete(!timer.expired());
        hits.set_plan(match request.screen.filter() {
            Some(_) if few.is_some() || read == lists => Plan::FilteredScan,
            None if read == lists => Plan::Scan,
            _ => Plan::Probe,
        });
    }

    /// Reads the lists of the nearest centroids, which `probe.order` tells, and offers what the
    /// filter accepts; the vectors measured and the lists read.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn read_lists(
        &self,
        directory: &Directory,
        effort: &Effort,
        filter: Option<&dyn Filter>,
        prepared: Option<&Prepared<'_>>,
        row: &[Block],
        probe: &mut Probe,
        timer: &mut Timer<'_>,
    ) -> (usize, usize) {
        let Probe { order, distances, nearest, .. } = probe;
        let nearest = &mut nearest[0];
        let (lists, nprobe) = (order.len(), effort.nprobe);
        if nprobe < lists {
            order.select_nth_unstable(nprobe);
        }
        order[..nprobe].sort_unstable();
        // Answers within the radius, and lists since the last that had one.
        let (mut within, mut idle) = (0, 0);
        let (mut read, mut scanned) = (0, 0);
        while read < lists && !timer.expired() {
            let is_idle = effort.radius.is_none() || idle >= nprobe;
            let is_enough = if effort.all_within.is_some() {
                nearest.len() >= effort.enough || is_idle
            } else {
                // As without a radius, and on while there are more within it.
                nearest.len() >= effort.enough && (within >= effort.enough || is_idle)
            };
            if read >= nprobe && is_enough {
                break;
            }
            if read == nprobe {
                order[read..].sort_unstable();
            }
            let ranked = order[read];
            let number = ranked as u32;
            {
                let list = &*directory.lists[number as usize].read();
                let scan = Scan { ivf: self, list, number, effort };
                scanned += if let Some(prepared) = prepared {
                    let bias = self.space.bias(ranked);
                    scan.codes(prepared, bias, distances, nearest, timer)
                } else {
                    scan.rows(row, nearest, timer)
                };
            }
            // No lock is held while the filter is asked.
            if let Some(filter) = filter {
                nearest.admit(|key| filter.accepts(key), timer);
            }
            let before = within;
            within = match effort.radius {
                Some(_) if effort.again => nearest.len(),
                Some(r) => nearest.keys().filter(|&key| self.distance(effort, key) <= r).count(),
                None => 0,
            };
            idle = if within > before { 0 } else { idle + 1 };
            read += 1;
        }
        (scanned, read)
    }

    /// Offers the vectors of the keys that the filter gives; how many were measured.
    #[expect(clippy::too_many_arguments, reason = "what a search has, and what is accepted")]
    fn look_up(
        &self,
        directory: &Directory,
        effort: &Effort,
        filter: &dyn Filter,
        prepared: Option<&Prepared<'_>>,
        row: &[Block],
        probe: &mut Probe,
        timer: &mut Timer<'_>,
    ) -> usize {
        let Probe { order, nearest, scratch, .. } = probe;
        let nearest = &mut nearest[0];
        let mut measured = 0;
        filter.for_each(&mut |key| {
            directory.places.with(key, |number| {
                let list = &*directory.lists[number as usize].read();
                let scan = Scan { ivf: self, list, number, effort };
                if let Some(position) = list.position(key) {
                    let prepared = prepared
                        .map(|prepared| (prepared, self.space.bias(order[number as usize])));
                    scan.one(position, row, prepared, &mut scratch.code, nearest);
                    measured += 1;
                }
            });
            !timer.spent(LOOK_UP)
        });
        measured
    }

    /// Makes hits of the candidates in `probe.found`, which come in ascending order; the number of
    /// those measured again is returned.
    pub(super) fn answer(
        &self,
        directory: &Directory,
        query: &[Block],
        effort: &Effort,
        probe: &mut Probe,
        timer: &mut Timer<'_>,
        hits: &mut Hits,
    ) -> usize {
        let space = &self.space;
        let Probe { found, again, .. } = probe;
        if !effort.again {
            let hit =
                |c: &Candidate| Hit { key: c.key, distance: self.distance(effort, c.distance) };
            let found = found.iter().take(effort.k).map(hit);
            hits.set(found.take_while(|hit| effort.reaches(hit.distance)));
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
            if timer.is_late(again.len()) {
                break;
            }
        }
        again.sort_unstable();
        let found = again
            .iter()
            .take(effort.k)
            .map(|&(key, of)| {
                let distance = space.encoder.answered(space.engine.distance(key));
                Hit { key: of, distance }
            })
            .take_while(|hit| effort.reaches(hit.distance));
        hits.set(found);
        again.len()
    }
}

/// Vectors that are read in the time in which one is looked up by its key.
const LOOK_UP: usize = 16;

/// Whether a filter accepts so few keys that looking each up takes less than reading lists until
/// there are enough.
fn is_few(directory: &Directory, filter: &dyn Filter, effort: &Effort) -> bool {
    let Some(count) = filter.count() else { return false };
    let (len, lists) = (directory.len() as f64, directory.lists.len() as f64);
    let of_lists = len / lists * effort.nprobe as f64;
    // Keys that are not in the index count, too: at worst more is read.
    let of_answers = effort.k as f64 * len / (count as f64).max(1.0);
    (count as f64) * (LOOK_UP as f64) < of_lists.max(of_answers).min(len)
}

impl Searchable for Ivf {
    fn find(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        /// Searches that may be disturbed by a vector that moves, before one holds moves up.
        const ATTEMPTS: usize = 2;

        let undisturbed = (0..ATTEMPTS).any(|_| {
            let before = self.moves.load(Ordering::Acquire);
            self.find_once(request, work, hits);
            // What was read of lists comes before the second look.
            fence(Ordering::Acquire);
            (before.is_multiple_of(2) && self.moves.load(Ordering::Relaxed) == before)
                || !hits.is_complete()
        });
        if !undisturbed {
            let _still = self.moving.read();
            self.find_once(request, work, hits);
        }
        self.search_distances.fetch_add(hits.distances_computed(), Ordering::Relaxed);
    }

    fn find_all(&self, queries: &[Block], request: &Request<'_>, out: &mut BatchHits) {
        if request.screen.filter().is_some() || request.radius.is_some() || !request.limit.is_none()
        {
            return self.work.with(|work| self.find_each(queries, request, work, out));
        }
        self.find_groups(queries, request, out);
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn has_lists(&self) -> bool {
        true
    }

    fn ef_for(&self, recall: f64, _k: Option<usize>) -> Result<usize, IndexError> {
        Err(IndexError::Parameter {
            name: "recall",
            value: recall.to_string(),
            allowed: "none on an Ivf, which is not calibrated: say nprobe, and with codes ef",
        })
    }

    /// One pass finds all within a radius.
    fn answer(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        self.find(request, work, hits);
    }

    fn grain(&self, count: usize) -> usize {
        // As few groups as there are threads: each reads a list once.
        count.div_ceil(rayon::current_num_threads()).max(64)
    }
}
