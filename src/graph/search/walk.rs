//! Searching: a best-first walk on a level, which begins where a descent ends.
//!
//! The walk is compiled once. Distances are one call for each row of neighbours, which costs
//! nothing measurable beside the memory that a row makes a walk touch.

use std::sync::atomic::AtomicU32;

use super::descent::seed;
use super::distinct::is_crowded;
use super::scratch::{Fresh, Scratch};
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Cell, Graph, Halt, Rows};
use crate::graph::space::Space;
use crate::order_key::OrderKey;

/// The width of a walk, and the node that it leaves out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beam {
    /// Candidates that it keeps.
    pub(crate) ef: usize,
    /// The number of nearest nodes wanted, if fewer: the walk may end early if these are much nearer than the rest.
    pub(crate) k: Option<usize>,
    /// The walk goes as if this node did not exist. Searches must not start from it: see [`Graph::is_base_only`].
    pub(crate) without: Option<Node>,
}

impl Beam {
    /// Creates the beam of a walk for all of the `ef` nearest.
    pub(crate) fn of(ef: usize) -> Self {
        Self { ef, k: None, without: None }
    }
}

/// The ground of a walk: the rows of one level, and the distances of their nodes from the query.
#[derive(Debug)]
pub(in crate::graph) struct Walk<'a, S: Space, C> {
    pub(in crate::graph) space: S,
    pub(in crate::graph) query: S::Query,
    pub(in crate::graph) rows: Rows<'a, C>,
}

impl<S: Space, C> Clone for Walk<'_, S, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Space, C> Copy for Walk<'_, S, C> {}

/// A row and the order key of its distance from the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near {
    pub(in crate::graph) key: OrderKey,
    pub(in crate::graph) row: Row,
}

/// The next turn of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// Read the links of this row, which was prefetched.
    Gather(Row),
    /// Compute this number of distances, to vectors that were prefetched.
    Measure(usize),
    Done,
}

/// A caller that may end a walk early.
pub(crate) trait Watch {
    /// Receives the work done, in distances. Returns whether to stop.
    fn spent(&mut self, distances: usize) -> bool;
}

/// Never stops a walk.
impl Watch for () {
    #[inline(always)]
    fn spent(&mut self, _distances: usize) -> bool {
        false
    }
}

/// Walks that take turns: enough of them that the memory of one arrives while the others work.
pub(crate) const LANES: usize = 4;

impl Graph {
    /// Leaves the nearest nodes that a walk on the base level finds in `scratch.pool`, the nearest first: `ef` of them,
    /// or more or fewer if fewer are wanted. Returns `false` if the space does not have the node that searches start from.
    ///
    /// A walk that was caught among equal vectors sets `scratch.is_crowded`: see [`Self::search_again`].
    pub(crate) fn search<S: Space, W: Watch>(
        &self,
        space: S,
        query: S::Query,
        Beam { ef, k, without }: Beam,
        watch: &mut W,
        scratch: &mut Scratch,
    ) -> bool {
        let (space, from) = match self.descend_to_base(space, query, ef, scratch) {
            Ok(entered) => entered,
            Err(is_empty) => return is_empty,
        };
        let rows = self.base.rows();
        let (kept, halt) = self.halt(ef, k);
        begin(rows, from, kept, halt, scratch);
        seed(rows, scratch);
        if let Some(row) = without.map(Node::base_row).filter(|&row| row < rows.end()) {
            scratch.visited.insert(row.number());
        }
        proceed(space, query, rows, watch, scratch);
        scratch.is_crowded = is_crowded(space, rows, &scratch.pool);
        true
    }

