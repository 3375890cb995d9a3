//! Where long operations tell how far they are, and may be ended.

use super::error::StoreError;

/// What a long operation tells of its way, and where it may be ended.
#[derive(Clone, Copy)]
pub(crate) struct Steps<'a> {
    go_on: &'a dyn Fn(u64) -> bool,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(go_on: &'a dyn Fn(u64) -> bool) -> Self {
        Self { go_on }
    }

    /// So many bytes are behind; an error if they were to be the last.
    pub(crate) fn step(self, bytes: u64) -> Result<(), StoreError> {
        if (self.go_on)(bytes) { Ok(()) } else { Err(StoreError::Cancelled) }
    }
}
