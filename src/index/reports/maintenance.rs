//! The report of maintenance.

use std::fmt;

/// Report of [`Hnsw::maintain`](crate::Hnsw::maintain).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// Slots of removed vectors that became free for others.
    pub freed: usize,
    /// Vectors that were moved, so that free slots are next to each other.
    pub moved: usize,
    /// Bytes of memory that were returned to the system.
    pub returned_bytes: usize,
    /// Whether all work is done; `false` if the budget was used up before.
    pub is_complete: bool,
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { freed, moved, returned_bytes, is_complete } = self;
        let rest = if *is_complete { "" } else { "; more to do" };
        write!(
            f,
            "{freed} places freed, {moved} vectors moved, {returned_bytes} bytes returned{rest}"
        )
    }
}
