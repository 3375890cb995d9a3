//! The Walsh-Hadamard transform of sixteen floats in registers: sums and differences of neighbours, then of neighbours by
//! two, four and eight. Each number is added to, or subtracted from, its partner in the same order on every
//! instruction set, so that the results have the same bits.
#![cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(unsafe_code, reason = "intrinsics")
)]

#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "aarch64")]
use super::Neon;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;

/// Transforms a block in plain Rust.
#[inline(always)]
pub(super) fn plain(block: &mut [f32; 16]) {
    for half in [1, 2, 4, 8] {
        let mut i = 0;
        while i < 16 {
            for j in i..i + half {
                let (a, b) = (block[j], block[j + half]);
                block[j] = a + b;
                block[j + half] = a - b;
            }
            i += 2 * half;
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Transforms both halves of a register in turn. In each pair, the first number is added to its partner, and the second one,
    /// whose sign is in `minus`, is subtracted from its.
    #[inline(always)]
    pub(super) fn hadamard_16(self, block: &mut [f32; 16]) {
        let at = block.as_mut_ptr();
        // SAFETY: AVX2 as the token proves; `block` is 64 bytes, and each load and store takes one half of it; no alignment
        // needed.
        unsafe {
            let (low, high) = (_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)));
            let (low, high) = (self.hadamard_8(low), self.hadamard_8(high));
            _mm256_storeu_ps(at, _mm256_add_ps(low, high));
            _mm256_storeu_ps(at.add(8), _mm256_sub_ps(low, high));
        }
    }

    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    fn hadamard_8(self, x: __m256) -> __m256 {
        // SAFETY: AVX2 as the token proves; registers only.
        unsafe {
            let minus = _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0);
            let partner = _mm256_permute_ps::<0b10_11_00_01>(x);
            let x = _mm256_add_ps(partner, _mm256_xor_ps(x, minus));
            let minus = _mm256_setr_ps(0.0, 0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0);
            let partner = _mm256_permute_ps::<0b01_00_11_10>(x);
            let x = _mm256_add_ps(partner, _mm256_xor_ps(x, minus));
            let minus = _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, -0.0);
            let partner = _mm256_permute2f128_ps::<1>(x, x);
            _mm256_add_ps(partner, _mm256_xor_ps(x, minus))
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    pub(super) fn hadamard_16(self, block: &mut [f32; 16]) {
        let at = block.as_mut_ptr();
        // SAFETY: AVX-512 as the token proves; `block` is 64 bytes; no alignment needed.
        unsafe {
            let x = _mm512_loadu_ps(at);
            let partner = _mm512_permute_ps::<0b10_11_00_01>(x);
            let x = _mm512_mask_sub_ps(_mm512_add_ps(partner, x), 0xaaaa, partner, x);
            let partner = _mm512_permute_ps::<0b01_00_11_10>(x);
            let x = _mm512_mask_sub_ps(_mm512_add_ps(partner, x), 0xcccc, partner, x);
            let partner = _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x);
            let x = _mm512_mask_sub_ps(_mm512_add_ps(partner, x), 0xf0f0, partner, x);
            let partner = _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x);
            let x = _mm512_mask_sub_ps(_mm512_add_ps(partner, x), 0xff00, partner, x);
            _mm512_storeu_ps(at, x);
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl Neon {
    #[inline(always)]
    pub(super) fn hadamard_16(self, block: &mut [f32; 16]) {
        let at = block.as_mut_ptr();
        // SAFETY: NEON as the token proves; `block` is 64 bytes, of which each load and store takes a quarter; no
        // alignment needed.
        unsafe {
            let a = self.hadamard_4(vld1q_f32(at));
            let b = self.hadamard_4(vld1q_f32(at.add(4)));
            let c = self.hadamard_4(vld1q_f32(at.add(8)));
            let d = self.hadamard_4(vld1q_f32(at.add(12)));
            let (a, b) = (vaddq_f32(a, b), vsubq_f32(a, b));
            let (c, d) = (vaddq_f32(c, d), vsubq_f32(c, d));
            vst1q_f32(at, vaddq_f32(a, c));
            vst1q_f32(at.add(4), vaddq_f32(b, d));
            vst1q_f32(at.add(8), vsubq_f32(a, c));
            vst1q_f32(at.add(12), vsubq_f32(b, d));
        }
    }

    #[expect(clippy::unused_self, reason = "the proof")]
    #[inline(always)]
    fn hadamard_4(self, x: float32x4_t) -> float32x4_t {
        // SAFETY: NEON as the token proves; registers only.
        unsafe {
            let (first, second) = (vuzp1q_f32(x, x), vuzp2q_f32(x, x));
            let x = vzip1q_f32(vaddq_f32(first, second), vsubq_f32(first, second));
            let (low, high) = (
                vcombine_f32(vget_low_f32(x), vget_low_f32(x)),
                vcombine_f32(vget_high_f32(x), vget_high_f32(x)),
            );
            vcombine_f32(vget_low_f32(vaddq_f32(low, high)), vget_low_f32(vsubq_f32(low, high)))
        }
    }
}
