use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::columns::{move_columns, read_head};
use super::error::CollectionError;
use super::format::{
    COLUMNS, DELTAS, HEAD, JOURNAL, KEYS_OF_NAMES, Kind, NAMES_OF_KEYS, PAYLOADS, decode_chunk,
    encode_chunk,
};
use super::handle::Collection;
use super::save::replace_file;
use super::task::Course;
use super::writer::Writer;
use crate::arena::Persistent;
use crate::index::{CheckReport, Image, Stats, Stored};
use crate::observe::watch;
use crate::store::{self, ExtentId, Key, ReadTransaction, StoreError, WriteTransaction};

/// What a collection holds and what it has done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CollectionStats {
    /// The index.
    pub index: Stats,
    /// The store that the file is.
    pub store: store::Stats,
    /// Number of the last commit.
    pub commit: u64,
    /// Bytes of journal behind the last checkpoint.
    pub journal_bytes: u64,
    /// Operations of the journal that the next opening would apply; of the others it copies the rows.
    pub pending_operations: u64,
    /// Bytes of rows that the next opening would copy.
    pub delta_bytes: u64,
    /// Bytes of vectors, keys, codes and graph in the file as of the last checkpoint.
    pub column_bytes: u64,
    /// Bytes of vectors, without padding, that were committed since the collection was opened.
    pub committed_vector_bytes: u64,
    /// Bytes of chunks that checkpoints have written since the collection was opened.
    pub checkpoint_bytes: u64,
    /// Checkpoints since the collection was opened.
    pub checkpoints: u64,
}

impl CollectionStats {
    /// Bytes written to the file for each byte of vectors committed, since the collection was opened; 0 if none were.
    pub fn write_amplification(&self) -> f64 {
        if self.committed_vector_bytes == 0 {
            return 0.0;
        }
        self.store.written_bytes as f64 / self.committed_vector_bytes as f64
    }
}

/// What [`Collection::check`] found.
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
}

impl CollectionReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.index.is_ok() && self.strayed_chunks == 0 && self.orphaned_payloads == 0
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
        self.index.fmt(f)
    }
}

impl Collection {
    /// Sizes, and what has been done.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`], [`StoreError::Deadlock`].
    pub fn stats(&self) -> Result<CollectionStats, CollectionError> {
        // A copy: reading the trees stops no transaction.
        let writer = *self.inner.take_to_look()?;
        Ok(CollectionStats {
            index: self.inner.index.stats(),
            store: self.inner.store.stats()?,
            commit: writer.commit,
            journal_bytes: writer.journal,
            pending_operations: writer.late,
            delta_bytes: writer.deltas,
            column_bytes: writer.columns,
            committed_vector_bytes: writer.vector_bytes,
            checkpoint_bytes: writer.column_bytes,
            checkpoints: writer.checkpoints,
        })
    }

    /// Reads everything: each page and extent of the file against its checksum, each chunk in memory that nothing has changed
    /// against its extent, the graph as [`Hnsw::check`](crate::Hnsw::check), and the keys of payloads. Transactions wait; searches go on.
    ///
    /// # Errors
    ///
    /// The first damage of the file that is found. What is wrong beyond the file is in the report.
    pub fn check(&self) -> Result<CollectionReport, CollectionError> {
        self.check_along(&Course::default())
    }

    pub(super) fn check_along(
        &self,
        course: &Course<'_>,
    ) -> Result<CollectionReport, CollectionError> {
        watch!(let observed = crate::observe::Operation::Check.begin());
        let writer = self.inner.take_to_look()?.asking();
        let report = self.check_alone(course).map_err(self.inner.place())?;
        drop(writer);
        watch!(observed.done(1));
        Ok(report)
    }

    fn check_alone(&self, course: &Course<'_>) -> Result<CollectionReport, CollectionError> {
        course.expect(self.inner.store.used_bytes()?);
        self.inner
            .index
            .frozen(|image| course.expect(unchanged(&image).map(|(.., len)| len).sum()));
        let store = self.inner.store.check_while(|bytes| course.go_on(bytes))?;
        let tx = self.inner.store.begin_read()?;
        let strayed_chunks = self.inner.index.frozen(|image| strayed(&tx, &image, course))?;
        let mut orphaned_payloads = 0;
        if let Some(table) = tx.find_table::<u64>(PAYLOADS)? {
            for entry in table.entries()? {
                orphaned_payloads += usize::from(!self.inner.index.contains(entry?.0));
            }
        }
        let index = self.inner.index.check();
        Ok(CollectionReport { store, index, strayed_chunks, orphaned_payloads })
    }

