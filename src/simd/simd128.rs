//! The vectors of WebAssembly, which a program is compiled for as a whole: a logical register is four of 16 bytes.
#![expect(unsafe_code, reason = "loads")]

use super::{Simd, Task, padded};
use crate::vector::{Bf16, F16};
use std::arch::wasm32::*;

/// An array of the expression's value for each quarter of a logical register. A macro, because a closure
/// might not be inlined.
macro_rules! quarters {
    ($i:ident => $quarter:expr) => {
        [
            {
                let $i = 0;
                $quarter
            },
            {
                let $i = 1;
                $quarter
            },
            {
                let $i = 2;
                $quarter
            },
            {
                let $i = 3;
                $quarter
            },
        ]
    };
}

/// Proof of `simd128`: this module is compiled only with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Simd128(());

/// Returns the 16 bytes at `16 * quarter`.
#[inline(always)]
fn quarter<T: bytemuck::Pod, const N: usize>(from: &[T; N], quarter: usize) -> v128 {
    assert!(16 * (quarter + 1) <= size_of::<[T; N]>());
    // SAFETY: the 16 bytes are in `from` (asserted); the load needs no alignment.
    unsafe { v128_load(from.as_ptr().cast::<v128>().wrapping_add(quarter)) }
}

/// Returns the low and high nibbles of all bytes.
#[inline(always)]
fn nibbles(codes: v128) -> (v128, v128) {
    (v128_and(codes, u8x16_splat(15)), u8x16_shr(codes, 4))
}

/// `acc + sum(a * b)` of signed bytes.
#[inline(always)]
fn products(acc: v128, a: v128, b: v128) -> v128 {
    let low = i32x4_extadd_pairwise_i16x8(i16x8_extmul_low_i8x16(a, b));
    let high = i32x4_extadd_pairwise_i16x8(i16x8_extmul_high_i8x16(a, b));
    i32x4_add(acc, i32x4_add(low, high))
}

/// `acc + sum(a * b)` of unsigned bytes.
#[inline(always)]
fn unsigned_products(acc: v128, a: v128, b: v128) -> v128 {
    let low = u32x4_extadd_pairwise_u16x8(u16x8_extmul_low_u8x16(a, b));
    let high = u32x4_extadd_pairwise_u16x8(u16x8_extmul_high_u8x16(a, b));
    i32x4_add(acc, i32x4_add(low, high))
}

/// Returns the lanes of even and of odd number, of `a` before those of `b`.
#[inline(always)]
fn parted(a: v128, b: v128) -> (v128, v128) {
    (i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b))
}

/// Returns the sums of neighbouring lanes.
#[inline(always)]
fn f32_pairs(a: v128, b: v128) -> v128 {
    let (even, odd) = parted(a, b);
    f32x4_add(even, odd)
}

/// Returns the sums of neighbouring lanes, wrapping.
#[inline(always)]
fn i32_pairs(a: v128, b: v128) -> v128 {
    let (even, odd) = parted(a, b);
    i32x4_add(even, odd)
}

/// Returns the sums of four quarters.
#[inline(always)]
fn f32_quarters(a: [v128; 4]) -> v128 {
    f32x4_add(f32x4_add(a[0], a[1]), f32x4_add(a[2], a[3]))
}

/// Returns the sums of four quarters, wrapping.
#[inline(always)]
fn i32_quarters(a: [v128; 4]) -> v128 {
    i32x4_add(i32x4_add(a[0], a[1]), i32x4_add(a[2], a[3]))
}

/// Returns four halves, given as 32-bit lanes, as floats.
#[inline(always)]
fn floats(halves: v128) -> v128 {
    let magnitude = i32x4_shl(v128_and(halves, u32x4_splat(0x7fff)), 13);
    // 2^112 is the difference of the exponents' biases; subnormal halves become exact, too.
    let scaled = f32x4_mul(magnitude, u32x4_splat(0x7780_0000));
    // The greatest exponent is that of infinity and of no numbers.
    let is_special = u32x4_ge(magnitude, u32x4_splat(0x0f80_0000));
    let special = v128_and(is_special, u32x4_splat(0x7f80_0000));
    let sign = i32x4_shl(v128_and(halves, u32x4_splat(0x8000)), 16);
    v128_or(v128_or(scaled, special), sign)
}

impl Simd128 {
    /// Returns the token.
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl Simd for Simd128 {
    type F32 = [v128; 4];
    type I32 = [v128; 4];
    /// Eight sums each, in order.
    type Lookups = [v128; 4];
    /// Four lanes for each plane, two planes each. At most 16 are added at a time, so the lanes
    /// hold the counts of 524,000 bits.
    type Counts = [v128; 2];

    const CHAINS: usize = 2;
    const FOUR_ROWS: bool = false;

    fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }

