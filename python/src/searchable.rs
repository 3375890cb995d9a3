//! The base of all that is searched: indexes in memory, collections and snapshots.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nearfield::{
    AsVector, CancelToken, Collection, CollectionReader, Element, Filter, Flat, Hits as Found,
    Hnsw, Ivf, KeySet, Metric, Search, SearchBatch, Snapshot, VectorRef,
};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{fraction, seconds, whole, whole_or_none};
use crate::arrays::vectors;
use crate::fault::{Fault, Outcome, closed, invalid};
use crate::filters::{Chosen, chosen, excluded, is_key};
use crate::hits::{Hits, Rows};
use crate::predicates::predicate;
use crate::running::{long, quick};

/// An open index, collection or snapshot: a cheap handle.
#[derive(Clone)]
pub(crate) enum Open {
    Hnsw(Arc<Hnsw>),
    Flat(Arc<Flat>),
    Ivf(Arc<Ivf>),
    Collection(Collection),
    Snapshot(Snapshot),
}

/// Calls a method of the part that an `Open` holds.
macro_rules! with {
    ($open:expr, $part:ident => $call:expr) => {
        match $open {
            $crate::searchable::Open::Hnsw($part) => $call,
            $crate::searchable::Open::Flat($part) => $call,
            $crate::searchable::Open::Ivf($part) => $call,
            $crate::searchable::Open::Collection($part) => $call,
            $crate::searchable::Open::Snapshot($part) => $call,
        }
    };
}

impl Open {
    fn search<'a, V: AsVector>(&'a self, query: &'a V) -> Search<'a> {
        match self {
            Self::Hnsw(index) => index.search(query),
            Self::Flat(index) => index.search(query),
            Self::Ivf(index) => index.search(query),
            Self::Collection(collection) => collection.search(query).hits_only(),
            Self::Snapshot(snapshot) => snapshot.search(query).hits_only(),
        }
    }

    fn search_batch<'a, V: AsVector>(&'a self, queries: &'a V) -> SearchBatch<'a> {
        with!(self, part => part.search_batch(queries))
    }

    pub(crate) fn len(&self) -> usize {
        with!(self, part => part.len())
    }

    fn get(&self, key: u64) -> Option<Vec<f32>> {
        with!(self, part => part.get(key))
    }

    pub(crate) fn contains(&self, key: u64) -> bool {
        with!(self, part => part.contains(key))
    }

    pub(crate) fn keys(&self) -> Vec<u64> {
        match self {
            Self::Hnsw(index) => index.keys().collect(),
            Self::Flat(index) => index.keys().collect(),
            Self::Ivf(index) => index.keys().collect(),
            Self::Collection(collection) => collection.keys(),
            Self::Snapshot(snapshot) => snapshot.keys(),
        }
    }

    fn shape(&self) -> Shape {
        let (dimension, metric, element) =
            with!(self, part => (part.dimension(), part.metric(), part.element()));
        Shape { dimension, metric, element }
    }
}

/// A handle, or a reader that gives a snapshot of the newest commit.
#[derive(Clone)]
pub(crate) enum Handle {
    Open(Open),
    Reader(CollectionReader),
}

#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) dimension: usize,
    pub(crate) metric: Metric,
    pub(crate) element: Element,
}

impl Shape {
    /// Returns the elements of a vector as arrays have them.
    pub(crate) fn elements(self) -> usize {
        if self.element == Element::Bit { self.dimension.div_ceil(8) } else { self.dimension }
    }
}

/// The number of answers; `None` for all within a radius.
pub(crate) struct Most(Option<usize>);

impl<'py> FromPyObject<'_, 'py> for Most {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(if value.is_none() { None } else { Some(whole(&value, "k")?) }))
    }
}

/// The settings of a search.
struct Wanted {
    k: Option<usize>,
    ef: Option<usize>,
    nprobe: Option<usize>,
    recall: Option<f64>,
    within: Option<f32>,
    timeout: Option<Duration>,
    excluded: Option<Arc<KeySet>>,
}

/// Gives a search, or a batch of them, its settings.
macro_rules! apply {
    ($search:expr, $wanted:expr, $cancel:expr) => {{
        let mut search = $search;
        if let Some(k) = $wanted.k {
            search = search.k(k);
        }
        if let Some(ef) = $wanted.ef {
            search = search.ef(ef);
        }
        if let Some(nprobe) = $wanted.nprobe {
            search = search.nprobe(nprobe);
        }
        if let Some(recall) = $wanted.recall {
            search = search.recall(recall);
        }
        if let Some(radius) = $wanted.within {
            search = search.within(radius);
        }
        if let Some(timeout) = $wanted.timeout {
            search = search.timeout(timeout);
        }
        if let Some(excluded) = $wanted.excluded.as_deref() {
            search = search.exclude(excluded);
        }
        if let Some(cancel) = $cancel {
            search = search.cancel(cancel);
        }
        search
    }};
}

