use std::fmt;

use crate::arena::{ArenaError, Unsound};
use crate::error::{IndexError, VectorError};
use crate::store::StoreError;

/// Why a collection, or the file of an index, could not be made, opened, changed or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectionError {
    /// The store refused.
    Store(StoreError),
    /// The index refused.
    Index(IndexError),
    /// The file is a store, but what it holds contradicts the format or itself.
    Corrupt {
        /// What is wrong.
        reason: &'static str,
    },
    /// The file is a store of something else.
    NotACollection,
    /// The file was written in a format that this version does not read.
    Version {
        /// The format version of the file.
        found: u32,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// The file holds another kind of index than was asked for.
    Kind {
        /// The kind asked for.
        expected: &'static str,
        /// The kind in the file.
        found: &'static str,
    },
    /// A parameter is given that is not the one that the collection was made with.
    Mismatch {
        /// The parameter's name.
        name: &'static str,
        /// Its value in the file.
        stored: String,
        /// The value given.
        given: String,
    },
    /// There is a collection at this path already.
    Exists,
    /// There is no vector under the key.
    KeyMissing {
        /// The key.
        key: u64,
    },
    /// Collections that are to be merged have different entries under the same key or name: see
    /// [`MergeRule`](crate::MergeRule).
    MergeConflict {
        /// The key, in one of them.
        key: u64,
        /// The name, if it is one.
        name: Option<Vec<u8>>,
    },
    /// A transaction would take more memory than [`Config::memory_limit`](crate::Config::memory_limit) allows. It is as it was
    /// before the operation: commit it and go on in another one.
    Memory {
        /// Bytes that it would take, with what the collection takes already.
        needed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// It was [cancelled](crate::Cancel) before it was done.
    Cancelled,
    /// A commit is safe in the file, but the index in memory could not take it; searches go on without it. Open the
    /// collection again to go on writing.
    Behind,
    /// What is written here is read on little-endian machines only, and this is none.
    ByteOrder,
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(e) => e.fmt(f),
            Self::Index(e) => e.fmt(f),
            Self::Corrupt { reason } => write!(f, "the collection is corrupt: {reason}"),
            Self::NotACollection => f.write_str("the file is a store of something else"),
            Self::Version { found, supported } => {
                write!(f, "the collection has format {found}, this crate reads up to {supported}")
            }
            Self::Kind { expected, found } => {
                write!(f, "the file holds {found} where {expected} is expected")
            }
            Self::Mismatch { name, stored, given } => {
                write!(f, "{name} is {stored} in the file, but {given} is given")
            }
            Self::Exists => f.write_str("there is a collection at this path already"),
            Self::KeyMissing { key } => write!(f, "there is no vector under the key {key}"),
            Self::MergeConflict { name: Some(name), .. } => {
                let name = String::from_utf8_lossy(name);
                write!(f, "several collections have different entries under the name {name:?}")
            }
            Self::MergeConflict { key, name: None } => {
                write!(f, "several collections have different entries under the key {key}")
            }
            Self::Memory { needed, limit } => {
                write!(f, "about {needed} bytes of memory are needed where {limit} are allowed")
            }
            Self::Cancelled => f.write_str("it was cancelled before it was done"),
            Self::Behind => f.write_str(
                "a commit is in the file that the index in memory could not take; open it again",
            ),
            Self::ByteOrder => f.write_str("indexes are kept in files on little-endian machines"),
        }
    }
}

impl std::error::Error for CollectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(e) => Some(e),
            Self::Index(e) => Some(e),
            _ => None,
        }
    }
}

impl From<StoreError> for CollectionError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Cancelled => Self::Cancelled,
            e => Self::Store(e),
        }
    }
}

impl From<IndexError> for CollectionError {
    fn from(e: IndexError) -> Self {
        Self::Index(e)
    }
}

impl From<VectorError> for CollectionError {
    fn from(e: VectorError) -> Self {
        Self::Index(e.into())
    }
}

impl From<ArenaError> for CollectionError {
    fn from(e: ArenaError) -> Self {
        Self::Index(e.into())
    }
}

impl From<Unsound> for CollectionError {
    fn from(Unsound(reason): Unsound) -> Self {
        Self::Corrupt { reason }
    }
}
