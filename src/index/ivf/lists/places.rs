//! The list of each key's vector.

use std::hash::{BuildHasher, RandomState};

use crossbeam::utils::CachePadded;
use hashbrown::HashTable;

use crate::error::IndexError;
use crate::sync::{RwLock, RwLockWriteGuard};

/// Parts of the map, each with its lock.
const SHARDS: usize = 64;

/// A key, as its lower and its upper half, and its list: twelve bytes instead of the sixteen of a pair.
type Entry = [u32; 3];

fn key_of(entry: &Entry) -> u64 {
    u64::from(entry[1]) << 32 | u64::from(entry[0])
}

/// A map from keys to lists.
#[derive(Debug)]
pub(in crate::index::ivf) struct Places {
    shards: Box<[CachePadded<RwLock<HashTable<Entry>>>]>,
    hasher: RandomState,
}

/// The place of a key, locked.
#[derive(Debug)]
pub(in crate::index::ivf) struct Place<'a> {
    shard: RwLockWriteGuard<'a, HashTable<Entry>>,
    hasher: &'a RandomState,
    hash: u64,
    key: u64,
}

impl Places {
    pub(in crate::index::ivf) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, key: u64) -> (u64, &RwLock<HashTable<Entry>>) {
        let hash = self.hasher.hash_one(key);
        // The table uses the upper seven bits and the lower ones.
        (hash, &self.shards[(hash >> 40) as usize % SHARDS])
    }

    /// Calls `with` with the list of a key, which stays there meanwhile. Returns `None` if the map lacks
    /// the key.
    pub(in crate::index::ivf) fn with<R>(
        &self,
        key: u64,
        with: impl FnOnce(u32) -> R,
    ) -> Option<R> {
        let (hash, shard) = self.shard(key);
        let shard = shard.read();
        let list = shard.find(hash, |entry| key_of(entry) == key)?[2];
        Some(with(list))
    }

    /// Locks the place of a key, whether or not the map has the key.
    pub(in crate::index::ivf) fn lock(&self, key: u64) -> Place<'_> {
        let (hash, shard) = self.shard(key);
        Place { shard: shard.write(), hasher: &self.hasher, hash, key }
    }

    /// Returns the number of keys.
    pub(in crate::index::ivf) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// Calls `each` with every key and its list.
    pub(in crate::index::ivf) fn for_each(&self, mut each: impl FnMut(u64, u32)) {
        for shard in &self.shards {
            shard.read().iter().for_each(|entry| each(key_of(entry), entry[2]));
        }
    }

    /// Returns the bytes of memory in use.
    pub(in crate::index::ivf) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.read().allocation_size());
        shards.sum::<usize>() + self.shards.len() * size_of_val(&self.shards[0])
    }
}

impl Place<'_> {
    /// Returns the list that the key is in.
    pub(in crate::index::ivf) fn list(&self) -> Option<u32> {
        self.shard.find(self.hash, |entry| key_of(entry) == self.key).map(|entry| entry[2])
    }

    /// Reserves memory for the key, so that [`Self::set`] cannot fail.
    pub(in crate::index::ivf) fn reserve(&mut self) -> Result<(), IndexError> {
        let hasher = self.hasher;
        self.shard
            .try_reserve(1, |entry| hasher.hash_one(key_of(entry)))
            .map_err(|_| IndexError::OutOfMemory { bytes: size_of::<Entry>() })
    }

    /// Maps the key to `list`.
    pub(in crate::index::ivf) fn set(&mut self, list: u32) {
        let Self { shard, hasher, hash, key } = self;
        if let Some(entry) = shard.find_mut(*hash, |entry| key_of(entry) == *key) {
            entry[2] = list;
            return;
        }
        let entry = [*key as u32, (*key >> 32) as u32, list];
        shard.insert_unique(*hash, entry, |entry| hasher.hash_one(key_of(entry)));
    }

    /// Removes the key.
    pub(in crate::index::ivf) fn remove(&mut self) {
        let key = self.key;
        if let Ok(entry) = self.shard.find_entry(self.hash, |entry| key_of(entry) == key) {
            entry.remove();
        }
        let (len, hasher) = (self.shard.len(), self.hasher);
        if self.shard.capacity() > 4 * len + 64 {
            self.shard.shrink_to(2 * len, |entry| hasher.hash_one(key_of(entry)));
        }
    }
}
