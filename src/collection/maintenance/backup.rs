//! Copies of a collection in another file.

use std::cell::RefCell;
use std::path::Path;

use crate::collection::error::CollectionError;
use crate::collection::format::{
    ATTRIBUTES, COLUMNS, DELTAS, FIELDS, HEAD, INDEX_OF_ATTRIBUTES, JOURNAL, KEYS_OF_NAMES,
    NAMES_OF_KEYS, OWN, PAYLOADS, decode_chunk, encode_chunk,
};
use crate::collection::progress::Progress;
use crate::collection::saving::replace_file;
use crate::collection::writing::Collection;
use crate::observe::watch;
use crate::store::{ExtentId, Key, ReadTransaction, StoreError, Table, TableMut, WriteTransaction};

/// Bytes of an extent that are copied in one piece.
const PIECE: u64 = 1 << 20;

impl Collection {
    /// Writes the newest commit to another file, which replaces the file at `path` only when it is whole and on the disk. Transactions
    /// and searches go on. The copy has no gaps; opening it applies the same operations as opening this file.
    /// A program that copies the file while a writer changes it, as `cp` does, may mix several moments: opening reads too little of a file to
    /// notice, [`preload`](Self::preload) and [`check`](Self::check) do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if a collection at `path` is open for writing, [`StoreError::Io`], [`StoreError::Corrupt`].
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), CollectionError> {
        self.backup_along(path.as_ref(), &Progress::default())
    }

    pub(super) fn backup_along(
        &self,
        path: &Path,
        progress: &Progress<'_>,
    ) -> Result<(), CollectionError> {
        watch!(let observed = crate::observe::Operation::Backup.begin());
        let tx = self.inner.store.begin_read()?;
        replace_file(path, Some(&self.inner.store), |store| {
            let columns = match tx.find_table::<u64>(COLUMNS)? {
                Some(table) => table.entries()?.collect::<Result<Vec<_>, _>>()?,
                None => Vec::new(),
            };
            for (_, chunk) in &columns {
                progress.expect(decode_chunk(chunk)?.1);
            }
            let mut copy = store.begin_write()?;
            copy_table::<str>(&tx, &mut copy, HEAD, progress)?;
            // The table may be empty.
            copy.table::<u64>(COLUMNS)?;
            copy_table::<[u8]>(&tx, &mut copy, KEYS_OF_NAMES, progress)?;
            for name in [JOURNAL, DELTAS, PAYLOADS, NAMES_OF_KEYS] {
                copy_table::<u64>(&tx, &mut copy, name, progress)?;
            }
            if tx.find_table::<u64>(ATTRIBUTES)?.is_some() {
                copy_table::<u64>(&tx, &mut copy, ATTRIBUTES, progress)?;
                copy_table::<str>(&tx, &mut copy, FIELDS, progress)?;
                copy_table::<[u8]>(&tx, &mut copy, INDEX_OF_ATTRIBUTES, progress)?;
            }
            for name in tx.tables()?.iter().filter(|name| name.starts_with(OWN)) {
                if let Some((key_type, table)) = tx.raw_table(name)? {
                    load(table, copy.raw_table(name, key_type)?, progress)?;
                }
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
                    progress.step(end - at)?;
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

/// Copies a table, which is written from left to right.
fn copy_table<K: Key + ?Sized>(
    from: &ReadTransaction,
    to: &mut WriteTransaction,
    name: &str,
    progress: &Progress<'_>,
) -> Result<(), CollectionError>
where
    for<'a> K::Item<'a>: Copy,
{
    // Empty tables are made, too, because a copy has every table.
    let copy = to.table::<K>(name)?;
    match from.find_table::<K>(name)? {
        Some(table) => load(table, copy, progress),
        None => Ok(()),
    }
}

/// Loads a table with the entries of another one.
fn load<K: Key + ?Sized>(
    table: Table<'_, K>,
    mut copy: TableMut<'_, K>,
    progress: &Progress<'_>,
) -> Result<(), CollectionError>
where
    for<'a> K::Item<'a>: Copy,
{
    let failure = RefCell::new(None);
    let entries = table.entries()?.map_while(|entry| match entry {
        Ok((_, value)) if !progress.go_on(value.len() as u64) => {
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
