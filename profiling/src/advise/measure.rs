//! The measurements on which advice is based.

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use nearfield::dataset::recall;
use nearfield::{Element, Hits, Isa, Quantization};
use profiling_worker::allocations;
use profiling_worker::clock::{process_time, thread_time};
use profiling_worker::set::Set;
use profiling_worker::subject::{Ask, Recipe, Subject};
use profiling_worker::work::ASK;

use super::hot::Profile;
use crate::Failure;
use crate::flame::sample;
use crate::host::{self, Host, huge_resident};
use crate::kernels::nanoseconds;
use crate::stats::median;
use crate::workload::named;

/// All measurements of one data set.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) build: Profile,
    pub(super) search: Profile,
    /// Searches that walk on codes.
    pub(super) codes: Profile,
    pub(super) churn: Profile,
    pub(super) collection: Profile,
    pub(super) store: Profile,
    /// Microseconds of CPU time of a search, and of the same search repeated at once: medians over the queries.
    pub(super) first_us: f64,
    pub(super) again_us: f64,
    pub(super) distances: f64,
    /// Nanoseconds of a distance to rows in the caches: the index's kernel, and plain Rust.
    pub(super) kernel_ns: f64,
    pub(super) scalar_ns: f64,
    pub(super) isa: Isa,
    pub(super) best_isa: Isa,
    /// Recall and distances computed at half of `ef`, at `ef`, and at its double.
    pub(super) ef: usize,
    pub(super) recalls: [f64; 3],
    pub(super) costs: [f64; 3],
    pub(super) allocations: f64,
    /// Page faults of a search.
    pub(super) faults: f64,
    pub(super) index_bytes: u64,
    pub(super) huge_bytes: u64,
    pub(super) huge_pages: String,
    /// CPU time of building with all cores over that with one.
    pub(super) threads: usize,
    pub(super) build_overhead: f64,
    /// Times that a thread went to sleep for each insertion, building with all cores.
    pub(super) build_waits: f64,
    /// Walking on codes of 4 bits at the same `ef`: microseconds and recall; `None` if the vectors are too few for codes.
    pub(super) by_codes: Option<(f64, f64)>,
    pub(super) bytes_per_vector: f64,
    /// The same as bytes, if all components are whole numbers from 0 to 255: microseconds and bytes a vector.
    pub(super) as_bytes: Option<(f64, f64)>,
}

pub(super) fn measure(
    set: &Set,
    dataset: Option<&std::path::Path>,
    time: Duration,
) -> Result<Facts, Failure> {
    let profile = |name| -> Result<Profile, Failure> {
        eprintln!("sampling {name}");
        let mut workload = named(name, dataset)?;
        workload.prepare()?;
        Ok(Profile::of(&sample(workload.as_mut(), time)?.0))
    };
    let (build, search, codes) = (profile("build")?, profile("search")?, profile("codes")?);
    let churn = profile("churn")?;
    let (collection, store) = (profile("collection")?, profile("store")?);
    eprintln!("measuring");
    let huge_before = huge_resident().unwrap_or(0);
    let recipe = Recipe::hnsw(set.element);
    let (index, one) = timed_build(set, &recipe, 1)?;
    let huge_bytes = huge_resident().unwrap_or(0).saturating_sub(huge_before);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let waits = host::waits();
    let (beside, all) = timed_build(set, &recipe, threads)?;
    // The threads are counted before they end, because each has its own count.
    let waits = host::waits().zip(waits).map_or(0.0, |(now, before)| now - before);
    drop(beside);
    let stats = index.stats()?;
    let asks = [ASK.ef / 2, ASK.ef, ASK.ef * 2].map(|ef| Ask { ef, ..ASK });
    let mut curve = [(0.0, 0.0); 3];
    for (point, ask) in curve.iter_mut().zip(asks) {
        *point = quality(index.as_ref(), set, ask)?;
    }
    let (first_us, again_us) = asked_twice(index.as_ref(), set)?;
    let mut hits = Hits::new();
    let faults = minor_faults();
    let (done, allocations) = allocations::during(|| -> Result<(), Failure> {
        for query in set.queries.iter() {
            index.search(&query, ASK, &mut hits)?;
        }
        Ok(())
    });
    done?;
    let queries = set.queries.len() as f64;
    let faults = (minor_faults() - faults) / queries;
    let kernel =
        |isa| nanoseconds(set.metric, set.element, isa, set.dimension, Duration::from_millis(20));
    Ok(Facts {
        build,
        search,
        codes,
        churn,
        collection,
        store,
        first_us,
        again_us,
        distances: curve[1].1,
        kernel_ns: kernel(stats.isa)?,
        scalar_ns: kernel(Isa::Scalar)?,
        isa: stats.isa,
        best_isa: Isa::available().iter().copied().max().unwrap_or(stats.isa),
        ef: ASK.ef,
        recalls: curve.map(|point| point.0),
        costs: curve.map(|point| point.1),
        allocations: allocations as f64 / queries,
        faults,
        index_bytes: (stats.bytes.total() - stats.bytes.scratch) as u64,
        huge_bytes,
        huge_pages: Host::now().huge_pages,
        threads,
        build_overhead: all.as_secs_f64() / one.as_secs_f64(),
        build_waits: waits / set.base.len() as f64,
        by_codes: by_codes(set)?,
        bytes_per_vector: stats.bytes.total() as f64 / stats.len as f64,
        as_bytes: as_bytes(set)?,
    })
}

