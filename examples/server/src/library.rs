//! One library: a collection in a file, its writer, and the searches that are answered together.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use nearfield::collection::Selection;
use nearfield::{Collection, CollectionReader, Metric, Predicate, Quantization, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::gather::Gather;
use crate::problem::{Problem, Result};
use crate::residency::RecentResidency;
use crate::search::{Filter, Wanted};
use crate::settings::Limits;
use crate::view::View;
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
    /// Lists around centroids. Their files are written as a whole, so that no acknowledged change would survive a crash: refused.
    Ivf,
    /// A scan of all vectors: exact answers, in a time that grows with the documents. Its graph is as small as a graph can be, and it has no
    /// codes.
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

impl Shape {
    /// Returns the shape with the choices that follow from others.
    ///
    /// # Errors
    ///
    /// 422 for codes in a library whose answers are exact.
    fn settled(self) -> Result<Self> {
        match (self.index, self.quantization) {
            (IndexKind::Flat, Codes::Auto) => Ok(Self { quantization: Codes::None, ..self }),
            (IndexKind::Flat, Codes::Sq8 | Codes::Sq4 | Codes::Pq4) => Err(Problem::invalid(
                "a `flat` library compares vectors and has no codes; leave `quantization` out",
            )),
            _ => Ok(self),
        }
    }
}

/// The description in the folder of a library.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Tells a library from an earlier one of the same name.
    instance: Uuid,
    #[serde(flatten)]
    shape: Shape,
}

impl Description {
    fn read(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(folder.join(DESCRIPTION))?)?)
    }
}

/// The right that this process has to the file of a library.
#[derive(Debug)]
enum Access {
    /// To write.
    Writer(Collection),
    /// To read what another process writes, with the newest snapshot that was taken.
    Replica { reader: CollectionReader, newest: RwLock<Snapshot> },
}

