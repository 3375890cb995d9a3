//! The meta slots, which hold checkpoints.

use super::log::LogPosition;
use super::page::{MAX_PAGES, NodeRef, checksum, read};
use super::state::State;
use crate::store::disk::{MAGIC, Storage};
use crate::store::error::StoreError;

/// Version of the format that this file describes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Number of used bytes of a slot.
pub(crate) const SLOT_BYTES: usize = 256;
const CHECKSUM_AT: usize = SLOT_BYTES - 8;
/// Offsets of the two near copies of the two slots. The third copy is on a separate page, at least [`FAR`] behind.
const COPIES: [[u64; 2]; 2] = [[0, 32 << 10], [64 << 10, 96 << 10]];
/// Bytes between the near copies and the far ones, so that damage to one place never destroys a slot.
const FAR: u64 = 1 << 20;
/// Offsets of the far copies of the two slots in their page.
const FAR_COPIES: [u64; 2] = [0, 2048];
/// Logs have lengths in multiples of this, so the page of the far copies begins at a multiple of it.
const LOG_UNIT: u64 = 64 << 10;
const MAX_LOG: u64 = 4 << 30;
const MEASURE: &str = "ask for the length of the file";
const SLOT_DAMAGED: &str = "the meta slot's checksum is wrong";
/// Offset of the log.
pub(crate) const LOG_OFFSET: u64 = 128 << 10;

/// The place of the list of free pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FreeList {
    pub(crate) page: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

/// A checkpoint: all facts that recovery needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: u32,
    /// Distinguishes this store from every other.
    pub(crate) uuid: [u8; 16],
    pub(crate) log_len: u64,
    pub(crate) log: LogPosition,
    pub(crate) state: State,
    pub(crate) free_list: FreeList,
    /// Pages that the file must have.
    pub(crate) end: u64,
    /// The page of the far copies of both slots; 0 in files of earlier versions, which have none.
    pub(crate) far: u64,
}

