//! Distances between two vectors, and from one to many.
//!
//! A kernel is written once over [`Simd`] and defines a metric over one element type. It
//! returns an [`OrderKey`], and decodes it to a distance.

#[cfg(test)]
mod ask;
mod bound;
mod byte;
mod custom;
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
pub(crate) use bound::BoundKernel;
pub use custom::{Chebyshev, CustomMetric, Haversine, Jaccard, Manhattan};
pub(crate) use custom::{Custom, CustomUse, MAX_NAME, Vigil};
pub(crate) use dispatch::{dispatch, with_isa};
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

/// Instruction sets on which a kernel compares four rows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fours {
    /// All: the kernel looks up numbers of four rows side by side.
    Always,
    /// Those with registers of several lanes: the kernel shares work on the query.
    Registers,
    /// Those that have registers for the sums of four rows.
    ManyRegisters,
    /// None: one row keeps the arithmetic busy.
    Never,
}

impl Fours {
    /// Returns whether a kernel compares four rows at once on `S`.
    const fn on<S: Simd>(self) -> bool {
        match self {
            Self::Always => true,
            Self::Registers => S::CHAINS > 1,
            Self::ManyRegisters => S::FOUR_ROWS,
            Self::Never => false,
        }
    }
}

/// One metric over one element type.
///
/// Slices may have any length and alignment; of two lengths the shorter one counts, except for cosines, which need one length. Integer
/// kernels are exact up to [`MAX_LEN`] elements.
pub(crate) trait Kernel: Copy + Send + Sync + Debug + Default + 'static {
    /// Elements of the compared slices; bytes for packed bits.
    type Element: Pod;

    /// The instruction sets on which [`Kernel::key4`] is faster than four calls of [`Kernel::key`]. It is not compiled for others.
    const FOURS: Fours;

    /// Numbers of a query that the comparisons with all rows share, or `()`.
    type Shared: Copy;

    /// Returns the numbers of `query` that comparisons share.
    fn share<S: Simd>(self, simd: S, query: &[Self::Element]) -> Self::Shared;

    /// Returns the order key of the distance of `query` and `row`. A NaN, which huge products that overflow give, is the farthest.
    fn key<S: Simd>(
        self,
        simd: S,
        query: &[Self::Element],
        shared: Self::Shared,
        row: &[Self::Element],
    ) -> OrderKey;

    /// Returns [`Kernel::key`] of `query` and each row, bit for bit. The rows have one length.
    #[inline(always)]
    fn key4<S: Simd>(
        self,
        simd: S,
        query: &[Self::Element],
        shared: Self::Shared,
        rows: [&[Self::Element]; 4],
    ) -> [OrderKey; 4] {
        let mut keys = [OrderKey::MIN; 4];
        for (key, row) in keys.iter_mut().zip(rows) {
            *key = self.key(simd, query, shared, row);
        }
        keys
    }

    /// Returns the distance that an order key encodes.
    fn distance(self, key: OrderKey) -> f32;
}
