//! The extension module of the Python package `nearfield`: `python/README.md` shows it, `python/nearfield/_nearfield.pyi` describes it.

mod arguments;
mod arrays;
mod collection;
mod fault;
mod filters;
mod hits;
mod memory;
mod predicates;
mod progress;
mod running;
mod searchable;
mod transaction;
mod view;

/// Vector search: indexes in memory, and collections in files.
#[pyo3::pymodule(gil_used = false)]
mod _nearfield {
    #[pymodule_export]
    use crate::collection::Collection;
    #[pymodule_export]
    use crate::filters::{KeySet, Selection};
    #[pymodule_export]
    use crate::hits::Hits;
    #[pymodule_export]
    use crate::memory::{Flat, Index, Ivf, MemoryIndex};
    #[pymodule_export]
    use crate::searchable::Searchable;
    #[pymodule_export]
    use crate::transaction::Transaction;
    #[pymodule_export]
    use crate::view::{SnapshotView, View};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
