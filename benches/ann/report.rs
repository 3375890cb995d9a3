//! Results as a table and as JSON.

use std::fmt::Write;

use nearfield::{Element, Metric, Originals};

use crate::args::Kind;

/// One operating point.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) dataset: String,
    pub(crate) n: usize,
    pub(crate) dim: usize,
    pub(crate) metric: Metric,
    pub(crate) element: Element,
    pub(crate) quantization: &'static str,
    /// The form in which the vectors are kept.
    pub(crate) originals: Originals,
    pub(crate) index: Kind,
    pub(crate) isa: String,
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) ef: usize,
    /// `None` unless the index is an inverted-file index.
    pub(crate) nprobe: Option<usize>,
    pub(crate) lists: Option<usize>,
    pub(crate) k: usize,
    pub(crate) threads: usize,
    pub(crate) recall: f64,
    pub(crate) qps: f64,
    pub(crate) qps_median: f64,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    /// Distances computed for a query, on average.
    pub(crate) distances: f64,
    pub(crate) build_s: f64,
    pub(crate) build_threads: usize,
    pub(crate) mem_mb: Option<f64>,
    pub(crate) index_bytes: usize,
}

/// Returns the form in which the vectors are kept beside codes, as the argument names it.
fn originals(point: &Point) -> &'static str {
    match point.originals {
        Originals::Sq8 => "sq8",
        Originals::Sq12 => "sq12",
        Originals::Dropped => "dropped",
        _ => "kept",
    }
}

/// Returns the element type in which the vectors are kept.
fn kept_as(point: &Point) -> &'static str {
    match point.originals {
        Originals::Sq8 => "sq8",
        Originals::Sq12 => "sq12",
        Originals::Dropped => "no",
        _ => point.element.name(),
    }
}

/// Returns a heading and a row for each operating point of one index.
pub(crate) fn table(points: &[Point]) -> String {
    let mut out = String::new();
    let Some(first) = points.first() else { return out };
    let shape = shape(first);
    let heading = format!(
        "{}: {} x {}, {}, {shape}, {} quantization {} on {}, {} build and {} query threads",
        first.dataset,
        thousands(first.n as f64),
        first.dim,
        first.metric,
        kept_as(first),
        first.quantization,
        first.isa,
        first.build_threads,
        first.threads,
    );
    let recall = format!("recall@{}", first.k);
    let header = format!(
        "{:>6} {recall:>10} {:>10} {:>9} {:>9} {:>9} {:>11} {:>8} {:>8}",
        if first.index == Kind::Ivf { "nprobe" } else { "ef" },
        "QPS",
        "p50 us",
        "p95 us",
        "p99 us",
        "distances",
        "build s",
        "MB"
    );
    let mut lines = vec![String::new(), heading, header];
    for p in points {
        let ef = match p.index {
            Kind::Hnsw => p.ef.to_string(),
            Kind::Ivf => optional(p.nprobe).replace("null", "-"),
            Kind::Flat => "-".into(),
        };
        let memory = p.mem_mb.map_or("-".into(), |mb| format!("{mb:.1}"));
        lines.push(format!(
            "{ef:>6} {:>10.4} {:>10} {:>9.1} {:>9.1} {:>9.1} {:>11} {:>8.2} {memory:>8}",
            p.recall,
            thousands(p.qps),
            p.p50_us,
            p.p95_us,
            p.p99_us,
            thousands(p.distances),
            p.build_s,
        ));
    }
    for line in lines {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Returns the index and its parameters.
pub(crate) fn shape(point: &Point) -> String {
    match point.index {
        Kind::Hnsw => format!("hnsw m {} ef_construction {}", point.m, point.ef_construction),
        Kind::Ivf => format!("ivf of {} lists", point.lists.unwrap_or_default()),
        Kind::Flat => "flat".into(),
    }
}

/// Returns one object on one line. These keys are kept from release to release; later releases may add keys.
pub(crate) fn json(p: &Point) -> String {
    let graph = |value: usize| match p.index {
        Kind::Hnsw => value.to_string(),
        Kind::Ivf | Kind::Flat => "null".into(),
    };
    let ef = if p.index == Kind::Flat { "null".into() } else { p.ef.to_string() };
    let mem_mb = p.mem_mb.map_or("null".into(), |mb| format!("{mb:.1}"));
    let fields = [
        ("system", text("nearfield")),
        ("dataset", text(&p.dataset)),
        ("n", p.n.to_string()),
        ("dim", p.dim.to_string()),
        ("metric", text(p.metric.name())),
        ("quantization", text(p.quantization)),
        ("m", graph(p.m)),
        ("ef_construction", graph(p.ef_construction)),
        ("ef", ef),
        ("k", p.k.to_string()),
        ("threads", p.threads.to_string()),
        ("recall", format!("{:.5}", p.recall)),
        ("qps", format!("{:.1}", p.qps)),
        ("qps_median", format!("{:.1}", p.qps_median)),
        ("p50_us", format!("{:.2}", p.p50_us)),
        ("p95_us", format!("{:.2}", p.p95_us)),
        ("p99_us", format!("{:.2}", p.p99_us)),
        ("build_s", format!("{:.3}", p.build_s)),
        ("build_threads", p.build_threads.to_string()),
        ("mem_mb", mem_mb),
        ("index_bytes", p.index_bytes.to_string()),
        ("index", text(p.index.name())),
        ("element", text(p.element.name())),
        ("originals", text(originals(p))),
        ("isa", text(&p.isa)),
        ("distances", format!("{:.1}", p.distances)),
        ("nprobe", optional(p.nprobe)),
        ("lists", optional(p.lists)),
    ];
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Returns a number, or `null`.
fn optional(value: Option<usize>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

/// Returns a JSON string.
fn text(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns a whole number with its thousands apart.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