impl Wanted {
    fn run(
        &self,
        open: &Open,
        query: VectorRef<'_>,
        filter: Option<&dyn Filter>,
        cancel: Option<&CancelToken>,
    ) -> Outcome<Found> {
        let search = apply!(open.search(&query), self, cancel);
        Ok(match filter {
            Some(filter) => search.filter(filter).run()?,
            None => search.run()?,
        })
    }

    fn run_batch(
        &self,
        open: &Open,
        queries: VectorRef<'_>,
        threads: Option<usize>,
        filter: Option<&dyn Filter>,
        cancel: &CancelToken,
    ) -> Outcome<Rows> {
        let mut search = apply!(open.search_batch(&queries), self, Some(cancel));
        if let Some(threads) = threads {
            search = search.threads(threads);
        }
        let columns = self.k.map_or(0, |k| k.min(open.len()));
        let hits = match filter {
            Some(filter) => search.filter(filter).run()?,
            None => search.run()?,
        };
        Ok(Rows::new(&hits, columns))
    }

    /// Returns whether `queries` searches may take long enough for an interrupt.
    fn may_be_long(&self, open: &Open, shape: Shape, queries: usize, is_filtered: bool) -> bool {
        /// Components that are read in some tens of milliseconds.
        const SHORT: usize = 300_000_000;

        let each = shape.dimension.saturating_mul(queries);
        let is_walk = matches!(open, Open::Hnsw(_) | Open::Collection(_) | Open::Snapshot(_));
        if is_walk && !is_filtered && self.recall.is_none() && self.k.is_some() {
            let kept = self.ef.unwrap_or(64).max(self.k.unwrap_or(0));
            // Counting the vectors takes longer than the rest of a call: only if it matters.
            if kept.saturating_mul(64).saturating_mul(each) <= SHORT {
                return false;
            }
        }
        open.len().saturating_mul(each) > SHORT
    }
}

/// The base of indexes, collections and snapshots: searches and lookups.
#[pyclass(frozen, subclass, module = "nearfield", name = "Searchable")]
pub(crate) struct Searchable {
    handle: RwLock<Option<Handle>>,
    pub(crate) shape: Shape,
    name: &'static str,
}

impl Searchable {
    pub(crate) fn new(open: Open, name: &'static str) -> Self {
        let shape = open.shape();
        Self { handle: RwLock::new(Some(Handle::Open(open))), shape, name }
    }

    /// Returns a collection that only reads.
    pub(crate) fn reader(reader: CollectionReader, newest: &Snapshot) -> Self {
        let shape = Open::Snapshot(newest.clone()).shape();
        let handle = RwLock::new(Some(Handle::Reader(reader)));
        Self { handle, shape, name: "Collection" }
    }

    /// Returns the handle, unless it was closed.
    pub(crate) fn handle(&self) -> Outcome<Handle> {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        handle.clone().ok_or_else(|| closed(self.name))
    }

    /// Returns what is searched: for a reader, a snapshot of the newest commit.
    #[inline]
    pub(crate) fn open(&self, py: Python<'_>) -> PyResult<Open> {
        match self.handle()? {
            Handle::Open(open) => Ok(open),
            Handle::Reader(reader) => quick(py, || Ok(Open::Snapshot(reader.snapshot()?))),
        }
    }

