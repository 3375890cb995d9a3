//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use nearfield::dataset::Spectrum;
use nearfield::{Element, Originals, Quantization};

use crate::sets::Source;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Measures recall, queries per second, latency, build time and memory of an index.

usage: cargo bench --bench ann [-- ARGUMENTS]

Without --dataset and --generate: two real sets that the repository carries and a generated one of
100,000 x 128, each without codes and with `auto`; results go to profiling/benchmarks/ann.jsonl and
ann.svg as well.

  --dataset DIR          a folder with base.*, query.*, gt.ibin or gt.ivecs, and meta.json with
                         \"metric\": \"l2\", \"cosine\", \"ip\" or \"hamming\"; may be repeated
  --generate NxD         N generated vectors of D components, with 1,000 queries; may be repeated
  --spectrum NAME        the kind of those vectors: flat (squared L2), or text, sentences or terms (cosine),
                         which are as hard to search as real sets of these kinds (flat)
  --query-shift X        their queries are of another kind: 0 (the same) to 1 (0)
  --write DIR            write the generated set as a folder for --dataset, with at least 100 exact
                         neighbours a query; DIR is made, or empty
  --index hnsw|ivf|flat  the index (hnsw)
  --quantization TYPE,.. what searches read, one index for each: none (the vectors themselves), auto, rabitq1, rabitq2,
                         rabitq4, pq4 (2 bits a component); hnsw: sq8, sq4, pq8 (1 bit) (none)
  --originals TYPE       the vectors beside the codes: kept, sq12, sq8, dropped, or a TYPE of --element,
                         which keeps them as such (kept)
  --element TYPE         what vectors are stored as: f32, f16, bf16, i8, u8, or native, which
                         keeps the data set's own type (f32)
  --m N                  neighbours that a node chooses (16)
  --ef-construction N    candidates that an insertion considers (200)
  --alpha X              slack of the pruning rule, 1.0 to 2.0 (the index's default)
  --ef N,N,...           candidates that a search keeps, one operating point each
                         (10,12,14,16,20,24,32,40,48,64,80,96,128,192,256,400); below k: left out;
                         ivf: candidates that are measured again, for each --nprobe (64)
  --lists N              lists of an ivf index (the index's choice)
  --nprobe N,N,...       lists that a search of an ivf index reads, one operating point each
                         (1,2,4,8,12,16,24,32,48,64,96,128,192,256)
  --k N                  answers to a query (10)
  --threads N            threads that answer the batch of all queries (1)
  --build-threads N      threads that build (2)
  --rounds N             times that each operating point is measured, in turn (3)
  --json FILE            write one JSON object a line and operating point
  --svg FILE             write a chart of QPS over recall
  --quick                a short run: small generated set, ef 16,32,64,128, one round
  --help                 this text

Recall is the share of the k exact neighbours found, over all queries. QPS is the best round,
qps_median the median one. Latencies are of single queries, one at a time. Memory is the growth
of the resident process while building; the vectors that this program itself holds are in memory
before. NEARFIELD_SIMD=scalar|avx2|avx512|neon caps the instruction set.";

/// Operating points, unless `--ef` says otherwise.
const EF: [usize; 16] = [10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 400];

/// Operating points of an inverted-file index, unless `--nprobe` says otherwise.
const NPROBE: [usize; 14] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// The command of a run.
pub(crate) enum Command {
    Help,
    Run(Box<Settings>),
}

/// The index to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Hnsw,
    Ivf,
    Flat,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hnsw => "hnsw",
            Self::Ivf => "ivf",
            Self::Flat => "flat",
        }
    }
}

