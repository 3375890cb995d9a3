//! The measured sets: data sets from folders, and a generated one with its exact neighbours.

use std::error::Error;
use std::path::{Path, PathBuf};

use nearfield::dataset::{Dataset, Generated, GroundTruth, Spectrum, Vectors};
use nearfield::{Element, Flat, Metric};

use crate::args::Settings;

/// Exact neighbours of a query in a written set, or all rows of a smaller one.
const WRITTEN: usize = 100;

/// The source of a set.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Folder(PathBuf),
    Generated { rows: usize, dimension: usize },
}

/// A set in memory, with its vectors as the index will be given them.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) metric: Metric,
    /// Components of a vector, as the index counts them.
    pub(crate) dimension: usize,
    pub(crate) element: Element,
    pub(crate) base: Vectors,
    pub(crate) queries: Vectors,
    pub(crate) truth: GroundTruth,
}

impl Source {
    pub(crate) fn carried_and_generated(quick: bool) -> Vec<Self> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data");
        vec![
            Self::Folder(data.join("photo-sift-128-5k")),
            Self::Folder(data.join("words-100-10k")),
            Self::Generated { rows: if quick { 10_000 } else { 100_000 }, dimension: 128 },
        ]
    }

    pub(crate) fn load(self, settings: &Settings) -> Result<Set, Box<dyn Error>> {
        let set = match self {
            Self::Folder(folder) => Dataset::open(folder)?,
            Self::Generated { rows, dimension } => generate(rows, dimension, settings)?,
        };
        if settings.k > set.truth().k() {
            return Err(format!(
                "{}: --k is {}, but only {} exact neighbours are known",
                set.name(),
                settings.k,
                set.truth().k()
            )
            .into());
        }
        let bits = set.metric() == Metric::Hamming;
        let element = if bits { Element::Bit } else { settings.element.unwrap_or(set.element()) };
        // Vectors that the index would convert are converted here, so that neither building nor searching includes the conversion.
        // Other types are made of numbers that hold their values exactly.
        let convert = |vectors: &Vectors| {
            if bits || element == vectors.element() {
                Vectors::from_rows(vectors.dimension(), vectors)
            } else {
                Vectors::from_rows(vectors.dimension(), &vectors.to_f32()?)
            }
        };
        Ok(Set {
            name: set.name().to_owned(),
            metric: set.metric(),
            dimension: set.dimension(),
            element,
            base: convert(set.base())?,
            queries: convert(set.queries())?,
            truth: set.truth().clone(),
        })
    }
}

/// Returns a generated set, and writes it if asked; an exact index on all cores finds its neighbours.
fn generate(rows: usize, dimension: usize, settings: &Settings) -> Result<Dataset, Box<dyn Error>> {
    let &Settings { spectrum, query_shift, .. } = settings;
    // A folder that cannot be written must not cost the time of the neighbours.
    if let Some(folder) = &settings.write
        && folder.exists()
        && folder.read_dir()?.next().is_some()
    {
        return Err(format!("--write: {} is not empty", folder.display()).into());
    }
    eprintln!("generating {rows} x {dimension} and its exact neighbours");
    let generated = Generated::builder(rows, dimension).spectrum(spectrum).query_shift(query_shift);
    let (base, queries) = generated.build()?.into_parts();
    let metric = if spectrum == Spectrum::Flat { Metric::L2 } else { Metric::Cosine };
    let flat = Flat::builder(dimension, metric).build()?;
    let keys: Vec<u64> = (0..rows as u64).collect();
    flat.insert_batch(&keys, &base).run()?;
    let written = if settings.write.is_some() { WRITTEN } else { 0 };
    let k = settings.k.max(written).min(rows);
    let exact = flat.search_batch(&queries).k(k).run()?;
    let hits = || exact.iter().flatten();
    let ids = hits().map(|hit| hit.key as u32).collect();
    let distances = hits().map(|hit| hit.distance).collect();
    let truth = GroundTruth::from_parts(k, ids, Some(distances))?;
    let kind = if spectrum == Spectrum::Flat { String::new() } else { format!("-{spectrum}") };
    let name = format!("generated{kind}-{dimension}-{}k", rows / 1000);
    let set = Dataset::from_parts(name, metric, base, queries, truth)?;
    if let Some(folder) = &settings.write {
        set.write(folder)?;
        eprintln!("wrote {}", folder.display());
    }
    Ok(set)
}
