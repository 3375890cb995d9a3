//! Transactions: changes that are committed together.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::handle::Inner;
use super::memory::Allowance;
use super::writer::WriterGuard;
use crate::attributes::Schema;
use crate::clock::Instant;
use crate::collection::attributes::{Pending, in_key};
use crate::collection::columns::{Origin, apply, part_bytes};
use crate::collection::error::CollectionError;
use crate::collection::format::{
    JOURNAL, MAX_COMMIT, MAX_PARTS, Operation, PAYLOADS, decode_operations, journal_key,
};
use crate::collection::progress::Progress;
use crate::error::IndexError;
use crate::index::Stored;
use crate::observe::watch;
use crate::store::{Durability, StoreError, WriteTransaction};
use crate::vector::AsVector;

/// Bytes of operations at which a part of the journal ends; a part is one value of a table.
const PART: usize = 1 << 20;

/// Changes of a collection, which are made together or not at all. A transaction that is dropped without a commit changes nothing.
///
/// A collection has one transaction at a time: other threads wait in [`Collection::begin_write`](crate::Collection::begin_write) for
/// its end, and a thread
/// that asks for another transaction, or for statistics, a check, a checkpoint or other maintenance, while it has one itself gets
/// [`StoreError::Deadlock`]. A transaction may be handed to another thread: the thread that uses it counts, and one that has not
/// used it yet has a quarter of a second to do so. Searches do not see its changes before the commit. Vectors are kept in
/// memory until then.
pub struct Transaction {
    inner: Arc<Inner>,
    /// Missing inside of `commit`, and in a transaction that failed. Dropped before the writer, because the next holder of the writer begins a store transaction
    /// first.
    store: Option<WriteTransaction>,
    writer: WriterGuard,
    /// Vectors as the index stores them, without gaps.
    vectors: Vec<u8>,
    /// The number of each key's vector; `None` for a removed key.
    changes: HashMap<u64, Option<usize>>,
    /// The keys in the order of their first change, so that the same transactions make the same graph.
    order: Vec<u64>,
    /// Attributes that are not written to the tables yet.
    pub(super) attributes: Pending,
    /// Whether payloads, names or attributes are changed.
    records: bool,
    /// Bytes of payloads and attributes that were put.
    payload_bytes: usize,
    /// Whether vectors, payloads, names or attributes are added, and not only removed.
    adds: bool,
    /// The schema, once it is asked for or declared.
    schema: Option<Arc<Schema>>,
    /// Whether the transaction declares it: the commit checks the required fields of all keys then.
    declares: bool,
    /// `None` without a limit of memory.
    allowance: Option<Allowance>,
}

impl Transaction {
    pub(super) fn new(mut writer: WriterGuard) -> Result<Self, CollectionError> {
        let inner = Arc::clone(&writer.inner);
        let allowance = inner.allowance(&mut writer)?;
        let store = inner.store.begin_write()?;
        Ok(Self {
            inner,
            store: Some(store),
            writer,
            vectors: Vec::new(),
            changes: HashMap::new(),
            order: Vec::new(),
            attributes: Pending::default(),
            records: false,
            payload_bytes: 0,
            adds: false,
            schema: None,
            declares: false,
            allowance,
        })
    }

    /// Notes that payloads, names or attributes are added.
    pub(super) fn note_records(&mut self) {
        self.records = true;
        self.adds = true;
    }

    pub(super) fn store(&mut self) -> Result<&mut WriteTransaction, CollectionError> {
        Ok(self.store_and_attributes()?.0)
    }

    pub(super) fn store_and_attributes(
        &mut self,
    ) -> Result<(&mut WriteTransaction, &mut Pending), CollectionError> {
        self.writer.note();
        let store = self.store.as_mut().ok_or(StoreError::TransactionFailed)?;
        Ok((store, &mut self.attributes))
    }

    /// Drops the changes of tables: the transaction cannot be committed any more.
    pub(super) fn fail(&mut self) {
        self.store = None;
    }

