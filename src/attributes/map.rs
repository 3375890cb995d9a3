//! The values of one entry, by the names of their fields.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;

use super::error::AttributeError;
use super::value::{Value, check_name};

/// Fields of an entry, at most.
const MOST_FIELDS: usize = 256;

/// The values beside a vector, by the names of their fields. A field that is absent is null.
///
/// ```
/// use nearfield::{Attributes, attributes};
///
/// let mut paper = attributes! { "year" => 2024, "tags" => ["graphs", "search"] };
/// paper.set("peer reviewed", true);
/// assert_eq!(paper.len(), 3);
/// assert_eq!(paper.get("year"), Some(&2024.into()));
/// assert_eq!(paper.get("venue"), None);
/// assert!(paper.check().is_ok());
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Attributes(BTreeMap<String, Value>);

impl Attributes {
    /// Returns attributes without fields.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Gives a field a value, in place of its earlier one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into().canonical());
    }

    /// Returns the attributes with a value for a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Returns the value of a field, or `None` if the field is null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Makes a field null, and returns its value, if it had one.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Returns the fields and their values, names ascending by bytes.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.0.iter())
    }

    /// Returns the number of fields that have a value.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether all fields are null.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the limits: at most 256 fields; names of 1 to 255 bytes without control characters; no NaN; texts
    /// of at most 64 KiB; lists of at most 1,024 texts of at most 4 KiB each.
    ///
    /// # Errors
    ///
    /// The first limit that a field exceeds.
    ///
    /// ```
    /// use nearfield::{ErrorKind, attributes};
    ///
    /// let error = attributes! { "score" => f64::NAN }.check().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// ```
    pub fn check(&self) -> Result<(), AttributeError> {
        if self.len() > MOST_FIELDS {
            return Err(AttributeError::TooManyFields { count: self.len(), max: MOST_FIELDS });
        }
        self.iter().try_for_each(|(name, value)| {
            check_name(name)?;
            value.check(name)
        })
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<N: Into<String>, V: Into<Value>> Extend<(N, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        fields.into_iter().for_each(|(name, value)| self.set(name, value));
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut attributes = Self::new();
        attributes.extend(fields);
        attributes
    }
}

/// The iterator of [`Attributes::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a>(btree_map::Iter<'a, String, Value>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_str(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a str, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The iterator over owned [`Attributes`].
#[derive(Debug)]
pub struct IntoIter(btree_map::IntoIter<String, Value>);

impl Iterator for IntoIter {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

impl IntoIterator for Attributes {
    type Item = (String, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.0.into_iter())
    }
}
