//! The fields of a collection: each name has a number, which records and the index use in its place.

use crate::collection::error::CollectionError;
use crate::collection::format::{FIELDS, Reader, corrupt};
use crate::store::{ReadTransaction, WriteTransaction};

/// Maximum number of fields of a collection.
const MAX_FIELDS: u32 = 65_536;

/// The names of fields by their numbers, and their numbers by names.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Names in the order of their numbers; empty where a number is not known.
    names: Vec<String>,
}

impl Fields {
    /// Reads the names of all fields of a snapshot.
    pub(super) fn of(tx: &ReadTransaction) -> Result<Self, CollectionError> {
        let mut fields = Self::default();
        if let Some(table) = tx.find_table::<str>(FIELDS)? {
            for entry in table.entries()? {
                let (name, record) = entry?;
                fields.put(name, record)?;
            }
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
        let number = Reader(record).u32()?;
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
        Ok(())
    }

    /// Returns the name of a field's number.
    pub(super) fn name(&self, number: u32) -> Result<&str, CollectionError> {
        let name = self.names.get(number as usize).filter(|name| !name.is_empty());
        name.map(String::as_str).ok_or(corrupt("an attribute has no field"))
    }

    /// Returns the names and numbers of all fields.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        let named = self.names.iter().zip(0..).filter(|(name, _)| !name.is_empty());
        named.map(|(name, number)| (name.as_str(), number))
    }

    /// Returns the number of a name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.iter().find(|&(known, _)| known == name).map(|(_, number)| number)
    }

    /// Returns the number of a name, and gives a new name the next one.
    pub(super) fn number_or_insert(
        &mut self,
        tx: &mut WriteTransaction,
        name: &str,
    ) -> Result<u32, CollectionError> {
        if let Some(number) = self.number(name) {
            return Ok(number);
        }
        let number = self.names.len() as u32;
        if number >= MAX_FIELDS {
            return Err(CollectionError::TooManyFields { max: MAX_FIELDS });
        }
        tx.table::<str>(FIELDS)?.insert(name, &number.to_le_bytes())?;
        self.names.push(name.to_owned());
        Ok(number)
    }
}
