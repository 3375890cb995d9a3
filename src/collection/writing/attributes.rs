//! Attributes in transactions, and in the newest commit of a collection.

use roaring::RoaringTreemap;

use super::handle::Collection;
use super::transaction::Transaction;
use crate::attributes::{Attributes, Predicate, Value};
use crate::collection::attributes::{
    Changed, Keys, Selection, attributes, facet, in_key, matching, size_of,
};
use crate::collection::error::CollectionError;
use crate::index::Stored;

impl Transaction {
    /// Sets the attributes of a key that has a vector, in place of those that it may have. Attributes are indexed: [`Self::matching`] and
    /// [`Collection::matching`] find their keys. `O(log n)` for each value at the commit. Replacing the vector keeps them.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-attributes-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric, attributes};
    ///
    /// let papers = Collection::builder(2, Metric::L2).create(&path)?;
    /// let mut tx = papers.begin_write()?;
    /// tx.upsert(7, &[0.3, 0.7])?;
    /// tx.set(7, attributes! { "tenant" => "acme", "year" => 2024, "tags" => ["a", "b"] })?;
    /// tx.commit()?;
    ///
    /// let found = papers.matching(&"tenant = 'acme' and year >= 2020".parse()?)?;
    /// assert_eq!(papers.search(&[0.0, 1.0]).filter(&found).k(1).run()?[0].key, 7);
    /// # drop(papers);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::KeyMissing`], [`CollectionError::Attribute`] for a name or a value that is not allowed,
    /// [`CollectionError::Schema`] for attributes that the schema does not allow, [`CollectionError::Memory`]; the transaction then stays unchanged. [`CollectionError::TooManyFields`] comes from the commit, or from
    /// [`Self::matching`] before it.
    pub fn set(&mut self, key: u64, attributes: Attributes) -> Result<(), CollectionError> {
        if !self.contains(key) {
            return Err(CollectionError::KeyMissing { key });
        }
        attributes.check()?;
        let bytes = size_of(&attributes);
        self.admit(0, bytes)?;
        self.known_schema()?.check(&attributes).map_err(in_key(key))?;
        self.note_bytes(bytes);
        self.attributes.set(key, Some(attributes));
        Ok(())
    }

    /// Returns the attributes of a key, with the changes of this transaction. Returns `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt), [`StoreError::TransactionFailed`](crate::store::StoreError::TransactionFailed).
    pub fn attributes(&mut self, key: u64) -> Result<Option<Attributes>, CollectionError> {
        let (tx, pending) = self.store_and_attributes()?;
        pending.get(tx, key)
    }

    /// Removes the attributes of a key. Returns whether it had some.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Schema`] if the schema requires one, and as [`Self::attributes`].
    pub fn remove_attributes(&mut self, key: u64) -> Result<bool, CollectionError> {
        let had = self.attributes(key)?.is_some();
        if had {
            self.known_schema()?.check(&Attributes::new()).map_err(in_key(key))?;
            self.attributes.set(key, None);
        }
        Ok(had)
    }

    /// Returns the keys for which a predicate is true, with the changes of this transaction.
    ///
    /// # Errors
    ///
    /// [`CollectionError::Attribute`] if the predicate is invalid, and as [`Self::attributes`]. [`CollectionError::TooManyFields`] for attributes
    /// that were set: the transaction can only be dropped then.
    pub fn matching(&mut self, predicate: &Predicate) -> Result<Selection, CollectionError> {
        predicate.node()?;
        self.write_attributes()?;
        let (tx, list, count) = self.store_and_keys()?;
        let keys = Keys { count, list: &list, is_of_commit: true };
        Changed { tx, keys }.matching(predicate)
    }

    /// Returns the number of keys for which a predicate is true, with the changes of this transaction.
    ///
    /// # Errors
    ///
    /// As [`Self::matching`].
    pub fn count(&mut self, predicate: &Predicate) -> Result<usize, CollectionError> {
        Ok(self.matching(predicate)?.len())
    }

