//! Codes and queries in blocks, as walks over a graph read them: a code is padded with zeros, and a query is its tables.
//!
//! Under the inner product, a code is that of the direction of its vector, and its last bytes are a length: errors of products are in
//! proportion to the length, and the longest vectors cost the others no precision.

use bytemuck::{cast_slice, cast_slice_mut};

use super::query::sums;
use super::{ProductQuantizer, Quantizer};
use crate::distance::{Fours, Kernel};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::Block;

/// Table entries in a block.
const ENTRIES: usize = size_of::<Block>() / size_of::<f32>();

/// Bytes of a length.
const LENGTH: usize = size_of::<f32>();

/// The least product of a direction and its code for which lengths make up.
const LEAST_PRODUCT: f32 = 0.25;

/// Order keys of the distances from a query to codes of `BITS` bits a sub-vector.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProductKernel<const BITS: u32> {
    /// Whether codes are directions with lengths.
    pub(crate) has_lengths: bool,
}

impl ProductQuantizer {
    /// Returns whether codes in blocks are those of directions, with lengths. If so, the quantizer is trained on directions.
    pub(crate) fn has_lengths(&self) -> bool {
        self.metric == Metric::InnerProduct
    }

    /// Returns the number of blocks of a code.
    pub(crate) fn code_blocks(&self) -> usize {
        let length = if self.has_lengths() { LENGTH } else { 0 };
        (self.code_len() + length).div_ceil(size_of::<Block>())
    }

    /// Writes the code of a vector, and overwrites `scratch`. Under the inner product, the length makes the product of the vector with
    /// its code that with itself.
    pub(crate) fn write_code(&self, vector: &[f32], scratch: &mut Vec<f32>, code: &mut [Block]) {
        let (code, rest) = cast_slice_mut::<_, u8>(code).split_at_mut(self.code_len());
        rest.fill(0);
        if !self.has_lengths() {
            self.encode(vector, code);
            return;
        }
        scratch.clear();
        scratch.extend_from_slice(vector);
        let length = make_unit(scratch);
        self.encode(scratch, code);
        let product: f32 = self.points(code).zip(&*scratch).map(|(a, b)| a * b).sum();
        if let Some(bytes) = rest.last_chunk_mut() {
            *bytes = (length / product.max(LEAST_PRODUCT)).to_le_bytes();
        }
    }

    /// Returns the factor of the products of a code in blocks.
    pub(crate) fn factor(&self, code: &[Block]) -> f32 {
        if self.has_lengths() { length(code) } else { 1.0 }
    }

    /// Returns the number of blocks of a query.
    pub(crate) fn query_blocks(&self) -> usize {
        self.table_entries() / ENTRIES
    }

    /// Writes a query, a vector ready to be cut, into its blocks.
    pub(crate) fn write_blocks(&self, query: &[f32], out: &mut [Block]) {
        let tables: &mut [f32] = cast_slice_mut(out);
        // A table without a sub-vector adds nothing to a distance.
        tables[self.parts.len() * self.centroids()..].fill(0.0);
        self.write_tables(query, tables);
    }
}

/// Divides a vector by its length, and returns the length. A vector that is too short becomes zeros.
pub(crate) fn make_unit(vector: &mut [f32]) -> f32 {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = square.sqrt() as f32;
    let factor = if length < f32::MIN_POSITIVE { 0.0 } else { 1.0 / f64::from(length) };
    for x in vector {
        *x = (f64::from(*x) * factor) as f32;
    }
    length
}

/// Returns the last number of a code.
#[inline(always)]
fn length(code: &[Block]) -> f32 {
    cast_slice::<_, u8>(code).last_chunk().map_or(0.0, |&bytes| f32::from_le_bytes(bytes))
}

impl<const BITS: u32> ProductKernel<BITS> {
    #[inline(always)]
    fn keys<const N: usize>(self, query: &[Block], rows: [&[Block]; N]) -> [OrderKey; N] {
        let mut codes: [&[u8]; N] = [&[]; N];
        for (code, row) in codes.iter_mut().zip(rows) {
            *code = cast_slice(row);
        }
        let mut sums = sums(BITS, cast_slice(query), codes);
        if self.has_lengths {
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum *= length(row);
            }
        }
        let mut keys = [OrderKey::MIN; N];
        for (key, sum) in keys.iter_mut().zip(sums) {
            // Adding zero makes a negative one positive.
            *key = OrderKey::of_f32(sum + 0.0);
        }
        keys
    }
}

impl<const BITS: u32> Kernel for ProductKernel<BITS> {
    type Element = Block;
    type Shared = ();
    // Numbers of four codes are looked up side by side.
    const FOURS: Fours = Fours::Always;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[Block]) {}

    #[inline(always)]
    fn key<S: Simd>(self, _: S, query: &[Block], (): (), row: &[Block]) -> OrderKey {
        let [key] = self.keys(query, [row]);
        key
    }

    #[inline(always)]
    fn key4<S: Simd>(self, _: S, query: &[Block], (): (), rows: [&[Block]; 4]) -> [OrderKey; 4] {
        self.keys(query, rows)
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}