/// The settings of the measurements.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The sets to measure. Empty: those that the repository carries, and a generated one.
    pub(crate) sources: Vec<Source>,
    /// The kind of generated vectors.
    pub(crate) spectrum: Spectrum,
    /// The difference between generated vectors and their queries, 0 to 1.
    pub(crate) query_shift: f32,
    /// The folder that the generated set is written to.
    pub(crate) write: Option<PathBuf>,
    pub(crate) index: Kind,
    /// Names of the quantizations to measure, in this order. They depend on the index.
    pub(crate) quantizations: Vec<&'static str>,
    /// The quantization that is measured now.
    pub(crate) quantization: &'static str,
    pub(crate) originals: Originals,
    /// `None`: the type that the data set has.
    pub(crate) element: Option<Element>,
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) alpha: Option<f32>,
    pub(crate) ef: Vec<usize>,
    pub(crate) lists: Option<usize>,
    pub(crate) nprobe: Vec<usize>,
    pub(crate) k: usize,
    pub(crate) threads: usize,
    pub(crate) build_threads: usize,
    pub(crate) rounds: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) quick: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            spectrum: Spectrum::Flat,
            query_shift: 0.0,
            write: None,
            index: Kind::Hnsw,
            quantizations: vec!["none"],
            quantization: "none",
            originals: Originals::Kept,
            element: Some(Element::F32),
            m: 16,
            ef_construction: 200,
            alpha: None,
            ef: Vec::new(),
            lists: None,
            nprobe: Vec::new(),
            k: 10,
            threads: 1,
            build_threads: 2,
            rounds: 0,
            json: None,
            svg: None,
            quick: false,
        }
    }
}

/// Reads the arguments, of the form `--name value` or `--name=value`.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut args = args.into_iter();
    let mut settings = Settings::default();
    let mut quantizations = None;
    while let Some(arg) = args.next() {
        let (name, mut value) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value =
            || value.take().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            // Cargo passes this argument to every benchmark.
            "--bench" => (),
            "--quick" => settings.quick = true,
            "--dataset" => settings.sources.push(Source::Folder(value()?.into())),
            "--generate" => settings.sources.push(generated(&value()?)?),
            "--spectrum" => settings.spectrum = value()?.parse().map_err(|e| format!("--{e}"))?,
            "--query-shift" => settings.query_shift = number(&name, &value()?)?,
            "--write" => settings.write = Some(value()?.into()),
            "--json" => settings.json = Some(value()?.into()),
            "--svg" => settings.svg = Some(value()?.into()),
            "--index" => {
                settings.index = match value()?.as_str() {
                    "hnsw" => Kind::Hnsw,
                    "ivf" => Kind::Ivf,
                    "flat" => Kind::Flat,
                    other => return Err(format!("--index is '{other}'; allowed: hnsw, ivf, flat")),
                }
            }
            "--quantization" => quantizations = Some(value()?),
            "--originals" => {
                match value()?.as_str() {
                    "kept" => settings.originals = Originals::Kept,
                    "sq8" => settings.originals = Originals::Sq8,
                    "sq12" => settings.originals = Originals::Sq12,
                    "dropped" => settings.originals = Originals::Dropped,
                    other => {
                        settings.originals = Originals::Kept;
                        settings.element = element(other).map_err(|_| {
                        format!("--originals is '{other}'; allowed: kept, sq12, sq8, dropped, f32, ...")
                    })?;
                    }
                }
            }
            "--element" => settings.element = element(&value()?)?,
            "--m" => settings.m = number(&name, &value()?)?,
            "--ef-construction" => settings.ef_construction = number(&name, &value()?)?,
            "--alpha" => settings.alpha = Some(number(&name, &value()?)?),
            "--ef" => {
                settings.ef =
                    value()?.split(',').map(|ef| positive(&name, ef)).collect::<Result<_, _>>()?;
            }
            "--lists" => settings.lists = Some(positive(&name, &value()?)?),
            "--nprobe" => {
                let value = value()?;
                let numbers = value.split(',').map(|n| positive(&name, n));
                settings.nprobe = numbers.collect::<Result<_, _>>()?;
            }
            "--k" => settings.k = positive(&name, &value()?)?,
            "--threads" => settings.threads = positive(&name, &value()?)?,
            "--build-threads" => settings.build_threads = positive(&name, &value()?)?,
            "--rounds" => settings.rounds = positive(&name, &value()?)?,
            _ => return Err(format!("unknown argument '{name}'")),
        }
    }
    let generated =
        settings.sources.iter().filter(|source| matches!(source, Source::Generated { .. }));
    let generated = generated.count();
    if generated == 0 && (settings.spectrum != Spectrum::Flat || settings.query_shift != 0.0) {
        return Err("--spectrum and --query-shift belong to --generate".to_owned());
    }
    if generated != 1 && settings.write.is_some() {
        return Err("--write belongs to one --generate".to_owned());
    }
    if let Some(names) = quantizations {
        let names = names.split(',').map(|name| named(name, settings.index));
        settings.quantizations = names.collect::<Result<_, _>>()?;
    } else if settings.sources.is_empty() && settings.index == Kind::Hnsw {
        // The first run of a newcomer shows the vectors beside the recommended quantization.
        settings.quantizations = vec!["none", "auto"];
    }
    if settings.index == Kind::Ivf {
        if settings.ef.is_empty() {
            settings.ef = vec![settings.k.max(64)];
        }
        if settings.nprobe.is_empty() {
            settings.nprobe = if settings.quick { vec![4, 16, 64] } else { NPROBE.to_vec() };
        }
    } else if settings.lists.is_some() || !settings.nprobe.is_empty() {
        return Err("--lists and --nprobe belong to --index ivf".to_owned());
    }
    if settings.rounds == 0 {
        settings.rounds = if settings.quick { 1 } else { 3 };
    }
    if settings.ef.is_empty() {
        settings.ef = if settings.quick { vec![16, 32, 64, 128] } else { EF.to_vec() };
    }
    settings.ef.retain(|&ef| ef >= settings.k);
    if settings.ef.is_empty() {
        return Err(format!("no --ef reaches --k {}", settings.k));
    }
    Ok(Command::Run(Box::new(settings)))
}

