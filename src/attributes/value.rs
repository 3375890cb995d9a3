//! Values of attributes, their kinds and their limits.

use std::cmp::Ordering;
use std::fmt;
use std::time::SystemTime;

use super::error::{AttributeError, shortened};
use super::kind::Kind;
use super::timestamp::Timestamp;

/// Bytes of a field name, at most.
const MOST_NAME_BYTES: usize = 255;
/// Bytes of a text, at most.
pub(super) const MOST_TEXT_BYTES: usize = 64 << 10;
/// Texts of a list, at most.
const MOST_TEXTS: usize = 1024;
/// Bytes of a text in a list, at most.
pub(super) const MOST_LISTED_BYTES: usize = 4 << 10;

/// A value of an attribute.
///
/// Most Rust types turn into one: integers to 32 bits and `i64`, floats, `bool`, `&str`, `String`,
/// [`Timestamp`], [`SystemTime`], and lists of texts.
///
/// ```
/// use nearfield::attributes::{Kind, Value};
///
/// assert_eq!(Value::from(7_u8), Value::Integer(7));
/// assert_eq!(Value::from(["a", "b"]).kind(), Kind::Texts);
/// assert_eq!(Kind::Texts.to_string(), "list of texts");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number; `-0.0` counts as `0.0`, and NaN is refused.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A text of at most 64 KiB.
    Text(String),
    /// A point in time.
    Time(Timestamp),
    /// At most 1,024 texts of at most 4 KiB each.
    Texts(Vec<String>),
}

/// Writes the value for people: a text without quotes, the texts of a list with commas between them. A [`Predicate`](crate::Predicate) quotes
/// its texts.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Boolean(flag) => flag.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Texts(texts) => texts.join(", ").fmt(f),
        }
    }
}

