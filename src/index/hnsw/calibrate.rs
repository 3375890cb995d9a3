//! Measures the recall at each `ef`.
//!
//! Queries run at ever greater `ef`, and their exact neighbours are counted. Searches use a lower bound: Wilson's
//! interval, with the number of independent trials that has the variance between queries, because neighbours of one
//! query are found or missed together. Without queries, vectors of the index are searched for and left out of the
//! answers; only nodes of the base level can be. The curve is an array of atomics, read without a lock.

use std::fmt;

use rayon::ThreadPool;

use super::Hnsw;
use super::walks::Walk;
use crate::arena::{Slot, pin};
use crate::distance::Vigil;
use crate::error::IndexError;
use crate::graph::{Beam, Counters, Node};
use crate::index::parallel::Threads;
use crate::index::query::budget::{Limit, Timer};
use crate::index::query::filter::Screen;
use crate::index::query::hits::{BatchHits, Hits};
use crate::index::query::request::Request;
use crate::index::reports::calibration::{Calibration, CalibrationPoint, POINTS};
use crate::index::scratch::{Parts, Work};
use crate::index::search::Searchable;
use crate::threads::map;
use crate::vector::{AsVector, Block, VectorRef};

/// Lower bound of the recall at which the measurement stops, because a greater one takes ever more queries to prove.
const CERTAIN: f64 = 0.9995;

/// A measurement to make. Made by [`Hnsw::calibrate`]; nothing happens until [`run`](Self::run).
///
/// Recall at several `ef` is measured against exact neighbours, either of queries that the caller has or of a sample of
/// the vectors in the index. In the second case each vector is searched for as if it were absent, neither as an answer
/// nor on the way. Because its links are missing too, queries from outside that are like the vectors reach a greater
/// recall than requested: 0.93 to 0.97 for 0.9, on word vectors, sentence embeddings and photo descriptors. **Queries of
/// the kind that searches will use are better**: if they differ in origin from the vectors, as questions do that are to
/// find passages of text, they may be harder than any vector of the index, and the sample then promises too much.
///
/// ```
/// use nearfield::dataset::Generated;
/// use nearfield::{Hnsw, Metric};
///
/// let (base, queries) = Generated::builder(6000, 16).build()?.into_parts();
/// let index = Hnsw::builder(16, Metric::L2).build()?;
/// index.insert_batch(&(0..6000).collect::<Vec<_>>(), &base).run()?;
///
/// let calibration = index.calibrate().queries(&queries).run()?;
/// for point in &calibration.points {
///     println!("ef {}: recall {:.4}", point.ef, point.recall);
/// }
/// let hits = index.search(&queries.row(0).unwrap()).recall(0.99).run()?;
/// assert_eq!(hits.len(), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "nothing is measured until `run` is called"]
pub struct Calibrate<'a> {
    index: &'a Hnsw,
    queries: Option<VectorRef<'a>>,
    sample: usize,
    k: usize,
    max_ef: usize,
    threads: Threads<'a>,
}

impl<'a> Calibrate<'a> {
    pub(in crate::index) fn new(index: &'a Hnsw) -> Self {
        Self { index, queries: None, sample: 1000, k: 10, max_ef: 4096, threads: Threads::Ambient }
    }

    /// Sets the queries to measure with, one after the other: some hundreds, of the kind that searches will use, and not
    /// themselves in the index.
    pub fn queries<V: AsVector + ?Sized>(mut self, queries: &'a V) -> Self {
        self.queries = Some(queries.as_vector());
        self
    }

    /// Sets the number of vectors of the index to take if no queries are given; 1,000 by default, all if the index has
    /// fewer.
    pub fn sample(mut self, sample: usize) -> Self {
        self.sample = sample;
        self
    }

    /// Sets the number of answers; 10 by default. It must be at least the `k` of the searches that request a recall.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Sets the greatest `ef` to try; 4,096 by default. The measurement ends before if recall is perfect, or if a scan
    /// of every vector costs less.
    pub fn max_ef(mut self, max_ef: usize) -> Self {
        self.max_ef = max_ef;
        self
    }

