//! Distances between two vectors, and from one to many.
//!
//! A kernel is written once over [`Simd`] and defines a metric over one element type. It
//! returns an [`OrderKey`], and decodes it to a distance.

#[cfg(test)]
mod ask;
mod byte;
mod dispatch;
mod erased;
mod float;
mod hamming;
mod nibble;
#[cfg(test)]
mod reference;
mod rung;
mod scaled;
#[cfg(test)]
mod tests;
mod twelve;

#[cfg(test)]
pub(crate) use ask::Ask;
pub(crate) use dispatch::{Visitor, dispatch, with_isa};
pub use erased::Distance;
pub(crate) use nibble::{NIBBLES, NibbleDot, NibbleL2, NibblesDot, NibblesL2};
pub(crate) use rung::{Place, RUNG_BITS, rung_above, scale_of};
pub(crate) use scaled::{
    Eight, ScaledBetweenDot, ScaledBetweenL2, ScaledDot, ScaledL2, ScaledNibbleDot,
    ScaledNibblesDot, Twelve,
};
pub(crate) use twelve::{
    TWELVE_BLOCKS, TWELVE_QUERY_BLOCKS, TwelveDot, TwelveL2, TwelvesDot, TwelvesL2, put_component,
    read_code, write_code, write_form, write_query,
};

use crate::order_key::OrderKey;
use crate::simd::Simd;
use bytemuck::Pod;
use std::fmt::Debug;

/// The longest vectors, in elements, for which all kernels are exact or within their bounds:
/// 65,536 squares of a byte fit 32 bits.
pub(crate) const MAX_LEN: usize = 65_536;

/// One metric over one element type.
///
/// Slices may have any length and alignment; of two lengths the shorter one counts. Integer
/// kernels are exact up to [`MAX_LEN`] elements.
pub(crate) trait Kernel: Copy + Send + Sync + Debug + Default + 'static {
    /// Elements of the compared slices; bytes for packed bits.
    type Element: Pod;

    /// Returns the order key of the distance of `a` and `b`. A NaN, which
    /// huge products that overflow give, is the farthest.
    fn key<S: Simd>(self, simd: S, a: &[Self::Element], b: &[Self::Element]) -> OrderKey;

    /// Returns [`Kernel::key`] of `query` and each row, bit for bit, faster than four calls.
    fn key4<S: Simd>(
        self,
        simd: S,
        query: &[Self::Element],
        rows: [&[Self::Element]; 4],
    ) -> [OrderKey; 4];

    /// Returns the distance that an order key encodes.
    fn distance(self, key: OrderKey) -> f32;
}