    /// Descends to the base level. Returns the space with all nodes, and the row that the walk starts from. Otherwise returns whether the
    /// graph is empty, with an empty pool; if it is not, the space does not have the entry.
    #[inline(always)]
    pub(super) fn descend_to_base<S: Space>(
        &self,
        space: S,
        query: S::Query,
        ef: usize,
        scratch: &mut Scratch,
    ) -> Result<(S, Near), bool> {
        scratch.is_crowded = false;
        let Some(entry) = self.entry() else {
            scratch.pool.begin(ef);
            return Err(true);
        };
        // The entry may be younger than the space in hand.
        let space = space.refresh();
        if self.node(entry) >= space.end() {
            return Err(false);
        }
        let from = self.descend(space, query, entry, 0, scratch);
        Ok((space, from))
    }

    /// [`Self::search`] for up to [`LANES`] queries, each with its scratch. The walks take
    /// turns.
    pub(crate) fn search_lanes<S: Space>(
        &self,
        space: S,
        queries: &[S::Query],
        Beam { ef, k, .. }: Beam,
        scratches: &mut [Scratch],
    ) -> bool {
        let Some(entry) = self.entry() else {
            for scratch in scratches {
                scratch.is_crowded = false;
                scratch.pool.begin(ef);
            }
            return true;
        };
        let space = space.refresh();
        if self.node(entry) >= space.end() {
            return false;
        }
        let rows = self.base.rows();
        let limit = limit(space, rows);
        let (kept, halt) = self.halt(ef, k);
        let mut turns = [Turn::Done; LANES];
        let mut walking = 0;
        for ((&query, scratch), turn) in queries.iter().zip(&mut *scratches).zip(&mut turns) {
            let from = self.descend(space, query, entry, 0, scratch);
            begin(rows, from, kept, halt, scratch);
            seed(rows, scratch);
            *turn = next(space, scratch);
            walking += 1;
        }
        while walking > 0 {
            for ((&query, scratch), turn) in queries.iter().zip(&mut *scratches).zip(&mut turns) {
                *turn = match *turn {
                    Turn::Gather(row) => {
                        Turn::Measure(gather_new(space, rows, row, limit, scratch))
                    }
                    Turn::Measure(count) => {
                        // The turns of the other walks come between, which is time enough for the one row that is next.
                        offer::<S, AtomicU32>(space, query, count, scratch);
                        let turn = next(space, scratch);
                        if let Turn::Gather(row) = turn {
                            rows.prefetch(row);
                        } else {
                            walking -= 1;
                            scratch.pool.settle();
                            scratch.is_crowded = is_crowded(space, rows, &scratch.pool);
                        }
                        turn
                    }
                    Turn::Done => Turn::Done,
                };
            }
        }
        true
    }

    /// Returns the number of candidates to keep, and the end of the walk.
    pub(in crate::graph) fn halt(&self, ef: usize, k: Option<usize>) -> (usize, Halt) {
        k.map_or((ef, Halt::NEVER), |k| Halt::of_search(k, ef, self.spreads.present().exponent()))
    }
}

impl<S: Space, C: Cell> Walk<'_, S, C> {
    /// Walks best first: expands the nearest candidate until all of the `ef` nearest are expanded.
    pub(in crate::graph) fn beam(self, from: Near, ef: usize, scratch: &mut Scratch) {
        let Self { space, query, rows } = self;
        begin(rows, from, ef, Halt::NEVER, scratch);
        proceed(space, query, rows, &mut (), scratch);
    }
}

// The loops take the parts of a walk one by one: the parts of a value in memory would be loaded in each turn.

/// Continues until a walk that keeps `ef` candidates, no more than this one, would end, and returns the nearest row then.
pub(in crate::graph) fn land<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    ef: usize,
    scratch: &mut Scratch,
) -> Option<Near> {
    let limit = limit(space, rows);
    while scratch.pool.expanded() < ef {
        let Turn::Gather(row) = next(space, scratch) else { break };
        let count = gather_new(space, rows, row, limit, scratch);
        measure(space, query, rows, count, scratch);
    }
    scratch.pool.settle();
    scratch.pool.iter().next().map(|(key, row)| Near { key, row })
}

