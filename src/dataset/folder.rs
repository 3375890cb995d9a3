//! A data set as a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::vectors::ENDINGS;
use super::{DatasetError, GroundTruth, Vectors, meta};
use crate::metric::Metric;
use crate::vector::Element;

/// Base vectors, queries, their exact neighbours and the metric.
///
/// The folder holds `base.*` and `query.*` in a format of [`Vectors::open`], `gt.ibin` or
/// `gt.ivecs`, and `meta.json` with a string `metric` at its top level: `l2`, `cosine`, `ip` or
/// `hamming` (of packed bits in bytes).
#[derive(Debug)]
pub struct Dataset {
    name: String,
    metric: Metric,
    base: Vectors,
    queries: Vectors,
    truth: GroundTruth,
}

impl Dataset {
    /// Reads a folder into memory.
    ///
    /// # Errors
    ///
    /// [`DatasetError`] if a file is missing or malformed, or if the files contradict each other:
    /// other dimensions or elements, another number of queries, neighbours that do not exist.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, DatasetError> {
        Self::assemble(folder.as_ref(), |path| Vectors::open(path))
    }

    pub(super) fn assemble(
        folder: &Path,
        vectors: impl Fn(&Path) -> Result<Vectors, DatasetError>,
    ) -> Result<Self, DatasetError> {
        let metric = meta::metric(&folder.join("meta.json"))?;
        let base = vectors(&part(folder, "base", &ENDINGS)?)?;
        let query_path = part(folder, "query", &ENDINGS)?;
        let queries = vectors(&query_path)?;
        let truth_path = part(folder, "gt", &["ibin", "ivecs"])?;
        let truth = GroundTruth::open(&truth_path)?;

        let same = |path: &Path, property, expected, found| {
            if expected == found {
                Ok(())
            } else {
                Err(DatasetError::Mismatch { path: path.into(), property, expected, found })
            }
        };
        same(&query_path, "dimension", base.dimension(), queries.dimension())?;
        let bits = |v: &Vectors| 8 * v.element().bytes(1);
        same(&query_path, "bits of a component", bits(&base), bits(&queries))?;
        same(&truth_path, "number of queries", queries.len(), truth.len())?;
        if let Some((query, id)) = truth.beyond(base.len()) {
            return Err(DatasetError::NeighborId { path: truth_path, query, id, len: base.len() });
        }
        let name = folder.canonicalize().map_err(DatasetError::io(folder))?;
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, metric, base, queries, truth })
    }

    /// Creates a data set from parts that fit each other.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Argument`] if the dimensions or the numbers of queries differ, or a
    /// neighbour does not exist; also for [`Metric::Custom`], which names no metric.
    pub fn from_parts(
        name: impl Into<String>,
        metric: Metric,
        base: Vectors,
        queries: Vectors,
        truth: GroundTruth,
    ) -> Result<Self, DatasetError> {
        let wrong =
            |name, value: String, allowed| Err(DatasetError::Argument { name, value, allowed });
        if metric == Metric::Custom {
            return wrong("metric", metric.to_string(), "a metric of this crate");
        }
        if queries.dimension() != base.dimension() {
            let value = format!("vectors of {}", queries.dimension());
            return wrong("queries", value, "vectors of the base's dimension");
        }
        if truth.len() != queries.len() {
            let value = format!("{} lists for {} queries", truth.len(), queries.len());
            return wrong("truth", value, "one list for each query");
        }
        if let Some((query, id)) = truth.beyond(base.len()) {
            let value = format!("neighbour {id} of query {query}");
            return wrong("truth", value, "rows of the base");
        }
        Ok(Self { name: name.into(), metric, base, queries, truth })
    }

    /// Writes the set as a folder that [`open`](Self::open) reads: `base.*` and `query.*` in the big-ann layout, `gt.ibin`
    /// and `meta.json`. Creates the folder, and waits until each file of numbers is on the disk.
    ///
    /// # Errors
    ///
    /// [`DatasetError::Io`] if the folder has any entry, or if the system refuses to write;
    /// [`DatasetError::Element`] for brain floats, which this layout does not know.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), DatasetError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(DatasetError::io(folder))?;
        if fs::read_dir(folder).map_err(DatasetError::io(folder))?.next().is_some() {
            return Err(DatasetError::io(folder)(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        for (part, vectors) in [("base", &self.base), ("query", &self.queries)] {
            let ending = match vectors.element() {
                Element::F16 => "f16bin",
                Element::I8 => "i8bin",
                Element::U8 => "u8bin",
                _ => "fbin",
            };
            vectors.write_bin(folder.join(format!("{part}.{ending}")))?;
        }
        self.truth.write_ibin(folder.join("gt.ibin"))?;
        meta::write(&folder.join("meta.json"), self.metric)
    }

    /// Returns the folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the metric of [`truth`](Self::truth).
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Returns the dimension of an index of these vectors: eight times the bytes of a row if the metric
    /// counts bits.
    pub fn dimension(&self) -> usize {
        if self.metric == Metric::Hamming {
            8 * self.base.dimension()
        } else {
            self.base.dimension()
        }
    }

    /// Returns the element type of an index that keeps these vectors unchanged.
    pub fn element(&self) -> Element {
        if self.metric == Metric::Hamming { Element::Bit } else { self.base.element() }
    }

    /// Returns the vectors to search among; a vector's row number is its id in the truth.
    pub fn base(&self) -> &Vectors {
        &self.base
    }

    /// Returns the vectors to search for.
    pub fn queries(&self) -> &Vectors {
        &self.queries
    }

    /// Returns the exact neighbours of the queries.
    pub fn truth(&self) -> &GroundTruth {
        &self.truth
    }
}

/// Returns the one file of a part.
fn part(folder: &Path, part: &'static str, endings: &[&str]) -> Result<PathBuf, DatasetError> {
    let mut files: Vec<PathBuf> = endings
        .iter()
        .map(|ending| folder.join(format!("{part}.{ending}")))
        .filter(|path| path.exists())
        .collect();
    match (files.len(), files.pop()) {
        (1, Some(file)) => Ok(file),
        (found, _) => Err(DatasetError::Part { path: folder.into(), part, found }),
    }
}
