//! The check of attributes: the index has the terms of the records, and no others.

use std::collections::BTreeMap;

use super::chunk;
use super::field::Fields;
use super::record::decode;
use super::term::{each_term, entry_key, split_key};
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, INDEX_OF_ATTRIBUTES};
use crate::store::{ReadTransaction, Table};

/// Returns the number of entries of the index that do not have the keys that the records say, missing entries included, and of values
/// whose field has no name or is declared with another kind. Holds the terms of one chunk of keys.
pub(in crate::collection) fn faults(tx: &ReadTransaction) -> Result<usize, CollectionError> {
    let fields = Fields::of(tx)?;
    let index = tx.find_table::<[u8]>(INDEX_OF_ATTRIBUTES)?;
    let mut expected = Expected { index, chunk: 0, entries: BTreeMap::new(), met: 0, faults: 0 };
    if let Some(table) = tx.find_table::<u64>(ATTRIBUTES)? {
        // Keys ascend, so the chunks and the keys of each entry do.
        for entry in table.entries()? {
            let (key, record) = entry?;
            let (chunk, low) = split_key(key);
            if chunk != expected.chunk {
                expected.compare()?;
                expected.chunk = chunk;
            }
            for (number, value) in decode(record)? {
                let Ok(field) = fields.field(number) else {
                    expected.faults += 1;
                    continue;
                };
                let is_allowed = field.declared.is_none_or(|of| of.kind() == value.kind());
                expected.faults += usize::from(!is_allowed);
                if field.covers(key) {
                    each_term(number, &value, &mut |term| {
                        expected.entries.entry(term).or_default().push(low);
                    });
                }
            }
        }
    }
    expected.compare()?;
    // Entries that no record tells.
    let surplus = index.map_or(0, |index| index.len()).saturating_sub(expected.met);
    Ok(expected.faults + surplus as usize)
}

/// The entries of the index that the records of one chunk of keys tell, and the comparison of earlier ones.
struct Expected<'t> {
    index: Option<Table<'t, [u8]>>,
    chunk: u64,
    /// The keys of each term, less the first of the chunk.
    entries: BTreeMap<Vec<u8>, Vec<u16>>,
    /// Entries of the index that records tell.
    met: u64,
    faults: usize,
}

impl Expected<'_> {
    /// Compares the entries of the chunk with those of the index, and forgets them.
    fn compare(&mut self) -> Result<(), CollectionError> {
        let mut found = Vec::new();
        for (term, keys) in std::mem::take(&mut self.entries) {
            let stored = self.index.map(|index| index.get(&entry_key(&term, self.chunk)));
            let Some(value) = stored.transpose()?.flatten() else {
                self.faults += 1;
                continue;
            };
            found.clear();
            let is_read = chunk::each(value, |low| found.push(low)).is_ok();
            self.met += 1;
            self.faults += usize::from(!is_read || found != keys);
        }
        Ok(())
    }
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
