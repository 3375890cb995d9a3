//! An index as the workloads see it. A new kind of index, or a new setting, is added here, and every workload has it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearfield::store::Durability;
use nearfield::{
    BatchHits, Collection, CollectionBuilder, Element, Flat, Hits, Hnsw, Ivf, Quantization, Stats,
    VectorRef,
};

use crate::Failure;
use crate::set::Set;

/// Operations of a workload on an index.
pub trait Subject: Send + Sync {
    fn insert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure>;

    /// Inserts a vector, or replaces the vector of the same key.
    fn upsert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure>;

    fn remove(&self, key: u64) -> Result<(), Failure>;

    /// Does the maintenance that changes require.
    fn maintain(&self) -> Result<(), Failure>;

    /// Inserts the vectors of a set under their row numbers.
    fn insert_set(&self, set: &Set, threads: usize) -> Result<(), Failure>;

    /// Replaces the contents of `hits` by the answer.
    fn search(&self, query: &VectorRef<'_>, ask: Ask, hits: &mut Hits) -> Result<(), Failure>;

    /// Searches all queries of a set at once.
    fn search_set(&self, set: &Set, ask: Ask, threads: usize) -> Result<BatchHits, Failure>;

    fn stats(&self) -> Result<Stats, Failure>;

    /// Returns the bytes written to a file until now, or `None` if the index is in memory only.
    fn written(&self) -> Result<Option<u64>, Failure> {
        Ok(None)
    }
}

/// The parameters of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub k: usize,
    /// Candidates of a walk; of an inverted file, the lists that are read.
    pub ef: usize,
}

/// The index to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// The graph.
    Hnsw { element: Element, quantization: Quantization, m: usize, ef_construction: usize },
    /// Inverted lists.
    Ivf { element: Element, quantization: Quantization },
    /// The exact index.
    Flat { element: Element },
    /// The graph in a file, with transactions.
    Collection { element: Element },
}

impl Recipe {
    /// Returns the graph with the settings of the published comparisons.
    pub const fn hnsw(element: Element) -> Self {
        Self::codes(element, Quantization::None)
    }

    /// Returns the same graph, walking on codes.
    pub const fn codes(element: Element, quantization: Quantization) -> Self {
        Self::Hnsw { element, quantization, m: 16, ef_construction: 200 }
    }

    /// Returns the name in reports, by the representation that the walk reads.
    pub fn name(&self) -> String {
        match self {
            Self::Hnsw { element, quantization: Quantization::None, .. } => element.to_string(),
            Self::Hnsw { quantization, .. } => quantization.to_string(),
            Self::Ivf { element, quantization: Quantization::None } => format!("ivf-{element}"),
            Self::Ivf { quantization, .. } => format!("ivf-{quantization}"),
            Self::Flat { element } => format!("flat-{element}"),
            Self::Collection { element } => format!("collection-{element}"),
        }
    }

    /// Makes an empty index for the vectors of a set.
    pub fn make(&self, set: &Set) -> Result<Box<dyn Subject>, Failure> {
        Ok(match *self {
            Self::Hnsw { element, quantization, m, ef_construction } => Box::new(
                Hnsw::builder(set.dimension, set.metric)
                    .element(element)
                    .quantization(quantization)
                    .m(m)
                    .ef_construction(ef_construction)
                    .build()?,
            ),
            Self::Ivf { element, quantization } => Box::new(
                Ivf::builder(set.dimension, set.metric)
                    .element(element)
                    .quantization(quantization)
                    .build()?,
            ),
            Self::Flat { element } => {
                Box::new(Flat::builder(set.dimension, set.metric).element(element).build()?)
            }
            Self::Collection { element } => Box::new(Filed::make(config(set, element))?),
        })
    }
}

/// Returns settings under which commits do the same work on slow and fast machines: no delta falls due by the clock.
pub(crate) fn config(set: &Set, element: Element) -> CollectionBuilder {
    Collection::builder(set.dimension, set.metric)
        .element(element)
        .replay_limit(Duration::from_secs(3600))
}

