//! Arguments: whole numbers, fractions, seconds and names of settings.

use std::time::Duration;

use nearfield::{Element, Metric, Originals, Quantization};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use crate::fault::{Outcome, invalid, mistyped, type_name};

/// Returns a whole number from 0 on.
pub(crate) fn whole(value: &Bound<'_, PyAny>, name: &str) -> Outcome<usize> {
    if let Ok(number) = value.extract::<usize>() {
        return Ok(number);
    }
    if value.is_instance_of::<PyInt>() || value.hasattr("__index__")? {
        return Err(invalid(format!("{name} is {}; allowed: 0 to 2^64 - 1", value.str()?)));
    }
    Err(mistyped(format!("{name} is an int, not {}", type_name(value))))
}

pub(crate) fn whole_or_none(
    value: Option<&Bound<'_, PyAny>>,
    name: &str,
) -> Outcome<Option<usize>> {
    value.map(|value| whole(value, name)).transpose()
}

/// Returns a key.
pub(crate) fn key(value: &Bound<'_, PyAny>) -> Outcome<u64> {
    whole(value, "the key").map(|key| key as u64)
}

/// Returns whether an argument is one whole number, and no array or list of them.
pub(crate) fn is_one(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_scalar = || Ok(value.hasattr("__index__")? && !value.hasattr("__len__")?);
    if value.is_instance_of::<PyInt>() { Ok(true) } else { is_scalar() }
}

pub(crate) fn fraction(value: Option<&Bound<'_, PyAny>>, name: &str) -> Outcome<Option<f64>> {
    let Some(value) = value else { return Ok(None) };
    let is_number = value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>();
    let number = (is_number || value.hasattr("__float__")?).then(|| value.extract::<f64>());
    match number {
        Some(Ok(number)) => Ok(Some(number)),
        _ => Err(mistyped(format!("{name} is a number, not {}", type_name(value)))),
    }
}

/// Returns a time in seconds.
pub(crate) fn seconds(value: Option<&Bound<'_, PyAny>>, name: &str) -> Outcome<Option<Duration>> {
    let Some(seconds) = fraction(value, name)? else { return Ok(None) };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(invalid(format!("{name} is {seconds}; allowed: seconds, 0 or more")));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok())
}

#[cold]
fn unknown<T>(name: &str, value: &str, allowed: &str) -> Outcome<T> {
    Err(invalid(format!("{name} is {value:?}; allowed: {allowed}")))
}

pub(crate) fn metric(name: &str) -> Outcome<Metric> {
    let all = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::Hamming];
    match all.into_iter().find(|metric| metric.name() == name) {
        Some(metric) => Ok(metric),
        None => unknown("metric", name, "\"l2\", \"ip\", \"cosine\", \"hamming\""),
    }
}

pub(crate) fn element(name: &str) -> Outcome<Element> {
    use Element::{Bf16, Bit, F16, F32, I8, U8};
    match [F32, F16, Bf16, I8, U8, Bit].into_iter().find(|element| element.name() == name) {
        Some(element) => Ok(element),
        None => unknown("element", name, "\"f32\", \"f16\", \"bf16\", \"i8\", \"u8\", \"bit\""),
    }
}

pub(crate) fn quantization(name: &str) -> Outcome<Quantization> {
    let product = |rest: &str| {
        let (sub_vectors, bits) = rest.split_once('x')?;
        let (sub_vectors, bits) = (sub_vectors.parse().ok()?, bits.parse().ok()?);
        Some(Quantization::Pq { sub_vectors, bits })
    };
    let found = match name {
        "none" => Some(Quantization::None),
        "auto" => Some(Quantization::Auto),
        "sq8" => Some(Quantization::Sq8),
        "sq4" => Some(Quantization::Sq4),
        "pq4" => Some(Quantization::Pq4),
        "rabitq1" => Some(Quantization::Rabitq { bits: 1 }),
        "rabitq2" => Some(Quantization::Rabitq { bits: 2 }),
        "rabitq4" => Some(Quantization::Rabitq { bits: 4 }),
        _ => name.strip_prefix("pq").and_then(product),
    };
    match found {
        Some(quantization) => Ok(quantization),
        None => unknown(
            "quantization",
            name,
            "\"none\", \"auto\", \"sq8\", \"sq4\", \"rabitq1\", \"rabitq2\", \"rabitq4\", \"pq4\", \
             or \"pq32x8\" for 32 parts of 8 bits",
        ),
    }
}

pub(crate) fn originals(name: &str) -> Outcome<Originals> {
    Ok(match name {
        "kept" => Originals::Kept,
        "sq12" => Originals::Sq12,
        "sq8" => Originals::Sq8,
        "dropped" => Originals::Dropped,
        _ => return unknown("originals", name, "\"kept\", \"sq12\", \"sq8\", \"dropped\""),
    })
}
