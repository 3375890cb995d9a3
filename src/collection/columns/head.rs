//! The records about an index.

use crate::collection::error::CollectionError;
use crate::collection::format::{
    CHECKPOINT, Checkpoint, HEAD, Kind, SETTINGS, decode_checkpoint, decode_settings,
};
use crate::index::Settings;
use crate::store::{ReadTransaction, StoreError, Table};

/// The head of a collection.
#[derive(Debug, Clone)]
pub(in crate::collection) struct Head {
    pub(in crate::collection) settings: Settings,
    pub(in crate::collection) checkpoint: Checkpoint,
}

/// The records about an index.
pub(in crate::collection) struct Records<'t> {
    pub(in crate::collection) table: Table<'t, str>,
    pub(in crate::collection) settings: &'t [u8],
}

/// Returns the records about an index of this kind. Returns `None` if the store is empty.
pub(in crate::collection) fn read_records(
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

/// Returns the head of the collection, or of the saved index of this kind, that a snapshot shows. Returns `None` if the store is empty.
pub(in crate::collection) fn read_head(
    tx: &ReadTransaction,
    expected: Kind,
) -> Result<Option<Head>, CollectionError> {
    let Some(Records { table, settings }) = read_records(tx, expected)? else { return Ok(None) };
    let settings = decode_settings(settings)?;
    let missing = CollectionError::corrupt("the record of the checkpoint is missing");
    let checkpoint = decode_checkpoint(table.get(CHECKPOINT)?.ok_or(missing)?)?;
    Ok(Some(Head { settings, checkpoint }))
}
