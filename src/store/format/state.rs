//! A committed state: the roots of its trees.

use super::page::NodeRef;

/// The facts that make a snapshot: its number and its roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// Number of the transaction that made the state; checkpoints count as transactions.
    pub(crate) transaction: u64,
    /// Tree from table name to [`super::catalog::TableRecord`].
    pub(crate) catalog: NodeRef,
    /// Tree from extent number to [`super::catalog::ExtentRecord`].
    pub(crate) extents: NodeRef,
    /// The number that the next extent gets.
    pub(crate) next_extent: u64,
    /// The last transaction that made, moved or removed an extent: extents of states with the same number have the same places and
    /// bytes. 0 in files of earlier versions until an extent changes.
    pub(crate) layout: u64,
}

impl State {
    /// Returns this state, made from `before`, as the state of transaction `number`.
    pub(crate) fn committed(self, before: &Self, number: u64) -> Self {
        // A tree that changes gets another root, because the page of the old one is not free yet.
        let is_moved = self.extents.page != before.extents.page;
        let layout = if is_moved { number } else { before.layout };
        Self { transaction: number, layout, ..self }
    }
}