    /// Makes a checkpoint, moves pages from the end of the file to free space before them, and cuts
    /// the file. Transactions wait; searches go on.
    ///
    /// Payloads, names and the journal shrink with what they hold. Places of removed vectors are kept for new ones; [`Collection::merge`] of a
    /// single snapshot into another file leaves them behind, too.
    ///
    /// If no snapshot is open, one call leaves at most 5 % more than the log and the pages in use,
    /// as [`Store::compact`](store::Store::compact) says. A snapshot that is open, here or in
    /// another process, keeps the pages that it sees where they are: `stats().store.held_bytes` of
    /// those are not in use otherwise. The file does not become longer beside it; the checkpoint is
    /// left out if it does not fit the file. Compacting again when the snapshot is gone does the
    /// rest.
    ///
    /// Returns the bytes by which the file has become shorter.
    ///
    /// # Errors
    ///
    /// As [`Collection::checkpoint`], and [`StoreError::Corrupt`].
    pub fn compact(&self) -> Result<u64, CollectionError> {
        self.compact_along(&Course::default())
    }

    pub(super) fn compact_along(&self, course: &Course<'_>) -> Result<u64, CollectionError> {
        watch!(let observed = crate::observe::Operation::Compact.begin());
        let mut writer = self.inner.take_writer()?.asking();
        let (inner, store) = (&self.inner, &self.inner.store);
        let before = store.file_bytes()?;
        if writer.is_unsettled {
            // Of an earlier failure. Then all maps are of the newest extents again.
            self.checkpoint_in_room(&mut writer, course)?;
        }
        // First of what is in the store alone, which needs next to no room: then the pages of removed payloads are free for the
        // columns.
        inner.drop_idle_views();
        let own = inner.pin_newest(&writer)?;
        store.checkpoint()?;
        let is_settled = if store.is_held(own)? {
            inner.checkpoint_within(&mut writer, course)?
        } else {
            self.checkpoint_in_room(&mut writer, course)?;
            true
        };
        course.expect(store.used_bytes()?);
        let let_go = || {
            // A snapshot may have come and gone meanwhile.
            inner.drop_idle_views();
            if !is_settled {
                // Chunks that changed cannot become maps of other places: theirs are held, too.
                return Ok(None);
            }
            let tx = Arc::new(store.begin_read()?);
            inner.index.frozen(|image| move_columns(&tx, &image))?;
            Ok::<_, CollectionError>(Some(tx.number()))
        };
        // Until the maps have followed, also after an error on the way.
        let was_unsettled = std::mem::replace(&mut writer.is_unsettled, true);
        store.compact_along(&|bytes| course.go_on(bytes), &let_go)?;
        writer.is_unsettled = was_unsettled;
        let freed = before.saturating_sub(store.file_bytes()?);
        drop(writer);
        watch!(observed.done(freed));
        Ok(freed)
    }

    /// Makes a checkpoint. On a full disk it first moves tree nodes: free pages may lie here and there, but not together, as columns
    /// need them.
    fn checkpoint_in_room(
        &self,
        writer: &mut Writer,
        course: &Course<'_>,
    ) -> Result<(), CollectionError> {
        match self.inner.checkpoint(writer, course) {
            Err(error) if error.is_full() => {
                // The second pass cuts off the pages that the maps held on to during the first.
                for _ in 0..2 {
                    let own = self.inner.pin_newest(writer)?;
                    self.inner.store.compact_nodes_while(own, |bytes| course.go_on(bytes))?;
                }
                self.inner.pin_newest(writer)?;
                self.inner.checkpoint(writer, course)
            }
            done => done,
        }
    }

    /// Reads the whole index into memory, in huge pages where the system has them, and compares what is in the file with its checksums.
    ///
    /// A collection is walked in the map of its file, which needs no memory of its own and is good for what is larger than memory.
    /// If it is not, searches are faster afterwards, and do not touch the file any more. Searches go on meanwhile; transactions
    /// wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] for the first chunk that is damaged, [`IndexError::OutOfMemory`](crate::IndexError::OutOfMemory).
    pub fn load(&self) -> Result<(), CollectionError> {
        self.load_along(&Course::default())
    }

    pub(super) fn load_along(&self, course: &Course<'_>) -> Result<(), CollectionError> {
        watch!(let observed = crate::observe::Operation::Load.begin());
        // A checkpoint moves chunks.
        let writer = self.inner.take_writer()?.asking();
        self.load_alone(course).map_err(self.inner.place())?;
        drop(writer);
        watch!(observed.done(1));
        Ok(())
    }

    fn load_alone(&self, course: &Course<'_>) -> Result<(), CollectionError> {
        let tx = self.inner.store.begin_read()?;
        // Without it no chunk is in the file.
        let Some(table) = tx.find_table::<u64>(COLUMNS)? else { return Ok(()) };
        let columns = self.inner.index.frozen(|image| {
            for (_, column) in &image.columns {
                course.expect(u64::from(column.rows()) * column.row_bytes() as u64);
            }
            image.columns.iter().map(|(_, column)| column.chunks()).collect::<Vec<_>>()
        });
        for (at, &chunks) in columns.iter().enumerate() {
            for chunk in 0..chunks {
                self.inner.index.frozen(|image| {
                    let (number, column) = image.columns[at];
                    course.step(chunk_bytes(column, chunk))?;
                    if !column.is_overlaid(chunk) {
                        return Ok(());
                    }
                    let stored = table.get(super::format::chunk_key(number, chunk))?;
                    if let Some((extent, _)) = stored.map(decode_chunk).transpose()? {
                        tx.extent(ExtentId(extent))?.bytes()?;
                    }
                    Ok::<(), CollectionError>(column.promote(chunk)?)
                })?;
            }
        }
        Ok(())
    }