    /// Sets the number of threads, 1 for the caller's own. By default the measurement uses the rayon pool that the
    /// caller is in, or the global pool.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::Count(threads);
        self
    }

    /// Sets the rayon pool to use.
    pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
        self.threads = Threads::Pool(pool);
        self
    }

    /// Measures, and keeps the curve in the index in place of an older one, for
    /// [`Search::recall`](crate::Search::recall) and [`Stats::calibration`](crate::Stats).
    ///
    /// Takes the time of an exact search for each query, and of some ten thousand distances more. Searches and
    /// insertions continue meanwhile. The curve is not saved in files: calibrate after opening. If vectors are not kept
    /// whole ([`Originals`](crate::Originals)), the exact answers are those by the kept form of the vectors.
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] if `k`, `sample`, `max_ef` or the number of queries is 0, or if the index has no more
    /// than `k` vectors; those of [`SearchBatch::run`](crate::SearchBatch::run) for the queries.
    pub fn run(self) -> Result<Calibration, IndexError> {
        let Self { index, queries, sample, k, max_ef, threads } = self;
        for (name, value) in [("k", k), ("sample", sample), ("max_ef", max_ef)] {
            if value == 0 {
                let value = value.to_string();
                return Err(IndexError::Parameter { name, value, allowed: "1 or more" });
            }
        }
        if index.len() <= k {
            let allowed = "fewer than there are vectors in the index";
            return Err(IndexError::Parameter { name: "k", value: k.to_string(), allowed });
        }
        let subjects = match queries {
            Some(queries) => Subjects { rows: index.encoder().encode_all(queries)?, own: vec![] },
            None => index.sample(sample),
        };
        if subjects.rows.is_empty() {
            let allowed = "1 or more, of vectors that are on the base level alone";
            return Err(IndexError::Parameter { name: "queries", value: "0".to_owned(), allowed });
        }
        let vigil = Vigil::begin(index.custom_use());
        let calibration = threads.run(
            index.own_pool(),
            || index.measure_over_ef(&subjects, k, max_ef, false),
            || index.measure_over_ef(&subjects, k, max_ef, true),
        )?;
        vigil.end()?;
        index.curve.set(&calibration);
        Ok(calibration)
    }
}

/// The queries of a measurement.
struct Subjects {
    /// Encoded queries, one after the other.
    rows: Vec<Block>,
    /// Slots and keys of the queries, if they are vectors of the index.
    own: Vec<(Slot, u64)>,
}

impl Hnsw {
    /// Returns some vectors of the index, spread over all.
    fn sample(&self, wanted: usize) -> Subjects {
        let _pin = pin();
        let keys = self.entries.keys.view();
        let total = keys.len();
        let mut subjects = Subjects { rows: Vec::new(), own: Vec::new() };
        let (mut row, mut floats) = (vec![Block::ZERO; self.entries.encoder.blocks()], Vec::new());
        // Multiples of the golden ratio, evenly spread; some slots are skipped or visited twice.
        for at in 0..total {
            let fraction = (at + 1).wrapping_mul(0x9e37_79b9);
            let slot = Slot::new(((u64::from(fraction) * u64::from(total)) >> 32) as u32);
            // A node of upper levels could not be left out of searches.
            let is_there = !self.entries.slots.is_hidden(slot)
                && self.graph.is_base_only(slot.into())
                && self.graph.stands_on_base_alone(slot.into());
            if is_there && self.entries.row_into(slot, &mut row, &mut floats) {
                subjects.rows.extend_from_slice(&row);
                subjects.own.push((slot, keys.row(slot)[0]));
            }
            if subjects.own.len() == wanted {
                break;
            }
        }
        subjects
    }

