//! Indexes in memory: `Index`, `Flat` and `Ivf`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nearfield::{
    AsVector, CancelToken, Determinism, Flat as Exact, Hnsw, Index as Any, IndexError,
};
use nearfield::{Ivf as Lists, VectorRef};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{fraction, is_one, key, named, seconds, whole, whole_or_none};
use crate::arrays::{Keys, Vectors, keys, vectors};
use crate::fault::{Fault, Outcome, invalid};
use crate::filters::admit_change;
use crate::progress::Progress;
use crate::running::{long, quick};
use crate::searchable::{Handle, Open, Options, Searchable, calibrate, stats};

/// Vectors that are inserted at once on the caller's thread.
const FEW: usize = 256;

impl Open {
    /// Returns the index in memory.
    fn index(&self) -> Outcome<&dyn Any> {
        match self {
            Self::Hnsw(index) => Ok(&**index),
            Self::Flat(index) => Ok(&**index),
            Self::Ivf(index) => Ok(&**index),
            Self::Collection(_) | Self::Snapshot(_) => {
                Err(invalid("a collection is no index in memory"))
            }
        }
    }
}

/// The base of indexes in memory.
#[pyclass(frozen, subclass, extends = Searchable, module = "nearfield", name = "MemoryIndex")]
pub(crate) struct MemoryIndex;

/// An approximate index: a graph that threads search while others insert.
#[pyclass(frozen, subclass, extends = MemoryIndex, module = "nearfield", name = "Index")]
pub(crate) struct Index;

/// An exact index: every search reads every vector.
#[pyclass(frozen, subclass, extends = MemoryIndex, module = "nearfield", name = "Flat")]
pub(crate) struct Flat;

/// An inverted-file index: vectors in lists, of which a search reads the nearest.
#[pyclass(frozen, subclass, extends = MemoryIndex, module = "nearfield", name = "Ivf")]
pub(crate) struct Ivf;

fn init<T>(open: Open, name: &'static str, leaf: T) -> PyClassInitializer<T>
where
    T: pyo3::PyClass<BaseType = MemoryIndex>,
{
    PyClassInitializer::from(Searchable::new(open, name))
        .add_subclass(MemoryIndex)
        .add_subclass(leaf)
}

/// Keys and vectors of a call: as many of one as of the other.
struct Batch<'py> {
    keys: Keys<'py>,
    vectors: Vectors<'py>,
}

impl<'py> Batch<'py> {
    /// Reads the arguments: arrays, or one key and one vector.
    fn new(
        base: &Searchable,
        given: &Bound<'py, PyAny>,
        values: &Bound<'py, PyAny>,
    ) -> Outcome<Self> {
        let vectors = vectors(values)?;
        let keys = if is_one(given)? { Keys::Own(vec![key(given)?]) } else { keys(given)? };
        let count = vectors.count(base.shape.elements(), base.shape.dimension)?;
        if vectors.shape.is_none() {
            // The library compares the length of a single vector.
            let (found, expected) = (vectors.view()?.len(), base.shape.elements());
            if found != expected {
                return Err(
                    IndexError::from(nearfield::VectorError::Length { expected, found }).into()
                );
            }
        }
        let given = keys.as_slice()?.len();
        if given != count {
            return Err(IndexError::BatchLength { keys: given, vectors: count }.into());
        }
        Ok(Self { keys, vectors })
    }
}

/// Returns rows of `vectors`, one after the other.
fn gather<T: Copy>(vectors: &[T], elements: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|row| &vectors[row * elements..][..elements]).copied().collect()
}

/// A row of vectors.
fn row<'a>(vectors: &VectorRef<'a>, elements: usize, at: usize) -> Option<VectorRef<'a>> {
    let range = at * elements..(at + 1) * elements;
    Some(match *vectors {
        VectorRef::F32(all) => all.get(range)?.as_vector(),
        VectorRef::F16(all) => all.get(range)?.as_vector(),
        VectorRef::Bf16(all) => all.get(range)?.as_vector(),
        VectorRef::I8(all) => all.get(range)?.as_vector(),
        VectorRef::U8(all) => all.get(range)?.as_vector(),
        _ => return None,
    })
}