impl Value {
    /// Returns the kind of the value.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Integer(_) => Kind::Integer,
            Self::Float(_) => Kind::Float,
            Self::Boolean(_) => Kind::Boolean,
            Self::Text(_) => Kind::Text,
            Self::Time(_) => Kind::Time,
            Self::Texts(_) => Kind::Texts,
        }
    }

    /// Returns the value with `0.0` for `-0.0`.
    pub(crate) fn canonical(self) -> Self {
        match self {
            Self::Float(number) => Self::Float(number + 0.0),
            other => other,
        }
    }

    /// Returns the order of two values, or `None` if their kinds have none. Integers and floats have one order, in
    /// which no integer is rounded.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            (Self::Integer(a), Self::Float(b)) => mixed(*a, *b),
            (Self::Float(a), Self::Integer(b)) => mixed(*b, *a).map(Ordering::reverse),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Checks the limits of the value of a field.
    pub(super) fn check(&self, field: &str) -> Result<(), AttributeError> {
        match self {
            Self::Float(number) if number.is_nan() => {
                Err(AttributeError::NotANumber { field: shortened(field) })
            }
            Self::Text(text) => check_text(field, text, MOST_TEXT_BYTES),
            Self::Texts(texts) if texts.len() > MOST_TEXTS => Err(AttributeError::ListTooLong {
                field: shortened(field),
                len: texts.len(),
                max: MOST_TEXTS,
            }),
            Self::Texts(texts) => {
                texts.iter().try_for_each(|text| check_text(field, text, MOST_LISTED_BYTES))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the order of an integer and a float: that of the integer and the float's whole part, then that of 0 and the rest.
fn mixed(integer: i64, float: f64) -> Option<Ordering> {
    /// 2 to the power of 63: each integer is below.
    const END: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= END {
        return Some(Ordering::Less);
    }
    if float < -END {
        return Some(Ordering::Greater);
    }
    let whole = integer.cmp(&(float.trunc() as i64));
    Some(whole.then_with(|| 0.0_f64.total_cmp(&(float.fract() + 0.0))))
}

/// Checks the name of a field.
pub(super) fn check_name(name: &str) -> Result<(), AttributeError> {
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > MOST_NAME_BYTES {
        "has more than 255 bytes"
    } else if name.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(AttributeError::Name { name: shortened(name), fault })
}

/// Checks the length of a text.
pub(super) fn check_text(field: &str, text: &str, max: usize) -> Result<(), AttributeError> {
    if text.len() <= max {
        return Ok(());
    }
    Err(AttributeError::TextTooLong { field: shortened(field), len: text.len(), max })
}

macro_rules! from {
    ($($from:ty => |$value:ident| $to:expr),* $(,)?) => {
        $(
            impl From<$from> for Value {
                fn from($value: $from) -> Self {
                    $to
                }
            }
        )*
    };
}

from! {
    i8 => |value| Self::Integer(value.into()),
    i16 => |value| Self::Integer(value.into()),
    i32 => |value| Self::Integer(value.into()),
    i64 => |value| Self::Integer(value),
    u8 => |value| Self::Integer(value.into()),
    u16 => |value| Self::Integer(value.into()),
    u32 => |value| Self::Integer(value.into()),
    f32 => |value| Self::Float(value.into()).canonical(),
    f64 => |value| Self::Float(value).canonical(),
    bool => |value| Self::Boolean(value),
    &str => |value| Self::Text(value.to_owned()),
    String => |value| Self::Text(value),
    Timestamp => |value| Self::Time(value),
    SystemTime => |value| Self::Time(value.into()),
    &[&str] => |value| Self::Texts(value.iter().map(|&text| text.to_owned()).collect()),
    Vec<&str> => |value| Self::from(value.as_slice()),
    Vec<String> => |value| Self::Texts(value),
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(value: [&str; N]) -> Self {
        Self::from(value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const LARGEST: i64 = i64::MAX;

    #[test]
    fn integers_and_floats_have_one_exact_order() {
        use Ordering::{Equal, Greater, Less};
        let order = |a: i64, b: f64| {
            let order = Value::Integer(a).order(&Value::Float(b));
            let reverse = Value::Float(b).order(&Value::Integer(a));
            assert_eq!(order, reverse.map(Ordering::reverse), "{a} {b}");
            order
        };
        assert_eq!(order(0, -0.0), Some(Equal));
        assert_eq!(order(1, 1.0), Some(Equal));
        assert_eq!(order(1, 1.5), Some(Less));
        assert_eq!(order(2, 1.5), Some(Greater));
        assert_eq!(order(-1, -1.5), Some(Greater));
        assert_eq!(order(-2, -1.5), Some(Less));
        assert_eq!(order(0, f64::MIN_POSITIVE), Some(Less));
        assert_eq!(order(0, -f64::MIN_POSITIVE), Some(Greater));
        // 2^53 + 1 has no float: as a float it would be equal to 2^53.
        assert_eq!(order((1 << 53) + 1, 9_007_199_254_740_992.0), Some(Greater));
        assert_eq!(order(-(1 << 53) - 1, -9_007_199_254_740_992.0), Some(Less));
        assert_eq!(order(LARGEST, 9_223_372_036_854_775_808.0), Some(Less));
        assert_eq!(order(LARGEST, 9_223_372_036_854_774_784.0), Some(Greater));
        assert_eq!(order(i64::MIN, -9_223_372_036_854_775_808.0), Some(Equal));
        assert_eq!(order(i64::MIN, -9_223_372_036_854_777_856.0), Some(Greater));
        assert_eq!(order(LARGEST, f64::INFINITY), Some(Less));
        assert_eq!(order(i64::MIN, f64::NEG_INFINITY), Some(Greater));
        assert_eq!(order(0, f64::NAN), None);
    }

    #[test]
    fn kinds_without_an_order() {
        let values: [Value; 6] = [
            1.into(),
            true.into(),
            "a".into(),
            Timestamp::from_micros(1).into(),
            ["a"].into(),
            Value::Texts(Vec::new()),
        ];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                let expected = (i == j && i < 4).then_some(Ordering::Equal);
                assert_eq!(a.order(b), expected, "{a:?} {b:?}");
            }
        }
        assert_eq!(Value::from(false).order(&true.into()), Some(Ordering::Less));
        assert_eq!(Value::from("\u{e9}").order(&"z".into()), Some(Ordering::Greater));
        assert_eq!(Value::from(f64::NAN).order(&f64::NAN.into()), None);
    }

    #[test]
    fn conversions() {
        assert_eq!(Value::from(-1_i8), Value::Integer(-1));
        assert_eq!(Value::from(-2_i16), Value::Integer(-2));
        assert_eq!(Value::from(u32::MAX), Value::Integer(0xffff_ffff));
        assert_eq!(Value::from(u16::MAX), Value::Integer(0xffff));
        assert_eq!(Value::from(0.5_f32), Value::Float(0.5));
        assert!(matches!(Value::from(-0.0), Value::Float(zero) if zero.is_sign_positive()));
        assert_eq!(Value::from("a".to_owned()), Value::Text("a".to_owned()));
        let second = UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(Value::from(second), Value::Time(Timestamp::from_micros(1_000_000)));
        let list = Value::Texts(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(Value::from(["a", "b"]), list);
        assert_eq!(Value::from(vec!["a", "b"]), list);
        assert_eq!(Value::from(&["a", "b"][..]), list);
        assert_eq!(Value::from(vec!["a".to_owned(), "b".to_owned()]), list);
    }
}
