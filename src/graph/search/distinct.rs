//! Walks that keep one of many equal vectors.
//!
//! If a vector has a hundred copies, the candidates of an ordinary walk are copies of the one or two vectors that it met
//! first: a search is caught among them, and a node that is linked to them alone leads nowhere. A walk that ends this way is
//! repeated with one of each.

use super::scratch::{Fresh, Scratch};
use super::walk::{Beam, Near, Turn, Walk, Watch, begin, gather_new, limit, next, proceed};
use crate::arena::Pool;
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Candidate, Cell, Graph, Halt, Link, Rows};
use crate::graph::space::Space;
use crate::order_key::OrderKey;

/// Candidates for each known one that a search starts from.
const KNOWN: usize = 8;

/// Returns whether more than half of the candidates of a walk are copies of others.
pub(in crate::graph) fn is_crowded<S: Space, C: Cell>(
    space: S,
    rows: Rows<'_, C>,
    pool: &Pool<Row>,
) -> bool {
    let mut others = 1;
    let mut last: Option<(OrderKey, Row)> = None;
    for (key, row) in pool.iter() {
        let is_copy = last.is_some_and(|(last_key, last_row)| {
            last_key == key && space.is_same(rows.head(last_row).0, rows.head(row).0)
        });
        others += usize::from(!is_copy);
        if 2 * others > pool.len() {
            return false;
        }
        last = Some((key, row));
    }
    pool.len() > 0
}

impl<S: Space, C: Cell> Walk<'_, S, C> {
    /// Walks best first over distinct vectors: expands the nearest candidate until all of the `ef` nearest are expanded, no two of
    /// them equal.
    pub(in crate::graph) fn beam_of_distinct(
        self,
        from: Near,
        ef: usize,
        watch: &mut dyn Watch,
        scratch: &mut Scratch,
    ) {
        let Self { space, query, rows } = self;
        let limit = limit(space, rows);
        begin(rows, from, ef, Halt::NEVER, scratch);
        while let Turn::Gather(row) = next(space, scratch) {
            let count = gather_new(space, rows, row, limit, scratch);
            let Scratch { pool, fresh, .. } = &mut *scratch;
            let Fresh { rows: found, nodes, keys, .. } = fresh;
            space.keys(query, &nodes[..count], &mut keys[..count]);
            for at in 0..count {
                let (key, node) = (keys[at], nodes[at]);
                let row = if C::HEAD > 0 { found[at] } else { node.base_row() };
                let is_known =
                    || pool.ids_of(key).any(|known| space.is_same(rows.head(known).0, node));
                if pool.admits(key) && !is_known() {
                    pool.insert(key, row);
                    // The next one is compared with all that are in the pool.
                    pool.settle();
                }
            }
            if watch.spent(count) {
                break;
            }
        }
    }

    /// Walks from `from`, and from all of `scratch.candidates`.
    fn proceed_from<W: Watch>(self, from: Start, watch: &mut W, scratch: &mut Scratch) {
        let Start { near, kept, halt, without } = from;
        begin(self.rows, near, kept, halt, scratch);
        let Scratch { pool, visited, candidates, .. } = &mut *scratch;
        if let Some(row) = without.map(Node::base_row).filter(|&row| row < self.rows.end()) {
            visited.insert(row.number());
        }
        for &Candidate { key, link } in &*candidates {
            if visited.insert(link.row.number()) && pool.admits(key) {
                pool.insert(key, link.row);
            }
        }
        let Self { space, query, rows } = self;
        proceed(space, query, rows, watch, scratch);
    }
}

/// Returns a node of the base level as a candidate.
fn candidate((key, node): (OrderKey, Node)) -> Candidate {
    Candidate { key, link: Link { row: node.base_row(), node, tree: false } }
}

/// The start of a walk.
#[derive(Clone, Copy)]
struct Start {
    near: Near,
    /// Candidates to keep.
    kept: usize,
    halt: Halt,
    /// A node that the walk leaves out.
    without: Option<Node>,
}

impl Graph {
    /// Repeats a [`search`](Self::search) that was caught among copies, in any space, from the nearest that it left in the
    /// pool: searches for the nearest vectors, one of each, and then for their copies. Returns the same as [`Self::search`].
    #[cold]
    #[inline(never)]
    pub(crate) fn search_again<S: Space, W: Watch>(
        &self,
        space: S,
        query: S::Query,
        Beam { ef, k, without }: Beam,
        watch: &mut W,
        scratch: &mut Scratch,
    ) -> bool {
        let Some((_, row)) = scratch.pool.iter().next() else { return true };
        let space = space.refresh();
        let node = row.base_node();
        if node >= space.end() {
            return false;
        }
        let first = Near { key: space.key(query, node), row };
        scratch.counters.distances += 1;
        let walk = Walk { space, query, rows: self.base.rows() };
        let (kept, _) = self.halt(ef, k);
        walk.beam_of_distinct(first, kept, watch, scratch);
        let Scratch { pool, candidates, .. } = &mut *scratch;
        candidates.clear();
        candidates.extend(
            pool.iter()
                .map(|(key, row)| (key, row.base_node()))
                .filter(|&(_, node)| Some(node) != without)
                .map(candidate),
        );
        let start = Start { near: first, kept, halt: Halt::NEVER, without };
        walk.proceed_from(start, watch, scratch);
        true
    }

    /// Searches from the first of the known nodes, which have keys in this space and are sorted, and from the entry.
    /// Returns `false` as [`Self::search`] does.
    #[cold]
    #[inline(never)]
    pub(crate) fn search_from<S: Space, W: Watch>(
        &self,
        space: S,
        query: S::Query,
        (known, Beam { ef, k, without }): (impl Iterator<Item = (OrderKey, Node)> + Clone, Beam),
        watch: &mut W,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(entry) = self.entry() else { return true };
        let space = space.refresh();
        if self.node(entry) >= space.end() || known.clone().any(|(_, node)| node >= space.end()) {
            return false;
        }
        let first = self.descend(space, query, entry, 0, scratch);
        let (kept, halt) = self.halt(ef, k);
        // All of them would displace other nodes at the same distance, and some of these lead further.
        let some = known.take(kept.div_ceil(KNOWN));
        scratch.candidates.clear();
        scratch.candidates.extend(some.map(candidate));
        let walk = Walk { space, query, rows: self.base.rows() };
        walk.proceed_from(Start { near: first, kept, halt, without }, watch, scratch);
        scratch.is_crowded = is_crowded(space, walk.rows, &scratch.pool);
        true
    }
}
