//! The truth of predicates, in three values.

use std::cmp::Ordering;
use std::ops::Not;

use super::error::AttributeError;
use super::map::Attributes;
use super::predicate::{Comparison, Node, Predicate};
use super::value::Value;

/// The truth of a predicate. Ascending, `and` is the least and `or` the greatest of their parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Truth {
    False,
    Unknown,
    True,
}

impl From<bool> for Truth {
    fn from(is_true: bool) -> Self {
        if is_true { Self::True } else { Self::False }
    }
}

impl Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl Truth {
    /// Returns the least of the parts, or true for none.
    fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut least = Self::True;
        for part in parts {
            least = least.min(part);
            if least == Self::False {
                break;
            }
        }
        least
    }

    /// Returns the greatest of the parts, or false for none.
    fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        !Self::all(parts.into_iter().map(Not::not))
    }
}

impl Comparison {
    /// Returns whether the order of two values has this relation.
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    fn truth(self, value: &Value, other: &Value) -> Truth {
        value.order(other).map_or(Truth::Unknown, |order| self.holds(order).into())
    }
}

impl Node {
    /// Returns the truth of the predicate for these attributes.
    pub(crate) fn evaluate(&self, attributes: &Attributes) -> Truth {
        self.evaluate_by(&|field| attributes.get(field))
    }

    /// Returns the truth of the predicate for the values of fields that `get` returns.
    pub(crate) fn evaluate_by<'v>(&self, get: &dyn Fn(&str) -> Option<&'v Value>) -> Truth {
        match self {
            Self::And(parts) => Truth::all(parts.iter().map(|part| part.evaluate_by(get))),
            Self::Or(parts) => Truth::any(parts.iter().map(|part| part.evaluate_by(get))),
            Self::Not(part) => !part.evaluate_by(get),
            Self::IsNull { field } => get(field).is_none().into(),
            leaf => {
                let value = leaf.field().and_then(get);
                value.map_or(Truth::Unknown, |value| leaf.of_value(value))
            }
        }
    }

    /// Returns the truth of a node about one field, for a value of this field.
    pub(crate) fn of_value(&self, value: &Value) -> Truth {
        use Comparison::{Equal, GreaterOrEqual, LessOrEqual};
        match (self, value) {
            (Self::Compare { comparison, value: other, .. }, _) => comparison.truth(value, other),
            (Self::Among { values, .. }, _) => {
                Truth::any(values.iter().map(|other| Equal.truth(value, other)))
            }
            (Self::Between { low, high, .. }, _) => {
                GreaterOrEqual.truth(value, low).min(LessOrEqual.truth(value, high))
            }
            (Self::Prefix { text, .. }, Value::Text(value)) => value.starts_with(text).into(),
            (Self::Has { text, .. }, Value::Texts(list)) => list.contains(text).into(),
            (Self::AnyOf { texts, .. }, Value::Texts(list)) => {
                texts.iter().any(|text| list.contains(text)).into()
            }
            (Self::AllOf { texts, .. }, Value::Texts(list)) => {
                texts.iter().all(|text| list.contains(text)).into()
            }
            (Self::IsNull { .. }, _) => Truth::False,
            _ => Truth::Unknown,
        }
    }
}

impl Predicate {
    /// Returns whether the predicate is true for these attributes: not if it is false, and not if it is unknown.
    ///
    /// # Errors
    ///
    /// The predicate has a name or value that attributes cannot have, compares with a list, or has more than 64 levels.
    ///
    /// ```
    /// use nearfield::{attributes, field};
    ///
    /// let other = field("lang").ne("en");
    /// assert!(other.matches(&attributes! { "lang" => "de" })?);
    /// assert!(!other.matches(&attributes! {})?, "null is not known to be another language");
    /// assert!(field("score").gt(f64::NAN).matches(&attributes! {}).is_err());
    /// # Ok::<(), nearfield::attributes::AttributeError>(())
    /// ```
    pub fn matches(&self, attributes: &Attributes) -> Result<bool, AttributeError> {
        Ok(self.node()?.evaluate(attributes) == Truth::True)
    }
}