    /// Measures recall at ever greater `ef`.
    fn measure_over_ef(
        &self,
        subjects: &Subjects,
        k: usize,
        max_ef: usize,
        parallel: bool,
    ) -> Calibration {
        let Subjects { rows, own } = subjects;
        let blocks = self.entries.encoder.blocks();
        let count = rows.len() / blocks;
        let row = |at: usize| &rows[at * blocks..(at + 1) * blocks];
        let request = |k: usize, ef: usize| {
            let limit = Limit::default();
            Request {
                k,
                ef,
                nprobe: None,
                screen: Screen::default(),
                radius: None,
                takes_rounds: false,
                limit,
                began: 0,
            }
        };
        // Returns the distance of the last of the nearest neighbours: every vector that is no farther is one of them.
        let reach = |queries: std::ops::Range<usize>| -> Vec<f32> {
            let mut exact = BatchHits::default();
            let all = &rows[queries.start * blocks..queries.end * blocks];
            let more = usize::from(!own.is_empty());
            self.find_all(all, &request(k + more, usize::MAX), &mut exact);
            let last = |(at, hits): (usize, &[_])| {
                let key = own.get(queries.start + at).map(|&(_, key)| key);
                let others = hits
                    .iter()
                    .filter(|hit: &&crate::index::query::hits::Hit| Some(hit.key) != key);
                others.take(k).last().map_or(f32::INFINITY, |hit| hit.distance)
            };
            exact.iter().enumerate().map(last).collect()
        };
        let grains: Vec<_> =
            (0..count).step_by(GRAIN).map(|at| at..count.min(at + GRAIN)).collect();
        let reach: Vec<f32> = if parallel {
            map(grains.len(), |at| reach(grains[at].clone())).concat()
        } else {
            grains.iter().cloned().flat_map(reach).collect()
        };

        let found = |ef: usize, at: usize| {
            self.work.with(|work| {
                work.row.clear();
                work.row.extend_from_slice(row(at));
                let without = own.get(at).map(|&(slot, _)| slot.into());
                let hits = self.walk_without(&request(k, ef), without, work);
                let near = hits.iter().take_while(|hit| hit.distance <= reach[at]);
                near.count().min(k)
            })
        };
        let mut points = Vec::new();
        let mut ef = k;
        while ef <= max_ef && ef < self.scan_ef() && points.len() < POINTS - 1 {
            let found: Vec<usize> = if parallel {
                map(count, |at| found(ef, at))
            } else {
                (0..count).map(|at| found(ef, at)).collect()
            };
            let point = CalibrationPoint::new(ef, k, &found);
            points.push(point);
            // If all neighbours were found, greater `ef` cannot improve the recall of these queries.
            if point.lower_bound >= CERTAIN || point.recall >= 1.0 {
                break;
            }
            // The factor is about the root of two.
            ef = (ef * 7).div_ceil(5);
        }
        let scan = self.scan_ef().max(k);
        if scan <= max_ef.max(k) && points.last().is_none_or(|point| point.ef < scan) {
            points.push(CalibrationPoint { ef: scan, recall: 1.0, lower_bound: 1.0 });
        }
        let code_bits = self.code_bits();
        Calibration {
            k,
            queries: count,
            self_queries: !own.is_empty(),
            len: self.len(),
            code_bits,
            points,
        }
    }

    /// Returns the answer of a walk to the query in `work.row`, as if the vector `without` were absent.
    fn walk_without(&self, request: &Request<'_>, without: Option<Node>, work: &mut Work) -> Hits {
        let _pin = pin();
        let form = self.entries.walked();
        let timer = &mut Timer::new(request.limit, request.k, 0);
        let mut hits = Hits::new();
        work.scratch.counters = Counters::default();
        let walk = Walk { form, beam: Beam { without, ..self.beam(request) } };
        if let Ok(walk) = self.walk(walk, self.entries.exact_beside(form), timer, work) {
            self.collect_sharp(walk, request, timer, work, &mut hits);
        }
        hits
    }
}

/// Queries that scan the vectors together.
const GRAIN: usize = 64;

impl fmt::Debug for Calibrate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calibrate")
            .field("queries", &self.queries.map(|queries| queries.len()))
            .field("sample", &self.sample)
            .field("k", &self.k)
            .field("max_ef", &self.max_ef)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