    /// Returns whether the key has a vector, with the changes of this transaction.
    pub fn contains(&self, key: u64) -> bool {
        self.inner.writer.used();
        match self.changes.get(&key) {
            Some(change) => change.is_some(),
            None => self.inner.index.contains(key),
        }
    }

    /// Refuses `vectors` more vectors, or a payload of `payload` bytes, if the memory limit does not allow them.
    pub(super) fn admit(&self, vectors: usize, payload: usize) -> Result<(), CollectionError> {
        let Some(allowance) = self.allowance else { return Ok(()) };
        let bytes = self.vectors.len()
            + vectors * self.inner.settings.vector_bytes()
            + self.payload_bytes
            + payload;
        allowance.admit(self.order.len() + vectors, bytes as u64)
    }

    /// Notes that attributes are changed, and whether some are added.
    pub(super) fn note_changes(&mut self, adds: bool) {
        self.records = true;
        self.adds |= adds;
    }

    /// Notes that the schema is changed.
    pub(super) fn note_schema(&mut self, schema: Schema) {
        self.schema = Some(Arc::new(schema));
        self.declares = true;
        self.note_changes(true);
    }

    /// Returns the schema, with the changes of this transaction. It is read once for all transactions.
    pub(super) fn known_schema(&mut self) -> Result<Arc<Schema>, CollectionError> {
        if let Some(schema) = &self.schema {
            return Ok(Arc::clone(schema));
        }
        let known = self.inner.schema.lock().clone();
        let schema = if let Some(schema) = known {
            schema
        } else {
            let (tx, pending) = self.store_and_attributes()?;
            let read = Arc::new(pending.schema(tx)?);
            *self.inner.schema.lock() = Some(Arc::clone(&read));
            read
        };
        self.schema = Some(Arc::clone(&schema));
        Ok(schema)
    }

    /// Refuses keys without a field that the schema requires.
    fn check_required(&mut self) -> Result<(), CollectionError> {
        let schema = self.known_schema()?;
        if !schema.requires_some() {
            return Ok(());
        }
        let Self { inner, store, changes, order, attributes, declares, .. } = self;
        let tx = store.as_mut().ok_or(StoreError::TransactionFailed)?;
        let kept = inner.index.keys().filter(|key| *declares && !changes.contains_key(key));
        let put = order.iter().copied().filter(|key| changes[key].is_some());
        for key in kept.chain(put) {
            let attributes = attributes.get(tx, key)?.unwrap_or_default();
            schema.check(&attributes).map_err(in_key(key))?;
        }
        Ok(())
    }

    /// Counts bytes of payloads and attributes that were put.
    pub(super) fn note_bytes(&mut self, bytes: usize) {
        self.payload_bytes += bytes;
    }

    /// Returns the transaction of the store, a function that lists the keys that have a vector with the changes, and about their number.
    pub(super) fn store_and_keys(
        &mut self,
    ) -> Result<(&mut WriteTransaction, impl Fn() -> RoaringTreemap, usize), CollectionError> {
        self.writer.note();
        let Self { inner, store, changes, order, .. } = self;
        let keys = || {
            let kept = inner.index.keys().filter(|key| !changes.contains_key(key));
            kept.chain(order.iter().copied().filter(|key| changes[key].is_some())).collect()
        };
        let count = inner.index.len() + order.len();
        Ok((store.as_mut().ok_or(StoreError::TransactionFailed)?, keys, count))
    }

    /// Encodes a vector that a collection gave, without rounding it again. Returns its number, for [`Self::change`].
    #[cfg(feature = "json")]
    pub(super) fn encode_as_kept(&mut self, vector: &[f32]) -> Result<usize, CollectionError> {
        let number = self.vectors.len() / self.inner.settings.vector_bytes();
        self.inner.index.encode_as_kept(vector, &mut self.vectors)?;
        Ok(number)
    }

    /// Notes the new vector of a key by its number, or its removal.
    pub(super) fn change(&mut self, key: u64, vector: Option<usize>) {
        self.adds |= vector.is_some();
        if self.changes.insert(key, vector).is_none() {
            self.order.push(key);
        }
    }

