//! The measured sets: data sets from folders, and a generated one with its exact neighbours.

use std::error::Error;
use std::path::{Path, PathBuf};

use nearfield::dataset::{Dataset, Generated, GroundTruth, Vectors};
use nearfield::{Element, Flat, Metric};

use crate::args::Settings;

/// The source of a set.
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
            Self::Generated { rows, dimension } => generate(rows, dimension, settings.k)?,
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

/// Returns a generated set; an exact index on all cores finds its neighbours.
fn generate(rows: usize, dimension: usize, k: usize) -> Result<Dataset, Box<dyn Error>> {
    eprintln!("generating {rows} x {dimension} and its exact neighbours");
    let (base, queries) = Generated::builder(rows, dimension).build()?.into_parts();
    let flat = Flat::builder(dimension, Metric::L2).build()?;
    let keys: Vec<u64> = (0..rows as u64).collect();
    flat.insert_batch(&keys, &base).run()?;
    let exact = flat.search_batch(&queries).k(k).run()?;
    let hits = || exact.iter().flatten();
    let ids = hits().map(|hit| hit.key as u32).collect();
    let distances = hits().map(|hit| hit.distance).collect();
    let truth = GroundTruth::from_parts(k.min(rows), ids, Some(distances))?;
    let name = format!("generated-{dimension}-{}k", rows / 1000);
    Ok(Dataset::from_parts(name, Metric::L2, base, queries, truth)?)
}
