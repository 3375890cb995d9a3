//! Terms: a field and a value as bytes, in the order of the values. An entry of the index is a term and a chunk of the keys.
//!
//! A term is the field's number (big-endian), the form of the value, and the value. Texts end with two bytes, and a zero byte in them is
//! followed by 255, so that no text's bytes begin another's. Of a long text the term has the beginning and a hash.

use xxhash_rust::xxh3::xxh3_128;

use crate::attributes::{Kind, Value};

/// Keys of a chunk, as a power of two: a bitmap of them takes 2 KiB.
pub(super) const CHUNK_BITS: u32 = 14;

/// Bytes of the number of a chunk.
const CHUNK_BYTES: usize = 7;

/// Bytes of a text that its term has.
pub(super) const CUT: usize = 64;

/// The form of the values of a term. The numbers are in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// A value of any kind: the term continues with the form of the kind.
    Present = 0,
    Boolean = 1,
    Integer = 2,
    Float = 3,
    Text = 4,
    Time = 5,
    /// Under [`Self::Present`], a list of texts; alone, one of its texts.
    Item = 6,
}

impl Form {
    pub(super) const KINDS: [Self; 6] =
        [Self::Boolean, Self::Integer, Self::Float, Self::Text, Self::Time, Self::Item];

    /// Returns the form of values of a kind.
    pub(super) fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean,
            Kind::Integer => Self::Integer,
            Kind::Float => Self::Float,
            Kind::Text => Self::Text,
            Kind::Time => Self::Time,
            Kind::Texts => Self::Item,
        }
    }

    /// Returns the kind of the values of a form that is not [`Self::Present`].
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Boolean => Kind::Boolean,
            Self::Integer => Kind::Integer,
            Self::Float => Kind::Float,
            Self::Text => Kind::Text,
            Self::Time => Kind::Time,
            Self::Item | Self::Present => Kind::Texts,
        }
    }

    /// Returns the form of a value.
    pub(super) fn of(value: &Value) -> Self {
        Self::of_kind(value.kind())
    }

    /// Returns the forms of the values that have an order with values of this form.
    pub(super) fn comparable(self) -> &'static [Self] {
        match self {
            Self::Integer | Self::Float => &[Self::Integer, Self::Float],
            Self::Boolean => &[Self::Boolean],
            Self::Text => &[Self::Text],
            Self::Time => &[Self::Time],
            // Lists have no order.
            Self::Present | Self::Item => &[],
        }
    }

    /// Returns whether values of this form, which are no texts, have an order with a value.
    pub(super) fn is_ordered_with(self, value: &Value) -> bool {
        self != Self::Text && self.comparable().contains(&Self::of(value))
    }
}

/// Returns the beginning of the terms of a field's values of one form.
pub(super) fn begin(field: u32, form: Form) -> Vec<u8> {
    let mut term = field.to_be_bytes().to_vec();
    term.push(form as u8);
    term
}

/// Returns the first bytes behind all that begin with `bytes`.
pub(super) fn behind(mut bytes: Vec<u8>) -> Vec<u8> {
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            break;
        }
    }
    bytes
}

/// Returns the term of all values of a form.
pub(super) fn present(field: u32, form: Form) -> Vec<u8> {
    let mut term = begin(field, Form::Present);
    term.push(form as u8);
    term
}

/// Returns the term of a number in the order of its form.
pub(super) fn number(field: u32, form: Form, order: u64) -> Vec<u8> {
    let mut term = begin(field, form);
    term.extend(order.to_be_bytes());
    term
}

/// Appends a text up to [`CUT`] bytes, without its end.
pub(super) fn push_text(term: &mut Vec<u8>, text: &str) {
    for &byte in &text.as_bytes()[..text.len().min(CUT)] {
        term.push(byte);
        if byte == 0 {
            term.push(u8::MAX);
        }
    }
}

/// Returns the term of a text.
pub(super) fn text(field: u32, form: Form, text: &str) -> Vec<u8> {
    let mut term = begin(field, form);
    push_text(&mut term, text);
    if text.len() <= CUT {
        term.extend([0, 0]);
    } else {
        term.extend([0, 1]);
        term.extend(xxh3_128(text.as_bytes()).to_be_bytes());
    }
    term
}

