//! Indexes in files of their own: written whole, read whole or walked in place.

use std::path::Path;
use std::sync::Arc;

use super::lists::{read_lists, write_lists};
use crate::arena::Persistent;
use crate::collection::columns::{
    Opened, Reading, open_index, read_head, write_columns, write_settings,
};
use crate::collection::error::CollectionError;
use crate::collection::format::{Kind, check_byte_order};
use crate::collection::progress::Progress;
use crate::distance::{Custom, CustomMetric};
use crate::index::{Flat, Hnsw, Image, Ivf, Kernels, Stored};
use crate::store::{
    ReadTransaction, Replacement, Store, StoreError, StoreOptions, WriteTransaction,
};

/// Makes a file at `path` in one step: `fill` gets a store under another name, which replaces the file at `path` once it is on the
/// disk. A symbolic link is followed. The file has the mode and, if the system allows, the owner of the file that it replaces, else
/// those of the file of `source`.
pub(in crate::collection) fn replace_file(
    path: &Path,
    source: Option<&Store>,
    fill: impl FnOnce(&Store) -> Result<(), CollectionError>,
) -> Result<(), CollectionError> {
    // No writer opens the present file meanwhile.
    let place = |error: StoreError| error.at(Some(path));
    let replacement = Replacement::at(path).map_err(place)?;
    let new = replacement.new_file(source.and_then(Store::file)).map_err(place)?;
    // The log is small, because everything is written once, in one transaction.
    let store =
        StoreOptions::new().log_size(64 << 10).without_reserve().open_new(&new).map_err(place)?;
    fill(&store)?;
    store.close()?;
    Ok(replacement.finish(new).map_err(place)?)
}

fn save<I: Stored>(index: &I, path: &Path) -> Result<(), CollectionError> {
    check_byte_order()?;
    replace_file(path, None, |store| {
        index.frozen(|image| {
            let mut tx = store.begin_write()?;
            write_index(&mut tx, &image)?;
            Ok(tx.commit()?)
        })
    })
}

/// Writes an index into a store that is empty.
pub(super) fn write_index(
    tx: &mut WriteTransaction,
    image: &Image<'_>,
) -> Result<(), CollectionError> {
    write_settings(tx, &image.settings, image.custom)?;
    write_columns(tx, image, 0, &Progress::default())?;
    Ok(())
}

fn read<I: Stored>(
    path: &Path,
    reading: Reading,
    custom: Option<&Custom>,
) -> Result<I, CollectionError> {
    check_byte_order()?;
    read_file(path, reading, custom).map_err(|error| error.at(Some(path)))
}

fn read_file<I: Stored>(
    path: &Path,
    reading: Reading,
    custom: Option<&Custom>,
) -> Result<I, CollectionError> {
    let store = Store::open_read_only(path)?;
    read_index(&Arc::new(store.begin_read()?), reading, custom)
}

/// Returns the index that a snapshot shows.
pub(super) fn read_index<I: Stored>(
    tx: &Arc<ReadTransaction>,
    reading: Reading,
    custom: Option<&Custom>,
) -> Result<I, CollectionError> {
    let expected = if I::GRAPH { Kind::Graph } else { Kind::Exact };
    let head = read_head(tx, expected)?.ok_or(CollectionError::NotACollection { path: None })?;
    let kernels = Kernels { isa: None, custom };
    let promote = |index: &I| {
        if reading == Reading::Copied {
            index.frozen(|image| {
                let chunks = |&(_, column): &(u32, &dyn Persistent)| {
                    (0..column.chunks()).try_for_each(|chunk| column.promote(chunk))
                };
                image.columns.iter().try_for_each(chunks)
            })?;
        }
        Ok(())
    };
    let Opened { index, .. } = open_index(tx, &head, (kernels, reading), None, promote)?;
    Ok(index)
}

