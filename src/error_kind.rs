//! The kinds of errors, by the action that helps.

use std::io;

/// The kind of an [`Error`](crate::Error), for programs that act on it. The error's text names the values, the file and the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file, key, table or extent does not exist.
    NotFound,
    /// A file or key exists already.
    AlreadyExists,
    /// The operating system denies the right to the file or its folder.
    PermissionDenied,
    /// Another process, or another handle of this one, has the file open for writing.
    Locked,
    /// The file was opened for reading only.
    ReadOnly,
    /// Bytes of a file contradict their checksum, the format or each other: restore the file from a backup.
    Corrupt,
    /// The file is of another kind, of a newer format, or was made with other settings.
    Incompatible,
    /// A vector or an argument is out of its range.
    InvalidInput,
    /// The index has too few vectors for a training, or recall was not measured.
    NotReady,
    /// Inputs of a merge have different entries under the same key or name.
    Conflict,
    /// The index is full, or a limit that the caller set is reached.
    LimitReached,
    /// The operating system gives no memory or address space.
    OutOfMemory,
    /// The disk, or the user's share of it, is full.
    DiskFull,
    /// The caller cancelled the operation.
    Cancelled,
    /// The thread would wait for itself: end its transaction or callback first.
    Deadlock,
    /// The process that opened the file was forked, and this is the child: open the file anew.
    Forked,
    /// An earlier failure forbids further changes: begin another transaction, or open the file again, as the text says.
    Poisoned,
    /// The machine, the file system or the format lacks the ability.
    Unsupported,
    /// The operating system refused an operation on a file, or a thread, for another reason.
    Io,
}

impl ErrorKind {
    /// Returns the kind of an error of the operating system.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::PermissionDenied
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull,
            io::ErrorKind::OutOfMemory => Self::OutOfMemory,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Self::InvalidInput,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}
