//! The reasons for which a collection, or the file of an index, refuses an operation.

use std::fmt;
#[cfg(feature = "json")]
use std::io;
use std::path::{Path, PathBuf};
#[cfg(feature = "json")]
use std::sync::Arc;

use crate::arena::{ArenaError, Unsound};
use crate::attributes::AttributeError;
use crate::error::{IndexError, VectorError};
use crate::error_kind::ErrorKind;
use crate::store::{Place, StoreError};

/// The reason for which a collection, or the file of an index, could not be made, opened, changed or read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CollectionError {
    /// The store refused.
    Store(StoreError),
    /// The index refused.
    Index(IndexError),
    /// The file is a store, but its records contradict the format or each other.
    Corrupt {
        /// The file, if known.
        path: Option<PathBuf>,
        /// The fault.
        reason: &'static str,
    },
    /// The file is a store without a collection or an index.
    NotACollection {
        /// The file, if known.
        path: Option<PathBuf>,
    },
    /// The file was written in a format that this version does not read.
    Version {
        /// The file, if known.
        path: Option<PathBuf>,
        /// The format version of the file.
        found: u32,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// The file holds another kind of index than the requested one.
    Kind {
        /// The file, if known.
        path: Option<PathBuf>,
        /// The requested kind.
        expected: &'static str,
        /// The kind in the file.
        found: &'static str,
    },
    /// A parameter differs from the one that the collection was made with, or between collections that are to be
    /// merged.
    Mismatch {
        /// The file; a merge has none.
        path: Option<PathBuf>,
        /// The parameter's name, as in [`CollectionBuilder`](crate::CollectionBuilder).
        name: &'static str,
        /// Its value in the file, or in one of the collections.
        stored: String,
        /// The value given, or of another collection.
        given: String,
    },
    /// The index of the file has a [custom metric](crate::custom::CustomMetric), which was not given.
    CustomMetric {
        /// The file, if known.
        path: Option<PathBuf>,
        /// The name of the metric.
        metric: String,
        /// The name of the metric that was given, if one was.
        given: Option<String>,
    },
    /// No file exists at the path.
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A file exists at the path already.
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A name is longer than the page size of the file allows.
    NameTooLong {
        /// Bytes of the name.
        len: usize,
        /// Bytes allowed: an eighth of the page size.
        max: usize,
    },
    /// No key has the name.
    NameMissing {
        /// The name.
        name: Vec<u8>,
    },
    /// Another key has the name already.
    NameTaken {
        /// The name.
        name: Vec<u8>,
        /// The key that has it.
        key: u64,
    },
    /// A text is no [`ScrollCursor`](crate::collection::ScrollCursor).
    Cursor {
        /// The beginning of the text.
        text: String,
    },
    /// A line of an import is no entry of this collection.
    #[cfg(feature = "json")]
    Line {
        /// The number of the line, from 1 on.
        line: u64,
        /// Lines from the first on whose entries are committed: go on with [`Import::skip`](crate::collection::Import::skip).
        committed: u64,
        /// The fault.
        fault: LineFault,
    },
    /// Lines of an import could not be read, or those of an export not be written.
    #[cfg(feature = "json")]
    Lines {
        /// The number of the line, from 1 on.
        line: u64,
        /// The error of the reader or the writer.
        source: Arc<io::Error>,
    },
    /// Attributes or a predicate are invalid.
    Attribute(AttributeError),
    /// The attributes of a key are not those that the schema declares.
    Schema {
        /// The key.
        key: u64,
        /// The fault.
        fault: AttributeError,
    },
    /// The collection has the maximum number of fields of attributes.
    TooManyFields {
        /// Fields allowed.
        max: u32,
    },
    /// The key has no vector.
    KeyMissing {
        /// The key.
        key: u64,
    },
    /// Collections that are to be merged have different entries under the same key or name: see
    /// [`ConflictRule`](crate::collection::ConflictRule).
    MergeConflict {
        /// The key, in one of them.
        key: u64,
        /// The name, if it is one.
        name: Option<Vec<u8>>,
    },
    /// A transaction would take more memory than [`CollectionBuilder::memory_limit`](crate::CollectionBuilder::memory_limit) allows.
    /// It stays unchanged: commit it and go on in another one.
    Memory {
        /// Bytes that the transaction would need, those that the collection takes already included.
        needed: u64,
        /// Bytes that the limit allows.
        limit: u64,
    },
    /// The operation was [cancelled](crate::CancelToken) before its end.
    Cancelled,
    /// A commit is safe in the file, but the index in memory could not take it; searches go on without it. Open the
    /// collection again to go on writing.
    Behind {
        /// The text of the error that kept the index from taking the commit.
        cause: String,
    },
    /// Files of indexes require a little-endian machine.
    ByteOrder,
}

