//! The meta slots: where a checkpoint begins.

use super::error::StoreError;
use super::log::LogPosition;
use super::page::{NodeRef, checksum, read};
use super::snapshot::State;
use super::storage::Storage;

/// First bytes of every store; the line ends show damage by text-mode copying.
pub(crate) const MAGIC: [u8; 8] = *b"nrfld\r\n\x1a";
/// Version of the format that this file describes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Bytes of a slot that are used.
pub(crate) const SLOT_BYTES: usize = 256;
const CHECKSUM_AT: usize = SLOT_BYTES - 8;
/// Offsets of the two copies of the two slots. A copy is written with its twin, 32 KiB apart, so that damage to one
/// place never takes a slot away.
const COPIES: [[u64; 2]; 2] = [[0, 32 << 10], [64 << 10, 96 << 10]];
const MEASURE: &str = "ask for the length of the file";
const SLOT_DAMAGED: &str = "the meta slot's checksum is wrong";
/// Where the log begins.
pub(crate) const LOG_OFFSET: u64 = 128 << 10;

/// Where the list of free pages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FreeList {
    pub(crate) page: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

/// A checkpoint: everything that is needed to go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: u32,
    /// Tells this store from every other.
    pub(crate) uuid: [u8; 16],
    pub(crate) log_len: u64,
    pub(crate) log: LogPosition,
    pub(crate) state: State,
    pub(crate) free_list: FreeList,
    /// Pages that the file must have.
    pub(crate) end: u64,
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
        // The checksum comes first: a version is only believed if it was written.
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
            },
            free_list: FreeList { page: word(10), bytes: word(11), checksum: word(12) },
            end: word(13),
        };
        let size = meta.page_size as u64;
        if !valid_page_size(size) || !valid_log_len(meta.log_len) {
            return Err(bad("page size or log length is out of range"));
        }
        if meta.end < meta.reserved() || meta.end > super::allocator::MAX_PAGES {
            return Err(bad("the number of pages is out of range"));
        }
        // Far from overflow, so that positions can be added without a check each time.
        if meta.log.lsn > 1 << 62 || !meta.log.lsn.is_multiple_of(512) {
            return Err(bad("the log position is out of range"));
        }
        if meta.state.transaction > 1 << 62 || meta.state.next_extent > 1 << 62 {
            return Err(bad("a counter is out of range"));
        }
        Ok(meta)
    }

    /// Pages at the start of the file that hold meta slots and log.
    pub(crate) fn reserved(&self) -> u64 {
        reserved_pages(self.log_len, self.page_size as u64)
    }

    /// Writes the checkpoint to a slot (0 or 1), both copies.
    pub(crate) fn write(&self, storage: &dyn Storage, slot: usize) -> Result<(), StoreError> {
        let bytes = self.encode();
        for offset in COPIES[slot] {
            storage.write_at(offset, &bytes).map_err(StoreError::io("write a meta slot"))?;
        }
        Ok(())
    }

    /// The newest checkpoint whose slot is whole, and its slot.
    pub(crate) fn newest(storage: &dyn Storage) -> Result<(Self, usize), StoreError> {
        /// Checkpoints that may change the file's length while it is looked at.
        const ATTEMPTS: usize = 100;

        let mut found = Self::newest_slot(storage)?;
        for _ in 0..ATTEMPTS {
            // After the slots: whoever writes makes the file longer before it writes a slot, and shorter after.
            let len = storage.len().map_err(StoreError::io(MEASURE))?;
            if found.0.end * found.0.page_size as u64 <= len {
                return Ok(found);
            }
            let before = std::mem::replace(&mut found, Self::newest_slot(storage)?);
            if before == found {
                break;
            }
        }
        // Not a reason to take the older one: a checkpoint syncs its data before its slot, so a file
        // that is too short for it has lost bytes since.
        let reason = "the file is shorter than its last checkpoint needs";
        Err(StoreError::corrupt(found.0.end - 1, reason))
    }

    /// As [`Self::newest`], whether or not the file is long enough.
    fn newest_slot(storage: &dyn Storage) -> Result<(Self, usize), StoreError> {
        let len = storage.len().map_err(StoreError::io(MEASURE))?;
        let mut best: Option<(Self, usize)> = None;
        let mut error = StoreError::NotAStore { path: None, reason: "the file is too short" };
        for (slot, copies) in COPIES.iter().enumerate() {
            for &offset in copies {
                if offset + SLOT_BYTES as u64 > len {
                    continue;
                }
                let mut bytes = [0; SLOT_BYTES];
                storage.read_at(offset, &mut bytes).map_err(StoreError::io("read a meta slot"))?;
                match Self::decode(&bytes) {
                    Ok(meta) => {
                        if best.is_none_or(|(m, _)| m.state.transaction < meta.state.transaction) {
                            best = Some((meta, slot));
                        }
                    }
                    // The most telling reason wins: a version, then a damaged slot, then no magic.
                    Err(found) => {
                        let rank = |e: &StoreError| match e {
                            StoreError::Version { .. } => 2,
                            StoreError::NotAStore { reason, .. } => {
                                u8::from(*reason == SLOT_DAMAGED)
                            }
                            _ => 0,
                        };
                        if rank(&found) >= rank(&error) {
                            error = found;
                        }
                    }
                }
            }
        }
        best.ok_or(error)
    }
}

