//! NEON, which every `AArch64` CPU has: a logical register is four of 16 bytes.
#![expect(unsafe_code, reason = "intrinsics")]

use super::{Simd, Task, padded};
use crate::vector::{Bf16, F16};
use std::arch::aarch64::*;

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

/// Proof of NEON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

/// Evaluates intrinsics that work on registers only.
macro_rules! proven {
    ($token:expr, $body:expr) => {{
        let Neon(()) = $token;
        // SAFETY: the CPU has the instructions: `Neon::new` checked it before it made the token.
        unsafe { $body }
    }};
}

impl Neon {
    /// Returns the token if this CPU has NEON.
    pub(crate) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// Loads the 16 bytes at `16 * quarter`.
    #[inline(always)]
    fn quarter<T: bytemuck::Pod, const N: usize>(
        self,
        from: &[T; N],
        quarter: usize,
    ) -> uint8x16_t {
        let Self(()) = self;
        const { assert!(size_of::<[T; N]>() == 64) };
        assert!(quarter < 4);
        let at = from.as_ptr().cast::<u8>().wrapping_add(16 * quarter);
        // SAFETY: NEON as the token proves; `from` is 64 bytes and `quarter` below four; the load
        // needs no alignment.
        unsafe { vld1q_u8(at) }
    }

    /// Returns the low and high nibbles of all bytes.
    #[inline(always)]
    fn nibbles(self, codes: uint8x16_t) -> (int8x16_t, int8x16_t) {
        proven!(self, {
            let low = vandq_u8(codes, vdupq_n_u8(15));
            (vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(vshrq_n_u8::<4>(codes)))
        })
    }

    /// `acc + sum(a * b)`.
    #[inline(always)]
    fn products(self, acc: uint32x4_t, a: int8x16_t, b: int8x16_t) -> uint32x4_t {
        proven!(self, {
            let sum = vreinterpretq_s32_u32(acc);
            let sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
            vreinterpretq_u32_s32(vpadalq_s16(sum, vmull_high_s8(a, b)))
        })
    }

    /// Loads the 8 bytes at `8 * quarter`.
    #[inline(always)]
    fn eighth<T: bytemuck::Pod>(self, from: &[T; 16], quarter: usize) -> uint16x4_t {
        let Self(()) = self;
        const { assert!(size_of::<[T; 16]>() == 32) };
        assert!(quarter < 4);
        let at = from.as_ptr().cast::<u8>().wrapping_add(8 * quarter);
        // SAFETY: NEON as the token proves; `from` is 32 bytes and `quarter` below four; the load
        // needs no alignment.
        unsafe { vreinterpret_u16_u8(vld1_u8(at)) }
    }
}

impl Simd for Neon {
    type F32 = [float32x4_t; 4];
    type I32 = [uint32x4_t; 4];
    /// Eight sums each, in order.
    type Lookups = [uint16x8_t; 4];
    /// Four lanes for each plane, two planes each. At most 16 are added at a time, so the lanes
    /// hold the counts of 524,000 bits.
    type Counts = [uint16x8_t; 2];

    const CHAINS: usize = 4;
    const FOUR_ROWS: bool = false;

    fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "neon")]
        fn inside<T: Task>(simd: Neon, task: T) -> T::Output {
            task.run(simd)
        }
        // SAFETY: the CPU has the feature: `Neon::new` checked it before it made the token.
        unsafe { inside(self, task) }
    }

    #[inline(always)]
    fn f32_zero(self) -> Self::F32 {
        proven!(self, [vdupq_n_f32(0.0); 4])
    }

    #[inline(always)]
    fn f32_load(self, from: &[f32; 16]) -> Self::F32 {
        proven!(self, quarters!(i => vreinterpretq_f32_u8(self.quarter(from, i))))
    }

    #[inline(always)]
    fn f32_load_partial(self, from: &[f32]) -> Self::F32 {
        self.f32_load(&padded(from))
    }

    #[inline(always)]
    fn f16_load(self, from: &[F16; 16]) -> Self::F32 {
        proven!(self, quarters!(i => vcvt_f32_f16(vreinterpret_f16_u16(self.eighth(from, i)))))
    }

    #[inline(always)]
    fn f16_load_partial(self, from: &[F16]) -> Self::F32 {
        self.f16_load(&padded(from))
    }

    #[inline(always)]
    fn bf16_load(self, from: &[Bf16; 16]) -> Self::F32 {
        proven!(
            self,
            quarters!(i => vreinterpretq_f32_u32(vshll_n_u16::<16>(self.eighth(from, i))))
        )
    }

    #[inline(always)]
    fn bf16_load_partial(self, from: &[Bf16]) -> Self::F32 {
        self.bf16_load(&padded(from))
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        proven!(self, quarters!(i => vaddq_f32(a[i], b[i])))
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        proven!(self, quarters!(i => vsubq_f32(a[i], b[i])))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        proven!(self, quarters!(i => vfmaq_f32(c[i], a[i], b[i])))
    }

    #[inline(always)]
    fn f32_sum(self, a: Self::F32) -> f32 {
        proven!(self, vaddvq_f32(vaddq_f32(vaddq_f32(a[0], a[1]), vaddq_f32(a[2], a[3]))))
    }

    #[inline(always)]
    fn f32_sum4(self, a: [Self::F32; 4]) -> [f32; 4] {
        let sums = proven!(self, {
            let [a, b, c, d] = quarters!(i => {
                vaddq_f32(vaddq_f32(a[i][0], a[i][1]), vaddq_f32(a[i][2], a[i][3]))
            });
            vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))
        });
        let mut out = [0.0; 4];
        // SAFETY: NEON as the token proves; `out` is 16 bytes; no alignment needed.
        unsafe { vst1q_f32(out.as_mut_ptr(), sums) };
        out
    }

    #[inline(always)]
    fn i32_zero(self) -> Self::I32 {
        proven!(self, [vdupq_n_u32(0); 4])
    }

    #[inline(always)]
    fn i32_add(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        proven!(self, quarters!(i => vaddq_u32(a[i], b[i])))
    }

    #[inline(always)]
    fn i32_sum(self, a: Self::I32) -> i32 {
        proven!(self, vaddvq_u32(vaddq_u32(vaddq_u32(a[0], a[1]), vaddq_u32(a[2], a[3]))) as i32)
    }

    #[inline(always)]
    fn i32_sum4(self, a: [Self::I32; 4]) -> [i32; 4] {
        let sums = proven!(self, {
            let [a, b, c, d] = quarters!(i => {
                vaddq_u32(vaddq_u32(a[i][0], a[i][1]), vaddq_u32(a[i][2], a[i][3]))
            });
            vpaddq_u32(vpaddq_u32(a, b), vpaddq_u32(c, d))
        });
        let mut out = [0; 4];
        // SAFETY: NEON as the token proves; `out` is 16 bytes; no alignment needed.
        unsafe { vst1q_s32(out.as_mut_ptr(), vreinterpretq_s32_u32(sums)) };
        out
    }

    #[inline(always)]
    fn u8_pad(self, from: &[u8]) -> [u8; 64] {
        padded(from)
    }

    #[inline(always)]
    fn u8_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let difference = vabdq_u8(self.quarter(a, i), self.quarter(b, i));
                let low = vget_low_u8(difference);
                let sum = vpadalq_u16(acc[i], vmull_u8(low, low));
                vpadalq_u16(sum, vmull_high_u8(difference, difference))
            })
        )
    }

    #[inline(always)]
    fn u8_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let (a, b) = (self.quarter(a, i), self.quarter(b, i));
                let sum = vpadalq_u16(acc[i], vmull_u8(vget_low_u8(a), vget_low_u8(b)));
                vpadalq_u16(sum, vmull_high_u8(a, b))
            })
        )
    }

    #[inline(always)]
    fn i8_l2(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let a = vreinterpretq_s8_u8(self.quarter(a, i));
                let b = vreinterpretq_s8_u8(self.quarter(b, i));
                // Up to 255, which wraps in `i8` and is right again as `u8`.
                let difference = vreinterpretq_u8_s8(vabdq_s8(a, b));
                let low = vget_low_u8(difference);
                let sum = vpadalq_u16(acc[i], vmull_u8(low, low));
                vpadalq_u16(sum, vmull_high_u8(difference, difference))
            })
        )
    }

    #[inline(always)]
    fn i8_dot(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let a = vreinterpretq_s8_u8(self.quarter(a, i));
                let b = vreinterpretq_s8_u8(self.quarter(b, i));
                self.products(acc[i], a, b)
            })
        )
    }

    #[inline(always)]
    fn hamming(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let differing = vcntq_u8(veorq_u8(self.quarter(a, i), self.quarter(b, i)));
                vpadalq_u16(acc[i], vpaddlq_u8(differing))
            })
        )
    }

    #[inline(always)]
    fn nibble_l2(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let codes = self.quarter(codes, i);
                let fours = vdupq_n_u8(0x3c);
                let l = vreinterpretq_s8_u8(vandq_u8(vshlq_n_u8::<2>(codes), fours));
                let h = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<2>(codes), fours));
                let low = vsubq_s8(l, vreinterpretq_s8_u8(self.quarter(low, i)));
                let high = vsubq_s8(h, vreinterpretq_s8_u8(self.quarter(high, i)));
                self.products(self.products(acc[i], l, low), h, high)
            })
        )
    }

    #[inline(always)]
    fn nibble_dot(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let (l, h) = self.nibbles(self.quarter(codes, i));
                let acc = self.products(acc[i], l, vreinterpretq_s8_u8(self.quarter(low, i)));
                self.products(acc, h, vreinterpretq_s8_u8(self.quarter(high, i)))
            })
        )
    }

    #[inline(always)]
    fn nibbles_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let (al, ah) = self.nibbles(self.quarter(a, i));
                let (bl, bh) = self.nibbles(self.quarter(b, i));
                let (l, h) = (vsubq_s8(al, bl), vsubq_s8(ah, bh));
                self.products(self.products(acc[i], l, l), h, h)
            })
        )
    }

    #[inline(always)]
    fn nibbles_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        proven!(
            self,
            quarters!(i => {
                let (al, ah) = self.nibbles(self.quarter(a, i));
                let (bl, bh) = self.nibbles(self.quarter(b, i));
                let fifteen = vdupq_n_s8(15);
                let (al, ah) = (vaddq_s8(al, al), vaddq_s8(ah, ah));
                let (bl, bh) = (vaddq_s8(bl, bl), vaddq_s8(bh, bh));
                let acc = self.products(acc[i], vsubq_s8(al, fifteen), vsubq_s8(bl, fifteen));
                self.products(acc, vsubq_s8(ah, fifteen), vsubq_s8(bh, fifteen))
            })
        )
    }

    #[inline(always)]
    fn lookup_zero(self) -> Self::Lookups {
        proven!(self, [vdupq_n_u16(0); 4])
    }

    #[inline(always)]
    fn lookup(self, acc: Self::Lookups, tables: &[u8; 64], codes: &[u8; 64]) -> Self::Lookups {
        let mut acc = acc;
        for i in 0..4 {
            let (table, codes) = (self.quarter(tables, i), self.quarter(codes, i));
            proven!(self, {
                let low = vqtbl1q_u8(table, vandq_u8(codes, vdupq_n_u8(15)));
                let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(codes));
                acc[0] = vaddw_u8(acc[0], vget_low_u8(low));
                acc[1] = vaddw_high_u8(acc[1], low);
                acc[2] = vaddw_u8(acc[2], vget_low_u8(high));
                acc[3] = vaddw_high_u8(acc[3], high);
            });
        }
        acc
    }

    #[inline(always)]
    fn lookup_sums(self, acc: Self::Lookups) -> [u16; 32] {
        let mut out = [0; 32];
        let (eights, _) = out.as_chunks_mut::<8>();
        for (eight, acc) in eights.iter_mut().zip(acc) {
            let Self(()) = self;
            // SAFETY: NEON as the token proves; `eight` is 16 bytes; no alignment needed.
            unsafe { vst1q_u16(eight.as_mut_ptr(), acc) };
        }
        out
    }

    #[inline(always)]
    fn plane_zero(self) -> Self::Counts {
        proven!(self, [vdupq_n_u16(0); 2])
    }

    #[inline(always)]
    fn plane_counts(self, acc: Self::Counts, code: &[u8; 16], planes: &[u8; 64]) -> Self::Counts {
        let words = bytemuck::cast::<[u8; 16], [u64; 2]>(*code);
        let mut acc = acc;
        for i in 0..4 {
            let planes = self.quarter(planes, i);
            proven!(self, {
                let code = vreinterpretq_u8_u64(vdupq_n_u64(words[i / 2]));
                acc[i % 2] = vpadalq_u8(acc[i % 2], vcntq_u8(veorq_u8(code, planes)));
            });
        }
        acc
    }

    #[inline(always)]
    fn plane_weigh(self, acc: Self::I32, counts: Self::Counts, shift: u32) -> Self::I32 {
        let shift = shift as i32;
        let mut acc = acc;
        for i in 0..2 {
            let first = shift + 2 * i as i32;
            proven!(self, {
                let shifts = vcombine_s32(vdup_n_s32(first), vdup_n_s32(first + 1));
                let weighed = vshlq_u32(vpaddlq_u16(counts[i]), shifts);
                acc[i] = vaddq_u32(acc[i], weighed);
            });
        }
        acc
    }

    #[inline(always)]
    fn hadamard(self, block: &mut [f32; 16]) {
        self.hadamard_16(block);
    }
}
