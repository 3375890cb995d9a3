//! The reasons for which attributes, or a predicate over them, are refused.

use std::fmt;

use super::kind::Kind;
use crate::error_kind::ErrorKind;

/// Characters of a line that an error shows on each side of its position.
const SHOWN: usize = 36;

/// The reason for which attributes, a predicate or a timestamp were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeError {
    /// The name of a field is empty, too long, or has control characters.
    Name {
        /// The name, or its beginning.
        name: String,
        /// The fault.
        fault: &'static str,
    },
    /// An entry has too many fields.
    TooManyFields {
        /// Its fields.
        count: usize,
        /// Fields allowed.
        max: usize,
    },
    /// A float is NaN, which has no order.
    NotANumber {
        /// The field.
        field: String,
    },
    /// A text, or a text of a list, is too long.
    TextTooLong {
        /// The field.
        field: String,
        /// Bytes of the text.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A list has too many texts.
    ListTooLong {
        /// The field.
        field: String,
        /// Texts of the list.
        len: usize,
        /// Texts allowed.
        max: usize,
    },
    /// A value is of another kind than its field is declared with.
    Kind {
        /// The field.
        field: String,
        /// The kind that is declared.
        declared: Kind,
        /// The kind of the value.
        found: Kind,
    },
    /// A field that is declared as required has no value.
    Required {
        /// The field.
        field: String,
    },
    /// A field that is declared as stored only has no index to build.
    StoredOnly {
        /// The field.
        field: String,
    },
    /// A predicate compares a field with a list.
    ListCompared {
        /// The field.
        field: String,
    },
    /// A predicate has too many levels of `and`, `or` and `not`.
    TooDeep {
        /// Levels allowed.
        max: usize,
    },
    /// A text is no timestamp.
    Timestamp {
        /// The text, or its beginning.
        text: String,
        /// The fault.
        fault: &'static str,
    },
    /// A text is no predicate.
    Parse(ParseError),
    /// A JSON value is no predicate, or no attributes.
    #[cfg(feature = "json")]
    Json {
        /// The path of the faulty part, such as `$.year.$gte`; `$` is the whole value.
        path: String,
        /// The expectation, or the fault.
        message: String,
    },
}

impl AttributeError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, fault } => {
                write!(f, "the field name {name:?} {fault}; give the field another name")
            }
            Self::TooManyFields { count, max } => write!(
                f,
                "the attributes have {count} fields; an entry has at most {max}: remove fields, or \
                 join several in a list of texts"
            ),
            Self::NotANumber { field } => write!(
                f,
                "the value of {field:?} is NaN, which has no order; leave the field out, or give a number"
            ),
            Self::TextTooLong { field, len, max } => write!(
                f,
                "a text of {field:?} has {len} bytes, and at most {max} are allowed; shorten it, or \
                 keep it in the payload"
            ),
            Self::ListTooLong { field, len, max } => write!(
                f,
                "the list of {field:?} has {len} texts, and at most {max} are allowed; shorten it"
            ),
            Self::Kind { field, declared, found } => write!(
                f,
                "the value of {field:?} is of the kind {found}, and the schema declares {declared}; give \
                 such a value, or declare the field anew"
            ),
            Self::Required { field } => write!(
                f,
                "{field:?} has no value, and the schema requires one; set it in the transaction of the \
                 vector"
            ),
            Self::StoredOnly { field } => write!(
                f,
                "{field:?} is declared as stored only; declare it anew without, and then build its index"
            ),
            Self::ListCompared { field } => write!(
                f,
                "{field:?} is compared with a list, and lists have no order; use `has`, `any_of`, \
                 `all_of` or `is_in`"
            ),
            Self::TooDeep { max } => write!(
                f,
                "the predicate has more than {max} levels of `and`, `or` and `not`; join its parts \
                 with `all` or `any`"
            ),
            Self::Timestamp { text, fault } => {
                write!(f, "{text:?} is no timestamp: {fault}; write it like 2024-05-01T12:00:00Z")
            }
            Self::Parse(error) => error.fmt(f),
            #[cfg(feature = "json")]
            Self::Json { path, message } => write!(f, "at {path}: {message}"),
        }
    }
}

impl std::error::Error for AttributeError {}

impl From<ParseError> for AttributeError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

/// The place at which a text stops being a predicate, and the expectation there.
///
/// Its text has three lines: the expectation, the line of the predicate, and a caret below the place.
///
/// ```
/// let error = "year >= and lang = 'en'".parse::<nearfield::Predicate>().unwrap_err();
/// let lines = "at byte 8: expected a value, found `and`\n  year >= and lang = 'en'\n          ^";
/// assert_eq!(error.to_string(), lines);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    position: usize,
    message: String,
    /// The line around the position, or a part of it, without control characters.
    line: String,
    /// Characters of `line` before the position.
    column: usize,
}

impl ParseError {
    /// Returns the error of `text` at the byte `position`, which is a boundary of characters.
    #[cold]
    pub(in crate::attributes) fn new(text: &str, position: usize, message: String) -> Self {
        let (before, after) = text.split_at_checked(position).unwrap_or((text, ""));
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let end = after.find('\n').unwrap_or(after.len());
        let head: Vec<_> = before[begin..].chars().rev().take(SHOWN).collect();
        let tail = after[..end].chars().take(SHOWN);
        let line = head.iter().rev().copied().chain(tail);
        let line = line.map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { position, message, line, column: head.len() }
    }

    /// Returns the byte of the text at which it stops being a predicate.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the expectation at the position, and the text found there.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at byte {}: {}", self.position, self.message)?;
        writeln!(f, "  {}", self.line)?;
        write!(f, "  {:column$}^", "", column = self.column)
    }
}

impl std::error::Error for ParseError {}

/// Returns the text, or its beginning of at most 64 bytes, for an error.
#[cold]
pub(in crate::attributes) fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(64);
    if end == text.len() { text.to_owned() } else { format!("{}...", &text[..end]) }
}
