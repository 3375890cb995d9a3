//! Giving space back to the file system.
//!
//! Each step is a transaction that moves runs, with a checkpoint behind it, so that the next step
//! can use the places that the runs had. Steps first *fill*: runs at the end move to free space
//! before them. If free space is too scattered for them and no snapshot is open, a step
//! *evacuates*: all runs behind a place move behind the end, so that they can be packed from that
//! place on. At last the file is cut.
//!
//! A run that another snapshot sees stays, because its place would not become free.

use std::cell::Cell;
use std::sync::Arc;

use super::relocate::{Moves, Plan, relocate};
use super::survey::{Align, Survey};
use crate::guard::{Guard, is_off};
use crate::store::disk::Readers;
use crate::store::durability::{Changes, checkpoint, cutting_checkpoint};
use crate::store::error::StoreError;
use crate::store::format::PageNo;
use crate::store::pages::{Placing, Shared, Writer, backing};
use crate::store::progress::Progress;
use crate::store::transaction::WriteTransaction;

/// Waits until the caller has released the places that runs had before a step. Returns the state that the caller's own snapshot sees
/// then, if it has one.
pub(crate) type LetGo<'a, E> = &'a dyn Fn() -> Result<Option<u64>, E>;

/// Moves nodes from the end to the front and cuts the file. Every extent stays where it is, so the caller keeps its own snapshot
/// of state `own`.
pub(crate) fn compact_nodes(
    shared: &Arc<Shared>,
    progress: Progress<'_>,
    own: Option<u64>,
) -> Result<(), StoreError> {
    let before = length(shared)?;
    shared.writer.with(|writer| checkpoint(shared, writer))?;
    let mut space = Space::of(shared)?;
    let until = |_| false;
    let filling = Filling { progress, align: Align::Fine, moves: Moves::Nodes, until };
    filling.fill_all(shared, &|| Ok::<_, StoreError>(own), own, &mut space)?;
    cut(shared, before)
}

/// See [`crate::store::Store::compact`].
pub(crate) fn compact<E: From<StoreError>>(
    shared: &Arc<Shared>,
    progress: Progress<'_>,
    let_go: LetGo<'_, E>,
) -> Result<u64, E> {
    let before = length(shared)?;
    // The error may be of the caller's type, which does not show a refusal.
    let is_refused = Cell::new(false);
    let go_on = |bytes| {
        let goes_on = progress.step(bytes).is_ok();
        is_refused.set(is_refused.get() || !goes_on);
        goes_on
    };
    let packed = pack(shared, &go_on, let_go);
    if packed.is_err() && !is_refused.get() {
        return packed.map(|()| 0);
    }
    // The file is cut after a refusal, too: earlier steps have freed pages, and a step that was ended may have left a longer file.
    cut(shared, before)?;
    packed?;
    if is_refused.get() {
        return Err(StoreError::Cancelled.into());
    }
    Ok(before.saturating_sub(length(shared)?))
}

/// Moves runs from the end to the front.
fn pack<E: From<StoreError>>(
    shared: &Arc<Shared>,
    go_on: &dyn Fn(u64) -> bool,
    let_go: LetGo<'_, E>,
) -> Result<(), E> {
    let progress = Progress::new(go_on);
    shared.writer.with(|writer| {
        shared.writer.ask();
        progress.step(0)?;
        if writer.log.is_empty() { Ok(()) } else { checkpoint(shared, writer) }
    })?;
    let mut own = let_go()?;
    let mut space = Space::of(shared)?;
    let (moves, until) = (Moves::All, Space::is_tight as fn(Space) -> bool);
    let filling = Filling { progress, align: Align::Fine, moves, until };
    own = filling.fill_all(shared, let_go, own, &mut space)?;
    if space.is_close() {
        return Ok(());
    }
    if let Some(align) = evacuate(shared, progress, own)? {
        // Once runs are behind the end, only further steps make the file short again.
        let tell = |bytes| {
            go_on(bytes);
            true
        };
        own = let_go()?;
        space = Space::of(shared)?;
        let packing = Filling { progress: Progress::new(&tell), align, moves, until: |_| false };
        packing.fill_all(shared, let_go, own, &mut space)?;
    }
    Ok(())
}

fn length(shared: &Shared) -> Result<u64, StoreError> {
    shared.storage.len().map_err(StoreError::io("measure the file"))
}

/// Returns whether a snapshot of this process besides that of `own`, or another process, holds a state.
pub(crate) fn is_held(shared: &Shared, own: Option<u64>) -> Result<bool, StoreError> {
    shared.writer.with(|writer| Ok(newest_held(shared, writer, own, None).is_some()))
}

/// Returns the newest state that is held besides that of `own`, and besides that of the writer's
/// own pin.
fn newest_held(
    shared: &Shared,
    writer: &mut Writer,
    own: Option<u64>,
    pin: Option<u64>,
) -> Option<u64> {
    writer.processes = shared.readers.as_ref().map(Readers::processes).unwrap_or_default();
    if is_off(Guard::Layout) {
        return None;
    }
    if writer.processes.contains(&0) {
        return Some(u64::MAX);
    }
    let pins = shared.frames.pins().into_iter().filter(|&(state, count)| {
        count > usize::from(own == Some(state)) + usize::from(pin == Some(state))
    });
    pins.map(|(state, _)| state).chain(writer.processes.iter().copied()).max()
}

/// Pages of the file.
#[derive(Debug, Clone, Copy)]
struct Space {
    end: PageNo,
    /// The end of a file without gaps.
    ideal: PageNo,
}

