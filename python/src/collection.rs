//! Collections: opening, writing and maintenance.

use std::path::PathBuf;

use nearfield::collection::ConflictRule;
use nearfield::{CancelToken, Collection as Inner, CollectionError, Snapshot};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{named, seconds, whole, whole_or_none};
use crate::fault::{Fault, Outcome, invalid, mistyped};
use crate::progress::Progress;
use crate::running::{long, quick};
use crate::searchable::{Handle, Open, Searchable, stats};
use crate::transaction::{Holder, Transaction};
use crate::view::{SnapshotView, View};

/// Vectors, names, payloads and attributes in one file that no crash can break.
#[pyclass(frozen, subclass, extends = View, module = "nearfield", name = "Collection")]
pub(crate) struct Collection {
    holder: Holder,
}

fn read_only(what: &str) -> Fault {
    let text = format!("{what} changes the file, and the collection is open for reading only");
    Fault::Own("ReadOnlyError", text)
}

/// Returns the collection of a handle that may write.
fn writable(slf: &Bound<'_, Collection>, what: &str) -> Outcome<Inner> {
    match slf.as_super().as_super().get().handle()? {
        Handle::Open(Open::Collection(collection)) => Ok(collection),
        _ => Err(read_only(what)),
    }
}

/// Maintenance of a collection.
enum Task<'a> {
    Checkpoint,
    Compact,
    Preload,
    Backup(&'a PathBuf),
}

/// Runs maintenance, with progress, until a signal ends it. Returns the bytes by which the file became shorter.
fn maintain(
    slf: &Bound<'_, Collection>,
    progress: Option<&Bound<'_, PyAny>>,
    what: &str,
    task: &Task<'_>,
) -> PyResult<u64> {
    let py = slf.py();
    let collection = writable(slf, what)?;
    slf.get().holder.admit()?;
    let progress = Progress::new(progress, 0, "bytes")?;
    let cancel = CancelToken::new();
    let note = |done, total| progress.note(done, total);
    let work = || -> Outcome<u64> {
        let run = collection.task().progress(&note).cancel(&cancel);
        Ok(match task {
            Task::Checkpoint => run.checkpoint().map(|()| 0)?,
            Task::Compact => run.compact()?,
            Task::Preload => run.preload().map(|()| 0)?,
            Task::Backup(path) => run.backup(path).map(|()| 0)?,
        })
    };
    let freed = long(py, &cancel, work, &mut |py| progress.show(py))?;
    progress.close(py)?;
    Ok(freed)
}

