//! Records: the attributes of a key as bytes.
//!
//! Each attribute is the field's number times 8 plus the form of the value, and the value; fields ascend. Numbers are LEB128.

use super::field::Fields;
use super::term::Form;
use crate::attributes::{Attributes, Timestamp, Value};
use crate::collection::error::CollectionError;
use crate::collection::format::corrupt;

/// Bits of a form.
const FORM_BITS: u32 = 3;

const DAMAGED: &str = "the attributes of a key are malformed";

/// The values of a record with the numbers of their fields, ascending.
pub(super) type Values = Vec<(u32, Value)>;

/// Writes a record.
pub(super) fn encode(values: &Values) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in values {
        push_number(&mut bytes, u64::from(*field) << FORM_BITS | Form::of(value) as u64);
        push_value(&mut bytes, value);
    }
    bytes
}

/// Returns attributes as bytes that do not depend on the numbers of their fields.
pub(in crate::collection) fn encode_named(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in attributes {
        push_text(&mut bytes, name);
        bytes.push(Form::of(value) as u8);
        push_value(&mut bytes, value);
    }
    bytes
}

fn push_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Boolean(flag) => bytes.push(u8::from(*flag)),
        Value::Integer(number) => push_signed(bytes, *number),
        Value::Time(time) => push_signed(bytes, time.as_micros()),
        Value::Float(number) => bytes.extend(number.to_le_bytes()),
        Value::Text(text) => push_text(bytes, text),
        Value::Texts(texts) => {
            push_number(bytes, texts.len() as u64);
            for text in texts {
                push_text(bytes, text);
            }
        }
    }
}

/// Reads a record.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Values, CollectionError> {
    let mut values = Values::new();
    while !bytes.is_empty() {
        let number_and_form = number(&mut bytes)?;
        let field = u32::try_from(number_and_form >> FORM_BITS).map_err(|_| corrupt(DAMAGED))?;
        let form = (number_and_form & ((1 << FORM_BITS) - 1)) as u8;
        if values.last().is_some_and(|&(last, _)| last >= field) {
            return Err(corrupt(DAMAGED));
        }
        let form = Form::KINDS.into_iter().find(|&known| known as u8 == form);
        let value = match form.ok_or(corrupt(DAMAGED))? {
            Form::Boolean => Value::Boolean(take::<1>(&mut bytes)? != [0]),
            Form::Integer => Value::Integer(signed(&mut bytes)?),
            Form::Time => Value::Time(Timestamp::from_micros(signed(&mut bytes)?)),
            Form::Float => Value::Float(f64::from_le_bytes(take(&mut bytes)?)),
            Form::Text => Value::Text(text(&mut bytes)?),
            Form::Item => {
                let mut left = number(&mut bytes)?;
                let mut texts = Vec::new();
                while left > 0 {
                    texts.push(text(&mut bytes)?);
                    left -= 1;
                }
                Value::Texts(texts)
            }
            Form::Present => return Err(corrupt(DAMAGED)),
        };
        values.push((field, value));
    }
    Ok(values)
}

/// Returns values with the names of their fields.
pub(super) fn named(values: Values, fields: &Fields) -> Result<Attributes, CollectionError> {
    let mut attributes = Attributes::new();
    for (field, value) in values {
        attributes.set(fields.name(field)?, value);
    }
    Ok(attributes)
}

/// Returns the attributes of a record.
pub(in crate::collection) fn read(
    record: &[u8],
    fields: &Fields,
) -> Result<Attributes, CollectionError> {
    named(decode(record)?, fields)
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Numbers near zero are short, of either sign.
fn push_signed(bytes: &mut Vec<u8>, number: i64) {
    push_number(bytes, (number << 1 ^ number >> 63) as u64);
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CollectionError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(corrupt(DAMAGED))?;
    *bytes = rest;
    Ok(*first)
}

fn number(bytes: &mut &[u8]) -> Result<u64, CollectionError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes)?;
        let part = u64::from(byte & 127);
        if shift == 63 && part > 1 {
            break;
        }
        number |= part << shift;
        if byte < 128 {
            return Ok(number);
        }
    }
    Err(corrupt(DAMAGED))
}

fn signed(bytes: &mut &[u8]) -> Result<i64, CollectionError> {
    let number = number(bytes)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

fn text(bytes: &mut &[u8]) -> Result<String, CollectionError> {
    let len = usize::try_from(number(bytes)?).map_err(|_| corrupt(DAMAGED))?;
    let (text, rest) = bytes.split_at_checked(len).ok_or(corrupt(DAMAGED))?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| corrupt(DAMAGED))
}
