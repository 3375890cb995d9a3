//! The tables of attributes in a snapshot and in a transaction: sources of predicates, look-ups and counts.

use std::collections::BTreeMap;
use std::time::Duration;

use roaring::RoaringTreemap;

use super::chunk;
use super::evaluation::{
    Each, EachRecord, Estimate, Exact, Guess, Keys, Known, Selection, Source, Step,
};
use super::field::{Field, Fields, KnownFields};
use super::record::{Values, decode, named};
use super::term::{CUT, Form, begin, behind, each_term, split_entry, text as text_term, value_of};
use crate::attributes::{Attributes, Predicate, Value};
use crate::clock::Instant;
use crate::collection::error::CollectionError;
use crate::collection::format::{ATTRIBUTES, FIELDS, INDEX_OF_ATTRIBUTES, corrupt};
use crate::store::{ReadTransaction, Table, WriteTransaction};

/// The tables in a snapshot.
struct Read<'t> {
    fields: Option<Table<'t, str>>,
    records: Option<Table<'t, u64>>,
    index: Option<Table<'t, [u8]>>,
    keys: Keys<'t>,
}

impl<'t> Read<'t> {
    fn of(tx: &'t ReadTransaction, keys: Keys<'t>) -> Result<Self, CollectionError> {
        Ok(Self {
            fields: tx.find_table(FIELDS)?,
            records: tx.find_table(ATTRIBUTES)?,
            index: tx.find_table(INDEX_OF_ATTRIBUTES)?,
            keys,
        })
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

    fn guess(&mut self, from: &[u8], to: &[u8]) -> Result<Guess, CollectionError> {
        let range = self.index.map(|table| table.range(from..to)).transpose()?;
        range.map_or_else(|| Ok(Guess::default()), Guess::of)
    }

    fn values(&mut self, key: u64) -> Result<Values, CollectionError> {
        let record = self.records.map(|table| table.get(key)).transpose()?.flatten();
        record.map_or(Ok(Values::new()), decode)
    }

    fn each_record(&mut self, each: &mut EachRecord<'_>) -> Result<(), CollectionError> {
        if let Some(table) = self.records {
            for entry in table.entries()? {
                let (key, record) = entry?;
                each(key, &decode(record)?);
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<Option<Field>, CollectionError> {
        let record = self.fields.map(|table| table.get(name)).transpose()?.flatten();
        record.map(Field::decode).transpose()
    }

    fn keys(&self) -> Keys<'_> {
        self.keys
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

    fn guess(&mut self, from: &[u8], to: &[u8]) -> Result<Guess, CollectionError> {
        if !self.tx.has_table(INDEX_OF_ATTRIBUTES)? {
            return Ok(Guess::default());
        }
        Guess::of(self.tx.table::<[u8]>(INDEX_OF_ATTRIBUTES)?.range(from..to)?)
    }

    fn values(&mut self, key: u64) -> Result<Values, CollectionError> {
        self.tx.look_up::<u64, _>(ATTRIBUTES, key, decode)?.unwrap_or_else(|| Ok(Values::new()))
    }

    fn each_record(&mut self, each: &mut EachRecord<'_>) -> Result<(), CollectionError> {
        if self.tx.has_table(ATTRIBUTES)? {
            for entry in self.tx.table::<u64>(ATTRIBUTES)?.entries()? {
                let (key, record) = entry?;
                each(key, &decode(record)?);
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<Option<Field>, CollectionError> {
        self.tx.look_up::<str, _>(FIELDS, name, Field::decode)?.transpose()
    }

    fn keys(&self) -> Keys<'_> {
        self.keys
    }
}

impl Changed<'_> {
    /// Returns the keys for which a predicate is true.
    pub(in crate::collection) fn matching(
        &mut self,
        predicate: &Predicate,
    ) -> Result<Selection, CollectionError> {
        Ok(Selection::new(Exact::new(self, None).evaluate(predicate.node()?, None)?))
    }
}

/// Returns the keys of a snapshot for which a predicate is true.
pub(in crate::collection) fn matching(
    tx: &ReadTransaction,
    known: Known<'_>,
    predicate: &Predicate,
    keys: Keys<'_>,
) -> Result<Selection, CollectionError> {
    let node = predicate.node()?;
    let mut tables = Read::of(tx, keys)?;
    Ok(Selection::new(Exact::new(&mut tables, Some(known)).evaluate(node, None)?))
}

/// The evaluation of a predicate, with its steps.
pub(in crate::collection) struct Evaluation {
    pub(in crate::collection) selection: Selection,
    /// Keys that the index let expect.
    pub(in crate::collection) estimated: u64,
    pub(in crate::collection) estimating: Duration,
    pub(in crate::collection) evaluating: Duration,
    pub(in crate::collection) steps: Vec<Step>,
}

/// Does [`matching`], and returns its steps.
pub(in crate::collection) fn evaluate(
    tx: &ReadTransaction,
    known: Known<'_>,
    predicate: &Predicate,
    keys: Keys<'_>,
) -> Result<Evaluation, CollectionError> {
    let node = predicate.node()?;
    let mut tables = Read::of(tx, keys)?;
    let start = Instant::now();
    let estimated = Estimate::of(&mut tables, node, true)?.keys.round() as u64;
    let estimating = start.elapsed();
    let (start, mut steps) = (Instant::now(), Vec::new());
    let found = Exact::new(&mut tables, Some(known)).evaluate(node, Some(&mut steps))?;
    let evaluating = start.elapsed();
    let selection = Selection::new(found);
    Ok(Evaluation { selection, estimated, estimating, evaluating, steps })
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
    let none = Keys { count: 0, list: &RoaringTreemap::new, is_of_commit: true };
    let mut source = Read::of(tx, none)?;
    let Some(field) = source.field(name)? else { return Ok(Vec::new()) };
    if !field.is_indexed() {
        return facet_of_records(&mut source, field.number);
    }
    let field = field.number;
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

/// Does [`facet`] for a field whose values the index lacks.
fn facet_of_records(
    source: &mut Read<'_>,
    field: u32,
) -> Result<Vec<(Value, u64)>, CollectionError> {
    // Terms are in the order of the values; present ones have none.
    let mut counts: BTreeMap<Vec<u8>, (Value, u64)> = BTreeMap::new();
    source.each_record(&mut |_, values| {
        for (_, value) in values.iter().filter(|&&(of, _)| of == field) {
            let mut texts = match value {
                Value::Texts(texts) => texts.clone(),
                value => {
                    let term = content_term(field, value);
                    counts.entry(term).or_insert_with(|| (value.clone(), 0)).1 += 1;
                    continue;
                }
            };
            texts.sort_unstable();
            texts.dedup();
            for text in texts {
                let term = text_term(field, Form::Item, &text);
                counts.entry(term).or_insert_with(|| (Value::Text(text), 0)).1 += 1;
            }
        }
    })?;
    Ok(counts.into_values().collect())
}

/// Returns the term of the content of a value that is no list.
fn content_term(field: u32, value: &Value) -> Vec<u8> {
    let mut last = Vec::new();
    each_term(field, value, &mut |term| last = term);
    last
}
