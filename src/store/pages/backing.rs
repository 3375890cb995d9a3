//! Room on the disk, taken before it is needed.
//!
//! The file has a written place for every page of a commit before the commit is acknowledged. A
//! checkpoint thus cannot fail for lack of space, and a full disk refuses single transactions only. Behind the last page the file has a
//! reserve of zeros; free pages may replace it. Transactions that only remove or need no
//! more pages than they give up, checkpoints and compactions may use it when the disk is full, so that removing makes room.

use super::shared::Shared;
use super::writer::Writer;
use crate::store::error::StoreError;
use crate::store::format::PageNo;

/// Granularity of the file's length.
const STEP: u64 = 256 << 10;
/// Bytes of zeros of one write.
const MOST: u64 = 1 << 20;
/// On a full disk, smaller pieces down to this size may still fit.
const LEAST: u64 = 4 << 10;
/// Pages of the reserve: the ways from the roots to a few leaves.
const PAGES: u64 = 16;

/// Returns the number of bytes that a file has behind its last page.
pub(crate) fn reserve(page_size: u64) -> u64 {
    STEP.max(PAGES * page_size)
}

/// The share of the reserve that a step may use on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A step that adds to the store: the whole reserve must be left.
    Growth,
    /// A step that removes, or replaces pages: a quarter must be left, so that the next checkpoint can free pages.
    Removal,
    /// A step that frees pages: it may use the whole reserve.
    Checkpoint,
}

impl Claim {
    /// Returns the bytes of a reserve that must be left.
    fn left(self, reserve: u64) -> u64 {
        match self {
            Self::Growth => reserve,
            Self::Removal => reserve / 4,
            Self::Checkpoint => 0,
        }
    }
}

/// Makes the file long enough for all pages before `end` and for the reserve behind them.
pub(crate) fn provide(
    shared: &Shared,
    writer: &mut Writer,
    end: PageNo,
    claim: Claim,
) -> Result<(), StoreError> {
    let need = end * shared.page_size as u64;
    let want = need + writer.reserve;
    if writer.backed < want {
        let filled = fill(shared, writer, want.next_multiple_of(STEP));
        let free = writer.allocator.free_pages() * shared.page_size as u64;
        if let Err(error) = filled
            && (writer.backed < need || writer.backed - need + free < claim.left(writer.reserve))
        {
            return Err(error);
        }
    }
    shared.frames.segments.grow(&*shared.storage, writer.backed)
}

/// Writes zeros up to `target`.
pub(crate) fn fill(shared: &Shared, writer: &mut Writer, target: u64) -> Result<(), StoreError> {
    let mut most = MOST;
    while writer.backed < target {
        let piece = most.min(target - writer.backed);
        let zeros = vec![0; piece as usize];
        let written = shared.storage.write_at(writer.backed, &zeros);
        match written.map_err(StoreError::io("grow the file")) {
            Ok(()) => {
                shared.wrote(piece);
                writer.backed += piece;
            }
            Err(error) if error.is_full() && piece > LEAST => most = (piece / 2).max(LEAST),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Cuts the file to `len` bytes, behind all pages that are in use.
pub(crate) fn cut_to(shared: &Shared, writer: &mut Writer, len: u64) -> Result<(), StoreError> {
    shared.frames.segments.shrink(len);
    shared.storage.set_len(len).map_err(StoreError::io("cut the file"))?;
    writer.backed = writer.backed.min(len);
    Ok(())
}
