//! The indexes that users meet: keys on top of vectors and graph.
//!
//! # The way of a query
//!
//! `encoder.rs` checks the vector, converts it to the element type of the index, scales it for cosine, and pads it with zeros to whole
//! blocks of 64 bytes; padding adds nothing to any distance, so kernels have no tails. `walks.rs` walks the graph, or scans if `ef` is so large that
//! a walk would touch as many vectors. Scratch memory comes from a pool of the index (`work.rs`): a search allocates nothing once that is there.
//!
//! An index with codes (`codes.rs`) walks on them: the query is rotated and rounded to a finer grid than the codes. `rerank.rs` then
//! measures the nearest candidates by the vectors, or by the finer codes that replace them (`coders.rs`), as far as the errors of
//! the first few let others be among the answers. If these errors are of the size of the distances, or answers are expected beyond the last
//! candidate, a walk on the vectors follows. Walks on coarse codes (RaBitQ, product) keep more candidates, by the variance of the errors.
//!
//! `filtered/` plans searches under a filter. `request.rs` searches for all within a radius in rounds, each for four times as many answers; `iter.rs`
//! does the same as answers are taken, and holds no memory of the index, no lock and no epoch between two of them. `limit.rs` looks at the
//! clock every 64 KiB of vectors, and ends a search early enough for putting its candidates in order. `deliver.rs` is the one place where slots become hits.
//!
//! # The way of a vector
//!
//! `insert.rs` and `batch.rs` take a slot for the key (`keys.rs`), write the row and its code, and link the node. A batch grows the graph coarse
//! first (`order.rs`), or in an order that gives the same index on any number of threads (`in_order.rs`). Codes begin when about 4,000 vectors
//! are in or announced (`quantized.rs`); from then on they choose rows, too, unless they do not tell near vectors apart (`blur.rs`). `fit.rs` measures the errors of
//! new codes, and `renew.rs` tries another quantizer if they grow.
//!
//! `remove.rs` hides a slot; `maintain.rs` sweeps the links to it, and moves vectors from the end to vacant slots. `replace.rs` lets a search see
//! the old vector of a key or the new one, never both or none.
//!
//! # Locks
//!
//! Searches take none. A change holds the lock of its key's place in the map, then, for some microseconds each, those of single rows. Changes of the spanning
//! trees hold the lock of changes exclusively. `Ivf` has locks of its own; its folder tells their order.

mod build;
mod codes;
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
pub use flat::{Flat, FlatBuilder};
pub use hnsw::Hnsw;
pub use hnsw::builder::HnswBuilder;
pub use hnsw::calibrate::Calibrate;
pub(crate) use hnsw::merge::Part;
pub(crate) use image::{
    CODES, CodeSettings, FINER, GraphSettings, Image, KEYS, LEVELS, Settings, State, Stored,
    VECTORS,
};
pub(crate) use ivf::{
    BASE_OF_LISTS, BASES, LENGTHS, ListImage, ListSettings, ListState, OF_LISTS, Watched,
};
pub use ivf::{Ivf, IvfBuilder, IvfQuantization};
pub use query::budget::Cancel;
pub use query::filter::{Filter, KeyBitmap, KeySet};
pub use query::hits::{BatchHits, Hit, Hits, Plan};
pub use reports::calibration::{Calibration, CalibrationPoint};
pub use reports::check::{CheckReport, Fault, FaultKind, LevelCheck};
pub use reports::maintenance::Maintenance;
pub use reports::stats::{Bytes, Drift, ListStats, Stats};
pub use search::Search;
pub use search::batch::SearchBatch;
pub use search::iter::{Cursor, SearchIter};
pub use shards::{Shard, ShardHit, ShardHits, ShardIndex, ShardSearch, ShardSearchBatch, Shards};
