//! Random predicates and attributes for tests, of names and values that often meet.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::builder::field;
use super::map::Attributes;
use super::predicate::Predicate;
use super::timestamp::Timestamp;
use super::value::Value;

/// Names of fields: plain ones, keywords, and names that need quotes.
pub(crate) const NAMES: [&str; 16] = [
    "year",
    "lang",
    "tags",
    "x-1.y_",
    "time",
    "not",
    "True",
    "and",
    "in",
    "a b",
    "1st",
    "$any",
    "$$",
    "\"",
    "'",
    "\u{e9}t\u{e9}",
];

const INTEGERS: [i64; 8] = [i64::MIN, -1, 0, 1, 2, 1 << 53, (1 << 53) + 1, i64::MAX];
const FLOATS: [f64; 12] = [
    f64::NEG_INFINITY,
    f64::MIN,
    -1.0,
    -0.0,
    f64::MIN_POSITIVE / 3.0,
    0.1,
    1.0,
    1.5,
    9_007_199_254_740_992.0,
    9_223_372_036_854_775_808.0,
    1e300,
    f64::INFINITY,
];
const TEXTS: [&str; 10] =
    ["", "a", "ab", "abc", "b", "it's", "''", "\"\n\\\u{0}", "\u{e9}", "\u{1f600}"];

/// A source of random predicates and attributes, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Returns the name of a field, mostly one of the first three.
    pub(crate) fn name(&mut self) -> &'static str {
        let end = if self.below(4) == 0 { NAMES.len() } else { 3 };
        self.one(&NAMES[..end])
    }

    pub(crate) fn text(&mut self) -> &'static str {
        self.one(&TEXTS)
    }

    fn texts(&mut self) -> Vec<&'static str> {
        (0..self.below(4)).map(|_| self.text()).collect()
    }

    /// Returns a value that is no list, of any kind.
    fn any_operand(&mut self) -> Value {
        match self.below(12) {
            0 => self.one(&INTEGERS).into(),
            1 => self.one(&FLOATS).into(),
            2 => f64::from_bits(self.0.random_range(0..0x7ff0_0000_0000_0000)).into(),
            3 => self.0.random_range(i64::MIN..=i64::MAX).into(),
            4 => (self.below(2) == 0).into(),
            5 => Timestamp::from_micros(self.0.random_range(i64::MIN..=i64::MAX)).into(),
            6 => Timestamp::from_micros(self.below(4) as i64 * 500_000).into(),
            7 | 8 => (self.below(5) as i64).into(),
            9 => (self.below(10) as f64 / 2.0).into(),
            _ => self.text().into(),
        }
    }

    /// Returns a value that is no list, for a field: mostly a small number for `year`, a text for `lang`.
    pub(crate) fn operand(&mut self, name: &str) -> Value {
        match name {
            "year" if self.below(4) > 0 => (self.below(5) as i64).into(),
            "lang" if self.below(4) > 0 => self.text().into(),
            _ => self.any_operand(),
        }
    }

    /// Returns a value for a field: mostly a list for `tags`.
    pub(crate) fn value(&mut self, name: &str) -> Value {
        let lists = if name == "tags" { 7 } else { 1 };
        if self.below(8) < lists { self.texts().into() } else { self.operand(name) }
    }

    /// Returns attributes of up to nine fields, mostly of fewer, as names repeat.
    pub(crate) fn attributes(&mut self) -> Attributes {
        let mut attributes = Attributes::new();
        for _ in 0..self.below(10) {
            let name = self.name();
            attributes.set(name, self.value(name));
        }
        attributes
    }

    /// Returns a predicate on one field.
    fn about(&mut self, name: &str) -> Predicate {
        let field = field(name);
        let kind = if name == "tags" && self.below(4) > 0 { 10 } else { 0 };
        match kind + self.below(14 - kind) {
            0 | 1 => field.eq(self.operand(name)),
            2 => field.ne(self.operand(name)),
            3 => field.lt(self.operand(name)),
            4 => field.le(self.operand(name)),
            5 => field.gt(self.operand(name)),
            6 => field.ge(self.operand(name)),
            7 => field.is_in((0..self.below(4)).map(|_| self.operand(name)).collect::<Vec<_>>()),
            8 => field.between(self.operand(name), self.operand(name)),
            9 => field.prefix(self.text()),
            10 => field.has(self.text()),
            11 => field.any_of(self.texts()),
            12 => field.all_of(self.texts()),
            _ => field.is_null(),
        }
    }

    /// Returns a valid predicate of at most `levels` levels of `and`, `or` and `not` around its fields.
    pub(crate) fn predicate(&mut self, levels: usize) -> Predicate {
        if levels == 0 || self.below(5) == 0 {
            let name = self.name();
            return self.about(name);
        }
        match self.below(5) {
            0 => !self.predicate(levels - 1),
            1 | 2 => Predicate::all(self.parts(levels - 1)),
            _ => Predicate::any(self.parts(levels - 1)),
        }
    }

    /// Returns some parts, rarely none.
    fn parts(&mut self, levels: usize) -> Vec<Predicate> {
        let count = if self.below(20) == 0 { 0 } else { 1 + self.below(3) };
        (0..count).map(|_| self.predicate(levels)).collect()
    }
}
