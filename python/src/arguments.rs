//! Arguments: whole numbers, fractions, seconds and names of settings.

use std::str::FromStr;
use std::time::Duration;

use nearfield::IndexError;
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

/// Returns the value of a setting, such as a metric, by its name.
pub(crate) fn named<T: FromStr<Err = IndexError>>(name: &str) -> Outcome<T> {
    Ok(name.parse()?)
}