/// Replaces the vectors of keys that the index has, and inserts the others as a batch.
fn upsert_all(
    index: &dyn Any,
    keys: &[u64],
    vectors: VectorRef<'_>,
    elements: usize,
    cancel: &CancelToken,
    progress: &Progress,
) -> Outcome<()> {
    let mut seen = HashSet::with_capacity(keys.len());
    if let Some(twice) = keys.iter().find(|key| !seen.insert(**key)) {
        return Err(invalid(format!("key {twice} is in the batch twice")));
    }
    let (old, new): (Vec<usize>, Vec<usize>) =
        (0..keys.len()).partition(|&at| index.contains(keys[at]));
    let count = keys.len() as u64;
    if !new.is_empty() {
        let keys: Vec<u64> = new.iter().map(|&at| keys[at]).collect();
        let note = |done: usize, _: usize| progress.note(done as u64, count);
        let run = |vectors: &dyn AsVector| {
            index.insert_batch(&keys, &vectors).progress(&note).cancel(cancel).run()
        };
        match vectors {
            _ if old.is_empty() => run(&vectors),
            VectorRef::F32(all) => run(&gather(all, elements, &new)),
            VectorRef::F16(all) => run(&gather(all, elements, &new)),
            VectorRef::Bf16(all) => run(&gather(all, elements, &new)),
            VectorRef::I8(all) => run(&gather(all, elements, &new)),
            VectorRef::U8(all) => run(&gather(all, elements, &new)),
            _ => return Err(invalid("vectors of a type that this package does not know")),
        }?;
    }
    for (done, at) in old.into_iter().enumerate() {
        if cancel.is_cancelled() {
            return Err(IndexError::Cancelled.into());
        }
        if let Some(vector) = row(&vectors, elements, at) {
            index.upsert(keys[at], &vector)?;
        }
        progress.note((new.len() + done + 1) as u64, count);
    }
    Ok(())
}

#[pymethods]
impl MemoryIndex {
    /// Inserts vectors under new keys.
    #[pyo3(signature = (keys, vectors, *, progress=None, threads=None, deterministic=false))]
    fn add<'py>(
        slf: &Bound<'py, Self>,
        keys: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
        threads: Option<&Bound<'py, PyAny>>,
        deterministic: bool,
    ) -> PyResult<()> {
        let (py, base) = (slf.py(), slf.as_super().get());
        admit_change()?;
        let threads = whole_or_none(threads, "threads")?;
        let open = base.open(py)?;
        let index = open.index()?;
        let batch = Batch::new(base, keys, vectors)?;
        let (keys, view) = (batch.keys.as_slice()?, batch.vectors.view()?);
        let progress = Progress::new(progress, keys.len() as u64, "vectors")?;
        let cancel = CancelToken::new();
        let note = |done: usize, total: usize| progress.note(done as u64, total as u64);
        let work = || -> Outcome<()> {
            let mut insert = index.insert_batch(keys, &view).progress(&note).cancel(&cancel);
            if let Some(threads) = threads {
                insert = insert.threads(threads);
            }
            if deterministic {
                insert = insert.determinism(Determinism::Bitwise);
            }
            Ok(insert.run()?)
        };
        if keys.len() <= FEW && !progress.is_shown() {
            return quick(py, work);
        }
        long(py, &cancel, work, &mut |py| progress.show(py))?;
        progress.close(py)
    }

    /// Sets the vectors of keys: inserts new keys, and replaces the vectors of others.
    #[pyo3(signature = (keys, vectors, *, progress=None))]
    fn upsert<'py>(
        slf: &Bound<'py, Self>,
        keys: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let (py, base) = (slf.py(), slf.as_super().get());
        admit_change()?;
        let open = base.open(py)?;
        let index = open.index()?;
        let batch = Batch::new(base, keys, vectors)?;
        let (keys, view) = (batch.keys.as_slice()?, batch.vectors.view()?);
        let progress = Progress::new(progress, keys.len() as u64, "vectors")?;
        let cancel = CancelToken::new();
        let elements = base.shape.elements();
        let work = || upsert_all(index, keys, view, elements, &cancel, &progress);
        if keys.len() <= FEW && !progress.is_shown() {
            return quick(py, work);
        }
        long(py, &cancel, work, &mut |py| progress.show(py))?;
        progress.close(py)
    }

    /// Removes the vector of a key, or of each of many keys. Returns the number of removed vectors.
    fn remove<'py>(slf: &Bound<'py, Self>, keys: &Bound<'py, PyAny>) -> PyResult<usize> {
        let (py, base) = (slf.py(), slf.as_super().get());
        admit_change()?;
        let open = base.open(py)?;
        let index = open.index()?;
        if is_one(keys)? {
            let key = key(keys)?;
            return quick(py, || Ok(usize::from(index.remove(key)?)));
        }
        let keys = crate::arrays::keys(keys)?;
        let keys = keys.as_slice()?;
        let cancel = CancelToken::new();
        let work = || {
            let mut removed = 0;
            for &key in keys {
                if cancel.is_cancelled() {
                    return Err(IndexError::Cancelled.into());
                }
                removed += usize::from(index.remove(key)?);
            }
            Ok(removed)
        };
        if keys.len() <= FEW { quick(py, work) } else { long(py, &cancel, work, &mut |_| Ok(())) }
    }

    /// Writes the index to a file, which replaces the one at `path` once it is whole and on the disk.
    fn save(slf: &Bound<'_, Self>, path: PathBuf) -> PyResult<()> {
        let py = slf.py();
        let open = slf.as_super().get().open(py)?;
        quick(py, || {
            match &open {
                Open::Hnsw(index) => index.save(&path)?,
                Open::Flat(index) => index.save(&path)?,
                Open::Ivf(index) => index.save(&path)?,
                Open::Collection(_) | Open::Snapshot(_) => {
                    return Err(invalid("no index in memory"));
                }
            }
            Ok(())
        })
    }

    /// Sizes and counters, as a dict.
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let open = slf.as_super().get().open(py)?;
        let index = open.index()?;
        stats(py, &quick(py, || Ok(index.stats()))?)
    }

    /// The parts of which pickle makes an equal index: a function, and the bytes of a file.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("nearfield._pickle")?.call_method1("reduce", (slf,))
    }
}