    #[inline(always)]
    fn f32_zero(self) -> Self::F32 {
        [f32x4_splat(0.0); 4]
    }

    #[inline(always)]
    fn f32_load(self, from: &[f32; 16]) -> Self::F32 {
        quarters!(i => quarter(from, i))
    }

    #[inline(never)]
    fn f32_load_partial(self, from: &[f32]) -> Self::F32 {
        self.f32_load(&padded(from))
    }

    #[inline(always)]
    fn f16_load(self, from: &[F16; 16]) -> Self::F32 {
        let (a, b) = (quarter(from, 0), quarter(from, 1));
        [
            floats(u32x4_extend_low_u16x8(a)),
            floats(u32x4_extend_high_u16x8(a)),
            floats(u32x4_extend_low_u16x8(b)),
            floats(u32x4_extend_high_u16x8(b)),
        ]
    }

    #[inline(never)]
    fn f16_load_partial(self, from: &[F16]) -> Self::F32 {
        self.f16_load(&padded(from))
    }

    #[inline(always)]
    fn bf16_load(self, from: &[Bf16; 16]) -> Self::F32 {
        let (a, b) = (quarter(from, 0), quarter(from, 1));
        [
            i32x4_shl(u32x4_extend_low_u16x8(a), 16),
            i32x4_shl(u32x4_extend_high_u16x8(a), 16),
            i32x4_shl(u32x4_extend_low_u16x8(b), 16),
            i32x4_shl(u32x4_extend_high_u16x8(b), 16),
        ]
    }

    #[inline(never)]
    fn bf16_load_partial(self, from: &[Bf16]) -> Self::F32 {
        self.bf16_load(&padded(from))
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        quarters!(i => f32x4_add(a[i], b[i]))
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        quarters!(i => f32x4_sub(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        quarters!(i => f32x4_add(f32x4_mul(a[i], b[i]), c[i]))
    }

    #[inline(always)]
    fn f32_sum(self, a: Self::F32) -> f32 {
        self.f32_sum4([a; 4])[0]
    }

    #[inline(always)]
    fn f32_sum4(self, a: [Self::F32; 4]) -> [f32; 4] {
        let [a, b, c, d] = quarters!(i => f32_quarters(a[i]));
        let sums = f32_pairs(f32_pairs(a, b), f32_pairs(c, d));
        [
            f32x4_extract_lane::<0>(sums),
            f32x4_extract_lane::<1>(sums),
            f32x4_extract_lane::<2>(sums),
            f32x4_extract_lane::<3>(sums),
        ]
    }

    #[inline(always)]
    fn i32_zero(self) -> Self::I32 {
        [i32x4_splat(0); 4]
    }

    #[inline(always)]
    fn i32_add(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        quarters!(i => i32x4_add(a[i], b[i]))
    }

    #[inline(always)]
    fn i32_sum(self, a: Self::I32) -> i32 {
        self.i32_sum4([a; 4])[0]
    }

    #[inline(always)]
    fn i32_sum4(self, a: [Self::I32; 4]) -> [i32; 4] {
        let [a, b, c, d] = quarters!(i => i32_quarters(a[i]));
        let sums = i32_pairs(i32_pairs(a, b), i32_pairs(c, d));
        [
            i32x4_extract_lane::<0>(sums),
            i32x4_extract_lane::<1>(sums),
            i32x4_extract_lane::<2>(sums),
            i32x4_extract_lane::<3>(sums),
        ]
    }

    #[inline(never)]
    fn u8_pad(self, from: &[u8]) -> [u8; 64] {
        padded(from)
    }

    #[inline(always)]
    fn u8_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        quarters!(i => {
            let (a, b) = (quarter(a, i), quarter(b, i));
            let difference = v128_or(u8x16_sub_sat(a, b), u8x16_sub_sat(b, a));
            unsigned_products(acc[i], difference, difference)
        })
    }

    #[inline(always)]
    fn u8_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        quarters!(i => unsigned_products(acc[i], quarter(a, i), quarter(b, i)))
    }

    #[inline(always)]
    fn i8_l2(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        quarters!(i => {
            let (a, b) = (quarter(a, i), quarter(b, i));
            // Up to 255, which wraps in `i8` and is right again as `u8`.
            let difference = i8x16_sub(i8x16_max(a, b), i8x16_min(a, b));
            unsigned_products(acc[i], difference, difference)
        })
    }

    #[inline(always)]
    fn i8_dot(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        quarters!(i => products(acc[i], quarter(a, i), quarter(b, i)))
    }

