//! Sets of keys that predicates were evaluated to, kept for the same predicate on the same commit.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;
use roaring::RoaringTreemap;

/// The sets of a collection and of its snapshots, up to some bytes.
#[derive(Debug)]
pub(in crate::collection) struct KnownSelections {
    /// Bytes that the sets may take.
    limit: usize,
    sets: Mutex<Sets>,
}

/// Two generations of sets. A set that is asked for becomes young; once the young ones take half of the bytes, the old ones are forgotten and the
/// young ones grow old.
#[derive(Debug, Default)]
struct Sets {
    young: Generation,
    old: Generation,
    used: SelectionUse,
}

#[derive(Debug, Default)]
struct Generation {
    /// Sets by commit and text of the predicate.
    sets: HashMap<String, Arc<RoaringTreemap>>,
    bytes: usize,
}

/// Evaluations of predicates since a collection was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::collection) struct SelectionUse {
    /// Predicates, and clauses of predicates, whose sets were kept from an evaluation before.
    pub(in crate::collection) hits: u64,
    /// Those that were evaluated.
    pub(in crate::collection) misses: u64,
    /// Bytes of the sets that are kept.
    pub(in crate::collection) bytes: u64,
}

impl KnownSelections {
    /// Returns no sets. They will take `limit` bytes at most.
    pub(in crate::collection) fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), sets: Mutex::default() }
    }

    /// Returns counts of the evaluations.
    pub(in crate::collection) fn used(&self) -> SelectionUse {
        let sets = self.sets.lock();
        SelectionUse { bytes: (sets.young.bytes + sets.old.bytes) as u64, ..sets.used }
    }

    /// Returns the sets of the commit of this number.
    pub(in crate::collection) fn of(&self, commit: u64) -> Known<'_> {
        Known { known: self, commit }
    }
}

/// The sets of a commit.
#[derive(Debug, Clone, Copy)]
pub(in crate::collection) struct Known<'s> {
    known: &'s KnownSelections,
    commit: u64,
}

impl Known<'_> {
    /// Returns the set of a predicate that was evaluated before.
    pub(super) fn get(self, predicate: &dyn Display) -> Option<Arc<RoaringTreemap>> {
        if self.known.limit == 0 {
            return None;
        }
        let name = format!("{} {predicate}", self.commit);
        let mut sets = self.known.sets.lock();
        if let Some(set) = sets.young.sets.get(&name) {
            let set = Arc::clone(set);
            sets.used.hits += 1;
            return Some(set);
        }
        let Some(set) = sets.old.sets.remove(&name) else {
            sets.used.misses += 1;
            return None;
        };
        sets.used.hits += 1;
        sets.old.bytes = sets.old.bytes.saturating_sub(bytes_of(&name, &set));
        sets.add(name, Arc::clone(&set), self.known.limit);
        Some(set)
    }

    /// Keeps the set of a predicate.
    pub(super) fn put(self, predicate: &dyn Display, set: &Arc<RoaringTreemap>) {
        if self.known.limit > 0 {
            let name = format!("{} {predicate}", self.commit);
            self.known.sets.lock().add(name, Arc::clone(set), self.known.limit);
        }
    }
}

impl Sets {
    fn add(&mut self, name: String, set: Arc<RoaringTreemap>, limit: usize) {
        let bytes = bytes_of(&name, &set);
        if bytes > limit / 2 {
            return;
        }
        if self.young.bytes + bytes > limit / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.young.sets.get(&name).map_or(0, |set| bytes_of(&name, set));
        self.young.sets.insert(name, set);
        self.young.bytes = self.young.bytes + bytes - before;
    }
}

/// Returns about the bytes that a set takes with its name.
fn bytes_of(name: &str, set: &RoaringTreemap) -> usize {
    const BESIDE: usize = 128;

    set.serialized_size() + name.len() + BESIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: std::ops::Range<u64>) -> Arc<RoaringTreemap> {
        Arc::new(keys.collect())
    }

    #[test]
    fn sets_are_those_of_their_commit_and_predicate() {
        let known = KnownSelections::new(1 << 20);
        known.of(7).put(&"a", &set(0..3));
        assert_eq!(known.of(7).get(&"a"), Some(set(0..3)));
        assert_eq!(known.of(8).get(&"a"), None);
        assert_eq!(known.of(7).get(&"b"), None);
        let SelectionUse { hits, misses, bytes } = known.used();
        assert_eq!((hits, misses), (1, 2));
        assert!(bytes > 0);
    }

    #[test]
    fn sets_take_the_bytes_allowed_at_most_and_those_asked_for_stay() {
        let limit = 20_000;
        let known = KnownSelections::new(limit);
        for number in 0..1000 {
            known.of(1).put(&number, &set(0..number % 50));
            assert!(known.of(1).get(&0).is_some(), "{number}");
            assert!(known.used().bytes <= limit);
        }
        assert_eq!(known.of(1).get(&1), None);
        assert!(known.of(1).get(&999).is_some());
        // A set that would take more than half of the bytes is not kept.
        known.of(1).put(&"great", &Arc::new((0..6000).map(|key| key * 20).collect()));
        assert_eq!(known.of(1).get(&"great"), None);
        let none = KnownSelections::new(0);
        none.of(1).put(&"a", &set(0..3));
        assert_eq!((none.of(1).get(&"a"), none.used()), (None, SelectionUse::default()));
    }
}
