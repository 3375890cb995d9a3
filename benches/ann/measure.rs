//! Building an index and searching it, with a clock.

use std::error::Error;
use std::fs;
use std::time::Instant;

use nearfield::dataset::recall;
use nearfield::{BatchHits, Hits};

use crate::args::{Effort, Settings};
use crate::progress::Bar;
use crate::report::Point;
use crate::sets::Set;
use crate::subject::Subject;

/// Single queries timed for each operating point, at least.
const LATENCIES: usize = 2000;

/// Builds the index of a set and measures each operating point.
pub(crate) fn measure(set: &Set, settings: &Settings) -> Result<Vec<Point>, Box<dyn Error>> {
    let keys: Vec<u64> = (0..set.base.len() as u64).collect();
    let bar = Bar::new(format!("building {}", set.name), keys.len());
    let resident = resident_mb();
    let started = Instant::now();
    let index = Subject::new(set, settings)?;
    index
        .insert_batch(&keys, set)
        .threads(settings.build_threads)
        .progress(&|done, _| bar.show(done))
        .run()?;
    let build_s = started.elapsed().as_secs_f64();
    let mem_mb = resident_mb().zip(resident).map(|(after, before)| after - before);
    bar.finish();

    let efforts = settings.efforts();
    let ask =
        |effort| index.search_batch(set, effort).k(settings.k).threads(settings.threads).run();
    // The first round is unmeasured: scratch memory is made, threads are started, caches are filled.
    ask(efforts[0])?;
    let mut seconds = vec![Vec::with_capacity(settings.rounds); efforts.len()];
    let mut answers: Vec<Option<BatchHits>> = efforts.iter().map(|_| None).collect();
    for _ in 0..settings.rounds {
        // A round measures all operating points, so that a slow moment of the machine affects one round of each instead of all rounds
        // of one.
        for ((&effort, times), answer) in efforts.iter().zip(&mut seconds).zip(&mut answers) {
            let started = Instant::now();
            let hits = ask(effort)?;
            times.push(started.elapsed().as_secs_f64());
            *answer = Some(hits);
        }
    }

    let stats = index.stats();
    let queries = set.queries.len() as f64;
    let mut points = Vec::with_capacity(efforts.len());
    for ((&effort, mut times), answer) in efforts.iter().zip(seconds).zip(answers) {
        let found = answer.iter().flat_map(BatchHits::iter);
        let found = found.map(|hits| hits.iter().map(|hit| hit.key));
        let recall = recall(found, &set.truth, settings.k)?;
        times.sort_by(f64::total_cmp);
        let latency = latencies(&index, set, settings.k, effort)?;
        points.push(Point {
            dataset: set.name.clone(),
            n: set.base.len(),
            dim: set.dimension,
            metric: set.metric,
            element: set.element,
            quantization: settings.quantization,
            originals: settings.originals,
            index: settings.index,
            isa: stats.isa.to_string(),
            m: settings.m,
            ef_construction: settings.ef_construction,
            ef: effort.ef,
            nprobe: effort.nprobe,
            lists: stats.lists.map(|lists| lists.count),
            k: settings.k,
            threads: settings.threads,
            recall,
            qps: queries / times[0],
            qps_median: queries / times[times.len() / 2],
            p50_us: quantile(&latency.micros, 0.50),
            p95_us: quantile(&latency.micros, 0.95),
            p99_us: quantile(&latency.micros, 0.99),
            distances: latency.distances,
            build_s,
            build_threads: settings.build_threads,
            mem_mb,
            index_bytes: stats.bytes.total(),
        });
    }
    match index.fault() {
        Some(fault) => Err(format!("{}: the index is not sound: {fault}", set.name).into()),
        None => Ok(points),
    }
}

struct Latency {
    /// Microseconds, sorted.
    micros: Vec<f64>,
    /// Distances computed for a query, on average.
    distances: f64,
}

/// Times each query alone, on this thread, after an unmeasured round.
fn latencies(
    index: &Subject,
    set: &Set,
    k: usize,
    effort: Effort,
) -> Result<Latency, Box<dyn Error>> {
    let mut hits = Hits::new();
    let mut distances = 0;
    for query in set.queries.iter() {
        index.search(&query, effort).k(k).run_into(&mut hits)?;
        distances += hits.distances_computed();
    }
    let rounds = LATENCIES.div_ceil(set.queries.len());
    let mut micros = Vec::with_capacity(rounds * set.queries.len());
    for _ in 0..rounds {
        for query in set.queries.iter() {
            let started = Instant::now();
            index.search(&query, effort).k(k).run_into(&mut hits)?;
            micros.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    micros.sort_by(f64::total_cmp);
    Ok(Latency { micros, distances: distances as f64 / set.queries.len() as f64 })
}

/// Returns the smallest sample that the share `q` of all samples does not exceed.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.max(1) - 1]
}

/// Returns the resident memory of this process in megabytes, if the system reports it.
fn resident_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}
