//! Vectors as short codes, and distances between vectors and codes.
//!
//! | quantizer | bits a component | learns | quantizing | distances |
//! |---|---|---|---|---|
//! | [`ScalarQuantizer`] | 4, 8, 12 | mean and deviation | fast | integer products |
//! | [`ProductQuantizer`] | any, in steps | centroids, by k-means | slow | tables; 32 codes at a time for 4 bits |
//! | [`RabitqQuantizer`] | 1, 2, 4 | the mean | fast | bits counted; with a bound on the error |
//!
//! All of them are a [`Quantizer`]. A quantizer is *trained* on vectors like those that it is to
//! code, gives every vector a *code* of the same number of bytes, and estimates distances from a
//! *prepared query* to codes. Estimates find candidates; the exact distances of the best of them
//! decide (*rerank*).

mod admit;
mod bytes;
mod coder;
mod error;
mod math;
mod product;
mod quantizer;
mod rabitq;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use coder::{Coder, Coding};
pub use error::QuantizationError;
pub(crate) use math::cluster;
pub use product::{PackedCodes, ProductQuantizer, ProductQuantizerBuilder, ProductQuery};
pub use quantizer::{PreparedQuery, Quantizer};
pub use rabitq::{Estimate, RabitqQuantizer, RabitqQuantizerBuilder, RabitqQuery};
pub(crate) use scalar::{Bits, is_byte};
pub use scalar::{ScalarQuantizer, ScalarQuantizerBuilder};
