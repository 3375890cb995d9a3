//! Embeddable vector search.
//!
//! [`Hnsw`] finds the approximate nearest neighbours of a vector among millions, [`Flat`] the exact
//! ones among some ten thousand; [`Ivf`] takes less memory than a graph, and large batches of
//! queries. All take vectors under `u64` keys, grow without a declared capacity, and may be searched
//! by any number of threads while others insert.
//!
//! ```
//! use nearfield::{Hnsw, Metric};
//!
//! let index = Hnsw::builder(4, Metric::Cosine).build()?;
//! index.insert(1, &[1.0, 0.0, 0.0, 0.0])?;
//! index.insert(2, &[0.7, 0.7, 0.0, 0.0])?;
//! for hit in &index.search(&[0.9, 0.1, 0.0, 0.0]).k(2).run()? {
//!     println!("{} at {}", hit.key, hit.distance);
//! }
//! # Ok::<(), nearfield::IndexError>(())
//! ```
//!
//! [`Hnsw::save`] writes an index to a file, which [`Hnsw::open`] searches in place; [`Ivf::load`]
//! reads a file of [`Ivf::save`]. A [`Collection`]
//! keeps vectors, keys and payloads in one file that no crash can break, found as soon as they are
//! committed. [`attributes`](mod@attributes) are values beside vectors, and predicates over them:
//! its chapter *Filtering* tells how a collection is searched and listed by them.
//! [`quantization`] makes short codes of vectors and estimates distances from them;
//! [`dataset`] reads the data files of the field and measures recall; [`store`] is the
//! transactional store under the collections, for records of other kinds.
//!
//! Distances are computed by kernels for AVX-512, AVX2, NEON or plain Rust, chosen at run time
//! ([`Isa`]); the environment variable `NEARFIELD_SIMD=scalar|neon|avx2|avx512` caps the choice. [`custom`] has further metrics, in
//! plain Rust, and the trait by which a program brings its own.
//!
//! # Where no file is
//!
//! [`Hnsw::to_bytes`] and [`Hnsw::write_to`] give an index as bytes, [`Hnsw::from_bytes`] and [`Hnsw::read_from`] take them; so do
//! [`Flat`] and [`Ivf`]. They are the bytes of a saved file, and the same on every system of their byte order.
//!
//! In WebAssembly (`wasm32-unknown-unknown`):
//!
//! | part | there |
//! |---|---|
//! | [`Hnsw`], [`Flat`], [`Ivf`], [`Shards`], [`quantization`], [`Distance`] | work in memory |
//! | bytes of indexes, [`store::StoreOptions::open_in_memory`] | work |
//! | kernels | of `simd128`, if the program is compiled with `-Ctarget-feature=+simd128`; else plain Rust |
//! | threads | the caller's alone: `threads(2)` answers [`IndexError::Threads`], a quantizer is fitted within the insertion that needs it |
//! | `timeout`, times in reports | once the program gives a clock to `clock::set`; before, `timeout` is refused, times are zero, and `maintain` has no limit |
//! | memory | a column of an index takes chunks of up to 32 MiB at once |
//! | files: `save`, `load`, `open`, [`Collection`], [`dataset`] | errors of the kind [`ErrorKind::Io`] |
//!
//! # Settings
//!
//! | setting | of | default | effect |
//! |---|---|---|---|
//! | `m` | builder | 16 | neighbours that a node chooses; the base level keeps `2 m`. More: better recall, more memory |
//! | `ef_construction` | builder | 200 | candidates that an insertion considers. More: a better graph, slower insertion |
//! | `element` | builder | `F32` | type that a component is stored as |
//! | `quantization` | builder | `None` | walks read the vectors, or codes. With `Auto`, searches over `f32` are 1.5 to 4 times as fast |
//! | `originals` | builder | `Kept` | vectors beside codes: kept, rounded to 12 or 8 bits a component, or dropped |
//! | `ef` | search | 64 | candidates that a search keeps. More: better recall, slower |
//! | `nprobe` | search of [`Ivf`] | learnt | lists that a search reads. More: better recall, slower |
//! | `k` | search | 10 | number of answers |
//! | `recall` | search | none | replaces `ef` by the recall wanted, once `calibrate` has measured the curve |
//! | `filter`, `try_filter` | search | none | keys that may be answers |
//! | `with_payload`, `with_attributes`, `with_name`, `with_vector` | search of a collection | none | parts of the answers beside key and distance |
//! | `group_by`, `diverse` | search of a collection | none | the nearest of each value of a field; answers that differ |
//! | `within` | search | none | largest distance of an answer, in the metric's own unit (squared under L2) |
//! | `timeout`, `deadline`, `cancel` | search | none | end of the search, with the answers found until then |
//!
//! # Errors
//!
//! Each part returns an error of its own, which names values, file and remedy. [`Error`] wraps the errors of every part, so that
//! `fn main() -> nearfield::Result<()>` may call any part with `?`; [`Error::kind`] tells a program how to go on.
//!
//! # Features
//!
//! No feature is on by default, and no feature changes an answer or a file.
//!
//! - `tracing`: spans with target `nearfield` for searches, all changes, commits and maintenance.
//! - `json`: [`Predicate`] and [`Attributes`] from and to values of `serde_json`; collections to and from JSON lines.
//! - `serde`: settings, hits, cursors and figures to and from any format; `half`, `ndarray`: vectors in the types of these crates. The
//!   module `interop` describes the three.
//! - `simulation`: `store::SimulatedDisk`, a disk in memory that cuts power and fails on demand, for tests of data that must survive.
//! - `metrics`: counters and latencies of the same through the `metrics` facade, by the label
//!   `operation`: `nearfield_operations_total`, `nearfield_failures_total`,
//!   `nearfield_items_total`, `nearfield_operation_seconds`; of single searches also
//!   `nearfield_search_distances` and `nearfield_search_hops`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::unwrap_used)]