/// Builds an index. Returns it and the CPU time of building it.
fn timed_build(
    set: &Set,
    recipe: &Recipe,
    threads: usize,
) -> Result<(Box<dyn Subject>, Duration), Failure> {
    let index = recipe.make(set)?;
    let started = process_time();
    index.insert_set(set, threads)?;
    Ok((index, process_time() - started))
}

/// Returns the recall, and the distances computed for a search.
fn quality(index: &dyn Subject, set: &Set, ask: Ask) -> Result<(f64, f64), Failure> {
    let ask = Ask { k: ask.k.min(set.truth.k()), ..ask };
    let mut hits = Hits::new();
    let (mut distances, mut answers) = (0, Vec::new());
    for query in set.queries.iter() {
        index.search(&query, ask, &mut hits)?;
        distances += hits.distances_computed();
        answers.push(hits.keys().collect::<Vec<_>>());
    }
    Ok((recall(answers, &set.truth, ask.k)?, distances as f64 / set.queries.len() as f64))
}

/// Measures each query, and its repetition while all rows that it reads are in the caches.
fn asked_twice(index: &dyn Subject, set: &Set) -> Result<(f64, f64), Failure> {
    let mut hits = Hits::new();
    let mut micros = [Vec::new(), Vec::new()];
    for query in set.queries.iter() {
        for micros in &mut micros {
            let started = thread_time();
            index.search(&query, ASK, &mut hits)?;
            black_box(&hits);
            micros.push((thread_time() - started).as_secs_f64() * 1e6);
        }
    }
    Ok((median(&micros[0]), median(&micros[1])))
}

/// Measures the cost and the recall of walking on codes.
fn by_codes(set: &Set) -> Result<Option<(f64, f64)>, Failure> {
    let (index, _) = timed_build(set, &Recipe::codes(set.element, Quantization::Sq4), 1)?;
    if index.stats()?.code_bits.is_none() {
        return Ok(None);
    }
    let recall = quality(index.as_ref(), set, ASK)?.0;
    Ok(Some((asked_twice(index.as_ref(), set)?.0, recall)))
}

/// Measures the cost of bytes, if they lose nothing.
fn as_bytes(set: &Set) -> Result<Option<(f64, f64)>, Failure> {
    if set.element != Element::F32 {
        return Ok(None);
    }
    let whole = |x: &f32| (0.0..=255.0).contains(x) && x.fract() == 0.0;
    if !set.base.to_f32()?.iter().chain(&set.queries.to_f32()?).all(whole) {
        return Ok(None);
    }
    let recipe = Recipe::hnsw(Element::U8);
    let (index, _) = timed_build(set, &recipe, 1)?;
    let stats = index.stats()?;
    let bytes = stats.bytes.total() as f64 / stats.len as f64;
    Ok(Some((asked_twice(index.as_ref(), set)?.0, bytes)))
}

/// Returns the page faults of this process that needed no disk.
fn minor_faults() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may contain any character; the field is the eighth behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().nth(7).and_then(|n| n.parse().ok()).unwrap_or(0.0)
}