    /// Sets the vector of a key, and replaces the one that it may have.
    ///
    /// # Errors
    ///
    /// [`IndexError::Vector`] if the vector does not fit this collection, [`CollectionError::Memory`]; the transaction then stays
    /// unchanged.
    pub fn upsert<V: AsVector + ?Sized>(
        &mut self,
        key: u64,
        vector: &V,
    ) -> Result<(), CollectionError> {
        self.writer.note();
        self.admit(1, 0)?;
        let number = self.vectors.len() / self.inner.settings.vector_bytes();
        self.inner.index.encode(vector.as_vector(), &mut self.vectors)?;
        self.change(key, Some(number));
        Ok(())
    }

    /// Removes the vector of a key, its payload, its attributes and its name. Returns whether the key had a vector.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn remove(&mut self, key: u64) -> Result<bool, CollectionError> {
        self.clear_name(key)?;
        if !self.contains(key) {
            return Ok(false);
        }
        self.remove_payload(key)?;
        self.clear_attributes(key)?;
        self.change(key, None);
        Ok(true)
    }

    /// Sets the vectors of many keys; `vectors` has the vectors in the order of the keys.
    ///
    /// # Errors
    ///
    /// [`IndexError::BatchLength`] if the numbers of keys and vectors differ, [`IndexError::BatchVector`] for the first vector that
    /// does not fit this collection, [`CollectionError::Memory`]; the transaction then stays unchanged.
    pub fn upsert_batch<V: AsVector + ?Sized>(
        &mut self,
        keys: &[u64],
        vectors: &V,
    ) -> Result<(), CollectionError> {
        self.writer.note();
        let vectors = vectors.as_vector();
        let (count, elements) = self.inner.index.count(vectors)?;
        if count != keys.len() {
            let error = IndexError::BatchLength { keys: keys.len(), vectors: count };
            return Err(error.into());
        }
        self.admit(count, 0)?;
        let bytes = self.inner.settings.vector_bytes();
        let before = self.vectors.len();
        self.vectors.reserve(count * bytes);
        for position in 0..count {
            let vector = vectors.slice(position * elements..(position + 1) * elements);
            if let Err(source) = self.inner.index.encode(vector, &mut self.vectors) {
                self.vectors.truncate(before);
                return Err(IndexError::BatchVector { position, source }.into());
            }
        }
        for (number, &key) in (before / bytes..).zip(keys) {
            self.change(key, Some(number));
        }
        Ok(())
    }

    /// Sets the payload of a key that has a vector.
    ///
    /// # Errors
    ///
    /// [`CollectionError::KeyMissing`], [`CollectionError::Memory`], [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn put_payload(&mut self, key: u64, payload: &[u8]) -> Result<(), CollectionError> {
        if !self.contains(key) {
            return Err(CollectionError::KeyMissing { key });
        }
        self.admit(0, payload.len())?;
        self.store()?.table::<u64>(PAYLOADS)?.insert(key, payload)?;
        self.note_bytes(payload.len());
        self.note_records();
        Ok(())
    }

    /// Removes the payload of a key; returns whether it had one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn remove_payload(&mut self, key: u64) -> Result<bool, CollectionError> {
        let removed = self.store()?.table::<u64>(PAYLOADS)?.remove(key)?;
        self.records |= removed;
        Ok(removed)
    }

    /// Returns the payload of a key, with the changes of this transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::TransactionFailed`].
    pub fn payload(&mut self, key: u64) -> Result<Option<Vec<u8>>, CollectionError> {
        Ok(self.store()?.table::<u64>(PAYLOADS)?.get(key)?.map(<[u8]>::to_vec))
    }

    /// Sets the [`Durability`] of the commit; [`Durability::Immediate`] unless set.
    pub fn set_durability(&mut self, durability: Durability) {
        self.writer.note();
        if let Some(store) = &mut self.store {
            store.set_durability(durability);
        }
    }

    /// Makes the changes safe, then visible. When it returns, searches find them and no crash can lose them. Returns the
    /// number of the commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the disk refused: nothing is visible then. If the disk is full, nothing has changed, and a transaction
    /// that only removes still fits in general; after any other error a crash may bring the changes up, and
    /// [`StoreError::Poisoned`] follows.
    /// [`CollectionError::Schema`] for a vector without a field that the schema requires: nothing is changed then.
    /// [`CollectionError::Behind`] if they are safe, but the index in memory could not take them.
    pub fn commit(mut self) -> Result<u64, CollectionError> {
        watch!(let observed = crate::observe::Operation::Commit.begin());
        self.writer.note();
        self.check_required()?;
        let mut store = self.store.take().ok_or(StoreError::TransactionFailed)?;
        if !self.attributes.is_empty() {
            let adds = self.attributes.write(&mut store)?;
            self.note_changes(adds);
        }
        let parts = self.write(&mut store)?;
        let (inner, writer) = (&self.inner, &mut self.writer);
        // A snapshot that is taken meanwhile waits until the index has this commit.
        let mut pace = inner.pace.lock();
        store.commit()?;
        if self.declares {
            inner.schema.lock().clone_from(&self.schema);
        }
        inner.follow(|| {
            writer.commit += u64::from(!parts.is_empty());
            writer.journal += parts.iter().map(|part| part_bytes(part)).sum::<u64>();
            writer.vector_bytes += self.vectors.len() as u64;
            if self.allowance.is_some() {
                inner.index.frozen(|image| writer.touch(self.order.len(), &image));
            }
            let bytes = inner.settings.vector_bytes();
            let mut operations = Vec::with_capacity(self.order.len());
            for (part, number) in parts.iter().zip(0..) {
                let before = operations.len();
                operations.extend(decode_operations(part, bytes)?);
                let mut at = 0;
                for operation in &operations[before..] {
                    at += operation.len();
                    if let Operation::Upsert(key, vector) = operation {
                        let at = (at - vector.len()) as u32;
                        pace.origins.add(*key, Origin { commit: writer.commit, part: number, at });
                    }
                }
            }
            let start = Instant::now();
            apply(&inner.index, &operations)?;
            writer.late += operations.len() as u64;
            writer.took += start.elapsed();
            Ok(())
        })?;
        drop(pace);
        // The commit is safe even if the checkpoint or the delta fails. If an error poisons the store, the next transaction returns it;
        // on a full disk the journal goes on growing.
        if inner.is_due(writer) {
            if inner.checkpoint(writer, &Progress::default()).is_err() {
                writer.put_off_checkpoint();
            }
        } else if inner.is_late(writer) && inner.write_delta(writer).is_err() {
            writer.count_anew();
        }
        if writer.commit != writer.checkpointed {
            let _ = inner.pin_newest(writer);
        }
        watch!(observed.done(self.order.len() as u64));
        Ok(self.writer.commit)
    }

    /// Writes the journal's entries of this commit. Returns the parts, without any if nothing changes.
    fn write(&self, store: &mut WriteTransaction) -> Result<Vec<Vec<u8>>, CollectionError> {
        if self.order.is_empty() && !self.records {
            return Ok(Vec::new());
        }
        let commit = self.writer.commit + 1;
        let bytes = self.inner.settings.vector_bytes();
        let mut parts = vec![Vec::new()];
        for &key in &self.order {
            let operation = match self.changes[&key] {
                Some(at) => Operation::Upsert(key, &self.vectors[at * bytes..(at + 1) * bytes]),
                None => Operation::Remove(key),
            };
            if parts.last().is_some_and(|part| part.len() >= PART) {
                parts.push(Vec::new());
            }
            if let Some(part) = parts.last_mut() {
                operation.encode(part);
            }
        }
        if parts.len() as u64 > MAX_PARTS || commit > MAX_COMMIT {
            return Err(StoreError::TooLarge { bytes: self.vectors.len() as u64 }.into());
        }
        let mut journal = store.table::<u64>(JOURNAL)?;
        for (part, number) in parts.iter().zip(0..) {
            journal.insert(journal_key(commit, number), part)?;
        }
        if !self.adds {
            store.serve_removal();
        }
        Ok(parts)
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("keys", &self.order.len()).finish_non_exhaustive()
    }
}