/// The fault of a line of an import.
#[cfg(feature = "json")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LineFault {
    /// The line is no JSON, or no JSON object.
    Json {
        /// The fault, with its column.
        message: String,
    },
    /// A member of the object is missing, unknown, or has a value of another form.
    Member {
        /// The member.
        name: String,
        /// The expectation.
        expected: &'static str,
    },
    /// The line has more bytes than [`Import::line_limit`](crate::collection::Import::line_limit) allows.
    TooLong {
        /// Bytes allowed.
        max: usize,
    },
    /// The collection refused the vector, the attributes, the name or the payload.
    Refused(Box<CollectionError>),
}

#[cfg(feature = "json")]
impl LineFault {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::TooLong { .. } => ErrorKind::LimitReached,
            Self::Json { .. } | Self::Member { .. } => ErrorKind::InvalidInput,
        }
    }
}

#[cfg(feature = "json")]
impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { message } => f.write_str(message),
            Self::Member { name, expected } => {
                write!(f, "{}: expected {expected}", Quoted(name.as_bytes()))
            }
            Self::TooLong { max } => {
                write!(f, "it has more than {max} bytes; raise `line_limit`, or divide it")
            }
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl CollectionError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Attribute(error) | Self::Schema { fault: error, .. } => error.kind(),
            #[cfg(feature = "json")]
            Self::Line { fault, .. } => fault.kind(),
            #[cfg(feature = "json")]
            Self::Lines { source, .. } => ErrorKind::of_io(source),
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::NotACollection { .. }
            | Self::Version { .. }
            | Self::Kind { .. }
            | Self::Mismatch { .. }
            | Self::CustomMetric { .. } => ErrorKind::Incompatible,
            Self::Exists { .. } | Self::NameTaken { .. } => ErrorKind::AlreadyExists,
            Self::NameTooLong { .. } | Self::Cursor { .. } => ErrorKind::InvalidInput,
            Self::Missing { .. } | Self::KeyMissing { .. } | Self::NameMissing { .. } => {
                ErrorKind::NotFound
            }
            Self::MergeConflict { .. } => ErrorKind::Conflict,
            Self::Memory { .. } | Self::TooManyFields { .. } => ErrorKind::LimitReached,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Behind { .. } => ErrorKind::Poisoned,
            Self::ByteOrder => ErrorKind::Unsupported,
        }
    }

    /// Adds the path of the file to the error, unless it has one.
    #[cold]
    pub(crate) fn at(mut self, file: Option<&Path>) -> Self {
        if let Self::Store(error) = self {
            return Self::Store(error.at(file));
        }
        if let Self::Corrupt { path, .. }
        | Self::NotACollection { path }
        | Self::Version { path, .. }
        | Self::Kind { path, .. }
        | Self::Mismatch { path, .. }
        | Self::CustomMetric { path, .. } = &mut self
            && path.is_none()
        {
            *path = file.map(Path::to_path_buf);
        }
        self
    }

    /// Returns whether the disk, or the user's share of it, has no room.
    pub(crate) fn is_full(&self) -> bool {
        self.kind() == ErrorKind::DiskFull
    }

    /// Returns the error of a record that contradicts the format. [`Self::at`] adds the path.
    pub(crate) fn corrupt(reason: &'static str) -> Self {
        Self::Corrupt { path: None, reason }
    }
}

