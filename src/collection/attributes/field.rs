//! The fields of a collection: each name has a number, which records and the index use in its place, and perhaps a declaration.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::term::Form;
use crate::attributes::{Declared, Schema};
use crate::collection::error::CollectionError;
use crate::collection::format::{FIELDS, Reader, corrupt};
use crate::store::{ReadTransaction, Table, WriteTransaction};

/// Maximum number of fields of a collection.
const MAX_FIELDS: u32 = 65_536;

/// Flags of a field's record: required, stored only, and an index that lacks the keys from a number on.
const REQUIRED: u8 = 1;
const STORED_ONLY: u8 = 2;
const UNFINISHED: u8 = 4;

/// The keys whose values the index has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covered {
    All,
    /// The field is stored only.
    None,
    /// The index is not built to its end.
    Below(u64),
}

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) declared: Option<Declared>,
    pub(super) covered: Covered,
}

impl Field {
    /// Returns a field that is not declared.
    fn new(number: u32) -> Self {
        Self { number, declared: None, covered: Covered::All }
    }

    /// Reads a record.
    pub(super) fn decode(record: &[u8]) -> Result<Self, CollectionError> {
        let mut reader = Reader(record);
        let mut field = Self::new(reader.u32()?);
        if reader.end().is_ok() {
            return Ok(field);
        }
        let [form, flags] = reader.take()?;
        if form != 0 {
            let form = Form::KINDS.into_iter().find(|&known| known as u8 == form);
            let form = form.ok_or(corrupt("a field is declared with an unknown form"))?;
            let mut declared = Declared::new(form.kind());
            if flags & REQUIRED != 0 {
                declared = declared.required();
            }
            if flags & STORED_ONLY != 0 {
                declared = declared.stored_only();
                field.covered = Covered::None;
            }
            field.declared = Some(declared);
        }
        if flags & UNFINISHED != 0 {
            field.covered = Covered::Below(reader.u64()?);
        }
        reader.end()?;
        Ok(field)
    }

    /// Writes a record.
    fn encode(self) -> Vec<u8> {
        let mut record = self.number.to_le_bytes().to_vec();
        if self == Self::new(self.number) {
            return record;
        }
        let (mut form, mut flags) = (0, 0);
        if let Some(declared) = self.declared {
            form = Form::of_kind(declared.kind()) as u8;
            flags |= if declared.is_required() { REQUIRED } else { 0 };
            flags |= if declared.is_stored_only() { STORED_ONLY } else { 0 };
        }
        let below = match self.covered {
            Covered::Below(key) => Some(key),
            Covered::All | Covered::None => None,
        };
        flags |= if below.is_some() { UNFINISHED } else { 0 };
        record.extend([form, flags]);
        record.extend(below.into_iter().flat_map(u64::to_le_bytes));
        record
    }

    /// Returns whether the index has the values of all keys.
    pub(super) fn is_indexed(self) -> bool {
        self.covered == Covered::All
    }

    /// Returns whether the index has the values of a key.
    pub(super) fn covers(self, key: u64) -> bool {
        match self.covered {
            Covered::All => true,
            Covered::None => false,
            Covered::Below(end) => key < end,
        }
    }
}

/// The names of fields by their numbers, and fields by names.
#[derive(Debug, Default)]
pub(in crate::collection) struct Fields {
    /// Names in the order of their numbers; empty where a number is not known.
    names: Vec<String>,
    fields: HashMap<String, Field>,
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
        if !tx.has_table(FIELDS)? {
            return Ok(fields);
        }
        for entry in tx.table::<str>(FIELDS)?.entries()? {
            let (name, record) = entry?;
            fields.put(name, record)?;
        }
        Ok(fields)
    }

    fn put(&mut self, name: &str, record: &[u8]) -> Result<(), CollectionError> {
        let field = Field::decode(record)?;
        let number = field.number;
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
        self.fields.insert(name.to_owned(), field);
        Ok(())
    }

    /// Returns the name of a field's number.
    pub(super) fn name(&self, number: u32) -> Result<&str, CollectionError> {
        let name = self.names.get(number as usize).filter(|name| !name.is_empty());
        name.map(String::as_str).ok_or(corrupt("an attribute has no field"))
    }

    /// Returns the field of a number.
    pub(super) fn field(&self, number: u32) -> Result<Field, CollectionError> {
        let field = self.fields.get(self.name(number)?);
        field.copied().ok_or(corrupt("an attribute has no field"))
    }

    /// Returns the field of a name.
    pub(super) fn get(&self, name: &str) -> Option<Field> {
        self.fields.get(name).copied()
    }

    /// Returns all fields with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Field)> {
        self.fields.iter().map(|(name, &field)| (name.as_str(), field))
    }

    /// Returns the declarations.
    pub(super) fn schema(&self) -> Schema {
        let declared = self.iter().filter_map(|(name, field)| Some((name, field.declared?)));
        declared.fold(Schema::new(), |schema, (name, declared)| schema.with(name, declared))
    }

    /// Changes the declaration of a name, and the keys whose values the index has.
    pub(super) fn change(
        &mut self,
        tx: &mut WriteTransaction,
        name: &str,
        field: Field,
    ) -> Result<(), CollectionError> {
        tx.table::<str>(FIELDS)?.insert(name, &field.encode())?;
        self.fields.insert(name.to_owned(), field);
        Ok(())
    }

    /// Returns the field of a name, and gives a new name the next number.
    pub(super) fn get_or_insert(
        &mut self,
        tx: &mut WriteTransaction,
        name: &str,
    ) -> Result<Field, CollectionError> {
        if let Some(field) = self.get(name) {
            return Ok(field);
        }
        let number = self.names.len() as u32;
        if number >= MAX_FIELDS {
            return Err(CollectionError::TooManyFields { max: MAX_FIELDS });
        }
        let field = Field::new(number);
        self.names.push(name.to_owned());
        self.change(tx, name, field)?;
        Ok(field)
    }
}

/// The names of the fields of the newest commit whose attributes were read, so that few reads of attributes read the names of all fields. Their
/// declarations may be those of another commit.
#[derive(Debug, Default)]
pub(in crate::collection) struct KnownFields(RwLock<Arc<Fields>>);

impl KnownFields {
    /// Returns the fields of a snapshot, and perhaps those of later commits.
    pub(in crate::collection) fn of(
        &self,
        tx: &ReadTransaction,
    ) -> Result<Arc<Fields>, CollectionError> {
        let Some(table) = tx.find_table::<str>(FIELDS)? else { return Ok(Arc::default()) };
        // Commits add fields, and neither remove nor rename them, so the number of fields tells of two commits the later one.
        let is_known = |known: &Fields| known.fields.len() as u64 >= table.len();
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
