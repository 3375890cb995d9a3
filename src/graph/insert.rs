//! Linking a new node.

use std::collections::{HashSet, VecDeque};

use bumpalo::Bump;

use super::layer::{Cell, Layer, Link, Rows};
use super::link::set_parent;
use super::prune::{Candidate, select};
use super::spread::Halt;
use super::upper::Stack;
use super::walk::{Near, beam};
use super::{Entry, Graph, LinkSpace, Parameters, Scratch, UPPER_LEVELS};

/// What an insertion found on one level, nearest first.
#[derive(Debug, Clone, Copy, Default)]
struct Found<'a> {
    /// The neighbours chosen.
    selected: &'a [Candidate],
    /// All candidates.
    candidates: &'a [Candidate],
}

/// A new node's place on one level.
#[derive(Debug, Clone, Copy)]
struct Place<'a, C> {
    level: usize,
    layer: &'a Layer<C>,
    row: u32,
    node: u32,
}

/// A node that is to be linked.
#[derive(Debug, Clone, Copy)]
struct Newcomer<'a, Q> {
    node: u32,
    /// Its vector.
    query: Q,
    /// Its row on each of its levels.
    rows: &'a [u32],
}

impl Graph {
    /// Links `node`, which [`Self::push`] returned, so that searches find it. `query` is its
    /// vector.
    pub(crate) fn insert<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: u32,
        scratch: &mut Scratch,
    ) {
        let stack = self.stack(node, self.draw_level(node));
        self.join(space, query, node, stack, scratch);
    }

    /// [`Self::insert`] for a node that was removed, to which no way leads any more: it takes its
    /// place on the same levels again.
    pub(crate) fn insert_again<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: u32,
        scratch: &mut Scratch,
    ) {
        let stack = self.stack_of(node);
        clear(self.base.rows(), node);
        for level in 1..=stack.level {
            clear(self.layer(level).rows(), stack.rows[level]);
        }
        self.join(space, query, node, stack, scratch);
    }

    fn join<S: LinkSpace>(
        &self,
        space: S,
        query: S::Query,
        node: u32,
        stack: Stack,
        scratch: &mut Scratch,
    ) {
        let level = stack.level;
        // Whoever raises the entry does so alone: two nodes above it would not see each other.
        let mut raising = None;
        if self.entry().is_none_or(|entry| level > entry.level) {
            raising = Some(self.growth.lock());
        }
        let entry = self.entry();
        let raises = entry.is_none_or(|entry| level > entry.level);
        if !raises {
            raising = None;
        }
        if let Some(entry) = entry {
            // The entry may be younger than the space in hand.
            let space = space.refresh();
            let mut lists = std::mem::take(&mut scratch.lists);
            lists.reset();
            self.link(space, Newcomer { node, query, rows: stack.rows() }, entry, &lists, scratch);
            scratch.lists = lists;
        }
        if raises {
            self.set_entry(Entry { level, row: stack.rows[level] });
        }
        drop(raising);
    }

    fn link<S: LinkSpace>(
        &self,
        space: S,
        new: Newcomer<'_, S::Query>,
        entry: Entry,
        lists: &Bump,
        scratch: &mut Scratch,
    ) {
        let Newcomer { node, query, rows } = new;
        let top = entry.level.min(rows.len() - 1);
        let mut near = self.descend(space, query, entry, top, scratch);
        let mut found = [Found::default(); UPPER_LEVELS + 1];
        for level in (1..=top).rev() {
            let place = Place { level, layer: self.layer(level), row: rows[level], node };
            found[level] = self.find(space, query, &place, near, lists, scratch);
            let nearest = found[level].candidates.first();
            let (key, row) = nearest.map_or((near.key, near.row), |c| (c.key, c.link.row));
            near = Near { key, row: place.layer.rows().head(row).1 };
        }
        let base = Place { level: 0, layer: &self.base, row: node, node };
        found[0] = self.find(space, query, &base, near, lists, scratch);

        // Own links of all levels are in place before the first link to this node is.
        for level in 1..=top {
            write(self.layer(level).rows(), rows[level], found[level].selected);
        }
        write(self.base.rows(), node, found[0].selected);

        self.publish(space, &base, found[0], scratch);
        for level in 1..=top {
            let place = Place { level, layer: self.layer(level), row: rows[level], node };
            self.publish(space, &place, found[level], scratch);
        }
    }

    /// The candidates of a walk on one level, and the neighbours chosen among them.
    fn find<'a, S: LinkSpace, C: Cell>(
        &self,
        space: S,
        query: S::Query,
        place: &Place<'_, C>,
        from: Near,
        lists: &'a Bump,
        scratch: &mut Scratch,
    ) -> Found<'a> {
        let rows = place.layer.rows();
        let Parameters { m, ef_construction, .. } = self.parameters;
        // Distances on the levels above grow in another way.
        let halt = if place.level == 0 {
            Halt::of_insertion(m, ef_construction, self.spread.exponent())
        } else {
            Halt::NEVER
        };
        beam(space, query, rows, from, ef_construction, halt, scratch);
        if place.level == 0 {
            self.spread.learn(space, &scratch.pool);
        }
        let Scratch { pool, candidates, prune, counters, .. } = scratch;
        candidates.clear();
        let others = pool.iter().filter(|&(_, row)| row != place.row).map(|(key, row)| {
            let link = Link { row, node: rows.head(row).0, tree: false };
            Candidate { key, link }
        });
        candidates.extend(others.filter(|candidate| space.is_live(candidate.link.node)));
        counters.distances += select(space, candidates, m, prune);
        Found {
            selected: lists.alloc_slice_copy(&prune.kept),
            candidates: lists.alloc_slice_copy(candidates),
        }
    }

    /// Makes a row visible: first by a tree link from a parent, then by the other links back.
    fn publish<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        found: Found<'_>,
        scratch: &mut Scratch,
    ) {
        let parent = found
            .selected
            .iter()
            .chain(found.candidates)
            .find(|candidate| self.adopt(space, place, **candidate, scratch))
            .map(|candidate| candidate.link.row)
            .or_else(|| self.any_parent(space, place, found.candidates, scratch));
        for neighbour in found.selected {
            if Some(neighbour.link.row) != parent {
                let link = Link { row: place.row, node: place.node, tree: false };
                let new = Candidate { key: neighbour.key, link };
                self.connect(space, place.level, place.layer, neighbour.link.row, new, scratch);
            }
        }
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
        self.connect(space, place.level, place.layer, parent.link.row, child, scratch)
    }

    /// When every candidate has as many children as it may have, or none is alive: goes through
    /// the tree around the nearest, or where searches start. A finite tree has leaves, and a leaf
    /// may always have a child.
    #[cold]
    #[inline(never)]
    fn any_parent<S: LinkSpace, C: Cell>(
        &self,
        space: S,
        place: &Place<'_, C>,
        candidates: &[Candidate],
        scratch: &mut Scratch,
    ) -> Option<u32> {
        let first = candidates.first().map(|c| c.link).or_else(|| self.entry_link(place.level));
        let mut queue: VecDeque<Link> = first.into_iter().collect();
        let mut seen: HashSet<u32> = queue.iter().map(|link| link.row).collect();
        while let Some(link) = queue.pop_front() {
            let space = space.refresh();
            let mut key = [0];
            space.between(place.node, &[link.node], &mut key);
            if self.adopt(space, place, Candidate { key: key[0], link }, scratch) {
                return Some(link.row);
            }
            let rows = place.layer.rows();
            // A row that came damaged from a file may name what is not there.
            let sound = |l: &Link| l.tree && l.row < rows.len() && l.node < space.len();
            let tree = rows.links(link.row).filter(sound);
            queue.extend(tree.filter(|l| l.row != place.row && seen.insert(l.row)));
        }
        // The first node of its level, or the rows came damaged from a file.
        None
    }
}

/// Empties a row that nobody sees any more.
fn clear<C: Cell>(rows: Rows<'_, C>, row: u32) {
    rows.cells(row).iter().for_each(|cell| cell.store(None));
}

/// Writes the links of a row that nobody sees yet.
fn write<C: Cell>(rows: Rows<'_, C>, row: u32, links: &[Candidate]) {
    for (cell, candidate) in rows.cells(row).iter().zip(links) {
        cell.store(Some(candidate.link));
    }
}
