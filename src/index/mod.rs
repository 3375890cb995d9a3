//! The indexes that users meet: keys on top of vectors and graph.

mod batch;
mod builder;
mod check;
mod codes;
mod encoder;
mod engine;
mod entries;
mod filter;
mod filtered;
mod flat;
mod hits;
mod hnsw;
mod keys;
mod persist;
mod rerank;
mod scan;
mod search;
mod space;
mod stats;
mod threads;
mod work;

pub use batch::InsertBatch;
pub use builder::{FlatBuilder, HnswBuilder};
pub use check::{CheckReport, Fault, FaultKind, LevelCheck};
pub use codes::{Originals, Quantization};
pub use filter::{Filter, KeyBitmap, KeySet};
pub use flat::Flat;
pub use hits::{BatchHits, Hit, Hits, Plan};
pub use hnsw::Hnsw;
pub(crate) use persist::{CodeSettings, GraphSettings, Image, Settings, State, Stored};
pub use search::{Search, SearchBatch};
pub use stats::{Bytes, Stats};
