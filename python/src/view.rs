//! Reading collections: payloads, names, attributes and predicates, of the newest commit or of a snapshot.

use std::sync::Arc;

use nearfield::collection::Selection as Selected;
use nearfield::{Attributes, Collection, Predicate, Snapshot};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString};

use crate::fault::{Outcome, invalid, mistyped, type_name};
use crate::filters::Selection;
use crate::predicates::{dict, needed, object};
use crate::running::quick;
use crate::searchable::{Open, Options, Searchable, calibrate};

/// A value of an attribute, and the number of its keys.
type Counted<'py> = Vec<(Bound<'py, PyAny>, u64)>;

/// The base of collections and snapshots: reading.
#[pyclass(frozen, subclass, extends = Searchable, module = "nearfield", name = "View")]
pub(crate) struct View;

/// A collection as one commit left it.
#[pyclass(frozen, subclass, extends = View, module = "nearfield", name = "Snapshot")]
pub(crate) struct SnapshotView;

/// A part of an `Open` that has payloads, names and attributes.
enum Part<'a> {
    Live(&'a Collection),
    Fixed(&'a Snapshot),
}

impl Part<'_> {
    fn payload(&self, key: u64) -> Outcome<Option<Vec<u8>>> {
        Ok(match self {
            Self::Live(collection) => collection.payload(key)?,
            Self::Fixed(snapshot) => snapshot.payload(key)?.map(<[u8]>::to_vec),
        })
    }

    fn attributes(&self, key: u64) -> Outcome<Option<Attributes>> {
        Ok(match self {
            Self::Live(collection) => collection.attributes(key)?,
            Self::Fixed(snapshot) => snapshot.attributes(key)?,
        })
    }

    fn key_of(&self, name: &[u8]) -> Outcome<Option<u64>> {
        Ok(match self {
            Self::Live(collection) => collection.key_of(name)?,
            Self::Fixed(snapshot) => snapshot.key_of(name)?,
        })
    }

    fn name_of(&self, key: u64) -> Outcome<Option<Vec<u8>>> {
        Ok(match self {
            Self::Live(collection) => collection.name_of(key)?,
            Self::Fixed(snapshot) => snapshot.name_of(key)?.map(<[u8]>::to_vec),
        })
    }

    fn matching(&self, predicate: &Predicate) -> Outcome<Selected> {
        Ok(match self {
            Self::Live(collection) => collection.matching(predicate)?,
            Self::Fixed(snapshot) => snapshot.matching(predicate)?,
        })
    }
}

impl Open {
    fn part(&self) -> Outcome<Part<'_>> {
        match self {
            Self::Collection(collection) => Ok(Part::Live(collection)),
            Self::Snapshot(snapshot) => Ok(Part::Fixed(snapshot)),
            _ => Err(invalid("an index in memory has keys and vectors alone")),
        }
    }
}

/// A key, or a name that may have one.
pub(crate) enum Id {
    Key(u64),
    Name(Vec<u8>),
}

impl Id {
    pub(crate) fn new(value: &Bound<'_, PyAny>) -> Outcome<Self> {
        if let Ok(name) = value.cast::<PyString>() {
            return Ok(Self::Name(name.extract::<String>()?.into_bytes()));
        }
        if let Ok(name) = value.cast::<PyBytes>() {
            return Ok(Self::Name(name.as_bytes().to_vec()));
        }
        if value.is_instance_of::<PyInt>() || value.hasattr("__index__")? {
            return crate::arguments::key(value).map(Self::Key);
        }
        let name = type_name(value);
        Err(mistyped(format!("a key is an int, a name is str or bytes; {name} is neither")))
    }
}

/// Returns a name as text, or as bytes if it is none.
pub(crate) fn name_object<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    Ok(match std::str::from_utf8(name) {
        Ok(text) => PyString::new(py, text).into_any(),
        Err(_) => PyBytes::new(py, name).into_any(),
    })
}

/// Returns the key of an argument; `None` for a name without a key.
fn key_of(open: &Open, value: &Bound<'_, PyAny>) -> Outcome<Option<u64>> {
    match Id::new(value)? {
        Id::Key(key) => Ok(Some(key)),
        Id::Name(name) => open.part()?.key_of(&name),
    }
}

/// A key with all that a collection has of it, but the vector.
type Entry = (u64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Attributes>);

fn entry(part: &Part<'_>, key: u64) -> Outcome<Entry> {
    Ok((key, part.name_of(key)?, part.payload(key)?, part.attributes(key)?))
}

fn record<'py>(class: &Bound<'py, PyAny>, entry: Entry) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let (key, name, payload, attributes) = entry;
    let name = name.map(|name| name_object(py, &name)).transpose()?;
    let payload = payload.map(|payload| PyBytes::new(py, &payload));
    let attributes = match attributes {
        Some(attributes) => dict(py, &attributes)?,
        None => PyDict::new(py),
    };
    class.call1((key, name, payload, attributes))
}

