//! Progress of long calls, shown by Python.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

/// Progress that workers count and the caller's thread shows.
pub(crate) struct Progress {
    reporter: Option<Py<PyAny>>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Creates the progress for an argument: None or False, True for a bar, or a callable of two numbers.
    pub(crate) fn new(value: Option<&Bound<'_, PyAny>>, total: u64, unit: &str) -> PyResult<Self> {
        let reporter = match value {
            Some(value) => {
                let module = value.py().import("nearfield._progress")?;
                let reporter = module.call_method1("reporter", (value, total, unit))?;
                (!reporter.is_none()).then(|| reporter.unbind())
            }
            None => None,
        };
        Ok(Self { reporter, done: AtomicU64::new(0), total: AtomicU64::new(total) })
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.reporter.is_some()
    }

    /// Notes progress; any thread may call it.
    pub(crate) fn note(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.fetch_max(done, Ordering::Relaxed);
    }

    pub(crate) fn show(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(reporter) = &self.reporter {
            let (done, total) =
                (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
            reporter.call_method1(py, "update", (done, total))?;
        }
        Ok(())
    }

    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(reporter) = &self.reporter {
            reporter.call_method0(py, "close")?;
        }
        Ok(())
    }
}
