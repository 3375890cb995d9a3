//! A batch whose result does not depend on the number of threads.

use crate::error::IndexError;
use crate::index::query::budget::CancelToken;
use crate::index::scratch::Work;

/// Vectors that are inserted in order.
pub(in crate::index) struct Ordered<'a> {
    pub(in crate::index) count: usize,
    /// The key of the vector at a position.
    pub(in crate::index) key: &'a (dyn Fn(usize) -> u64 + Sync),
    /// Writes the vector of a position to `work.row`.
    pub(in crate::index) encode: &'a (dyn Fn(usize, &mut Work) -> Result<(), IndexError> + Sync),
    /// Threads to use.
    pub(in crate::index) threads: usize,
    /// Called after each insertion.
    pub(in crate::index) inserted: &'a (dyn Fn() + Sync),
    pub(in crate::index) cancel: Option<&'a CancelToken>,
}

/// Refuses to go on once the caller has cancelled.
pub(in crate::index) fn go_on(cancel: Option<&CancelToken>) -> Result<(), IndexError> {
    let is_cancelled = cancel.is_some_and(CancelToken::is_cancelled);
    if is_cancelled { Err(IndexError::Cancelled) } else { Ok(()) }
}