impl Meta {
    fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut out = [0; SLOT_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&FORMAT_VERSION.to_le_bytes());
        put(&self.page_size.to_le_bytes());
        put(&self.uuid);
        for word in [
            self.state.transaction,
            self.log_len,
            self.log.lsn,
            self.log.salt,
            self.log.chain,
            self.state.catalog.page,
            self.state.catalog.checksum,
            self.state.extents.page,
            self.state.extents.checksum,
            self.state.next_extent,
            self.free_list.page,
            self.free_list.bytes,
            self.free_list.checksum,
            self.end,
            self.far,
            self.state.layout,
        ] {
            put(&word.to_le_bytes());
        }
        let sum = checksum(&out[..CHECKSUM_AT]);
        out[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; SLOT_BYTES]) -> Result<Self, StoreError> {
        let bad = |reason| StoreError::NotAStore { path: None, reason };
        if bytes[..8] != MAGIC {
            return Err(bad("the magic number is missing"));
        }
        if read::u64(bytes, CHECKSUM_AT) != Some(checksum(&bytes[..CHECKSUM_AT])) {
            return Err(bad(SLOT_DAMAGED));
        }
        // The checksum is tested first, because the version of a damaged slot says nothing.
        let version = read::u32(bytes, 8).unwrap_or(0);
        if version != FORMAT_VERSION {
            return Err(StoreError::Version {
                path: None,
                found: version,
                supported: FORMAT_VERSION,
            });
        }
        let word = |i: usize| read::u64(bytes, 32 + i * 8).unwrap_or(0);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        let meta = Self {
            page_size: read::u32(bytes, 12).unwrap_or(0),
            uuid,
            log_len: word(1),
            log: LogPosition { lsn: word(2), salt: word(3), chain: word(4) },
            state: State {
                transaction: word(0),
                catalog: NodeRef { page: word(5), checksum: word(6) },
                extents: NodeRef { page: word(7), checksum: word(8) },
                next_extent: word(9),
                layout: word(15),
            },
            free_list: FreeList { page: word(10), bytes: word(11), checksum: word(12) },
            end: word(13),
            far: word(14),
        };
        let size = meta.page_size as u64;
        if !valid_page_size(size) || !valid_log_len(meta.log_len) {
            return Err(bad("page size or log length is out of range"));
        }
        if meta.end < meta.reserved() || meta.end > MAX_PAGES {
            return Err(bad("the number of pages is out of range"));
        }
        // Positions far from overflow can be added without a check each time.
        if meta.log.lsn > 1 << 62 || !meta.log.lsn.is_multiple_of(512) {
            return Err(bad("the log position is out of range"));
        }
        if meta.state.transaction > 1 << 62 || meta.state.next_extent > 1 << 62 {
            return Err(bad("a counter is out of range"));
        }
        if meta.far != 0 && meta.far != far_page(meta.log_len, size) {
            return Err(bad("the page of the far copies is another than the format says"));
        }
        Ok(meta)
    }

    /// Returns the number of pages at the start of the file that hold meta slots and log.
    pub(crate) fn reserved(&self) -> u64 {
        reserved_pages(self.log_len, self.page_size as u64)
    }

    /// Writes the checkpoint to a slot (0 or 1), all copies.
    pub(crate) fn write(&self, storage: &dyn Storage, slot: usize) -> Result<(), StoreError> {
        let bytes = self.encode();
        let far = (self.far != 0).then(|| self.far * self.page_size as u64 + FAR_COPIES[slot]);
        for offset in COPIES[slot].into_iter().chain(far) {
            storage.write_at(offset, &bytes).map_err(StoreError::io("write a meta slot"))?;
        }
        Ok(())
    }

    /// Returns whether a run has the page of the far copies.
    pub(crate) fn is_far(&self, run: super::page::Run) -> bool {
        self.far != 0 && (run.start..run.end()).contains(&self.far)
    }

    /// Returns the newest checkpoint whose slot is whole, and its slot.
    pub(crate) fn newest(storage: &dyn Storage) -> Result<(Self, usize), StoreError> {
        /// Maximum number of checkpoints that may change the file's length while it is read.
        const ATTEMPTS: usize = 100;

        let mut found = Self::newest_slot(storage)?;
        for _ in 0..ATTEMPTS {
            // The length is read after the slots: a writer makes the file longer before it writes a slot, and shorter after.
            let len = storage.len().map_err(StoreError::io(MEASURE))?;
            if found.0.end * found.0.page_size as u64 <= len {
                return Ok(found);
            }
            let before = std::mem::replace(&mut found, Self::newest_slot(storage)?);
            if before == found {
                break;
            }
        }
        // This is no reason to take the older checkpoint: a checkpoint syncs its data before its slot, so a file that is too short for
        // it has lost bytes since.
        let reason = "the file is shorter than its last checkpoint needs";
        Err(StoreError::corrupt(found.0.end - 1, reason))
    }

    /// As [`Self::newest`], for a file of any length.
    fn newest_slot(storage: &dyn Storage) -> Result<(Self, usize), StoreError> {
        let len = storage.len().map_err(StoreError::io(MEASURE))?;
        let mut slots = Slots::new(storage, len);
        for (slot, copies) in COPIES.iter().enumerate() {
            for &offset in copies {
                slots.look(slot, offset)?;
            }
        }
        // Copies are written together, so a slot with a whole copy needs no other.
        if slots.found.iter().any(Option::is_none) {
            match slots.newest() {
                Some((meta, _)) if meta.far != 0 => {
                    slots.look_at_page(meta.far * meta.page_size as u64)?;
                }
                Some(_) => {}
                // The place of their page depends on the length of the log, which is not known.
                None => {
                    let mut at = LOG_OFFSET + FAR;
                    while slots.newest().is_none() && at < len.min(LOG_OFFSET + MAX_LOG + 1) {
                        slots.look_at_page(at)?;
                        at += LOG_UNIT;
                    }
                }
            }
        }
        let Some((meta, slot)) = slots.newest() else { return Err(slots.error) };
        // A sector is written whole or not at all, so no crash takes all copies of a slot. The damaged state may have been newer.
        // Earlier versions wrote the second slot with the first checkpoint.
        if slots.found.iter().any(Option::is_none) && (meta.far != 0 || meta.state.transaction > 1)
        {
            let reason = "all copies of the other meta slot are damaged, which may have been newer";
            return Err(StoreError::corrupt(0, reason));
        }
        Ok((meta, slot))
    }
}

/// The whole copies of both meta slots.
struct Slots<'a> {
    storage: &'a dyn Storage,
    len: u64,
    /// The newest whole copy of each slot.
    found: [Option<Meta>; 2],
    /// The most specific reason for which no copy is whole.
    error: StoreError,
}

impl<'a> Slots<'a> {
    fn new(storage: &'a dyn Storage, len: u64) -> Self {
        let reason = if len == 0 { "the file is empty" } else { "the file is too short" };
        let error = StoreError::NotAStore { path: None, reason };
        Self { storage, len, found: [None; 2], error }
    }

