//! The data: sets that the repository carries, folders, and generated sets of any size.

use std::path::{Path, PathBuf};

use nearfield::dataset::{Dataset, Generated, GroundTruth, Vectors};
use nearfield::{Element, Flat, Metric};

use crate::Failure;

/// Vectors in memory with queries and their exact neighbours.
#[derive(Debug)]
pub struct Set {
    pub name: String,
    pub metric: Metric,
    /// Components of a vector.
    pub dimension: usize,
    /// The element type in which an index stores a component.
    pub element: Element,
    pub base: Vectors,
    pub queries: Vectors,
    pub truth: GroundTruth,
}

/// The origin of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder as `Dataset` reads it, and the element type to use; `None` for the folder's own.
    Folder(PathBuf, Option<Element>),
    /// Generated `f32` vectors under squared L2, with 1000 queries.
    Generated { rows: usize, dimension: usize },
}

impl Source {
    /// Reads or generates the set.
    pub fn load(&self) -> Result<Set, Failure> {
        match self {
            Self::Folder(folder, element) => open(folder, *element),
            Self::Generated { rows, dimension } => generate(*rows, *dimension),
        }
    }
}

/// Returns the folder with the sets that the repository carries.
pub fn carried() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/data")
}

/// Opens the `f32` or native twin of a folder's vectors.
fn open(folder: &Path, element: Option<Element>) -> Result<Set, Failure> {
    let set = Dataset::open(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let bits = set.metric() == Metric::Hamming;
    let element = if bits { Element::Bit } else { element.unwrap_or(set.element()) };
    // The vectors are converted here, so that neither building nor searching is charged for it.
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

/// Generates a set; an exact index finds its 10 nearest neighbours.
fn generate(rows: usize, dimension: usize) -> Result<Set, Failure> {
    const K: usize = 10;
    let (base, queries) = Generated::builder(rows, dimension).build()?.into_parts();
    let exact = Flat::builder(dimension, Metric::L2).build()?;
    let keys: Vec<u64> = (0..rows as u64).collect();
    exact.insert_batch(&keys, &base).run()?;
    let found = exact.search_batch(&queries).k(K).run()?;
    let hits = || found.iter().flatten();
    let ids = hits().map(|hit| hit.key as u32).collect();
    let distances = hits().map(|hit| hit.distance).collect();
    let truth = GroundTruth::from_parts(K.min(rows), ids, Some(distances))?;
    let name = match rows {
        1000.. => format!("generated-{dimension}-{}k", rows / 1000),
        _ => format!("generated-{dimension}-{rows}"),
    };
    let (metric, element) = (Metric::L2, Element::F32);
    Ok(Set { name, metric, dimension, element, base, queries, truth })
}