    /// Removes the vectors, payloads, attributes and names of all keys for which a predicate is true. Returns the number of removed vectors.
    ///
    /// # Errors
    ///
    /// As [`Self::matching`].
    pub fn remove_where(&mut self, predicate: &Predicate) -> Result<usize, CollectionError> {
        let selection = self.matching(predicate)?;
        let mut removed = 0;
        for key in selection.iter() {
            removed += usize::from(self.remove(key)?);
        }
        Ok(removed)
    }

    pub(super) fn clear_attributes(&mut self, key: u64) -> Result<(), CollectionError> {
        let (tx, pending) = self.store_and_attributes()?;
        pending.clear(tx, key)
    }

    /// Writes the changed attributes to the tables of the transaction.
    pub(super) fn write_attributes(&mut self) -> Result<(), CollectionError> {
        if self.attributes.is_empty() {
            return Ok(());
        }
        let (tx, pending) = self.store_and_attributes()?;
        let written = pending.write(tx);
        if written.is_err() {
            // Its tables may have a part of the changes.
            self.fail();
        }
        self.note_changes(written?);
        Ok(())
    }
}

impl Collection {
    /// Returns the attributes of a key, in the newest commit. Returns `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn attributes(&self, key: u64) -> Result<Option<Attributes>, CollectionError> {
        let tx = self.inner.store.begin_read()?;
        attributes(&tx, &self.inner.fields, key).map_err(self.inner.place())
    }

    /// Returns the keys for which a predicate is true, in the newest commit: a filter for [`search`](Self::search). Take a
    /// [`snapshot`](Self::snapshot) for a selection and a search of the same commit. The index of attributes has the keys of each value, so
    /// the cost is in proportion to the values and to the keys that parts of the predicate select, not to the vectors; `is null` reads all
    /// keys. The clauses of an `and` are evaluated in the order of their cost for each key that they reject, by estimates from the index:
    /// [`Search::explain`](crate::Search::explain) shows the order.
    ///
    /// The keys of a predicate are kept: the same predicate on the same commit costs a microsecond, unless it reads all keys.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-matching-{}.nf", std::process::id()));
    /// use nearfield::{Collection, Metric, attributes, field};
    ///
    /// // 8 MiB of selections, if it does not say.
    /// let films = Collection::builder(1, Metric::L2).selection_memory(1 << 20).create(&path)?;
    /// let mut tx = films.begin_write()?;
    /// for key in 0..100 {
    ///     tx.upsert(key, &[key as f32])?;
    ///     tx.set(key, attributes! { "year" => 1920 + key as i64 })?;
    /// }
    /// tx.commit()?;
    /// let recent = field("year").ge(2000);
    /// assert_eq!(films.matching(&recent)?.len(), 20);
    /// assert_eq!(films.matching(&recent)?, films.snapshot()?.matching(&recent)?);
    /// let stats = films.stats()?;
    /// assert_eq!((stats.selection_misses, stats.selection_hits), (1, 2));
    /// # drop(films);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::CollectionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::Attribute`] if the predicate is invalid, [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn matching(&self, predicate: &Predicate) -> Result<Selection, CollectionError> {
        let tx = self.inner.store.begin_read()?;
        let known = self.inner.selections.of(tx.number());
        let found = self.with_keys(|keys| matching(&tx, known, predicate, keys));
        found.map_err(self.inner.place())
    }

    /// Returns the values of a field in the newest commit, ascending within each kind, each with the number of keys that have it. A key with
    /// a list counts under each of its texts. `O(values + keys)`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn facet(&self, field: &str) -> Result<Vec<(Value, u64)>, CollectionError> {
        facet(&self.inner.store.begin_read()?, field).map_err(self.inner.place())
    }

    /// Passes the newest keys to `with`: those of the newest commit, or, while one is made, of the one before.
    pub(in crate::collection) fn with_keys<R>(&self, with: impl FnOnce(Keys<'_>) -> R) -> R {
        let list = || -> RoaringTreemap { self.keys().into_iter().collect() };
        with(Keys { count: self.len(), list: &list, is_of_commit: false })
    }

    /// Returns the keys of all vectors, in no order. `O(n)`.
    pub fn keys(&self) -> Vec<u64> {
        if self.inner.index.is_bound_here() {
            self.inner.index.keys().collect()
        } else {
            Vec::new()
        }
    }
}