    #[inline(always)]
    fn hamming(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        quarters!(i => {
            let differing = u8x16_popcnt(v128_xor(quarter(a, i), quarter(b, i)));
            let pairs = u16x8_extadd_pairwise_u8x16(differing);
            i32x4_add(acc[i], u32x4_extadd_pairwise_u16x8(pairs))
        })
    }

    #[inline(always)]
    fn nibble_l2(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        quarters!(i => {
            let codes = quarter(codes, i);
            let fours = u8x16_splat(0x3c);
            let l = v128_and(i8x16_shl(codes, 2), fours);
            let h = v128_and(u8x16_shr(codes, 2), fours);
            let acc = products(acc[i], l, i8x16_sub(l, quarter(low, i)));
            products(acc, h, i8x16_sub(h, quarter(high, i)))
        })
    }

    #[inline(always)]
    fn nibble_dot(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        quarters!(i => {
            let (l, h) = nibbles(quarter(codes, i));
            products(products(acc[i], l, quarter(low, i)), h, quarter(high, i))
        })
    }

    #[inline(always)]
    fn nibbles_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        quarters!(i => {
            let (al, ah) = nibbles(quarter(a, i));
            let (bl, bh) = nibbles(quarter(b, i));
            let (l, h) = (i8x16_sub(al, bl), i8x16_sub(ah, bh));
            products(products(acc[i], l, l), h, h)
        })
    }

    #[inline(always)]
    fn nibbles_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        quarters!(i => {
            let (al, ah) = nibbles(quarter(a, i));
            let (bl, bh) = nibbles(quarter(b, i));
            let fifteen = i8x16_splat(15);
            let al = i8x16_sub(i8x16_add(al, al), fifteen);
            let ah = i8x16_sub(i8x16_add(ah, ah), fifteen);
            let bl = i8x16_sub(i8x16_add(bl, bl), fifteen);
            let bh = i8x16_sub(i8x16_add(bh, bh), fifteen);
            products(products(acc[i], al, bl), ah, bh)
        })
    }

    #[inline(always)]
    fn lookup_zero(self) -> Self::Lookups {
        [i16x8_splat(0); 4]
    }

    #[inline(always)]
    fn lookup(self, acc: Self::Lookups, tables: &[u8; 64], codes: &[u8; 64]) -> Self::Lookups {
        let mut acc = acc;
        for i in 0..4 {
            let (table, (low, high)) = (quarter(tables, i), nibbles(quarter(codes, i)));
            let (low, high) = (u8x16_swizzle(table, low), u8x16_swizzle(table, high));
            acc[0] = i16x8_add(acc[0], u16x8_extend_low_u8x16(low));
            acc[1] = i16x8_add(acc[1], u16x8_extend_high_u8x16(low));
            acc[2] = i16x8_add(acc[2], u16x8_extend_low_u8x16(high));
            acc[3] = i16x8_add(acc[3], u16x8_extend_high_u8x16(high));
        }
        acc
    }

    #[inline(always)]
    fn lookup_sums(self, acc: Self::Lookups) -> [u16; 32] {
        let mut out = [0; 32];
        for (eight, acc) in out.as_chunks_mut::<8>().0.iter_mut().zip(acc) {
            // SAFETY: `eight` is 16 bytes; the store needs no alignment.
            unsafe { v128_store(eight.as_mut_ptr().cast(), acc) };
        }
        out
    }

    #[inline(always)]
    fn plane_zero(self) -> Self::Counts {
        [i16x8_splat(0); 2]
    }

    #[inline(always)]
    fn plane_counts(self, acc: Self::Counts, code: &[u8; 16], planes: &[u8; 64]) -> Self::Counts {
        let words = bytemuck::cast::<[u8; 16], [u64; 2]>(*code);
        let mut acc = acc;
        for i in 0..4 {
            let differing = v128_xor(u64x2_splat(words[i / 2]), quarter(planes, i));
            let counts = u16x8_extadd_pairwise_u8x16(u8x16_popcnt(differing));
            acc[i % 2] = i16x8_add(acc[i % 2], counts);
        }
        acc
    }

    #[inline(always)]
    fn plane_weigh(self, acc: Self::I32, counts: Self::Counts, shift: u32) -> Self::I32 {
        let mut acc = acc;
        for i in 0..2 {
            let (first, second) = (1 << (shift + 2 * i as u32), 2 << (shift + 2 * i as u32));
            let weights = u32x4(first, first, second, second);
            let counts = u32x4_extadd_pairwise_u16x8(counts[i]);
            acc[i] = i32x4_add(acc[i], i32x4_mul(counts, weights));
        }
        acc
    }
}
