//! Progress of long operations, which callers may watch and end.

use super::error::StoreError;

/// Reports the progress of an operation to its caller.
#[derive(Clone, Copy)]
pub(crate) struct Progress<'a> {
    go_on: &'a dyn Fn(u64) -> bool,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(go_on: &'a dyn Fn(u64) -> bool) -> Self {
        Self { go_on }
    }

    /// Reports that `bytes` more are done. Returns an error if the caller ends the operation.
    pub(crate) fn step(self, bytes: u64) -> Result<(), StoreError> {
        if (self.go_on)(bytes) { Ok(()) } else { Err(StoreError::Cancelled) }
    }
}
