//! Filters from Python: sets of keys, selections, and callables.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use nearfield::collection::Selection as Selected;
use nearfield::{CancelToken, Filter, KeySet as Set};
use numpy::PyUntypedArray;
use numpy::prelude::*;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::arguments::key;
use crate::arrays::keys;
use crate::fault::{Fault, Outcome, mistyped, type_name};

thread_local! {
    /// Whether this thread runs a callable of a search.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Refuses a change inside of a filter: it might wait for the search that asks the filter.
pub(crate) fn admit_change() -> Outcome<()> {
    if ASKING.get() {
        let text = "a filter changes the index while a search asks it; collect the keys, and change the index afterwards";
        return Err(Fault::Own("DeadlockError", text.to_owned()));
    }
    Ok(())
}

/// A set of keys, made once for many searches.
#[pyclass(frozen, module = "nearfield", name = "KeySet")]
pub(crate) struct KeySet {
    pub(crate) set: Arc<Set>,
}

#[pymethods]
impl KeySet {
    #[new]
    #[pyo3(signature = (keys=None, /))]
    fn new(keys: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let set = keys.map_or_else(|| Ok(Set::new()), key_set)?;
        Ok(Self { set: Arc::new(set) })
    }

    fn __len__(&self) -> usize {
        self.set.len()
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        key.extract::<u64>().is_ok_and(|key| self.set.contains(key))
    }

    fn __repr__(&self) -> String {
        format!("KeySet({} keys)", self.set.len())
    }
}

/// Keys that a predicate selects, at one commit.
#[pyclass(frozen, module = "nearfield", name = "Selection")]
pub(crate) struct Selection {
    pub(crate) selected: Arc<Selected>,
}

#[pymethods]
impl Selection {
    /// The keys, ascending.
    fn keys<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let keys: Vec<u64> = py.detach(|| self.selected.iter().collect());
        keys.into_pyarray(py).into_any()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py).call_method0("tolist")?.try_iter()?.into_any())
    }

    fn __len__(&self) -> usize {
        self.selected.len()
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        key.extract::<u64>().is_ok_and(|key| self.selected.contains(key))
    }

    fn __repr__(&self) -> String {
        format!("Selection({} keys)", self.selected.len())
    }
}

/// Returns the set of the keys of an argument.
pub(crate) fn key_set(value: &Bound<'_, PyAny>) -> Outcome<Set> {
    let keys = keys(value)?;
    Ok(keys.as_slice()?.iter().copied().collect())
}

/// A set of keys that a caller excludes.
pub(crate) fn excluded(value: Option<&Bound<'_, PyAny>>) -> Outcome<Option<Arc<Set>>> {
    let Some(value) = value else { return Ok(None) };
    if let Ok(set) = value.cast::<KeySet>() {
        return Ok(Some(Arc::clone(&set.get().set)));
    }
    if let Ok(selection) = value.cast::<Selection>() {
        return Ok(Some(Arc::new(selection.get().selected.iter().collect())));
    }
    key_set(value).map(|set| Some(Arc::new(set)))
}

/// A filter of a search.
pub(crate) enum Chosen {
    Keys(Arc<Set>),
    Selected(Arc<Selected>),
    Asked(Asked),
}

impl Chosen {
    /// Returns the filter as the library takes it.
    pub(crate) fn filter(&self) -> &dyn Filter {
        match self {
            Self::Keys(set) => &**set,
            Self::Selected(selected) => &**selected,
            Self::Asked(asked) => asked,
        }
    }

    /// Returns the exception that a callable raised.
    pub(crate) fn raised(&self) -> Option<PyErr> {
        let Self::Asked(asked) = self else { return None };
        asked.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Returns the filter of an argument that is no predicate.
pub(crate) fn chosen(value: &Bound<'_, PyAny>, cancel: &CancelToken) -> Outcome<Chosen> {
    if let Ok(set) = value.cast::<KeySet>() {
        return Ok(Chosen::Keys(Arc::clone(&set.get().set)));
    }
    if let Ok(selection) = value.cast::<Selection>() {
        return Ok(Chosen::Selected(Arc::clone(&selection.get().selected)));
    }
    if value.is_instance_of::<PyDict>() || value.is_instance_of::<PyString>() {
        return Err(mistyped(
            "predicates select keys of a collection; an index has keys alone: give an array or set of keys, or a callable",
        ));
    }
    if value.is_instance_of::<PyBytes>() {
        return Err(mistyped(format!("a filter is no {}", type_name(value))));
    }
    if !value.is_instance_of::<PyUntypedArray>() && value.is_callable() {
        return Ok(Chosen::Asked(Asked {
            callable: value.clone().unbind(),
            raised: Mutex::new(None),
            cancel: cancel.clone(),
        }));
    }
    key_set(value).map(|set| Chosen::Keys(Arc::new(set)))
}

/// A callable that is asked for each key.
pub(crate) struct Asked {
    callable: Py<PyAny>,
    raised: Mutex<Option<PyErr>>,
    /// Ends the search once the callable has raised an exception.
    cancel: CancelToken,
}

impl Asked {
    fn ask(&self, py: Python<'_>, key: u64) -> bool {
        if self.cancel.is_cancelled() {
            return false;
        }
        let before = ASKING.replace(true);
        let answer = self.callable.bind(py).call1((key,)).and_then(|answer| answer.is_truthy());
        ASKING.set(before);
        answer.unwrap_or_else(|error| {
            self.cancel.cancel();
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            false
        })
    }
}

impl Filter for Asked {
    fn accepts(&self, key: u64) -> bool {
        Python::attach(|py| self.ask(py, key))
    }

    fn accepts_each(&self, keys: &[u64]) -> u64 {
        Python::attach(|py| {
            let keys = keys.iter().take(64).enumerate();
            keys.fold(0, |accepted, (bit, &key)| accepted | u64::from(self.ask(py, key)) << bit)
        })
    }
}

/// Returns whether an object is a key that a mapping of ints could have.
pub(crate) fn is_key(value: &Bound<'_, PyAny>) -> Option<u64> {
    key(value).ok()
}
