//! Changes of the schema, and of the fields that are indexed.

#[cfg(test)]
mod tests;

use super::field::{Covered, Fields};
use super::index::{Entries, Pending, fields, note, write_entries};
use super::record::{Values, decode, named};
use super::term::{Form, begin};
use crate::attributes::{AttributeError, Schema};
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, FIELDS, INDEX_OF_ATTRIBUTES};
use crate::store::{ReadTransaction, WriteTransaction};

/// Adds the key to a fault of its attributes.
pub(in crate::collection) fn in_key(key: u64) -> impl Fn(AttributeError) -> CollectionError {
    move |fault| CollectionError::Schema { key, fault }
}

/// Returns the schema of a snapshot.
pub(in crate::collection) fn schema(tx: &ReadTransaction) -> Result<Schema, CollectionError> {
    Ok(if tx.find_table::<str>(FIELDS)?.is_some() {
        Fields::of(tx)?.schema()
    } else {
        Schema::new()
    })
}

impl Pending {
    /// Returns the schema with the changes of a transaction.
    pub(in crate::collection) fn schema(
        &mut self,
        tx: &mut WriteTransaction,
    ) -> Result<Schema, CollectionError> {
        Ok(fields(&mut self.fields, tx)?.schema())
    }

    /// Declares the fields of a schema, and no others, for attributes that are in the tables of the transaction. Entries of fields that become
    /// stored only are removed; fields that are to be indexed again have no entries until their index is built. After an error the tables may have a
    /// part of the changes.
    pub(in crate::collection) fn declare(
        &mut self,
        tx: &mut WriteTransaction,
        schema: &Schema,
    ) -> Result<(), CollectionError> {
        schema.check_names()?;
        let fields = fields(&mut self.fields, tx)?;
        let mut has_records = false;
        for entry in tx.table::<u64>(ATTRIBUTES)?.entries()? {
            let (key, record) = entry?;
            let attributes = named(decode(record)?, fields)?;
            let checked = schema.check(&attributes);
            checked.map_err(in_key(key))?;
            has_records = true;
        }
        for (name, _) in schema.iter() {
            fields.get_or_insert(tx, name)?;
        }
        let all: Vec<_> = fields.iter().map(|(name, field)| (name.to_owned(), field)).collect();
        for (name, old) in all {
            let mut field = old;
            field.declared = schema.get(&name);
            let is_stored_only = field.declared.is_some_and(|declared| declared.is_stored_only());
            field.covered = match field.covered {
                _ if is_stored_only => Covered::None,
                Covered::None if has_records => Covered::Below(0),
                Covered::None => Covered::All,
                covered => covered,
            };
            if field.covered == Covered::None && old.covered != Covered::None {
                remove_entries(tx, field.number)?;
            }
            if field != old {
                fields.change(tx, &name, field)?;
            }
        }
        Ok(())
    }

    /// Adds the values of a field of the next keys to the index. Returns the number of keys that it went through; `None` if the index has all keys.
    pub(in crate::collection) fn index_some(
        &mut self,
        tx: &mut WriteTransaction,
        name: &str,
        most: usize,
    ) -> Result<Option<u64>, CollectionError> {
        let fields = fields(&mut self.fields, tx)?;
        let Some(mut field) = fields.get(name) else { return Ok(None) };
        let first = match field.covered {
            Covered::All => return Ok(None),
            Covered::None => {
                return Err(AttributeError::StoredOnly { field: name.to_owned() }.into());
            }
            Covered::Below(first) => first,
        };
        let (mut last, mut count) = (None, 0);
        let mut found: Vec<(u64, Values)> = Vec::new();
        for entry in tx.table::<u64>(ATTRIBUTES)?.range(first..)?.take(most) {
            let (key, record) = entry?;
            let mut values = decode(record)?;
            values.retain(|&(number, _)| number == field.number);
            found.push((key, values));
            (last, count) = (Some(key), count + 1);
        }
        let end = last.filter(|_| count == most as u64).and_then(|last: u64| last.checked_add(1));
        field.covered = end.map_or(Covered::All, Covered::Below);
        fields.change(tx, name, field)?;
        let mut entries = Entries::new();
        for (key, values) in found {
            note(&mut entries, (key, &*fields), &Values::new(), &values)?;
        }
        write_entries(tx, &entries)?;
        Ok(Some(count))
    }
}

/// Removes the entries of a field.
fn remove_entries(tx: &mut WriteTransaction, field: u32) -> Result<(), CollectionError> {
    /// Entries whose keys are copied at once.
    const PIECE: usize = 1024;

    let mut table = tx.table::<[u8]>(INDEX_OF_ATTRIBUTES)?;
    let (from, number) = (begin(field, Form::Present), field.to_be_bytes());
    loop {
        let range = table.range(&from[..]..)?.take(PIECE);
        let keys: Vec<Vec<u8>> = range
            .map(|entry| entry.map(|(key, _)| key.to_vec()))
            .take_while(|key| key.as_ref().map_or(true, |key| key.starts_with(&number)))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys {
            table.remove(&key)?;
        }
    }
}
