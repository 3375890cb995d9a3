//! Between columns in memory and extents in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use memmap2::MmapMut;

use super::available::available;
use super::delta::{Deltas, Moment};
use super::error::CollectionError;
use super::format::{
    CHECKPOINT, COLUMNS, Checkpoint, HEAD, JOURNAL, Kind, MAX_COMMIT, Operation, PAYLOADS,
    SETTINGS, chunk_key, commit_of, corrupt, decode_checkpoint, decode_chunk, decode_operations,
    decode_settings, encode_checkpoint, encode_chunk, encode_settings, journal_key,
};
use super::task::Course;
use crate::arena::{Keeper, Persistent, Piece};
use crate::index::{CODES, FINER, Image, Settings, Stored, VECTORS};
use crate::simd::Isa;
use crate::store::{ExtentId, ReadTransaction, StoreError, Table, WriteTransaction};

/// How the chunks of an index come from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// They are mapped, and read when a search touches them.
    Mapped,
    /// They are read, verified, and held in memory.
    Copied,
}

/// What the head of a collection says.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) settings: Settings,
    pub(super) checkpoint: Checkpoint,
}

/// Writes what an index is made with into a store that is empty, and makes its tables.
pub(super) fn write_settings(
    tx: &mut WriteTransaction,
    settings: &Settings,
) -> Result<(), CollectionError> {
    tx.table::<str>(HEAD)?.insert(SETTINGS, &encode_settings(settings))?;
    for table in [COLUMNS, JOURNAL, PAYLOADS] {
        tx.table::<u64>(table)?;
    }
    Ok(())
}

/// Writes all chunks that changed, and those that the file lacks, to extents of their own. Returns the bytes written.
pub(super) fn write_columns(
    tx: &mut WriteTransaction,
    image: &Image<'_>,
    commit: u64,
    course: &Course<'_>,
) -> Result<u64, CollectionError> {
    let mut pending = Vec::new();
    let mut bytes = 0;
    let table = tx.table::<u64>(COLUMNS)?;
    for &(number, column) in &image.columns {
        for chunk in 0..column.chunks() {
            let key = chunk_key(number, chunk);
            let len = u64::from(column.rows_of(chunk)) * column.row_bytes() as u64;
            let stored = table.get(key)?.map(decode_chunk).transpose()?;
            if column.is_changed(chunk) || stored.is_none_or(|(_, stored)| stored != len) {
                pending.push((column, chunk, key, len, stored));
                bytes += len;
            }
        }
    }
    let mut gone = Vec::new();
    for &(number, column) in &image.columns {
        // Codes that took the place of others may be shorter, and have fewer chunks.
        for chunk in column.chunks().. {
            let key = chunk_key(number, chunk);
            let Some(stored) = table.get(key)? else { break };
            gone.push((key, decode_chunk(stored)?.0));
        }
    }
    for (key, extent) in gone {
        tx.table::<u64>(COLUMNS)?.remove(key)?;
        tx.remove_extent(ExtentId(extent))?;
    }
    course.expect(bytes);
    let mut buffer = Vec::new();
    for (column, chunk, key, len, stored) in pending {
        buffer.clear();
        column.copy(chunk, &mut buffer);
        let extent = tx.put_extent(&buffer)?;
        tx.table::<u64>(COLUMNS)?.insert(key, &encode_chunk(extent.0, len))?;
        if let Some((old, _)) = stored {
            tx.remove_extent(ExtentId(old))?;
        }
        course.step(len)?;
    }
    let checkpoint = Checkpoint { commit, state: image.state.clone() };
    tx.table::<str>(HEAD)?.insert(CHECKPOINT, &encode_checkpoint(&checkpoint))?;
    Ok(bytes)
}

/// Notes that the file, which `tx` sees, holds every chunk as it is. Those that are maps of an older extent become maps of the new
/// one, so that the old one can be reused; with `all`, also those that did not change.
pub(super) fn settle_columns(
    tx: &Arc<ReadTransaction>,
    image: &Image<'_>,
    all: bool,
) -> Result<(), CollectionError> {
    remap(tx, image, |column, chunk| {
        column.is_overlaid(chunk) && (all || column.is_changed(chunk))
    })?;
    track(image);
    for (_, column) in &image.columns {
        (0..column.chunks()).for_each(|chunk| column.clean(chunk));
    }
    Ok(())
}

