//! Predicates made in Rust.

use super::predicate::{Comparison, Node, Predicate};
use super::value::Value;

/// A field of attributes, to make predicates of: see [`field`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Field(String);

/// Returns a field of attributes, of which its methods make predicates.
///
/// ```
/// use nearfield::{attributes, field};
///
/// let recent = field("year").between(2020, 2024) & !field("lang").is_in(["fr", "it"]);
/// assert!(recent.matches(&attributes! { "year" => 2022, "lang" => "en" })?);
/// # Ok::<(), nearfield::attributes::AttributeError>(())
/// ```
pub fn field(name: impl Into<String>) -> Field {
    Field(name.into())
}

fn owned(texts: impl IntoIterator<Item: Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}

impl Field {
    fn compare(self, comparison: Comparison, value: Value) -> Predicate {
        Predicate::leaf(Node::Compare { field: self.0, comparison, value: value.canonical() })
    }

    /// Returns the predicate that the value is equal to this one.
    pub fn eq(self, value: impl Into<Value>) -> Predicate {
        self.compare(Comparison::Equal, value.into())
    }

    /// Returns the predicate that the field has a value of this kind, but another one.
    pub fn ne(self, value: impl Into<Value>) -> Predicate {
        self.compare(Comparison::NotEqual, value.into())
    }

    /// Returns the predicate that the value is less than this one.
    pub fn lt(self, value: impl Into<Value>) -> Predicate {
        self.compare(Comparison::Less, value.into())
    }

    /// Returns the predicate that the value is this one or less.
    pub fn le(self, value: impl Into<Value>) -> Predicate {
        self.compare(Comparison::LessOrEqual, value.into())
    }

    /// Returns the predicate that the value is greater than this one.
    pub fn gt(self, value: impl Into<Value>) -> Predicate {
        self.compare(Comparison::Greater, value.into())
    }

    /// Returns the predicate that the value is this one or greater.
    pub fn ge(self, value: impl Into<Value>) -> Predicate {
        self.compare(Comparison::GreaterOrEqual, value.into())
    }

    /// Returns the predicate that the value is equal to one of these.
    pub fn is_in(self, values: impl IntoIterator<Item: Into<Value>>) -> Predicate {
        let values = values.into_iter().map(|value| value.into().canonical()).collect();
        Predicate::leaf(Node::Among { field: self.0, values })
    }

    /// Returns the predicate that the field has a value that is equal to none of these.
    pub fn not_in(self, values: impl IntoIterator<Item: Into<Value>>) -> Predicate {
        self.is_in(values).not()
    }

    /// Returns the predicate that the value is from `low` to `high`, both included.
    pub fn between(self, low: impl Into<Value>, high: impl Into<Value>) -> Predicate {
        let (low, high) = (low.into().canonical(), high.into().canonical());
        Predicate::leaf(Node::Between { field: self.0, low, high })
    }

    /// Returns the predicate that the value is a text that begins with this one.
    pub fn prefix(self, text: impl Into<String>) -> Predicate {
        Predicate::leaf(Node::Prefix { field: self.0, text: text.into() })
    }

    /// Returns the predicate that the value is a list that contains this text.
    pub fn has(self, text: impl Into<String>) -> Predicate {
        Predicate::leaf(Node::Has { field: self.0, text: text.into() })
    }

    /// Returns the predicate that the value is a list that contains one of these texts.
    pub fn any_of(self, texts: impl IntoIterator<Item: Into<String>>) -> Predicate {
        Predicate::leaf(Node::AnyOf { field: self.0, texts: owned(texts) })
    }

    /// Returns the predicate that the value is a list that contains all of these texts.
    pub fn all_of(self, texts: impl IntoIterator<Item: Into<String>>) -> Predicate {
        Predicate::leaf(Node::AllOf { field: self.0, texts: owned(texts) })
    }

    /// Returns the predicate that the field has no value. It is never unknown.
    pub fn is_null(self) -> Predicate {
        Predicate::leaf(Node::IsNull { field: self.0 })
    }

    /// Returns the predicate that the field has a value. It is never unknown.
    pub fn is_not_null(self) -> Predicate {
        self.is_null().not()
    }
}
