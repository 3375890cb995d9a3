//! The indexes that users meet: keys on top of vectors and graph.
//!
//! # Rooms
//!
//! Each room imports only rooms above it in this list; a test holds this.
//!
//! | room | content |
//! |---|---|
//! | `encode` | vectors as rows of bytes: conversion to the element type, scaling for cosine, padding |
//! | `parallel`, `sampling` | threads of an operation; pseudo-random sample positions |
//! | `query` | filters, requests, limits of time, hits: they know no index |
//! | `distances` | distances from a query to rows, by one indirect call for a row of neighbours; scans of rows |
//! | `settings` | settings that every index has |
//! | `codes` | codes that walks read, their quantizers, their errors, and reranking; one type for the vectors, the codes and the finer codes |
//! | `scratch` | buffers of one search or insertion, lent from a pool |
//! | `entries` | vectors, keys and codes by slot; exact scans; hits made of slots |
//! | `reports` | figures, checks, calibrations |
//! | `search`, `build` | the calls: one query, a batch, an iteration; one vector, a batch |
//! | `image` | indexes as files store them |
//! | `hnsw`, `flat`, `ivf` | the indexes |
//! | `common` | the trait of their common operations |
//! | `shards` | searches of several indexes |
//!
//! # The way of a query
//!
//! `search/` takes the settings, and `encode/` writes the vector as a row, padded with zeros to whole blocks of 64 bytes: padding adds nothing to any
//! distance, so kernels have no tails. `hnsw/walks.rs` walks the graph, or scans if the walk would measure all vectors for this `ef`. Scratch
//! memory comes from a pool of the index: a search allocates nothing once that is there.
//!
//! A walk reads one `Representation` (`codes/representation.rs`): the vectors, the codes or the finer codes, which `entries/` chooses. An index
//! with codes walks on them: the query is rotated and rounded to a finer grid than the codes. `codes/rerank.rs` then measures the nearest
//! candidates by the vectors, or by the finer codes that replace them (`codes/pair.rs`), until the errors of the measured ones exclude the
//! others. If these errors are of the size of the distances, or answers are expected beyond the last candidate, a walk on the vectors follows. Walks on
//! coarse codes (RaBitQ, product) keep more candidates, by the variance of the errors.
//!
//! `hnsw/filtered/` plans searches under a filter. `query/request.rs` searches for all within a radius in rounds, each for four times as many answers;
//! `search/iter.rs` does the same as answers are taken, and holds no memory of the index, no lock and no epoch between two of them. `query/budget.rs`
//! looks at the clock every 64 KiB of vectors, and ends a search early enough for putting its candidates in order. `entries/deliver.rs` is the one place
//! where slots become hits.
//!
//! # The way of a vector
//!
//! `hnsw/insert.rs` and `build/` take a slot for the key (`entries/key_map.rs`), write the row and its code, and link the node. A batch grows the graph
//! coarse first (`build/order.rs`), or in an order that gives the same index on any number of threads (`hnsw/in_order.rs`). Codes begin when about 4,000
//! vectors are in or announced (`codes/fitting.rs`); from then on they choose rows, too, unless they do not tell near vectors apart (`codes/blur.rs`, by the
//! probes of `hnsw/probes.rs`). `codes/fit.rs` measures the errors of new codes, and `hnsw/renew.rs` tries another quantizer if they grow.
//!
//! `hnsw/remove.rs` hides a slot; `hnsw/maintain.rs` sweeps the links to it, and `entries/gather.rs` moves vectors from the end to vacant slots.
//! `entries/replacement.rs` lets a search see the old vector of a key or the new one, never both or none.
//!
//! # Locks
//!
//! Searches take none. A change holds the lock of its key's place in the map, then, for some microseconds each, those of single rows. Changes of the spanning
//! trees hold the lock of changes exclusively. `Ivf` has locks of its own; its folder tells their order.

mod build;
mod codes;
mod common;
mod distances;
mod encode;
mod entries;
mod flat;
mod hnsw;
mod image;
mod ivf;
mod parallel;
mod query;
mod reports;
mod sampling;
mod scratch;
mod search;
mod settings;
mod shards;

pub use build::{Determinism, InsertBatch};
pub use codes::{Originals, Quantization};
pub use common::Index;
pub use flat::{Flat, FlatBuilder};
pub use hnsw::Hnsw;
pub use hnsw::builder::HnswBuilder;
pub use hnsw::calibrate::Calibrate;
pub(crate) use hnsw::merge::Part;
pub(crate) use image::{
    CODES, CodeSettings, FINER, GraphSettings, Image, KEYS, Kernels, LEVELS, Settings, State,
    Stored, VECTORS,
};
pub(crate) use ivf::{
    BASE_OF_LISTS, BASES, LENGTHS, ListCoding, ListImage, ListSettings, ListState, OF_LISTS,
    Watched,
};
pub use ivf::{Ivf, IvfBuilder};
pub use query::budget::CancelToken;
pub use query::combined::{And, Not, Or};
pub use query::filter::Filter;
pub(crate) use query::filter::filter_through;
pub use query::hits::{BatchHits, BatchIter, Hit, Hits, IntoBatch, IntoHits, SearchPlan};
pub use query::key_sets::{KeyBitmap, KeySet};
pub use reports::calibration::{Calibration, CalibrationPoint};
pub use reports::check::{CheckReport, IndexFault, IndexFaultKind, LevelCheck};
pub use reports::maintenance::Maintenance;
pub use reports::stats::{Drift, ListStats, MemoryUsage, Stats};
pub use search::Search;
pub use search::batch::SearchBatch;
pub use search::cursor::Cursor;
pub use search::fallible::{Fallible, TryFilterError, TrySearchIter};
pub use search::iter::SearchIter;
pub(crate) use search::{AnyKey, Origin};
pub use shards::{
    Shard, ShardHit, ShardHits, ShardIndex, ShardSearch, ShardSearchBatch, Shards, TryShards,
};
