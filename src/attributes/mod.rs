//! Values beside vectors, and predicates over them.
//!
//! ```
//! use nearfield::{Predicate, attributes, field};
//!
//! let paper = attributes! { "tenant" => "acme", "year" => 2024, "tags" => ["graphs", "search"] };
//! let wanted = field("year").ge(2020) & field("tags").any_of(["search", "ann"]);
//! assert!(wanted.matches(&paper)?);
//! # Ok::<(), nearfield::attributes::AttributeError>(())
//! ```
//!
//! # Truth
//!
//! A predicate is true, false or unknown for some attributes, as in SQL, and matches if it is true. A field
//! without a value is null.
//!
//! | predicate | value | truth |
//! |---|---|---|
//! | `is_null` | null, any | true, false |
//! | any other on one field | null | unknown |
//! | `eq ne lt le gt ge` | of the same kind; integer and float | by their order, no integer rounded |
//! | `eq ne lt le gt ge` | of any other kind; a list | unknown |
//! | booleans, texts, times | | `false` before `true`; by bytes; earlier first |
//! | `-0.0` | | counts as `0.0` |
//! | `ne` | any | `not` of `eq` |
//! | `is_in` | any | `or` of `eq`; of no values: false |
//! | `between` | any | `and` of `ge` and `le` |
//! | `prefix` | a text; of another kind | whether it begins so; unknown |
//! | `has` | a list; of another kind | whether it contains the text; unknown |
//! | `any_of`, `all_of` | a list; of another kind | `or`, `and` of `has`, of no texts false, true; unknown |
//! | `and` | | false if one part is, else unknown if one part is, else true |
//! | `or` | | true if one part is, else unknown if one part is, else false |
//! | `not` | | true for false, false for true, unknown for unknown |

pub(crate) mod builder;
pub(crate) mod display;
pub(crate) mod error;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod map;
pub(crate) mod parse;
pub(crate) mod predicate;
#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod tests;
pub(crate) mod timestamp;
pub(crate) mod truth;
pub(crate) mod value;

pub use builder::{Field, field};
pub use error::{AttributeError, ParseError};
pub use map::{Attributes, IntoIter, Iter};
pub use predicate::Predicate;
pub use timestamp::Timestamp;
pub use value::{Kind, Value};

/// Makes [`Attributes`](crate::Attributes) of names and values.
///
/// ```
/// use nearfield::attributes;
///
/// let paper = attributes! { "tenant" => "acme", "year" => 2024, "tags" => ["a", "b"] };
/// assert_eq!(paper.len(), 3);
/// assert!(attributes! {}.is_empty());
/// ```
#[macro_export]
macro_rules! attributes {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::attributes::Attributes::new()$(.with($name, $value))*
    };
}
