//! Recall against speed, latencies, building and memory, for every recipe of an index over every data set.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use nearfield::dataset::recall;
use nearfield::report::MemoryUsage;
use nearfield::{BatchHits, Element, Hits, Quantization};
use profiling_worker::allocations;
use profiling_worker::clock::process_time;
use profiling_worker::set::{Set, Source, carried};
use profiling_worker::subject::{Ask, Recipe, Subject};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::host;
use crate::results::Run;
use crate::stats::{median, quantile};
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
curve [--quick] [--dataset DIR] [--rows N] [--threads N] [--rounds N] [--out FILE.json]
    Recall, queries per second on one and on N threads (all cores), latency quantiles, build time and memory
    by part, for each element type, for codes of 8 and of 4 bits, for a collection in a file, and for the inverted file
    with each of its codes. Without --dataset: the carried sets, and N generated rows (10,000; quick 5,000) of 128, 384,
    768 and 1536 dimensions.";

const K: usize = 10;
const EF: [usize; 9] = [10, 16, 24, 32, 48, 64, 96, 128, 256];
const EF_QUICK: [usize; 5] = [10, 16, 32, 64, 128];
/// Numbers of lists that an inverted file reads.
const LISTS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const LISTS_QUICK: [usize; 5] = [1, 4, 16, 32, 64];
const DIMENSIONS: [usize; 4] = [128, 384, 768, 1536];

/// Single queries that are timed for each operating point: the quantile of 99.9 % needs this number.
const LATENCIES: usize = 10_000;
const LATENCIES_QUICK: usize = 2000;

/// The curves of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curves {
    pub(crate) curves: Vec<Curve>,
}

/// The results of one recipe over one data set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub(crate) dataset: String,
    pub(crate) n: usize,
    pub(crate) dimension: usize,
    pub(crate) metric: String,
    /// The representation that the walk reads.
    pub(crate) recipe: String,
    pub(crate) build: Vec<Build>,
    pub(crate) memory: Memory,
    pub(crate) points: Vec<Point>,
}

/// A build with a number of threads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) threads: usize,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
}

/// Bytes by purpose, and the memory that the process reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) vectors: usize,
    #[serde(default)]
    pub(crate) codes: usize,
    pub(crate) rows: usize,
    pub(crate) upper: usize,
    #[serde(default)]
    pub(crate) centroids: usize,
    pub(crate) keys: usize,
    pub(crate) scratch: usize,
    /// Growth of the resident memory by building, and its peak meanwhile; 0 if the system does not report it.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Anonymous memory of the process in huge pages.
    pub(crate) huge: u64,
}

/// The results at one `ef`, or number of lists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Candidates of the walk; of an inverted file, the lists that are read.
    pub(crate) ef: usize,
    pub(crate) k: usize,
    pub(crate) recall: f64,
    /// Batches of all queries, by threads: the median of the rounds, the least and the greatest.
    pub(crate) qps: Vec<Qps>,
    /// Latencies of single queries, in microseconds.
    pub(crate) latency: Latency,
    pub(crate) distances: f64,
    pub(crate) hops: f64,
    pub(crate) allocations: f64,
}

/// Queries per second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Qps {
    pub(crate) threads: usize,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) samples: usize,
}

struct Settings {
    quick: bool,
    threads: Vec<usize>,
    rounds: usize,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let quick = args.flag("--quick");
    let dataset = args.path("--dataset")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = args.number("--threads", cores, 1..=1024)?;
    let rows = args.number("--rows", if quick { 5000 } else { 10_000 }, 100..=10_000_000)?;
    let rounds = args.number("--rounds", if quick { 3 } else { 5 }, 1..=100)?;
    let out = args.path("--out")?;
    args.finish()?;
    // The numbers of threads are 1, 2, 4, ... and all cores.
    let mut threads: Vec<usize> = (0..).map(|n| 1 << n).take_while(|&n| n < most).collect();
    threads.push(most);
    let settings = Settings { quick, threads, rounds };
    let mut curves = Vec::new();
    for (source, recipe) in jobs(dataset, rows)? {
        let set = source.load()?;
        let curve = measure(&set, &recipe, &settings)?;
        print(&curve);
        curves.push(curve);
    }
    Run::new("curve", Curves { curves }).store(out)?;
    Ok(Done::Well)
}

