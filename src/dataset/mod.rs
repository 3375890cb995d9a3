//! Data sets in the field's file formats, exact neighbours, recall, and a generator.
//!
//! | ending | content | layout (all little-endian) |
//! |---|---|---|
//! | `fbin`, `f16bin`, `u8bin`, `i8bin` | vectors | `u32` rows, `u32` dimension, then the rows (big-ann) |
//! | `ibin` | neighbours | `u32` queries, `u32` k, all ids as `u32`, then all distances as `f32` |
//! | `fvecs`, `bvecs` | vectors | each row: `u32` dimension, then `f32` or `u8` components (TEXMEX) |
//! | `ivecs` | neighbours | each row: `u32` k, then `u32` ids |
//! | `npy` | vectors | `NumPy` versions 1 to 3, C order, `f4`, `f2`, `i1` or `u1`, one or two dimensions |
//!
//! Every header is checked against the length of its file before anything is allocated, so no
//! file can cause a panic, an overflow or a huge allocation: a [`DatasetError`] names the file
//! and its fault.
//!
//! ```
//! use nearfield::dataset::{Dataset, recall};
//!
//! let words = Dataset::open("benches/data/words-100-10k")?;
//! assert_eq!((words.base().len(), words.base().dimension()), (10_000, 100));
//! // An answer of the exact neighbours themselves has a recall of 1.
//! let exact = words.truth().iter().map(|ids| ids.iter().map(|&id| u64::from(id)));
//! assert_eq!(recall(exact, words.truth(), 10)?, 1.0);
//! # Ok::<(), nearfield::dataset::DatasetError>(())
//! ```

mod bigann;
mod error;
mod folder;
mod generated;
mod input;
mod layout;
mod map;
mod meta;
mod npy;
mod recall;
mod truth;
mod vecs;
mod vectors;

pub use error::DatasetError;
pub use folder::Dataset;
pub use generated::{Generated, GeneratedBuilder, Spectrum};
pub use recall::{recall, recall_by_distance};
pub use truth::GroundTruth;
pub use vectors::Vectors;
