//! Removing a node from the trees, and from the entry.

use std::collections::{HashSet, VecDeque};
use std::sync::OnceLock;

use crate::graph::id::{Node, Row};
use crate::graph::rows::{Candidate, Cell, Entry, Graph, Layer, Link, Rows, sort_candidates};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;

impl Graph {
    /// Cuts out a node, which is not alive any more. No other thread may change the graph meanwhile; walks
    /// may run. Takes time in proportion to the node's tree neighbours.
    pub(crate) fn cut<S: LinkSpace>(&self, space: S, node: Node, scratch: &mut Scratch) {
        let space = space.refresh();
        let stack = self.stack_of(node);
        for level in 1..=stack.level {
            self.cut_on(space, self.layer(level), (node, stack.rows[level]), scratch);
        }
        self.cut_on(space, &self.base, (node, node.base_row()), scratch);
        if let Some(entry) = self.entry()
            && stack.rows().get(entry.level) == Some(&entry.row)
        {
            self.move_entry(space, entry);
        }
    }

    /// Joins the tree neighbours of a row to a chain: the parts that the row held together stay connected at every moment.
    ///
    /// The chain is linked forth, then back, and the remaining links to the row are removed last. So each part leads to the last
    /// one meanwhile, along the chain or through the row, and the last one through the row to all, until the chain leads
    /// back.
    fn cut_on<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        layer: &Layer<C>,
        (node, row): (Node, Row),
        scratch: &mut Scratch,
    ) {
        let rows = layer.rows();
        let sound = |l: &Link| l.row < rows.end() && l.node < space.end();
        let parts: Vec<Link> = rows.links(row).filter(|l| l.tree && sound(l)).collect();
        fell(rows, row, |_| true);
        for part in &parts {
            fell(rows, part.row, |l| l.row == row);
        }
        let mut keys = vec![OrderKey::MIN; parts.len()];
        let nodes: Vec<Node> = parts.iter().map(|l| l.node).collect();
        space.between(node, &nodes, &mut keys);
        // Any order is correct, but the same removals must make the same graph.
        let mut order: Vec<Candidate> =
            keys.into_iter().zip(&parts).map(|(key, &link)| Candidate { key, link }).collect();
        sort_candidates(&mut order);
        let mut joints: Vec<(Link, Link)> = Vec::with_capacity(parts.len());
        for pair in order.windows(2) {
            // A link back is still to be written.
            let awaited = |row: Row| joints.iter().filter(|(_, b)| b.row == row).count();
            let a = roomy(space, rows, pair[0].link, awaited);
            let b = roomy(space, rows, pair[1].link, awaited);
            if let (Some(a), Some(b)) = (a, b) {
                self.lead(space, layer, (a, b), row, scratch);
                joints.push((a, b));
            }
        }
        for (a, b) in joints {
            self.lead(space, layer, (b, a), row, scratch);
        }
        for part in &parts {
            take_out(rows, part.row, row);
        }
    }

    /// Gives a row with room for it a tree link, in the place of the one to `gone` if the row has one.
    fn lead<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        layer: &Layer<C>,
        (from, to): (Link, Link),
        gone: Row,
        scratch: &mut Scratch,
    ) {
        let rows = layer.rows();
        let link = Link { tree: true, ..to };
        let at = |row: Row| rows.links(from.row).position(|l| l.row == row);
        if at(to.row).is_none()
            && let Some(at) = at(gone)
        {
            return rows.cells(from.row)[at].store(Some(link));
        }
        let mut key = [OrderKey::MIN];
        space.between(from.node, &[to.node], &mut key);
        let new = Candidate { key: key[0], link };
        let joined = self.connect(space, layer, from.row, new, scratch);
        debug_assert!(joined, "a row with room takes a tree link");
    }

    /// Moves the entry to a living node of the highest level that has one.
    #[cold]
    fn move_entry<S: LinkSpace>(&self, space: S, left: Entry) {
        let _alone = self.growth.lock();
        for level in (1..=left.level).rev() {
            if let Some(layer) = self.upper.get(level - 1).and_then(OnceLock::get) {
                let old = (level == left.level).then_some(left.row);
                if let Some(row) = successor(space, layer.rows(), old) {
                    return self.set_entry(Entry { level, row });
                }
            }
        }
        let old = (left.level == 0).then_some(left.row);
        match successor(space, self.base.rows(), old) {
            Some(row) => self.set_entry(Entry { level: 0, row }),
            None => self.unset_entry(),
        }
    }
}

/// Returns a living row of a level: a neighbour of `old`, or any.
fn successor<S: LinkSpace, C: Cell>(space: S, rows: Rows<'_, C>, old: Option<Row>) -> Option<Row> {
    let lives = |row: Row| {
        let node = rows.head(row).0;
        row < rows.end() && node < space.end() && space.is_live(node)
    };
    let near = old.into_iter().flat_map(|old| rows.links(old)).map(|l| l.row);
    near.filter(|&row| row < rows.end()).chain(rows.each()).find(|&row| lives(row))
}

/// Turns the tree links of a row that `which` chooses into ordinary links.
fn fell<C: Cell>(rows: Rows<'_, C>, row: Row, which: impl Fn(&Link) -> bool) {
    for cell in rows.cells(row) {
        if let Some(link) = cell.load().filter(|l| l.tree && which(l)) {
            cell.store(Some(Link { tree: false, ..link }));
        }
    }
}

/// Removes the link to `gone` from a row, unless a tree link would have to take its place: a walk that reads the row meanwhile might
/// miss that tree link. [`Graph::bypass`] and [`Graph::sweep`] remove the link then.
fn take_out<C: Cell>(rows: Rows<'_, C>, row: Row, gone: Row) {
    let cells = rows.cells(row);
    let mut count = 0;
    let mut place = None;
    let mut last = None;
    for (at, link) in rows.links(row).enumerate() {
        count = at + 1;
        if link.row == gone {
            place = Some(at);
        }
        last = Some(link);
    }
    if let Some(at) = place
        && (at + 1 == count || last.is_some_and(|l| !l.tree))
    {
        cells[at].store(last);
        cells[count - 1].store(None);
    }
}

/// Returns the first row in the tree of `start`, from there on, that has room for a tree link beyond its own and the `awaited` ones.
fn roomy<S: LinkSpace, C: Cell>(
    space: S,
    rows: Rows<'_, C>,
    start: Link,
    awaited: impl Fn(Row) -> usize,
) -> Option<Link> {
    let mut queue = VecDeque::from([start]);
    let mut seen = HashSet::from([start.row]);
    while let Some(link) = queue.pop_front() {
        let tree = || rows.links(link.row).filter(|l| l.tree);
        if tree().count() + awaited(link.row) < rows.tree_capacity() {
            return Some(link);
        }
        // A row of a damaged file may name a row or node that does not exist.
        let sound = |l: &Link| l.row < rows.end() && l.node < space.end();
        queue.extend(tree().filter(|l| sound(l) && seen.insert(l.row)));
    }
    None
}
