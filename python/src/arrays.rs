//! Vectors and keys from Python: arrays are read in place where type and layout allow, and copied or refused otherwise.

use nearfield::{AsVector, F16, VectorRef};
use numpy::{
    PyArrayDescrMethods, PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use numpy::{PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::arguments::key;
use crate::fault::{Outcome, invalid, mistyped, type_name};

enum Components<'py> {
    /// One vector, copied: in less time than the borrows of arrays are checked.
    Own(Vec<f32>),
    F32(PyReadonlyArrayDyn<'py, f32>),
    /// The bits of half-precision numbers.
    F16(PyReadonlyArrayDyn<'py, u16>),
    I8(PyReadonlyArrayDyn<'py, i8>),
    U8(PyReadonlyArrayDyn<'py, u8>),
}

/// One vector, or the rows of a matrix.
pub(crate) struct Vectors<'py> {
    components: Components<'py>,
    /// The rows and columns of a matrix.
    pub(crate) shape: Option<(usize, usize)>,
}

impl Vectors<'_> {
    /// Returns the components, without a copy.
    pub(crate) fn view(&self) -> Outcome<VectorRef<'_>> {
        let view = match &self.components {
            Components::Own(vector) => Some(vector.as_vector()),
            Components::F32(array) => array.as_slice().ok().map(AsVector::as_vector),
            Components::F16(array) => array.as_slice().ok().and_then(|bits| {
                bytemuck::try_cast_slice::<u16, F16>(bits).ok().map(AsVector::as_vector)
            }),
            Components::I8(array) => array.as_slice().ok().map(AsVector::as_vector),
            Components::U8(array) => array.as_slice().ok().map(AsVector::as_vector),
        };
        view.ok_or_else(|| invalid("the array is not contiguous in memory"))
    }

    /// Returns the number of vectors; `elements` is the length of each.
    pub(crate) fn count(&self, elements: usize, dimension: usize) -> Outcome<usize> {
        let Some((rows, columns)) = self.shape else { return Ok(1) };
        if columns == elements {
            return Ok(rows);
        }
        let bits = if elements == dimension {
            String::new()
        } else {
            format!(" (the bytes of {dimension} packed bits)")
        };
        Err(invalid(format!("vectors have {columns} elements where {elements} are expected{bits}")))
    }
}

/// Returns the vectors of an argument: an array of one or two dimensions. Lists of numbers become `float32`, and arrays of another layout
/// are copied.
pub(crate) fn vectors<'py>(value: &Bound<'py, PyAny>) -> Outcome<Vectors<'py>> {
    if let Ok(array) = value.cast::<PyArrayDyn<f32>>()
        && array.is_c_contiguous()
        && let Ok(shape) = shape(array.as_untyped())
    {
        if shape.is_none()
            && let Ok(vector) = array.to_vec()
        {
            return Ok(Vectors { components: Components::Own(vector), shape });
        }
        if let Ok(array) = array.try_readonly()
            && array.as_slice().is_ok()
        {
            return Ok(Vectors { components: Components::F32(array), shape });
        }
    }
    vectors_of_any(value)
}

fn vectors_of_any<'py>(value: &Bound<'py, PyAny>) -> Outcome<Vectors<'py>> {
    let array = array_of(value)?;
    let untyped = array.cast::<PyUntypedArray>().map_err(PyErr::from)?;
    let is_in_place = untyped.is_c_contiguous() && is_aligned(&array)?;
    // A wrong type is named before a wrong shape.
    let components = components(&if is_in_place { array.clone() } else { compact(&array)? })?;
    Ok(Vectors { components, shape: shape(untyped)? })
}

/// Returns the rows and columns of an array of two dimensions; `None` for one dimension.
fn shape(array: &Bound<'_, PyUntypedArray>) -> Outcome<Option<(usize, usize)>> {
    match *array.shape() {
        [_] => Ok(None),
        [rows, columns] => Ok(Some((rows, columns))),
        ref other => Err(invalid(format!(
            "the array has {} dimensions; allowed: 1 (a vector) or 2 (vectors as rows)",
            other.len()
        ))),
    }
}

fn is_aligned(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    array.getattr("flags")?.getattr("aligned")?.extract()
}

/// Returns a copy whose rows follow one another in memory.
fn compact<'py>(array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(array.py());
    options.set_item("order", "C")?;
    array.call_method("copy", (), Some(&options))
}

/// Returns an argument as an array of its own type.
fn array_of<'py>(value: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
    let py = value.py();
    if value.is_instance_of::<PyUntypedArray>() {
        return Ok(value.clone());
    }
    let numpy = py.import("numpy")?;
    let refused = |error: PyErr| {
        let is_missing = error.is_instance_of::<PyImportError>(py);
        if is_missing { error.into() } else { mistyped(format!("no vectors: {}", error.value(py))) }
    };
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() || value.is_none() {
        return Err(mistyped(format!("vectors are arrays, not {}", type_name(value))));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return numpy.call_method1("asarray", (value, "float32")).map_err(refused);
    }
    if let Some(array) = array_of_arrow(value)? {
        return Ok(array);
    }
    if value.hasattr("__dlpack__")? {
        return numpy.call_method1("from_dlpack", (value,)).map_err(refused);
    }
    numpy.call_method1("asarray", (value,)).map_err(refused)
}

