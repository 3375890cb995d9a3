//! Answers of many indexes in one order.

use std::ops::Deref;

use super::super::hits::Hit;

/// One answer: a key, the shard that it is in, and how far its vector is from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShardHit {
    /// Number of the shard, as they were given to [`Shards::new`](crate::Shards::new).
    pub shard: usize,
    /// The key that the vector was inserted with.
    pub key: u64,
    /// Its distance from the query; [`Metric`](crate::Metric) tells the unit.
    pub distance: f32,
}

/// The answers of all shards to one query, the nearest first; equal distances in the order of the shards, and within a shard in
/// the order of insertion.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardHits {
    hits: Vec<ShardHit>,
    complete: bool,
}

impl ShardHits {
    /// Puts the answers of shards in order, which come by shard, and keeps the `k` nearest.
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

    /// The keys of the hits, the nearest first.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.hits.iter().map(|hit| hit.key)
    }

    /// Whether the searches of all shards came to their ends, as [`Hits::is_complete`](crate::Hits::is_complete).
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
