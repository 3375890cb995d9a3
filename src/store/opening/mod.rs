//! Opening a store, and the handle that it gives.
//!
//! [`StoreOptions`] creates or opens a file for the one writer, or for a reader; [`Store`] is the handle of either. A reader of a file that
//! another process may be writing takes checkpoints and commits from the file by `follower.rs`.

mod follower;
mod handle;
mod options;
#[cfg(feature = "simulation")]
mod simulated;

pub use handle::Store;
pub use options::StoreOptions;
