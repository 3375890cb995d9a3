//! The nearest nodes in another graph.
//!
//! A merge visits a graph from neighbour to neighbour. The walk of a node in another graph begins at the nodes that its neighbours
//! found there, so it starts near its end and needs few candidates. Only later graphs search in earlier ones: a node that is
//! found learns of the node that found it, as in an insertion.

use std::ops::Range;

use super::Merge;
use crate::graph::id::{Node, Row};
use crate::graph::rows::{Cell, Rows};
use crate::graph::search::Scratch;
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;
use crate::threads::{map_chunks, map_parts};

/// Maximum number of nodes of one other graph that a node finds.
const FOUND: usize = 16;

/// Maximum number of nodes of all other graphs that a row keeps.
const KEPT: usize = 32;

/// Nodes of a neighbour's list that a walk begins at.
const TAKEN: usize = 2;

/// Rows that a thread takes at once.
const GRAIN: usize = 64;

/// An empty place in a list of candidates.
const NONE: u64 = u64::MAX;

/// The rank of a row that no flood reached.
const UNREACHED: u32 = u32::MAX;

/// A row that found another: the entry of the finder for the list of the found row. Sorted by the found rows, the nearest finder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Back {
    pub(super) to: Row,
    /// The order key of the distance, and the row that found it.
    pub(super) entry: u64,
}

/// The nearest rows of other graphs, for each row.
pub(super) struct Near {
    /// `KEPT` entries for each row, the nearest first; `key << 32 | row`.
    lists: Vec<u64>,
}

impl Near {
    /// Adds the rows of `into` that each row of `part` found to the lists of both.
    fn learn(&mut self, part: &Range<Row>, into: &Range<Row>, found: &[u64]) {
        let lists = |part: &Range<Row>| part.start.index() * KEPT..part.end.index() * KEPT;
        map_chunks(&mut self.lists[lists(part)], GRAIN * KEPT, |grain, lists| {
            let found = found[grain * GRAIN * FOUND..].chunks_exact(FOUND);
            for (list, found) in lists.chunks_exact_mut(KEPT).zip(found) {
                for &entry in found {
                    add(list, entry);
                }
            }
        });
        let mut back = Vec::new();
        for (found, row) in found.chunks_exact(FOUND).zip(part.start.number()..) {
            let found = found.iter().filter(|&&entry| entry != NONE);
            back.extend(found.map(|&entry| Back {
                to: split(entry).1,
                entry: join(split(entry).0, Row::new(row)),
            }));
        }
        back.sort_unstable();
        map_chunks(&mut self.lists[lists(into)], GRAIN * KEPT, |grain, lists| {
            let rows = into.start.number() + (grain * GRAIN) as u32..;
            for (list, row) in lists.chunks_exact_mut(KEPT).zip(rows.map(Row::new)) {
                let first = back.partition_point(|back| back.to < row);
                let of_row = back[first..].iter().take_while(|back| back.to == row);
                of_row.for_each(|back| add(list, back.entry));
            }
        });
    }

    /// Returns the order key of the distance and the number of each row that is near to `row`.
    pub(super) fn of(&self, row: Row) -> impl Iterator<Item = (OrderKey, Row)> + '_ {
        let list = self.lists.get(row.index() * KEPT..).unwrap_or_default();
        list.iter().take(KEPT).take_while(|&&entry| entry != NONE).map(|&entry| split(entry))
    }
}

/// Inserts an entry into a list, if it is among the nearest.
fn add(list: &mut [u64], entry: u64) {
    let at = list.partition_point(|&other| other < entry);
    if at < list.len() && list[at] != entry {
        list.copy_within(at..list.len() - 1, at + 1);
        list[at] = entry;
    }
}

/// Returns the entry of an order key and a row, which entries are sorted by.
pub(super) fn join(key: OrderKey, row: Row) -> u64 {
    u64::from(key.to_bits()) << 32 | u64::from(row.number())
}

/// Returns the order key and the row of an entry.
pub(super) fn split(entry: u64) -> (OrderKey, Row) {
    (OrderKey::from_bits((entry >> 32) as u32), Row::new(entry as u32))
}

