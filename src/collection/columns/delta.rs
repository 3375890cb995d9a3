//! Deltas: the rows that changed behind a checkpoint, so that opening inserts few vectors again.
//!
//! The journal has every commit behind the checkpoint, which other processes follow. To insert its vectors again takes as long as it
//! took the first time. So a commit that finds that this work exceeds a limit writes the rows that changed: opening copies them, and
//! inserts only later vectors. `FORMAT.md` gives the bytes.

use std::collections::HashMap;

use super::Head;
use crate::arena::{Changes, Persistent, Rows};
use crate::collection::error::CollectionError;
use crate::collection::format::{
    Checkpoint, DELTAS, JOURNAL, MAX_COMMIT, MAX_PARTS, Reader, chunk_key, corrupt,
    decode_checkpoint, encode_checkpoint, journal_key,
};
use crate::index::{CODES, Image, KEYS, VECTORS};
use crate::store::{ReadTransaction, StoreError, Table};

/// Bytes in front of the record of a delta.
const HEAD_BYTES: usize = 20;

/// The place of a vector in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::collection) struct Origin {
    pub(in crate::collection) commit: u64,
    pub(in crate::collection) part: u32,
    /// The vector's first byte in the part.
    pub(in crate::collection) at: u32,
}

/// Places of the vectors of the last commits, by their keys.
#[derive(Debug, Default)]
pub(in crate::collection) struct Origins(HashMap<u64, Origin>);

impl Origins {
    /// Maximum number of places kept. A checkpoint, rather than a delta, writes a larger number of changes.
    const MOST: usize = 1 << 14;

    pub(in crate::collection) fn add(&mut self, key: u64, origin: Origin) {
        if self.0.len() < Self::MOST {
            self.0.insert(key, origin);
        }
    }

    pub(in crate::collection) fn clear(&mut self) {
        self.0 = HashMap::new();
    }
}

/// A moment of an index as the rows that it has changed since a checkpoint, or since a delta.
#[derive(Debug)]
pub(in crate::collection) struct Moment {
    pub(in crate::collection) checkpoint: Checkpoint,
    sections: Vec<u8>,
}

impl Moment {
    /// Returns the rows that changed since they are tracked. The journal of `tx` has the committed vectors, at the places of `origins`;
    /// the image must be of the newest commit that `tx` sees, which is `commit`. Returns `None` if the rows take more than `most`
    /// bytes.
    pub(in crate::collection) fn of(
        image: &Image<'_>,
        commit: u64,
        tx: &ReadTransaction,
        origins: &Origins,
        most: u64,
    ) -> Result<Option<Self>, CollectionError> {
        let journal = journal(tx)?;
        let keys = image.columns.iter().find(|(number, _)| *number == KEYS).map(|&(_, keys)| keys);
        let vector_bytes = image.settings.vector_bytes();
        let mut sections = Vec::new();
        let mut row = Vec::new();
        for &(number, column) in &image.columns {
            for chunk in (0..column.chunks()).filter(|&chunk| column.is_changed(chunk)) {
                let mut failure = Ok(());
                let begun = begin_section(number, chunk, &mut sections);
                let first = chunk * column.chunk_rows();
                let mut next = 0;
                column.changed_rows(chunk, &mut |id, from| {
                    if failure.is_err() || sections.len() as u64 > most {
                        return;
                    }
                    row.clear();
                    column.copy_row(first + id, from, &mut row);
                    put(&mut sections, u64::from(id - next));
                    put(&mut sections, from as u64);
                    next = id + 1;
                    let origin = match (&journal, keys) {
                        (Some(journal), Some(keys)) if number == VECTORS && from == 0 => {
                            find(journal, origins, key_of(keys, first + id), &row, vector_bytes)
                        }
                        _ => Ok(None),
                    };
                    match origin {
                        Ok(Some(origin)) => {
                            put(&mut sections, (vector_bytes as u64) << 1 | 1);
                            put(&mut sections, origin.commit);
                            put(&mut sections, u64::from(origin.part));
                            put(&mut sections, u64::from(origin.at));
                        }
                        Ok(None) => {
                            let len =
                                row.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
                            put(&mut sections, (len as u64) << 1);
                            sections.extend_from_slice(&row[..len]);
                        }
                        Err(error) => failure = Err(error),
                    }
                });
                failure?;
                end_section(begun, &mut sections);
                if sections.len() as u64 > most {
                    return Ok(None);
                }
            }
        }
        let checkpoint = Checkpoint { commit, state: image.state.clone() };
        Ok(Some(Self { checkpoint, sections }))
    }

    /// Returns the delta that the file keeps. `journal` is the number of bytes of journal that it replaces, the deltas before it
    /// included.
    pub(in crate::collection) fn encode(mut self, head: &Head, journal: u64) -> Vec<u8> {
        if head.checkpoint.state.has_quantizers_of(&self.checkpoint.state) {
            // If the quantizers have changed, all codes are among the rows.
            self.checkpoint.state.coder = None;
        }
        let record = encode_checkpoint(&self.checkpoint);
        let mut out = Vec::with_capacity(HEAD_BYTES + record.len() + self.sections.len());
        out.extend(head.checkpoint.commit.to_le_bytes());
        out.extend(journal.to_le_bytes());
        out.extend((record.len() as u32).to_le_bytes());
        out.extend(record);
        out.extend(self.sections);
        out
    }
}

