//! The check of attributes: the index has the terms of the records, and no others.

use std::collections::BTreeMap;

use super::chunk;
use super::field::Fields;
use super::record::decode;
use super::term::{each_term, entry_key, split_key};
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, INDEX_OF_ATTRIBUTES};
use crate::store::ReadTransaction;

/// Returns the number of entries of the index that do not have the keys that the records say, missing entries included, and of records
/// with a field that has no name.
pub(in crate::collection) fn faults(tx: &ReadTransaction) -> Result<usize, CollectionError> {
    let fields = Fields::of(tx)?;
    let mut expected: BTreeMap<Vec<u8>, Vec<u16>> = BTreeMap::new();
    let mut faults = 0;
    if let Some(table) = tx.find_table::<u64>(ATTRIBUTES)? {
        // Keys ascend, so the keys of each entry do.
        for entry in table.entries()? {
            let (key, record) = entry?;
            let (chunk, low) = split_key(key);
            for (field, value) in decode(record)? {
                faults += usize::from(fields.name(field).is_err());
                each_term(field, &value, &mut |term| {
                    expected.entry(entry_key(&term, chunk)).or_default().push(low);
                });
            }
        }
    }
    if let Some(table) = tx.find_table::<[u8]>(INDEX_OF_ATTRIBUTES)? {
        let mut found = Vec::new();
        for entry in table.entries()? {
            let (key, value) = entry?;
            found.clear();
            let is_read = chunk::each(value, |low| found.push(low)).is_ok();
            faults += usize::from(!is_read || expected.remove(key).as_ref() != Some(&found));
        }
    }
    Ok(faults + expected.len())
}

/// Returns the number of keys that have attributes, and that `has` does not have.
pub(in crate::collection) fn orphans(
    tx: &ReadTransaction,
    has: impl Fn(u64) -> bool,
) -> Result<usize, CollectionError> {
    let Some(table) = tx.find_table::<u64>(ATTRIBUTES)? else { return Ok(0) };
    let mut orphans = 0;
    for entry in table.entries()? {
        orphans += usize::from(!has(entry?.0));
    }
    Ok(orphans)
}
