//! Proof that the graph is whole.

use std::collections::{HashSet, VecDeque};
use std::sync::OnceLock;

use super::layer::{Cell, Layer, Link, Rows};
use super::levels::Graph;
use crate::graph::id::{Node, Row};

/// A fault of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFault {
    /// A link leads to a row that does not exist, or names a node that is not that row's.
    Dangling,
    /// A link leads to its own row.
    Loop,
    /// Two links lead to the same row.
    Twice,
    /// A tree link has no tree link back.
    OneWayTree,
    /// The row's node has no row on the level below.
    Floating,
    /// No chain of links leads to this row from the entry.
    Unreachable,
}

/// One level of the graph.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LevelReport {
    pub(crate) nodes: usize,
    pub(crate) reachable: usize,
    pub(crate) links: u64,
    pub(crate) fewest_links: usize,
    pub(crate) most_links: usize,
}

/// The findings of [`Graph::check`].
#[derive(Debug, Default)]
pub(crate) struct GraphReport {
    /// The reports of the levels, the base first.
    pub(crate) levels: Vec<LevelReport>,
    /// Level, node and fault.
    pub(crate) faults: Vec<(usize, Node, RowFault)>,
}

impl Graph {
    /// Reads every row of every level. Takes time and memory in proportion to the graph. No thread may
    /// change the graph meanwhile. Nodes that are not alive are skipped, and no path may lead through them.
    pub(crate) fn check(&self, is_live: impl Fn(Node) -> bool + Copy) -> GraphReport {
        let mut report = GraphReport::default();
        let mut starts = Vec::new();
        if let Some(entry) = self.entry() {
            let mut row = entry.row;
            for level in (1..=entry.level).rev() {
                starts.push(row);
                let rows = self.layer(level).rows();
                row = if row < rows.end() { rows.head(row).1 } else { Row::NONE };
            }
            starts.push(row);
            starts.reverse();
        }
        let start = starts.first().copied();
        check_level(&mut report, 0, self.base.rows(), start, is_live, |_| true);
        for (at, layer) in self.upper.iter().map_while(OnceLock::get).enumerate() {
            let level = at + 1;
            let node_below = |row: Row, node: Node| match level {
                1 => row.base_node() == node && row.index() < self.base.len(),
                _ => self.upper[level - 2].get().is_some_and(|below| is_row_of(below, row, node)),
            };
            let rows = layer.rows();
            check_level(&mut report, level, rows, starts.get(level).copied(), is_live, |row| {
                let (node, below) = rows.head(row);
                node_below(below, node)
            });
        }
        report
    }
}

fn is_row_of<C: Cell>(layer: &Layer<C>, row: Row, node: Node) -> bool {
    let rows = layer.rows();
    row < rows.end() && rows.head(row).0 == node
}

fn check_level<C: Cell>(
    report: &mut GraphReport,
    level: usize,
    rows: Rows<'_, C>,
    start: Option<Row>,
    is_live: impl Fn(Node) -> bool,
    stands: impl Fn(Row) -> bool,
) {
    let end = rows.end();
    let mut summary = LevelReport { fewest_links: usize::MAX, ..LevelReport::default() };
    let lives = |row: Row| is_live(rows.head(row).0);
    let valid = |link: Link| link.row < end && rows.head(link.row).0 == link.node;
    let mut seen = HashSet::new();
    for row in rows.each().filter(|&row| lives(row)) {
        summary.nodes += 1;
        let mut fault = |fault| report.faults.push((level, rows.head(row).0, fault));
        if !stands(row) {
            fault(RowFault::Floating);
        }
        seen.clear();
        let mut count = 0;
        for link in rows.links(row) {
            count += 1;
            if !valid(link) {
                fault(RowFault::Dangling);
                continue;
            }
            if link.row == row {
                fault(RowFault::Loop);
            }
            if !seen.insert(link.row) {
                fault(RowFault::Twice);
            }
            if link.tree && !rows.links(link.row).any(|back| back.tree && back.row == row) {
                fault(RowFault::OneWayTree);
            }
        }
        summary.links += count as u64;
        summary.fewest_links = summary.fewest_links.min(count);
        summary.most_links = summary.most_links.max(count);
    }
    if summary.nodes == 0 {
        summary.fewest_links = 0;
    }

    let mut reached = vec![false; rows.len()];
    let mut queue: VecDeque<Row> =
        start.filter(|&row| row < end && lives(row)).into_iter().collect();
    for &row in &queue {
        reached[row.index()] = true;
    }
    while let Some(row) = queue.pop_front() {
        summary.reachable += 1;
        for link in rows.links(row).filter(|&link| valid(link) && lives(link.row)) {
            if !std::mem::replace(&mut reached[link.row.index()], true) {
                queue.push_back(link.row);
            }
        }
    }
    for row in rows.each().filter(|&row| !reached[row.index()] && lives(row)) {
        report.faults.push((level, rows.head(row).0, RowFault::Unreachable));
    }
    report.levels.push(summary);
}
