//! The schema of a collection: declared, read, and followed by the index.

use super::handle::Collection;
use super::transaction::Transaction;
use crate::attributes::Schema;
use crate::collection::attributes::schema;
use crate::collection::error::CollectionError;

impl Transaction {
    /// Declares the fields of a schema, and no others: from then on, also within this transaction, [`set`](Self::set) and the commit refuse attributes
    /// that it does not allow. Reads the attributes of all keys, to check them; a field that becomes stored only leaves the index. The index of a field
    /// that was stored only lacks the attributes that exist until [`Collection::build_index`] has added them; predicates read the records
    /// until then.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("nearfield-doc-schema-{}.nf", std::process::id()));
    /// use nearfield::attributes::{Declared, Kind, Schema};
    /// use nearfield::{Collection, CollectionError, Metric, attributes};
    ///
    /// let papers = Collection::builder(2, Metric::L2).create(&path)?;
    /// let schema = Schema::new()
    ///     .with("tenant", Declared::new(Kind::Text).required())
    ///     .with("summary", Declared::new(Kind::Text).stored_only());
    /// let mut tx = papers.begin_write()?;
    /// tx.declare(&schema)?;
    /// tx.upsert(7, &[0.3, 0.7])?;
    /// let refused = tx.set(7, attributes! { "tenant" => 12 }).unwrap_err();
    /// assert!(matches!(refused, CollectionError::Schema { key: 7, .. }));
    /// tx.set(7, attributes! { "tenant" => "acme", "summary" => "graphs" })?;
    /// tx.commit()?;
    /// assert_eq!(papers.schema()?, schema);
    /// assert_eq!(papers.count(&"summary prefix 'gr' and tenant = 'acme'".parse()?)?, 1);
    ///
    /// let mut tx = papers.begin_write()?;
    /// tx.declare(&schema.with("summary", Declared::new(Kind::Text)))?;
    /// tx.commit()?;
    /// papers.build_index("summary")?;
    ///
    /// let mut tx = papers.begin_write()?;
    /// tx.upsert(8, &[0.1, 0.2])?;
    /// assert!(matches!(tx.commit(), Err(CollectionError::Schema { key: 8, .. })));
    /// # drop(papers);
    /// # let _ = std::fs::remove_file(&path);
    /// # Ok::<(), nearfield::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CollectionError::Schema`] for the first key whose attributes the schema does not allow, [`CollectionError::Attribute`] for a name that is
    /// not allowed, [`CollectionError::TooManyFields`], [`StoreError::Corrupt`](crate::store::StoreError::Corrupt): the transaction can only be
    /// dropped then.
    pub fn declare(&mut self, schema: &Schema) -> Result<(), CollectionError> {
        self.write_attributes()?;
        let (tx, pending) = self.store_and_attributes()?;
        let declared = pending.declare(tx, schema);
        if declared.is_err() {
            // Its tables may have a part of the changes.
            self.fail();
        }
        declared?;
        self.note_schema(schema.clone());
        Ok(())
    }

    /// Returns the schema, with the changes of this transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt), [`StoreError::TransactionFailed`](crate::store::StoreError::TransactionFailed).
    pub fn schema(&mut self) -> Result<Schema, CollectionError> {
        Ok((*self.known_schema()?).clone())
    }

    /// Adds a field's values of the next keys to the index, after those of earlier calls. Returns their number; `None` if it has all.
    pub(in crate::collection) fn index_some(
        &mut self,
        field: &str,
        most: usize,
    ) -> Result<Option<u64>, CollectionError> {
        let (tx, pending) = self.store_and_attributes()?;
        let count = pending.index_some(tx, field, most)?;
        self.note_changes(count.is_some());
        Ok(count)
    }
}

impl Collection {
    /// Returns the schema of the newest commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`](crate::store::StoreError::Corrupt).
    pub fn schema(&self) -> Result<Schema, CollectionError> {
        schema(&self.inner.store.begin_read()?).map_err(self.inner.place())
    }
}