/// Whether pages may have this size.
pub(crate) fn valid_page_size(bytes: u64) -> bool {
    bytes.is_power_of_two() && (4 << 10..=64 << 10).contains(&bytes)
}

/// Whether the log may have this length.
pub(crate) fn valid_log_len(bytes: u64) -> bool {
    bytes.is_multiple_of(64 << 10) && (64 << 10..=4 << 30).contains(&bytes)
}

/// Pages before the first that can hold data.
pub(crate) fn reserved_pages(log_len: u64, page_size: u64) -> u64 {
    (LOG_OFFSET + log_len) / page_size
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::Mutex;

    use super::*;
    use crate::store::storage::{MemoryStorage, Region, SyncPoint};

    fn meta(transaction: u64) -> Meta {
        Meta {
            page_size: 4096,
            uuid: [7; 16],
            log_len: 64 << 10,
            log: LogPosition { lsn: 1024, salt: 5, chain: 6 },
            state: State { transaction, ..State::default() },
            free_list: FreeList::default(),
            end: 48,
        }
    }

    #[test]
    fn the_newest_whole_slot_wins_and_a_copy_replaces_its_twin() {
        let storage = MemoryStorage::new();
        storage.set_len(48 * 4096).unwrap();
        meta(4).write(&storage, 0).unwrap();
        meta(5).write(&storage, 1).unwrap();
        assert_eq!(Meta::newest(&storage).unwrap(), (meta(5), 1));
        storage.write_at(COPIES[1][0], &[0; 4096]).unwrap();
        assert_eq!(Meta::newest(&storage).unwrap(), (meta(5), 1));
        storage.write_at(COPIES[1][1] + 40, &[0xff]).unwrap();
        assert_eq!(Meta::newest(&storage).unwrap(), (meta(4), 0));
    }

    #[test]
    fn a_file_cut_short_is_no_reason_to_go_back() {
        let storage = MemoryStorage::new();
        storage.set_len(48 * 4096).unwrap();
        meta(4).write(&storage, 0).unwrap();
        Meta { end: 49, ..meta(5) }.write(&storage, 1).unwrap();
        assert!(matches!(Meta::newest(&storage), Err(StoreError::Corrupt { page: 48, .. })));
    }

    type Event = Box<dyn FnOnce(&MemoryStorage) + Send>;

    /// A storage to which something happens just before or after its length is asked for the first or second time.
    struct Eventful {
        storage: MemoryStorage,
        lengths: AtomicUsize,
        at: usize,
        event: Mutex<Option<Event>>,
    }

    impl Eventful {
        /// At 0, before the first time; at 1, after it; and so on.
        fn new(at: usize, event: impl FnOnce(&MemoryStorage) + Send + 'static) -> Self {
            let storage = MemoryStorage::new();
            storage.set_len(49 * 4096).unwrap();
            meta(4).write(&storage, 0).unwrap();
            Meta { end: 49, ..meta(5) }.write(&storage, 1).unwrap();
            let event: Event = Box::new(event);
            Self { storage, lengths: AtomicUsize::new(0), at, event: Mutex::new(Some(event)) }
        }

        fn step(&self) {
            if self.lengths.fetch_add(1, Ordering::Relaxed) == self.at {
                self.event.lock().take().unwrap()(&self.storage);
            }
        }
    }

    impl Storage for Eventful {
        fn len(&self) -> io::Result<u64> {
            self.step();
            let len = self.storage.len();
            self.step();
            len
        }

        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.storage.read_at(offset, out)
        }

        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.storage.write_at(offset, bytes)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.storage.set_len(len)
        }

        fn sync(&self, point: SyncPoint) -> io::Result<()> {
            self.storage.sync(point)
        }

        fn map(&self, offset: u64, len: usize) -> io::Result<Region> {
            self.storage.map(offset, len)
        }

        fn first_segment(&self) -> u64 {
            self.storage.first_segment()
        }
    }

    #[test]
    fn a_writer_may_grow_and_cut_the_file_meanwhile() {
        // Before the slots are looked at, and after it.
        for (at, seen) in [(0, 6), (1, 6), (2, 5), (3, 5)] {
            let grown = Eventful::new(at, |storage| {
                storage.set_len(60 * 4096).unwrap();
                Meta { end: 60, ..meta(6) }.write(storage, 0).unwrap();
            });
            assert_eq!(Meta::newest(&grown).unwrap().0.state.transaction, seen, "{at}");
        }
        for (at, seen) in [(0, 6), (1, 6), (2, 6), (3, 5)] {
            let cut = Eventful::new(at, |storage| {
                meta(6).write(storage, 0).unwrap();
                storage.set_len(48 * 4096).unwrap();
            });
            assert_eq!(Meta::newest(&cut).unwrap().0.state.transaction, seen, "{at}");
        }
    }
}