/// Returns an index, or the error of opening it.
fn opened<T>(
    py: Python<'_>,
    name: &'static str,
    leaf: T,
    open: impl FnOnce() -> Outcome<Open> + Send,
) -> PyResult<Py<T>>
where
    T: pyo3::PyClass<BaseType = MemoryIndex>,
{
    let open = quick(py, open)?;
    Py::new(py, init(open, name, leaf))
}

/// Returns the index of a handle, if it is of the kind that a subclass has.
fn open_of(base: &Searchable) -> Outcome<Open> {
    match base.handle()? {
        Handle::Open(open) => Ok(open),
        Handle::Reader(_) => Err(invalid("a reader is no index in memory")),
    }
}

/// Does maintenance for about this time.
fn maintain(
    py: Python<'_>,
    base: &Searchable,
    budget: Option<&Bound<'_, PyAny>>,
) -> PyResult<String> {
    admit_change()?;
    let open = open_of(base)?;
    let budget = seconds(budget, "seconds")?.unwrap_or(Duration::from_secs(1));
    quick(py, || {
        Ok(match &open {
            Open::Hnsw(index) => index.maintain(budget).to_string(),
            Open::Flat(index) => index.maintain(budget).to_string(),
            _ => return Err(invalid("only graphs and exact indexes need maintenance")),
        })
    })
}

/// Reads the whole index; returns whether it is sound, and the report.
fn check(py: Python<'_>, base: &Searchable) -> PyResult<(bool, String)> {
    let open = open_of(base)?;
    quick(py, || {
        let report = match &open {
            Open::Hnsw(index) => index.check(),
            Open::Ivf(index) => index.check(),
            _ => return Err(invalid("only graphs and lists are checked")),
        };
        Ok((report.is_ok(), report.to_string()))
    })
}

#[pymethods]
impl Index {
    #[new]
    #[pyo3(signature = (dimension, metric="cosine", *, quantization="auto", m=None, ef_construction=None, element=None, originals="kept", alpha=None, seed=None))]
    fn new(
        dimension: &Bound<'_, PyAny>,
        metric: &str,
        quantization: &str,
        m: Option<&Bound<'_, PyAny>>,
        ef_construction: Option<&Bound<'_, PyAny>>,
        element: Option<&str>,
        originals: &str,
        alpha: Option<&Bound<'_, PyAny>>,
        seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let dimension = whole(dimension, "dimension")?;
        let mut builder = Hnsw::builder(dimension, named(metric)?)
            .quantization(named(quantization)?)
            .originals(named(originals)?);
        if let Some(name) = element {
            builder = builder.element(named(name)?);
        }
        if let Some(m) = whole_or_none(m, "m")? {
            builder = builder.m(m);
        }
        if let Some(ef) = whole_or_none(ef_construction, "ef_construction")? {
            builder = builder.ef_construction(ef);
        }
        if let Some(alpha) = fraction(alpha, "alpha")? {
            builder = builder.alpha(alpha as f32);
        }
        if let Some(seed) = whole_or_none(seed, "seed")? {
            builder = builder.seed(seed as u64);
        }
        let index = builder.build().map_err(Fault::from)?;
        Ok(init(Open::Hnsw(Arc::new(index)), "Index", Self))
    }

