//! Restores an index from its extents.

use std::sync::Arc;
use std::time::Duration;

use super::advice::{Sparse, expect_few};
use super::delta::{Deltas, Moment};
use super::head::Head;
use super::remap::{keep, map_chunk};
use super::replay::replay;
use crate::arena::{Keeper, Piece};
use crate::clock::Instant;
use crate::collection::error::CollectionError;
use crate::collection::format::{COLUMNS, chunk_key, corrupt};
use crate::distance::Custom;
use crate::index::{Kernels, Stored};
use crate::store::ReadTransaction;

/// The way in which the chunks of an index are read from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::collection) enum Reading {
    /// Chunks are mapped, and read when a search touches them.
    Mapped,
    /// Chunks are read, verified, and held in memory.
    Copied,
}

/// An index as the newest commit left it.
pub(in crate::collection) struct Opened<I> {
    pub(in crate::collection) index: I,
    pub(in crate::collection) commit: u64,
    /// Operations that were applied anew, and the time that this took.
    pub(in crate::collection) operations: u64,
    pub(in crate::collection) replay: Duration,
    /// Bytes that the journal has behind the checkpoint.
    pub(in crate::collection) journal: u64,
    /// Bytes of the deltas behind the checkpoint, and the number of the next one.
    pub(in crate::collection) deltas: u64,
    pub(in crate::collection) next_delta: u64,
}

impl<I> Opened<I> {
    /// Returns an index of no commit.
    pub(in crate::collection) fn empty(index: I) -> Self {
        let (commit, operations, replay) = (0, 0, Duration::ZERO);
        Self { index, commit, operations, replay, journal: 0, deltas: 0, next_delta: 0 }
    }
}

/// Returns the index as the newest commit that `tx` sees left it: the chunks of the checkpoint, the rows that changed since, and the
/// operations that the journal has behind these. A `moment` of that commit replaces the last rows and operations. `prepare` gets the
/// index before the journal is applied.
pub(in crate::collection) fn open_index<I: Stored>(
    tx: &Arc<ReadTransaction>,
    head: &Head,
    (kernels, reading): (Kernels<'_>, Reading),
    moment: Option<&Moment>,
    prepare: impl FnOnce(&I) -> Result<(), CollectionError>,
) -> Result<Opened<I>, CollectionError> {
    head.admit(kernels.custom.map(Custom::name))?;
    let deltas = Deltas::read(tx, head, moment)?;
    let index: I = read_index(tx, head, &deltas, (kernels, reading))?;
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

/// Returns the index as the last delta left it.
fn read_index<I: Stored>(
    tx: &Arc<ReadTransaction>,
    head: &Head,
    deltas: &Deltas<'_>,
    (kernels, reading): (Kernels<'_>, Reading),
) -> Result<I, CollectionError> {
    let table = tx.find_table::<u64>(COLUMNS)?;
    let sparse = match &table {
        Some(table) if reading == Reading::Mapped => Sparse::of(table, head)?,
        _ => Sparse::None,
    };
    let state = &deltas.checkpoint.state;
    let mut index = I::restore(&head.settings, kernels, state, |column, chunk, _| {
        let changes = deltas.of(column, chunk);
        let stored = table.as_ref().map(|table| table.get(chunk_key(column, chunk)));
        let map = match (stored.transpose()?.flatten(), &table) {
            (Some(stored), _) => Some(map_chunk(tx, stored, reading)?),
            // All rows of the chunk are behind the checkpoint.
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
