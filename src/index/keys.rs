//! From a user's key to its slot.

use std::hash::{BuildHasher, RandomState};
use std::sync::Once;

use crossbeam::utils::CachePadded;
use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::arena::Column;

/// Parts of the map, each with its lock.
const SHARDS: usize = 64;

/// A map from keys to slots that stores the slots only: the keys stand in their column.
#[derive(Debug)]
pub(super) struct KeyMap {
    shards: Box<[CachePadded<RwLock<HashTable<u32>>>]>,
    hasher: RandomState,
    /// Slots whose keys came from a file; they are entered when a key is first looked for, as searches need none.
    restored: u32,
    entered: Once,
}

/// Where a new key goes, locked.
#[derive(Debug)]
pub(super) struct Vacancy<'a> {
    shard: RwLockWriteGuard<'a, HashTable<u32>>,
    hash: u64,
}

impl KeyMap {
    pub(super) fn new() -> Self {
        Self::restored(0)
    }

    /// The map of a column that has `slots` keys already.
    pub(super) fn restored(slots: u32) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| CachePadded::new(RwLock::default())).collect(),
            hasher: RandomState::new(),
            restored: slots,
            entered: Once::new(),
        }
    }

    /// Enters the keys that came from a file, once.
    fn enter(&self, keys: &Column<u64>) {
        if self.restored == 0 || self.entered.is_completed() {
            return;
        }
        self.entered.call_once(|| {
            let view = keys.view();
            let hash = |&slot: &u32| self.hasher.hash_one(view.row(slot)[0]);
            for shard in &self.shards {
                // A tenth more than its share, so that hardly any has to grow.
                shard.write().reserve(self.restored as usize / SHARDS * 11 / 10, hash);
            }
            for slot in 0..self.restored.min(view.len()) {
                let (full, shard) = self.hash(view.row(slot)[0]);
                shard.write().insert_unique(full, slot, hash);
            }
        });
    }

    fn hash(&self, key: u64) -> (u64, &RwLock<HashTable<u32>>) {
        let hash = self.hasher.hash_one(key);
        // The table uses the upper seven bits and the lower ones.
        (hash, &self.shards[(hash >> 40) as usize % SHARDS])
    }

    /// The slot of a key.
    pub(super) fn get(&self, key: u64, keys: &Column<u64>) -> Option<u32> {
        self.enter(keys);
        let (hash, shard) = self.hash(key);
        let shard = shard.read();
        let view = keys.view();
        shard.find(hash, |&slot| view.row(slot)[0] == key).copied()
    }

    /// Locks the place of a key that is not there; `None` if it is.
    pub(super) fn vacancy(&self, key: u64, keys: &Column<u64>) -> Option<Vacancy<'_>> {
        self.enter(keys);
        let (hash, shard) = self.hash(key);
        let mut shard = shard.write();
        let view = keys.view();
        if shard.find(hash, |&slot| view.row(slot)[0] == key).is_some() {
            return None;
        }
        shard.reserve(1, |&slot| self.hasher.hash_one(view.row(slot)[0]));
        Some(Vacancy { shard, hash })
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        if self.restored > 0 && !self.entered.is_completed() {
            return self.restored as usize;
        }
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.read().allocation_size());
        shards.sum::<usize>() + self.shards.len() * size_of_val(&self.shards[0])
    }
}

impl Vacancy<'_> {
    /// Gives the key its slot.
    pub(super) fn fill(mut self, slot: u32) {
        let Self { shard, hash } = &mut self;
        // `vacancy` reserved the place, so nothing is rehashed.
        shard.insert_unique(*hash, slot, |_| *hash);
    }
}
