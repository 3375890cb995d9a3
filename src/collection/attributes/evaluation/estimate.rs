//! Estimates of the keys that a predicate selects, and of the time of evaluating it: by the index alone, in some microseconds.

use super::select::{Domain, Span, select};
use super::source::{Guess, Source};
use crate::attributes::Value;
use crate::attributes::predicate::Node;
use crate::collection::attributes::field::Field;
use crate::collection::error::CollectionError;

/// Nanoseconds of reading the attributes of a key from its record.
pub(super) const RECORD: f64 = 400.0;

/// Nanoseconds of a scan of the index, for each of its entries, and for each of their keys.
const SCAN: f64 = 2_000.0;
const ENTRY: f64 = 40.0;
const KEY: f64 = 2.0;

/// Nanoseconds for each key of listing all keys.
const LISTED: f64 = 20.0;

/// Entries of a range from which on it is worth asking whether the other entries of the field are fewer.
pub(super) const MANY: u64 = 64;

/// The keys that a predicate selects, and the nanoseconds of evaluating it on the index.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::collection::attributes) struct Estimate {
    pub(in crate::collection::attributes) keys: f64,
    pub(super) nanos: f64,
}

impl Estimate {
    pub(in crate::collection::attributes) fn of(
        source: &mut dyn Source,
        node: &Node,
        truth: bool,
    ) -> Result<Self, CollectionError> {
        let all = source.keys().count as f64;
        let mut estimate = select(&mut Guessing { source, all }, node, truth)?;
        estimate.keys = estimate.keys.clamp(0.0, all);
        Ok(estimate)
    }

    fn read(guess: Guess) -> Self {
        let nanos = SCAN + guess.entries as f64 * ENTRY + guess.keys as f64 * KEY;
        Self { keys: guess.keys as f64, nanos }
    }
}

/// Estimates instead of sets. Fields are thought to have nothing to do with one another.
struct Guessing<'s> {
    source: &'s mut dyn Source,
    /// Keys that have a vector.
    all: f64,
}

impl Domain for Guessing<'_> {
    type Keys = Estimate;

    fn field(&mut self, name: &str) -> Result<Option<Field>, CollectionError> {
        self.source.field(name)
    }

    fn all(&mut self) -> Result<Estimate, CollectionError> {
        Ok(Estimate { keys: self.all, nanos: self.all * LISTED })
    }

    fn between(&mut self, (from, to): Span<'_>) -> Result<Estimate, CollectionError> {
        Ok(Estimate::read(self.source.guess(from, to)?))
    }

    fn verified(
        &mut self,
        _field: u32,
        span: Span<'_>,
        _is_true: &dyn Fn(&Value) -> bool,
    ) -> Result<Estimate, CollectionError> {
        self.between(span)
    }

    fn part(
        &mut self,
        span: Span<'_>,
        whole: Span<'_>,
        _present: &[u8],
    ) -> Result<Estimate, CollectionError> {
        let mut estimate = self.between(span)?;
        if estimate.nanos > SCAN + MANY as f64 * ENTRY {
            let before = self.between((whole.0, span.0))?;
            let behind = self.between((span.1, whole.1))?;
            estimate.nanos = estimate.nanos.min(before.nanos + behind.nanos);
        }
        Ok(estimate)
    }

    fn by_records(
        &mut self,
        _field: u32,
        _node: &Node,
        _truth: bool,
    ) -> Result<Estimate, CollectionError> {
        /// The share of the keys that an unknown predicate is thought to select.
        const SHARE: f64 = 0.25;

        Ok(Estimate { keys: self.all * SHARE, nanos: self.all * RECORD })
    }

    fn all_of(&mut self, nodes: &[Node], truth: bool) -> Result<Estimate, CollectionError> {
        let mut all = Estimate { keys: self.all, nanos: 0.0 };
        for node in nodes {
            let other = select(self, node, truth)?;
            all = self.and(all, other);
        }
        Ok(if nodes.is_empty() { self.all()? } else { all })
    }

    fn and(&self, keys: Estimate, others: Estimate) -> Estimate {
        let share = if self.all > 0.0 { others.keys / self.all } else { 0.0 };
        Estimate { keys: keys.keys * share.min(1.0), nanos: keys.nanos + others.nanos }
    }

    fn or(&self, keys: Estimate, others: Estimate) -> Estimate {
        // Values of one field exclude one another, and those of different fields do not.
        let both = if self.all > 0.0 { keys.keys * others.keys / self.all } else { 0.0 };
        let sum = keys.keys + others.keys - both;
        Estimate { keys: sum, nanos: keys.nanos + others.nanos }
    }

    fn minus(&self, keys: Estimate, others: Estimate) -> Estimate {
        let left = (keys.keys - others.keys).max(0.0);
        Estimate { keys: left, nanos: keys.nanos + others.nanos }
    }
}