/// Returns the bytes of a text that its term has, and whether the term has all of them. Returns `None` for bytes that are no term of a
/// text.
pub(super) fn text_of(term: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let mut rest = term.get(5..)?.iter();
    loop {
        match (*rest.next()?, rest.as_slice().first()) {
            (0, Some(&u8::MAX)) => {
                rest.next();
                bytes.push(0);
            }
            (0, Some(&end @ (0 | 1))) => return Some((bytes, end == 0)),
            (0, _) => return None,
            (byte, _) => bytes.push(byte),
        }
    }
}

/// Returns the order of an integer or a time.
pub(super) fn order_of_i64(number: i64) -> u64 {
    number as u64 ^ 1 << 63
}

/// Returns the order of a number that is not NaN.
pub(super) fn order_of_f64(number: f64) -> u64 {
    // Adding zero makes a negative one positive.
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits ^ 1 << 63 } else { !bits }
}

/// Calls `each` with the terms of a value: that of its kind, and those of its content.
pub(super) fn each_term(field: u32, value: &Value, each: &mut dyn FnMut(Vec<u8>)) {
    let form = Form::of(value);
    each(present(field, form));
    match value {
        Value::Boolean(flag) => {
            let mut term = begin(field, form);
            term.push(u8::from(*flag));
            each(term);
        }
        Value::Integer(integer) => each(number(field, form, order_of_i64(*integer))),
        Value::Float(float) => each(number(field, form, order_of_f64(*float))),
        Value::Time(time) => each(number(field, form, order_of_i64(time.as_micros()))),
        Value::Text(value) => each(text(field, form, value)),
        Value::Texts(values) => {
            let mut distinct: Vec<&str> = values.iter().map(String::as_str).collect();
            distinct.sort_unstable();
            distinct.dedup();
            for value in distinct {
                each(text(field, form, value));
            }
        }
    }
}

/// Returns the value that a term tells whole. Returns `None` for the beginning of a long text, and for bytes that are no value.
pub(super) fn value_of(term: &[u8]) -> Option<Value> {
    use crate::attributes::Timestamp;

    let (form, rest) = term.get(4..)?.split_first()?;
    let order = || rest.try_into().ok().map(u64::from_be_bytes);
    let form = Form::KINDS.into_iter().find(|&known| known as u8 == *form)?;
    Some(match form {
        Form::Boolean => Value::Boolean(*rest.first()? != 0),
        Form::Integer => Value::Integer((order()? ^ 1 << 63) as i64),
        Form::Time => Value::Time(Timestamp::from_micros((order()? ^ 1 << 63) as i64)),
        Form::Float => {
            let order = order()?;
            let bits = if order >> 63 == 0 { !order } else { order ^ 1 << 63 };
            Value::Float(f64::from_bits(bits))
        }
        Form::Text | Form::Item => {
            let (bytes, is_whole) = text_of(term)?;
            Value::Text(String::from_utf8(bytes).ok().filter(|_| is_whole)?)
        }
        Form::Present => return None,
    })
}

/// Returns the chunk of a key, and its place in the chunk.
pub(super) fn split_key(key: u64) -> (u64, u16) {
    (key >> CHUNK_BITS, (key & ((1 << CHUNK_BITS) - 1)) as u16)
}

/// Returns the key of an entry: of a term and a chunk of keys.
pub(super) fn entry_key(term: &[u8], chunk: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(term.len() + CHUNK_BYTES);
    key.extend_from_slice(term);
    key.extend_from_slice(&chunk.to_be_bytes()[8 - CHUNK_BYTES..]);
    key
}

/// Returns the term and the chunk of an entry's key.
pub(super) fn split_entry(key: &[u8]) -> Option<(&[u8], u64)> {
    let (term, chunk) = key.split_at_checked(key.len().checked_sub(CHUNK_BYTES)?)?;
    let mut bytes = [0; 8];
    bytes[8 - CHUNK_BYTES..].copy_from_slice(chunk);
    let chunk = u64::from_be_bytes(bytes);
    (chunk <= u64::MAX >> CHUNK_BITS).then_some((term, chunk))
}
