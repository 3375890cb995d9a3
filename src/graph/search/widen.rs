//! A walk that continues with more candidates, and repeats no work.
//!
//! The walk notes each distance that it computes. The nearest nodes that found no place among few candidates find one among more.

use super::descent::seed;
use super::distinct::is_crowded;
use super::scratch::{Fresh, Scratch};
use super::walk::{Turn, Watch, begin, gather_new, limit, next};
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Cell, Graph, Halt, Rows};
use crate::graph::space::Space;
use crate::order_key::OrderKey;

/// The notes of a walk that can be continued.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Order key and row of each visited candidate.
    met: Vec<(OrderKey, Row)>,
    /// Entries of those that the pool dropped.
    dropped: Vec<u64>,
    /// The first row that did not exist when the walk began.
    limit: Row,
}

impl Notes {
    /// Returns the bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.met.capacity() * size_of::<(OrderKey, Row)>() + self.dropped.capacity() * 8
    }
}

impl Graph {
    /// [`Self::search`] for `ef` candidates, all of which are expanded, that [`Self::widen`] can continue.
    pub(crate) fn search_noting<S: Space, W: Watch>(
        &self,
        space: S,
        query: S::Query,
        ef: usize,
        watch: &mut W,
        scratch: &mut Scratch,
    ) -> bool {
        scratch.notes.met.clear();
        let (space, from) = match self.descend_to_base(space, query, ef, scratch) {
            Ok(entered) => entered,
            Err(is_empty) => return is_empty,
        };
        let rows = self.base.rows();
        begin(rows, from, ef, Halt::NEVER, scratch);
        scratch.notes.limit = limit(space, rows);
        scratch.notes.met.push((from.key, from.row));
        seed(rows, scratch);
        scratch.notes.met.extend(scratch.passed.iter().map(|&(key, node)| (key, node.base_row())));
        proceed_noting(space, query, rows, watch, scratch);
        scratch.is_crowded = is_crowded(space, rows, &scratch.pool);
        true
    }

    /// Continues the walk that [`Self::search_noting`] left in the scratch, with `ef` candidates.
    pub(crate) fn widen<S: Space, W: Watch>(
        &self,
        space: S,
        query: S::Query,
        ef: usize,
        watch: &mut W,
        scratch: &mut Scratch,
    ) {
        let Scratch { pool, notes, .. } = &mut *scratch;
        pool.widen(ef, &notes.met, &mut notes.dropped);
        proceed_noting(space, query, self.base.rows(), watch, scratch);
    }
}

/// Walks from the candidates in the pool, and notes each distance.
fn proceed_noting<S: Space, C: Cell, W: Watch>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    watch: &mut W,
    scratch: &mut Scratch,
) {
    let limit = scratch.notes.limit.min(space.end().base_row());
    while let Turn::Gather(row) = next(space, scratch) {
        let count = gather_new(space, rows, row, limit, scratch);
        let Scratch { pool, fresh: Fresh { nodes, keys, .. }, notes, .. } = &mut *scratch;
        let (nodes, keys) = (&mut nodes[..count], &mut keys[..count]);
        space.keys(query, nodes, keys);
        let found = Node::base_rows_mut(nodes);
        notes.met.extend(keys.iter().copied().zip(found.iter().copied()));
        let added = pool.offer(keys, found);
        for &row in &found[..added] {
            rows.prefetch(row);
        }
        if watch.spent(count) {
            break;
        }
    }
    scratch.pool.settle();
}
