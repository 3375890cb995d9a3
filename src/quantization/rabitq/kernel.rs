//! Codes and queries in blocks, as walks over a graph read them.
//!
//! A code is that of [`Quantizer::quantize_into`](crate::quantization::Quantizer::quantize_into), padded with zeros. A query
//! has one block of numbers ([`Head`]), and then its planes.

use bytemuck::{Pod, Zeroable, cast_mut, cast_ref, cast_slice, cast_slice_mut};

use super::query::{add_differing, query_bits};
use super::{Centring, Fit, RabitqQuantizer};
use crate::distance::{Fours, Kernel};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::Block;

/// The numbers of a query besides its planes. The distance to a code is `base + square * norm^2 - slope * scale * product -
/// of_centre * centre_product`, where `norm`, `scale` and `centre_product` are the code's.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Head {
    base: f32,
    square: f32,
    slope: f32,
    /// The multiple of the centre that was subtracted from the query, under the inner product.
    of_centre: f32,
    /// 1 under the inner product, whose codes have one more number and whose distances may be negative; 0 otherwise.
    is_product: u32,
    /// Bytes of a plane of a code.
    plane_len: u32,
    /// The product with a code that equals the query in all bits.
    equal: i32,
    unused: [u32; 9],
}

/// Order keys of the distances from a query to codes of `B` planes; the query has `G` groups of four.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RabitqKernel<const B: usize, const G: usize>;

impl RabitqQuantizer {
    /// Returns the number of blocks of a query.
    pub(crate) fn query_blocks(&self) -> usize {
        1 + self.query_planes()
    }

    /// Writes a query, a vector ready to be centred, into its blocks.
    pub(crate) fn write_blocks(&self, query: &[f32], scratch: &mut Vec<f32>, out: &mut [Block]) {
        let Some((head, planes)) = out.split_first_mut() else { return };
        let Centring { multiple, product } = self.centring(query);
        let Fit { norm, scale, .. } =
            self.write_query(query, multiple, scratch, cast_slice_mut(planes));
        let greatest = ((1_i32 << self.bits) - 1) * ((1 << query_bits(self.bits)) - 1);
        let (base, square, slope, of_centre) = match self.metric {
            Metric::InnerProduct => (multiple * self.centre_square - product, 0.0, scale, multiple),
            Metric::Cosine => (0.5 * norm * norm, 0.5, scale, 0.0),
            _ => (norm * norm, 1.0, 2.0 * scale, 0.0),
        };
        *cast_mut::<Block, Head>(head) = Head {
            base,
            square,
            slope,
            of_centre,
            is_product: u32::from(self.metric == Metric::InnerProduct),
            plane_len: self.plane_len() as u32,
            equal: greatest * self.rotation.len() as i32,
            unused: [0; 9],
        };
    }
}

/// A query's numbers, and its planes in groups of four.
type Parts<'a, const G: usize> = (&'a Head, [&'a [[u8; 64]]; G]);

// The functions below map neither closures nor arrays, because these would not be inlined into the code that runs with the instructions
// of a set.
impl<const B: usize, const G: usize> RabitqKernel<B, G> {
    #[inline(always)]
    fn parts(query: &[Block]) -> Parts<'_, G> {
        let (head, blocks) = query.split_at(1);
        let planes: &[[u8; 64]] = cast_slice(blocks);
        let mut groups: [&[[u8; 64]]; G] = [&[]; G];
        let steps = planes.len() / G;
        for (g, group) in groups.iter_mut().enumerate() {
            *group = &planes[g * steps..(g + 1) * steps];
        }
        (cast_ref(&head[0]), groups)
    }

    /// Returns the number of differing bits, weighed, as a sum of lanes.
    #[inline(always)]
    fn differing<S: Simd>(simd: S, (head, groups): Parts<'_, G>, row: &[Block]) -> S::I32 {
        let code: &[u8] = cast_slice(row);
        let plane_len = head.plane_len as usize;
        let mut total = simd.i32_zero();
        for b in 0..B {
            let plane = &code[b * plane_len..(b + 1) * plane_len];
            total = add_differing(simd, total, plane, groups, B - 1 - b);
        }
        total
    }

    #[inline(always)]
    fn finish((head, _): Parts<'_, G>, row: &[Block], differing: i32) -> OrderKey {
        let factors: &[f32] = cast_slice(row);
        let factors = &factors[B * head.plane_len as usize / size_of::<f32>()..];
        let (norm, scale) = (factors[0], factors[1]);
        let product = head.slope * scale * head.equal.wrapping_sub(2 * differing) as f32;
        let distance = head.base + head.square * (norm * norm) - product;
        // Adding zero makes a negative one positive.
        OrderKey::of_f32(if head.is_product == 0 {
            distance.max(0.0) + 0.0
        } else {
            distance - head.of_centre * factors[3] + 0.0
        })
    }
}

impl<const B: usize, const G: usize> Kernel for RabitqKernel<B, G> {
    type Element = Block;
    type Shared = ();
    const FOURS: Fours = Fours::Registers;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[Block]) {}

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, query: &[Block], (): (), row: &[Block]) -> OrderKey {
        let parts = Self::parts(query);
        let differing = simd.i32_sum(Self::differing(simd, parts, row));
        Self::finish(parts, row, differing)
    }

    #[inline(always)]
    fn key4<S: Simd>(self, simd: S, query: &[Block], (): (), rows: [&[Block]; 4]) -> [OrderKey; 4] {
        let parts = Self::parts(query);
        let mut totals = [simd.i32_zero(); 4];
        for (total, row) in totals.iter_mut().zip(rows) {
            *total = Self::differing(simd, parts, row);
        }
        let differing = simd.i32_sum4(totals);
        let mut keys = [OrderKey::MIN; 4];
        for ((key, row), differing) in keys.iter_mut().zip(rows).zip(differing) {
            *key = Self::finish(parts, row, differing);
        }
        keys
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}
