//! Filters select the keys that may be answers.

use std::sync::Arc;

use super::combined::{And, Not, Or};
use super::key_sets::KeySet;

/// Keys that may be answers to a query.
///
/// Any `Fn(u64) -> bool + Sync` is a filter, and so are [`KeySet`], [`KeyBitmap`](crate::KeyBitmap) and
/// [`HashSet<u64>`](std::collections::HashSet), owned or borrowed. These sets also return the number of keys that they accept: the search need
/// not estimate it, and scans the accepted vectors alone if they are few. Filters combine by [`and`](Self::and), [`or`](Self::or) and
/// [`not`](Self::not); an absent one (`None`) accepts every key. `&dyn Filter`, `Box<dyn Filter>` and `Arc<dyn Filter + Send>` hold one of any
/// type. Implement the trait for other kinds of sets.
///
/// ```
/// use std::collections::HashSet;
/// use nearfield::{Filter, Hnsw, Metric};
///
/// let index = Hnsw::builder(1, Metric::L2).build()?;
/// index.insert_batch(&[1, 2, 3, 4], &[0.1, 0.2, 0.3, 0.4]).run()?;
/// let (owned, hidden) = (HashSet::from([1, 2, 3]), HashSet::from([2]));
/// let wants_odd = true;
/// let odd = wants_odd.then_some(|key: u64| key % 2 == 1);
/// let filter = owned.and(hidden.not()).and(odd);
/// let hits = index.search(&[0.0]).filter(&filter).run()?;
/// assert_eq!(hits.keys().collect::<Vec<_>>(), [1, 3]);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
pub trait Filter: Sync {
    /// Returns whether the key may be an answer. A search calls this at most a few times for a key, and not for every
    /// key; it must return the same value each time. It may search, but must not change the index that is searched,
    /// because changes may wait for the search.
    fn accepts(&self, key: u64) -> bool;

    /// Tests up to 64 keys at once: bit `i` of the result answers for `keys[i]`. Searches that test most keys call this
    /// method for one tile of keys after the other. By default it calls [`accepts`](Self::accepts) for each key; an
    /// implementation must give the same answers.
    fn accepts_each(&self, keys: &[u64]) -> u64 {
        let mut accepted = 0;
        for (bit, &key) in keys.iter().take(64).enumerate() {
            accepted |= u64::from(self.accepts(key)) << bit;
        }
        accepted
    }

    /// Returns the number of accepted keys, whether or not they are in the index, or a number that it does not exceed; `None` if
    /// neither is known.
    fn count(&self) -> Option<usize> {
        None
    }

    /// Calls `each` with every accepted key, once, until it returns `false`. Only called if
    /// [`count`](Self::count) is known.
    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        let _ = each;
    }

    /// Returns whether the filter is known to accept every key, as an absent one does. A search then runs as one without a filter.
    fn accepts_all(&self) -> bool {
        false
    }

    /// Returns the filter that accepts the keys which this one rejects.
    fn not(self) -> Not<Self>
    where
        Self: Sized,
    {
        Not(self)
    }

    /// Returns the filter that accepts the keys which both accept. This one is asked first.
    fn and<F: Filter>(self, other: F) -> And<Self, F>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Returns the filter that accepts the keys which one of the two accepts, or both. This one is asked first.
    fn or<F: Filter>(self, other: F) -> Or<Self, F>
    where
        Self: Sized,
    {
        Or(self, other)
    }
}

/// Implements [`Filter`] for a pointer to a filter.
macro_rules! filter_through {
    (impl $(<$($name:ident : $first:ident $(+ $more:ident)*),*>)? Filter for $pointer:ty) => {
        impl $(<$($name: $first $(+ $more)*),*>)? Filter for $pointer {
            fn accepts(&self, key: u64) -> bool {
                (**self).accepts(key)
            }

            fn accepts_each(&self, keys: &[u64]) -> u64 {
                (**self).accepts_each(keys)
            }

            fn count(&self) -> Option<usize> {
                (**self).count()
            }

            fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
                (**self).for_each(each);
            }

            fn accepts_all(&self) -> bool {
                (**self).accepts_all()
            }
        }
    };
}

pub(crate) use filter_through;

filter_through!(impl Filter for &(dyn Filter + '_));
filter_through!(impl Filter for &(dyn Filter + Send + '_));
filter_through!(impl Filter for Box<dyn Filter + '_>);
filter_through!(impl Filter for Box<dyn Filter + Send + '_>);
filter_through!(impl Filter for Arc<dyn Filter + Send + '_>);

/// An absent filter accepts every key.
impl<F: Filter> Filter for Option<F> {
    fn accepts(&self, key: u64) -> bool {
        self.as_ref().is_none_or(|filter| filter.accepts(key))
    }

    fn accepts_each(&self, keys: &[u64]) -> u64 {
        self.as_ref().map_or(u64::MAX, |filter| filter.accepts_each(keys))
    }

    fn count(&self) -> Option<usize> {
        self.as_ref().and_then(Filter::count)
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        if let Some(filter) = self {
            filter.for_each(each);
        }
    }

    fn accepts_all(&self) -> bool {
        self.as_ref().is_none_or(Filter::accepts_all)
    }
}

filter_through!(impl<F: Filter> Filter for &Option<F>);

impl<F: Fn(u64) -> bool + Sync> Filter for F {
    fn accepts(&self, key: u64) -> bool {
        self(key)
    }
}

/// The keys that a filter accepts, except excluded keys. It acts as a [`Filter`] only if keys are excluded.
#[derive(Clone, Copy, Default)]
pub(in crate::index) struct Screen<'a> {
    pub(in crate::index) filter: Option<&'a dyn Filter>,
    /// Keys that are not answers.
    pub(in crate::index) excluded: Option<&'a KeySet>,
}

impl<'a> Screen<'a> {
    /// Returns a screen of these, of which either may be absent.
    pub(in crate::index) fn new(
        filter: Option<&'a dyn Filter>,
        excluded: Option<&'a KeySet>,
    ) -> Self {
        Self { filter: filter.filter(|filter| !filter.accepts_all()), excluded }
    }

    /// Returns the filter to call, if any.
    pub(in crate::index) fn filter(&self) -> Option<&dyn Filter> {
        match self.excluded {
            None => self.filter,
            Some(_) => Some(self),
        }
    }

    /// Returns the keys that are not answers, if all others are.
    pub(in crate::index) fn only_excluded(&self) -> Option<&'a KeySet> {
        self.excluded.filter(|_| self.filter.is_none())
    }

    fn excludes(&self, key: u64) -> bool {
        self.excluded.is_some_and(|keys| keys.contains(key))
    }
}

impl Filter for Screen<'_> {
    fn accepts(&self, key: u64) -> bool {
        !self.excludes(key) && self.filter.is_none_or(|filter| filter.accepts(key))
    }

    fn count(&self) -> Option<usize> {
        self.filter.and_then(Filter::count)
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        if let Some(filter) = self.filter {
            filter.for_each(&mut |key| self.excludes(key) || each(key));
        }
    }
}
