//! One query: the lists of the nearest centroids, read one after the other.

use std::sync::atomic::{Ordering, fence};

use super::asked::Asked;
use super::nearest::{Candidate, Nearest};
use super::rerank::{Again, Reranking};
use super::scan::Scan;
use crate::error::IndexError;
use crate::graph::Watch;
use crate::index::codes::rerank::Head;
use crate::index::ivf::Ivf;
use crate::index::ivf::lists::directory::{Directory, Scratch};
use crate::index::query::budget::Timer;
use crate::index::query::filter::Filter;
use crate::index::query::hits::{BatchHits, Hits, SearchPlan};
use crate::index::query::request::Request;
use crate::index::scratch::{Buffers, Work};
use crate::index::search::Searchable;
use crate::order_key::OrderKey;
use crate::threads;
use crate::vector::Block;

/// Buffers of a search.
#[derive(Debug, Default)]
pub(in crate::index::ivf) struct Probe {
    pub(in crate::index::ivf) scratch: Scratch,
    /// Queries as rows of floats.
    pub(in crate::index::ivf) queries: Vec<Block>,
    /// For each query and list the distance and the number of the list.
    pub(in crate::index::ivf) order: Vec<u64>,
    /// Estimates by codes: of the current list, or of all lists read.
    pub(in crate::index::ivf) distances: Vec<f32>,
    /// Ends of each list's estimates, in the order in which lists were read, if all estimates are kept.
    pub(in crate::index::ivf) ends: Vec<usize>,
    pub(in crate::index::ivf) nearest: Vec<Nearest>,
    pub(in crate::index::ivf) found: Vec<Candidate>,
    pub(in crate::index::ivf) again: Again,
}

impl Buffers for Probe {
    fn bytes(&self) -> usize {
        self.scratch.bytes()
            + self.queries.capacity() * size_of::<Block>()
            + self.order.capacity() * 8
            + self.distances.capacity() * 4
            + self.ends.capacity() * size_of::<usize>()
            + self.nearest.iter().map(Nearest::bytes).sum::<usize>()
            + self.found.capacity() * size_of::<Candidate>()
            + self.again.bytes()
    }
}

/// Returns the default `nprobe`: the share of lists that holds the nearest falls with their number.
pub(in crate::index::ivf) fn default_nprobe(lists: usize) -> usize {
    (2.0 * (lists as f64).sqrt()).ceil() as usize
}

/// Plan and limits of a search.
#[derive(Debug, Clone, Copy)]
pub(in crate::index::ivf) struct Effort {
    pub(in crate::index::ivf) k: usize,
    /// Whether vectors are measured by their codes.
    by_codes: bool,
    /// Whether the nearest are measured again by their rows.
    pub(in crate::index::ivf) again: bool,
    /// Candidates kept; more than `k` if they are measured again.
    pub(in crate::index::ivf) kept: usize,
    /// Candidates below which further lists are read.
    pub(in crate::index::ivf) enough: usize,
    pub(in crate::index::ivf) nprobe: usize,
    /// Maximum distance of an answer.
    pub(in crate::index::ivf) radius: Option<f32>,
    /// The same, if all vectors within it are wanted.
    all_within: Option<f32>,
    /// The same, if the first measurement is the last.
    pub(in crate::index::ivf) cut: Option<f32>,
    /// Whether a filter tests candidates.
    pub(in crate::index::ivf) asks: bool,
}

impl Effort {
    /// Returns the same search by rows, for the answers only.
    fn by_rows(self) -> Self {
        Self { by_codes: false, again: false, kept: self.k, cut: self.all_within, ..self }
    }

    /// Returns whether an answer may have this distance.
    pub(in crate::index::ivf) fn reaches(&self, distance: f32) -> bool {
        self.radius.is_none_or(|radius| distance <= radius)
    }
}

impl Ivf {
    /// Returns the plan of a search, or `None` if the answer is empty.
    pub(in crate::index::ivf) fn effort(
        &self,
        directory: &Directory,
        request: &Request<'_>,
    ) -> Option<Effort> {
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
        // Codes do not tell exactly which vectors are within a radius.
        let effort = if again && request.takes_rounds { effort.by_rows() } else { effort };
        (enough > 0).then_some(effort)
    }

