//! Linking a new node.

use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bumpalo::Bump;

use super::connect::set_parent;
use crate::graph::id::{Node, Row};
use crate::graph::rows::{
    Candidate, Cell, Entry, Graph, Halt, Layer, Link, Parameters, Rows, Stack, UPPER_LEVELS,
    select, sort_candidates,
};
use crate::graph::search::{Near, Scratch, Walk, begin, is_crowded, land, proceed, seed};
use crate::graph::space::LinkSpace;
use crate::order_key::OrderKey;
use crate::sync::{Fault, is_planted};

/// `ef` of the base-level walk that chooses a new node's tree parent. Measured on 541,200 generated vectors, searching for each 29th
/// right after its insertion (18,663 searches, misses at `ef` 16 / 64 / 100): parent = nearest neighbour 279 / 37 / 11; parent by
/// this walk 1 / 0 / 0. In the finished index, misses at `ef` 100 of all vectors fall to an eighth. With 16 it is about the same.
/// With 1, searches compute 1 to 3 % more distances, because few parents are nearest neighbours.
const NARROW: usize = 8;

/// The findings of an insertion on one level, nearest first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found<'a> {
    /// The end of a narrow walk to the node, if it may be linked to: every search for the node visits it.
    pub(super) landing: Option<Candidate>,
    /// The neighbours chosen.
    pub(super) selected: &'a [Candidate],
    /// All candidates.
    pub(super) candidates: &'a [Candidate],
}

/// The findings of an insertion on each of its levels, the base first.
pub(super) type FoundByLevel<'a> = [Found<'a>; UPPER_LEVELS + 1];

/// A new node's place on one level.
#[derive(Debug)]
pub(super) struct Place<'a, C> {
    pub(super) layer: &'a Layer<C>,
    pub(super) row: Row,
    pub(super) node: Node,
}

/// A node that is to be linked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer<'a, Q> {
    pub(super) node: Node,
    /// Its vector.
    pub(super) query: Q,
    /// Its row on each of its levels.
    pub(super) rows: &'a [Row],
}

/// The graph as an insertion sees it: the start and the end of its walks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    pub(super) entry: Entry,
    /// The end of walks on the base level. Distances on the levels above grow in another way.
    pub(super) halt: Halt,
}