/// Returns the key of a slot.
fn key_of(keys: &dyn Persistent, slot: u32) -> u64 {
    let mut bytes = Vec::with_capacity(8);
    keys.copy_row(slot, 0, &mut bytes);
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Returns the place of the vector of this key and row in the journal. The vector there is compared, so the row of another key is never
/// taken for it.
fn find(
    journal: &Table<'_, u64>,
    origins: &Origins,
    key: u64,
    row: &[u8],
    vector_bytes: usize,
) -> Result<Option<Origin>, CollectionError> {
    let Some(origin) = origins.0.get(&key) else { return Ok(None) };
    let vector = vector_at(journal, *origin, vector_bytes)?;
    let is_same = vector.is_some_and(|vector| {
        row.get(..vector_bytes) == Some(vector) && row[vector_bytes..].iter().all(|&b| b == 0)
    });
    Ok(is_same.then_some(*origin))
}

/// Returns the bytes of the journal at a place. Returns `None` if the journal has no such place.
fn vector_at<'t>(
    journal: &Table<'t, u64>,
    Origin { commit, part, at }: Origin,
    bytes: usize,
) -> Result<Option<&'t [u8]>, CollectionError> {
    let Some(part) = journal.get(journal_key(commit, u64::from(part)))? else { return Ok(None) };
    Ok(part.get(at as usize..).and_then(|rest| rest.get(..bytes)))
}

fn journal(tx: &ReadTransaction) -> Result<Option<Table<'_, u64>>, CollectionError> {
    optional(tx, JOURNAL)
}

/// Returns a table that may be missing.
fn optional<'t>(
    tx: &'t ReadTransaction,
    name: &str,
) -> Result<Option<Table<'t, u64>>, CollectionError> {
    match tx.table::<u64>(name) {
        Ok(table) => Ok(Some(table)),
        Err(StoreError::TableMissing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the commit that the newest delta ends at, behind any checkpoint.
pub(in crate::collection) fn newest_delta(
    tx: &ReadTransaction,
) -> Result<Option<u64>, CollectionError> {
    let Some(table) = optional(tx, DELTAS)? else { return Ok(None) };
    let Some((_, delta)) = table.last()? else { return Ok(None) };
    // The record begins behind the head.
    Ok(Some(Reader(delta.get(HEAD_BYTES..).unwrap_or_default()).u64()?))
}

fn begin_section(column: u32, chunk: u32, out: &mut Vec<u8>) -> usize {
    out.extend([column, chunk, 0].map(u32::to_le_bytes).as_flattened());
    out.len()
}

fn end_section(begun: usize, out: &mut Vec<u8>) {
    let len = out.len() - begun;
    if len == 0 {
        out.truncate(begun - 12);
    } else {
        out[begun - 4..begun].copy_from_slice(&(len as u32).to_le_bytes());
    }
}

/// Appends a number in LEB128.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 1 << 7 {
        out.push(number as u8 | 1 << 7);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number in LEB128 from the front.
#[inline]
fn take(bytes: &mut &[u8]) -> Result<u64, CollectionError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(corrupt("a delta is too short"))?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 1 << 7 {
            return Ok(number);
        }
    }
    Err(corrupt("a number of a delta is too long"))
}

/// All deltas behind a checkpoint, in their order.
pub(super) struct Deltas<'t> {
    /// The state after the last delta.
    pub(super) checkpoint: Checkpoint,
    /// Bytes of the journal that they replace.
    pub(super) journal_bytes: u64,
    /// Bytes of the deltas.
    pub(super) bytes: u64,
    /// Number of the next delta.
    pub(super) next: u64,
    journal: Option<Table<'t, u64>>,
    sections: HashMap<u64, Vec<&'t [u8]>>,
}

impl<'t> Deltas<'t> {
    /// Returns the deltas that `tx` sees behind the checkpoint of `head`, and a moment behind all of them.
    pub(super) fn read(
        tx: &'t ReadTransaction,
        head: &Head,
        moment: Option<&'t Moment>,
    ) -> Result<Self, CollectionError> {
        let mut deltas = Self {
            checkpoint: head.checkpoint.clone(),
            journal_bytes: 0,
            bytes: 0,
            next: 0,
            journal: journal(tx)?,
            sections: HashMap::new(),
        };
        if let Some(table) = optional(tx, DELTAS)? {
            for entry in table.entries()? {
                let (number, delta) = entry?;
                deltas.next = number.saturating_add(1);
                deltas.add(delta, head)?;
            }
        }
        if let Some(Moment { checkpoint, sections }) = moment {
            deltas.lead_to(checkpoint.clone())?;
            deltas.sort(sections)?;
        }
        Ok(deltas)
    }

