//! The tables that predicates are evaluated on, and estimates of their ranges.

use roaring::RoaringTreemap;

use crate::collection::attributes::chunk;
use crate::collection::attributes::field::Field;
use crate::collection::attributes::record::Values;
use crate::collection::error::CollectionError;
use crate::store::Range;

/// Receives the key and the value of an entry.
pub(in crate::collection::attributes) type Each<'e> =
    dyn FnMut(&[u8], &[u8]) -> Result<(), CollectionError> + 'e;

/// Receives a key and its values.
pub(in crate::collection::attributes) type EachRecord<'e> = dyn FnMut(u64, &Values) + 'e;

/// The keys that have a vector.
#[derive(Clone, Copy)]
pub(in crate::collection) struct Keys<'k> {
    pub(in crate::collection) count: usize,
    pub(in crate::collection) list: &'k dyn Fn() -> RoaringTreemap,
    /// Whether they are those of the commit of the tables, and not perhaps those of the next one.
    pub(in crate::collection) is_of_commit: bool,
}

/// The tables that a predicate is evaluated on: of a snapshot, or of a transaction.
pub(in crate::collection::attributes) trait Source {
    /// Calls `each` with the entries of the index from the first key up to the second one, which is left out.
    fn scan(&mut self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), CollectionError>;

    /// Estimates the entries of the index from the first key up to the second one, which is left out.
    fn guess(&mut self, from: &[u8], to: &[u8]) -> Result<Guess, CollectionError>;

    /// Returns the values of a key.
    fn values(&mut self, key: u64) -> Result<Values, CollectionError>;

    /// Calls `each` with each key that has attributes, and their values, ascending by key.
    fn each_record(&mut self, each: &mut EachRecord<'_>) -> Result<(), CollectionError>;

    /// Returns a field. Returns `None` for one that no key ever had.
    fn field(&mut self, name: &str) -> Result<Option<Field>, CollectionError>;

    /// Returns the keys that have a vector.
    fn keys(&self) -> Keys<'_>;
}

/// Entries of the index, and their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::collection::attributes) struct Guess {
    pub(in crate::collection::attributes) entries: u64,
    pub(in crate::collection::attributes) keys: u64,
}

impl Guess {
    /// Estimates the entries of a range: their number by nodes of the tree, their keys by some at both ends. Exact for few entries.
    pub(in crate::collection::attributes) fn of(
        mut range: Range<'_, [u8]>,
    ) -> Result<Self, CollectionError> {
        /// Entries at each end whose keys are counted.
        const SAMPLE: usize = 16;

        let about = range.about()?;
        let (mut entries, mut keys) = (0, 0);
        for at in 0..2 * SAMPLE {
            let next = if at < SAMPLE { range.next() } else { range.next_back() };
            let Some(entry) = next else { return Ok(Self { entries, keys }) };
            keys += chunk::count(entry?.1);
            entries += 1;
        }
        let all = about.max(entries);
        Ok(Self { entries: all, keys: (keys as f64 / entries as f64 * all as f64) as u64 })
    }
}
