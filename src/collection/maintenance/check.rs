//! The check of a collection, and its report.

use std::fmt;

use crate::arena::Persistent;
use crate::collection::attributes::{faults, orphans};
use crate::collection::columns::read_head;
use crate::collection::error::CollectionError;
use crate::collection::format::{
    COLUMNS, KEYS_OF_NAMES, Kind, NAMES_OF_KEYS, PAYLOADS, chunk_key, decode_chunk, key_of_name,
};
use crate::collection::progress::Progress;
use crate::collection::writing::Collection;
use crate::index::{CheckReport, Image, Stored};
use crate::observe::watch;
use crate::store::{self, ExtentId, ReadTransaction};

/// The result of [`Collection::check`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CollectionReport {
    /// Pages, trees and extents of the file, all verified.
    pub store: store::CheckReport,
    /// The index as it is in memory.
    pub index: CheckReport,
    /// Chunks in memory that differ from the file, though nothing has changed them.
    pub strayed_chunks: usize,
    /// Keys that have a payload but no vector.
    pub orphaned_payloads: usize,
    /// Keys that have attributes but no vector.
    pub orphaned_attributes: usize,
    /// Entries of the index of attributes that contradict the attributes.
    pub attribute_faults: usize,
    /// Names whose key does not have this name, and keys whose name does not have this key.
    pub name_faults: usize,
}

impl CollectionReport {
    /// Returns whether the check found no fault.
    pub fn is_ok(&self) -> bool {
        let orphans = self.orphaned_payloads + self.orphaned_attributes;
        let faults = self.attribute_faults + self.name_faults;
        self.index.is_ok() && self.strayed_chunks + orphans + faults == 0
    }
}

impl fmt::Display for CollectionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} tables, {} entries, {} extents, {} pages in use, {} free",
            self.store.tables,
            self.store.entries,
            self.store.extents,
            self.store.used_pages,
            self.store.free_pages
        )?;
        writeln!(
            f,
            "{} chunks strayed from the file, {} payloads without a vector",
            self.strayed_chunks, self.orphaned_payloads
        )?;
        writeln!(
            f,
            "{} attributes without a vector, {} entries of their index are wrong, {} names are wrong",
            self.orphaned_attributes, self.attribute_faults, self.name_faults
        )?;
        self.index.fmt(f)
    }
}

impl Collection {
    /// Reads everything: each page and extent of the file against its checksum, each unchanged chunk in memory against its extent, the
    /// graph as [`Hnsw::check`](crate::Hnsw::check), the keys of payloads, names against their keys, and the index of attributes against the
    /// attributes.
    /// Transactions wait; searches go on.
    ///
    /// # Errors
    ///
    /// The first damage of the file. Faults of the index are in the report.
    pub fn check(&self) -> Result<CollectionReport, CollectionError> {
        self.check_along(&Progress::default())
    }

    pub(super) fn check_along(
        &self,
        progress: &Progress<'_>,
    ) -> Result<CollectionReport, CollectionError> {
        watch!(let observed = crate::observe::Operation::Check.begin());
        let writer = self.inner.take_to_look()?.asking();
        let report = self.check_alone(progress).map_err(self.inner.place())?;
        drop(writer);
        watch!(observed.done(1));
        Ok(report)
    }

    fn check_alone(&self, progress: &Progress<'_>) -> Result<CollectionReport, CollectionError> {
        progress.expect(self.inner.store.used_bytes()?);
        self.inner
            .index
            .frozen(|image| progress.expect(unchanged(&image).map(|(.., len)| len).sum()));
        let store = self.inner.store.check_while(|bytes| progress.go_on(bytes))?;
        let tx = self.inner.store.begin_read()?;
        let strayed_chunks = self.inner.index.frozen(|image| strayed(&tx, &image, progress))?;
        let mut orphaned_payloads = 0;
        if let Some(table) = tx.find_table::<u64>(PAYLOADS)? {
            for entry in table.entries()? {
                orphaned_payloads += usize::from(!self.inner.index.contains(entry?.0));
            }
        }
        let orphaned_attributes = orphans(&tx, |key| self.inner.index.contains(key))?;
        let attribute_faults = faults(&tx)?;
        let name_faults = name_faults(&tx)?;
        let index = self.inner.index.check();
        Ok(CollectionReport {
            store,
            index,
            strayed_chunks,
            orphaned_payloads,
            orphaned_attributes,
            attribute_faults,
            name_faults,
        })
    }
}

/// Returns the number of names and of keys of names that contradict each other.
fn name_faults(tx: &ReadTransaction) -> Result<usize, CollectionError> {
    let keys = tx.find_table::<[u8]>(KEYS_OF_NAMES)?;
    let names = tx.find_table::<u64>(NAMES_OF_KEYS)?;
    let mut faults = 0;
    for entry in keys.map(|keys| keys.entries()).transpose()?.into_iter().flatten() {
        let (name, key) = entry?;
        let Ok(key) = key_of_name(key) else {
            faults += 1;
            continue;
        };
        let found = names.map(|names| names.get(key)).transpose()?.flatten();
        faults += usize::from(found != Some(name));
    }
    for entry in names.map(|names| names.entries()).transpose()?.into_iter().flatten() {
        let (key, name) = entry?;
        let found = keys.map(|keys| keys.get(name)).transpose()?.flatten();
        faults += usize::from(found != Some(&key.to_le_bytes()[..]));
    }
    Ok(faults)
}

/// Returns the number of chunks that are marked as unchanged, and differ from their extent.
fn strayed(
    tx: &ReadTransaction,
    image: &Image<'_>,
    progress: &Progress<'_>,
) -> Result<usize, CollectionError> {
    let Some(_) = read_head(tx, Kind::Graph)? else { return Ok(0) };
    let table = tx.find_table::<u64>(COLUMNS)?;
    let mut buffer = Vec::new();
    let mut strayed = 0;
    for (number, column, chunk, len) in unchanged(image) {
        progress.step(len)?;
        let key = chunk_key(number, chunk);
        let stored = table.map(|table| table.get(key)).transpose()?.flatten();
        let Some((extent, _)) = stored.map(decode_chunk).transpose()? else {
            strayed += 1;
            continue;
        };
        buffer.clear();
        column.copy(chunk, &mut buffer);
        strayed += usize::from(tx.extent(ExtentId(extent))?.bytes()? != buffer);
    }
    Ok(strayed)
}

/// Returns the chunks that are marked as unchanged: column and its number, chunk, bytes.
fn unchanged<'i>(
    image: &'i Image<'_>,
) -> impl Iterator<Item = (u32, &'i dyn Persistent, u32, u64)> {
    image.columns.iter().flat_map(|&(number, column)| {
        (0..column.chunks())
            .filter(move |&chunk| !column.is_changed(chunk))
            .map(move |chunk| (number, column, chunk, chunk_bytes(column, chunk)))
    })
}

pub(super) fn chunk_bytes(column: &dyn Persistent, chunk: u32) -> u64 {
    u64::from(column.rows_of(chunk)) * column.row_bytes() as u64
}
