//! The kinds of values.

use std::fmt;

/// The kind of a [`Value`](super::Value).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// [`Value::Integer`](super::Value::Integer).
    Integer,
    /// [`Value::Float`](super::Value::Float).
    Float,
    /// [`Value::Boolean`](super::Value::Boolean).
    Boolean,
    /// [`Value::Text`](super::Value::Text).
    Text,
    /// [`Value::Time`](super::Value::Time).
    Time,
    /// [`Value::Texts`](super::Value::Texts).
    Texts,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Time => "time",
            Self::Texts => "list of texts",
        })
    }
}
