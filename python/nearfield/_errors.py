"""The exceptions of nearfield: one class for each kind of error, all of them subclasses of `Error`."""

from __future__ import annotations


class Error(Exception):
    """Any error of nearfield. The text names the value, the file and the remedy."""


class NotFoundError(Error, LookupError):
    """A file, key or name does not exist."""


class AlreadyExistsError(Error):
    """A file or key exists already."""


class PermissionDeniedError(Error, PermissionError):
    """The operating system denies the right to the file or its folder."""


class LockedError(Error):
    """Another process, or another object of this one, has the file open for writing."""


class ReadOnlyError(Error):
    """The file was opened for reading only."""


class CorruptError(Error):
    """Bytes of a file contradict their checksum, the format or each other: restore the file from a backup."""


class IncompatibleError(Error):
    """The file is of another kind, of a newer format, or was made with other settings."""


class InvalidInputError(Error, ValueError):
    """A vector or an argument is out of its range."""


class InvalidTypeError(InvalidInputError, TypeError):
    """An argument is of a type, or an array of a dtype, that the call does not take."""


class NotReadyError(Error):
    """The index has too few vectors for a training, or recall was not measured."""


class ConflictError(Error):
    """Inputs of a merge have different entries under the same key or name."""


class LimitReachedError(Error):
    """The index is full, or a limit that the caller set is reached."""


class OutOfMemoryError(Error, MemoryError):
    """The operating system gives no memory or address space."""


class DiskFullError(Error, OSError):
    """The disk, or the user's share of it, is full."""


class CancelledError(Error):
    """The operation was cancelled."""


class DeadlockError(Error):
    """The thread would wait for itself: end its transaction or callback first."""


class ForkedError(Error):
    """The process that opened the file was forked, and this is the child: open the file anew."""


class PoisonedError(Error):
    """An earlier failure forbids further changes: begin another transaction, or open the file again, as the text says."""


class UnsupportedError(Error):
    """The machine, the file system or the format lacks the ability."""


class StorageError(Error, OSError):
    """The operating system refused an operation on a file, or a thread, for another reason."""


class ClosedError(Error, ValueError):
    """The object was closed."""


class TransactionError(Error):
    """The transaction has not begun, has ended, or is used by another thread."""


class InternalError(Error):
    """A fault of nearfield itself."""