    fn look(&mut self, slot: usize, offset: u64) -> Result<(), StoreError> {
        if offset.checked_add(SLOT_BYTES as u64).is_none_or(|end| end > self.len) {
            return Ok(());
        }
        let mut bytes = [0; SLOT_BYTES];
        self.storage.read_at(offset, &mut bytes).map_err(StoreError::io("read a meta slot"))?;
        match Meta::decode(&bytes) {
            Ok(meta) => {
                let found = &mut self.found[slot];
                if found.is_none_or(|found| found.state.transaction < meta.state.transaction) {
                    *found = Some(meta);
                }
            }
            Err(error) => {
                // A version is more specific than a damaged slot, and a damaged slot more than a missing one.
                let rank = |error: &StoreError| match error {
                    StoreError::Version { .. } => 2,
                    StoreError::NotAStore { reason, .. } => u8::from(*reason == SLOT_DAMAGED),
                    _ => 0,
                };
                if rank(&error) >= rank(&self.error) {
                    self.error = error;
                }
            }
        }
        Ok(())
    }

    /// Reads the far copies at `offset`, if their page begins there. Copies of another store, which an earlier file left on the disk,
    /// do not count.
    fn look_at_page(&mut self, offset: u64) -> Result<(), StoreError> {
        let known = self.newest().map(|(meta, _)| meta.uuid);
        let before = self.found;
        for (slot, at) in FAR_COPIES.into_iter().enumerate() {
            self.look(slot, offset + at)?;
            let is_ours = self.found[slot].is_none_or(|meta| {
                known.is_none_or(|uuid| uuid == meta.uuid)
                    && (before[slot].is_some() || meta.far * meta.page_size as u64 == offset)
            });
            if !is_ours {
                self.found[slot] = before[slot];
            }
        }
        Ok(())
    }

    fn newest(&self) -> Option<(Meta, usize)> {
        let [first, second] = self.found.map(|found| found.map(|meta| meta.state.transaction));
        // `None` is less than any number; if both are equal, the first slot counts.
        let slot = usize::from(second > first);
        self.found[slot].map(|meta| (meta, slot))
    }
}

/// Returns whether a storage holds an unfinished store: zeros, and copies of meta slots of its first state. `far` is the offset of the
/// far copies.
#[cfg(feature = "simulation")]
pub(crate) fn is_unfinished(storage: &dyn Storage, len: u64, far: u64) -> Result<bool, StoreError> {
    const PIECE: u64 = 64 << 10;

    let copies = COPIES.into_iter().flatten().chain(FAR_COPIES.map(|at| far + at));
    let copies: Vec<u64> = copies.collect();
    let mut buffer = vec![0; PIECE.min(len) as usize];
    let mut at = 0;
    while at < len {
        let piece = &mut buffer[..(len - at).min(PIECE) as usize];
        storage.read_at(at, piece).map_err(StoreError::io("read the file"))?;
        for copy in copies.iter().filter_map(|copy| copy.checked_sub(at)) {
            let Some(slot) = piece.get_mut(copy as usize..).filter(|rest| !rest.is_empty()) else {
                continue;
            };
            let end = slot.len().min(SLOT_BYTES);
            let slot = &mut slot[..end];
            let is_initial = match <&[u8; SLOT_BYTES]>::try_from(&*slot).map(Meta::decode) {
                Ok(Ok(meta)) => meta.state.transaction == 1,
                _ => slot.starts_with(&MAGIC),
            };
            if is_initial {
                slot.fill(0);
            }
        }
        if piece.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += piece.len() as u64;
    }
    Ok(true)
}

/// Returns whether pages may have this size.
pub(crate) fn valid_page_size(bytes: u64) -> bool {
    bytes.is_power_of_two() && (4 << 10..=64 << 10).contains(&bytes)
}

/// Returns whether the log may have this length.
pub(crate) fn valid_log_len(bytes: u64) -> bool {
    bytes.is_multiple_of(LOG_UNIT) && (LOG_UNIT..=MAX_LOG).contains(&bytes)
}

/// Returns the page of the far copies in a file with a log of this length: the first one behind the log that is far enough.
pub(crate) fn far_page(log_len: u64, page_size: u64) -> u64 {
    (LOG_OFFSET + log_len.max(FAR)) / page_size
}

/// Returns the number of pages before the first that can hold data.
pub(crate) fn reserved_pages(log_len: u64, page_size: u64) -> u64 {
    (LOG_OFFSET + log_len) / page_size
}

#[cfg(test)]
mod tests;
