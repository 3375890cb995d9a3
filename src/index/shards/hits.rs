//! Answers of many indexes in one order.

use std::ops::Deref;

use crate::index::query::hits::Hit;

/// One answer: a key, its shard, and the distance of its vector from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ShardHit {
    /// Number of the shard, in the order given to [`Shards::new`](crate::Shards::new).
    pub shard: usize,
    /// The key that the vector was inserted with.
    pub key: u64,
    /// Distance of the vector from the query; [`Metric`](crate::Metric) defines the unit.
    pub distance: f32,
}

/// The answers of all shards to one query, the nearest first; equal distances in the order of the shards, and within a shard in
/// the order of insertion.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ShardHits {
    hits: Vec<ShardHit>,
    complete: bool,
}

impl ShardHits {
    /// Merges the answers of shards, given shard by shard, in order, and keeps the `k` nearest.
    pub(super) fn of<'h, P>(parts: P, k: usize) -> Self
    where
        P: Iterator<Item = (&'h [Hit], bool)>,
    {
        let (mut hits, mut complete) = (Vec::new(), true);
        for (shard, (part, ended)) in parts.enumerate() {
            complete &= ended;
            hits.extend(part.iter().map(|&Hit { key, distance }| ShardHit {
                shard,
                key,
                distance,
            }));
        }
        // Stable, and quick over parts that are in order.
        hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        hits.truncate(k);
        Self { hits, complete }
    }

    /// Returns the keys of the hits, the nearest first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.hits.iter().map(|hit| hit.key)
    }

    /// Returns whether the searches of all shards ran to their ends, as [`Hits::is_complete`](crate::Hits::is_complete).
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Deref for ShardHits {
    type Target = [ShardHit];

    fn deref(&self) -> &[ShardHit] {
        &self.hits
    }
}

impl<'a> IntoIterator for &'a ShardHits {
    type Item = &'a ShardHit;
    type IntoIter = std::slice::Iter<'a, ShardHit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}
