//! Entries of a long pool that arrived lately, in a short sorted array of their own.
//!
//! An entry of a long array moves half of the others. Beside the short array it moves few, and the long one takes all of the
//! short one in a single pass.

use super::{EXPANDED, List};
use crate::simd::SLACK;

/// Entries in a pool from which on new ones arrive in the short array.
pub(super) const DIRECT: usize = 768;

/// Entries of the short array, at most.
pub(super) const RECENT: usize = 128;

/// Entries that move together.
const MOVED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The entries, of which the first `len` count, in ascending order; [`SLACK`] longer than [`RECENT`] if they are in use.
    entries: Vec<u64>,
    pub(super) len: usize,
    /// Entries before it are expanded.
    cursor: usize,
}

impl Recent {
    pub(super) fn make_room(&mut self) {
        self.entries.resize(RECENT + SLACK, 0);
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.cursor) = (0, 0);
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * 8
    }

    /// Returns the greatest entry, 0 if there is none.
    #[inline(always)]
    pub(super) fn last(&self) -> u64 {
        self.entries[..self.len].last().copied().unwrap_or(0)
    }

    /// Returns the least entry that is not expanded.
    #[inline(always)]
    pub(super) fn nearest(&self) -> Option<u64> {
        self.entries[..self.len].get(self.cursor).copied()
    }
}

/// Expands the first entry that is not, at `cursor`, and returns it.
#[inline(always)]
pub(super) fn expand(entries: &mut [u64], cursor: &mut usize) -> Option<u64> {
    let entry = entries.get_mut(*cursor)?;
    *entry |= EXPANDED;
    let entry = *entry;
    *cursor += 1;
    while entries.get(*cursor).is_some_and(|e| e & EXPANDED != 0) {
        *cursor += 1;
    }
    Some(entry)
}

// Walks inline the ways of a short list, and call those of a long one.
impl List {
    /// Expands the nearest entry of both arrays, and returns it. Settles the list if all are expanded.
    #[cold]
    #[inline(never)]
    pub(super) fn next_of_both(&mut self) -> Option<u64> {
        let Self { entries, len, cursor, recent, .. } = self;
        let entries = &mut entries[..*len];
        let next = match (entries.get(*cursor), recent.nearest()) {
            (_, None) => expand(entries, cursor),
            (Some(&entry), Some(other)) if entry < other => expand(entries, cursor),
            _ => expand(&mut recent.entries[..recent.len], &mut recent.cursor),
        };
        if next.is_none() {
            self.settle();
        }
        next
    }

    /// Returns the nearest entry of both arrays that is not expanded.
    #[cold]
    #[inline(never)]
    pub(super) fn nearest_of_both(&self) -> Option<u64> {
        let nearest = self.entries[..self.len].get(self.cursor).copied();
        [nearest, self.recent.nearest()].into_iter().flatten().min()
    }

    /// Returns the key that a candidate must beat, if there are recent entries.
    #[cold]
    #[inline(never)]
    pub(super) fn bound_of_both(&self) -> u64 {
        if self.len + self.recent.len < self.capacity {
            return u64::MAX;
        }
        let last = self.entries[..self.len].last().copied().unwrap_or(0);
        last.max(self.recent.last()) >> 32
    }

    /// Returns the entry of a rank in the order of both arrays.
    #[cold]
    #[inline(never)]
    pub(super) fn of_both_at(&self, rank: usize) -> Option<u64> {
        let (entries, recent) =
            (&self.entries[..self.len], &self.recent.entries[..self.recent.len]);
        // The number of recent entries before the one of the rank: the least for which the next is beyond the others of the rank.
        let (mut low, mut high) = (rank.saturating_sub(entries.len()), rank.min(recent.len()));
        while low < high {
            let middle = usize::midpoint(low, high);
            if recent[middle] < entries[rank - middle - 1] {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        [entries.get(rank - low), recent.get(low)].into_iter().flatten().min().copied()
    }

    /// Returns the number of nearest entries that are expanded without a gap.
    pub(super) fn expanded(&self) -> usize {
        let (entries, recent) =
            (&self.entries[..self.len], &self.recent.entries[..self.recent.len]);
        let Some(nearest) = self.nearest_of_both() else {
            return entries.len() + recent.len();
        };
        let before = |entries: &[u64], cursor: usize| {
            entries[..cursor].partition_point(|&entry| entry < nearest)
        };
        before(entries, self.cursor) + before(recent, self.recent.cursor)
    }

    /// Moves the recent entries to the others.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&mut self) {
        self.cursor = self.expanded();
        let Self { entries, len, recent, .. } = self;
        let mut end = *len;
        *len += recent.len;
        let entries = &mut entries[..*len];
        for (before, &entry) in recent.entries[..recent.len].iter().enumerate().rev() {
            // Entries beyond move up by the number of recent ones up to this one.
            let by = before + 1;
            while end >= MOVED && entries[end - MOVED] > entry {
                let mut moved = [0; MOVED];
                moved.copy_from_slice(&entries[end - MOVED..end]);
                entries[end - MOVED + by..end + by].copy_from_slice(&moved);
                end -= MOVED;
            }
            if end >= MOVED && by >= MOVED {
                // Those that do not move are written, too, to places that later ones take.
                let mut last = [0; MOVED];
                last.copy_from_slice(&entries[end - MOVED..end]);
                entries[end - MOVED + by..end + by].copy_from_slice(&last);
                end -= last.iter().map(|&other| usize::from(other > entry)).sum::<usize>();
            }
            while end > 0 && entries[end - 1] > entry {
                entries[end - 1 + by] = entries[end - 1];
                end -= 1;
            }
            entries[end + before] = entry;
        }
        recent.clear();
    }

    /// Moves the recent entries to the others if there is no room for `count` more.
    #[inline(always)]
    pub(super) fn make_room_for_recent(&mut self, count: usize) {
        if self.recent.len + count > RECENT {
            self.settle();
        }
    }

    /// Returns the array that takes new entries, its length and its capacity.
    #[inline(always)]
    pub(super) fn growing(&mut self, is_long: bool) -> (&mut [u64], usize, usize) {
        if is_long {
            (&mut self.recent.entries, self.recent.len, RECENT)
        } else {
            (&mut self.entries, self.len, self.capacity)
        }
    }

    /// Takes the new length of that array, and the place of its first new entry.
    #[inline(always)]
    pub(super) fn grown(&mut self, is_long: bool, (len, first): (usize, usize)) {
        if is_long {
            self.recent.len = len;
            self.recent.cursor = self.recent.cursor.min(first);
            self.trim();
        } else {
            self.len = len;
            self.cursor = self.cursor.min(first);
        }
    }

    /// Drops the last entries beyond the capacity.
    fn trim(&mut self) {
        while self.len + self.recent.len > self.capacity {
            if self.len > 0 && self.entries[self.len - 1] > self.recent.last() {
                self.len -= 1;
            } else {
                self.recent.len -= 1;
            }
        }
        self.cursor = self.cursor.min(self.len);
        self.recent.cursor = self.recent.cursor.min(self.recent.len);
    }
}