    /// Maps an index from its file: nothing is read before a search touches it.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Py<Self>> {
        opened(py, "Index", Self, || Ok(Open::Hnsw(Arc::new(Hnsw::open(&path)?))))
    }

    /// Reads an index from a file into memory, and compares every byte with its checksum.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Py<Self>> {
        opened(py, "Index", Self, || Ok(Open::Hnsw(Arc::new(Hnsw::load(&path)?))))
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
        let base = slf.as_super().as_super().get();
        let open = base.open(slf.py())?;
        let options = Options::new(queries, sample, k, max_ef, threads)?;
        calibrate(slf.py(), open, base.shape, options)
    }

    /// Completes the work that removals left, for about `seconds` (1 if not given). Returns a report.
    #[pyo3(signature = (seconds=None))]
    fn maintain(slf: &Bound<'_, Self>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        maintain(slf.py(), slf.as_super().as_super().get(), seconds)
    }

    /// Reads the whole graph. Returns whether it is sound, and a report.
    fn check(slf: &Bound<'_, Self>) -> PyResult<(bool, String)> {
        check(slf.py(), slf.as_super().as_super().get())
    }
}

#[pymethods]
impl Flat {
    #[new]
    #[pyo3(signature = (dimension, metric="cosine", *, element=None))]
    fn new(
        dimension: &Bound<'_, PyAny>,
        metric: &str,
        element: Option<&str>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let mut builder = Exact::builder(whole(dimension, "dimension")?, named(metric)?);
        if let Some(name) = element {
            builder = builder.element(named(name)?);
        }
        let index = builder.build().map_err(Fault::from)?;
        Ok(init(Open::Flat(Arc::new(index)), "Flat", Self))
    }

    /// Maps an index from its file: nothing is read before a search touches it.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Py<Self>> {
        opened(py, "Flat", Self, || Ok(Open::Flat(Arc::new(Exact::open(&path)?))))
    }

    /// Reads an index from a file into memory, and compares every byte with its checksum.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Py<Self>> {
        opened(py, "Flat", Self, || Ok(Open::Flat(Arc::new(Exact::load(&path)?))))
    }

    /// Moves vectors together and returns memory, for about `seconds` (1 if not given). Returns a report.
    #[pyo3(signature = (seconds=None))]
    fn maintain(slf: &Bound<'_, Self>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        maintain(slf.py(), slf.as_super().as_super().get(), seconds)
    }
}

#[pymethods]
impl Ivf {
    #[new]
    #[pyo3(signature = (dimension, metric="cosine", *, lists=None, nprobe=None, quantization="none", element=None, originals="kept", seed=None))]
    fn new(
        dimension: &Bound<'_, PyAny>,
        metric: &str,
        lists: Option<&Bound<'_, PyAny>>,
        nprobe: Option<&Bound<'_, PyAny>>,
        quantization: &str,
        element: Option<&str>,
        originals: &str,
        seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let dimension = whole(dimension, "dimension")?;
        let mut builder = Lists::builder(dimension, named(metric)?)
            .quantization(named(quantization)?)
            .originals(named(originals)?);
        if let Some(name) = element {
            builder = builder.element(named(name)?);
        }
        if let Some(lists) = whole_or_none(lists, "lists")? {
            builder = builder.lists(lists);
        }
        if let Some(nprobe) = whole_or_none(nprobe, "nprobe")? {
            builder = builder.nprobe(nprobe);
        }
        if let Some(seed) = whole_or_none(seed, "seed")? {
            builder = builder.seed(seed as u64);
        }
        let index = builder.build().map_err(Fault::from)?;
        Ok(init(Open::Ivf(Arc::new(index)), "Ivf", Self))
    }

    /// Reads an index from a file into memory, and compares every byte with its checksum.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Py<Self>> {
        opened(py, "Ivf", Self, || Ok(Open::Ivf(Arc::new(Lists::load(&path)?))))
    }

    /// Trains the index on the vectors that it has now.
    fn train(slf: &Bound<'_, Self>) -> PyResult<()> {
        admit_change()?;
        let Open::Ivf(index) = open_of(slf.as_super().as_super().get())? else {
            return Err(invalid("no lists").into());
        };
        quick(slf.py(), || Ok(index.train()?))
    }

    /// Whether the index is trained; searches scan every vector until then.
    #[getter]
    fn is_trained(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match open_of(slf.as_super().as_super().get())? {
            Open::Ivf(index) => Ok(index.is_trained()),
            _ => Ok(false),
        }
    }

    /// Reads all lists. Returns whether they are sound, and a report.
    fn check(slf: &Bound<'_, Self>) -> PyResult<(bool, String)> {
        check(slf.py(), slf.as_super().as_super().get())
    }
}