    fn add(&mut self, delta: &'t [u8], head: &Head) -> Result<(), CollectionError> {
        let mut reader = Reader(delta);
        let (base, journal_bytes) = (reader.u64()?, reader.u64()?);
        if base != head.checkpoint.commit {
            // A writer without support for deltas has made a checkpoint since.
            return Ok(());
        }
        let len = reader.u32()? as usize;
        let torn = corrupt("a delta is too short");
        let (record, sections) = reader.0.split_at_checked(len).ok_or(torn)?;
        let mut checkpoint = decode_checkpoint(record)?;
        if checkpoint.state.coder.is_none() {
            checkpoint.state.coder.clone_from(&head.checkpoint.state.coder);
        }
        self.journal_bytes = journal_bytes;
        self.bytes += delta.len() as u64;
        self.lead_to(checkpoint)?;
        self.sort(sections)
    }

    fn lead_to(&mut self, checkpoint: Checkpoint) -> Result<(), CollectionError> {
        let Checkpoint { commit, state } = &self.checkpoint;
        let (old, new) = (&state.graph.rows, &checkpoint.state.graph.rows);
        if checkpoint.commit < *commit
            || checkpoint.state.vectors < state.vectors
            || new.len() < old.len()
            || old.iter().zip(new).any(|(old, new)| new < old)
        {
            return Err(corrupt("a delta leads backwards"));
        }
        if !checkpoint.state.has_quantizers_of(state) {
            // All codes are new, and perhaps of another length.
            self.sections.retain(|&key, _| key >> 32 != u64::from(CODES));
        }
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Appends each section to those of the same chunk.
    fn sort(&mut self, mut sections: &'t [u8]) -> Result<(), CollectionError> {
        while !sections.is_empty() {
            let mut reader = Reader(sections);
            let (column, chunk, len) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let torn = corrupt("a delta is too short");
            let (section, rest) = sections[12..].split_at_checked(len as usize).ok_or(torn)?;
            self.sections.entry(chunk_key(column, chunk)).or_default().push(section);
            sections = rest;
        }
        Ok(())
    }

    /// Returns the rows of a chunk in the deltas. Returns `None` if the deltas have no row of it.
    pub(super) fn of(&self, column: u32, chunk: u32) -> Option<Changes<'_, CollectionError>> {
        let sections = self.sections.get(&chunk_key(column, chunk))?;
        Some(Box::new(|rows| self.write(sections, rows)))
    }

    fn write(&self, sections: &[&[u8]], rows: Rows<'_>) -> Result<(), CollectionError> {
        let Rows { bytes, row_bytes, mapped } = rows;
        let count = bytes.len() / row_bytes;
        // Rows that the chunk has already.
        let mut have = mapped / row_bytes;
        let beyond = || corrupt("a delta has a row that its column lacks");
        let mut last = None;
        for section in sections {
            let mut rest = *section;
            let mut next = 0_usize;
            while !rest.is_empty() {
                let gap = usize::try_from(take(&mut rest)?).map_err(|_| beyond())?;
                let id = next.checked_add(gap).filter(|&id| id < count).ok_or_else(beyond)?;
                next = id + 1;
                let row = &mut bytes[id * row_bytes..][..row_bytes];
                let from = take(&mut rest)?;
                let from = usize::try_from(from).ok().filter(|&from| from <= row_bytes);
                let tag = take(&mut rest)?;
                let len = usize::try_from(tag >> 1).ok();
                let too_long = || corrupt("a row of a delta is too long");
                let (from, len) = (from.ok_or_else(too_long)?, len.ok_or_else(too_long)?);
                let to = row[from..].get_mut(..len).ok_or_else(too_long)?;
                to.copy_from_slice(if tag & 1 == 0 {
                    let (new, behind) = rest.split_at_checked(len).ok_or_else(too_long)?;
                    rest = behind;
                    new
                } else {
                    self.committed(&mut rest, len, &mut last)?
                });
                row[from + len..].fill(0);
                if id >= have {
                    if id > have || from > 0 {
                        return Err(corrupt("a delta lacks a row"));
                    }
                    have += 1;
                }
            }
        }
        if have < count { Err(corrupt("a delta lacks a row")) } else { Ok(()) }
    }

    /// Returns the vector whose place in the journal is next in `rest`. `last` is the part that was read last.
    fn committed(
        &self,
        rest: &mut &[u8],
        len: usize,
        last: &mut Option<(u64, &'t [u8])>,
    ) -> Result<&'t [u8], CollectionError> {
        let missing = || corrupt("a delta names a vector that the journal lacks");
        let (commit, part, at) = (take(rest)?, take(rest)?, take(rest)?);
        if commit > MAX_COMMIT || part >= MAX_PARTS {
            return Err(missing());
        }
        let key = journal_key(commit, part);
        let bytes = match *last {
            Some((of, bytes)) if of == key => bytes,
            _ => {
                let journal = self.journal.as_ref().ok_or_else(missing)?;
                let bytes = journal.get(key)?.ok_or_else(missing)?;
                *last = Some((key, bytes));
                bytes
            }
        };
        let at = usize::try_from(at).map_err(|_| missing())?;
        bytes.get(at..).and_then(|rest| rest.get(..len)).ok_or_else(missing)
    }
}