#[pymethods]
impl Collection {
    #[new]
    #[pyo3(signature = (path, dimension=None, metric=None, *, read_only=false, quantization=None, m=None, ef_construction=None, element=None, originals=None, seed=None, memory_limit=None, replay_limit=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        dimension: Option<&Bound<'_, PyAny>>,
        metric: Option<&str>,
        read_only: bool,
        quantization: Option<&str>,
        m: Option<&Bound<'_, PyAny>>,
        ef_construction: Option<&Bound<'_, PyAny>>,
        element: Option<&str>,
        originals: Option<&str>,
        seed: Option<&Bound<'_, PyAny>>,
        memory_limit: Option<&Bound<'_, PyAny>>,
        replay_limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let Some(dimension) = whole_or_none(dimension, "dimension")? else {
            let is_set = metric.is_some()
                || [quantization, element, originals].iter().any(Option::is_some)
                || [m, ef_construction, seed, memory_limit, replay_limit]
                    .iter()
                    .any(Option::is_some);
            if is_set {
                return Err(invalid(
                    "settings need a dimension; without one, all settings come from the file",
                )
                .into());
            }
            let base = quick(py, || {
                if !read_only {
                    return Ok(Searchable::new(
                        Open::Collection(Inner::open(&path)?),
                        "Collection",
                    ));
                }
                let reader = Inner::open_read_only(&path)?;
                let newest = reader.snapshot()?;
                Ok(Searchable::reader(reader, &newest))
            })?;
            return Ok(PyClassInitializer::from(base)
                .add_subclass(View)
                .add_subclass(Self { holder: Holder::default() }));
        };
        if read_only {
            return Err(invalid(
                "a collection that is open for reading takes its dimension from the file",
            )
            .into());
        }
        let mut builder = Inner::builder(dimension, named(metric.unwrap_or("cosine"))?);
        if let Some(name) = quantization {
            builder = builder.quantization(named(name)?);
        }
        if let Some(name) = element {
            builder = builder.element(named(name)?);
        }
        if let Some(name) = originals {
            builder = builder.originals(named(name)?);
        }
        if let Some(m) = whole_or_none(m, "m")? {
            builder = builder.m(m);
        }
        if let Some(ef) = whole_or_none(ef_construction, "ef_construction")? {
            builder = builder.ef_construction(ef);
        }
        if let Some(seed) = whole_or_none(seed, "seed")? {
            builder = builder.seed(seed as u64);
        }
        if let Some(bytes) = whole_or_none(memory_limit, "memory_limit")? {
            builder = builder.memory_limit(bytes as u64);
        }
        if let Some(limit) = seconds(replay_limit, "replay_limit")? {
            builder = builder.replay_limit(limit);
        }
        let inner = quick(py, || Ok(builder.open(&path)?))?;
        let base = Searchable::new(Open::Collection(inner), "Collection");
        Ok(PyClassInitializer::from(base)
            .add_subclass(View)
            .add_subclass(Self { holder: Holder::default() }))
    }

    /// Whether the collection was opened for reading only.
    #[getter]
    fn read_only(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Ok(matches!(slf.as_super().as_super().get().handle()?, Handle::Reader(_)))
    }

    /// A transaction, to be entered by `with`: it commits at the end of the block, and changes nothing after an exception.
    #[pyo3(signature = (*, durability="immediate"))]
    fn write(slf: &Bound<'_, Self>, durability: &str) -> PyResult<Transaction> {
        let collection = writable(slf, "a transaction")?;
        let shape = slf.as_super().as_super().get().shape;
        Ok(Transaction::new(collection, shape, durability, slf.get().holder.clone())?)
    }

    /// The collection as the newest commit left it.
    fn snapshot(slf: &Bound<'_, Self>) -> PyResult<Py<SnapshotView>> {
        let py = slf.py();
        let handle = slf.as_super().as_super().get().handle()?;
        let snapshot = quick(py, || {
            Ok(match &handle {
                Handle::Open(Open::Collection(collection)) => collection.snapshot()?,
                Handle::Reader(reader) => reader.snapshot()?,
                Handle::Open(_) => return Err(invalid("no collection")),
            })
        })?;
        Py::new(py, SnapshotView::init(snapshot))
    }

    /// Writes all chunks that changed and empties the journal, so that the next opening has nothing to apply.
    #[pyo3(signature = (*, progress=None))]
    fn checkpoint<'py>(
        slf: &Bound<'py, Self>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        maintain(slf, progress, "a checkpoint", &Task::Checkpoint).map(|_| ())
    }

    /// Moves pages to free space and cuts the file. Returns the bytes by which it became shorter.
    #[pyo3(signature = (*, progress=None))]
    fn compact<'py>(slf: &Bound<'py, Self>, progress: Option<&Bound<'py, PyAny>>) -> PyResult<u64> {
        maintain(slf, progress, "a compaction", &Task::Compact)
    }

    /// Reads the whole index into memory, and compares it with its checksums.
    #[pyo3(signature = (*, progress=None))]
    fn preload<'py>(slf: &Bound<'py, Self>, progress: Option<&Bound<'py, PyAny>>) -> PyResult<()> {
        maintain(slf, progress, "preloading", &Task::Preload).map(|_| ())
    }

    /// Writes the newest commit to another file, while others write.
    #[pyo3(signature = (path, *, progress=None))]
    fn backup<'py>(
        slf: &Bound<'py, Self>,
        path: PathBuf,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        maintain(slf, progress, "a backup", &Task::Backup(&path)).map(|_| ())
    }

    /// Reads everything. Returns whether it is sound, and a report.
    #[pyo3(signature = (*, progress=None))]
    fn check<'py>(
        slf: &Bound<'py, Self>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(bool, String)> {
        let py = slf.py();
        let collection = writable(slf, "a check")?;
        slf.get().holder.admit()?;
        let progress = Progress::new(progress, 0, "bytes")?;
        let cancel = CancelToken::new();
        let note = |done, total| progress.note(done, total);
        let work = || -> Outcome<(bool, String)> {
            let report = collection.task().progress(&note).cancel(&cancel).check()?;
            Ok((report.is_ok(), report.to_string()))
        };
        let report = long(py, &cancel, work, &mut |py| progress.show(py))?;
        progress.close(py)?;
        Ok(report)
    }

    /// Sizes and counters, as a dict; of a collection for reading, its number of vectors.
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let collection = writable(slf, "statistics")?;
        slf.get().holder.admit()?;
        let found = quick(py, || Ok(collection.stats()?))?;
        let dict = PyDict::new(py);
        dict.set_item("index", stats(py, &found.index)?)?;
        dict.set_item("commit", found.commit)?;
        dict.set_item("journal_bytes", found.journal_bytes)?;
        dict.set_item("pending_operations", found.pending_operations)?;
        dict.set_item("column_bytes", found.column_bytes)?;
        dict.set_item("checkpoints", found.checkpoints)?;
        dict.set_item("write_amplification", found.write_amplification())?;
        Ok(dict)
    }

    /// Makes one collection at `path` of several: collections, snapshots, or paths of files. Returns the number of its vectors.
    #[staticmethod]
    #[pyo3(signature = (inputs, path, *, rule="refuse", threads=None, progress=None))]
    fn merge(
        py: Python<'_>,
        inputs: Vec<Bound<'_, PyAny>>,
        path: PathBuf,
        rule: &str,
        threads: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let rule = match rule {
            "refuse" => ConflictRule::Refuse,
            "greatest_payload" => ConflictRule::GreatestPayload,
            _ => {
                return Err(invalid(format!(
                    "rule is {rule:?}; allowed: \"refuse\", \"greatest_payload\""
                ))
                .into());
            }
        };
        let threads = threads.map(|threads| whole(threads, "threads")).transpose()?;
        let snapshots =
            inputs.iter().map(|input| input_of(py, input)).collect::<PyResult<Vec<_>>>()?;
        let progress = Progress::new(progress, 0, "searches")?;
        let cancel = CancelToken::new();
        let note = |done, total| progress.note(done, total);
        let work = || -> Outcome<u64> {
            let merge = Inner::merge(&snapshots, &path).rule(rule).progress(&note).cancel(&cancel);
            let merge = match threads {
                Some(threads) => merge.threads(threads),
                None => merge,
            };
            Ok::<_, CollectionError>(merge.run()?.vectors).map_err(Fault::from)
        };
        let vectors = long(py, &cancel, work, &mut |py| progress.show(py))?;
        progress.close(py)?;
        Ok(vectors)
    }
}

/// Returns the snapshot of an input of a merge.
fn input_of(py: Python<'_>, input: &Bound<'_, PyAny>) -> PyResult<Snapshot> {
    if let Ok(base) = input.cast::<Searchable>() {
        return match base.get().open(py)? {
            Open::Snapshot(snapshot) => Ok(snapshot),
            Open::Collection(collection) => quick(py, || Ok(collection.snapshot()?)),
            _ => Err(mistyped("inputs are collections, snapshots or paths, not indexes in memory")
                .into()),
        };
    }
    let path: PathBuf = input.extract()?;
    quick(py, || Ok(Inner::open_read_only(&path)?.snapshot()?))
}
