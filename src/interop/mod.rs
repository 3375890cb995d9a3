//! Vectors and settings in the types of other crates, each behind the feature of its name.
//!
//! - `serde`: settings by their names (`"cosine"`, `"pq32x8"`); hits, cursors and figures as their fields, to and from any format. JSON has
//!   no infinity: it reads back as absent.
//! - `half`: slices, arrays and `Vec`s of `half::f16` and `half::bf16` are vectors, and their numbers become [`F16`](crate::F16) and
//!   [`Bf16`](crate::Bf16) and back.
//! - `ndarray`: arrays and views of any layout become vectors one after the other.
//!
//! A column of `arrow` needs no feature: the values of a `FixedSizeListArray` of `Float32`, taken as a primitive array, are a slice of `f32`.

#[cfg(feature = "half")]
mod half;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(feature = "serde")]
mod serde;

#[cfg(feature = "ndarray")]
pub use ndarray::components;
