//! The reasons for which a store refuses an operation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::turn::Refusal;
use crate::error_kind::ErrorKind;
use crate::process::Forked;

/// The reason for which the store refused an operation.
///
/// Paths are those that the store was opened with; a store in memory has none.
///
/// After a failed sync, or a failed write of the log or of a meta slot, the store takes no more
/// writes ([`StoreError::Poisoned`]) until it is opened again: the state of the disk is unknown.
/// Reads go on. A full disk poisons nothing in general: see the [module](super).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused an operation on the file.
    Io {
        /// The operation, such as `"write the log"`.
        operation: &'static str,
        /// The file; a store in memory has none.
        path: Option<PathBuf>,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// Bytes of the file contradict their checksum, the format or each other.
    Corrupt {
        /// The file; a store in memory has none.
        path: Option<PathBuf>,
        /// The page, counted from the start of the file in units of the page size.
        page: u64,
        /// The fault.
        reason: &'static str,
    },
    /// Neither meta slot is one of a store: another kind of file, or both are damaged.
    NotAStore {
        /// The file; a store in memory has none.
        path: Option<PathBuf>,
        /// The fault of the slot that came nearest to a whole one.
        reason: &'static str,
    },
    /// The file was written in a format that this version does not read.
    Version {
        /// The file; a store in memory has none.
        path: Option<PathBuf>,
        /// The format version of the file.
        found: u32,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// Another process, or another handle of this process, has the file open for writing.
    Locked {
        /// The file, if known.
        path: Option<PathBuf>,
    },
    /// The system or the file system has no locks of byte ranges, or could not take one, so nothing would keep two writers
    /// apart, or the writer from the pages of a reader. Move the file to a local disk, or open it
    /// [unguarded](super::StoreOptions::unguarded) if no other process has it open.
    NoLocks {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The process that opened the file has been forked, and this is the child: it shares its parent's locks, and would write
    /// over its commits. Open the file anew in the child.
    Forked {
        /// The file, if known.
        path: Option<PathBuf>,
    },
    /// An earlier write or sync failed; open the store again to write. Reads, [`Store::check`](super::Store::check) and
    /// [`Store::stats`](super::Store::stats) go on.
    Poisoned {
        /// The text of the first error: operation, path, and the operating system's answer.
        cause: String,
    },
    /// The store was opened read-only.
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// An earlier operation of this transaction failed half way, so it cannot be committed.
    TransactionFailed,
    /// The key is longer than the page size allows.
    KeyTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed: an eighth of the page size.
        max: usize,
    },
    /// The name of a table is longer than the page size allows.
    NameTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed: an eighth of the page size.
        max: usize,
    },
    /// The keys given to a bulk load do not ascend strictly.
    KeyOrder {
        /// Position of the first key that is not greater than its predecessor.
        position: u64,
    },
    /// The table holds keys of another type.
    KeyType {
        /// The table.
        table: String,
        /// The requested type.
        expected: &'static str,
        /// The number of the type that the table was made with.
        found: u8,
    },
    /// The store has no table of this name.
    TableMissing {
        /// The name.
        table: String,
    },
    /// The store has no extent of this number.
    ExtentMissing {
        /// The number.
        extent: u64,
    },
    /// A range reaches beyond the end of an extent.
    ExtentRange {
        /// First byte requested.
        offset: u64,
        /// Bytes requested.
        len: u64,
        /// Bytes that the extent has.
        size: u64,
    },
    /// An option is out of its range.
    Option {
        /// The option's name.
        name: &'static str,
        /// The value given.
        value: u64,
        /// The allowed values.
        allowed: &'static str,
    },
    /// The savepoint belongs to another transaction, or was undone by an earlier one.
    SavepointInvalid,
    /// The caller ended a long operation: [`Store::check_while`](super::Store::check_while),
    /// [`Store::compact_while`](super::Store::compact_while).
    Cancelled,
    /// The thread would wait for itself: it has an open transaction, or runs a callback of an operation, and asked
    /// for a transaction, a checkpoint or another operation that waits for its end. End the transaction first, or
    /// ask on another thread.
    Deadlock,
    /// The memory or address space for an object of this size cannot be had.
    TooLarge {
        /// Bytes requested.
        bytes: u64,
    },
}

