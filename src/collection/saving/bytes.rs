//! Indexes as bytes in memory: those of the file that `save` writes.

use std::io::{Read, Write};
use std::sync::Arc;

use super::lists::{read_lists, write_lists};
use super::save::{read_index, write_index};
use crate::arena::Keeper;
use crate::collection::columns::{Reading, keep};
use crate::collection::error::CollectionError;
use crate::collection::format::check_byte_order;
use crate::distance::{Custom, CustomMetric};
use crate::index::{Flat, Hnsw, Ivf, Stored};
use crate::store::{Store, StoreError, StoreOptions, WriteTransaction};

/// Bytes of a store beside those of an index.
const STORE: u64 = 1 << 20;

/// Returns the bytes of a store, about as long as the columns' `len` bytes, that `fill` fills.
fn in_memory(
    len: u64,
    fill: impl FnOnce(&mut WriteTransaction) -> Result<(), CollectionError>,
) -> Result<Vec<u8>, CollectionError> {
    // The log is small, because everything is written once, in one transaction. Extents begin at multiples of up to 2 MiB.
    let options = StoreOptions::new().log_size(64 << 10).without_reserve();
    let store = options.open_in_memory_of(STORE + len + len / 2)?;
    let mut tx = store.begin_write()?;
    fill(&mut tx)?;
    tx.commit()?;
    Ok(store.into_bytes()?)
}

fn to_bytes<I: Stored>(index: &I) -> Result<Vec<u8>, CollectionError> {
    check_byte_order()?;
    index.frozen(|image| {
        let columns = image.columns.iter();
        let lengths = columns.map(|(_, c)| u64::from(c.rows()) * c.row_bytes() as u64);
        in_memory(lengths.sum(), |tx| write_index(tx, &image))
    })
}

fn opened(bytes: &[u8]) -> Result<Store, CollectionError> {
    check_byte_order()?;
    if bytes.is_empty() {
        return Err(CollectionError::NotACollection { path: None });
    }
    Ok(StoreOptions::new().without_reserve().open_copy(bytes)?)
}

fn from_bytes<I: Stored>(bytes: &[u8], custom: Option<&Custom>) -> Result<I, CollectionError> {
    let tx = Arc::new(opened(bytes)?.begin_read()?);
    let index: I = read_index(&tx, Reading::Copied, custom)?;
    // The chunks are copies, so the store may go.
    index.frozen(|image| keep(&image, &(Arc::new(()) as Keeper)));
    Ok(index)
}

fn write(mut to: impl Write, bytes: &[u8]) -> Result<(), CollectionError> {
    let written = to.write_all(bytes).and_then(|()| to.flush());
    Ok(written.map_err(StoreError::io("write the index"))?)
}

fn read(mut from: impl Read) -> Result<Vec<u8>, CollectionError> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(StoreError::io("read the index"))?;
    Ok(bytes)
}

/// As bytes, on every system, those without files too. They are the bytes of a file that [`Hnsw::save`] writes: either is read as the
/// other.
impl Hnsw {
    /// Returns the index as bytes. Searches go on meanwhile; insertions wait. For a moment, memory holds the index three times.
    ///
    /// ```
    /// use nearfield::{Hnsw, Metric};
    ///
    /// let index = Hnsw::builder(2, Metric::L2).build()?;
    /// index.insert(7, &[0.5, 0.5])?;
    /// let again = Hnsw::from_bytes(&index.to_bytes()?)?;
    /// assert_eq!(again.search(&[0.0, 0.0]).run()?, index.search(&[0.0, 0.0]).run()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] if the memory cannot be had.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CollectionError> {
        to_bytes(self)
    }

    /// Reads an index from the bytes of [`Hnsw::to_bytes`], or of a file of [`Hnsw::save`] or of a collection. Every byte is verified
    /// against its checksum; the bytes are copied.
    ///
    /// # Errors
    ///
    /// [`CollectionError`] for every kind of damage; [`CollectionError::Kind`] for an index of another kind;
    /// [`CollectionError::CustomMetric`] for an index under a custom metric.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CollectionError> {
        from_bytes(bytes, None)
    }

    /// As [`Self::from_bytes`], for an index under a custom metric: the bytes have its name, and the caller gives the metric.
    ///
    /// # Errors
    ///
    /// As there; [`CollectionError::CustomMetric`] if the bytes have a metric of another name, [`CollectionError::Mismatch`] if they
    /// have a metric of this crate.
    pub fn from_bytes_with(
        bytes: &[u8],
        metric: impl CustomMetric,
    ) -> Result<Self, CollectionError> {
        from_bytes(bytes, Some(&Custom::new(metric))).map(Self::with_undo)
    }

    /// Writes [`Hnsw::to_bytes`] to `to`, and flushes it.
    ///
    /// # Errors
    ///
    /// As there; [`StoreError::Io`].
    pub fn write_to(&self, to: impl Write) -> Result<(), CollectionError> {
        write(to, &self.to_bytes()?)
    }

    /// Reads `from` to its end, and the index from these bytes as [`Hnsw::from_bytes`].
    ///
    /// # Errors
    ///
    /// As there; [`StoreError::Io`].
    pub fn read_from(from: impl Read) -> Result<Self, CollectionError> {
        Self::from_bytes(&read(from)?)
    }
}

/// As bytes, as [`Hnsw`].
impl Flat {
    /// Returns the index as bytes, as [`Hnsw::to_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CollectionError> {
        to_bytes(self)
    }

    /// Reads an index from bytes, as [`Hnsw::from_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CollectionError> {
        from_bytes(bytes, None)
    }

    /// As [`Self::from_bytes`], for an index under a custom metric: the bytes have its name, and the caller gives the metric.
    ///
    /// # Errors
    ///
    /// As there; [`CollectionError::CustomMetric`] if the bytes have a metric of another name, [`CollectionError::Mismatch`] if they
    /// have a metric of this crate.
    pub fn from_bytes_with(
        bytes: &[u8],
        metric: impl CustomMetric,
    ) -> Result<Self, CollectionError> {
        from_bytes(bytes, Some(&Custom::new(metric)))
    }

    /// Writes the index, as [`Hnsw::write_to`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_to(&self, to: impl Write) -> Result<(), CollectionError> {
        write(to, &self.to_bytes()?)
    }

    /// Reads an index, as [`Hnsw::read_from`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_from(from: impl Read) -> Result<Self, CollectionError> {
        Self::from_bytes(&read(from)?)
    }
}

/// As bytes, as [`Hnsw`]; they are those of a file of [`Ivf::save`].
impl Ivf {
    /// Returns the index as bytes, as [`Hnsw::to_bytes`], trained or not. Searches go on meanwhile; changes wait.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CollectionError> {
        check_byte_order()?;
        self.frozen(|image| in_memory(image.bytes(), |tx| write_lists(tx, image)))
    }

    /// Reads an index from bytes, as [`Hnsw::from_bytes`], and verifies every entry against the index's rules.
    ///
    /// # Errors
    ///
    /// As there; [`IndexError::OutOfMemory`](crate::IndexError::OutOfMemory).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CollectionError> {
        read_lists(&opened(bytes)?.begin_read()?)
    }

    /// Writes the index, as [`Hnsw::write_to`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_to(&self, to: impl Write) -> Result<(), CollectionError> {
        write(to, &self.to_bytes()?)
    }

    /// Reads an index, as [`Hnsw::read_from`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_from(from: impl Read) -> Result<Self, CollectionError> {
        Self::from_bytes(&read(from)?)
    }
}
