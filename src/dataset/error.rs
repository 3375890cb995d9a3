//! Errors of files of vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use crate::error_kind::ErrorKind;
use crate::vector::Element;

/// The reason why a data set could not be read, written or made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DatasetError {
    /// The operating system refused to open, read, map or write the file.
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// The path is a folder, a pipe or a device.
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file holds no vector, or vectors of no components.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter or longer than its header says.
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes that the file has.
        found: u64,
    },
    /// The size in the header exceeds the address space of this machine.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Rows in the header.
        rows: u64,
        /// Components of a row in the header.
        dimension: u64,
    },
    /// A row of a `vecs` file has another dimension than the first.
    RowDimension {
        /// The file.
        path: PathBuf,
        /// Position of the row.
        row: usize,
        /// Dimension of the first row.
        expected: usize,
        /// Dimension of this row.
        found: usize,
    },
    /// The header cannot be read.
    Header {
        /// The file.
        path: PathBuf,
        /// The fault of the header.
        reason: &'static str,
    },
    /// A well-formed file of a kind that is not read here.
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The ending, element type or order found.
        found: String,
        /// The supported values.
        supported: &'static str,
    },
    /// A folder has no file for a part of a data set, or more than one.
    Part {
        /// The folder.
        path: PathBuf,
        /// The part: `base`, `query` or `gt`.
        part: &'static str,
        /// The files found.
        found: usize,
    },
    /// Two files of a folder contradict each other.
    Mismatch {
        /// The file that disagrees with `base`, or with `query` if it holds neighbours.
        path: PathBuf,
        /// The property: a dimension, an element type, a number of queries.
        property: &'static str,
        /// The value of the other file.
        expected: usize,
        /// The value of this file.
        found: usize,
    },
    /// A list of neighbours names a vector that does not exist.
    NeighborId {
        /// The file.
        path: PathBuf,
        /// Position of the query.
        query: usize,
        /// The id.
        id: u32,
        /// Number of vectors in `base`.
        len: usize,
    },
    /// This layout does not support this element type.
    Element {
        /// The file that was to be written.
        path: PathBuf,
        /// The element type.
        element: Element,
    },
    /// The memory does not suffice for the vectors.
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// An argument is out of its range.
    Argument {
        /// The argument's name.
        name: &'static str,
        /// The value given, as text.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
}

impl DatasetError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Part { found: 0, .. } => ErrorKind::NotFound,
            Self::NotAFile { .. }
            | Self::Part { .. }
            | Self::Element { .. }
            | Self::Argument { .. } => ErrorKind::InvalidInput,
            Self::Empty { .. }
            | Self::Length { .. }
            | Self::RowDimension { .. }
            | Self::Header { .. }
            | Self::NeighborId { .. } => ErrorKind::Corrupt,
            Self::Unsupported { .. } | Self::Mismatch { .. } => ErrorKind::Incompatible,
            Self::TooLarge { .. } | Self::OutOfMemory { .. } => ErrorKind::OutOfMemory,
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source: Arc::new(source) }
    }
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::NotAFile { path } => write!(f, "{}: not a regular file", path.display()),
            Self::Empty { path } => write!(f, "{}: holds no vectors", path.display()),
            Self::Length { path, expected, found } => write!(
                f,
                "{}: {found} bytes long where its header asks for {expected}",
                path.display()
            ),
            Self::TooLarge { path, rows, dimension } => write!(
                f,
                "{}: {rows} rows of {dimension} are more than can be addressed",
                path.display()
            ),
            Self::RowDimension { path, row, expected, found } => write!(
                f,
                "{}: row {row} has dimension {found} where the first has {expected}",
                path.display()
            ),
            Self::Header { path, reason } => write!(f, "{}: header: {reason}", path.display()),
            Self::Unsupported { path, found, supported } => {
                write!(f, "{}: {found} is not read; supported: {supported}", path.display())
            }
            Self::Part { path, part, found: 0 } => {
                write!(f, "{}: no file {part}.* of a known format", path.display())
            }
            Self::Part { path, part, found } => {
                write!(f, "{}: {found} files {part}.* where one is expected", path.display())
            }
            Self::Mismatch { path, property, expected, found } => {
                write!(f, "{}: {property} is {found} where {expected} is expected", path.display())
            }
            Self::NeighborId { path, query, id, len } => write!(
                f,
                "{}: query {query} has neighbour {id}, but there are {len} vectors",
                path.display()
            ),
            Self::Element { path, element } => {
                write!(f, "{}: this layout cannot hold {element}", path.display())
            }
            Self::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes of vectors"),
            Self::Argument { name, value, allowed } => {
                write!(f, "{name} is {value}; allowed: {allowed}")
            }
        }
    }
}

impl std::error::Error for DatasetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
