//! Filters over keys of many indexes.

use crate::index::query::filter::Filter;

/// Source of a filter for each shard.
pub(super) trait ShardFilter: Sync {
    /// Returns the filter of a shard.
    fn of_shard(&self, shard: usize) -> Box<dyn Filter + '_>;
}

/// A filter that accepts the same keys in each shard.
pub(super) struct Alike<F>(pub(super) F);

impl<F: Filter> ShardFilter for Alike<F> {
    fn of_shard(&self, _shard: usize) -> Box<dyn Filter + '_> {
        Box::new(Lent(&self.0))
    }
}

/// A filter that belongs to the query.
struct Lent<'a, F>(&'a F);

impl<F: Filter> Filter for Lent<'_, F> {
    fn accepts(&self, key: u64) -> bool {
        self.0.accepts(key)
    }

    fn accepts_each(&self, keys: &[u64]) -> u64 {
        self.0.accepts_each(keys)
    }

    fn count(&self) -> Option<usize> {
        self.0.count()
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        self.0.for_each(each);
    }

    fn accepts_all(&self) -> bool {
        self.0.accepts_all()
    }
}

/// A closure over shards and keys.
pub(super) struct ByShard<F>(pub(super) F);

impl<F: Fn(usize, u64) -> bool + Sync> ShardFilter for ByShard<F> {
    fn of_shard(&self, shard: usize) -> Box<dyn Filter + '_> {
        Box::new(move |key| self.0(shard, key))
    }
}