/// The names of `--quantization`, here and in results.
const QUANTIZATIONS: [&str; 9] =
    ["none", "auto", "sq8", "sq4", "rabitq1", "rabitq2", "rabitq4", "pq4", "pq8"];

/// Those of an inverted-file index.
const IVF_QUANTIZATIONS: [&str; 6] = ["none", "auto", "pq4", "rabitq1", "rabitq2", "rabitq4"];

/// Returns the name of a quantization that the index has.
fn named(name: &str, index: Kind) -> Result<&'static str, String> {
    let known = match index {
        Kind::Ivf => IVF_QUANTIZATIONS.to_vec(),
        Kind::Hnsw => QUANTIZATIONS.to_vec(),
        Kind::Flat => vec!["none"],
    };
    known.iter().find(|known| **known == name).copied().ok_or_else(|| {
        let (index, known) = (index.name(), known.join(", "));
        format!("--quantization is '{name}'; allowed for {index}: {known}")
    })
}

impl Settings {
    /// Returns the quantization of an index of vectors of `dimension` components.
    pub(crate) fn quantization(&self, dimension: usize) -> Quantization {
        match self.quantization {
            "pq8" => Quantization::Pq { sub_vectors: dimension.div_ceil(8), bits: 8 },
            // One of `QUANTIZATIONS`.
            name => name.parse().unwrap_or(Quantization::None),
        }
    }

    /// Returns the operating points of the index: `ef` and `nprobe` of each.
    pub(crate) fn efforts(&self) -> Vec<Effort> {
        match self.index {
            Kind::Hnsw => self.ef.iter().map(|&ef| Effort { ef, nprobe: None }).collect(),
            Kind::Ivf => {
                let probes = |&ef: &usize| {
                    self.nprobe.iter().map(move |&nprobe| Effort { ef, nprobe: Some(nprobe) })
                };
                self.ef.iter().flat_map(probes).collect()
            }
            // An exact index has one operating point.
            Kind::Flat => vec![Effort { ef: self.ef[0], nprobe: None }],
        }
    }
}

/// The effort of a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) ef: usize,
    pub(crate) nprobe: Option<usize>,
}

fn element(name: &str) -> Result<Option<Element>, String> {
    match name {
        "native" => Ok(None),
        "f32" => Ok(Some(Element::F32)),
        "f16" => Ok(Some(Element::F16)),
        "bf16" => Ok(Some(Element::Bf16)),
        "i8" => Ok(Some(Element::I8)),
        "u8" => Ok(Some(Element::U8)),
        other => Err(format!("--element is '{other}'; allowed: f32, f16, bf16, i8, u8, native")),
    }
}

/// Returns the source of `--generate`, of the form rows x dimension.
fn generated(size: &str) -> Result<Source, String> {
    let (rows, dimension) = size.split_once('x').ok_or_else(|| {
        format!("--generate is '{size}'; allowed: rows x dimension, as 300000x768")
    })?;
    let part = |text| positive("--generate", text);
    Ok(Source::Generated { rows: part(rows)?, dimension: part(dimension)? })
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{name} is '{text}', which is no number it can take"))
}

fn positive(name: &str, text: &str) -> Result<usize, String> {
    match number(name, text)? {
        0 => Err(format!("{name} must be 1 or more")),
        n => Ok(n),
    }
}
