//! Codes and queries in blocks, as walks over a graph read them: a code is padded with zeros, and a query is its tables.

use bytemuck::{cast_slice, cast_slice_mut};

use super::ProductQuantizer;
use super::query::sums;
use crate::distance::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::Block;

/// Table entries in a block.
const ENTRIES: usize = size_of::<Block>() / size_of::<f32>();

/// Order keys of the distances from a query to codes of `BITS` bits a sub-vector.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProductKernel<const BITS: u32>;

impl ProductQuantizer {
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

impl<const BITS: u32> ProductKernel<BITS> {
    #[inline(always)]
    fn keys<const N: usize>(query: &[Block], rows: [&[Block]; N]) -> [OrderKey; N] {
        let mut codes: [&[u8]; N] = [&[]; N];
        for (code, row) in codes.iter_mut().zip(rows) {
            *code = cast_slice(row);
        }
        let sums = sums(BITS, cast_slice(query), codes);
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
        let [key] = Self::keys(query, [row]);
        key
    }

    #[inline(always)]
    fn key4<S: Simd>(self, _: S, query: &[Block], (): (), rows: [&[Block]; 4]) -> [OrderKey; 4] {
        Self::keys(query, rows)
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}