impl Space {
    fn of(shared: &Shared) -> Result<Self, StoreError> {
        shared.writer.with(|writer| {
            writer.reclaim(&shared.frames);
            let end = writer.allocator.trim();
            let list = writer.meta.free_list.bytes / shared.page_size as u64;
            let waiting: u64 = writer.waiting_runs().map(|run| run.pages).sum();
            Ok(Self { end, ideal: end - writer.allocator.free_pages() - waiting - list })
        })
    }

    fn waste(self) -> u64 {
        self.end - self.ideal
    }

    fn is_tight(self) -> bool {
        self.waste() <= 1.max(self.ideal / 100)
    }

    /// Returns whether moving all runs is not worth its cost.
    fn is_close(self) -> bool {
        self.waste() <= 1.max(self.ideal / 25)
    }
}

/// The settings of filling.
struct Filling<'a> {
    progress: Progress<'a>,
    align: Align,
    moves: Moves,
    until: fn(Space) -> bool,
}

impl Filling<'_> {
    /// Fills until a step frees little. Returns the state that the caller's snapshot sees.
    fn fill_all<E: From<StoreError>>(
        &self,
        shared: &Arc<Shared>,
        let_go: LetGo<'_, E>,
        mut own: Option<u64>,
        space: &mut Space,
    ) -> Result<Option<u64>, E> {
        while !(self.until)(*space) && self.fill(shared, own)? {
            own = let_go()?;
            let before = std::mem::replace(space, Space::of(shared)?);
            if space.end + (before.waste() / 16).max(1) > before.end {
                break;
            }
        }
        Ok(own)
    }

    /// Moves runs at the end to free space before them. Returns whether a run was moved.
    fn fill(&self, shared: &Arc<Shared>, own: Option<u64>) -> Result<bool, StoreError> {
        WriteTransaction::new(shared)?.change(|changes| {
            shared.writer.ask();
            let pages = &mut changes.pages;
            let pin = pages.pinned();
            let held = newest_held(shared, &mut pages.writer, own, Some(pin));
            if held.is_some_and(|held| held >= pages.writer.state.transaction) {
                return Ok(false);
            }
            let allocator = &pages.writer.allocator;
            let from = allocator.end() - allocator.free_pages();
            let &Self { progress, align, moves, .. } = self;
            relocate(changes, &Plan { progress, from, held, align, moves, is_away: false })?;
            commit(changes)
        })
    }
}

/// Moves all runs behind a place behind the end. Returns the alignment of the extents that are packed at that place then. Returns
/// `None` if packing would gain little, if the disk has no room, or if a snapshot holds the places.
fn evacuate(
    shared: &Arc<Shared>,
    progress: Progress<'_>,
    own: Option<u64>,
) -> Result<Option<Align>, StoreError> {
    let before = length(shared)?;
    let moved = WriteTransaction::new(shared)?.change(|changes| {
        shared.writer.ask();
        let pages = &mut changes.pages;
        let pin = pages.pinned();
        let is_held = newest_held(shared, &mut pages.writer, own, Some(pin)).is_some();
        if is_held || !pages.writer.waiting.is_empty() {
            return Ok(None);
        }
        let survey = Survey::of(changes)?;
        let pages = &changes.pages;
        let Some((from, align)) = survey.gain(pages) else { return Ok(None) };
        let end = pages.writer.allocator.end() * shared.page_size as u64;
        let needed = end.max(before) + survey.bytes(pages, from);
        if backing::fill(shared, &mut changes.pages.writer, needed).is_err() {
            return Ok(None);
        }
        changes.pages.placing = Placing::Beyond;
        let moves = Moves::All;
        relocate(changes, &Plan { progress, from, held: None, align, moves, is_away: true })?;
        // A snapshot that was made meanwhile would hold both places.
        let pages = &mut changes.pages;
        if newest_held(shared, &mut pages.writer, own, Some(pin)).is_some() {
            return Ok(None);
        }
        commit(changes)?;
        Ok(Some(align))
    });
    if !matches!(moved, Ok(Some(_))) && length(shared)? > before {
        // No page in use is behind the old end.
        let restored = shared.writer.with(|writer| {
            let end = writer.allocator.trim().max(writer.meta.end) * shared.page_size as u64;
            backing::cut_to(shared, writer, end.max(before))
        });
        // The first error is the cause.
        return moved.and_then(|align| restored.map(|()| align));
    }
    moved
}

/// Commits a step, with a checkpoint. Returns whether a run was moved.
fn commit(changes: &mut Changes) -> Result<bool, StoreError> {
    let Changes { pages, state, .. } = changes;
    if *state == pages.writer.state {
        return Ok(false);
    }
    let before = pages.writer.state;
    pages.commit_by_checkpoint(state.committed(&before, before.transaction + 1))?;
    Ok(true)
}

/// Cuts off the free pages at the end: first in a checkpoint, which may not need them any more, then in the file, except for the
/// reserve. The file does not become longer than `before`.
fn cut(shared: &Arc<Shared>, before: u64) -> Result<(), StoreError> {
    shared.writer.with(|writer| {
        let size = shared.page_size as u64;
        // The first checkpoint moves the list of free pages to the front, the second one frees the list's old place.
        for _ in 0..2 {
            writer.reclaim(&shared.frames);
            let end = writer.allocator.trim();
            let list = writer.meta.free_list;
            let is_last = list.page != 0 && list.page + list.bytes / size == end;
            if end < writer.meta.end || is_last {
                cutting_checkpoint(shared, writer)?;
            }
        }
        let end = writer.meta.end * size;
        let len = (end + writer.reserve).min(writer.backed).min(before).max(end);
        if len < length(shared)? { backing::cut_to(shared, writer, len) } else { Ok(()) }
    })
}