/// Notes from now on which rows change: the file, or a delta in it, has them as they are.
pub(super) fn track(image: &Image<'_>) {
    for (_, column) in &image.columns {
        (0..column.chunks()).for_each(|chunk| column.track(chunk));
    }
}

/// Bytes of the chunks that the next checkpoint would write.
pub(super) fn changed_bytes(image: &Image<'_>) -> u64 {
    let changed = image.columns.iter().flat_map(|&(_, column)| {
        (0..column.chunks())
            .filter(|&chunk| column.is_changed(chunk))
            .map(|chunk| u64::from(column.rows_of(chunk)) * column.row_bytes() as u64)
    });
    changed.sum()
}

/// Makes all chunks that are maps maps of the extents that `tx` sees, which hold the same bytes at another place. No chunk
/// may have changed since the last checkpoint.
pub(super) fn move_columns(
    tx: &Arc<ReadTransaction>,
    image: &Image<'_>,
) -> Result<(), CollectionError> {
    remap(tx, image, |column, chunk| column.is_overlaid(chunk))
}

/// Makes all chunks, those in memory too, maps of the extents that `tx` sees, which hold the same bytes.
pub(super) fn spill_columns(
    tx: &Arc<ReadTransaction>,
    image: &Image<'_>,
) -> Result<(), CollectionError> {
    remap(tx, image, |_, _| true)
}

fn remap(
    tx: &Arc<ReadTransaction>,
    image: &Image<'_>,
    moved: impl Fn(&dyn Persistent, u32) -> bool,
) -> Result<(), CollectionError> {
    let new = Arc::clone(tx) as Keeper;
    let old: Vec<_> = image.columns.iter().map(|(_, c)| c.keep(Arc::clone(&new))).collect();
    let result = (|| {
        // Without it no chunk is in the file, and so none is to be mapped.
        let Some(table) = tx.find_table::<u64>(COLUMNS)? else { return Ok(()) };
        let has_codes = image.columns.iter().any(|&(number, _)| number == CODES);
        for &(number, column) in &image.columns {
            for chunk in (0..column.chunks()).filter(|&chunk| moved(column, chunk)) {
                let stored = table.get(chunk_key(number, chunk))?;
                let stored = stored.ok_or(corrupt("a chunk of a column is missing"))?;
                let map = map_chunk(tx, stored, Reading::Mapped)?;
                if has_codes && Sparse::Vectors.holds(number) {
                    expect_few(&map);
                }
                column.replace(chunk, map)?;
            }
        }
        Ok(())
    })();
    if result.is_err() {
        // Some maps are of the one, some of the other.
        keep(image, &(Arc::new((new, old)) as Keeper));
    }
    result
}

/// Makes all maps of the image hold on to `keeper`.
pub(super) fn keep(image: &Image<'_>, keeper: &Keeper) {
    for (_, column) in &image.columns {
        column.keep(Arc::clone(keeper));
    }
}

/// The chunk that an entry of the table of columns names.
fn map_chunk(
    tx: &ReadTransaction,
    stored: &[u8],
    reading: Reading,
) -> Result<MmapMut, CollectionError> {
    let (extent, len) = decode_chunk(stored)?;
    let map = tx.map_extent(ExtentId(extent), reading == Reading::Copied)?;
    if map.len() as u64 != len.max(1) {
        return Err(CollectionError::corrupt("a chunk has another length than its extent"));
    }
    Ok(map)
}

/// Of which columns few rows will be read between two times that a page is needed, as far as can be foreseen.
#[derive(Debug, Clone, Copy)]
enum Sparse {
    None,
    /// Where there are codes, vectors, and codes that stand in for them, are read only to measure the best of the answers again.
    Vectors,
    /// What walks read does not fit memory.
    All,
}

impl Sparse {
    fn of(table: &Table<'_, u64>, head: &Head) -> Result<Self, CollectionError> {
        let has_codes = head.checkpoint.state.coder.is_some();
        let mut walked = 0_u64;
        for entry in table.range(..)? {
            let (key, chunk) = entry?;
            if !has_codes || !Self::Vectors.holds((key >> 32) as u32) {
                walked = walked.saturating_add(decode_chunk(chunk)?.1);
            }
        }
        Ok(match available() {
            Some(available) if walked > available / 4 * 3 => Self::All,
            _ if has_codes => Self::Vectors,
            _ => Self::None,
        })
    }

