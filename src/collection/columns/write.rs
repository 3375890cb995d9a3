//! Columns to extents: the chunks that changed, and the records about the index.

use crate::collection::error::CollectionError;
use crate::collection::format::{
    CHECKPOINT, COLUMNS, Checkpoint, HEAD, JOURNAL, METRIC, PAYLOADS, SETTINGS, chunk_key,
    decode_chunk, encode_checkpoint, encode_chunk, encode_settings,
};
use crate::collection::progress::Progress;
use crate::index::{Image, Settings};
use crate::store::{ExtentId, WriteTransaction};

/// Writes the settings of an index, and the name of a custom metric, into an empty store, and makes its tables.
pub(in crate::collection) fn write_settings(
    tx: &mut WriteTransaction,
    settings: &Settings,
    metric: Option<&str>,
) -> Result<(), CollectionError> {
    tx.table::<str>(HEAD)?.insert(SETTINGS, &encode_settings(settings))?;
    if let Some(metric) = metric {
        tx.table::<str>(HEAD)?.insert(METRIC, metric.as_bytes())?;
    }
    for table in [COLUMNS, JOURNAL, PAYLOADS] {
        tx.table::<u64>(table)?;
    }
    Ok(())
}

/// Writes all chunks that changed, and those that the file lacks, each to a new extent. Returns the bytes written.
pub(in crate::collection) fn write_columns(
    tx: &mut WriteTransaction,
    image: &Image<'_>,
    commit: u64,
    progress: &Progress<'_>,
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
        // Codes that replaced others may be shorter, and have fewer chunks.
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
    progress.expect(bytes);
    let mut buffer = Vec::new();
    for (column, chunk, key, len, stored) in pending {
        buffer.clear();
        column.copy(chunk, &mut buffer);
        let extent = tx.put_extent(&buffer)?;
        tx.table::<u64>(COLUMNS)?.insert(key, &encode_chunk(extent.0, len))?;
        if let Some((old, _)) = stored {
            tx.remove_extent(ExtentId(old))?;
        }
        progress.step(len)?;
    }
    let checkpoint = Checkpoint { commit, state: image.state.clone() };
    tx.table::<str>(HEAD)?.insert(CHECKPOINT, &encode_checkpoint(&checkpoint))?;
    Ok(bytes)
}

/// Returns the bytes of the chunks that the next checkpoint would write.
pub(in crate::collection) fn changed_bytes(image: &Image<'_>) -> u64 {
    let changed = image.columns.iter().flat_map(|&(_, column)| {
        (0..column.chunks())
            .filter(|&chunk| column.is_changed(chunk))
            .map(|chunk| u64::from(column.rows_of(chunk)) * column.row_bytes() as u64)
    });
    changed.sum()
}