mod any_error;
mod arena;
pub mod attributes;
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod clock;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub mod clock;
pub mod collection;
pub mod dataset;
mod distance;
mod error;
mod error_kind;
mod graph;
mod guard;
mod index;
#[cfg(any(feature = "half", feature = "ndarray", feature = "serde"))]
pub mod interop;
mod metric;
mod mmap;
mod names;
mod observe;
mod order_key;
mod process;
pub mod quantization;
mod simd;
pub mod store;
mod sync;
mod threads;
mod unwind;
mod vector;

pub use any_error::{Error, Result};
pub use attributes::{Attributes, Predicate, field};
pub use collection::{
    Collection, CollectionBuilder, CollectionError, CollectionReader, Snapshot, Transaction,
};
pub use distance::Distance;
pub use error::{IndexError, VectorError};
pub use error_kind::ErrorKind;
#[cfg(nearfield_guards)]
#[doc(hidden)]
pub use guard::{GUARD_VARIABLE, GUARDS};
pub use index::{
    BatchHits, CancelToken, Determinism, Filter, Flat, FlatBuilder, Hit, Hits, Hnsw, HnswBuilder,
    Index, InsertBatch, Ivf, IvfBuilder, KeyBitmap, KeySet, Originals, Quantization, Search,
    SearchBatch, Shards, Stats,
};
pub use metric::Metric;
pub use simd::Isa;
#[cfg(nearfield_model)]
#[doc(hidden)]
pub use sync::model;
pub use vector::{AsVector, Bf16, Element, F16, VectorRef};

/// Metrics that are written outside this crate, and some that come with it.
pub mod custom {
    pub use crate::distance::{Chebyshev, CustomMetric, Haversine, Jaccard, Manhattan};
}

/// Parts of searches: combined filters, plans, and answers one after the other.
pub mod search {
    pub use crate::index::{
        And, BatchIter, Cursor, Fallible, IntoBatch, IntoHits, Not, Or, SearchIter, SearchPlan,
        TryFilterError, TrySearchIter,
    };
}

/// Searches of several indexes at once.
pub mod shards {
    pub use crate::index::{
        Shard, ShardHit, ShardHits, ShardIndex, ShardSearch, ShardSearchBatch, Shards, TryShards,
    };
}

/// Figures, checks and measurements of indexes.
pub mod report {
    pub use crate::index::{
        Calibrate, Calibration, CalibrationPoint, CheckReport, Drift, IndexFault, IndexFaultKind,
        LevelCheck, ListStats, Maintenance, MemoryUsage, Stats,
    };
}

/// The code of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
