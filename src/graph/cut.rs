//! Taking a node out of the trees, and out of where searches start.

use std::collections::{HashSet, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::layer::{Cell, Layer, Link, Rows};
use super::prune::Candidate;
use super::{EMPTY, Entry, Graph, LinkSpace, Scratch};

impl Graph {
    /// Cuts out a node, which is not alive any more. Nobody else may be changing the graph; walks
    /// may go on. Takes time in proportion to the node's tree neighbours.
    pub(crate) fn cut<S: LinkSpace>(&self, space: S, node: u32, scratch: &mut Scratch) {
        let space = space.refresh();
        let stack = self.stack_of(node);
        for level in 1..=stack.level {
            self.cut_on(space, level, self.layer(level), (node, stack.rows[level]), scratch);
        }
        self.cut_on(space, 0, &self.base, (node, node), scratch);
        if let Some(entry) = self.entry()
            && stack.rows().get(entry.level) == Some(&entry.row)
        {
            self.move_entry(space, entry);
        }
    }

    /// Joins the tree neighbours of a row to a chain: what the row held together stays together.
    fn cut_on<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        level: usize,
        layer: &Layer<C>,
        (node, row): (u32, u32),
        scratch: &mut Scratch,
    ) {
        let rows = layer.rows();
        let sound = |l: &Link| l.row < rows.len() && l.node < space.len();
        let parts: Vec<Link> = rows.links(row).filter(|l| l.tree && sound(l)).collect();
        for cell in rows.cells(row) {
            if let Some(link) = cell.load().filter(|l| l.tree) {
                cell.store(Some(Link { tree: false, ..link }));
            }
        }
        for part in &parts {
            take_out(rows, part.row, row);
        }
        let mut keys = vec![0; parts.len()];
        let nodes: Vec<u32> = parts.iter().map(|l| l.node).collect();
        space.between(node, &nodes, &mut keys);
        // Any order will do, but the same removals shall make the same graph.
        let mut order: Vec<(u32, Link)> = keys.into_iter().zip(parts).collect();
        order.sort_unstable_by_key(|&(key, link)| (key, link.row));
        for pair in order.windows(2) {
            self.join_trees(space, level, layer, pair[0].1, pair[1].1, scratch);
        }
    }

    /// Joins two trees by a link between `a` and `b`, or between nodes of theirs that have room for one.
    fn join_trees<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        level: usize,
        layer: &Layer<C>,
        a: Link,
        b: Link,
        scratch: &mut Scratch,
    ) {
        let rows = layer.rows();
        let (Some(a), Some(b)) = (roomy(space, rows, a), roomy(space, rows, b)) else { return };
        let mut key = [0];
        space.between(a.node, &[b.node], &mut key);
        for (from, to) in [(a, b), (b, a)] {
            let new = Candidate { key: key[0], link: Link { tree: true, ..to } };
            let joined = self.connect(space, level, layer, from.row, new, scratch);
            debug_assert!(joined, "a row with room takes a tree link");
        }
    }

    /// Lets searches start from another node that stands as high as any.
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
            None => self.entry.store(EMPTY, Ordering::Release),
        }
    }
}

/// A living row of a level: a neighbour of `old`, or any.
fn successor<S: LinkSpace, C: Cell>(space: S, rows: Rows<'_, C>, old: Option<u32>) -> Option<u32> {
    let lives = |row: u32| {
        let node = rows.head(row).0;
        row < rows.len() && node < space.len() && space.is_live(node)
    };
    let near = old.into_iter().flat_map(|old| rows.links(old)).map(|l| l.row);
    near.filter(|&row| row < rows.len()).chain(0..rows.len()).find(|&row| lives(row))
}

/// Takes the link to `gone` out of a row.
fn take_out<C: Cell>(rows: Rows<'_, C>, row: u32, gone: u32) {
    let cells = rows.cells(row);
    let count = rows.links(row).count();
    if let Some(at) = rows.links(row).position(|l| l.row == gone) {
        cells[at].store(cells[count - 1].load());
        cells[count - 1].store(None);
    }
}

/// The first row in the tree of `start`, from there on, that may have one more tree link.
fn roomy<S: LinkSpace, C: Cell>(space: S, rows: Rows<'_, C>, start: Link) -> Option<Link> {
    let mut queue = VecDeque::from([start]);
    let mut seen = HashSet::from([start.row]);
    while let Some(link) = queue.pop_front() {
        let tree = || rows.links(link.row).filter(|l| l.tree);
        if tree().count() < rows.tree_capacity() {
            return Some(link);
        }
        // A row that came damaged from a file may name what is not there.
        let sound = |l: &Link| l.row < rows.len() && l.node < space.len();
        queue.extend(tree().filter(|l| sound(l) && seen.insert(l.row)));
    }
    None
}
