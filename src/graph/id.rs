//! The numbers of nodes and of rows.

use std::ops::Range;

use bytemuck::cast_slice_mut;

use crate::arena::id;

id! {
    /// A node of the graph, which has a row on the base level and on some levels above.
    ///
    /// Nodes are numbered from 0, in the order of [`Graph::push`](super::Graph::push).
    Node
}

id! {
    /// A row of links on one level. Each level numbers its rows from 0.
    ///
    /// The number of a row on the base level is that of its node; on the levels above, the head of a row names the node.
    Row
}

impl Node {
    /// A number that no node has.
    pub(crate) const NONE: Self = Self::new(u32::MAX);

    /// Returns the row of the node on the base level.
    #[inline(always)]
    pub(in crate::graph) const fn base_row(self) -> Row {
        Row::new(self.number())
    }

    /// Returns nodes as their rows on the base level.
    #[inline(always)]
    pub(in crate::graph) fn base_rows_mut(nodes: &mut [Self]) -> &mut [Row] {
        cast_slice_mut(nodes)
    }
}

impl Row {
    /// A number that no row has.
    pub(in crate::graph) const NONE: Self = Self::new(u32::MAX);

    /// Returns the node of a row on the base level.
    #[inline(always)]
    pub(in crate::graph) const fn base_node(self) -> Node {
        Node::new(self.number())
    }

    /// Returns the rows of a range.
    #[inline(always)]
    pub(in crate::graph) fn each(rows: Range<Self>) -> impl DoubleEndedIterator<Item = Self> {
        (rows.start.number()..rows.end.number()).map(Self::new)
    }
}
