//! AVX2 with FMA: a logical register is two of 32 bytes.
#![expect(unsafe_code, reason = "intrinsics")]

use super::{Simd, Task};
use crate::vector::{Bf16, F16};
use std::arch::x86_64::*;

/// Proof of AVX2, FMA, F16C and POPCNT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

/// Evaluates intrinsics that work on registers only.
macro_rules! proven {
    ($token:expr, $body:expr) => {{
        let Avx2(()) = $token;
        // SAFETY: the CPU has the instructions: `Avx2::new` checked it before it made the token.
        unsafe { $body }
    }};
}

mod nibbles;

impl Avx2 {
    /// Returns the token if this CPU has the instruction sets that it proves.
    pub(crate) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("popcnt"))
        .then_some(Self(()))
    }

    /// Loads 32 bytes from the first or the second half of a register's worth.
    #[inline(always)]
    fn half<T: bytemuck::Pod, const N: usize>(self, from: &[T; N], second: bool) -> __m256i {
        let Self(()) = self;
        const { assert!(size_of::<[T; N]>() == 64) };
        let at = from.as_ptr().cast::<__m256i>().wrapping_add(usize::from(second));
        // SAFETY: AVX as the token proves; `from` is 64 bytes, of which these are the first or
        // the last 32; the load needs no alignment.
        unsafe { _mm256_loadu_si256(at) }
    }

    /// Loads 16 bytes, the first or the second half of `from`.
    #[inline(always)]
    fn quarter<T: bytemuck::Pod>(self, from: &[T; 16], second: bool) -> __m128i {
        let Self(()) = self;
        const { assert!(size_of::<[T; 16]>() == 32) };
        let at = from.as_ptr().cast::<__m128i>().wrapping_add(usize::from(second));
        // SAFETY: SSE2 is in every x86-64; `from` is 32 bytes, of which these are the first or the
        // last 16; the load needs no alignment.
        unsafe { _mm_loadu_si128(at) }
    }

    /// Loads up to 64 bytes, then zeros. Four bytes at a time are loaded under a mask; the last one to
    /// three are gathered, because a buffer on the stack would have to wait for its own stores.
    #[inline(always)]
    fn partial(self, from: &[u8]) -> [__m256i; 2] {
        let from = &from[..from.len().min(64)];
        let (words, rest) = from.as_chunks::<4>();
        let mut last = 0;
        for &byte in rest.iter().rev() {
            last = last << 8 | i32::from(byte);
        }
        let low = from.as_ptr();
        let high = low.wrapping_add(32);
        let (count, last, low_lanes, high_lanes) = proven!(self, {
            (
                _mm256_set1_epi32(words.len() as i32),
                _mm256_set1_epi32(last),
                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15),
            )
        });
        // SAFETY: `low` is the address of word 0 of `from`, and `high` that of word 8 if `from` has it.
        let halves =
            unsafe { [self.words(low, low_lanes, count), self.words(high, high_lanes, count)] };
        proven!(self, {
            let last_low = _mm256_and_si256(last, _mm256_cmpeq_epi32(count, low_lanes));
            let last_high = _mm256_and_si256(last, _mm256_cmpeq_epi32(count, high_lanes));
            [_mm256_or_si256(halves[0], last_low), _mm256_or_si256(halves[1], last_high)]
        })
    }

    /// Loads the words of four bytes whose numbers, in `lanes`, are less than `count`; zeros instead
    /// of the others.
    ///
    /// # Safety
    ///
    /// The words with numbers below `count` must be readable; `at` is the address of the first of `lanes`.
    #[inline(always)]
    unsafe fn words(self, at: *const u8, lanes: __m256i, count: __m256i) -> __m256i {
        let mask = proven!(self, _mm256_cmpgt_epi32(count, lanes));
        // SAFETY: AVX2 as the token proves; the mask selects words that the caller guarantees are
        // readable, and the load does not touch the others.
        unsafe { _mm256_maskload_epi32(at.cast(), mask) }
    }

    /// Loads up to sixteen words of two bytes, then zeros.
    #[inline(always)]
    fn partial_quarters<T: bytemuck::Pod>(self, from: &[T]) -> [__m128i; 2] {
        const { assert!(size_of::<T>() == 2) };
        let [half, _] = self.partial(bytemuck::cast_slice(&from[..from.len().min(16)]));
        proven!(self, [_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half)])
    }

    #[inline(always)]
    fn widen_bf16(self, halves: __m128i) -> __m256 {
        proven!(self, {
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        })
    }

    /// Returns `acc` plus the squares of sixteen-bit differences, added in pairs.
    #[inline(always)]
    fn l2(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        proven!(self, {
            let zero = _mm256_setzero_si256();
            let difference = _mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
            let low = _mm256_unpacklo_epi8(difference, zero);
            let high = _mm256_unpackhi_epi8(difference, zero);
            let squares =
                _mm256_add_epi32(_mm256_madd_epi16(low, low), _mm256_madd_epi16(high, high));
            _mm256_add_epi32(acc, squares)
        })
    }

    #[inline(always)]
    fn u8_products(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        proven!(self, {
            let zero = _mm256_setzero_si256();
            let low =
                _mm256_madd_epi16(_mm256_unpacklo_epi8(a, zero), _mm256_unpacklo_epi8(b, zero));
            let high =
                _mm256_madd_epi16(_mm256_unpackhi_epi8(a, zero), _mm256_unpackhi_epi8(b, zero));
            _mm256_add_epi32(acc, _mm256_add_epi32(low, high))
        })
    }

    /// Bytes are widened by moving each to the top of sixteen bits and shifting it down again.
    #[inline(always)]
    fn i8_products(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        proven!(self, {
            let even_a = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a));
            let even_b = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b));
            let odd_a = _mm256_srai_epi16::<8>(a);
            let odd_b = _mm256_srai_epi16::<8>(b);
            let even = _mm256_madd_epi16(even_a, even_b);
            let odd = _mm256_madd_epi16(odd_a, odd_b);
            _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
        })
    }

    /// Bits set in `a ^ b`, counted nibble by nibble in a table (Mula's method), one sum for each
    /// 64 bits.
    #[inline(always)]
    fn differing_bits(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        proven!(self, {
            let counts = _mm256_setr_epi8(
                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
            );
            let nibble = _mm256_set1_epi8(15);
            let bits = _mm256_xor_si256(a, b);
            let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(bits, nibble));
            let high = _mm256_srli_epi16::<4>(bits);
            let high = _mm256_shuffle_epi8(counts, _mm256_and_si256(high, nibble));
            let bytes = _mm256_add_epi8(low, high);
            _mm256_add_epi32(acc, _mm256_sad_epu8(bytes, _mm256_setzero_si256()))
        })
    }

    /// Computes one half of [`Simd::lookup`]: two tables and the bytes chosen from them.
    #[inline(always)]
    fn choose(self, acc: [__m256i; 4], tables: __m256i, codes: __m256i) -> [__m256i; 4] {
        proven!(self, {
            let nibble = _mm256_set1_epi8(15);
            let low = _mm256_shuffle_epi8(tables, _mm256_and_si256(codes, nibble));
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
            let high = _mm256_shuffle_epi8(tables, high);
            [
                _mm256_add_epi16(acc[0], low),
                _mm256_add_epi16(acc[1], _mm256_srli_epi16::<8>(low)),
                _mm256_add_epi16(acc[2], high),
                _mm256_add_epi16(acc[3], _mm256_srli_epi16::<8>(high)),
            ]
        })
    }

    /// Returns sixteen sums in order, from even ones with odd ones in their upper bytes and odd ones.
    #[inline(always)]
    fn in_order(self, both: __m256i, odd: __m256i) -> [__m128i; 2] {
        proven!(self, {
            let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
            let even =
                _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256::<1>(even));
            let odd =
                _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256::<1>(odd));
            [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
        })
    }

    #[inline(always)]
    fn flip_signs(self, a: __m256i) -> __m256i {
        proven!(self, _mm256_xor_si256(a, _mm256_set1_epi8(i8::MIN)))
    }
}

