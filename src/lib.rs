//! Embeddable vector search.

mod arena;
pub mod dataset;
mod distance;
mod error;
mod graph;
mod index;
mod metric;
mod simd;
pub mod store;
mod vector;

pub use distance::Distance;
pub use error::{IndexError, VectorError};
pub use index::{
    BatchHits, Bytes, CheckReport, Fault, FaultKind, Flat, FlatBuilder, Hit, Hits, Hnsw,
    HnswBuilder, InsertBatch, LevelCheck, Search, SearchBatch, Stats,
};
pub use metric::Metric;
pub use simd::Isa;
pub use vector::{AsVector, Bf16, Element, F16, VectorRef};