    fn holds(self, column: u32) -> bool {
        match self {
            Self::None => false,
            Self::Vectors => matches!(column, VECTORS | FINER),
            Self::All => true,
        }
    }
}

/// Tells the system that few rows of a map will be read, here and there. Bringing what lies around them would push other
/// pages out of memory that are needed more.
fn expect_few(map: &MmapMut) {
    #[cfg(unix)]
    // It is advice.
    let _ = map.advise(memmap2::Advice::Random);
    #[cfg(not(unix))]
    let _ = map;
}

/// The records about an index.
pub(super) struct Records<'t> {
    pub(super) table: Table<'t, str>,
    pub(super) settings: &'t [u8],
}

/// The records about an index of this kind; `None` if the store is empty.
pub(super) fn read_records(
    tx: &ReadTransaction,
    expected: Kind,
) -> Result<Option<Records<'_>>, CollectionError> {
    let table = match tx.find_table::<str>(HEAD) {
        Ok(Some(table)) => table,
        Ok(None) if tx.tables()?.is_empty() => return Ok(None),
        Ok(None) | Err(StoreError::KeyType { .. }) => {
            return Err(CollectionError::NotACollection { path: None });
        }
        Err(error) => return Err(error.into()),
    };
    let settings = table.get(SETTINGS)?.ok_or(CollectionError::NotACollection { path: None })?;
    Kind::of(settings)?.expect(expected)?;
    Ok(Some(Records { table, settings }))
}

/// The head of the collection, or of the saved index of this kind, that a snapshot shows; `None` if the store is empty.
pub(super) fn read_head(
    tx: &ReadTransaction,
    expected: Kind,
) -> Result<Option<Head>, CollectionError> {
    let Some(Records { table, settings }) = read_records(tx, expected)? else { return Ok(None) };
    let settings = decode_settings(settings)?;
    let missing = CollectionError::corrupt("the record of the checkpoint is missing");
    let checkpoint = decode_checkpoint(table.get(CHECKPOINT)?.ok_or(missing)?)?;
    Ok(Some(Head { settings, checkpoint }))
}

/// An index as the newest commit left it.
pub(super) struct Opened<I> {
    pub(super) index: I,
    pub(super) commit: u64,
    /// Operations that were applied anew, and how long it took.
    pub(super) operations: u64,
    pub(super) replay: Duration,
    /// Bytes that the journal has behind the checkpoint.
    pub(super) journal: u64,
    /// Bytes of the deltas behind the checkpoint, and the number of the next one.
    pub(super) deltas: u64,
    pub(super) next_delta: u64,
}

impl<I> Opened<I> {
    /// An index of no commit.
    pub(super) fn empty(index: I) -> Self {
        let (commit, operations, replay) = (0, 0, Duration::ZERO);
        Self { index, commit, operations, replay, journal: 0, deltas: 0, next_delta: 0 }
    }
}

/// The index as the newest commit that `tx` sees left it: the chunks of the checkpoint, the rows that changed since, and
/// what the journal has behind these. A `moment` of that commit stands for the last of both. `prepare` gets the index before
/// the journal is applied.
pub(super) fn open_index<I: Stored>(
    tx: &Arc<ReadTransaction>,
    head: &Head,
    (isa, reading): (Option<Isa>, Reading),
    moment: Option<&Moment>,
    prepare: impl FnOnce(&I) -> Result<(), CollectionError>,
) -> Result<Opened<I>, CollectionError> {
    let deltas = Deltas::read(tx, head, moment)?;
    let index: I = read_index(tx, head, &deltas, isa, reading)?;
    prepare(&index)?;
    let start = Instant::now();
    let replayed = replay(tx, &index, &head.settings, deltas.checkpoint.commit)?;
    Ok(Opened {
        index,
        commit: replayed.commit,
        operations: replayed.operations,
        replay: start.elapsed(),
        journal: deltas.journal_bytes.saturating_add(replayed.bytes),
        deltas: deltas.bytes,
        next_delta: deltas.next,
    })
}