#[pymethods]
impl View {
    /// The payload of a key or a name, or None.
    fn payload<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let open = slf.as_super().get().open(slf.py())?;
        let Some(key) = key_of(&open, key)? else { return Ok(None) };
        let payload = quick(slf.py(), || open.part()?.payload(key))?;
        Ok(payload.map(|payload| PyBytes::new(slf.py(), &payload)))
    }

    /// The attributes of a key or a name, as a dict; empty if it has none.
    fn attributes<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let open = slf.as_super().get().open(slf.py())?;
        let Some(key) = key_of(&open, key)? else { return Ok(PyDict::new(slf.py())) };
        match quick(slf.py(), || open.part()?.attributes(key))? {
            Some(attributes) => dict(slf.py(), &attributes),
            None => Ok(PyDict::new(slf.py())),
        }
    }

    /// The key of a name, or None.
    fn key_of<'py>(slf: &Bound<'py, Self>, name: &Bound<'py, PyAny>) -> PyResult<Option<u64>> {
        let open = slf.as_super().get().open(slf.py())?;
        match Id::new(name)? {
            Id::Name(name) => quick(slf.py(), || open.part()?.key_of(&name)),
            Id::Key(_) => Err(mistyped("a name is str or bytes, not int").into()),
        }
    }

    /// The name of a key as str, or as bytes if it is no text; None if the key has no name.
    fn name_of<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let open = slf.as_super().get().open(slf.py())?;
        let key = crate::arguments::key(key)?;
        let name = quick(slf.py(), || open.part()?.name_of(key))?;
        name.map(|name| name_object(slf.py(), &name)).transpose()
    }

    /// The records of keys: name, payload and attributes, in the order of the keys.
    fn records<'py>(
        slf: &Bound<'py, Self>,
        keys: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = slf.py();
        let open = slf.as_super().get().open(py)?;
        let keys = crate::arrays::keys(keys)?;
        let keys = keys.as_slice()?;
        let entries = quick(py, || {
            let part = open.part()?;
            keys.iter().map(|&key| entry(&part, key)).collect::<Outcome<Vec<Entry>>>()
        })?;
        let class = py.import("nearfield._record")?.getattr("Record")?;
        entries.into_iter().map(|entry| record(&class, entry)).collect()
    }

    /// The record of a key or a name that has a vector: name, payload and attributes. None if it has none.
    fn record<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let open = slf.as_super().get().open(py)?;
        let Some(key) = key_of(&open, key)? else { return Ok(None) };
        if !open.contains(key) {
            return Ok(None);
        }
        let entry = quick(py, || entry(&open.part()?, key))?;
        record(&py.import("nearfield._record")?.getattr("Record")?, entry).map(Some)
    }

    /// The keys for which a predicate, a dict or a text, is true.
    fn matching<'py>(slf: &Bound<'py, Self>, predicate: &Bound<'py, PyAny>) -> PyResult<Selection> {
        let open = slf.as_super().get().open(slf.py())?;
        let predicate = needed(predicate)?;
        let selected = quick(slf.py(), || open.part()?.matching(&predicate))?;
        Ok(Selection { selected: Arc::new(selected) })
    }

    /// The values of a field, ascending within each kind, each with the number of its keys.
    fn facet<'py>(slf: &Bound<'py, Self>, field: &str) -> PyResult<Counted<'py>> {
        let py = slf.py();
        let open = slf.as_super().get().open(py)?;
        let values = quick(py, || {
            Ok(match open.part()? {
                Part::Live(collection) => collection.facet(field)?,
                Part::Fixed(snapshot) => snapshot.facet(field)?,
            })
        })?;
        values.iter().map(|(value, count)| Ok((object(py, value)?, *count))).collect()
    }

    /// Measures the recall of each `ef`, so that searches may ask for a recall. Returns the curve.
    #[pyo3(signature = (queries=None, *, sample=None, k=None, max_ef=None, threads=None))]
    fn calibrate<'py>(
        slf: &Bound<'py, Self>,
        queries: Option<&Bound<'py, PyAny>>,
        sample: Option<&Bound<'py, PyAny>>,
        k: Option<&Bound<'py, PyAny>>,
        max_ef: Option<&Bound<'py, PyAny>>,
        threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let base = slf.as_super().get();
        let open = base.open(slf.py())?;
        let options = Options::new(queries, sample, k, max_ef, threads)?;
        calibrate(slf.py(), open, base.shape, options)
    }
}

impl SnapshotView {
    pub(crate) fn init(snapshot: Snapshot) -> PyClassInitializer<Self> {
        let base = Searchable::new(Open::Snapshot(snapshot), "Snapshot");
        PyClassInitializer::from(base).add_subclass(View).add_subclass(Self)
    }
}

#[pymethods]
impl SnapshotView {
    /// The number of the commit that the snapshot shows.
    #[getter]
    fn number(slf: &Bound<'_, Self>) -> PyResult<u64> {
        match slf.as_super().as_super().get().open(slf.py())? {
            Open::Snapshot(snapshot) => Ok(snapshot.number()),
            _ => Err(invalid("no snapshot").into()),
        }
    }
}
