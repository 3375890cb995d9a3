use std::fmt;
use std::io;
use std::path::PathBuf;

use super::turn::Refusal;

/// Why the store could not do what was asked.
///
/// After [`StoreError::Io`] on a write or a sync the store takes no more writes
/// ([`StoreError::Poisoned`]) until it is opened again: what the operating system kept of the failed
/// write is unknown. Reads go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused an operation on the file.
    Io {
        /// What was attempted, such as `"write the log"`.
        operation: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Bytes of the file contradict their checksum, the format or each other.
    Corrupt {
        /// The page, counted from the start of the file in units of the page size.
        page: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Neither meta slot is one of a store: another kind of file, or both are damaged.
    NotAStore {
        /// What is wrong with the slot that came nearest.
        reason: &'static str,
    },
    /// The file was written in a format that this version does not read.
    Version {
        /// The format version of the file.
        found: u32,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// Another process, or another handle of this process, has the file open for writing.
    Locked,
    /// The system or the file system has no locks of byte ranges, or could not take one, so nothing would keep two writers
    /// apart, or the writer from what is read. Move the file to a local disk, or open it
    /// [unguarded](super::StoreOptions::unguarded) if no other process has it open.
    NoLocks {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The process that opened the file has been forked, and this is the child: it shares its parent's locks, and would write
    /// over its commits. Open the file anew in the child.
    Forked,
    /// An earlier write or sync failed; open the store again to go on.
    Poisoned,
    /// The store was opened read-only.
    ReadOnly,
    /// An earlier operation of this transaction failed half way, so it cannot be committed.
    TransactionFailed,
    /// The key is longer than the page size allows.
    KeyTooLong {
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
        /// The type asked for.
        expected: &'static str,
        /// The number of the type that the table was made with.
        found: u8,
    },
    /// There is no table of this name.
    TableMissing {
        /// The name.
        table: String,
    },
    /// There is no extent of this number.
    ExtentMissing {
        /// The number.
        extent: u64,
    },
    /// A range reaches beyond the end of an extent.
    ExtentRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
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
        /// What is allowed.
        allowed: &'static str,
    },
    /// The savepoint belongs to another transaction, or was undone by an earlier one.
    SavepointInvalid,
    /// Whoever watched a long operation ended it: [`Store::check_while`](super::Store::check_while),
    /// [`Store::compact_while`](super::Store::compact_while).
    Cancelled,
    /// A closure that is called during an operation asked for what would have to wait for the end of that operation: a
    /// transaction, a checkpoint, statistics. Ask for it afterwards, or on another thread.
    Deadlock,
    /// The memory or address space for an object of this size cannot be had.
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
    },
}

impl StoreError {
    /// An I/O failure with the name of what was attempted.
    pub(crate) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }

    /// A corrupt page.
    #[cold]
    pub(crate) fn corrupt(page: u64, reason: &'static str) -> Self {
        Self::Corrupt { page, reason }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, source } => write!(f, "could not {operation}: {source}"),
            Self::Corrupt { page, reason } => write!(f, "page {page} is corrupt: {reason}"),
            Self::NotAStore { reason } => write!(f, "the file is not a store: {reason}"),
            Self::Version { found, supported } => {
                write!(f, "the file has format version {found}, this crate reads up to {supported}")
            }
            Self::NoLocks { path, source } => write!(
                f,
                "{} cannot be locked: {source}; move it to a local disk, or open it unguarded if no other process has it open",
                path.display()
            ),
            Self::Forked => f.write_str(
                "the file was opened before this process was forked off; open it anew in the child",
            ),
            Self::Locked => f.write_str("the file is open for writing elsewhere"),
            Self::Poisoned => f.write_str("an earlier write failed; open the store again to write"),
            Self::ReadOnly => f.write_str("the store was opened read-only"),
            Self::TransactionFailed => {
                f.write_str("an operation of this transaction failed, so it cannot be committed")
            }
            Self::KeyTooLong { len, max } => {
                write!(f, "the key has {len} bytes where {max} are allowed")
            }
            Self::KeyOrder { position } => {
                write!(f, "key {position} of the bulk load is not greater than the one before it")
            }
            Self::KeyType { table, expected, found } => {
                write!(f, "table {table} holds keys of type {found}, not {expected}")
            }
            Self::TableMissing { table } => write!(f, "there is no table {table}"),
            Self::ExtentMissing { extent } => write!(f, "there is no extent {extent}"),
            Self::ExtentRange { offset, len, size } => {
                write!(f, "{len} bytes at {offset} reach beyond an extent of {size} bytes")
            }
            Self::Option { name, value, allowed } => {
                write!(f, "{name} is {value}; allowed: {allowed}")
            }
            Self::SavepointInvalid => {
                f.write_str("the savepoint is not one of this transaction or was undone")
            }
            Self::Cancelled => f.write_str("it was cancelled before it was done"),
            Self::Deadlock => f.write_str(
                "a callback asked for what would wait for the end of the operation that called it; ask afterwards",
            ),
            Self::TooLarge { bytes } => write!(f, "{bytes} bytes cannot be had in one piece"),
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Over => Self::Poisoned,
            Refusal::Deadlock => Self::Deadlock,
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::NoLocks { source, .. } => Some(source),
            _ => None,
        }
    }
}
