//! The tables of attributes in a snapshot and in a transaction: sources of predicates, look-ups and counts.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::chunk;
use super::field::{Fields, KnownFields, number_of};
use super::record::{Values, decode, named};
use super::select::{Each, Source, select};
use super::selection::Selection;
use super::term::{CUT, Form, begin, behind, split_entry, value_of};
use crate::attributes::{Attributes, Predicate, Value};
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, FIELDS, INDEX_OF_ATTRIBUTES, corrupt};
use crate::store::{ReadTransaction, Table, WriteTransaction};

/// Lists all keys that have a vector.
type Keys<'k> = &'k dyn Fn() -> RoaringTreemap;

/// The tables in a snapshot.
struct Read<'t> {
    tx: &'t ReadTransaction,
    index: Option<Table<'t, [u8]>>,
    keys: Keys<'t>,
}

impl<'t> Read<'t> {
    fn of(tx: &'t ReadTransaction, keys: Keys<'t>) -> Result<Self, CollectionError> {
        Ok(Self { tx, index: tx.find_table::<[u8]>(INDEX_OF_ATTRIBUTES)?, keys })
    }
}

impl Source for Read<'_> {
    fn scan(&mut self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), CollectionError> {
        if let Some(table) = self.index {
            for entry in table.range(from..to)? {
                let (key, value) = entry?;
                each(key, value)?;
            }
        }
        Ok(())
    }

    fn values(&mut self, key: u64) -> Result<Values, CollectionError> {
        self.tx.look_up::<u64>(ATTRIBUTES, key)?.map_or(Ok(Values::new()), decode)
    }

    fn field(&mut self, name: &str) -> Result<Option<u32>, CollectionError> {
        self.tx.look_up::<str>(FIELDS, name)?.map(number_of).transpose()
    }

    fn keys(&mut self) -> Result<RoaringTreemap, CollectionError> {
        Ok((self.keys)())
    }
}

/// The tables in a transaction, with its changes.
pub(in crate::collection) struct Changed<'t> {
    pub(in crate::collection) tx: &'t mut WriteTransaction,
    pub(in crate::collection) keys: Keys<'t>,
}

impl Source for Changed<'_> {
    fn scan(&mut self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), CollectionError> {
        if self.tx.has_table(INDEX_OF_ATTRIBUTES)? {
            for entry in self.tx.table::<[u8]>(INDEX_OF_ATTRIBUTES)?.range(from..to)? {
                let (key, value) = entry?;
                each(key, value)?;
            }
        }
        Ok(())
    }

    fn values(&mut self, key: u64) -> Result<Values, CollectionError> {
        self.tx.look_up::<u64, _>(ATTRIBUTES, key, decode)?.unwrap_or_else(|| Ok(Values::new()))
    }

    fn field(&mut self, name: &str) -> Result<Option<u32>, CollectionError> {
        self.tx.look_up::<str, _>(FIELDS, name, number_of)?.transpose()
    }

    fn keys(&mut self) -> Result<RoaringTreemap, CollectionError> {
        Ok((self.keys)())
    }
}

impl Changed<'_> {
    /// Returns the keys for which a predicate is true.
    pub(in crate::collection) fn matching(
        &mut self,
        predicate: &Predicate,
    ) -> Result<Selection, CollectionError> {
        Ok(Selection::new(select(self, predicate.node()?, true)?))
    }
}

/// Returns the keys of a snapshot for which a predicate is true. `keys` lists those that have a vector.
pub(in crate::collection) fn matching(
    tx: &ReadTransaction,
    predicate: &Predicate,
    keys: Keys<'_>,
) -> Result<Selection, CollectionError> {
    let node = predicate.node()?;
    Ok(Selection::new(select(&mut Read::of(tx, keys)?, node, true)?))
}

/// Returns the attributes of a key.
pub(in crate::collection) fn attributes(
    tx: &ReadTransaction,
    known: &KnownFields,
    key: u64,
) -> Result<Option<Attributes>, CollectionError> {
    let Some(record) = tx.look_up::<u64>(ATTRIBUTES, key)? else { return Ok(None) };
    named(decode(record)?, &*known.of(tx)?).map(Some)
}

/// Calls `each` with every key that has attributes, and these.
pub(in crate::collection) fn for_each(
    tx: &ReadTransaction,
    mut each: impl FnMut(u64, Attributes),
) -> Result<(), CollectionError> {
    let Some(table) = tx.find_table::<u64>(ATTRIBUTES)? else { return Ok(()) };
    let fields = Fields::of(tx)?;
    for entry in table.entries()? {
        let (key, record) = entry?;
        each(key, named(decode(record)?, &fields)?);
    }
    Ok(())
}

/// Returns the values of a field with the number of keys that have each. A list counts under each of its texts.
pub(in crate::collection) fn facet(
    tx: &ReadTransaction,
    name: &str,
) -> Result<Vec<(Value, u64)>, CollectionError> {
    let mut source = Read::of(tx, &RoaringTreemap::new)?;
    let Some(field) = source.field(name)? else { return Ok(Vec::new()) };
    let mut counts: Vec<(Value, u64)> = Vec::new();
    let mut cut = chunk::Union::default();
    let (from, to) = (begin(field, Form::Boolean), behind(begin(field, Form::Item)));
    source.scan(&from, &to, &mut |key, bytes| {
        let (term, at) = split_entry(key).ok_or(corrupt("an entry of the index is malformed"))?;
        let mut count = 0;
        match value_of(term) {
            Some(value) => {
                chunk::each(bytes, |_| count += 1)?;
                match counts.last_mut() {
                    Some((last, total)) if *last == value => *total += count,
                    _ => counts.push((value, count)),
                }
            }
            None => cut.add(at, bytes)?,
        }
        Ok(())
    })?;
    // Records have the long texts whole.
    let mut long: BTreeMap<String, u64> = BTreeMap::new();
    for key in cut.finish() {
        for (_, value) in source.values(key)?.into_iter().filter(|(of, _)| *of == field) {
            let mut texts = match value {
                Value::Text(text) => vec![text],
                Value::Texts(texts) => texts,
                _ => Vec::new(),
            };
            texts.retain(|text| text.len() > CUT);
            texts.sort_unstable();
            texts.dedup();
            for text in texts {
                *long.entry(text).or_default() += 1;
            }
        }
    }
    counts.extend(long.into_iter().map(|(text, count)| (Value::Text(text), count)));
    Ok(counts)
}
