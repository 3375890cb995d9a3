//! The operations that every index has.

use std::fmt;

use super::build::InsertBatch;
use super::flat::Flat;
use super::hnsw::Hnsw;
use super::ivf::Ivf;
use super::search::Search;
use crate::error::IndexError;
use crate::index::reports::stats::Stats;
use crate::index::search::batch::SearchBatch;
use crate::metric::Metric;
use crate::vector::{AsVector, Element};

/// The operations of [`Hnsw`], [`Flat`] and [`Ivf`] that are the same, for code that works with any of them, as `impl Index` or
/// `&dyn Index`. Each method calls the index's own method of the same name.
///
/// ```
/// use nearfield::{Flat, Hnsw, Index, IndexError, Metric};
///
/// fn nearest(index: &dyn Index, query: &[f32]) -> Result<Option<u64>, IndexError> {
///     Ok(index.search(&query).k(1).run()?.keys().next())
/// }
///
/// let hnsw = Hnsw::builder(2, Metric::L2).build()?;
/// let flat = Flat::builder(2, Metric::L2).build()?;
/// let both: [&dyn Index; 2] = [&hnsw, &flat];
/// for index in both {
///     index.insert(7, &[0.0, 1.0])?;
///     assert_eq!(nearest(index, &[0.0, 0.9])?, Some(7));
/// }
/// # Ok::<(), nearfield::IndexError>(())
/// ```
pub trait Index: Send + Sync + fmt::Debug {
    /// Inserts a vector under a new key.
    ///
    /// # Errors
    ///
    /// [`IndexError`], as the method of the index.
    fn insert(&self, key: u64, vector: &dyn AsVector) -> Result<(), IndexError>;

    /// Inserts a vector, or replaces the vector of the key. Returns whether the key had one.
    ///
    /// # Errors
    ///
    /// [`IndexError`], as the method of the index.
    fn upsert(&self, key: u64, vector: &dyn AsVector) -> Result<bool, IndexError>;

    /// Removes the vector of a key. Returns whether the key had one.
    ///
    /// # Errors
    ///
    /// [`IndexError`], as the method of the index.
    fn remove(&self, key: u64) -> Result<bool, IndexError>;

    /// Inserts many vectors, which follow one another in `vectors`.
    fn insert_batch<'a>(&'a self, keys: &'a [u64], vectors: &'a dyn AsVector) -> InsertBatch<'a>;

    /// Searches for the nearest vectors to `query`.
    fn search<'a>(&'a self, query: &'a dyn AsVector) -> Search<'a>;

    /// Searches for the nearest vectors to each of many queries, which follow one another in `queries`.
    fn search_batch<'a>(&'a self, queries: &'a dyn AsVector) -> SearchBatch<'a>;

    /// Returns the vector of a key as the index keeps it.
    fn get(&self, key: u64) -> Option<Vec<f32>>;

    /// Returns whether the key has a vector.
    fn contains(&self, key: u64) -> bool;

    /// Returns the number of vectors.
    fn len(&self) -> usize;

    /// Returns whether the index has no vectors.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of components of a vector.
    fn dimension(&self) -> usize;

    /// Returns the metric by which vectors are compared.
    fn metric(&self) -> Metric;

    /// Returns the type in which components are stored.
    fn element(&self) -> Element;

    /// Returns sizes and counters.
    fn stats(&self) -> Stats;
}

macro_rules! index {
    ($($index:ty),*) => {$(
        impl Index for $index {
            fn insert(&self, key: u64, vector: &dyn AsVector) -> Result<(), IndexError> {
                Self::insert(self, key, vector)
            }

            fn upsert(&self, key: u64, vector: &dyn AsVector) -> Result<bool, IndexError> {
                Self::upsert(self, key, vector)
            }

            fn remove(&self, key: u64) -> Result<bool, IndexError> {
                Self::remove(self, key)
            }

            fn insert_batch<'a>(
                &'a self,
                keys: &'a [u64],
                vectors: &'a dyn AsVector,
            ) -> InsertBatch<'a> {
                Self::insert_batch(self, keys, vectors)
            }

            fn search<'a>(&'a self, query: &'a dyn AsVector) -> Search<'a> {
                Self::search(self, query)
            }

            fn search_batch<'a>(&'a self, queries: &'a dyn AsVector) -> SearchBatch<'a> {
                Self::search_batch(self, queries)
            }

            fn get(&self, key: u64) -> Option<Vec<f32>> {
                Self::get(self, key)
            }

            fn contains(&self, key: u64) -> bool {
                Self::contains(self, key)
            }

            fn len(&self) -> usize {
                Self::len(self)
            }

            fn dimension(&self) -> usize {
                Self::dimension(self)
            }

            fn metric(&self) -> Metric {
                Self::metric(self)
            }

            fn element(&self) -> Element {
                Self::element(self)
            }

            fn stats(&self) -> Stats {
                Self::stats(self)
            }
        }
    )*};
}

index!(Hnsw, Flat, Ivf);
