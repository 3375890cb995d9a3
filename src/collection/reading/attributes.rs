//! Attributes in a snapshot.

use super::snapshot::Snapshot;
use crate::attributes::{Attributes, Predicate, Schema, Value};
use crate::collection::attributes::{Selection, attributes, facet, matching, schema};
use crate::collection::error::CollectionError;
use crate::index::Stored;

impl Snapshot {
    /// Returns the attributes of a key. Returns `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn attributes(&self, key: u64) -> Result<Option<Attributes>, CollectionError> {
        attributes(self.store(), self.fields(), key)
    }

    /// Returns the keys for which a predicate is true: a filter for [`search`](Self::search). As
    /// [`Collection::matching`](crate::Collection::matching), for this commit.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn matching(&self, predicate: &Predicate) -> Result<Selection, CollectionError> {
        self.with_keys(|keys| matching(self.store(), self.known(), predicate, keys))
    }

    /// Returns the number of keys for which a predicate is true. Costs as much as [`matching`](Self::matching).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn count(&self, predicate: &Predicate) -> Result<usize, CollectionError> {
        Ok(self.matching(predicate)?.len())
    }

    /// Returns the values of a field with the number of keys that have each, as [`Collection::facet`](crate::Collection::facet).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn facet(&self, field: &str) -> Result<Vec<(Value, u64)>, CollectionError> {
        facet(self.store(), field)
    }

    /// Returns the schema.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn schema(&self) -> Result<Schema, CollectionError> {
        schema(self.store())
    }

    /// Returns the keys of all vectors, in no order. `O(n)`. Returns no keys in a forked child of the process that made the snapshot.
    pub fn keys(&self) -> Vec<u64> {
        if self.hnsw().is_bound_here() { self.hnsw().keys().collect() } else { Vec::new() }
    }
}
