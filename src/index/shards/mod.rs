//! One query over many indexes.

mod filter;
mod hits;
mod search;

use std::fmt;
use std::sync::Arc;

pub use hits::{ShardHit, ShardHits};
pub use search::{ShardSearch, ShardSearchBatch, TryShards};

use super::encode::Encoder;
use super::flat::Flat;
use super::hnsw::Hnsw;
use super::ivf::Ivf;
use super::parallel::OwnPool;
use super::search::Searchable;
use crate::distance::CustomUse;
use crate::error::IndexError;
use crate::vector::AsVector;

/// A member of [`Shards`]: an index, a collection or a snapshot of one, and references to these.
///
/// A type of your own that holds one of these returns that one's index.
pub trait Shard: Sync {
    /// Returns the index that is searched.
    fn index(&self) -> ShardIndex<'_>;
}

/// An index that is searched as one of [`Shards`].
#[derive(Clone, Copy)]
pub struct ShardIndex<'a>(&'a dyn Searchable);

impl fmt::Debug for ShardIndex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShardIndex").field(self.0.encoder()).finish()
    }
}

impl Shard for Hnsw {
    fn index(&self) -> ShardIndex<'_> {
        ShardIndex(self)
    }
}

impl Shard for Flat {
    fn index(&self) -> ShardIndex<'_> {
        ShardIndex(self)
    }
}

impl Shard for Ivf {
    fn index(&self) -> ShardIndex<'_> {
        ShardIndex(self)
    }
}

impl<S: Shard + ?Sized> Shard for &S {
    fn index(&self) -> ShardIndex<'_> {
        (**self).index()
    }
}

impl<S: Shard + ?Sized> Shard for Box<S> {
    fn index(&self) -> ShardIndex<'_> {
        (**self).index()
    }
}

impl<S: Shard + Send + ?Sized> Shard for Arc<S> {
    fn index(&self) -> ShardIndex<'_> {
        (**self).index()
    }
}

/// Indexes or collections that are searched together: one query, one answer in order.
///
/// All shards have one dimension and one metric; everything else may differ: kinds, element types, quantization, sizes. A hit
/// names its shard by position, because several shards may have the same key. Each shard is searched with the whole `ef`, so
/// many small shards take longer than one large one, and find more; [`Collection::merge`](crate::Collection::merge) makes one
/// collection of several.
///
/// ```
/// use nearfield::{Hnsw, Metric, Shards};
///
/// let north = Hnsw::builder(1, Metric::L2).build()?;
/// north.insert_batch(&[1, 2], &[0.1, 0.4]).run()?;
/// let south = Hnsw::builder(1, Metric::L2).build()?;
/// south.insert_batch(&[1, 2], &[0.2, 0.3]).run()?;
///
/// let shards = Shards::new([&north, &south])?;
/// let hits = shards.search(&[0.0]).k(3).run()?;
/// let found: Vec<_> = hits.iter().map(|hit| (hit.shard, hit.key)).collect();
/// assert_eq!(found, [(0, 1), (1, 1), (1, 2)]);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Debug)]
pub struct Shards<S> {
    shards: Vec<S>,
    own_pool: OwnPool,
}

impl<S: Shard> Shards<S> {
    /// Creates a set of these shards, numbered from 0 in their order. Pass references, or types that are cheap to clone, such as a
    /// [`Snapshot`](crate::Snapshot).
    ///
    /// # Errors
    ///
    /// [`IndexError::ShardMismatch`] names the first shard whose dimension or metric is not that of the first one;
    /// [`IndexError::Parameter`] if `shards` is empty.
    pub fn new(shards: impl IntoIterator<Item = S>) -> Result<Self, IndexError> {
        let shards: Vec<S> = shards.into_iter().collect();
        let Some(first) = shards.first() else {
            let value = 0.to_string();
            return Err(IndexError::Parameter { name: "shards", value, allowed: "1 or more" });
        };
        let Encoder { dimension, metric, .. } = *first.index().0.encoder();
        let custom = first.index().0.custom_use().map(CustomUse::name);
        for (shard, index) in shards.iter().enumerate() {
            let found = index.index().0.encoder();
            let mismatch = |name, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
                let (expected, found) = (expected.to_string(), found.to_string());
                IndexError::ShardMismatch { shard, name, expected, found }
            };
            if found.dimension != dimension {
                return Err(mismatch("dimension", &dimension, &found.dimension));
            }
            if found.metric != metric {
                return Err(mismatch("metric", &metric, &found.metric));
            }
            let found = index.index().0.custom_use().map(CustomUse::name);
            if found != custom {
                let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
                return Err(mismatch("custom metric", &name(custom), &name(found)));
            }
        }
        Ok(Self { shards, own_pool: OwnPool::default() })
    }

    /// Returns the shards, by their numbers.
    pub fn shards(&self) -> &[S] {
        &self.shards
    }

    /// Searches all shards for the vectors nearest to `query`: `shards.search(&query).k(10).ef(64).run()?`.
    pub fn search<'a, V: AsVector + ?Sized>(&'a self, query: &'a V) -> ShardSearch<'a, S> {
        ShardSearch::new(self, query)
    }

    /// Searches all shards for the vectors nearest to each of many queries, one after the other in `queries`, on many
    /// threads.
    pub fn search_batch<'a, V: AsVector + ?Sized>(
        &'a self,
        queries: &'a V,
    ) -> ShardSearchBatch<'a, S> {
        ShardSearchBatch::new(self, queries)
    }

    fn index(&self, shard: usize) -> &dyn Searchable {
        self.shards[shard].index().0
    }
}