/// Walks from the candidates in the pool.
pub(in crate::graph) fn proceed<S: Space, C: Cell, W: Watch>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    watch: &mut W,
    scratch: &mut Scratch,
) {
    let limit = limit(space, rows);
    while let Turn::Gather(row) = next(space, scratch) {
        let count = gather_new(space, rows, row, limit, scratch);
        measure(space, query, rows, count, scratch);
        if watch.spent(count) {
            break;
        }
    }
    scratch.pool.settle();
}

/// Returns the first row that does not exist for a walk: those below it do.
#[inline(always)]
pub(super) fn limit<S: Space, C: Cell>(space: S, rows: Rows<'_, C>) -> Row {
    if C::HEAD > 0 { rows.end() } else { rows.end().min(space.end().base_row()) }
}

pub(in crate::graph) fn begin<C: Cell>(
    rows: Rows<'_, C>,
    from: Near,
    ef: usize,
    halt: Halt,
    scratch: &mut Scratch,
) {
    scratch.halt = halt;
    let Scratch { pool, visited, fresh, .. } = scratch;
    visited.begin(rows.end().number());
    visited.insert(from.row.number());
    pool.begin(ef);
    pool.insert(from.key, from.row);
    fresh.reserve(rows.capacity());
    fresh.is_younger = false;
}

#[inline(always)]
pub(super) fn next<S: Space>(space: S, scratch: &mut Scratch) -> Turn {
    if scratch.halt.is_far_enough(space, &scratch.pool) {
        return Turn::Done;
    }
    scratch.pool.next().map_or(Turn::Done, Turn::Gather)
}

/// Makes the first pass over a row of a walk: admits the links that were not met.
pub(super) fn gather_new<S: Space, C: Cell>(
    space: S,
    rows: Rows<'_, C>,
    row: Row,
    limit: Row,
    scratch: &mut Scratch,
) -> usize {
    let Scratch { visited, fresh, counters, .. } = scratch;
    let mut visited = visited.open();
    let count = gather(space, rows, row, limit, fresh, |row| visited.insert(row.number()));
    visited.close();
    counters.hops += 1;
    counters.distances += count as u64;
    count
}

/// Reads all links of a row, keeps those below `limit` that `admit` accepts, and prefetches
/// their vectors. Returns their number.
#[inline(always)]
pub(super) fn gather<S: Space, C: Cell>(
    space: S,
    rows: Rows<'_, C>,
    row: Row,
    limit: Row,
    fresh: &mut Fresh,
    mut admit: impl FnMut(Row) -> bool,
) -> usize {
    let mut count = 0;
    let Fresh { rows: found, nodes, is_younger, .. } = fresh;
    let (found, nodes) = (&mut found[..], &mut nodes[..]);
    for link in rows.links(row) {
        // A link may be younger than the views of this walk.
        if link.row >= limit || (C::HEAD > 0 && link.node >= space.end()) {
            *is_younger = true;
            continue;
        }
        // Written in any case, and kept if admitted.
        nodes[count] = link.node;
        if C::HEAD > 0 {
            found[count] = link.row;
        }
        count += usize::from(admit(link.row));
    }
    space.prefetch(&nodes[..count]);
    count
}

/// Makes the second pass: computes the distances, of which the pool keeps the smallest, and prefetches the rows of these.
pub(super) fn measure<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    count: usize,
    scratch: &mut Scratch,
) {
    for &row in offer::<S, C>(space, query, count, scratch) {
        rows.prefetch(row);
    }
}

/// [`measure`] without the prefetch: returns the rows that the pool kept.
fn offer<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    count: usize,
    scratch: &mut Scratch,
) -> &[Row] {
    let Scratch { pool, fresh, .. } = scratch;
    let Fresh { rows: found, nodes, keys, .. } = fresh;
    space.keys(query, &nodes[..count], &mut keys[..count]);
    let found = if C::HEAD > 0 { &mut found[..] } else { Node::base_rows_mut(nodes) };
    let added = pool.offer(&keys[..count], &mut found[..count]);
    &found[..added]
}