/// A library that is open.
#[derive(Debug)]
pub struct Library {
    name: String,
    folder: PathBuf,
    instance: Uuid,
    shape: Shape,
    access: Access,
    /// The number of the last commit that was acknowledged.
    commit: AtomicU64,
    selections: Cache<(u64, String), Arc<Selection>>,
    /// The share of the file that is in memory.
    pub residency: RecentResidency,
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
        let shape = shape.settled()?;
        let builder = Collection::builder(shape.dimension, shape.metric.metric())
            .quantization(shape.quantization.quantization());
        let builder = match shape.index {
            IndexKind::Hnsw => builder,
            // No search walks it.
            IndexKind::Flat => builder.m(2).ef_construction(2),
            IndexKind::Ivf => {
                return Err(Problem::unsupported(
                    "the file of an `ivf` index is written as a whole, so that a crash would lose acknowledged changes; choose `hnsw`, or \
                     `flat` for exact answers",
                ));
            }
        };
        drop(builder.create(folder.join(COLLECTION))?);
        describe(folder, shape)
    }

    /// Opens the library in a folder for writing.
    ///
    /// # Errors
    ///
    /// 500 if its files cannot be read; the log has the cause.
    pub fn open(name: &str, folder: &Path, limits: &Limits) -> Result<Arc<Self>> {
        let description = Description::read(folder).map_err(Problem::internal)?;
        let shape = description.shape;
        // The journal is replayed by a crashed writer's successor: a tenth of a second at most.
        let builder = Collection::builder(shape.dimension, shape.metric.metric())
            .replay_limit(Duration::from_millis(100));
        let collection = builder.open(folder.join(COLLECTION))?;
        let commit = collection.stats()?.commit;
        Ok(Self::with((name, folder), &description, Access::Writer(collection), commit, limits))
    }

    /// Opens the library in a folder for reading, while another process may be writing it.
    ///
    /// # Errors
    ///
    /// 500 if its files cannot be read; the log has the cause.
    pub fn follow(name: &str, folder: &Path, limits: &Limits) -> Result<Arc<Self>> {
        let description = Description::read(folder).map_err(Problem::internal)?;
        let reader = Collection::open_read_only(folder.join(COLLECTION))?;
        let newest = reader.snapshot()?;
        let commit = newest.number();
        let access = Access::Replica { reader, newest: RwLock::new(newest) };
        Ok(Self::with((name, folder), &description, access, commit, limits))
    }

    fn with(
        (name, folder): (&str, &Path),
        &Description { instance, shape }: &Description,
        access: Access,
        commit: u64,
        limits: &Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            folder: folder.to_path_buf(),
            instance,
            shape,
            access,
            commit: AtomicU64::new(commit),
            selections: Cache::new(SELECTIONS),
            residency: RecentResidency::default(),
            gather: Gather::new(limits),
            writer: Writer::new(limits.queue),
        })
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

    /// Returns whether the folder has the library, and not a later one of the same name, or none.
    pub fn is_in_place(&self) -> bool {
        Description::read(&self.folder).is_ok_and(|found| found.instance == self.instance)
    }

    /// Returns the choices with which the library was made.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the collection, which this process writes.
    ///
    /// # Errors
    ///
    /// 403 if another process writes it.
    pub fn collection(&self) -> Result<&Collection> {
        match &self.access {
            Access::Writer(collection) => Ok(collection),
            Access::Replica { .. } => Err(Problem::read_only()),
        }
    }

    /// Returns the library as a request reads it.
    pub fn view(&self) -> View {
        match &self.access {
            Access::Writer(collection) => {
                View::of_writer(collection, self.commit(), self.shape.index)
            }
            Access::Replica { newest, .. } => {
                let newest = newest.read().unwrap_or_else(PoisonError::into_inner).clone();
                View::of_replica(newest, self.shape.index)
            }
        }
    }

    /// Takes the snapshot of the newest commit, if another process writes the library. Blocks. Requests read the last snapshot meanwhile: it is
    /// kept until the next one is there, and the one before it goes on to the new commits.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn refresh(&self) -> Result<()> {
        let Access::Replica { reader, newest } = &self.access else { return Ok(()) };
        let snapshot = reader.snapshot()?;
        let commit = snapshot.number();
        let last = std::mem::replace(
            &mut *newest.write().unwrap_or_else(PoisonError::into_inner),
            snapshot,
        );
        drop(last);
        self.note_commit(commit);
        Ok(())
    }

    /// Returns the number of the last commit that was acknowledged.
    pub fn commit(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    /// Notes a commit, before its changes are acknowledged: a client that has the acknowledgement finds no older result in a cache.
    pub fn note_commit(&self, commit: u64) {
        self.commit.fetch_max(commit, Ordering::Release);
    }

    /// Returns the documents of a view that a filter accepts, all without one. Blocks; filters of the last commits are cached.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn matching(&self, view: &View, filter: Option<&Filter>) -> Result<Arc<Selection>> {
        let key =
            (view.commit(), filter.map(|filter| filter.text().to_owned()).unwrap_or_default());
        if let Some(selection) = self.selections.get(&key) {
            return Ok(selection);
        }
        let everything = Predicate::all([]);
        let selection = view.matching(filter.map_or(&everything, Filter::predicate))?;
        self.selections.insert(key, Arc::clone(&selection));
        Ok(selection)
    }

    /// Returns the documents that the filter of a search accepts, as [`Self::matching`]. Returns `None` without a filter.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn selection(&self, view: &View, wanted: &Wanted) -> Result<Option<Arc<Selection>>> {
        wanted.filter.as_ref().map(|filter| self.matching(view, Some(filter))).transpose()
    }

    /// Writes the newest commit into an empty folder, as a library of its own. Requests go on. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the disk; 403 if another process writes the library.
    pub fn backup(&self, folder: &Path) -> Result<()> {
        self.collection()?.backup(folder.join(COLLECTION))?;
        describe(folder, self.shape)
    }

    /// Writes everything into the columns of the file, so that the next opening has nothing to replay.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub fn close(&self) -> Result<()> {
        Ok(self.collection()?.clone().close()?)
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

/// Describes a new library in its folder, which is on the disk then.
fn describe(folder: &Path, shape: Shape) -> Result<()> {
    let description = Description { instance: Uuid::now_v7(), shape };
    let text = serde_json::to_vec_pretty(&description).map_err(Problem::internal)?;
    write_synced(&folder.join(DESCRIPTION), &text)
        .and_then(|()| sync_folder(folder))
        .map_err(Problem::internal)
}

/// Writes a file and waits for the disk.
fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
