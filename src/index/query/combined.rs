//! Filters made of other filters.

use super::filter::{Filter, filter_through};

/// The filter that accepts the keys which another rejects. Made by [`Filter::not`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Not<F>(pub(super) F);

impl<F: Filter> Filter for Not<F> {
    fn accepts(&self, key: u64) -> bool {
        !self.0.accepts(key)
    }

    fn accepts_each(&self, keys: &[u64]) -> u64 {
        !self.0.accepts_each(keys)
    }
}

/// The filter that accepts the keys which both of two accept. Made by [`Filter::and`].
///
/// If one of the two knows the number of its keys, the number is a bound of the accepted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct And<A, B>(pub(super) A, pub(super) B);

impl<A: Filter, B: Filter> Filter for And<A, B> {
    fn accepts(&self, key: u64) -> bool {
        self.0.accepts(key) && self.1.accepts(key)
    }

    fn accepts_each(&self, keys: &[u64]) -> u64 {
        // The second filter may take longer: it is asked about those that the first accepts.
        let mut accepted = self.0.accepts_each(keys);
        let mut rest = accepted;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            if keys.get(bit as usize).is_some_and(|&key| !self.1.accepts(key)) {
                accepted &= !(1 << bit);
            }
        }
        accepted
    }

    fn count(&self) -> Option<usize> {
        match (self.0.count(), self.1.count()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        match (self.0.count(), self.1.count()) {
            (a, Some(b)) if a.is_none_or(|a| b < a) => {
                self.1.for_each(&mut |key| !self.0.accepts(key) || each(key));
            }
            _ => self.0.for_each(&mut |key| !self.1.accepts(key) || each(key)),
        }
    }

    fn accepts_all(&self) -> bool {
        self.0.accepts_all() && self.1.accepts_all()
    }
}

/// The filter that accepts the keys which one of two accepts. Made by [`Filter::or`].
///
/// If both know the numbers of their keys, the sum is a bound of the accepted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Or<A, B>(pub(super) A, pub(super) B);

impl<A: Filter, B: Filter> Filter for Or<A, B> {
    fn accepts(&self, key: u64) -> bool {
        self.0.accepts(key) || self.1.accepts(key)
    }

    fn count(&self) -> Option<usize> {
        Some(self.0.count()?.saturating_add(self.1.count()?))
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        let mut goes_on = true;
        self.0.for_each(&mut |key| {
            goes_on = each(key);
            goes_on
        });
        if goes_on {
            self.1.for_each(&mut |key| self.0.accepts(key) || each(key));
        }
    }

    fn accepts_all(&self) -> bool {
        self.0.accepts_all() || self.1.accepts_all()
    }
}

filter_through!(impl<F: Filter> Filter for &Not<F>);
filter_through!(impl<A: Filter, B: Filter> Filter for &And<A, B>);
filter_through!(impl<A: Filter, B: Filter> Filter for &Or<A, B>);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::index::query::key_sets::{KeyBitmap, KeySet};

    /// Returns the accepted keys below 100, and checks that all methods of a filter agree.
    fn keys(filter: &dyn Filter) -> Vec<u64> {
        let accepted: Vec<u64> = (0..100).filter(|&key| filter.accepts(key)).collect();
        let tiles: Vec<Vec<u64>> =
            (0..100).collect::<Vec<u64>>().chunks(64).map(Vec::from).collect();
        let tested = tiles.iter().flat_map(|tile| {
            let bits = filter.accepts_each(tile);
            tile.iter().enumerate().filter(move |(at, _)| bits >> at & 1 != 0).map(|(_, &key)| key)
        });
        assert_eq!(tested.collect::<Vec<_>>(), accepted);
        if let Some(count) = filter.count() {
            let mut listed = Vec::new();
            filter.for_each(&mut |key| {
                listed.push(key);
                true
            });
            assert!(listed.len() <= count);
            listed.sort_unstable();
            assert_eq!(listed, accepted);
            if let Some(&first) = accepted.first() {
                let mut calls = 0;
                filter.for_each(&mut |key| {
                    calls += 1;
                    assert!(key >= first);
                    false
                });
                assert_eq!(calls, 1);
            }
        }
        accepted
    }

    #[test]
    fn combined_filters_accept_the_keys_that_their_names_say() {
        let set: KeySet = [1, 2, 3, 70].into_iter().collect();
        let other = HashSet::from([2, 3, 4, 99]);
        let odd = |key: u64| key % 2 == 1;
        assert_eq!(keys(&(&set).and(&other)), [2, 3]);
        assert_eq!((&set).and(&other).count(), Some(4));
        assert_eq!(keys(&set.clone().and(odd)), [1, 3]);
        assert_eq!(keys(&odd.and(set.clone())), [1, 3]);
        assert_eq!(odd.and(&set).count(), Some(4));
        assert_eq!(keys(&(&set).or(&other)), [1, 2, 3, 4, 70, 99]);
        assert_eq!((&set).or(odd).count(), None);
        assert_eq!(keys(&(&set).or(odd)).len(), 52);
        assert_eq!(keys(&(&other).not()).len(), 96);
        assert_eq!(keys(&(&set).and((&other).not())), [1, 70]);
        let words = [0b1100_u64];
        assert_eq!(keys(&KeyBitmap::new(&words).and(odd).or(&other)), [2, 3, 4, 99]);
    }

    #[test]
    fn pointers_to_filters_and_absent_ones_are_filters() {
        let set: KeySet = [1, 2].into_iter().collect();
        let boxed: Box<dyn Filter> = Box::new(set.clone());
        assert_eq!((keys(&boxed), boxed.count()), (vec![1, 2], Some(2)));
        let shared: Arc<dyn Filter + Send> = Arc::new(|key: u64| key == 7);
        assert_eq!(keys(&Arc::clone(&shared).and(None::<KeySet>)), [7]);
        assert_eq!(keys(&None::<&dyn Filter>).len(), 100);
        let chosen: Option<&dyn Filter> = Some(&set);
        assert_eq!((keys(&chosen), chosen.count()), (vec![1, 2], Some(2)));
        assert_eq!(keys(&(&set).and(&(&set).not())), [0; 0]);
    }
}
