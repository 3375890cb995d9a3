//! Measures the bytes a second that each distance kernel reads from the caches, on each instruction set of this CPU.

use std::hint::black_box;
use std::time::Duration;

use nearfield::{AsVector, Bf16, Distance, Element, F16, Isa, Metric};
use profiling_worker::clock::thread_time;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::results::Run;
use crate::stats::median;
use crate::{Done, Failure};

pub(crate) const HELP: &str = "\
kernels [--quick] [--out FILE.json]
    Gigabytes a second and nanoseconds a distance of every kernel on every instruction set, on the thread's clock.";

const DIMENSIONS: [usize; 4] = [128, 384, 768, 1536];
/// Rows that one call compares with the query: together they fit the second-level cache.
const ROWS: usize = 32;

/// The kernels of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kernels {
    pub(crate) kernels: Vec<Kernel>,
}

/// A metric over an element type, on an instruction set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) metric: String,
    pub(crate) element: String,
    pub(crate) isa: String,
    pub(crate) dimension: usize,
    /// Nanoseconds of a distance.
    pub(crate) nanoseconds: f64,
    /// Gigabytes a second of the rows read.
    pub(crate) gigabytes_per_second: f64,
}

pub(crate) fn run(mut args: Args) -> Result<Done, Failure> {
    let time = Duration::from_millis(if args.flag("--quick") { 3 } else { 20 });
    let out = args.path("--out")?;
    args.finish()?;
    let mut kernels = Vec::new();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for element in [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::U8] {
            for dimension in DIMENSIONS {
                all_isas(metric, element, dimension, time, &mut kernels)?;
            }
        }
    }
    for dimension in DIMENSIONS {
        all_isas(Metric::Hamming, Element::Bit, dimension, time, &mut kernels)?;
    }
    println!(
        "{:14} {:7} {:>9} {:8} {:>9} {:>9}",
        "metric", "element", "dimension", "isa", "ns", "GB/s"
    );
    for k in &kernels {
        println!(
            "{:14} {:7} {:>9} {:8} {:>9.2} {:>9.1}",
            k.metric, k.element, k.dimension, k.isa, k.nanoseconds, k.gigabytes_per_second
        );
    }
    Run::new("kernels", Kernels { kernels }).store(out)?;
    Ok(Done::Well)
}

fn all_isas(
    metric: Metric,
    element: Element,
    dimension: usize,
    time: Duration,
    kernels: &mut Vec<Kernel>,
) -> Result<(), Failure> {
    for &isa in Isa::available() {
        let nanoseconds = nanoseconds(metric, element, isa, dimension, time)?;
        kernels.push(Kernel {
            metric: metric.to_string(),
            element: element.to_string(),
            isa: isa.to_string(),
            dimension,
            nanoseconds,
            gigabytes_per_second: element.bytes(dimension) as f64 / nanoseconds,
        });
    }
    Ok(())
}

/// Returns the CPU time of one distance among 32 rows in the caches: the median of several rounds.
pub(crate) fn nanoseconds(
    metric: Metric,
    element: Element,
    isa: Isa,
    dimension: usize,
    time: Duration,
) -> Result<f64, Failure> {
    let mut state = 1;
    let mut number = || (crate::stats::next(&mut state) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let mut numbers = |len: usize| -> Vec<f32> { (0..len).map(|_| number()).collect() };
    let (query, rows) = (numbers(dimension), numbers(dimension * ROWS));
    let distance = Distance::with_isa(metric, element, isa)?;
    macro_rules! of {
        ($convert:expr) => {{
            let convert = |numbers: &[f32]| numbers.iter().map($convert).collect::<Vec<_>>();
            rounds(&distance, &convert(&query), &convert(&rows), time)
        }};
    }
    match element {
        Element::F32 => rounds(&distance, &query, &rows, time),
        Element::F16 => of!(|&x| F16::from_f32(x)),
        Element::Bf16 => of!(|&x| Bf16::from_f32(x)),
        Element::I8 => of!(|&x| (x * 127.0) as i8),
        Element::U8 => of!(|&x| (x * 127.0 + 128.0) as u8),
        _ => {
            let bytes = dimension.div_ceil(8);
            let bits = |numbers: &[f32]| -> Vec<u8> {
                numbers.iter().map(|&x| (x * 127.0) as i8 as u8).collect()
            };
            rounds(&distance, &bits(&query[..bytes]), &bits(&rows[..bytes * ROWS]), time)
        }
    }
}

fn rounds<V: AsVector>(
    distance: &Distance,
    query: &V,
    rows: &V,
    time: Duration,
) -> Result<f64, Failure> {
    const ROUNDS: u32 = 5;
    let mut out = [0.0; ROWS];
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let started = thread_time();
        let mut calls = 0;
        let spent = loop {
            for _ in 0..32 {
                distance.many(black_box(query), black_box(rows), &mut out)?;
                black_box(&mut out);
            }
            calls += 32;
            let spent = thread_time() - started;
            if spent >= time / ROUNDS {
                break spent;
            }
        };
        samples.push(spent.as_nanos() as f64 / f64::from(calls) / ROWS as f64);
    }
    Ok(median(&samples))
}
