//! The records of keys in a snapshot of the store.

use std::sync::Arc;

use crate::attributes::Attributes;
use crate::collection::attributes::{Fields, KnownFields, read};
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, NAMES_OF_KEYS, PAYLOADS};
use crate::store::{ReadTransaction, StoreError, Table};

/// The tables of names, attributes and payloads, found once for many keys.
pub(in crate::collection) struct Records<'t> {
    names: Option<Table<'t, u64>>,
    attributes: Option<Table<'t, u64>>,
    payloads: Option<Table<'t, u64>>,
    fields: Arc<Fields>,
}

impl<'t> Records<'t> {
    pub(in crate::collection) fn of(
        tx: &'t ReadTransaction,
        known: &KnownFields,
    ) -> Result<Self, CollectionError> {
        Ok(Self {
            names: tx.find_table(NAMES_OF_KEYS)?,
            attributes: tx.find_table(ATTRIBUTES)?,
            payloads: tx.find_table(PAYLOADS)?,
            fields: known.of(tx)?,
        })
    }

    /// Returns the name of a key.
    pub(in crate::collection) fn name(
        &self,
        key: u64,
    ) -> Result<Option<&'t [u8]>, CollectionError> {
        Ok(find(self.names, key)?)
    }

    /// Returns the attributes of a key.
    pub(in crate::collection) fn attributes(
        &self,
        key: u64,
    ) -> Result<Option<Attributes>, CollectionError> {
        find(self.attributes, key)?.map(|record| read(record, &self.fields)).transpose()
    }

    /// Returns the payload of a key.
    pub(in crate::collection) fn payload(
        &self,
        key: u64,
    ) -> Result<Option<&'t [u8]>, CollectionError> {
        Ok(find(self.payloads, key)?)
    }
}

fn find(table: Option<Table<'_, u64>>, key: u64) -> Result<Option<&[u8]>, StoreError> {
    table.map_or(Ok(None), |table| table.get(key))
}
