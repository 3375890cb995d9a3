//! Chunks in memory as maps of their extents.

use std::sync::Arc;

use super::advice::{Sparse, expect_few};
use super::read::Reading;
use crate::arena::{Keeper, Persistent};
use crate::collection::error::CollectionError;
use crate::collection::format::{COLUMNS, chunk_key, corrupt, decode_chunk};
use crate::index::{CODES, Image};
use crate::mmap::MmapMut;
use crate::store::{ExtentId, ReadTransaction};

/// Notes that the file, which `tx` sees, holds every chunk as it is. Maps of an older extent become maps of the new one, so that the
/// old one can be reused; with `all`, also chunks that did not change.
pub(in crate::collection) fn settle_columns(
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

/// Starts to note changed rows: the file, or a delta in it, has the rows as they are.
pub(in crate::collection) fn track(image: &Image<'_>) {
    for (_, column) in &image.columns {
        (0..column.chunks()).for_each(|chunk| column.track(chunk));
    }
}

/// Makes all chunks that are maps maps of the extents that `tx` sees, which hold the same bytes at another place. No chunk
/// may have changed since the last checkpoint.
pub(in crate::collection) fn move_columns(
    tx: &Arc<ReadTransaction>,
    image: &Image<'_>,
) -> Result<(), CollectionError> {
    remap(tx, image, |column, chunk| column.is_overlaid(chunk))
}

/// Makes all chunks, those in memory too, maps of the extents that `tx` sees, which hold the same bytes.
pub(in crate::collection) fn spill_columns(
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
        // Without the table the file has no chunk to map.
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
        // Some maps are of the new snapshot, some of the old one.
        keep(image, &(Arc::new((new, old)) as Keeper));
    }
    result
}

/// Makes all maps of the image keep `keeper`.
pub(in crate::collection) fn keep(image: &Image<'_>, keeper: &Keeper) {
    for (_, column) in &image.columns {
        column.keep(Arc::clone(keeper));
    }
}

/// Maps the chunk that an entry of the table of columns names.
pub(super) fn map_chunk(
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
