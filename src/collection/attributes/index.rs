//! Changes of attributes in a transaction: they wait in memory, and are written to the records and the index together.
//!
//! The index has an entry for each term and chunk of keys. One pass over the changed entries, in their order, reads and writes each once.

use std::collections::BTreeMap;

use super::chunk::Chunk;
use super::field::Fields;
use super::record::{Values, decode, encode, named};
use super::term::{each_term, entry_key, split_key};
use crate::attributes::{Attributes, Value};
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, INDEX_OF_ATTRIBUTES};
use crate::store::WriteTransaction;

/// Changes of the entries of the index: keys that are put in (`true`) or taken out, less the first of the chunk.
pub(super) type Entries = BTreeMap<Vec<u8>, Vec<(u16, bool)>>;

/// Attributes that a transaction changed, and that are not in its tables yet.
#[derive(Debug, Default)]
pub(in crate::collection) struct Pending {
    /// The new attributes of each key; `None` if it has none any more.
    changes: BTreeMap<u64, Option<Attributes>>,
    pub(super) fields: Option<Fields>,
}

impl Pending {
    /// Returns whether no change waits.
    pub(in crate::collection) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Notes that a key has no attributes any more, if it has some.
    pub(in crate::collection) fn clear(
        &mut self,
        tx: &mut WriteTransaction,
        key: u64,
    ) -> Result<(), CollectionError> {
        let is_changed = self.changes.contains_key(&key);
        if is_changed || tx.look_up::<u64, _>(ATTRIBUTES, key, |_| ())?.is_some() {
            self.set(key, None);
        }
        Ok(())
    }

    /// Notes the new attributes of a key.
    pub(in crate::collection) fn set(&mut self, key: u64, attributes: Option<Attributes>) {
        self.changes.insert(key, attributes.filter(|attributes| !attributes.is_empty()));
    }

    /// Returns the attributes of a key, with the changes.
    pub(in crate::collection) fn get(
        &mut self,
        tx: &mut WriteTransaction,
        key: u64,
    ) -> Result<Option<Attributes>, CollectionError> {
        if let Some(changed) = self.changes.get(&key) {
            return Ok(changed.clone());
        }
        let Some(values) = tx.look_up::<u64, _>(ATTRIBUTES, key, decode)? else { return Ok(None) };
        named(values?, fields(&mut self.fields, tx)?).map(Some)
    }

    /// Writes the changes to the tables of the transaction. Returns whether attributes are added. After an error the tables may have a part of
    /// the changes, and must not be committed.
    pub(in crate::collection) fn write(
        &mut self,
        tx: &mut WriteTransaction,
    ) -> Result<bool, CollectionError> {
        if self.changes.is_empty() {
            return Ok(false);
        }
        let mut adds = false;
        let mut entries = Entries::new();
        for (key, attributes) in std::mem::take(&mut self.changes) {
            let old = tx.table::<u64>(ATTRIBUTES)?.get(key)?.map(decode).transpose()?;
            let mut new = Values::new();
            for (name, value) in attributes.into_iter().flatten() {
                let fields = fields(&mut self.fields, tx)?;
                new.push((fields.get_or_insert(tx, &name)?.number, value));
            }
            new.sort_unstable_by_key(|&(field, _)| field);
            adds |= !new.is_empty();
            let fields = fields(&mut self.fields, tx)?;
            note(&mut entries, (key, fields), &old.unwrap_or_default(), &new)?;
            let mut table = tx.table::<u64>(ATTRIBUTES)?;
            if new.is_empty() {
                table.remove(key)?;
            } else {
                table.insert(key, &encode(&new))?;
            }
        }
        write_entries(tx, &entries)?;
        Ok(adds)
    }
}

/// Returns the fields of the transaction, which are read once.
pub(super) fn fields<'f>(
    fields: &'f mut Option<Fields>,
    tx: &mut WriteTransaction,
) -> Result<&'f mut Fields, CollectionError> {
    Ok(match fields {
        Some(fields) => fields,
        none => none.insert(Fields::of_changes(tx)?),
    })
}

/// Notes the changes of the index by a key's new values.
pub(super) fn note(
    entries: &mut Entries,
    (key, fields): (u64, &Fields),
    old: &Values,
    new: &Values,
) -> Result<(), CollectionError> {
    let (chunk, low) = split_key(key);
    let mut all = |values: &Values, others: &Values, is_in: bool| {
        for (field, value) in values {
            let is_same = |(other, kept): &(u32, _)| other == field && kept == value;
            if !others.iter().any(is_same) && fields.field(*field)?.covers(key) {
                each_term(*field, value, &mut |term| {
                    entries.entry(entry_key(&term, chunk)).or_default().push((low, is_in));
                });
            }
        }
        Ok(())
    };
    // A term that both have is taken out, and then put in.
    all(old, new, false)?;
    all(new, old, true)
}

pub(super) fn write_entries(
    tx: &mut WriteTransaction,
    entries: &Entries,
) -> Result<(), CollectionError> {
    let (mut chunk, mut bytes) = (Chunk::new(), Vec::new());
    let mut table = tx.table::<[u8]>(INDEX_OF_ATTRIBUTES)?;
    for (key, changes) in entries {
        match table.get(key)? {
            Some(value) => chunk.read(value)?,
            None => chunk.clear(),
        }
        for &(low, is_in) in changes {
            chunk.set(low, is_in);
        }
        if chunk.write(&mut bytes) {
            table.insert(key, &bytes)?;
        } else {
            table.remove(key)?;
        }
    }
    Ok(())
}

/// Returns about the bytes that attributes take with their entries of the index.
pub(in crate::collection) fn size_of(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + size(value)).sum()
}

/// Returns about the bytes that a value takes with its entry of the index.
fn size(value: &Value) -> usize {
    const NUMBER: usize = 32;

    match value {
        Value::Text(text) => NUMBER + text.len(),
        Value::Texts(texts) => texts.iter().map(|text| NUMBER + text.len()).sum(),
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) | Value::Time(_) => NUMBER,
    }
}