    /// Closes the handle, and returns it if it was open.
    pub(crate) fn take(&self) -> Option<Handle> {
        self.handle.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put_back(&self, handle: Handle) {
        *self.handle.write().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// Returns the filter of an argument: a predicate selects keys of a collection.
fn filter_of(
    py: Python<'_>,
    open: &Open,
    value: &Bound<'_, PyAny>,
    cancel: &CancelToken,
) -> PyResult<Chosen> {
    let is_collection = matches!(open, Open::Collection(_) | Open::Snapshot(_));
    if is_collection && let Some(predicate) = predicate(value)? {
        return quick(py, || {
            Ok(Chosen::Selected(Arc::new(match open {
                Open::Collection(collection) => collection.matching(&predicate)?,
                Open::Snapshot(snapshot) => snapshot.matching(&predicate)?,
                _ => return Err(invalid("an index has no attributes")),
            })))
        });
    }
    Ok(chosen(value, cancel)?)
}

#[pymethods]
impl Searchable {
    /// Finds the vectors nearest to one query (1-D) or to each of many (2-D, a row for each).
    #[pyo3(signature = (queries, k=Most(Some(10)), *, ef=None, recall=None, filter=None, exclude=None, within=None, nprobe=None, timeout=None, threads=None))]
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Most,
        ef: Option<&Bound<'_, PyAny>>,
        recall: Option<&Bound<'_, PyAny>>,
        filter: Option<&Bound<'_, PyAny>>,
        exclude: Option<&Bound<'_, PyAny>>,
        within: Option<&Bound<'_, PyAny>>,
        nprobe: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
        threads: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Hits> {
        let open = self.open(py)?;
        let wanted = Wanted {
            k: k.0,
            ef: whole_or_none(ef, "ef")?,
            nprobe: whole_or_none(nprobe, "nprobe")?,
            recall: fraction(recall, "recall")?,
            within: fraction(within, "within")?.map(|radius| radius as f32),
            timeout: seconds(timeout, "timeout")?,
            excluded: excluded(exclude)?,
        };
        if wanted.k.is_none() && wanted.within.is_none() {
            return Err(invalid(
                "k is None, which asks for all vectors within a radius: set `within`",
            )
            .into());
        }
        if wanted.ef.is_some() && wanted.recall.is_some() {
            return Err(invalid("ef and recall exclude one another").into());
        }
        let threads = whole_or_none(threads, "threads")?;
        let vectors = vectors(queries)?;
        let count = vectors.count(self.shape.elements(), self.shape.dimension)?;
        let view = vectors.view()?;
        let cancel = CancelToken::new();
        let filter = filter.map(|value| filter_of(py, &open, value, &cancel)).transpose()?;
        let asked = filter.as_ref().map(Chosen::filter);
        let is_long = wanted.may_be_long(&open, self.shape, count, asked.is_some());
        let raise = |result: PyResult<Hits>| match filter.as_ref().and_then(Chosen::raised) {
            Some(error) => Err(error),
            None => result,
        };
        if vectors.shape.is_none() {
            let found = if is_long {
                let work = || wanted.run(&open, view, asked, Some(&cancel));
                long(py, &cancel, work, &mut |_| Ok(()))
            } else {
                let cancel = asked.is_some().then_some(&cancel);
                quick(py, || wanted.run(&open, view, asked, cancel))
            };
            return raise(found.map(|found| Hits::one(py, &found)));
        }
        let work = || wanted.run_batch(&open, view, threads, asked, &cancel);
        let rows = if is_long { long(py, &cancel, work, &mut |_| Ok(())) } else { quick(py, work) };
        raise(rows.and_then(|rows| Hits::many(py, rows)))
    }

    /// The vector of a key as `float32`, or None: of unit length under the cosine, rounded to the element type.
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (open, key) = (self.open(py)?, crate::arguments::key(key)?);
        let vector = quick(py, || Ok(open.get(key)))?;
        Ok(vector.map(|vector| vector.into_pyarray(py).into_any()))
    }

    /// The keys of all vectors as `uint64`, in no order.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = self.open(py)?;
        let keys = quick(py, || Ok(open.keys()))?;
        Ok(keys.into_pyarray(py).into_any())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.call_method0("tolist")?.try_iter()?.into_any())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.open(py)?.len())
    }

    /// An object without vectors is true, too.
    #[allow(clippy::unused_self, reason = "a method of Python")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let open = self.open(py)?;
        Ok(is_key(key).is_some_and(|key| open.contains(key)))
    }

    /// The number of components of a vector.
    #[getter]
    fn dimension(&self) -> usize {
        self.shape.dimension
    }

    /// The metric: "l2", "ip", "cosine" or "hamming".
    #[getter]
    fn metric(&self) -> &'static str {
        self.shape.metric.name()
    }

    /// The type in which components are stored.
    #[getter]
    fn element(&self) -> &'static str {
        self.shape.element.name()
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.is_closed()
    }

    /// Closes the object: searches that run end as they would, later calls raise `ClosedError`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.take() {
            Some(Handle::Open(Open::Collection(collection))) => {
                let kept = collection.clone();
                let closed = quick(py, || Ok(collection.close()?));
                if closed.is_err() {
                    // Nothing is lost, and the caller can close it again, as after the end of its transaction.
                    self.put_back(Handle::Open(Open::Collection(kept)));
                }
                closed
            }
            handle => {
                py.detach(|| drop(handle));
                Ok(())
            }
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _exception: &Bound<'_, pyo3::types::PyTuple>,
    ) -> PyResult<bool> {
        self.close(py)?;
        Ok(false)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Self { shape: Shape { dimension, metric, element }, name, .. } = self;
        if self.is_closed() {
            return Ok(format!("<nearfield.{name}, closed>"));
        }
        let len = self.open(py)?.len();
        Ok(format!("<nearfield.{name} of {len} vectors, {dimension} x {element}, {metric}>"))
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("nearfield._display")?.call_method1("html", (slf,))
    }
}