/// Returns the sets to measure: each as floats, at half precision, and as its own type.
fn jobs(dataset: Option<PathBuf>, rows: usize) -> Result<Vec<(Source, Recipe)>, Failure> {
    let mut jobs = Vec::new();
    let folders = match dataset {
        Some(folder) => vec![folder],
        None => ["photo-sift-128-5k", "words-100-10k"].map(|name| carried().join(name)).into(),
    };
    let generated = folders.len() > 1;
    for folder in folders {
        let own = Source::Folder(folder.clone(), None).load()?.element;
        let mut elements = vec![own];
        if own != Element::Bit {
            elements.extend([Element::F32, Element::F16].into_iter().filter(|e| *e != own));
        }
        for &element in &elements {
            jobs.push((Source::Folder(folder.clone(), Some(element)), Recipe::hnsw(element)));
        }
        let floats = Source::Folder(folder, Some(Element::F32));
        if own != Element::Bit {
            jobs.extend(quantised(&floats));
        }
        if own == Element::F16 {
            jobs.push((floats.clone(), Recipe::Collection { element: Element::F32 }));
        }
        // These sets are last, because each chart needs curves that follow one another.
        if own != Element::Bit {
            jobs.extend(listed(&floats));
        }
    }
    for dimension in DIMENSIONS.into_iter().filter(|_| generated) {
        for element in [Element::F32, Element::F16] {
            jobs.push((Source::Generated { rows, dimension }, Recipe::hnsw(element)));
        }
        jobs.extend(quantised(&Source::Generated { rows, dimension }));
        jobs.extend(listed(&Source::Generated { rows, dimension }));
    }
    Ok(jobs)
}

/// Returns floats in lists, and in lists by each kind of code.
fn listed(floats: &Source) -> impl Iterator<Item = (Source, Recipe)> {
    use Quantization::{None, Pq4, Rabitq};
    let element = Element::F32;
    let recipe = move |quantization| Recipe::Ivf { element, quantization };
    let all = [None, Pq4, Rabitq { bits: 1 }, Rabitq { bits: 2 }, Rabitq { bits: 4 }];
    all.map(|quantization| (floats.clone(), recipe(quantization))).into_iter()
}

/// Returns floats that are walked on by codes.
fn quantised(floats: &Source) -> impl Iterator<Item = (Source, Recipe)> {
    let recipe = |quantization| Recipe::codes(Element::F32, quantization);
    [Quantization::Sq8, Quantization::Sq4].map(|bits| (floats.clone(), recipe(bits))).into_iter()
}

fn measure(set: &Set, recipe: &Recipe, settings: &Settings) -> Result<Curve, Failure> {
    eprintln!("{} {}", set.name, recipe.name());
    let mut build = Vec::new();
    let mut last = None;
    for &threads in &settings.threads {
        // One index at a time, because its memory is measured.
        drop(last.take());
        host::reset_peak();
        let before = host::resident();
        let (wall, cpu) = (Instant::now(), process_time());
        let index = recipe.make(set)?;
        index.insert_set(set, threads)?;
        build.push(Build {
            threads,
            wall_s: wall.elapsed().as_secs_f64(),
            cpu_s: (process_time() - cpu).as_secs_f64(),
        });
        last = Some((index, before));
    }
    let (index, before) = last.ok_or("no number of threads to build with")?;
    let growth = |now: Option<u64>| now.zip(before).map_or(0, |(now, was)| now.saturating_sub(was));
    let MemoryUsage { vectors, codes, rows, upper, centroids, keys, scratch, .. } =
        index.stats()?.bytes;
    let memory = Memory {
        vectors,
        codes,
        rows,
        upper,
        centroids,
        keys,
        scratch,
        resident: growth(host::resident()),
        peak: growth(host::peak_resident()),
        huge: host::huge_resident().unwrap_or(0),
    };
    Ok(Curve {
        dataset: set.name.clone(),
        n: set.base.len(),
        dimension: set.dimension,
        metric: set.metric.to_string(),
        recipe: recipe.name(),
        build,
        memory,
        points: points(index.as_ref(), set, recipe, settings)?,
    })
}

