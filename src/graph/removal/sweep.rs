//! Sweeping away the remaining links to nodes that are gone.

use std::sync::OnceLock;

use crate::graph::id::Row;
use crate::graph::rows::{Cell, Graph, Layer, Link, sort_links};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::sync::{Fault, is_planted};

/// Maximum number of neighbours of lost nodes that are considered in their place.
const OTHERS: usize = 64;

/// The progress of a sweep.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sweep {
    level: usize,
    row: Row,
}

impl Graph {
    /// Scans the next `count` rows and removes the links to nodes that are gone. Returns the position to continue
    /// at, or `None` at the end: then no row has a link to a node that was gone when the sweep began.
    pub(crate) fn sweep<S: LinkSpace>(
        &self,
        space: S,
        from: Sweep,
        count: u32,
        scratch: &mut Scratch,
    ) -> Option<Sweep> {
        let Sweep { mut level, mut row } = from;
        let mut left = count;
        loop {
            let end = if level == 0 {
                self.sweep_on(space, &self.base, row, left, scratch)
            } else {
                let layer = self.upper.get(level - 1).and_then(OnceLock::get)?;
                self.sweep_on(space, layer, row, left, scratch)
            };
            if let Some(end) = end {
                return Some(Sweep { level, row: end });
            }
            let rows = if level == 0 { self.base.len() } else { self.layer(level).len() };
            left = left.saturating_sub((rows as u32).saturating_sub(row.number()));
            (level, row) = (level + 1, Row::new(0));
        }
    }

    /// [`Self::sweep`] on one level. Returns `None` if its last row was reached.
    fn sweep_on<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        layer: &Layer<C>,
        from: Row,
        count: u32,
        scratch: &mut Scratch,
    ) -> Option<Row> {
        let rows = layer.rows();
        let space = space.refresh();
        let end = rows.end().min(Row::new(from.number().saturating_add(count)));
        let sound = |l: &Link| l.row < rows.end() && l.node < space.end();
        let lost = |l: &Link| !sound(l) || !space.is_live(l.node);
        for row in Row::each(from..end) {
            if is_planted(Fault::Unswept) || !rows.links(row).any(|l| lost(&l)) {
                continue;
            }
            let mut others = Vec::new();
            // A walk in the rows of a node that is gone is about to leave: it needs no other links.
            if space.is_live(rows.head(row).0) {
                let gone = rows.links(row).filter(|l| sound(l) && lost(l));
                let beyond = gone.flat_map(|l| rows.links(l.row)).filter(|l| !lost(l));
                others.extend(beyond.take(OTHERS).map(|l| Link { tree: false, ..l }));
                sort_links(&mut others);
                others.dedup_by_key(|l| l.row);
            }
            self.mend(space, layer, row, (lost, &others), scratch);
        }
        (end < rows.end()).then_some(end)
    }
}