macro_rules! subject {
    ($($index:ty, $effort:ident $(, $maintain:ident($budget:expr))?;)*) => {$(
        impl Subject for $index {
            fn insert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure> {
                Ok(<$index>::insert(self, key, vector)?)
            }

            fn upsert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure> {
                <$index>::upsert(self, key, vector)?;
                Ok(())
            }

            fn remove(&self, key: u64) -> Result<(), Failure> {
                <$index>::remove(self, key)?;
                Ok(())
            }

            fn maintain(&self) -> Result<(), Failure> {
                $(<$index>::$maintain(self, $budget);)?
                Ok(())
            }

            fn insert_set(&self, set: &Set, threads: usize) -> Result<(), Failure> {
                let keys: Vec<u64> = (0..set.base.len() as u64).collect();
                Ok(self.insert_batch(&keys, &set.base).threads(threads).run()?)
            }

            fn search(&self, query: &VectorRef<'_>, ask: Ask, hits: &mut Hits) -> Result<(), Failure> {
                Ok(<$index>::search(self, query).k(ask.k).$effort(ask.ef).run_into(hits)?)
            }

            fn search_set(&self, set: &Set, ask: Ask, threads: usize) -> Result<BatchHits, Failure> {
                Ok(self.search_batch(&set.queries).k(ask.k).$effort(ask.ef).threads(threads).run()?)
            }

            fn stats(&self) -> Result<Stats, Failure> {
                Ok(<$index>::stats(self))
            }
        }
    )*};
}

subject! {
    Hnsw, ef, maintain(Duration::MAX);
    Flat, ef, maintain(Duration::MAX);
    // A change leaves no work for maintenance.
    Ivf, nprobe;
}

/// A collection in a file.
pub struct Filed {
    collection: Collection,
    /// The folder of the collection, if the two are removed together.
    _folder: Option<Folder>,
}

impl Filed {
    /// Makes a new collection, which is removed when dropped.
    fn make(config: CollectionBuilder) -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let collection = config.open(folder.0.join("collection"))?;
        Ok(Self { collection, _folder: Some(folder) })
    }

    /// Opens the collection at `path`, which stays.
    pub fn open(path: &Path, config: CollectionBuilder) -> Result<Self, Failure> {
        Ok(Self { collection: config.open(path)?, _folder: None })
    }

    /// Returns the collection.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }
}

impl Subject for Filed {
    fn insert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure> {
        self.upsert(key, vector)
    }

    /// Upserts in a separate transaction that does not wait for the disk.
    fn upsert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure> {
        let mut tx = self.collection.begin_write()?;
        tx.set_durability(Durability::Eventual);
        tx.upsert(key, vector)?;
        tx.commit()?;
        Ok(())
    }

    /// Removes in a separate transaction that does not wait for the disk.
    fn remove(&self, key: u64) -> Result<(), Failure> {
        let mut tx = self.collection.begin_write()?;
        tx.set_durability(Durability::Eventual);
        tx.remove(key)?;
        tx.commit()?;
        Ok(())
    }

    fn maintain(&self) -> Result<(), Failure> {
        Ok(self.collection.checkpoint()?)
    }

    /// Inserts in one transaction, on one thread, and makes a checkpoint.
    fn insert_set(&self, set: &Set, _threads: usize) -> Result<(), Failure> {
        let keys: Vec<u64> = (0..set.base.len() as u64).collect();
        let mut tx = self.collection.begin_write()?;
        tx.upsert_batch(&keys, &set.base)?;
        tx.commit()?;
        Ok(self.collection.checkpoint()?)
    }

    fn search(&self, query: &VectorRef<'_>, ask: Ask, hits: &mut Hits) -> Result<(), Failure> {
        Ok(self.collection.search(query).k(ask.k).ef(ask.ef).run_into(hits)?)
    }

    fn search_set(&self, set: &Set, ask: Ask, threads: usize) -> Result<BatchHits, Failure> {
        let search = self.collection.search_batch(&set.queries);
        Ok(search.k(ask.k).ef(ask.ef).threads(threads).run()?)
    }

    fn stats(&self) -> Result<Stats, Failure> {
        Ok(self.collection.stats()?.index)
    }

    fn written(&self) -> Result<Option<u64>, Failure> {
        Ok(Some(self.collection.stats()?.store.written_bytes))
    }
}

/// A folder among the temporary files, removed when it is dropped.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Creates an empty, new folder.
    pub fn new() -> Result<Self, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("nearfield-profiling-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // A killed process with the same id left this folder.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{}: {error}", path.display()).into()),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is litter, not damage.
        let _ = fs::remove_dir_all(&self.0);
    }
}