impl Simd for Avx2 {
    type F32 = [__m256; 2];
    type I32 = [__m256i; 2];
    /// Codes 0 to 15: the even ones, with the odd ones in the upper bytes, and the odd ones; then
    /// codes 16 to 31 likewise. The two halves of a register are to be added.
    type Lookups = [__m256i; 4];
    /// One lane of 64 bits for each plane.
    type Counts = __m256i;

    const CHAINS: usize = 4;
    const FOUR_ROWS: bool = false;

    fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx2,fma,f16c,popcnt")]
        fn inside<T: Task>(simd: Avx2, task: T) -> T::Output {
            task.run(simd)
        }
        // SAFETY: the CPU has the features: `Avx2::new` checked it before it made the token.
        unsafe { inside(self, task) }
    }

    #[inline(always)]
    fn f32_zero(self) -> Self::F32 {
        proven!(self, [_mm256_setzero_ps(); 2])
    }

    #[inline(always)]
    fn f32_load(self, from: &[f32; 16]) -> Self::F32 {
        let halves = [self.half(from, false), self.half(from, true)];
        proven!(self, [_mm256_castsi256_ps(halves[0]), _mm256_castsi256_ps(halves[1])])
    }

    #[inline(always)]
    fn f32_load_partial(self, from: &[f32]) -> Self::F32 {
        let halves = self.partial(bytemuck::cast_slice(&from[..from.len().min(16)]));
        proven!(self, [_mm256_castsi256_ps(halves[0]), _mm256_castsi256_ps(halves[1])])
    }

    #[inline(always)]
    fn f16_load(self, from: &[F16; 16]) -> Self::F32 {
        let halves = [self.quarter(from, false), self.quarter(from, true)];
        proven!(self, [_mm256_cvtph_ps(halves[0]), _mm256_cvtph_ps(halves[1])])
    }

    #[inline(always)]
    fn f16_load_partial(self, from: &[F16]) -> Self::F32 {
        let quarters = self.partial_quarters(from);
        proven!(self, [_mm256_cvtph_ps(quarters[0]), _mm256_cvtph_ps(quarters[1])])
    }

    #[inline(always)]
    fn bf16_load(self, from: &[Bf16; 16]) -> Self::F32 {
        [self.widen_bf16(self.quarter(from, false)), self.widen_bf16(self.quarter(from, true))]
    }

    #[inline(always)]
    fn bf16_load_partial(self, from: &[Bf16]) -> Self::F32 {
        let quarters = self.partial_quarters(from);
        [self.widen_bf16(quarters[0]), self.widen_bf16(quarters[1])]
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        proven!(self, [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        proven!(self, [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        proven!(self, [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }

    #[inline(always)]
    fn f32_sum(self, a: Self::F32) -> f32 {
        proven!(self, {
            let eight = _mm256_add_ps(a[0], a[1]);
            let pairs = _mm256_hadd_ps(eight, eight);
            let fours = _mm256_hadd_ps(pairs, pairs);
            let high = _mm256_extractf128_ps::<1>(fours);
            _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), high))
        })
    }

    #[inline(always)]
    fn f32_sum4(self, a: [Self::F32; 4]) -> [f32; 4] {
        let sums = proven!(self, {
            let ab =
                _mm256_hadd_ps(_mm256_add_ps(a[0][0], a[0][1]), _mm256_add_ps(a[1][0], a[1][1]));
            let cd =
                _mm256_hadd_ps(_mm256_add_ps(a[2][0], a[2][1]), _mm256_add_ps(a[3][0], a[3][1]));
            let fours = _mm256_hadd_ps(ab, cd);
            let high = _mm256_extractf128_ps::<1>(fours);
            _mm_add_ps(_mm256_castps256_ps128(fours), high)
        });
        bytemuck::cast(sums)
    }

    #[inline(always)]
    fn i32_zero(self) -> Self::I32 {
        proven!(self, [_mm256_setzero_si256(); 2])
    }

    #[inline(always)]
    fn i32_add(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        proven!(self, [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])])
    }

    #[inline(always)]
    fn i32_sum(self, a: Self::I32) -> i32 {
        proven!(self, {
            let eight = _mm256_add_epi32(a[0], a[1]);
            let high = _mm256_extracti128_si256::<1>(eight);
            let four = _mm_add_epi32(_mm256_castsi256_si128(eight), high);
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            _mm_cvtsi128_si32(one)
        })
    }

    #[inline(always)]
    fn i32_sum4(self, a: [Self::I32; 4]) -> [i32; 4] {
        let sums = proven!(self, {
            let ab = _mm256_hadd_epi32(
                _mm256_add_epi32(a[0][0], a[0][1]),
                _mm256_add_epi32(a[1][0], a[1][1]),
            );
            let cd = _mm256_hadd_epi32(
                _mm256_add_epi32(a[2][0], a[2][1]),
                _mm256_add_epi32(a[3][0], a[3][1]),
            );
            let fours = _mm256_hadd_epi32(ab, cd);
            let high = _mm256_extracti128_si256::<1>(fours);
            _mm_add_epi32(_mm256_castsi256_si128(fours), high)
        });
        bytemuck::cast(sums)
    }

    #[inline(always)]
    fn u8_pad(self, from: &[u8]) -> [u8; 64] {
        let halves = self.partial(from);
        let mut padded = [0; 64];
        let (low, high) = padded.split_at_mut(32);
        // SAFETY: AVX as the token proves; `low` is 32 bytes; the store needs no alignment.
        unsafe { _mm256_storeu_si256(low.as_mut_ptr().cast(), halves[0]) };
        // SAFETY: the same, `high` being the other 32 of 64 bytes.
        unsafe { _mm256_storeu_si256(high.as_mut_ptr().cast(), halves[1]) };
        padded
    }

    #[inline(always)]
    fn u8_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        [
            self.l2(acc[0], self.half(a, false), self.half(b, false)),
            self.l2(acc[1], self.half(a, true), self.half(b, true)),
        ]
    }

    #[inline(always)]
    fn u8_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        [
            self.u8_products(acc[0], self.half(a, false), self.half(b, false)),
            self.u8_products(acc[1], self.half(a, true), self.half(b, true)),
        ]
    }

    /// Flipped signs turn `i8` into `u8` of the same differences.
    #[inline(always)]
    fn i8_l2(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        let (a0, a1) = (self.half(a, false), self.half(a, true));
        let (b0, b1) = (self.half(b, false), self.half(b, true));
        [
            self.l2(acc[0], self.flip_signs(a0), self.flip_signs(b0)),
            self.l2(acc[1], self.flip_signs(a1), self.flip_signs(b1)),
        ]
    }

    #[inline(always)]
    fn i8_dot(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        [
            self.i8_products(acc[0], self.half(a, false), self.half(b, false)),
            self.i8_products(acc[1], self.half(a, true), self.half(b, true)),
        ]
    }

    #[inline(always)]
    fn hamming(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        [
            self.differing_bits(acc[0], self.half(a, false), self.half(b, false)),
            self.differing_bits(acc[1], self.half(a, true), self.half(b, true)),
        ]
    }

    #[inline(always)]
    fn nibble_l2(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        let first = self.half_nibble_l2(low, high, codes, false);
        let second = self.half_nibble_l2(low, high, codes, true);
        let sum = proven!(self, {
            let fours = _mm256_add_epi16(first, second);
            _mm256_add_epi32(acc[0], _mm256_madd_epi16(fours, _mm256_set1_epi16(1)))
        });
        [sum, acc[1]]
    }

    #[inline(always)]
    fn nibble_dot(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        [
            self.half_nibble_dot(acc[0], low, high, codes, false),
            self.half_nibble_dot(acc[1], low, high, codes, true),
        ]
    }

    #[inline(always)]
    fn nibbles_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        [self.half_nibbles_l2(acc[0], a, b, false), self.half_nibbles_l2(acc[1], a, b, true)]
    }

    #[inline(always)]
    fn nibbles_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        [self.half_nibbles_dot(acc[0], a, b, false), self.half_nibbles_dot(acc[1], a, b, true)]
    }

    #[inline(always)]
    fn lookup_zero(self) -> Self::Lookups {
        proven!(self, [_mm256_setzero_si256(); 4])
    }

    #[inline(always)]
    fn lookup(self, acc: Self::Lookups, tables: &[u8; 64], codes: &[u8; 64]) -> Self::Lookups {
        let first = self.choose(acc, self.half(tables, false), self.half(codes, false));
        self.choose(first, self.half(tables, true), self.half(codes, true))
    }

    #[inline(always)]
    fn lookup_sums(self, acc: Self::Lookups) -> [u16; 32] {
        let [low, high] = [self.in_order(acc[0], acc[1]), self.in_order(acc[2], acc[3])];
        bytemuck::cast([low[0], low[1], high[0], high[1]])
    }

    #[inline(always)]
    fn plane_zero(self) -> Self::Counts {
        proven!(self, _mm256_setzero_si256())
    }

    #[inline(always)]
    fn plane_counts(self, acc: Self::Counts, code: &[u8; 16], planes: &[u8; 64]) -> Self::Counts {
        let [low, high] = bytemuck::cast::<[u8; 16], [i64; 2]>(*code);
        let [low, high] = proven!(self, [_mm256_set1_epi64x(low), _mm256_set1_epi64x(high)]);
        let first = self.differing_bits(acc, low, self.half(planes, false));
        self.differing_bits(first, high, self.half(planes, true))
    }

    #[inline(always)]
    fn plane_weigh(self, acc: Self::I32, counts: Self::Counts, shift: u32) -> Self::I32 {
        let weighed = proven!(self, {
            let shifts = _mm256_setr_epi64x(0, 1, 2, 3);
            let shifts = _mm256_add_epi64(shifts, _mm256_set1_epi64x(i64::from(shift)));
            _mm256_sllv_epi64(counts, shifts)
        });
        [proven!(self, _mm256_add_epi32(acc[0], weighed)), acc[1]]
    }

    #[inline(always)]
    fn hadamard(self, block: &mut [f32; 16]) {
        self.hadamard_16(block);
    }
}