/// The index as the last delta left it.
fn read_index<I: Stored>(
    tx: &Arc<ReadTransaction>,
    head: &Head,
    deltas: &Deltas<'_>,
    isa: Option<Isa>,
    reading: Reading,
) -> Result<I, CollectionError> {
    let table = tx.find_table::<u64>(COLUMNS)?;
    let sparse = match &table {
        Some(table) if reading == Reading::Mapped => Sparse::of(table, head)?,
        _ => Sparse::None,
    };
    let state = &deltas.checkpoint.state;
    let mut index = I::restore(&head.settings, isa, state, |column, chunk, _| {
        let changes = deltas.of(column, chunk);
        let stored = table.as_ref().map(|table| table.get(chunk_key(column, chunk)));
        let map = match (stored.transpose()?.flatten(), &table) {
            (Some(stored), _) => Some(map_chunk(tx, stored, reading)?),
            // All of it is behind the checkpoint.
            (None, _) if changes.is_some() => None,
            (None, Some(_)) => return Err(corrupt("a chunk of a column is missing")),
            (None, None) => return Err(corrupt("the table of the columns is missing")),
        };
        if let Some(map) = map.as_ref().filter(|_| sparse.holds(column)) {
            expect_few(map);
        }
        Ok::<_, CollectionError>(Piece { map, changes })
    })?;
    if reading == Reading::Mapped {
        index.bind();
    }
    index.frozen(|image| {
        keep(&image, &(Arc::clone(tx) as Keeper));
    });
    Ok(index)
}

/// What the journal holds behind a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// The last commit that the index has now.
    pub(super) commit: u64,
    pub(super) operations: u64,
    pub(super) bytes: u64,
}

/// What a part of the journal counts for when a checkpoint is to be due.
pub(super) fn part_bytes(part: &[u8]) -> u64 {
    /// About what an entry of a table takes besides its value, so that commits without vectors count as well.
    const ENTRY: u64 = 32;

    part.len() as u64 + ENTRY
}

/// The number of the newest commit that a snapshot shows.
pub(super) fn newest_commit(tx: &ReadTransaction, head: &Head) -> Result<u64, CollectionError> {
    let journal = tx.find_table::<u64>(JOURNAL)?;
    let last = journal.map(|journal| journal.last()).transpose()?.flatten();
    let last = last.map(|(key, _)| commit_of(key));
    Ok(last.unwrap_or(head.checkpoint.commit))
}

/// Operations that the journal holds behind `commit`, from above; no more than about `most` are counted.
pub(super) fn operations_behind(
    tx: &ReadTransaction,
    settings: &Settings,
    commit: u64,
    most: u64,
) -> Result<u64, CollectionError> {
    let mut operations = 0;
    let journal = match tx.table::<u64>(JOURNAL) {
        Ok(journal) => journal,
        Err(StoreError::TableMissing { .. }) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    for entry in journal.range(journal_key(commit.saturating_add(1).min(MAX_COMMIT), 0)..)? {
        operations += decode_operations(entry?.1, settings.vector_bytes())?.len() as u64;
        if operations > most {
            break;
        }
    }
    Ok(operations)
}

/// Applies to the index what the journal holds behind `commit`.
pub(super) fn replay<I: Stored>(
    tx: &ReadTransaction,
    index: &I,
    settings: &Settings,
    commit: u64,
) -> Result<Replayed, CollectionError> {
    let mut replayed = Replayed { commit, ..Replayed::default() };
    let Some(journal) = tx.find_table::<u64>(JOURNAL)? else { return Ok(replayed) };
    let mut operations = Vec::new();
    for entry in journal.range(journal_key(commit + 1, 0)..)? {
        let (key, part) = entry?;
        if commit_of(key) > MAX_COMMIT {
            return Err(CollectionError::corrupt("a commit's number is out of range"));
        }
        if commit_of(key) != replayed.commit {
            apply(index, &operations)?;
            operations.clear();
        }
        let before = operations.len();
        operations.extend(decode_operations(part, settings.vector_bytes())?);
        replayed.commit = commit_of(key);
        replayed.operations += (operations.len() - before) as u64;
        replayed.bytes += part_bytes(part);
    }
    apply(index, &operations)?;
    Ok(replayed)
}

/// Applies operations on distinct keys to the index: all of a commit at once, so that the graph grows in its own order.
pub(super) fn apply<I: Stored>(
    index: &I,
    operations: &[Operation<'_>],
) -> Result<(), CollectionError> {
    let mut upserts = Vec::with_capacity(operations.len());
    for operation in operations {
        match *operation {
            Operation::Upsert(key, vector) => upserts.push((key, vector)),
            Operation::Remove(key) => index.remove_key(key)?,
        }
    }
    index.upsert_encoded(&upserts)?;
    Ok(())
}
