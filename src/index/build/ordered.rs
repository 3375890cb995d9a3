//! A batch whose result does not depend on the number of threads.

use crate::error::IndexError;
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
}
