//! One step of a compaction: runs move to their new places.

use super::survey::{Align, extents, tables};
use crate::store::durability::Changes;
use crate::store::error::StoreError;
use crate::store::format::{NodeRef, OVERFLOW, PageNo, Run, Source, Stored};
use crate::store::pages::{Fit, Workspace};
use crate::store::progress::Progress;
use crate::store::tree;

/// Approximate limit, in bytes, of the nodes that a step moves: they are in memory until its checkpoint.
const IN_MEMORY: u64 = 256 << 20;
/// Pages that stay free for copies of the nodes above a run that moves, while a snapshot is open.
const SPARE: u64 = 32;

/// The pages that a step moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    All,
    /// Nodes of trees and not extents, because the caller has maps of extents.
    Nodes,
}

/// Selects the runs that move, and their new places.
pub(super) struct Plan<'a> {
    pub(super) progress: Progress<'a>,
    /// Runs that end behind this page.
    pub(super) from: PageNo,
    /// Only runs that were made after this state; all runs if `None`.
    pub(super) held: Option<u64>,
    pub(super) align: Align,
    pub(super) moves: Moves,
    /// Whether runs move behind the end instead of to free space in front.
    pub(super) is_away: bool,
}

impl Plan<'_> {
    /// Returns whether a run is to move.
    fn wants(&self, pages: &Workspace, run: Run) -> bool {
        let spare = if self.held.is_some() { SPARE + run.pages } else { 0 };
        run.start.saturating_add(run.pages) > self.from
            && !pages.has_made(run.start)
            && self.held.is_none_or(|held| pages.writer.born(run.start) > held)
            && (self.is_away || pages.writer.allocator.free_pages() >= spare)
            && pages.own_pages() * (pages.page_size() as u64) < IN_MEMORY
    }

    /// Allocates space for a run at the first of `aligns` that has room: in the shortest free run in front of all runs that move, else
    /// in the first one.
    fn place(
        &self,
        pages: &mut Workspace,
        run: Run,
        aligns: &[u64],
    ) -> Result<Option<Run>, StoreError> {
        if self.is_away {
            return pages.allocate_beyond(run.pages, aligns[aligns.len() - 1]).map(Some);
        }
        let front = run.start.min(self.from);
        let mut shortest = |&align: &u64| pages.allocate_below(run.pages, align, front, Fit::Best);
        if let Some(place) = aligns.iter().find_map(&mut shortest) {
            return Ok(Some(place));
        }
        let mut first =
            |&align: &u64| pages.allocate_below(run.pages, align, run.start, Fit::First);
        Ok(aligns.iter().find_map(&mut first))
    }

    /// Returns whether a copy of the node at `page` would be at its destination.
    fn has_page(&self, pages: &Workspace, page: PageNo) -> bool {
        self.is_away || pages.writer.allocator.first().is_some_and(|first| first < page)
    }
}

/// Moves the runs that the plan selects.
pub(super) fn relocate(changes: &mut Changes, plan: &Plan<'_>) -> Result<(), StoreError> {
    let size = changes.pages.page_size();
    let mut extents = if plan.moves == Moves::All { extents(changes)? } else { Vec::new() };
    // The longest extents move first, and pages last, because pages fit everywhere, and would fragment the room for extents.
    extents.sort_unstable_by_key(|(_, record)| std::cmp::Reverse(record.len));
    for (number, record) in extents {
        plan.progress.step(record.len)?;
        let run = Run { start: record.page, pages: record.pages(size) };
        if !plan.wants(&changes.pages, run) {
            continue;
        }
        let align = record.align(size);
        let aligns = [plan.align.of(align, size), plan.align.max(Align::Coarse).of(align, size)];
        if let Some(place) = plan.place(&mut changes.pages, run, &aligns)? {
            let moved = changes.pages.move_extent(record, place)?;
            let root = &mut changes.state.extents;
            tree::put_inline(&mut changes.pages, root, &number, &moved.encode())?;
        }
    }
    for (name, mut record) in tables(changes)? {
        let before = record.root;
        relocate_tree(&mut changes.pages, &mut record.root, plan)?;
        if record.root != before {
            let catalog = &mut changes.state.catalog;
            tree::put_inline(&mut changes.pages, catalog, &name, &record.encode())?;
        }
    }
    relocate_tree(&mut changes.pages, &mut changes.state.catalog, plan)?;
    relocate_tree(&mut changes.pages, &mut changes.state.extents, plan)
}

/// Moves pages and long values of a tree by the plan, children before their parents.
fn relocate_tree(
    pages: &mut Workspace,
    root: &mut NodeRef,
    plan: &Plan<'_>,
) -> Result<(), StoreError> {
    if root.is_empty() {
        return Ok(());
    }
    *root = relocate_node(pages, *root, plan)?;
    Ok(())
}

fn relocate_node(
    pages: &mut Workspace,
    at: NodeRef,
    plan: &Plan<'_>,
) -> Result<NodeRef, StoreError> {
    plan.progress.step(pages.shared.page_size as u64)?;
    let mut here = at;
    let node = (&*pages).node(here)?;
    let (count, is_leaf, level) = (node.count(), node.is_leaf(), node.level());
    for i in 0..count {
        if is_leaf {
            let (key, stored) = (&*pages).node(here)?.entry(i)?;
            let Stored::Overflow(value) = stored else { continue };
            let run =
                Run { start: value.page, pages: value.len.div_ceil(pages.page_size() as u64) };
            if !plan.wants(pages, run) {
                continue;
            }
            let (key, bytes) = (key.to_vec(), (&*pages).value(stored)?.to_vec());
            plan.progress.step(bytes.len() as u64)?;
            let Some(place) = plan.place(pages, run, &[1])? else { continue };
            let moved = pages.move_value(value, &bytes, place)?;
            here = NodeRef { page: pages.own(here)?, checksum: 0 };
            let mut edit = pages.edit(here.page)?;
            edit.remove(i)?;
            edit.insert_leaf(i, &key, OVERFLOW, &moved.encode())?;
        } else {
            let child = (&*pages).node(here)?.child(i)?;
            if (&*pages).node(child)?.level() + 1 != level {
                return Err(StoreError::corrupt(
                    child.page,
                    "it is not one level below its parent",
                ));
            }
            let moved = relocate_node(pages, child, plan)?;
            if moved != child {
                here = NodeRef { page: pages.own(here)?, checksum: 0 };
                pages.edit(here.page)?.set_child(i, moved)?;
            }
        }
    }
    if plan.wants(pages, Run::one(here.page)) && plan.has_page(pages, here.page) {
        here = NodeRef { page: pages.own(here)?, checksum: 0 };
    }
    Ok(here)
}
