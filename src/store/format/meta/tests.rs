//! Tests of the meta slots.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::store::disk::MemoryStorage;
use crate::store::disk::Region;
use crate::store::disk::SyncPoint;

fn meta(transaction: u64) -> Meta {
    Meta {
        page_size: 4096,
        uuid: [7; 16],
        log_len: 64 << 10,
        log: LogPosition { lsn: 1024, salt: 5, chain: 6 },
        state: State { transaction, ..State::default() },
        free_list: FreeList::default(),
        end: 400,
        far: 0,
    }
}

/// Returns a checkpoint with far copies.
fn far(transaction: u64) -> Meta {
    Meta { far: far_page(64 << 10, 4096), ..meta(transaction) }
}

fn disk(first: Meta, second: Meta) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.set_len(400 * 4096).unwrap();
    first.write(&storage, 0).unwrap();
    second.write(&storage, 1).unwrap();
    storage
}

#[test]
fn the_newest_whole_slot_wins_and_a_copy_replaces_its_twin() {
    let storage = disk(meta(4), meta(5));
    assert_eq!(Meta::newest(&storage).unwrap(), (meta(5), 1));
    storage.write_at(COPIES[1][0], &[0; 4096]).unwrap();
    assert_eq!(Meta::newest(&storage).unwrap(), (meta(5), 1));
    // Both copies of the slot, without a third: the lost state may have been newer.
    storage.write_at(COPIES[1][1] + 40, &[0xff]).unwrap();
    assert!(matches!(Meta::newest(&storage), Err(StoreError::Corrupt { .. })));
}

#[test]
fn no_damage_of_a_mebibyte_takes_a_slot_away() {
    for (first, second) in [(4, 5), (6, 5)] {
        let newest = if first > second { (far(first), 0) } else { (far(second), 1) };
        let zeros = vec![0; 64 << 10];
        for begin in (0..400 * 4096).step_by(32 << 10) {
            for len in [256, 64 << 10, 1 << 20] {
                let storage = disk(far(first), far(second));
                let end = (begin + len).min(400 * 4096);
                let mut at = begin;
                while at < end {
                    let n = (end - at).min(zeros.len() as u64);
                    storage.write_at(at, &zeros[..n as usize]).unwrap();
                    at += n;
                }
                assert_eq!(Meta::newest(&storage).unwrap(), newest, "{len} at {begin}");
            }
        }
        // All of one slot.
        let storage = disk(far(first), far(second));
        let page = far(first).far * 4096;
        for offset in COPIES[newest.1].into_iter().chain([page + FAR_COPIES[newest.1]]) {
            storage.write_at(offset, &[0; 512]).unwrap();
        }
        assert!(matches!(Meta::newest(&storage), Err(StoreError::Corrupt { .. })));
    }
}

#[test]
fn far_copies_of_another_store_do_not_count() {
    let storage = disk(far(4), far(5));
    let other = Meta { uuid: [8; 16], ..far(9) };
    let bytes = other.encode();
    storage.write_at(far(4).far * 4096 + FAR_COPIES[1], &bytes).unwrap();
    storage.write_at(COPIES[1][0], &[0; 512]).unwrap();
    storage.write_at(COPIES[1][1], &[0; 512]).unwrap();
    assert!(matches!(Meta::newest(&storage), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_file_cut_short_is_no_reason_to_go_back() {
    let storage = MemoryStorage::new();
    storage.set_len(48 * 4096).unwrap();
    Meta { end: 48, ..meta(4) }.write(&storage, 0).unwrap();
    Meta { end: 49, ..meta(5) }.write(&storage, 1).unwrap();
    assert!(matches!(Meta::newest(&storage), Err(StoreError::Corrupt { page: 48, .. })));
}

type Event = Box<dyn FnOnce(&MemoryStorage) + Send>;

/// A storage that runs `event` just before or after the first or second call of `len`.
struct Eventful {
    storage: MemoryStorage,
    lengths: AtomicUsize,
    at: usize,
    event: Mutex<Option<Event>>,
}

impl Eventful {
    /// Runs `event` before the first call of `len` for an `at` of 0, after it for 1, and so on.
    fn new(at: usize, event: impl FnOnce(&MemoryStorage) + Send + 'static) -> Self {
        let storage = MemoryStorage::new();
        storage.set_len(49 * 4096).unwrap();
        Meta { end: 48, ..meta(4) }.write(&storage, 0).unwrap();
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
    // The events before and after each of the two reads of the length.
    for (at, seen) in [(0, 6), (1, 6), (2, 5), (3, 5)] {
        let grown = Eventful::new(at, |storage| {
            storage.set_len(60 * 4096).unwrap();
            Meta { end: 60, ..meta(6) }.write(storage, 0).unwrap();
        });
        assert_eq!(Meta::newest(&grown).unwrap().0.state.transaction, seen, "{at}");
    }
    for (at, seen) in [(0, 6), (1, 6), (2, 6), (3, 5)] {
        let cut = Eventful::new(at, |storage| {
            Meta { end: 48, ..meta(6) }.write(storage, 0).unwrap();
            storage.set_len(48 * 4096).unwrap();
        });
        assert_eq!(Meta::newest(&cut).unwrap().0.state.transaction, seen, "{at}");
    }
}