/// Returns a column of Arrow as an array, if the argument is one; `None` also if it needs a package that is missing for it.
fn array_of_arrow<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if !value.hasattr("__arrow_c_array__")? && !value.hasattr("__arrow_c_stream__")? {
        return Ok(None);
    }
    let py = value.py();
    match py.import("nearfield._arrow")?.call_method1("array_of", (value,)) {
        Err(error) if error.is_instance_of::<PyImportError>(py) => Ok(None),
        array => array.map(Some),
    }
}

fn components<'py>(array: &Bound<'py, PyAny>) -> Outcome<Components<'py>> {
    fn read<'py, T: numpy::Element>(
        array: &Bound<'py, PyAny>,
    ) -> PyResult<Option<PyReadonlyArrayDyn<'py, T>>> {
        let Ok(array) = array.cast::<PyArrayDyn<T>>() else { return Ok(None) };
        Ok(Some(array.try_readonly().map_err(PyErr::from)?))
    }

    if let Some(array) = read::<f32>(array)? {
        return Ok(Components::F32(array));
    }
    if let Some(array) = read::<i8>(array)? {
        return Ok(Components::I8(array));
    }
    if let Some(array) = read::<u8>(array)? {
        return Ok(Components::U8(array));
    }
    let dtype = array.cast::<PyUntypedArray>().map_err(PyErr::from)?.dtype();
    let is_native = matches!(dtype.byteorder(), b'=' | b'|');
    if dtype.kind() == b'f'
        && dtype.itemsize() == 2
        && is_native
        && let Some(bits) = read::<u16>(&array.call_method1("view", ("uint16",))?)?
    {
        return Ok(Components::F16(bits));
    }
    Err(mistyped(format!(
        "vectors are of {dtype}; allowed: float32, float16, int8, uint8 of this machine's byte order; convert them, \
         as with `.astype(numpy.float32)`"
    )))
}

/// Keys, in the order given.
pub(crate) enum Keys<'py> {
    Array(PyReadonlyArray1<'py, u64>),
    Own(Vec<u64>),
}

impl Keys<'_> {
    pub(crate) fn as_slice(&self) -> Outcome<&[u64]> {
        match self {
            Self::Array(array) => {
                array.as_slice().map_err(|_| invalid("the array of keys is not contiguous"))
            }
            Self::Own(keys) => Ok(keys),
        }
    }
}

/// Returns the keys of an argument: an array of `uint64` in place, other whole numbers as a copy, or any iterable of ints.
pub(crate) fn keys<'py>(value: &Bound<'py, PyAny>) -> Outcome<Keys<'py>> {
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return keys_of_array(array);
    }
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Err(mistyped(format!("keys are ints, not {}", type_name(value))));
    }
    if let Some(array) = array_of_arrow(value)? {
        return keys_of_array(array.cast::<PyUntypedArray>().map_err(PyErr::from)?);
    }
    let items = value.try_iter().map_err(|_| {
        mistyped(format!("keys are an array or an iterable of ints, not {}", type_name(value)))
    })?;
    items.map(|item| key(&item?)).collect::<Outcome<Vec<u64>>>().map(Keys::Own)
}

fn keys_of_array<'py>(array: &Bound<'py, PyUntypedArray>) -> Outcome<Keys<'py>> {
    if array.ndim() != 1 {
        let text = format!("the array of keys has {} dimensions; allowed: 1", array.ndim());
        return Err(invalid(text));
    }
    let dtype = array.dtype();
    let wide = match dtype.kind() {
        b'u' => array.call_method1("astype", ("uint64", "C", "unsafe", true, false))?,
        b'i' => array.call_method1("astype", ("int64", "C", "unsafe", true, false))?,
        _ => {
            return Err(mistyped(format!(
                "keys are of {dtype}; allowed: whole numbers, such as uint64"
            )));
        }
    };
    if let Ok(keys) = wide.extract::<PyReadonlyArray1<'_, u64>>() {
        return if keys.as_slice().is_ok() {
            Ok(Keys::Array(keys))
        } else {
            Ok(Keys::Own(keys.as_array().to_vec()))
        };
    }
    let signed = wide.extract::<PyReadonlyArray1<'_, i64>>()?;
    let signed = signed.as_array();
    let keys = signed.iter().enumerate().map(|(at, &key)| {
        u64::try_from(key)
            .map_err(|_| invalid(format!("key {at} is {key}; allowed: 0 to 2^64 - 1")))
    });
    keys.collect::<Outcome<Vec<u64>>>().map(Keys::Own)
}
