//! Searching: a greedy descent through the upper levels, then a best-first walk on a level.

use super::layer::{Cell, Rows};
use super::scratch::Fresh;
use super::{Entry, Graph, LinkSpace, Scratch, Space};

/// A row and the key of its distance from the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near {
    pub(super) key: u32,
    pub(super) row: u32,
}

impl Graph {
    /// Where a walk on the base level should start: the nearest node that a greedy descent finds;
    /// nothing if the graph is empty.
    pub(crate) fn approach<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        scratch: &mut Scratch,
    ) -> Option<Near> {
        let entry = self.entry()?;
        // The entry may be younger than the space in hand.
        Some(self.descend(space.refresh(), query, entry, 0, scratch))
    }

    /// Leaves the `ef` nearest nodes that a walk on the base level finds in `scratch.pool`, the
    /// nearest first. `space` must have the node that it starts from.
    #[inline(always)]
    pub(crate) fn walk<S: Space>(
        &self,
        space: S,
        query: S::Query,
        from: Near,
        ef: usize,
        scratch: &mut Scratch,
    ) {
        beam(space, query, self.base.rows(), from, ef, scratch);
    }

    /// Goes down greedily from `entry` to level `to`, and returns the nearest row found there.
    pub(super) fn descend<S: Space>(
        &self,
        space: S,
        query: S::Query,
        entry: Entry,
        to: usize,
        scratch: &mut Scratch,
    ) -> Near {
        let Entry { mut level, mut row } = entry;
        if level == 0 {
            scratch.counters.distances += 1;
            return Near { key: space.key(query, row), row };
        }
        let mut key = space.key(query, self.layer(level).rows().head(row).0);
        scratch.counters.distances += 1;
        while level > to {
            let rows = self.layer(level).rows();
            let near = greedy(space, query, rows, Near { key, row }, scratch);
            (key, row) = (near.key, rows.head(near.row).1);
            level -= 1;
        }
        Near { key, row }
    }
}

/// Moves to the nearest neighbour until none is nearer.
fn greedy<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    from: Near,
    scratch: &mut Scratch,
) -> Near {
    let mut best = from;
    loop {
        let row = best.row;
        let Scratch { fresh, counters, .. } = &mut *scratch;
        fresh.reserve(rows.capacity());
        let count = gather(space, rows, row, fresh, |_| true);
        counters.hops += 1;
        counters.distances += count as u64;
        measure::<S, C>(space, query, fresh, count, |key, row| {
            if key < best.key {
                best = Near { key, row };
            }
        });
        if best.row == row {
            return best;
        }
    }
}

/// The best-first walk: expands the nearest candidate until all of the `ef` nearest are.
#[inline(always)]
pub(super) fn beam<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    rows: Rows<'_, C>,
    from: Near,
    ef: usize,
    scratch: &mut Scratch,
) {
    let Scratch { pool, visited, fresh, counters, .. } = scratch;
    visited.begin(rows.len());
    visited.insert(from.row);
    pool.begin(ef);
    pool.insert(from.key, from.row);
    fresh.reserve(rows.capacity());
    while let Some(row) = pool.next() {
        let count = gather(space, rows, row, fresh, |row| visited.insert(row));
        counters.hops += 1;
        counters.distances += count as u64;
        measure::<S, C>(space, query, fresh, count, |key, row| {
            if u64::from(key) < pool.bound() {
                pool.insert(key, row);
                rows.prefetch(row);
            }
        });
    }
}

/// First pass over a row: reads all links, admits the new ones and prefetches their vectors.
/// Returns their number.
#[inline(always)]
fn gather<S: Space, C: Cell>(
    space: S,
    rows: Rows<'_, C>,
    row: u32,
    fresh: &mut Fresh,
    mut admit: impl FnMut(u32) -> bool,
) -> usize {
    let mut count = 0;
    for link in rows.links(row) {
        // A link may be younger than the views of this walk.
        if link.row < rows.len() && link.node < space.len() && admit(link.row) {
            space.prefetch(link.node);
            fresh.nodes[count] = link.node;
            if C::HEAD > 0 {
                fresh.rows[count] = link.row;
            }
            count += 1;
        }
    }
    count
}

/// Second pass: the distances.
#[inline(always)]
fn measure<S: Space, C: Cell>(
    space: S,
    query: S::Query,
    fresh: &mut Fresh,
    count: usize,
    mut each: impl FnMut(u32, u32),
) {
    let Fresh { rows, nodes, keys } = fresh;
    space.keys(query, &nodes[..count], &mut keys[..count]);
    let rows = if C::HEAD > 0 { &rows[..count] } else { &nodes[..count] };
    for (&key, &row) in keys.iter().zip(rows) {
        each(key, row);
    }
}
