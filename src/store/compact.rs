//! Giving space back to the file system.

use std::sync::Arc;

use super::catalog::{ExtentRecord, TableRecord};
use super::changes::Changes;
use super::checkpoint::checkpoint;
use super::error::StoreError;
use super::room;
use super::shared::Shared;
use super::steps::Steps;
use super::tree::{self, Stored, Visit};
use super::write::WriteTransaction;

/// The pages that a compaction moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    All,
    /// Nodes of trees and not extents, of which the caller has maps.
    Nodes,
}

/// See [`super::Store::compact`].
pub(crate) fn compact(
    shared: &Arc<Shared>,
    moves: Moves,
    steps: Steps<'_>,
) -> Result<u64, StoreError> {
    let before = shared.storage.len().map_err(StoreError::io("measure the file"))?;
    // What waits for a checkpoint becomes free first, so that there is where to move to. The second one replaces the
    // first: then what the moving left behind is free as well.
    settle(shared)?;
    move_down(shared, moves, steps)?;
    settle(shared)?;
    shared.writer.with(|writer| cut(shared, writer))?;
    let after = shared.storage.len().map_err(StoreError::io("measure the file"))?;
    Ok(before.saturating_sub(after))
}

fn settle(shared: &Shared) -> Result<(), StoreError> {
    shared.writer.with(|writer| checkpoint(shared, writer))
}

/// Rewrites what lies behind the place where a file without gaps would end.
fn move_down(shared: &Arc<Shared>, moves: Moves, steps: Steps<'_>) -> Result<(), StoreError> {
    WriteTransaction::new(shared)?.change(|changes| {
        let allocator = &changes.pages.writer.allocator;
        let limit = allocator.end() - allocator.free_pages();
        shared.writer.ask();
        if moves == Moves::All {
            relocate_extents(changes, limit, steps)?;
        }
        relocate_nodes(changes, limit, steps)?;
        let Changes { pages, state, .. } = changes;
        let before = pages.writer.state;
        pages.commit_by_checkpoint(state.committed(&before, before.transaction + 1))
    })
}

fn relocate_extents(changes: &mut Changes, limit: u64, steps: Steps<'_>) -> Result<(), StoreError> {
    let mut extents = Vec::new();
    let root = changes.state.extents;
    tree::visit(&changes.pages, root, &mut |visit| {
        if let Visit::Entry(number, Stored::Inline(value)) = visit {
            extents.push((number.to_vec(), ExtentRecord::decode(root.page, value)?));
        }
        Ok(())
    })?;
    // The longest first, and pages last: they fit everywhere, and would cut the room for extents to pieces.
    extents.sort_unstable_by_key(|(_, record)| std::cmp::Reverse(record.len));
    for (number, record) in extents {
        steps.step(record.len)?;
        // An extent that fits nowhere would go to the end, and a full disk may have no room there.
        if record.page >= limit && changes.pages.has_room_for(record) {
            // Writing nothing copies the extent to where there is room.
            let moved = changes.pages.write_extent(record, 0, &[])?;
            let root = &mut changes.state.extents;
            tree::put_inline(&mut changes.pages, root, &number, &moved.encode())?;
        }
    }
    Ok(())
}

fn relocate_nodes(changes: &mut Changes, limit: u64, steps: Steps<'_>) -> Result<(), StoreError> {
    let mut tables = Vec::new();
    let catalog = changes.state.catalog;
    tree::visit(&changes.pages, catalog, &mut |visit| {
        if let Visit::Entry(name, Stored::Inline(value)) = visit {
            tables.push((name.to_vec(), TableRecord::decode(catalog.page, value)?));
        }
        Ok(())
    })?;
    for (name, mut record) in tables {
        let before = record.root;
        tree::relocate(&mut changes.pages, &mut record.root, limit, steps)?;
        if record.root != before {
            let catalog = &mut changes.state.catalog;
            tree::put_inline(&mut changes.pages, catalog, &name, &record.encode())?;
        }
    }
    tree::relocate(&mut changes.pages, &mut changes.state.catalog, limit, steps)?;
    tree::relocate(&mut changes.pages, &mut changes.state.extents, limit, steps)
}

/// Cuts off the free pages at the end: first in a checkpoint, which may not need them any more, then in the file.
fn cut(shared: &Shared, writer: &mut super::writer::Writer) -> Result<(), StoreError> {
    writer.reclaim(&shared.frames);
    let end = writer.allocator.end();
    if writer.allocator.trim() == end {
        return Ok(());
    }
    checkpoint(shared, writer)?;
    // The checkpoint's own list of free pages may lie at the end.
    room::cut(shared, writer)
}
