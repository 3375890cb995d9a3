//! Answers of recent searches.
//!
//! A key contains the number of the library's commit, so a commit makes all older answers unreachable, and the cache drops them in time.
//! The key also contains the whole query: no two queries share an answer.

use std::sync::Arc;

use axum::body::Bytes;
use moka::sync::Cache;
use xxhash_rust::xxh3::xxh3_128;

use crate::library::Library;
use crate::search::{Effort, Wanted};

/// An answer as it is sent.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The JSON.
    pub json: Bytes,
    /// Whether the search ran to its end.
    pub complete: bool,
    /// The tag that lets a client ask whether its copy is still the answer.
    pub etag: Arc<str>,
}

/// The identity of a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    /// Returns the identity of a query to a library in its last commit.
    pub fn of(library: &Library, vector: &[f32], wanted: &Wanted) -> Self {
        let Wanted { k, effort, radius, filter, include } = wanted;
        let (kind, effort) = match effort {
            Effort::Default => (0_u8, 0),
            Effort::Ef(ef) => (1, *ef as u64),
            Effort::Recall(bits) => (2, *bits),
        };
        let mut key = Vec::with_capacity(vector.len() * 4 + 64);
        key.extend_from_slice(library.instance().as_bytes());
        key.extend_from_slice(&library.commit().to_le_bytes());
        key.extend_from_slice(&(*k as u64).to_le_bytes());
        key.extend_from_slice(&[
            kind,
            u8::from(radius.is_some()),
            u8::from(filter.is_some()),
            u8::from(*include),
        ]);
        key.extend_from_slice(&effort.to_le_bytes());
        key.extend_from_slice(&radius.unwrap_or(0).to_le_bytes());
        for component in vector {
            key.extend_from_slice(&component.to_le_bytes());
        }
        // The library gives the number of components, so that the filter begins at a known place.
        key.extend_from_slice(filter.as_ref().map_or("", |filter| filter.text()).as_bytes());
        Self(key.into())
    }

    /// Returns the tag of the answer.
    pub fn etag(&self) -> Arc<str> {
        format!("\"{:032x}\"", xxh3_128(&self.0)).into()
    }
}

/// The answers of recent searches, up to a number of bytes.
#[derive(Debug, Clone)]
pub struct Results(Cache<Key, Stored>);

impl Results {
    /// Returns an empty cache of `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        let weigh = |key: &Key, stored: &Stored| {
            u32::try_from(key.0.len() + stored.json.len() + 200).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weigh).build())
    }

    /// Returns an answer, and counts whether it was found.
    pub fn get(&self, key: &Key) -> Option<Stored> {
        let found = self.0.get(key);
        let outcome = if found.is_some() { "hit" } else { "miss" };
        metrics::counter!("server_cache_total", "cache" => "result", "outcome" => outcome)
            .increment(1);
        found
    }

    /// Keeps an answer.
    pub fn insert(&self, key: Key, stored: Stored) {
        self.0.insert(key, stored);
    }

    /// Returns the bytes of all answers.
    pub fn bytes(&self) -> u64 {
        self.0.weighted_size()
    }
}
