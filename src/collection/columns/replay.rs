//! The journal, and the operations that it holds.

use super::head::Head;
use crate::collection::error::CollectionError;
use crate::collection::format::{
    JOURNAL, MAX_COMMIT, Operation, commit_of, decode_operations, journal_key,
};
use crate::index::{Settings, Stored};
use crate::store::{ReadTransaction, StoreError};

/// The part of the journal behind a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::collection) struct Replayed {
    /// The last commit that the index has now.
    pub(in crate::collection) commit: u64,
    pub(in crate::collection) operations: u64,
    pub(in crate::collection) bytes: u64,
}

/// Returns the bytes by which a part of the journal brings the next checkpoint nearer.
pub(in crate::collection) fn part_bytes(part: &[u8]) -> u64 {
    /// Approximate bytes of a table entry besides its value, so that commits without vectors count as well.
    const ENTRY: u64 = 32;

    part.len() as u64 + ENTRY
}

/// Returns the number of the newest commit that a snapshot shows.
pub(in crate::collection) fn newest_commit(
    tx: &ReadTransaction,
    head: &Head,
) -> Result<u64, CollectionError> {
    let journal = tx.find_table::<u64>(JOURNAL)?;
    let last = journal.map(|journal| journal.last()).transpose()?.flatten();
    let last = last.map(|(key, _)| commit_of(key));
    Ok(last.unwrap_or(head.checkpoint.commit))
}

/// Returns an upper bound of the operations that the journal holds behind `commit`; counting ends above `most`.
pub(in crate::collection) fn operations_behind(
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

/// Applies the operations that the journal holds behind `commit` to the index.
pub(in crate::collection) fn replay<I: Stored>(
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
pub(in crate::collection) fn apply<I: Stored>(
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
