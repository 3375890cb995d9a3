//! The indexes that users meet: keys on top of vectors and graph.

mod batch;
mod builder;
mod check;
mod codes;
mod encoder;
mod engine;
mod entries;
mod flat;
mod hits;
mod hnsw;
mod ivf;
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
pub use flat::Flat;
pub use hits::{BatchHits, Hit, Hits};
pub use hnsw::Hnsw;
pub use ivf::{Ivf, IvfBuilder, IvfQuantization};
pub(crate) use persist::{CodeSettings, GraphSettings, Image, Settings, State, Stored};
pub use search::{Search, SearchBatch};
pub use stats::{Bytes, ListStats, Stats};