impl StoreError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::NotAStore { .. } | Self::Version { .. } | Self::KeyType { .. } => {
                ErrorKind::Incompatible
            }
            Self::Locked { .. } => ErrorKind::Locked,
            Self::NoLocks { .. } => ErrorKind::Unsupported,
            Self::Forked { .. } => ErrorKind::Forked,
            Self::Poisoned { .. } | Self::TransactionFailed => ErrorKind::Poisoned,
            Self::ReadOnly { .. } => ErrorKind::ReadOnly,
            Self::KeyTooLong { .. }
            | Self::NameTooLong { .. }
            | Self::KeyOrder { .. }
            | Self::ExtentRange { .. }
            | Self::Option { .. }
            | Self::SavepointInvalid => ErrorKind::InvalidInput,
            Self::TableMissing { .. } | Self::ExtentMissing { .. } => ErrorKind::NotFound,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Deadlock => ErrorKind::Deadlock,
            Self::TooLarge { .. } => ErrorKind::OutOfMemory,
        }
    }

    /// Returns an I/O failure with the name of the operation. [`Self::at`] adds the path.
    pub(crate) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: None, source: Arc::new(source) }
    }

    /// Returns the error of a corrupt page.
    #[cold]
    pub(crate) fn corrupt(page: u64, reason: &'static str) -> Self {
        Self::Corrupt { path: None, page, reason }
    }

    /// Returns whether the disk, or the user's share of it, has no room.
    pub(crate) fn is_full(&self) -> bool {
        self.kind() == ErrorKind::DiskFull
    }

    /// Adds the path of the file to the error, unless it has one.
    #[cold]
    pub(crate) fn at(mut self, file: Option<&Path>) -> Self {
        if let Self::Io { path, .. }
        | Self::Corrupt { path, .. }
        | Self::NotAStore { path, .. }
        | Self::Version { path, .. }
        | Self::Locked { path }
        | Self::Forked { path } = &mut self
            && path.is_none()
        {
            *path = file.map(Path::to_path_buf);
        }
        self
    }
}

/// A path in a text, or "the file" without a path.
pub(crate) struct Place<'a>(pub(crate) &'a Option<PathBuf>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, "{}", path.display()),
            None => f.write_str("the file"),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path: Some(path), source } => {
                write!(f, "could not {operation} ({}): {source}", path.display())
            }
            Self::NoLocks { path, source } => write!(
                f,
                "{} cannot be locked: {source}; move it to a local disk, or open it unguarded \
                 if no other process has it open",
                path.display()
            ),
            Self::Forked { path } => write!(
                f,
                "{} was opened before this process was forked off; open it anew in the child",
                Place(path)
            ),
            Self::Io { operation, path: None, source } => {
                write!(f, "could not {operation}: {source}")
            }
            Self::Corrupt { path, page, reason } => write!(
                f,
                "{} is damaged at page {page}: {reason}; restore it from a backup",
                Place(path)
            ),
            Self::NotAStore { path, reason } => write!(
                f,
                "{} is not a file of nearfield, or its head is damaged: {reason}; \
                 check the path, or restore the file from a backup",
                Place(path)
            ),
            Self::Version { path, found, supported } => write!(
                f,
                "{} has format version {found}, and this version of nearfield reads up to \
                 {supported}: open it with a newer one",
                Place(path)
            ),
            Self::Locked { path } => write!(
                f,
                "{} is open for writing in another process or by another handle; \
                 open it read-only, or close the other one",
                Place(path)
            ),
            Self::Poisoned { cause } => write!(
                f,
                "no more writes after an earlier failure ({cause}); open the file again to write"
            ),
            Self::ReadOnly { path } => {
                write!(f, "{} was opened for reading only; open it for writing", path.display())
            }
            Self::TransactionFailed => f.write_str(
                "an earlier operation of this transaction failed, so it cannot go on; \
                 drop it and begin another one",
            ),
            Self::KeyTooLong { len, max } => {
                write!(f, "the key has {len} bytes; keys have at most {max}, an eighth of a page")
            }
            Self::NameTooLong { len, max } => {
                write!(f, "the name of a table has {len} bytes; names have at most {max}")
            }
            Self::KeyOrder { position } => write!(
                f,
                "key {position} of the bulk load is not greater than the key before it; \
                 sort them, or call `bulk_load_unsorted`"
            ),
            Self::KeyType { table, expected, found } => {
                write!(f, "table {table:?} holds keys of type {found}, not {expected}")
            }
            Self::TableMissing { table } => write!(f, "the store has no table {table:?}"),
            Self::ExtentMissing { extent } => write!(f, "the store has no extent {extent}"),
            Self::ExtentRange { offset, len, size } => {
                write!(f, "{len} bytes at {offset} reach beyond an extent of {size} bytes")
            }
            Self::Option { name, value, allowed } => {
                write!(f, "{name} is {value}; allowed: {allowed}")
            }
            Self::SavepointInvalid => f.write_str(
                "the savepoint belongs to another transaction, or an earlier one was rolled back to",
            ),
            Self::Cancelled => f.write_str("the operation was cancelled before its end"),
            Self::Deadlock => f.write_str(
                "this thread would wait for itself: it has an open transaction, or is inside a \
                 callback of a running operation; end that first, or ask on another thread",
            ),
            Self::TooLarge { bytes } => {
                write!(f, "the system has no memory or address space for {bytes} bytes in one piece")
            }
        }
    }
}

impl From<Forked> for StoreError {
    fn from(_: Forked) -> Self {
        Self::Forked { path: None }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Over { cause } => Self::Poisoned { cause },
            Refusal::Deadlock => Self::Deadlock,
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::NoLocks { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
