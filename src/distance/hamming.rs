//! The kernel over packed bits.

use super::byte::{Step, sums, sums4};
use super::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;

/// The number of differing bits; the key is the number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hamming;

impl Step<u8> for Hamming {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::I32, a: &[u8; 64], b: &[u8; 64]) -> S::I32 {
        simd.hamming(acc, a, b)
    }
}

impl Kernel for Hamming {
    type Element = u8;
    type Shared = ();
    const FOURS: Fours = Fours::ManyRegisters;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[u8]) {}

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, a: &[u8], (): (), b: &[u8]) -> OrderKey {
        OrderKey::from_bits(simd.i32_sum(sums::<S, u8, Self>(simd, a, b)) as u32)
    }

    #[inline(always)]
    fn key4<S: Simd>(self, simd: S, query: &[u8], (): (), rows: [&[u8]; 4]) -> [OrderKey; 4] {
        let [a, b, c, d] = simd.i32_sum4(sums4::<S, u8, Self>(simd, query, rows));
        [
            OrderKey::from_bits(a as u32),
            OrderKey::from_bits(b as u32),
            OrderKey::from_bits(c as u32),
            OrderKey::from_bits(d as u32),
        ]
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_bits() as f32
    }
}