    /// Returns the distance that the order key of a candidate encodes.
    pub(in crate::index::ivf) fn distance(&self, effort: &Effort, order: OrderKey) -> f32 {
        if effort.by_codes {
            self.space.distance(order.to_f32())
        } else {
            self.space.encoder.answered(self.space.engine.distance(order))
        }
    }

    /// Returns the bytes that are read for a distance.
    fn bytes_read(&self, effort: &Effort) -> usize {
        match self.settings.coding.bits() {
            Some(bits) if effort.by_codes => self.dimension() * bits as usize / 8,
            _ => self.space.blocks() * size_of::<Block>(),
        }
    }

    /// Answers the encoded query in `row` from one state of the lists.
    pub(in crate::index::ivf) fn find_once(
        &self,
        request: &Request<'_>,
        row: &[Block],
        probe: &mut Probe,
        hits: &mut Hits,
    ) {
        let directory = &*self.directory();
        let Some(mut effort) = self.effort(directory, request) else {
            hits.set(std::iter::empty());
            hits.set_counters(0, 0);
            hits.set_plan(SearchPlan::Scan);
            return hits.set_complete(true);
        };
        let few = request.screen.filter().filter(|filter| is_few(directory, *filter, &effort));
        if few.is_some() {
            // The filter lists its keys, all of which it accepts.
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
        let Scratch { floats, row: float_row, order_keys, .. } = &mut probe.scratch;
        space.floats(row, floats);
        space.pad(floats, float_row);
        let asked = &mut Asked::new(space, directory, std::mem::take(floats), MOST_BASES);
        probe.nearest.resize_with(probe.nearest.len().max(1), Nearest::default);
        probe.nearest[0].begin(effort.kept);
        let lists = directory.lists.len();
        let ranks = few.is_none() || effort.by_codes;
        let weight = (space.float_blocks() * size_of::<Block>() / bytes.max(1)).max(1);
        let ranked = if ranks {
            directory.rank(space, float_row, (order_keys, &mut probe.order), timer, weight)
        } else {
            0
        };
        let filter = request.screen.filter();
        let searching = Searching { directory, effort: &effort, filter, row };
        let (scanned, read) = match few {
            _ if timer.expired() => (0, 0),
            Some(filter) => (self.look_up(searching, filter, asked, probe, timer), 0),
            None => self.read_lists(searching, asked, probe, timer),
        };
        probe.nearest[0].take_sorted(&mut probe.found);
        let order = std::mem::take(&mut probe.order);
        let reranking = Reranking {
            directory,
            query: row,
            effort: &effort,
            filter,
            lists: &order[..read.min(order.len())],
            kept: effort.kept,
        };
        let again = self.answer(reranking, asked, probe, timer, hits);
        probe.order = order;
        probe.scratch.floats = asked.take_floats();
        hits.set_counters((ranked + scanned + again) as u64, read as u64);
        hits.set_complete(!timer.expired());
        hits.set_plan(match request.screen.filter() {
            Some(_) if few.is_some() || read == lists => SearchPlan::FilteredScan,
            None if read == lists => SearchPlan::Scan,
            _ => SearchPlan::Probe,
        });
    }

    /// Reads the lists of the nearest centroids, by `probe.order`, and offers vectors that the
    /// filter accepts. Returns the number of vectors measured and of lists read.
    fn read_lists(
        &self,
        searching: Searching<'_>,
        asked: &mut Asked<'_>,
        probe: &mut Probe,
        timer: &mut Timer<'_>,
    ) -> (usize, usize) {
        let Searching { directory, effort, filter, row } = searching;
        let Probe { order, distances, ends, nearest, .. } = probe;
        let nearest = &mut nearest[0];
        let (lists, nprobe) = (order.len(), effort.nprobe);
        distances.clear();
        ends.clear();
        if nprobe < lists {
            order.select_nth_unstable(nprobe);
        }
        order[..nprobe].sort_unstable();
        // Answers within the radius, and lists since the last that had an answer.
        let (mut within, mut idle) = (0, 0);
        let (mut read, mut scanned) = (0, 0);
        while read < lists && !timer.expired() {
            let is_idle = effort.radius.is_none() || idle >= nprobe;
            let is_enough = if effort.all_within.is_some() {
                nearest.len() >= effort.enough || is_idle
            } else {
                // As without a radius, and further while lists bring answers within it.
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
            let prepared = if effort.by_codes { asked.prepared(number) } else { None };
            let keeps = effort.again && ends.len() == read && distances.len() < MOST_ESTIMATES;
            if !keeps {
                distances.clear();
                ends.clear();
            }
            {
                let list = &*directory.lists[number as usize].read();
                let scan = Scan { ivf: self, list, number, effort };
                scanned += if let Some(prepared) = prepared
                    && let Some(formula) = directory.formula(&self.space, ranked)
                {
                    scan.codes(prepared, formula, distances, nearest, timer)
                } else {
                    scan.rows(row, nearest, timer)
                };
            }
            if keeps {
                ends.push(distances.len());
            }
            // No lock is held while the filter runs.
            if let Some(filter) = filter {
                nearest.admit(|key| filter.accepts(key), timer);
            }
            let before = within;
            within = match effort.radius {
                Some(_) if effort.again => nearest.len(),
                Some(r) => {
                    nearest.orders().filter(|&order| self.distance(effort, order) <= r).count()
                }
                None => 0,
            };
            idle = if within > before { 0 } else { idle + 1 };
            read += 1;
        }
        (scanned, read)
    }

    /// Offers the vectors of the keys that the filter lists. Returns the number of vectors measured.
    fn look_up(
        &self,
        searching: Searching<'_>,
        filter: &dyn Filter,
        asked: &mut Asked<'_>,
        probe: &mut Probe,
        timer: &mut Timer<'_>,
    ) -> usize {
        let Searching { directory, effort, row, .. } = searching;
        let Probe { order, nearest, scratch, .. } = probe;
        let nearest = &mut nearest[0];
        let mut measured = 0;
        filter.for_each(&mut |key| {
            directory.places.with(key, |number| {
                let prepared = if effort.by_codes { asked.prepared(number) } else { None };
                let list = &*directory.lists[number as usize].read();
                let scan = Scan { ivf: self, list, number, effort };
                if let Some(position) = list.position(key) {
                    let prepared = prepared.and_then(|prepared| {
                        let ranked = order[number as usize];
                        Some((prepared, directory.formula(&self.space, ranked)?))
                    });
                    scan.one(position, row, prepared, &mut scratch.code, nearest);
                    measured += 1;
                }
            });
            !timer.spent(LOOK_UP)
        });
        measured
    }
}

/// Maximum number of estimates kept until the nearest are measured again: 4 MiB.
const MOST_ESTIMATES: usize = 1 << 20;

/// Bases that a query stays prepared for.
const MOST_BASES: usize = 8;

/// A search in progress.
#[derive(Clone, Copy)]
struct Searching<'a> {
    directory: &'a Directory,
    effort: &'a Effort,
    filter: Option<&'a dyn Filter>,
    /// The query as it is stored.
    row: &'a [Block],
}

/// Vectors that are read in the time of one lookup by key.
const LOOK_UP: usize = 16;

/// Returns whether a filter accepts few keys: looking each up takes less time than reading lists until
/// enough are found.
fn is_few(directory: &Directory, filter: &dyn Filter, effort: &Effort) -> bool {
    let Some(count) = filter.count() else { return false };
    let (len, lists) = (directory.len() as f64, directory.lists.len() as f64);
    let of_lists = len / lists * effort.nprobe as f64;
    // Keys that are not in the index count, too: at worst the search reads more.
    let of_answers = effort.k as f64 * len / (count as f64).max(1.0);
    (count as f64) * (LOOK_UP as f64) < of_lists.max(of_answers).min(len)
}

impl Searchable for Ivf {
    fn find(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        /// Searches that a moving vector may disturb, before one blocks moves.
        const ATTEMPTS: usize = 2;

        self.probes.with(|probe| {
            let undisturbed = (0..ATTEMPTS).any(|_| {
                let before = self.moves.load(Ordering::Acquire);
                self.find_once(request, &work.row, probe, hits);
                // Reads of lists are ordered before the second load of `moves`.
                fence(Ordering::Acquire);
                (before.is_multiple_of(2) && self.moves.load(Ordering::Relaxed) == before)
                    || !hits.is_complete()
            });
            if !undisturbed {
                let _still = self.moving.read();
                self.find_once(request, &work.row, probe, hits);
            }
        });
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

    /// Finds all vectors within a radius in one pass.
    fn answer(&self, request: &Request<'_>, work: &mut Work, hits: &mut Hits) {
        self.find(request, work, hits);
    }

    fn grain(&self, count: usize) -> usize {
        // One group per thread, because each group reads a list once.
        count.div_ceil(threads::count()).max(64)
    }
}
