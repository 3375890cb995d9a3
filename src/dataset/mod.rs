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
//! use nearfield::dataset::{Dataset, Generated, GroundTruth, recall};
//! use nearfield::{Flat, Metric};
//!
//! # let parent = std::env::temp_dir().join(format!("nearfield-dataset-{}", std::process::id()));
//! # let folder = parent.join("made");
//! let (base, queries) = Generated::builder(1000, 32).queries(20).build()?.into_parts();
//! let exact = Flat::builder(32, Metric::L2).build()?;
//! exact.insert_batch(&(0..1000).collect::<Vec<_>>(), &base).run()?;
//! let nearest = exact.search_batch(&queries).k(10).run()?;
//! let ids = nearest.iter().flatten().map(|hit| hit.key as u32).collect();
//! let truth = GroundTruth::from_parts(10, ids, None)?;
//! Dataset::from_parts("made", Metric::L2, base, queries, truth)?.write(&folder)?;
//!
//! let made = Dataset::open(&folder)?;
//! assert_eq!((made.base().len(), made.base().dimension()), (1000, 32));
//! // An answer of the exact neighbours themselves has a recall of 1.
//! let found = nearest.iter().map(|hits| hits.iter().map(|hit| hit.key));
//! assert_eq!(recall(found, made.truth(), 10)?, 1.0);
//! # drop(std::fs::remove_dir_all(&parent));
//! # Ok::<(), nearfield::Error>(())
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
