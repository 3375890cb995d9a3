//! Whole entries from elsewhere, in place of those of their keys.

use super::transaction::Transaction;
use crate::attributes::Attributes;
use crate::collection::attributes::{in_key, size_of};
use crate::collection::error::CollectionError;
use crate::collection::format::FIRST_NAMED;

/// An entry that is to replace the one of its key or name.
#[derive(Debug)]
pub(in crate::collection) struct NewEntry {
    /// `None` if the name alone decides.
    pub(in crate::collection) key: Option<u64>,
    pub(in crate::collection) name: Option<Vec<u8>>,
    /// A number for each component, also for each bit.
    pub(in crate::collection) vector: Vec<f32>,
    pub(in crate::collection) attributes: Option<Attributes>,
    pub(in crate::collection) payload: Option<Vec<u8>>,
}

/// Names get keys of entries from elsewhere below this one only, so that greater ones are left for new names.
const END_OF_GIVEN: u64 = 3 << 62;

impl Transaction {
    /// Replaces an entry. Returns its key. After an error other than [`CollectionError::Memory`] the transaction may have a part of the entry.
    pub(in crate::collection) fn put(&mut self, entry: &NewEntry) -> Result<u64, CollectionError> {
        let attributes = entry.attributes.as_ref().map_or(0, size_of);
        let payload = entry.payload.as_ref().map_or(0, Vec::len);
        self.admit(1, attributes + payload)?;
        let number = self.encode_as_kept(&entry.vector)?;
        let key = self.key_for(entry)?;
        self.change(key, Some(number));
        if let Some(attributes) = &entry.attributes {
            self.set(key, attributes.clone())?;
        } else {
            self.known_schema()?.check(&Attributes::new()).map_err(in_key(key))?;
            self.remove_attributes(key)?;
        }
        match &entry.payload {
            Some(payload) => self.put_payload(key, payload)?,
            None => drop(self.remove_payload(key)?),
        }
        Ok(key)
    }

    /// Returns the key of an entry, and gives its name the key.
    fn key_for(&mut self, entry: &NewEntry) -> Result<u64, CollectionError> {
        match (&entry.name, entry.key) {
            (None, None) => Err(CollectionError::NameMissing { name: Vec::new() }),
            (None, Some(key)) => {
                // The key may be that of a name of this collection alone.
                match if key < FIRST_NAMED { None } else { self.name_of(key)? } {
                    Some(name) => Err(CollectionError::NameTaken { name, key }),
                    None => Ok(key),
                }
            }
            (Some(name), wished) => {
                if let Some(key) = self.key_of(name)? {
                    return Ok(key);
                }
                let wished = wished.filter(|key| (FIRST_NAMED..END_OF_GIVEN).contains(key));
                match wished {
                    Some(key) if !self.contains(key) && self.name_of(key)?.is_none() => {
                        self.give(key, name)?;
                        Ok(key)
                    }
                    _ => self.name_or_insert(name),
                }
            }
        }
    }
}
