//! Predicates as texts, which parse to the same predicates.

use std::fmt::{self, Display, Write};

use super::predicate::{Comparison, Node, Predicate};
use super::value::Value;

/// Words that end or begin something else than a comparison in the place of a field.
const RESERVED: [&str; 5] = ["and", "or", "not", "true", "false"];

/// Returns whether a character may begin a name without quotes.
pub(super) fn begins_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Returns whether a character may follow in a name without quotes.
pub(super) fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Returns whether a name without quotes is a keyword in the place of a field.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// Writes `text` between quotes, and each quote within it twice.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    f.write_char(quote)?;
    for (i, part) in text.split(quote).enumerate() {
        if i > 0 {
            write!(f, "{quote}{quote}")?;
        }
        f.write_str(part)?;
    }
    f.write_char(quote)
}

/// A field, as its bare name if it may be.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = self.0.starts_with(begins_name) && self.0.chars().all(continues_name);
        if is_bare && !is_reserved(self.0) { f.write_str(self.0) } else { quoted(f, self.0, '"') }
    }
}

/// A text in quotes.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quoted(f, self.0, '\'')
    }
}

/// A value as a literal. Only a faulty predicate has lists.
struct Literal<'a>(&'a Value);

impl Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Integer(number) => write!(f, "{number}"),
            // Debug writes a point or an exponent always, and the fewest digits that read as the same float.
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Boolean(is_true) => write!(f, "{is_true}"),
            Value::Text(text) => Text(text).fmt(f),
            Value::Time(time) => write!(f, "time '{time}'"),
            Value::Texts(texts) => list(f, texts.iter().map(|text| Text(text))),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item: Display>) -> fmt::Result {
    f.write_char('(')?;
    for (i, item) in items.enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    f.write_char(')')
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

fn among(f: &mut fmt::Formatter<'_>, field: &str, word: &str, values: &[Value]) -> fmt::Result {
    write!(f, "{} {word} ", Name(field))?;
    list(f, values.iter().map(Literal))
}

/// Writes parts with a word between them, each in parentheses if `inner` says so.
fn join(
    f: &mut fmt::Formatter<'_>,
    parts: &[Node],
    word: &str,
    inner: fn(&Node) -> bool,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        part.enclosed(f, inner(part))?;
    }
    Ok(())
}

impl Node {
    fn enclosed(&self, f: &mut fmt::Formatter<'_>, is_enclosed: bool) -> fmt::Result {
        if is_enclosed { write!(f, "({self})") } else { self.fmt(f) }
    }

    /// Returns whether the node is parts with `or` between them.
    fn is_or(&self) -> bool {
        matches!(self, Self::Or(parts) if !parts.is_empty())
    }

    /// Returns whether the node is parts with a word between them.
    fn is_joined(&self) -> bool {
        self.is_or() || matches!(self, Self::And(parts) if !parts.is_empty())
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { field, comparison, value } => {
                write!(f, "{} {} {}", Name(field), comparison.symbol(), Literal(value))
            }
            Self::Among { field, values } => among(f, field, "in", values),
            Self::Between { field, low, high } => {
                write!(f, "{} between {} and {}", Name(field), Literal(low), Literal(high))
            }
            Self::Prefix { field, text } => write!(f, "{} prefix {}", Name(field), Text(text)),
            Self::Has { field, text } => write!(f, "{} has {}", Name(field), Text(text)),
            Self::AnyOf { field, texts } => {
                write!(f, "{} any of ", Name(field))?;
                list(f, texts.iter().map(|text| Text(text)))
            }
            Self::AllOf { field, texts } => {
                write!(f, "{} all of ", Name(field))?;
                list(f, texts.iter().map(|text| Text(text)))
            }
            Self::IsNull { field } => write!(f, "{} is null", Name(field)),
            Self::And(parts) if parts.is_empty() => f.write_str("true"),
            Self::Or(parts) if parts.is_empty() => f.write_str("false"),
            Self::And(parts) => join(f, parts, "and", Self::is_or),
            Self::Or(parts) => join(f, parts, "or", |_| false),
            Self::Not(part) => match &**part {
                Self::Among { field, values } => among(f, field, "not in", values),
                Self::IsNull { field } => write!(f, "{} is not null", Name(field)),
                part => {
                    f.write_str("not ")?;
                    part.enclosed(f, part.is_joined())
                }
            },
            Self::TooDeep => f.write_str("..."),
        }
    }
}

/// The text of the predicate. If it has at most 1 MiB and the predicate has no fault, it parses to an equal predicate.
impl Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree().fmt(f)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predicate({self})")
    }
}