fn points(
    index: &dyn Subject,
    set: &Set,
    recipe: &Recipe,
    settings: &Settings,
) -> Result<Vec<Point>, Failure> {
    let efforts: &[usize] = match (recipe, settings.quick) {
        (Recipe::Ivf { .. }, true) => &LISTS_QUICK,
        (Recipe::Ivf { .. }, false) => &LISTS,
        (_, true) => &EF_QUICK,
        (_, false) => &EF,
    };
    let asks: Vec<Ask> = efforts.iter().map(|&ef| Ask { k: K.min(set.truth.k()), ef }).collect();
    let queries = set.queries.len() as f64;
    // The first run is not measured: it makes scratch memory, starts threads, and fills caches.
    for &threads in &settings.threads {
        index.search_set(set, asks[0], threads)?;
    }
    let mut rates = vec![vec![Vec::new(); settings.threads.len()]; asks.len()];
    let mut answers: Vec<Option<BatchHits>> = asks.iter().map(|_| None).collect();
    for _ in 0..settings.rounds {
        // The operating points take turns, so that a slow moment of the machine affects one round of each.
        for (point, &ask) in asks.iter().enumerate() {
            for (at, &threads) in settings.threads.iter().enumerate() {
                let started = Instant::now();
                let hits = index.search_set(set, ask, threads)?;
                rates[point][at].push(queries / started.elapsed().as_secs_f64());
                answers[point] = Some(hits);
            }
        }
    }
    let mut points = Vec::new();
    for ((ask, rates), answer) in asks.into_iter().zip(rates).zip(answers) {
        let found = answer.iter().flat_map(BatchHits::iter);
        let recall = recall(found.map(|hits| hits.iter().map(|hit| hit.key)), &set.truth, ask.k)?;
        let qps = settings.threads.iter().zip(rates).map(|(&threads, rates)| Qps {
            threads,
            median: median(&rates),
            least: rates.iter().copied().fold(f64::INFINITY, f64::min),
            most: rates.iter().copied().fold(0.0, f64::max),
        });
        let mut hits = Hits::new();
        let (mut distances, mut hops) = (0, 0);
        for query in set.queries.iter() {
            index.search(&query, ask, &mut hits)?;
            distances += hits.distances_computed();
            hops += hits.hops();
        }
        let samples = if settings.quick { LATENCIES_QUICK } else { LATENCIES };
        let (latency, allocations) = latencies(index, set, ask, samples)?;
        points.push(Point {
            ef: ask.ef,
            k: ask.k,
            recall,
            qps: qps.collect(),
            latency,
            distances: distances as f64 / queries,
            hops: hops as f64 / queries,
            allocations,
        });
    }
    Ok(points)
}

/// Times each query alone, on this thread, all of them in turn and then again. Also returns the allocations of a query.
fn latencies(
    index: &dyn Subject,
    set: &Set,
    ask: Ask,
    least: usize,
) -> Result<(Latency, f64), Failure> {
    let rounds = least.div_ceil(set.queries.len());
    let mut micros = Vec::with_capacity(rounds * set.queries.len());
    let mut hits = Hits::new();
    let (done, allocations) = allocations::during(|| -> Result<(), Failure> {
        for _ in 0..rounds {
            for query in set.queries.iter() {
                let started = Instant::now();
                index.search(&query, ask, &mut hits)?;
                micros.push(started.elapsed().as_secs_f64() * 1e6);
                black_box(&hits);
            }
        }
        Ok(())
    });
    done?;
    micros.sort_by(f64::total_cmp);
    let at = |q| quantile(&micros, q);
    let latency = Latency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        samples: micros.len(),
    };
    Ok((latency, allocations as f64 / micros.len() as f64))
}

fn print(curve: &Curve) {
    println!(
        "\n{}: {} x {}, {}, {}",
        curve.dataset, curve.n, curve.dimension, curve.metric, curve.recipe
    );
    for build in &curve.build {
        println!(
            "  built on {} threads in {:.2} s, {:.2} s of CPU time",
            build.threads, build.wall_s, build.cpu_s
        );
    }
    println!(
        "  {:>5} {:>8} {:>22} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6}",
        if curve.recipe.starts_with("ivf") { "lists" } else { "ef" },
        "recall",
        "QPS by threads",
        "p50 us",
        "p90",
        "p99",
        "p99.9",
        "max",
        "distances",
        "hops"
    );
    for p in &curve.points {
        let qps: Vec<String> = p.qps.iter().map(|qps| format!("{:.0}", qps.median)).collect();
        let l = &p.latency;
        println!(
            "  {:>5} {:>8.4} {:>22} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>9.1} {:>9.0} {:>6.0}",
            p.ef,
            p.recall,
            qps.join(" / "),
            l.p50,
            l.p90,
            l.p99,
            l.p999,
            l.max,
            p.distances,
            p.hops
        );
    }
}