/// A name in a message, of which a long one has the beginning only.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 60;

        let begin = &self.0[..self.0.len().min(MOST)];
        let more = if self.0.len() > MOST { ".." } else { "" };
        write!(f, "{:?}{more}", String::from_utf8_lossy(begin))
    }
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(e) => e.fmt(f),
            Self::Index(e) => e.fmt(f),
            Self::Attribute(e) => e.fmt(f),
            Self::Schema { key, fault } => write!(f, "key {key}: {fault}"),
            Self::TooManyFields { max } => write!(
                f,
                "the collection has attributes of {max} fields already; use fewer names of fields"
            ),
            Self::Corrupt { path, reason } => {
                write!(f, "{} is damaged: {reason}; restore it from a backup", Place(path))
            }
            Self::NotACollection { path } => write!(
                f,
                "{} is a store, but not of a collection or an index; check the path",
                Place(path)
            ),
            Self::Version { path, found, supported } => write!(
                f,
                "{} is a collection of format {found}, and this version of nearfield reads up to \
                 {supported}: open it with a newer one",
                Place(path)
            ),
            Self::Kind { path, expected, found } => write!(
                f,
                "{} holds {found}, not {expected}; open it as the type that saved it",
                Place(path)
            ),
            Self::Mismatch { path: Some(path), name, stored, given } => write!(
                f,
                "{name} is {stored} in {}, {given} is given; give the value of the file, or none",
                path.display()
            ),
            Self::Mismatch { path: None, name, stored, given } => {
                write!(f, "{name} is {stored} in one collection, and {given} in the other")
            }
            Self::CustomMetric { path, metric, given: None } => write!(
                f,
                "{} has the custom metric {metric:?}; open it with `open_with`, `load_with` or \
                 `from_bytes_with` of Hnsw or Flat, and give them this metric",
                Place(path)
            ),
            Self::CustomMetric { path, metric, given: Some(given) } => write!(
                f,
                "{} has the custom metric {metric:?}, {given:?} is given; give the metric that the file \
                 names",
                Place(path)
            ),
            Self::Missing { path } => write!(
                f,
                "{} does not exist; make it with \
                 `Collection::builder(dimension, metric).create(path)`, or check the path",
                path.display()
            ),
            Self::Exists { path } => write!(
                f,
                "{} exists already; open it with `open`, or choose another path",
                path.display()
            ),
            Self::NameTooLong { len, max } => write!(
                f,
                "the name has {len} bytes; names in this file have at most {max}, an eighth of \
                 its page size"
            ),
            #[cfg(feature = "json")]
            Self::Line { line, committed, fault } => {
                write!(f, "line {line}: {fault}; the first {committed} lines are committed")
            }
            #[cfg(feature = "json")]
            Self::Lines { line, source } => {
                write!(f, "line {line} could not be read or written: {source}")
            }
            Self::Cursor { text } => write!(
                f,
                "{text:?} is no position of a listing; give the text of `Page::next`, or none to \
                 begin anew"
            ),
            Self::NameMissing { name } => {
                write!(f, "no key has the name {}; give it with `name_or_insert`", Quoted(name))
            }
            Self::NameTaken { name, key } => write!(
                f,
                "key {key} has the name {} already; choose another name, or remove this one before",
                Quoted(name)
            ),
            Self::KeyMissing { key } => {
                write!(
                    f,
                    "key {key} has no vector; insert the vector before its payload and attributes"
                )
            }
            Self::MergeConflict { name: Some(name), .. } => {
                let name = Quoted(name);
                write!(
                    f,
                    "several collections have different entries under the name {name}; choose a `ConflictRule`"
                )
            }
            Self::MergeConflict { key, name: None } => {
                write!(
                    f,
                    "several collections have different entries under the key {key}; choose a `ConflictRule`"
                )
            }
            Self::Memory { needed, limit } => {
                write!(
                    f,
                    "the transaction would need about {needed} bytes of memory, and \
                     `memory_limit` is {limit}; commit it and go on in another one"
                )
            }
            Self::Cancelled => f.write_str("the operation was cancelled before its end"),
            Self::Behind { cause } => write!(
                f,
                "the last commit is safe in the file, but the index in memory lacks it ({cause}); \
                 open the collection again to write"
            ),
            Self::ByteOrder => f.write_str("index files require a little-endian machine"),
        }
    }
}

impl std::error::Error for CollectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(e) => Some(e),
            Self::Index(e) => Some(e),
            Self::Attribute(e) | Self::Schema { fault: e, .. } => Some(e),
            #[cfg(feature = "json")]
            Self::Line { fault: LineFault::Refused(e), .. } => Some(e),
            #[cfg(feature = "json")]
            Self::Lines { source, .. } => Some(source),
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

impl From<AttributeError> for CollectionError {
    fn from(e: AttributeError) -> Self {
        Self::Attribute(e)
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
        Self::corrupt(reason)
    }
}
