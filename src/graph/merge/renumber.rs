//! Rows of a graph under new numbers.

use std::collections::HashSet;

use crate::arena::ArenaError;
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Cell, Layer, Link, Rows};
use crate::threads::map;

/// Rows that a thread takes at once.
const GRAIN: usize = 256;

/// Maximum number of gone rows that are visited for the rows beyond them.
const BEYOND: usize = 512;

/// Adds a row to `layer` for each row of an upper level if its node and the row below it are kept. Returns the new number of
/// each row.
pub(super) fn heads<C: Cell>(
    old: Rows<'_, C>,
    nodes: &[Node],
    below: &[Row],
    layer: &Layer<C>,
) -> Result<Vec<Row>, ArenaError> {
    old.each()
        .map(|row| {
            let (node, down) = old.head(row);
            let row = below.get(down.index()).copied().unwrap_or(Row::NONE);
            let node = nodes.get(node.index()).copied().unwrap_or(Node::NONE);
            if row == Row::NONE || node == Node::NONE {
                return Ok(Row::NONE);
            }
            layer.push(Some(Link { row, node, tree: false }))
        })
        .collect()
}

/// Writes the links of all kept rows to their new places. A link to a row that is left out is replaced by links to the nearest
/// rows that it leads to.
pub(super) fn rows<C: Cell>(old: Rows<'_, C>, places: &[Row], new: Rows<'_, C>) {
    let place = |row: Row| places.get(row.index()).copied().filter(|&to| to < new.end());
    let count = old.end().index().min(places.len());
    let of_row = |row: Row| {
        let Some(to) = place(row) else { return };
        let mut cells = new.cells(to).iter();
        let mut given = Vec::with_capacity(new.capacity());
        let mut give = |link: Link, tree: bool| {
            if let Some(at) = place(link.row).filter(|at| *at != to && !given.contains(at))
                && let Some(cell) = cells.next()
            {
                given.push(at);
                cell.store(Some(Link { row: at, node: new.head(at).0, tree }));
            }
        };
        let sound = |link: &Link| link.row < old.end();
        let mut gone = Vec::new();
        let mut trees = old.tree_capacity();
        for link in old.links(row).filter(sound) {
            if place(link.row).is_some() {
                // Only a damaged file has more tree links than that.
                let tree = link.tree && trees > 0;
                trees -= usize::from(tree);
                give(link, tree);
            } else {
                gone.push(link.row);
            }
        }
        let mut seen: HashSet<Row> = gone.iter().copied().collect();
        let mut at = 0;
        while at < gone.len().min(BEYOND) {
            for link in old.links(gone[at]).filter(sound) {
                if place(link.row).is_some() {
                    give(link, false);
                } else if seen.insert(link.row) {
                    gone.push(link.row);
                }
            }
            at += 1;
        }
    };
    map(count.div_ceil(GRAIN), |grain| {
        let first = grain * GRAIN;
        Row::each(Row::new(first as u32)..Row::new(count.min(first + GRAIN) as u32))
            .for_each(of_row);
    });
}