impl Graph {
    /// Links `node`, which [`Self::push`] returned, so that searches find it. `query` is its
    /// vector.
    pub(crate) fn insert<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: Node,
        scratch: &mut Scratch,
    ) {
        let stack = self.stack(node, self.draw_level(node));
        self.join(space, query, node, stack, scratch);
    }

    /// [`Self::insert`] for a node that was removed, to which no link refers any more: it takes its
    /// place on the same levels again.
    pub(crate) fn insert_again<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: Node,
        scratch: &mut Scratch,
    ) {
        let stack = self.clear(node);
        self.join(space, query, node, stack, scratch);
    }

    /// Empties the rows of a node that was removed, and returns them. A sweep may be about to mend the old links: it must not
    /// continue with the new ones.
    pub(super) fn clear(&self, node: Node) -> Stack {
        let stack = self.stack_of(node);
        for (level, &row) in stack.rows().iter().enumerate() {
            let _one_writer = self.lock(level, row);
            match level {
                0 => clear(self.base.rows(), row),
                _ => clear(self.layer(level).rows(), row),
            }
        }
        stack
    }

    /// Returns the graph as an insertion that begins now sees it, or `None` if it is empty.
    pub(crate) fn outlook(&self) -> Option<Outlook> {
        let Parameters { m, ef_construction, .. } = self.parameters;
        let halt = Halt::of_insertion(m, ef_construction, self.spreads.present().exponent());
        self.entry().map(|entry| Outlook { entry, halt })
    }

    pub(super) fn join<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: Node,
        stack: Stack,
        scratch: &mut Scratch,
    ) {
        let level = stack.level;
        let first = self.entry().map(|entry| self.node(entry));
        self.lengths.learn(space.refresh(), node, first);
        // One insertion at a time raises the entry: two nodes above it would not see each other.
        let mut raising = None;
        if self.entry().is_none_or(|entry| level > entry.level) {
            raising = Some(self.growth.lock());
        }
        let outlook = self.outlook();
        let raises = outlook.is_none_or(|outlook| level > outlook.entry.level);
        if !raises {
            raising = None;
        }
        if raises && is_planted(Fault::EntryEarly) {
            self.set_entry(Entry { level, row: stack.rows[level] });
        }
        if let Some(outlook) = outlook {
            // The entry may be younger than the space in hand.
            let space = space.refresh();
            let mut lists = std::mem::take(&mut scratch.lists);
            lists.reset();
            let new = Newcomer { node, query, rows: stack.rows() };
            self.link(space, new, outlook, &lists, scratch);
            scratch.lists = lists;
        }
        if raises {
            self.set_entry(Entry { level, row: stack.rows[level] });
            let below = outlook.map_or(0, |outlook| outlook.entry.level);
            self.lift(space, below, level, scratch);
        }
        drop(raising);
    }

    fn link<S: LinkSpace>(
        &self,
        space: S,
        new: Newcomer<'_, S::Query>,
        outlook: Outlook,
        lists: &Bump,
        scratch: &mut Scratch,
    ) {
        let Newcomer { node, rows, .. } = new;
        let (found, top) = self.look(space, new, outlook, lists, scratch);
        let stack = self.pile(node, rows, top);
        let (rows, top) = (stack.rows(), top.min(stack.level));
        // Own links of all levels are in place before the first link to this node is.
        if !is_planted(Fault::LinkedBackEarly) {
            self.write(&rows[..=top], |level| found[level].selected);
        }
        self.publish(space, &self.base_place(node), found[0], scratch);
        for (level, &found) in found.iter().enumerate().take(top + 1).skip(1) {
            self.publish(space, &self.place(level, rows, node), found, scratch);
        }
        if is_planted(Fault::LinkedBackEarly) {
            self.write(&rows[..=top], |level| found[level].selected);
        }
    }

    pub(super) fn base_place(&self, node: Node) -> Place<'_, AtomicU32> {
        Place { layer: &self.base, row: node.base_row(), node }
    }

    /// Returns the place on an upper level of a node with these rows.
    pub(super) fn place(&self, level: usize, rows: &[Row], node: Node) -> Place<'_, AtomicU64> {
        Place { layer: self.layer(level), row: rows[level], node }
    }

    /// Finds neighbours for a node on each of its levels up to the entry's, and returns them with the highest of these levels, which may
    /// be above the node's own if the node is to have more rows. Changes nothing.
    pub(super) fn look<'a, S: LinkSpace>(
        &self,
        space: S,
        new: Newcomer<'_, S::Query>,
        Outlook { entry, halt }: Outlook,
        lists: &'a Bump,
        scratch: &mut Scratch,
    ) -> (FoundByLevel<'a>, usize) {
        let mut found = FoundByLevel::default();
        let top = entry.level.min(new.rows.len() - 1);
        let near = self.look_on(space, new, (entry, 1..=top), (&mut found, lists), scratch);
        let (place, query) = (self.base_place(new.node), new.query);
        let walk = Walk { space, query, rows: place.layer.rows() };
        found[0] = self.find(walk, &place, (near, halt), lists, scratch);
        if !self.overshadows(space, &found[0]) {
            return (found, top);
        }
        let above = top + 1..=entry.level;
        self.look_on(space, new, (entry, above), (&mut found, lists), scratch);
        (found, entry.level)
    }

    /// Finds neighbours for a node on some levels, on which it need not have a row yet. Returns the row from which a search for it
    /// continues below.
    fn look_on<'a, S: LinkSpace>(
        &self,
        space: S,
        Newcomer { node, query, rows }: Newcomer<'_, S::Query>,
        (entry, levels): (Entry, RangeInclusive<usize>),
        (found, lists): (&mut FoundByLevel<'a>, &'a Bump),
        scratch: &mut Scratch,
    ) -> Near {
        let mut near = self.descend(space, query, entry, *levels.end(), scratch);
        for level in levels.rev() {
            let row = rows.get(level).copied().unwrap_or(Row::NONE);
            let place = Place { layer: self.layer(level), row, node };
            let walk = Walk { space, query, rows: place.layer.rows() };
            found[level] = self.find(walk, &place, (near, Halt::NEVER), lists, scratch);
            // A search for the node continues from here.
            let landing = found[level].landing.as_ref().or(found[level].candidates.first());
            let (key, row) = landing.map_or((near.key, near.row), |c| (c.key, c.link.row));
            near = Near { key, row: place.layer.rows().head(row).1 };
        }
        near
    }

    /// Writes the own links of a node that is not visible yet, on each level that it has a row on here.
    pub(super) fn write<'a>(&self, rows: &[Row], links: impl Fn(usize) -> &'a [Candidate]) {
        write(self.base.rows(), rows[0], links(0));
        for (level, &row) in rows.iter().enumerate().skip(1) {
            write(self.layer(level).rows(), row, links(level));
        }
    }

    /// Returns the candidates of a walk on one level, and the neighbours chosen among them.
    fn find<'a, S: LinkSpace, C: Cell>(
        &self,
        walk: Walk<'_, S, C>,
        place: &Place<'_, C>,
        (from, halt): (Near, Halt),
        lists: &'a Bump,
        scratch: &mut Scratch,
    ) -> Found<'a> {
        let Walk { space, query, rows } = walk;
        let Parameters { m, ef_construction, .. } = self.parameters;
        begin(rows, from, ef_construction, halt, scratch);
        if place.layer.level == 0 {
            seed(rows, scratch);
        }
        // On upper levels, searches keep one candidate.
        let narrow = if place.layer.level == 0 { NARROW } else { 1 };
        let landing = land(space, query, rows, narrow, scratch);
        proceed(space, query, rows, &mut (), scratch);
        let is_crowded = is_crowded(space, rows, &scratch.pool);
        // If codes are rounded, the distances between copies do not describe those of other vectors.
        if place.layer.level == 0 && !is_crowded && self.parameters.grow {
            self.spreads.present().learn(space, &scratch.pool);
        }
        scratch.candidates.clear();
        collect(space, place, scratch);
        let landing = landing.and_then(|near| candidate(space, place, near));
        if is_crowded {
            walk.beam_of_distinct(from, ef_construction, &mut (), scratch);
            collect(space, place, scratch);
            sort_candidates(&mut scratch.candidates);
            scratch.candidates.dedup_by_key(|c| c.link.row);
        }
        let Scratch { candidates, prune, counters, .. } = scratch;
        counters.distances += select(space, self.with_length(place.node), candidates, m, prune);
        Found {
            landing,
            selected: lists.alloc_slice_copy(&prune.kept),
            candidates: lists.alloc_slice_copy(candidates),
        }
    }

    /// Writes a row that is not visible yet, and makes it visible.
    pub(super) fn show<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        found: Found<'_>,
        scratch: &mut Scratch,
    ) {
        write(place.layer.rows(), place.row, found.selected);
        self.publish(space, place, found, scratch);
    }

    /// Makes a row visible: first by a tree link from a parent, then by the other links back.
    fn publish<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        found: Found<'_>,
        scratch: &mut Scratch,
    ) {
        let parent = self.enter(space, place, found, scratch);
        for neighbour in found.selected {
            if Some(neighbour.link.row) != parent {
                let link = Link { row: place.row, node: place.node, tree: false };
                let new = Candidate { key: neighbour.key, link };
                self.connect(space, place.layer, neighbour.link.row, new, scratch);
            }
        }
    }

    /// Makes a row visible by a tree link from a parent, and returns the parent's row.
    pub(super) fn enter<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        found: Found<'_>,
        scratch: &mut Scratch,
    ) -> Option<Row> {
        found
            .landing
            .iter()
            .chain(found.selected)
            .chain(found.candidates)
            .find(|candidate| self.adopt(space, place, **candidate, scratch))
            .map(|candidate| candidate.link.row)
            .or_else(|| self.any_parent(space, place, found.candidates, scratch))
    }

    /// Tries to make the node a child of `parent` in the level's tree.
    fn adopt<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        parent: Candidate,
        scratch: &mut Scratch,
    ) -> bool {
        set_parent(place.layer.rows(), place.row, parent.link);
        let link = Link { row: place.row, node: place.node, tree: true };
        let child = Candidate { key: parent.key, link };
        self.connect(space, place.layer, parent.link.row, child, scratch)
    }

    /// Finds a parent if every candidate has its maximum of children, or none is alive: visits
    /// the tree around the nearest candidate, or around the entry. A finite tree has leaves, and a leaf
    /// may always have a child.
    #[cold]
    #[inline(never)]
    fn any_parent<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        candidates: &[Candidate],
        scratch: &mut Scratch,
    ) -> Option<Row> {
        let first =
            candidates.first().map(|c| c.link).or_else(|| self.entry_link(place.layer.level));
        let mut queue: VecDeque<Link> = first.into_iter().collect();
        let mut seen: HashSet<Row> = queue.iter().map(|link| link.row).collect();
        while let Some(link) = queue.pop_front() {
            let space = space.refresh();
            let mut key = [OrderKey::MIN];
            space.between(place.node, &[link.node], &mut key);
            if self.adopt(space, place, Candidate { key: key[0], link }, scratch) {
                return Some(link.row);
            }
            let rows = place.layer.rows();
            // A row of a damaged file may name a row or node that does not exist.
            let sound = |l: &Link| l.tree && l.row < rows.end() && l.node < space.end();
            let tree = rows.links(link.row).filter(sound);
            queue.extend(tree.filter(|l| l.row != place.row && seen.insert(l.row)));
        }
        // The first node of its level, or rows of a damaged file.
        None
    }
}