    /// Writes the newest commit to another file, which takes the place of what is at `path` only when it is whole and on the disk.
    /// Transactions and searches go on. The copy has no gaps; opening it applies what opening this file would.
    /// A program that copies the file while a writer changes it, as `cp` does, may mix several moments: opening reads too little of a file to
    /// notice, [`load`](Self::load) and [`check`](Self::check) do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if a collection at `path` is open for writing, [`StoreError::Io`], [`StoreError::Corrupt`].
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), CollectionError> {
        self.backup_along(path.as_ref(), &Course::default())
    }

    pub(super) fn backup_along(
        &self,
        path: &Path,
        course: &Course<'_>,
    ) -> Result<(), CollectionError> {
        watch!(let observed = crate::observe::Operation::Backup.begin());
        let tx = self.inner.store.begin_read()?;
        replace_file(path, Some(&self.inner.store), |store| {
            let columns = match tx.find_table::<u64>(COLUMNS)? {
                Some(table) => table.entries()?.collect::<Result<Vec<_>, _>>()?,
                None => Vec::new(),
            };
            for (_, chunk) in &columns {
                course.expect(decode_chunk(chunk)?.1);
            }
            let mut copy = store.begin_write()?;
            copy_table::<str>(&tx, &mut copy, HEAD, course)?;
            // It may be empty.
            copy.table::<u64>(COLUMNS)?;
            copy_table::<[u8]>(&tx, &mut copy, KEYS_OF_NAMES, course)?;
            for name in [JOURNAL, DELTAS, PAYLOADS, NAMES_OF_KEYS] {
                copy_table::<u64>(&tx, &mut copy, name, course)?;
            }
            copy.table::<u64>(COLUMNS)?;
            for (key, chunk) in columns {
                let (extent, len) = decode_chunk(chunk)?;
                let from = tx.extent(ExtentId(extent))?;
                let to = copy.create_extent(from.len())?;
                let mut at = 0;
                while at < from.len() {
                    let end = from.len().min(at + PIECE);
                    copy.write_extent(to, at, from.range(at..end)?)?;
                    course.step(end - at)?;
                    at = end;
                }
                copy.table::<u64>(COLUMNS)?.insert(key, &encode_chunk(to.0, len))?;
            }
            Ok(copy.commit()?)
        })?;
        watch!(observed.done(1));
        Ok(())
    }
}

/// Bytes of an extent that are copied at a time.
const PIECE: u64 = 1 << 20;

/// Chunks that say they did not change, and differ from their extent.
fn strayed(
    tx: &ReadTransaction,
    image: &Image<'_>,
    course: &Course<'_>,
) -> Result<usize, CollectionError> {
    let Some(_) = read_head(tx, Kind::Graph)? else { return Ok(0) };
    let table = tx.find_table::<u64>(COLUMNS)?;
    let mut buffer = Vec::new();
    let mut strayed = 0;
    for (number, column, chunk, len) in unchanged(image) {
        course.step(len)?;
        let key = super::format::chunk_key(number, chunk);
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

/// Chunks that say they did not change: column and its number, chunk, bytes.
fn unchanged<'i>(
    image: &'i Image<'_>,
) -> impl Iterator<Item = (u32, &'i dyn Persistent, u32, u64)> {
    image.columns.iter().flat_map(|&(number, column)| {
        (0..column.chunks())
            .filter(move |&chunk| !column.is_changed(chunk))
            .map(move |chunk| (number, column, chunk, chunk_bytes(column, chunk)))
    })
}

fn chunk_bytes(column: &dyn Persistent, chunk: u32) -> u64 {
    u64::from(column.rows_of(chunk)) * column.row_bytes() as u64
}

/// Copies a table, which is written from left to right.
fn copy_table<K: Key + ?Sized>(
    from: &ReadTransaction,
    to: &mut WriteTransaction,
    name: &str,
    course: &Course<'_>,
) -> Result<(), CollectionError>
where
    for<'a> K::Item<'a>: Copy,
{
    // Made in any case: a copy has every table, whichever are empty.
    let mut copy = to.table::<K>(name)?;
    let Some(table) = from.find_table::<K>(name)? else { return Ok(()) };
    let failure = RefCell::new(None);
    let entries = table.entries()?.map_while(|entry| match entry {
        Ok((_, value)) if !course.go_on(value.len() as u64) => {
            *failure.borrow_mut() = Some(StoreError::Cancelled);
            None
        }
        Ok(entry) => Some(entry),
        Err(error) => {
            *failure.borrow_mut() = Some(error);
            None
        }
    });
    copy.bulk_load(entries)?;
    match failure.into_inner() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
