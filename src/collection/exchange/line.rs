//! An entry as a line of JSON.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use crate::attributes::Attributes;
use crate::collection::error::{CollectionError, LineFault};
use crate::collection::format::FIRST_NAMED;
use crate::collection::records::Entry;
use crate::collection::writing::NewEntry;

/// Appends an entry's line, with its end.
pub(super) fn write(entry: &Entry<'_>, line: &mut Vec<u8>) -> Result<(), CollectionError> {
    let _ = write!(line, "{{\"key\":{}", entry.key);
    if let Some(name) = &entry.name {
        write_bytes("name", name, line);
    }
    line.extend_from_slice(b",\"vector\":[");
    for (at, &component) in entry.vector.iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        write_component(component, line);
    }
    line.push(b']');
    if let Some(attributes) = &entry.attributes {
        let _ = write!(line, ",\"attributes\":{}", attributes.to_json()?);
    }
    if let Some(payload) = &entry.payload {
        write_bytes("payload", payload, line);
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// Appends bytes as a member: as a text, or in base64 if they are no UTF-8.
fn write_bytes(member: &str, bytes: &[u8], line: &mut Vec<u8>) {
    let _ = match std::str::from_utf8(bytes) {
        Ok(text) => write!(line, ",\"{member}\":{}", Json::from(text)),
        Err(_) => write!(line, ",\"{member}_base64\":\"{}\"", STANDARD.encode(bytes)),
    };
}

/// Appends a number that is read as this `f32`: the shortest one that does so by way of an `f64`.
fn write_component(component: f32, line: &mut Vec<u8>) {
    /// Whole numbers below are written without a point.
    const WHOLE: f32 = 1e7;

    let begin = line.len();
    let is_plain = component.fract() == 0.0 && component.abs() < WHOLE;
    let _ = if is_plain && !(component == 0.0 && component.is_sign_negative()) {
        write!(line, "{component}")
    } else {
        write!(line, "{component:?}")
    };
    let text = std::str::from_utf8(&line[begin..]).unwrap_or_default();
    let as_read = text.parse::<f64>().map(|read| (read as f32).to_bits());
    let is_read = as_read == Ok(component.to_bits());
    if !is_read {
        // Rounded to an `f64`, the shortest number is halfway between two of `f32`.
        line.truncate(begin);
        let _ = write!(line, "{:?}", f64::from(component));
    }
}

/// Reads the entry of a line.
pub(super) fn read(line: &[u8]) -> Result<NewEntry, LineFault> {
    let json = serde_json::from_slice(line);
    let json = json.map_err(|error| LineFault::Json { message: error.to_string() })?;
    let Json::Object(mut members) = json else {
        return Err(LineFault::Json { message: "expected an object, an entry a line".to_owned() });
    };
    let name = take_bytes(&mut members, "name")?;
    let key = match take(&mut members, "key") {
        None if name.is_some() => None,
        None => return Err(member("key", "an integer from 0 up to 2^64 - 1, or a `name`")),
        Some(key) => Some(key.as_u64().ok_or(member("key", "an integer from 0 up to 2^64 - 1"))?),
    };
    if name.is_some() && key.is_some_and(|key| key < FIRST_NAMED) {
        return Err(member("key", "2^63 or more beside a name, or no key"));
    }
    let vector = take(&mut members, "vector").ok_or(member("vector", "an array of numbers"))?;
    let vector = read_vector(&vector)?;
    let attributes = match take(&mut members, "attributes") {
        Some(json) => Some(Attributes::from_json(&json).map_err(refused)?),
        None => None,
    };
    let payload = take_bytes(&mut members, "payload")?;
    if let Some((unknown, _)) = members.into_iter().next() {
        let known =
            "`key`, `name`, `name_base64`, `vector`, `attributes`, `payload` or `payload_base64`";
        return Err(LineFault::Member { name: unknown, expected: known });
    }
    Ok(NewEntry { key, name, vector, attributes, payload })
}

/// Returns the fault of an error of the collection.
pub(super) fn refused(error: impl Into<CollectionError>) -> LineFault {
    LineFault::Refused(Box::new(error.into()))
}

fn member(name: &str, expected: &'static str) -> LineFault {
    LineFault::Member { name: name.to_owned(), expected }
}

/// Takes a member that is not null.
fn take(members: &mut Map<String, Json>, name: &str) -> Option<Json> {
    members.remove(name).filter(|json| !json.is_null())
}

/// Takes bytes, in either of their forms.
fn take_bytes(members: &mut Map<String, Json>, name: &str) -> Result<Option<Vec<u8>>, LineFault> {
    let encoded_name = format!("{name}_base64");
    let encoded = take(members, &encoded_name);
    match (take(members, name), encoded) {
        (None, None) => Ok(None),
        (Some(Json::String(text)), None) => Ok(Some(text.into_bytes())),
        (None, Some(Json::String(text))) => {
            let bytes = STANDARD.decode(text).ok();
            bytes.map(Some).ok_or(member(&encoded_name, "base64 with its padding"))
        }
        (Some(_), None) => Err(member(name, "a text")),
        (None, Some(_)) => Err(member(&encoded_name, "a text")),
        (Some(_), Some(_)) => Err(member(&encoded_name, "nothing beside the text")),
    }
}

fn read_vector(json: &Json) -> Result<Vec<f32>, LineFault> {
    let numbers = json.as_array().ok_or(member("vector", "an array of numbers"))?;
    let number = |json: &Json| json.as_f64().map(|number| number as f32);
    let vector: Option<Vec<f32>> = numbers.iter().map(number).collect();
    vector.ok_or(member("vector", "numbers alone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(vector: Vec<f32>) -> Entry<'static> {
        Entry { key: 7, vector, name: None, attributes: None, payload: None }
    }

    #[test]
    fn each_float_is_read_as_it_was_written() {
        let mut state = 1_u64;
        let any = (0..300_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f32::from_bits((state >> 32) as u32)
        });
        let limits = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            1e7,
            9_999_999.0,
            16_777_216.0,
            1e16,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            f32::EPSILON,
            7.038_531e-26,
            1.175_494_2e-38,
        ];
        let vector: Vec<f32> = limits.into_iter().chain(any).filter(|x| x.is_finite()).collect();
        let mut line = Vec::new();
        write(&entry(vector.clone()), &mut line).unwrap();
        let read = read(&line).unwrap().vector;
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&vector));
    }

    #[test]
    fn whole_numbers_are_short() {
        let mut line = Vec::new();
        write(&entry(vec![0.0, 1.0, -3.0, 0.5, 1e-20]), &mut line).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text, "{\"key\":7,\"vector\":[0,1,-3,0.5,1e-20]}\n");
    }
}
