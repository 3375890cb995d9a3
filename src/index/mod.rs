//! The indexes that users meet: keys on top of vectors and graph.

mod batch;
mod blur;
mod builder;
mod calibrate;
mod check;
mod coders;
mod codes;
mod deliver;
mod encoder;
mod engine;
mod entries;
mod filter;
mod filtered;
mod fit;
mod flat;
mod hits;
mod hnsw;
mod in_order;
mod insert;
mod iter;
mod ivf;
mod keys;
mod lanes;
mod limit;
mod maintain;
mod merge;
mod narrow;
mod order;
mod persist;
mod quantized;
mod remove;
mod renew;
mod replace;
mod request;
mod rerank;
mod scan;
mod scatter;
mod search;
mod search_batch;
mod shards;
mod space;
mod stats;
mod threads;
mod walks;
mod work;

pub use batch::{Determinism, InsertBatch};
pub use builder::{FlatBuilder, HnswBuilder};
pub use calibrate::{Calibrate, Calibration, CalibrationPoint};
pub use check::{CheckReport, Fault, FaultKind, LevelCheck};
pub use codes::{Originals, Quantization};
pub use filter::{Filter, KeyBitmap, KeySet};
pub use flat::Flat;
pub use hits::{BatchHits, Hit, Hits, Plan};
pub use hnsw::Hnsw;
pub use iter::{Cursor, SearchIter};
pub(crate) use ivf::{
    BASE_OF_LISTS, BASES, LENGTHS, ListImage, ListSettings, ListState, OF_LISTS, Watched,
};
pub use ivf::{Ivf, IvfBuilder, IvfQuantization};
pub use limit::Cancel;
pub use maintain::Maintenance;
pub(crate) use merge::Part;
pub(crate) use persist::{
    CODES, CodeSettings, FINER, GraphSettings, Image, KEYS, LEVELS, Settings, State, Stored,
    VECTORS,
};
pub use search::Search;
pub use search_batch::SearchBatch;
pub use shards::{Shard, ShardHit, ShardHits, ShardIndex, ShardSearch, ShardSearchBatch, Shards};
pub use stats::{Bytes, Drift, ListStats, Stats};