/// In files. Saved and loaded indexes answer alike, bit by bit.
///
/// A saved index and a [`Collection`](crate::Collection) have one format: either can be opened as the other, but only a collection
/// keeps later changes. A collection takes no custom metric.
impl Hnsw {
    /// Writes the index to a file, which replaces the file at `path` only when it is whole and on the disk: a crash leaves the old file
    /// or the new one. Searches go on meanwhile; insertions wait.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("nearfield-doc-save-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("index.nf");
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(2, Metric::L2).build()?;
    /// index.insert_batch(&[1, 2, 3], &[0.0, 0.0, 5.0, 5.0, 9.0, 9.0]).run()?;
    /// index.save(&path)?;
    ///
    /// let again = Hnsw::open(&path)?; // searched where it lies in the file
    /// assert_eq!(again.search(&[5.0, 4.0]).k(1).run()?[0].key, 2);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`](crate::store::StoreError::Locked) if a collection at `path` is open for writing,
    /// [`StoreError::Io`](crate::store::StoreError::Io).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CollectionError> {
        save(self, path.as_ref())
    }

    /// Reads an index from a file into memory. Every byte is verified against its checksum.
    ///
    /// The index of a collection is that of its newest commit.
    ///
    /// # Errors
    ///
    /// [`CollectionError`] for every kind of damage; [`CollectionError::Kind`] for an index of another kind.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CollectionError> {
        read(path.as_ref(), Reading::Copied, None)
    }

    /// Maps an index from its file: nothing is read before a search touches it, and memory is the operating system's cache. Insertions
    /// stay in this process.
    ///
    /// Chunks are not compared with their checksums, which would read them all: damage can make answers wrong, though
    /// never break memory safety. [`Hnsw::load`] compares them. As for every store, no other program may change the
    /// file in place while it is open; see [`store`](crate::store).
    ///
    /// # Errors
    ///
    /// As [`Hnsw::load`], for the records that are read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CollectionError> {
        read(path.as_ref(), Reading::Mapped, None)
    }

    /// As [`Hnsw::load`], for an index under a custom metric: the file has its name, and the caller gives the metric.
    ///
    /// # Errors
    ///
    /// As [`Hnsw::load`]; [`CollectionError::CustomMetric`] if the file has a metric of another name, [`CollectionError::Mismatch`] if it has
    /// a metric of this crate.
    pub fn load_with(
        path: impl AsRef<Path>,
        metric: impl CustomMetric,
    ) -> Result<Self, CollectionError> {
        let custom = Custom::new(metric);
        read(path.as_ref(), Reading::Copied, Some(&custom)).map(Self::with_undo)
    }

    /// As [`Hnsw::open`], for an index under a custom metric: the file has its name, and the caller gives the metric.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("nearfield-doc-custom-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("index.nf");
    /// use nearfield::custom::Haversine;
    /// use nearfield::{CollectionError, Hnsw};
    ///
    /// let index = Hnsw::builder_with(2, Haversine).build()?;
    /// index.insert(7, &[48.8566, 2.3522])?;
    /// index.save(&path)?;
    ///
    /// let again = Hnsw::open_with(&path, Haversine)?;
    /// assert_eq!(again.search(&[48.0, 2.0]).run()?[0].key, 7);
    /// let refused = Hnsw::open(&path).unwrap_err();
    /// assert!(matches!(refused, CollectionError::CustomMetric { metric, .. } if metric == "haversine"));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Hnsw::load_with`].
    pub fn open_with(
        path: impl AsRef<Path>,
        metric: impl CustomMetric,
    ) -> Result<Self, CollectionError> {
        let custom = Custom::new(metric);
        read(path.as_ref(), Reading::Mapped, Some(&custom)).map(Self::with_undo)
    }
}

/// In files, as [`Hnsw`].
impl Flat {
    /// Writes the index to a file, as [`Hnsw::save`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CollectionError> {
        save(self, path.as_ref())
    }

    /// Reads an index from a file into memory, as [`Hnsw::load`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CollectionError> {
        read(path.as_ref(), Reading::Copied, None)
    }

    /// Maps an index from its file, as [`Hnsw::open`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CollectionError> {
        read(path.as_ref(), Reading::Mapped, None)
    }

    /// Reads an index under a custom metric from a file into memory, as [`Hnsw::load_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn load_with(
        path: impl AsRef<Path>,
        metric: impl CustomMetric,
    ) -> Result<Self, CollectionError> {
        read(path.as_ref(), Reading::Copied, Some(&Custom::new(metric)))
    }

    /// Maps an index under a custom metric from its file, as [`Hnsw::open_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_with(
        path: impl AsRef<Path>,
        metric: impl CustomMetric,
    ) -> Result<Self, CollectionError> {
        read(path.as_ref(), Reading::Mapped, Some(&Custom::new(metric)))
    }
}

/// In files. Saved and loaded indexes answer alike, bit by bit, and go on alike.
///
/// `Ivf` has no `open`, unlike [`Hnsw`]: insertions and removals rewrite lists in place, so lists are read into memory.
impl Ivf {
    /// Writes the index to a file, as [`Hnsw::save`]: it replaces the file at `path` only when it is whole and on the disk. It holds
    /// the index at one moment, trained or not. Searches go on meanwhile; changes wait.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("nearfield-doc-lists-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("index.nf");
    /// use nearfield::{Ivf, Quantization, Metric};
    ///
    /// let index = Ivf::builder(2, Metric::L2).quantization(Quantization::Rabitq { bits: 4 }).lists(4).build()?;
    /// let vectors: Vec<f32> = (0..200).map(|i| (i as f32).sin()).collect();
    /// index.insert_batch(&(0..100).collect::<Vec<_>>(), &vectors).run()?;
    /// index.train()?;
    /// index.save(&path)?;
    ///
    /// let again = Ivf::load(&path)?;
    /// assert!(again.is_trained());
    /// let query = [0.5, 0.5];
    /// assert_eq!(again.search(&query).k(5).run()?, index.search(&query).k(5).run()?);
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CollectionError> {
        check_byte_order()?;
        replace_file(path.as_ref(), None, |store| {
            self.frozen(|image| {
                let mut tx = store.begin_write()?;
                write_lists(&mut tx, image)?;
                Ok(tx.commit()?)
            })
        })
    }

    /// Reads an index from a file into memory. Every byte is verified against its checksum, and every entry against the index's rules,
    /// on all threads of the rayon pool that the caller is in, or of the global one.
    ///
    /// # Errors
    ///
    /// [`CollectionError`] for every kind of damage; [`CollectionError::Kind`] for an index of another kind;
    /// [`IndexError::OutOfMemory`](crate::IndexError::OutOfMemory).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CollectionError> {
        check_byte_order()?;
        let store = Store::open_read_only(path.as_ref())?;
        let tx = store.begin_read()?;
        read_lists(&tx).map_err(|error| error.at(Some(path.as_ref())))
    }
}
