//! From a user's key to its slot.

use std::hash::BuildHasher;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;
use hashbrown::HashTable;

use crate::arena::{Column, Slot};
use crate::index::distances::field::is_set;
use crate::sync::{RandomState, RwLock, RwLockWriteGuard};

/// Parts of the map, each with its lock.
const SHARDS: usize = 64;

/// A map from keys to slots that stores the slots only: the keys are in their column.
#[derive(Debug)]
pub(in crate::index) struct KeyMap {
    shards: Box<[CachePadded<RwLock<HashTable<Slot>>>]>,
    hasher: RandomState,
    /// The number of keys; it is changed while the lock of a part is held.
    count: CachePadded<AtomicUsize>,
    /// Slots whose keys are from a file; the keys are entered at the first lookup of a key, because searches need none.
    restored: u32,
    /// A bit for each restored slot without a vector.
    hidden: Vec<u64>,
    entered: Once,
}

/// Locked place for a new key.
#[derive(Debug)]
pub(in crate::index) struct Vacancy<'a> {
    shard: RwLockWriteGuard<'a, HashTable<Slot>>,
    hash: u64,
    count: &'a AtomicUsize,
}

impl KeyMap {
    pub(in crate::index) fn new() -> Self {
        Self::restored(0, Vec::new())
    }

    /// Creates the map of a column that has `slots` keys already, except those with a bit set in `hidden`.
    pub(in crate::index) fn restored(slots: u32, hidden: Vec<u64>) -> Self {
        let empty: u32 = hidden.iter().map(|word| word.count_ones()).sum();
        Self {
            count: CachePadded::new(AtomicUsize::new((slots - empty) as usize)),
            shards: (0..SHARDS).map(|_| CachePadded::new(RwLock::default())).collect(),
            hasher: RandomState::default(),
            restored: slots,
            hidden,
            entered: Once::new(),
        }
    }

    /// Enters the keys from a file, once.
    fn enter(&self, keys: &Column<u64>) {
        if self.restored == 0 || self.entered.is_completed() {
            return;
        }
        self.entered.call_once(|| {
            let view = keys.view();
            let hash = |&slot: &Slot| self.hasher.hash_one(view.row(slot)[0]);
            for shard in &self.shards {
                // A tenth more than its share, so that hardly any shard has to grow.
                shard.write().reserve(self.restored as usize / SHARDS * 11 / 10, hash);
            }
            let lives = |&slot: &Slot| !is_set(&self.hidden, slot);
            for slot in (0..self.restored.min(view.len())).map(Slot::new).filter(lives) {
                let (full, shard) = self.hash(view.row(slot)[0]);
                shard.write().insert_unique(full, slot, hash);
            }
        });
    }

    fn hash(&self, key: u64) -> (u64, &RwLock<HashTable<Slot>>) {
        let hash = self.hasher.hash_one(key);
        // The table uses the upper seven bits and the lower ones.
        (hash, &self.shards[(hash >> 40) as usize % SHARDS])
    }

    /// Returns the slot of a key.
    pub(in crate::index) fn get(&self, key: u64, keys: &Column<u64>) -> Option<Slot> {
        self.enter(keys);
        let (hash, shard) = self.hash(key);
        let shard = shard.read();
        let view = keys.view();
        shard.find(hash, |&slot| view.row(slot)[0] == key).copied()
    }

    /// Locks the place of an absent key. Returns `None` if the map has the key.
    pub(in crate::index) fn vacancy(&self, key: u64, keys: &Column<u64>) -> Option<Vacancy<'_>> {
        self.enter(keys);
        let (hash, shard) = self.hash(key);
        let mut shard = shard.write();
        let view = keys.view();
        if shard.find(hash, |&slot| view.row(slot)[0] == key).is_some() {
            return None;
        }
        shard.reserve(1, |&slot| self.hasher.hash_one(view.row(slot)[0]));
        Some(Vacancy { shard, hash, count: &self.count })
    }

    /// Removes a key, and returns its slot.
    pub(in crate::index) fn remove(&self, key: u64, keys: &Column<u64>) -> Option<Slot> {
        self.enter(keys);
        let (hash, shard) = self.hash(key);
        let mut shard = shard.write();
        let view = keys.view();
        let entry = shard.find_entry(hash, |&slot| view.row(slot)[0] == key).ok()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(entry.remove().0)
    }

    /// Maps a key that is in the map to another slot.
    pub(in crate::index) fn redirect(&self, key: u64, to: Slot, keys: &Column<u64>) {
        let (hash, shard) = self.hash(key);
        let mut shard = shard.write();
        let view = keys.view();
        if let Some(slot) = shard.find_mut(hash, |&slot| view.row(slot)[0] == key) {
            *slot = to;
        }
    }

    /// Releases the memory of keys that were removed.
    pub(in crate::index) fn shrink(&self, keys: &Column<u64>) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let view = keys.view();
            shard.shrink_to_fit(|&slot| self.hasher.hash_one(view.row(slot)[0]));
        }
    }

    /// Returns the number of keys.
    pub(in crate::index) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.read().allocation_size());
        shards.sum::<usize>() + self.shards.len() * size_of_val(&self.shards[0])
    }
}

impl Vacancy<'_> {
    /// Maps the key to `slot`.
    pub(in crate::index) fn fill(mut self, slot: Slot) {
        let Self { shard, hash, count } = &mut self;
        count.fetch_add(1, Ordering::Relaxed);
        // `vacancy` reserved the place, so nothing is rehashed.
        shard.insert_unique(*hash, slot, |_| *hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn it_shrinks_and_leads_elsewhere_beside_insertions() {
        let keys = Column::<u64, Slot>::new(1);
        let map = KeyMap::new();
        let over = AtomicBool::new(false);
        let insert = |key: u64| {
            let vacancy = map.vacancy(key, &keys).unwrap();
            vacancy.fill(keys.push(|place| place[0] = key).unwrap());
        };
        insert(0);
        let rounds = if cfg!(miri) { 1 } else { 20 };
        let many = if cfg!(miri) { 1..200 } else { 1..20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    map.shrink(&keys);
                    map.redirect(0, Slot::new(0), &keys);
                }
            });
            for _ in 0..rounds {
                many.clone().for_each(insert);
                assert!(many.clone().all(|key| map.remove(key, &keys).is_some()));
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(
            (map.len(), map.get(0, &keys), map.get(1, &keys)),
            (1, Some(Slot::new(0)), None)
        );
    }
}
