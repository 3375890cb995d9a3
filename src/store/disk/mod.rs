//! The storages of a store: a file, memory, or a simulated disk.
//!
//! The store speaks to all three through [`Storage`]. Writes go through [`Storage::write_at`], reads of
//! pages through regions from [`Storage::map`], which show every later write to the same place. `map.rs` maps a file in segments that
//! double and never move.
//!
//! The writer and the readers of a file find each other by byte-range locks of the open file description on the data file itself:
//! names, links, users, mounts, namespaces and process numbers have no influence, and locks end with their holder (`locks.rs`,
//! `range_lock/`). A new file is first
//! made under another name and placed in one step (`new_file.rs`).

mod file;
mod locks;
mod map;
mod memory;
mod new_file;
mod range_lock;
#[cfg(feature = "simulation")]
mod simulated;
mod sync_point;

use std::fs::File;
use std::io;
use std::path::Path;

use crate::mmap::MmapMut;

pub(crate) use file::FileStorage;
pub(crate) use locks::{ReaderLock, ReaderLocks, Readers, WriterLock};
pub(crate) use map::{Line, Region, Segments};
pub(crate) use memory::MemoryStorage;
pub(crate) use new_file::{
    ATTEMPTS, Guarding, MAGIC, NewFile, Placed, Replacement, follow_links, is_file_at, open_file,
};
#[cfg(feature = "simulation")]
pub use simulated::{Cut, DiskOperation, InjectedFault, SimulatedDisk};
#[cfg(feature = "simulation")]
pub use sync_point::SyncPoint;
#[cfg(not(feature = "simulation"))]
pub(crate) use sync_point::SyncPoint;

/// A growing array of bytes that outlives the process, if its kind allows it.
pub(crate) trait Storage: Send + Sync {
    /// Returns the number of bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `out` from `offset`. Returns an error if the storage ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing if need be.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or zero-extends to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all earlier writes and length changes are safe from a power cut.
    fn sync(&self, point: SyncPoint) -> io::Result<()>;

    /// Maps `len` bytes from `offset` read-only. The range may reach beyond the end; the part beyond
    /// it must not be touched until [`Storage::set_len`] has covered it.
    fn map(&self, offset: u64, len: usize) -> io::Result<Region>;

    /// Maps `len` bytes from `offset`, which no program changes during the lifetime of the map, for reading and for changes that stay
    /// in the map. Returns `None` for a storage without a file.
    fn map_private(&self, _offset: u64, _len: usize) -> io::Result<Option<MmapMut>> {
        Ok(None)
    }

    /// Returns the file of the storage, if it has one.
    fn file(&self) -> Option<&File> {
        None
    }

    /// Returns the path of the file, for errors. Returns `None` in memory.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Returns the length of the first mapped segment; the following ones double the whole.
    fn first_segment(&self) -> u64;
}