impl<S: LinkSpace + Sync> Merge<'_, S> {
    /// Returns the nearest rows of other sources for each row, or `None` if the tick ended the merge.
    pub(super) fn cross<C: Cell>(&self, rows: Rows<'_, C>, ends: &[Row]) -> Option<Near> {
        let starts = std::iter::once(Row::new(0)).chain(ends.iter().copied());
        let parts: Vec<_> = starts.zip(ends).map(|(start, &end)| start..end).collect();
        if parts.iter().filter(|part| !part.is_empty()).count() < 2 {
            return Some(Near { lists: Vec::new() });
        }
        let mut near = Near { lists: vec![NONE; rows.len() * KEPT] };
        for (number, part) in parts.iter().enumerate().skip(1) {
            let waves = Waves::of(rows, part.clone());
            for into in parts[..number].iter().filter(|into| !into.is_empty()) {
                let found = self.find(rows, &waves, part.start, into.start)?;
                near.learn(part, into, &found);
            }
        }
        Some(near)
    }

    /// Returns the rows that each row of a part finds from `entry` on, in the order of the rows.
    fn find<C: Cell>(
        &self,
        rows: Rows<'_, C>,
        waves: &Waves,
        start: Row,
        entry: Row,
    ) -> Option<Vec<u64>> {
        let mut found = vec![NONE; waves.rank.len() * FOUND];
        let mut from = 0;
        for &end in &waves.ends {
            let wave = &waves.order[from..end];
            let lists = map_parts(wave, GRAIN, |_, chunk| {
                let goes_on = (self.tick)(chunk.len());
                self.with_scratch(|scratch| {
                    let mut lists = Vec::with_capacity(chunk.len() * FOUND);
                    for &row in chunk.iter().filter(|_| goes_on) {
                        // Seeds of neighbours in waves before this one.
                        let earlier = rows.links(row).filter_map(|link| {
                            let at = link.row.index().checked_sub(start.index())?;
                            (*waves.rank.get(at)? < from as u32).then_some(at)
                        });
                        let seeds = earlier
                            .flat_map(|at| &found[at * FOUND..][..TAKEN])
                            .filter(|&&entry| entry != NONE)
                            .map(|&entry| split(entry).1);
                        self.walk(rows, row, seeds, entry, scratch);
                        let best = scratch.pool.iter().take(FOUND);
                        let best = best.map(|(key, row)| join(key, row));
                        lists.extend(best.chain(std::iter::repeat(NONE)).take(FOUND));
                    }
                    goes_on.then_some(lists)
                })
            });
            for (chunk, lists) in wave.chunks(GRAIN).zip(lists) {
                for (&row, list) in chunk.iter().zip(lists?.chunks_exact(FOUND)) {
                    found[(row.index() - start.index()) * FOUND..][..FOUND].copy_from_slice(list);
                }
            }
            from = end;
        }
        Some(found)
    }

    /// Leaves the nearest rows to `row` that a walk finds from `seeds` in the pool. Without seeds the walk begins at `entry`, with more
    /// candidates.
    fn walk<C: Cell>(
        &self,
        rows: Rows<'_, C>,
        row: Row,
        seeds: impl Iterator<Item = Row>,
        entry: Row,
        scratch: &mut Scratch,
    ) {
        let node = rows.head(row).0;
        let space = self.space;
        let Scratch { fresh, visited, .. } = &mut *scratch;
        fresh.reserve(TAKEN * rows.capacity());
        visited.begin(rows.end().number());
        let mut count = 0;
        for seed in seeds.filter(|&seed| visited.insert(seed.number())) {
            fresh.nodes[count] = rows.head(seed).0;
            fresh.rows[count] = seed;
            count += 1;
        }
        space.prefetch(&fresh.nodes[..count]);
        let mut ef = self.ef;
        if count == 0 {
            (fresh.nodes[0], fresh.rows[0], count) = (rows.head(entry).0, entry, 1);
            visited.insert(entry.number());
            ef *= 8;
        }
        scratch.pool.begin(ef);
        self.offer(rows, node, count, scratch);
        while let Some(next) = scratch.pool.next() {
            let Scratch { fresh, visited, .. } = &mut *scratch;
            let mut count = 0;
            for link in rows.links(next).filter(|link| visited.insert(link.row.number())) {
                fresh.nodes[count] = link.node;
                fresh.rows[count] = link.row;
                count += 1;
            }
            space.prefetch(&fresh.nodes[..count]);
            self.offer(rows, node, count, scratch);
        }
    }

    /// Lets the pool keep the nearest of the rows in hand.
    fn offer<C: Cell>(&self, rows: Rows<'_, C>, node: Node, count: usize, scratch: &mut Scratch) {
        let Scratch { pool, fresh, .. } = scratch;
        self.space.between(node, &fresh.nodes[..count], &mut fresh.keys[..count]);
        let added = pool.offer(&fresh.keys[..count], &mut fresh.rows[..count]);
        for &row in &fresh.rows[..added] {
            rows.prefetch(row);
        }
    }
}

/// The rows of a part in the order in which a flood from its first row reaches them.
struct Waves {
    order: Vec<Row>,
    /// The end of each wave in the order.
    ends: Vec<usize>,
    /// The position of each row in the order, by its number within the part.
    rank: Vec<u32>,
}

impl Waves {
    fn of<C: Cell>(rows: Rows<'_, C>, part: Range<Row>) -> Self {
        let len = part.end.index() - part.start.index();
        let mut waves =
            Self { order: Vec::with_capacity(len), ends: Vec::new(), rank: vec![UNREACHED; len] };
        for first in Row::each(part.clone()) {
            // More than one flood only if rows are gone.
            waves.reach(first, part.start);
            let mut from = waves.ends.last().copied().unwrap_or(0);
            while from < waves.order.len() {
                let end = waves.order.len();
                waves.ends.push(end);
                for at in from..end {
                    for link in rows.links(waves.order[at]) {
                        waves.reach(link.row, part.start);
                    }
                }
                from = end;
            }
        }
        waves
    }

    fn reach(&mut self, row: Row, start: Row) {
        let Some(rank) =
            row.index().checked_sub(start.index()).and_then(|at| self.rank.get_mut(at))
        else {
            return;
        };
        if *rank == UNREACHED {
            *rank = self.order.len() as u32;
            self.order.push(row);
        }
    }
}
