//! Codes of four bits: halves of a register, multiplied as bytes and added in pairs.
#![expect(unsafe_code, reason = "intrinsics")]

use super::Avx2;
use std::arch::x86_64::*;

impl Avx2 {
    /// Returns the low and high nibbles of all bytes.
    #[inline(always)]
    fn nibbles(self, codes: __m256i) -> (__m256i, __m256i) {
        proven!(self, {
            let fifteen = _mm256_set1_epi8(15);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), fifteen);
            (_mm256_and_si256(codes, fifteen), high)
        })
    }

    /// `acc + sum(a * b)` over unsigned `a` and signed `b`, where two neighbouring products never
    /// leave 16 bits.
    #[inline(always)]
    fn small_products(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        proven!(self, {
            let pairs = _mm256_maddubs_epi16(a, b);
            _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        })
    }

    /// `acc + sum(a^2)` over signed bytes of magnitude 127 at most.
    #[inline(always)]
    fn square_small(self, acc: __m256i, a: __m256i) -> __m256i {
        let magnitude = proven!(self, _mm256_abs_epi8(a));
        self.small_products(acc, magnitude, magnitude)
    }

    /// Returns one half of [`Simd::nibble_l2`], as sixteen sums of four products. A product is at most 3840, because a large first
    /// factor makes the second one small, so two such sums fit 16 bits.
    #[inline(always)]
    pub(super) fn half_nibble_l2(
        self,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
        second: bool,
    ) -> __m256i {
        let codes = self.half(codes, second);
        proven!(self, {
            let fours = _mm256_set1_epi8(0x3c);
            let l = _mm256_and_si256(_mm256_slli_epi16::<2>(codes), fours);
            let h = _mm256_and_si256(_mm256_srli_epi16::<2>(codes), fours);
            let low = _mm256_maddubs_epi16(l, _mm256_sub_epi8(l, self.half(low, second)));
            let high = _mm256_maddubs_epi16(h, _mm256_sub_epi8(h, self.half(high, second)));
            _mm256_add_epi16(low, high)
        })
    }

    #[inline(always)]
    pub(super) fn half_nibble_dot(
        self,
        acc: __m256i,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
        second: bool,
    ) -> __m256i {
        let (l, h) = self.nibbles(self.half(codes, second));
        let acc = self.small_products(acc, l, self.half(low, second));
        self.small_products(acc, h, self.half(high, second))
    }

    #[inline(always)]
    pub(super) fn half_nibbles_l2(
        self,
        acc: __m256i,
        a: &[u8; 64],
        b: &[u8; 64],
        second: bool,
    ) -> __m256i {
        let (al, ah) = self.nibbles(self.half(a, second));
        let (bl, bh) = self.nibbles(self.half(b, second));
        let (l, h) = proven!(self, (_mm256_sub_epi8(al, bl), _mm256_sub_epi8(ah, bh)));
        self.square_small(self.square_small(acc, l), h)
    }

    /// `(2 a - 15) c = 2 a c - 15 c`, where `c = 2 b - 15`.
    #[inline(always)]
    pub(super) fn half_nibbles_dot(
        self,
        acc: __m256i,
        a: &[u8; 64],
        b: &[u8; 64],
        second: bool,
    ) -> __m256i {
        let (al, ah) = self.nibbles(self.half(a, second));
        let (bl, bh) = self.nibbles(self.half(b, second));
        proven!(self, {
            let fifteen = _mm256_set1_epi8(15);
            let cl = _mm256_sub_epi8(_mm256_add_epi8(bl, bl), fifteen);
            let ch = _mm256_sub_epi8(_mm256_add_epi8(bh, bh), fifteen);
            let acc = self.small_products(acc, _mm256_add_epi8(al, al), cl);
            let acc = self.small_products(acc, _mm256_add_epi8(ah, ah), ch);
            let zero = _mm256_setzero_si256();
            let excess = self.small_products(zero, fifteen, cl);
            _mm256_sub_epi32(acc, self.small_products(excess, fifteen, ch))
        })
    }
}
