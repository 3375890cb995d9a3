//! One library: a collection in a file, its writer, and the searches that are answered together.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use nearfield::collection::Selection;
use nearfield::{Collection, Metric, Predicate, Quantization};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::gather::Gather;
use crate::problem::{Problem, Result};
use crate::search::{Filter, Wanted};
use crate::settings::Limits;
use crate::writer::Writer;

/// The name of the file of the collection in the folder of its library, and that of its description.
const COLLECTION: &str = "collection.nf";
const DESCRIPTION: &str = "library.json";

/// Selections of recent filters that a library keeps.
const SELECTIONS: u64 = 64;

/// The distance between vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// One minus the cosine of the angle.
    Cosine,
    /// The squared Euclidean distance.
    L2,
    /// The negated inner product.
    InnerProduct,
}

impl Distance {
    fn metric(self) -> Metric {
        match self {
            Self::Cosine => Metric::Cosine,
            Self::L2 => Metric::L2,
            Self::InnerProduct => Metric::InnerProduct,
        }
    }
}

/// The kind of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// A graph.
    #[default]
    Hnsw,
    /// Lists around centroids. A collection holds no such index: refused.
    Ivf,
    /// A scan. A collection holds no such index: refused.
    Flat,
}

/// Codes of vectors, which walks read in the place of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Codes {
    /// The choice of the index.
    #[default]
    Auto,
    /// No codes.
    None,
    /// 8 bits a component.
    Sq8,
    /// 4 bits a component.
    Sq4,
    /// Product codes of 4 bits for two components.
    Pq4,
}

impl Codes {
    fn quantization(self) -> Quantization {
        match self {
            Self::Auto => Quantization::Auto,
            Self::None => Quantization::None,
            Self::Sq8 => Quantization::Sq8,
            Self::Sq4 => Quantization::Sq4,
            Self::Pq4 => Quantization::Pq4,
        }
    }
}

/// The choices with which a library is made. They never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Components of a vector.
    pub dimension: usize,
    /// The distance.
    pub metric: Distance,
    /// The index.
    pub index: IndexKind,
    /// The codes.
    pub quantization: Codes,
}

/// The description in the folder of a library.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Tells a library from an earlier one of the same name.
    instance: Uuid,
    #[serde(flatten)]
    shape: Shape,
}

/// A library that is open.
#[derive(Debug)]
pub struct Library {
    name: String,
    folder: PathBuf,
    instance: Uuid,
    shape: Shape,
    collection: Collection,
    /// The number of the last commit that was acknowledged.
    commit: AtomicU64,
    selections: Cache<(u64, String), Arc<Selection>>,
    /// Gathers searches.
    pub gather: Gather,
    /// Gathers changes.
    pub writer: Writer,
}

impl Library {
    /// Makes a library in an empty folder, and leaves it closed.
    ///
    /// # Errors
    ///
    /// 501 for an index that no collection holds, 422 for a shape that the index refuses.
    pub fn create(folder: &Path, shape: Shape) -> Result<()> {
        if shape.index != IndexKind::Hnsw {
            return Err(Problem::unsupported(
                "collections hold `hnsw` indexes alone; an `ivf` or `flat` index would not survive a restart",
            ));
        }
        let builder = Collection::builder(shape.dimension, shape.metric.metric())
            .quantization(shape.quantization.quantization());
        drop(builder.create(folder.join(COLLECTION))?);
        let description = Description { instance: Uuid::now_v7(), shape };
        let text = serde_json::to_vec_pretty(&description).map_err(Problem::internal)?;
        write_synced(&folder.join(DESCRIPTION), &text)
            .and_then(|()| sync_folder(folder))
            .map_err(Problem::internal)
    }

    /// Opens the library in a folder.
    ///
    /// # Errors
    ///
    /// 500 if its files cannot be read; the log has the cause.
    pub fn open(name: &str, folder: &Path, limits: &Limits) -> Result<Arc<Self>> {
        let text = fs::read(folder.join(DESCRIPTION)).map_err(Problem::internal)?;
        let Description { instance, shape } =
            serde_json::from_slice(&text).map_err(Problem::internal)?;
        // The journal is replayed by a crashed writer's successor: a tenth of a second at most.
        let builder = Collection::builder(shape.dimension, shape.metric.metric())
            .replay_limit(Duration::from_millis(100));
        let collection = builder.open(folder.join(COLLECTION))?;
        let commit = AtomicU64::new(collection.stats()?.commit);
        let library = Arc::new(Self {
            name: name.to_owned(),
            folder: folder.to_path_buf(),
            instance,
            shape,
            collection,
            commit,
            selections: Cache::new(SELECTIONS),
            gather: Gather::new(limits),
            writer: Writer::new(limits.queue),
        });
        Ok(library)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file of the collection.
    pub fn file(&self) -> PathBuf {
        self.folder.join(COLLECTION)
    }

    /// Returns the number that tells the library from an earlier one of the same name.
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// Returns the choices with which the library was made.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the collection.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Returns the number of the last commit that was acknowledged.
    pub fn commit(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    /// Notes a commit, before its changes are acknowledged: a client that has the acknowledgement finds no older result in a cache.
    pub fn note_commit(&self, commit: u64) {
        self.commit.fetch_max(commit, Ordering::Release);
    }

    /// Returns the documents that a filter accepts, all without one. Blocks; filters of the last commits are cached.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn matching(&self, filter: Option<&Filter>) -> Result<Arc<Selection>> {
        let key =
            (self.commit(), filter.map(|filter| filter.text().to_owned()).unwrap_or_default());
        if let Some(selection) = self.selections.get(&key) {
            return Ok(selection);
        }
        let everything = Predicate::all([]);
        let predicate = filter.map_or(&everything, Filter::predicate);
        let selection = Arc::new(self.collection.matching(predicate)?);
        self.selections.insert(key, Arc::clone(&selection));
        Ok(selection)
    }

    /// Returns the documents that the filter of a search accepts, as [`Self::matching`]. Returns `None` without a filter.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn selection(&self, wanted: &Wanted) -> Result<Option<Arc<Selection>>> {
        wanted.filter.as_ref().map(|filter| self.matching(Some(filter))).transpose()
    }

    /// Writes everything into the columns of the file, so that the next opening has nothing to replay.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn close(&self) -> Result<()> {
        Ok(self.collection.clone().close()?)
    }
}

/// Waits until the disk has the names in a folder. Windows writes them with the files.
///
/// # Errors
///
/// Those of the system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Writes a file and waits for the disk.
fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
