//! An index as the workloads see it. A new kind of index, or a new setting of one, joins here and every workload has it.

use nearfield::{BatchHits, Element, Flat, Hits, Hnsw, Stats, VectorRef};

use crate::Failure;
use crate::set::Set;

/// What a workload does with an index.
pub trait Subject: Send + Sync {
    fn insert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure>;

    /// Inserts the vectors of a set under their row numbers.
    fn insert_set(&self, set: &Set, threads: usize) -> Result<(), Failure>;

    /// Replaces what is in `hits` by the answer.
    fn search(&self, query: &VectorRef<'_>, ask: Ask, hits: &mut Hits) -> Result<(), Failure>;

    /// All queries of a set at once.
    fn search_set(&self, set: &Set, ask: Ask, threads: usize) -> Result<BatchHits, Failure>;

    fn stats(&self) -> Stats;
}

/// What a search is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub k: usize,
    pub ef: usize,
}

/// Which index to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// The graph.
    Hnsw { element: Element, m: usize, ef_construction: usize },
    /// The exact one.
    Flat { element: Element },
}

impl Recipe {
    /// The graph with the settings of the published comparisons.
    pub const fn hnsw(element: Element) -> Self {
        Self::Hnsw { element, m: 16, ef_construction: 200 }
    }

    /// What it is called in reports: what the walk reads.
    pub fn name(&self) -> String {
        match self {
            Self::Hnsw { element, .. } => element.to_string(),
            Self::Flat { element } => format!("flat-{element}"),
        }
    }

    /// An empty index for the vectors of a set.
    pub fn make(&self, set: &Set) -> Result<Box<dyn Subject>, Failure> {
        Ok(match *self {
            Self::Hnsw { element, m, ef_construction } => Box::new(
                Hnsw::builder(set.dimension, set.metric)
                    .element(element)
                    .m(m)
                    .ef_construction(ef_construction)
                    .build()?,
            ),
            Self::Flat { element } => {
                Box::new(Flat::builder(set.dimension, set.metric).element(element).build()?)
            }
        })
    }
}

macro_rules! subject {
    ($($index:ty),*) => {$(
        impl Subject for $index {
            fn insert(&self, key: u64, vector: &VectorRef<'_>) -> Result<(), Failure> {
                Ok(<$index>::insert(self, key, vector)?)
            }

            fn insert_set(&self, set: &Set, threads: usize) -> Result<(), Failure> {
                let keys: Vec<u64> = (0..set.base.len() as u64).collect();
                Ok(self.insert_batch(&keys, &set.base).threads(threads).run()?)
            }

            fn search(&self, query: &VectorRef<'_>, ask: Ask, hits: &mut Hits) -> Result<(), Failure> {
                Ok(<$index>::search(self, query).k(ask.k).ef(ask.ef).run_into(hits)?)
            }

            fn search_set(&self, set: &Set, ask: Ask, threads: usize) -> Result<BatchHits, Failure> {
                Ok(self.search_batch(&set.queries).k(ask.k).ef(ask.ef).threads(threads).run()?)
            }

            fn stats(&self) -> Stats {
                <$index>::stats(self)
            }
        }
    )*};
}

subject!(Hnsw, Flat);