/// Adds the nodes that a walk found to the candidates for links.
fn collect<S: LinkSpace, C: Cell>(space: S, place: &Place<'_, C>, scratch: &mut Scratch) {
    let Scratch { pool, candidates, .. } = scratch;
    candidates.reserve(pool.len());
    // A loop: the compiler does not always keep the closures of an iterator in place.
    for (key, row) in pool.iter() {
        if let Some(candidate) = candidate(space, place, Near { key, row }) {
            candidates.push(candidate);
        }
    }
}

/// Returns a node that a walk visited as a candidate, if it is another node and may be linked to.
#[inline(always)]
fn candidate<S: LinkSpace, C: Cell>(
    space: S,
    place: &Place<'_, C>,
    Near { key, row }: Near,
) -> Option<Candidate> {
    let link = Link { row, node: place.layer.rows().head(row).0, tree: false };
    (row != place.row && space.is_live(link.node)).then_some(Candidate { key, link })
}

/// Empties a row that no walk visits any more.
fn clear<C: Cell>(rows: Rows<'_, C>, row: Row) {
    rows.cells(row).iter().for_each(|cell| cell.store(None));
}

/// Writes the links of a row that is not visible yet.
fn write<C: Cell>(rows: Rows<'_, C>, row: Row, links: &[Candidate]) {
    for (cell, candidate) in rows.cells(row).iter().zip(links) {
        cell.store(Some(candidate.link));
    }
}
