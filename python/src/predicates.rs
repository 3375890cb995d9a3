//! Attributes and predicates from and to Python objects.

use nearfield::attributes::{Timestamp, Value};
use nearfield::{Attributes, Predicate};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value as Json, json};

use crate::fault::{Outcome, invalid, mistyped, type_name};

/// Levels of a dict at most; the library allows 64.
const MOST_LEVELS: usize = 200;

fn datetime<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("datetime")?.getattr(name)
}

/// Returns the beginning of 1970 in UTC.
fn epoch(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let utc = datetime(py, "timezone")?.getattr("utc")?;
    datetime(py, "datetime")?.call1((1970, 1, 1, 0, 0, 0, 0, utc))
}

/// Returns the point in time of a `datetime.datetime`, or `None` for another object.
fn time(value: &Bound<'_, PyAny>) -> Outcome<Option<Timestamp>> {
    let py = value.py();
    if !value.is_instance(&datetime(py, "datetime")?)? {
        return Ok(None);
    }
    if value.call_method0("utcoffset")?.is_none() {
        return Err(invalid(format!(
            "the datetime {} has no time zone; set one, as with `.replace(tzinfo=datetime.timezone.utc)`",
            value.str()?
        )));
    }
    let since = value.sub(epoch(py)?)?;
    let micro = datetime(py, "timedelta")?.call1((0, 0, 1))?;
    Ok(Some(Timestamp::from_micros(since.floor_div(micro)?.extract()?)))
}

fn number(value: &Bound<'_, PyAny>, name: &str) -> Outcome<i64> {
    value.extract().map_err(|_| {
        let text = value.str().map_or_else(|_| "an int".to_owned(), |text| text.to_string());
        invalid(format!("{name} is {text}; allowed: ints from -2^63 to 2^63 - 1, or floats"))
    })
}

/// Returns the value of an attribute; `None` is null.
fn value(object: &Bound<'_, PyAny>, name: &str) -> Outcome<Option<Value>> {
    if object.is_none() {
        return Ok(None);
    }
    if object.is_instance_of::<PyString>() {
        return Ok(Some(Value::Text(object.extract()?)));
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Some(Value::Boolean(object.extract()?)));
    }
    if object.is_instance_of::<PyInt>() {
        return Ok(Some(Value::Integer(number(object, name)?)));
    }
    if object.is_instance_of::<PyFloat>() {
        return Ok(Some(Value::Float(object.extract()?)));
    }
    if let Some(time) = time(object)? {
        return Ok(Some(Value::Time(time)));
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        let texts: Result<Vec<String>, _> = object.extract();
        let texts =
            texts.map_err(|_| mistyped(format!("{name} is a list; allowed: lists of str")))?;
        return Ok(Some(Value::Texts(texts)));
    }
    // Scalars of NumPy.
    if object.hasattr("dtype")? && object.hasattr("item")? {
        let item = object.call_method0("item")?;
        if !item.hasattr("dtype")? {
            return value(&item, name);
        }
    }
    Err(mistyped(format!(
        "{name} is of {}; allowed: int, float, bool, str, datetime, list of str, None",
        type_name(object)
    )))
}

/// Returns the attributes of a dict.
pub(crate) fn attributes(object: &Bound<'_, PyAny>) -> Outcome<Attributes> {
    let dict = object.cast::<PyDict>();
    let dict =
        dict.map_err(|_| mistyped(format!("attributes are a dict, not {}", type_name(object))))?;
    let mut attributes = Attributes::new();
    for (name, object) in dict {
        if !name.is_instance_of::<PyString>() {
            return Err(mistyped(format!("names of attributes are str, not {}", type_name(&name))));
        }
        let name: String = name.extract()?;
        if let Some(value) = value(&object, &name)? {
            attributes.set(name, value);
        }
    }
    attributes.check()?;
    Ok(attributes)
}

/// Returns a value as a Python object.
pub(crate) fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Integer(number) => number.into_pyobject(py)?.into_any(),
        Value::Float(number) => number.into_pyobject(py)?.into_any(),
        Value::Boolean(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::Text(text) => text.into_pyobject(py)?.into_any(),
        Value::Time(time) => {
            let since = datetime(py, "timedelta")?.call1((0, 0, time.as_micros()))?;
            epoch(py)?.add(since)?
        }
        Value::Texts(texts) => texts.into_pyobject(py)?.into_any(),
        other => other.to_string().into_pyobject(py)?.into_any(),
    })
}

/// Returns attributes as a dict.
pub(crate) fn dict<'py>(py: Python<'py>, attributes: &Attributes) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in attributes {
        dict.set_item(name, object(py, value)?)?;
    }
    Ok(dict)
}

/// Returns a Python object as JSON, as predicates take it.
fn to_json(object: &Bound<'_, PyAny>, levels: usize) -> Outcome<Json> {
    if levels > MOST_LEVELS {
        return Err(invalid("the filter has too many levels; allowed: 64"));
    }
    if object.is_none() {
        return Ok(Json::Null);
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        let mut map = Map::new();
        for (name, object) in dict {
            if !name.is_instance_of::<PyString>() {
                return Err(mistyped(format!(
                    "keys of a filter are str, not {}",
                    type_name(&name)
                )));
            }
            map.insert(name.extract()?, to_json(&object, levels + 1)?);
        }
        return Ok(Json::Object(map));
    }
    let is_list = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
    if is_list || object.get_type().name()?.to_str()?.ends_with("set") {
        let items = object.try_iter()?.map(|item| to_json(&item?, levels + 1));
        return Ok(Json::Array(items.collect::<Outcome<_>>()?));
    }
    Ok(match value(object, "a value of the filter")? {
        Some(Value::Integer(number)) => json!(number),
        Some(Value::Float(number)) => match Number::from_f64(number) {
            Some(number) => Json::Number(number),
            None if number.is_nan() => return Err(invalid("a value of the filter is NaN")),
            None => json!({ "$float": if number > 0.0 { "inf" } else { "-inf" } }),
        },
        Some(Value::Boolean(flag)) => json!(flag),
        Some(Value::Text(text)) => json!(text),
        Some(Value::Time(time)) => json!({ "$time": time.to_string() }),
        _ => Json::Null,
    })
}

/// Returns the predicate of a dict or a text; `None` for another object.
pub(crate) fn predicate(object: &Bound<'_, PyAny>) -> Outcome<Option<Predicate>> {
    if object.is_instance_of::<PyDict>() {
        return Ok(Some(Predicate::from_json(&to_json(object, 0)?)?));
    }
    if object.is_instance_of::<PyString>() {
        return Ok(Some(object.extract::<String>()?.parse::<Predicate>()?));
    }
    Ok(None)
}

/// Returns the predicate of a dict or a text.
pub(crate) fn needed(object: &Bound<'_, PyAny>) -> Outcome<Predicate> {
    predicate(object)?.ok_or_else(|| {
        mistyped(format!(
            "a predicate is a dict, such as {{\"year\": {{\"$gte\": 2020}}}}, or a text, such as \"year >= 2020\", not {}",
            type_name(object)
        ))
    })
}
