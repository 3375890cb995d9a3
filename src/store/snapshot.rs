//! A committed state: where its trees begin.

use super::page::NodeRef;

/// Everything that a snapshot is: its number and its roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// Number of the transaction that made it; checkpoints count as transactions.
    pub(crate) transaction: u64,
    /// Tree from table name to [`super::catalog::TableRecord`].
    pub(crate) catalog: NodeRef,
    /// Tree from extent number to [`super::catalog::ExtentRecord`].
    pub(crate) extents: NodeRef,
    /// The number that the next extent gets.
    pub(crate) next_extent: u64,
}