/// Returns the statistics of an index as a dict.
pub(crate) fn stats<'py>(
    py: Python<'py>,
    stats: &nearfield::Stats,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("len", stats.len)?;
    dict.set_item("dimension", stats.dimension)?;
    dict.set_item("metric", stats.metric.name())?;
    dict.set_item("element", stats.element.name())?;
    dict.set_item("code_bits", stats.code_bits)?;
    dict.set_item("code_error", stats.code_error)?;
    dict.set_item("isa", stats.isa.to_string())?;
    dict.set_item("levels", stats.levels.clone())?;
    dict.set_item("search_distances", stats.search_distances)?;
    dict.set_item("insert_distances", stats.insert_distances)?;
    let bytes = PyDict::new(py);
    let used = &stats.bytes;
    for (name, count) in [
        ("vectors", used.vectors),
        ("codes", used.codes),
        ("centroids", used.centroids),
        ("rows", used.rows),
        ("upper", used.upper),
        ("keys", used.keys),
        ("scratch", used.scratch),
        ("total", used.total()),
    ] {
        bytes.set_item(name, count)?;
    }
    dict.set_item("bytes", bytes)?;
    let lists = stats.lists.as_ref().map(|lists| -> PyResult<_> {
        let dict = PyDict::new(py);
        dict.set_item("count", lists.count)?;
        dict.set_item("empty", lists.empty)?;
        dict.set_item("longest", lists.longest)?;
        dict.set_item("imbalance", lists.imbalance)?;
        dict.set_item("nprobe", lists.nprobe)?;
        dict.set_item("is_trained", lists.is_trained)?;
        dict.set_item("trainings", lists.trainings)?;
        Ok(dict)
    });
    dict.set_item("lists", lists.transpose()?)?;
    let curve = stats.calibration.as_ref().map(|curve| calibration(py, curve));
    dict.set_item("calibration", curve.transpose()?)?;
    dict.set_item("drift", stats.drift().map(|drift| format!("{drift:?}")))?;
    Ok(dict)
}

/// Returns a measured curve as a dict.
pub(crate) fn calibration<'py>(
    py: Python<'py>,
    curve: &nearfield::report::Calibration,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("k", curve.k)?;
    dict.set_item("queries", curve.queries)?;
    dict.set_item("len", curve.len)?;
    dict.set_item("self_queries", curve.self_queries)?;
    let points: Vec<(usize, f64, f64)> =
        curve.points.iter().map(|point| (point.ef, point.recall, point.lower_bound)).collect();
    dict.set_item("points", points)?;
    Ok(dict)
}

/// The settings of a calibration.
pub(crate) struct Options<'a, 'py> {
    queries: Option<&'a Bound<'py, PyAny>>,
    sample: Option<usize>,
    k: Option<usize>,
    max_ef: Option<usize>,
    threads: Option<usize>,
}

impl<'a, 'py> Options<'a, 'py> {
    pub(crate) fn new(
        queries: Option<&'a Bound<'py, PyAny>>,
        sample: Option<&Bound<'py, PyAny>>,
        k: Option<&Bound<'py, PyAny>>,
        max_ef: Option<&Bound<'py, PyAny>>,
        threads: Option<&Bound<'py, PyAny>>,
    ) -> Outcome<Self> {
        Ok(Self {
            queries,
            sample: whole_or_none(sample, "sample")?,
            k: whole_or_none(k, "k")?,
            max_ef: whole_or_none(max_ef, "max_ef")?,
            threads: whole_or_none(threads, "threads")?,
        })
    }
}

/// Measures the recall of a graph.
pub(crate) fn calibrate<'py>(
    py: Python<'py>,
    open: Open,
    shape: Shape,
    options: Options<'_, 'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let Options { queries, sample, k, max_ef, threads } = options;
    let held = queries.map(vectors).transpose()?;
    if let Some(held) = &held {
        held.count(shape.elements(), shape.dimension)?;
    }
    let view = held.as_ref().map(crate::arrays::Vectors::view).transpose()?;
    let work = || {
        let mut calibrate = match &open {
            Open::Hnsw(index) => index.calibrate(),
            Open::Collection(collection) => collection.calibrate(),
            Open::Snapshot(snapshot) => snapshot.calibrate(),
            Open::Flat(_) | Open::Ivf(_) => return Err(invalid("only graphs are calibrated")),
        };
        if let Some(view) = &view {
            calibrate = calibrate.queries(view);
        }
        if let Some(sample) = sample {
            calibrate = calibrate.sample(sample);
        }
        if let Some(k) = k {
            calibrate = calibrate.k(k);
        }
        if let Some(max_ef) = max_ef {
            calibrate = calibrate.max_ef(max_ef);
        }
        if let Some(threads) = threads {
            calibrate = calibrate.threads(threads);
        }
        Ok::<_, Fault>(calibrate.run()?)
    };
    let curve = quick(py, work)?;
    calibration(py, &curve)
}
