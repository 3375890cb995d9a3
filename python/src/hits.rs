//! Answers as arrays.

use nearfield::search::SearchPlan;
use nearfield::{BatchHits, Hits as Found};
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

/// The key of a place without an answer.
const NO_KEY: u64 = u64::MAX;

/// The answers of a search: `keys` and `distances`, the nearest first.
///
/// One query has arrays of one dimension, as long as it has answers. A batch has a row for each query, of `k` columns, but no more than the
/// index has vectors; places behind the last answer of a row have the key 2^64 - 1 and the distance NaN, and `counts` has the number of
/// answers of each row. It unpacks: `keys, distances = index.search(query)`.
#[pyclass(frozen, module = "nearfield", name = "Hits")]
pub(crate) struct Hits {
    #[pyo3(get)]
    keys: Py<PyAny>,
    #[pyo3(get)]
    distances: Py<PyAny>,
    counts: Option<Py<PyAny>>,
    len: usize,
    #[pyo3(get)]
    is_complete: bool,
    /// Distances that a single search computed, and its plan.
    effort: Option<(u64, SearchPlan)>,
}

/// Rows of keys and distances of a batch, padded.
pub(crate) struct Rows {
    keys: Vec<u64>,
    distances: Vec<f32>,
    counts: Vec<i64>,
    columns: usize,
    is_complete: bool,
}

impl Rows {
    /// Writes the answers of a batch into rows of at least `columns` columns.
    pub(crate) fn new(batch: &BatchHits, columns: usize) -> Self {
        let longest = batch.iter().map(<[_]>::len).max().unwrap_or(0);
        let columns = columns.max(longest);
        let mut keys = vec![NO_KEY; batch.len() * columns];
        let mut distances = vec![f32::NAN; batch.len() * columns];
        let mut counts = Vec::with_capacity(batch.len());
        for (row, hits) in batch.iter().enumerate() {
            for (at, hit) in hits.iter().enumerate() {
                keys[row * columns + at] = hit.key;
                distances[row * columns + at] = hit.distance;
            }
            counts.push(hits.len() as i64);
        }
        Self { keys, distances, counts, columns, is_complete: batch.is_complete() }
    }
}

impl Hits {
    pub(crate) fn one(py: Python<'_>, found: &Found) -> Self {
        let mut keys = [0; 32];
        let mut distances = [0.0; 32];
        let hits = found.as_slice();
        let (keys, distances) = if hits.len() <= keys.len() {
            for (at, hit) in hits.iter().enumerate() {
                keys[at] = hit.key;
                distances[at] = hit.distance;
            }
            let len = hits.len();
            (PyArray1::from_slice(py, &keys[..len]), PyArray1::from_slice(py, &distances[..len]))
        } else {
            let (keys, distances): (Vec<u64>, Vec<f32>) =
                hits.iter().map(|hit| (hit.key, hit.distance)).unzip();
            (keys.into_pyarray(py), distances.into_pyarray(py))
        };
        Self {
            keys: keys.into_any().unbind(),
            distances: distances.into_any().unbind(),
            counts: None,
            len: hits.len(),
            is_complete: found.is_complete(),
            effort: Some((found.distances_computed(), found.plan())),
        }
    }

    pub(crate) fn many(py: Python<'_>, rows: Rows) -> PyResult<Self> {
        let shape = (rows.counts.len(), rows.columns);
        let wrong = |error: numpy::ndarray::ShapeError| PyIndexError::new_err(error.to_string());
        let keys = Array2::from_shape_vec(shape, rows.keys).map_err(wrong)?;
        let distances = Array2::from_shape_vec(shape, rows.distances).map_err(wrong)?;
        Ok(Self {
            len: rows.counts.len(),
            keys: keys.into_pyarray(py).into_any().unbind(),
            distances: distances.into_pyarray(py).into_any().unbind(),
            counts: Some(rows.counts.into_pyarray(py).into_any().unbind()),
            is_complete: rows.is_complete,
            effort: None,
        })
    }

    fn pair<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, [self.keys.bind(py), self.distances.bind(py)])
    }
}

#[pymethods]
impl Hits {
    /// The number of answers of each query of a batch; of one query, an array of one number.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match &self.counts {
            Some(counts) => counts.bind(py).clone(),
            None => PyArray1::from_slice(py, &[self.len as i64]).into_any(),
        }
    }

    /// The distances that a single search computed; None for a batch.
    #[getter]
    fn distances_computed(&self) -> Option<u64> {
        self.effort.map(|(distances, _)| distances)
    }

    /// The plan of a single search; None for a batch.
    #[getter]
    fn plan(&self) -> Option<String> {
        self.effort.map(|(_, plan)| format!("{plan:?}"))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.pair(py)?.len())
    }

    fn __getitem__<'py>(&self, py: Python<'py>, at: isize) -> PyResult<Bound<'py, PyAny>> {
        match at {
            0 | -2 => Ok(self.keys.bind(py).clone()),
            1 | -1 => Ok(self.distances.bind(py).clone()),
            _ => Err(PyIndexError::new_err("hits are a pair: keys and distances")),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.pair(py)?.try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let complete = if self.is_complete { "" } else { ", not complete" };
        let (keys, distances) = (self.keys.bind(py).repr()?, self.distances.bind(py).repr()?);
        Ok(format!("Hits(keys={keys}, distances={distances}{complete})"))
    }
}
