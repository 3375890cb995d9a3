//! The fields of a collection: each name has a number, which records and the index use in its place.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::collection::error::CollectionError;
use crate::collection::format::{FIELDS, Reader, corrupt};
use crate::store::{ReadTransaction, Table, WriteTransaction};

/// Maximum number of fields of a collection.
const MAX_FIELDS: u32 = 65_536;

/// The names of fields by their numbers, and their numbers by names.
#[derive(Debug, Default)]
pub(in crate::collection) struct Fields {
    /// Names in the order of their numbers; empty where a number is not known.
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

/// Returns the number in a field's record.
pub(super) fn number_of(record: &[u8]) -> Result<u32, CollectionError> {
    Reader(record).u32()
}

impl Fields {
    /// Reads the names of all fields of a snapshot.
    pub(super) fn of(tx: &ReadTransaction) -> Result<Self, CollectionError> {
        tx.find_table::<str>(FIELDS)?.map_or(Ok(Self::default()), Self::of_table)
    }

    fn of_table(table: Table<'_, str>) -> Result<Self, CollectionError> {
        let mut fields = Self::default();
        for entry in table.entries()? {
            let (name, record) = entry?;
            fields.put(name, record)?;
        }
        Ok(fields)
    }

    /// Reads the names of all fields, with those that a transaction added.
    pub(super) fn of_changes(tx: &mut WriteTransaction) -> Result<Self, CollectionError> {
        let mut fields = Self::default();
        for entry in tx.table::<str>(FIELDS)?.entries()? {
            let (name, record) = entry?;
            fields.put(name, record)?;
        }
        Ok(fields)
    }

    fn put(&mut self, name: &str, record: &[u8]) -> Result<(), CollectionError> {
        let number = number_of(record)?;
        if number >= MAX_FIELDS {
            return Err(corrupt("a field has too great a number"));
        }
        let at = number as usize;
        if self.names.len() <= at {
            self.names.resize(at + 1, String::new());
        }
        if !self.names[at].is_empty() {
            return Err(corrupt("two fields have one number"));
        }
        name.clone_into(&mut self.names[at]);
        self.numbers.insert(name.to_owned(), number);
        Ok(())
    }

    /// Returns the name of a field's number.
    pub(super) fn name(&self, number: u32) -> Result<&str, CollectionError> {
        let name = self.names.get(number as usize).filter(|name| !name.is_empty());
        name.map(String::as_str).ok_or(corrupt("an attribute has no field"))
    }

    /// Returns the number of a name, and gives a new name the next one.
    pub(super) fn number_or_insert(
        &mut self,
        tx: &mut WriteTransaction,
        name: &str,
    ) -> Result<u32, CollectionError> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        let number = self.names.len() as u32;
        if number >= MAX_FIELDS {
            return Err(CollectionError::TooManyFields { max: MAX_FIELDS });
        }
        tx.table::<str>(FIELDS)?.insert(name, &number.to_le_bytes())?;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }
}

/// The fields of the newest commit whose attributes were read, so that few reads of attributes read the names of all fields.
#[derive(Debug, Default)]
pub(in crate::collection) struct KnownFields(RwLock<Arc<Fields>>);

impl KnownFields {
    /// Returns the fields of a snapshot, and perhaps those of later commits.
    pub(in crate::collection) fn of(
        &self,
        tx: &ReadTransaction,
    ) -> Result<Arc<Fields>, CollectionError> {
        let Some(table) = tx.find_table::<str>(FIELDS)? else { return Ok(Arc::default()) };
        // Commits add fields, and neither remove nor change them, so the number of fields tells of two commits the later one.
        let is_known = |known: &Fields| known.numbers.len() as u64 >= table.len();
        let known = Arc::clone(&self.0.read());
        if is_known(&known) {
            return Ok(known);
        }
        let read = Arc::new(Fields::of_table(table)?);
        let mut known = self.0.write();
        if !is_known(&known) {
            *known = Arc::clone(&read);
        }
        Ok(read)
    }
}
