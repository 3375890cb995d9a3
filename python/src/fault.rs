//! Errors: each becomes an exception of `nearfield._errors`, by its kind.

use nearfield::attributes::{AttributeError, ParseError};
use nearfield::{CollectionError, Error, ErrorKind, IndexError};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A reason for which a call fails, made with or without the interpreter.
pub(crate) enum Fault {
    /// The library refused.
    Library(Error),
    /// This package refused: the name of the exception's class, and its text.
    Own(&'static str, String),
    /// Python code that the call runs failed.
    Python(PyErr),
}

pub(crate) type Outcome<T> = Result<T, Fault>;

macro_rules! from {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Library(error.into())
            }
        }
    )*};
}

from!(Error, IndexError, CollectionError, AttributeError);

impl From<ParseError> for Fault {
    fn from(error: ParseError) -> Self {
        AttributeError::from(error).into()
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        let (class, text) = match fault {
            Fault::Python(error) => return error,
            Fault::Own(class, text) => (class, text),
            Fault::Library(error) => (class_of(error.kind()), error.to_string()),
        };
        Python::attach(|py| {
            let class = || -> PyResult<Bound<'_, PyType>> {
                Ok(py.import("nearfield._errors")?.getattr(class)?.cast_into::<PyType>()?)
            };
            class().map_or_else(|error| error, |class| PyErr::from_type(class, (text,)))
        })
    }
}

/// Returns the name of the exception for a kind of error.
fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "NotFoundError",
        ErrorKind::AlreadyExists => "AlreadyExistsError",
        ErrorKind::PermissionDenied => "PermissionDeniedError",
        ErrorKind::Locked => "LockedError",
        ErrorKind::ReadOnly => "ReadOnlyError",
        ErrorKind::Corrupt => "CorruptError",
        ErrorKind::Incompatible => "IncompatibleError",
        ErrorKind::InvalidInput => "InvalidInputError",
        ErrorKind::NotReady => "NotReadyError",
        ErrorKind::Conflict => "ConflictError",
        ErrorKind::LimitReached => "LimitReachedError",
        ErrorKind::OutOfMemory => "OutOfMemoryError",
        ErrorKind::DiskFull => "DiskFullError",
        ErrorKind::Cancelled => "CancelledError",
        ErrorKind::Deadlock => "DeadlockError",
        ErrorKind::Forked => "ForkedError",
        ErrorKind::Poisoned => "PoisonedError",
        ErrorKind::Unsupported => "UnsupportedError",
        ErrorKind::Io => "StorageError",
        // A kind of a later version of the crate.
        _ => "Error",
    }
}

/// Returns the fault of a value out of its range.
#[cold]
pub(crate) fn invalid(text: impl Into<String>) -> Fault {
    Fault::Own("InvalidInputError", text.into())
}

/// Returns the fault of a value of another type.
#[cold]
pub(crate) fn mistyped(text: impl Into<String>) -> Fault {
    Fault::Own("InvalidTypeError", text.into())
}

/// Returns the fault of an object that was closed.
#[cold]
pub(crate) fn closed(name: &str) -> Fault {
    Fault::Own("ClosedError", format!("the {name} is closed; open it anew"))
}

/// Returns the name of an object's type, for errors.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
