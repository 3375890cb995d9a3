//! AVX-512 of Ice Lake and later: a logical register is one of the CPU's.
#![expect(unsafe_code, reason = "intrinsics")]

use super::{Avx2, Simd, Task};
use crate::vector::{Bf16, F16};
use std::arch::x86_64::*;

/// Proof of AVX-512 F, BW, DQ, VL, VNNI and VPOPCNTDQ, and of the sets that [`Avx2`] proves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

/// Evaluates intrinsics that work on registers only.
macro_rules! proven {
    ($token:expr, $body:expr) => {{
        let Avx512(()) = $token;
        // SAFETY: the CPU has the instructions: `Avx512::new` checked it before it made the token.
        unsafe { $body }
    }};
}

impl Avx512 {
    /// Returns the token if this CPU has the instruction sets that it proves.
    pub(crate) fn new() -> Option<Self> {
        (Avx2::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vpopcntdq"))
        .then_some(Self(()))
    }

    /// Loads 64 bytes.
    #[inline(always)]
    fn load<T: bytemuck::Pod, const N: usize>(self, from: &[T; N]) -> __m512i {
        let Self(()) = self;
        const { assert!(size_of::<[T; N]>() == 64) };
        // SAFETY: AVX-512 as the token proves; `from` is 64 readable bytes; no alignment needed.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    /// Loads 32 bytes.
    #[inline(always)]
    fn load_half<T: bytemuck::Pod>(self, from: &[T; 16]) -> __m256i {
        let Self(()) = self;
        const { assert!(size_of::<[T; 16]>() == 32) };
        // SAFETY: AVX as the token proves; `from` is 32 readable bytes; no alignment needed.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    /// Loads up to sixteen words of two bytes, then zeros.
    #[inline(always)]
    fn load_half_partial<T: bytemuck::Pod>(self, from: &[T]) -> __m256i {
        let Self(()) = self;
        const { assert!(size_of::<T>() == 2) };
        let mask = (1u32 << from.len().min(16)) - 1;
        // SAFETY: AVX-512BW and VL as the token proves; the mask selects words inside `from`, and
        // the others are not touched.
        unsafe { _mm256_maskz_loadu_epi16(mask as __mmask16, from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn widen_f16(self, halves: __m256i) -> __m512 {
        proven!(self, _mm512_cvtph_ps(halves))
    }

    #[inline(always)]
    fn widen_bf16(self, halves: __m256i) -> __m512 {
        proven!(self, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))))
    }

    #[inline(always)]
    fn flip_signs(self, a: __m512i) -> __m512i {
        proven!(self, _mm512_xor_si512(a, _mm512_set1_epi8(i8::MIN)))
    }

    /// Returns the low and high nibbles of all bytes.
    #[inline(always)]
    fn nibbles(self, codes: __m512i) -> (__m512i, __m512i) {
        proven!(self, {
            let fifteen = _mm512_set1_epi8(15);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), fifteen);
            (_mm512_and_si512(codes, fifteen), high)
        })
    }

    /// `acc + sum((a - b)^2)` over unsigned bytes. VNNI multiplies unsigned by signed bytes:
    /// `d * d = d * (d - 128) + d * 128`.
    #[inline(always)]
    fn l2(self, acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        proven!(self, {
            let difference = _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
            let least = _mm512_set1_epi8(i8::MIN);
            let excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), difference, least);
            let signed = _mm512_xor_si512(difference, least);
            _mm512_sub_epi32(_mm512_dpbusd_epi32(acc, difference, signed), excess)
        })
    }

    /// Returns sixteen sums in order, from even ones with odd ones in their upper bytes and odd ones.
    #[inline(always)]
    fn in_order(self, both: __m512i, odd: __m512i) -> [__m128i; 2] {
        proven!(self, {
            let even = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(odd));
            let even = self.add_quarters(even);
            let odd = self.add_quarters(odd);
            [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
        })
    }

    /// Returns the sum of four quarters of eight lanes of 16 bits.
    #[inline(always)]
    fn add_quarters(self, a: __m512i) -> __m128i {
        proven!(self, {
            let half =
                _mm256_add_epi16(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a));
            _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
        })
    }
}

impl Simd for Avx512 {
    type F32 = __m512;
    type I32 = __m512i;
    /// Codes 0 to 15: the even ones, with the odd ones in the upper bytes, and the odd ones; then
    /// codes 16 to 31 likewise. The four quarters of a register are to be added.
    type Lookups = [__m512i; 4];
    /// One lane of 64 bits for each plane, twice.
    type Counts = __m512i;

    const CHAINS: usize = 4;
    const FOUR_ROWS: bool = true;

    fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(
            enable = "avx2,fma,f16c,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq"
        )]
        fn inside<T: Task>(simd: Avx512, task: T) -> T::Output {
            task.run(simd)
        }
        // SAFETY: the CPU has the features: `Avx512::new` checked it before it made the token.
        unsafe { inside(self, task) }
    }

    #[inline(always)]
    fn f32_zero(self) -> Self::F32 {
        proven!(self, _mm512_setzero_ps())
    }

    #[inline(always)]
    fn f32_load(self, from: &[f32; 16]) -> Self::F32 {
        let bits = self.load(from);
        proven!(self, _mm512_castsi512_ps(bits))
    }

    #[inline(always)]
    fn f32_load_partial(self, from: &[f32]) -> Self::F32 {
        let mask = (1u32 << from.len().min(16)) - 1;
        // SAFETY: AVX-512 as the token proves; the mask selects floats inside `from`, and the
        // others are not touched.
        unsafe { _mm512_maskz_loadu_ps(mask as __mmask16, from.as_ptr()) }
    }

    #[inline(always)]
    fn f16_load(self, from: &[F16; 16]) -> Self::F32 {
        self.widen_f16(self.load_half(from))
    }

    #[inline(always)]
    fn f16_load_partial(self, from: &[F16]) -> Self::F32 {
        self.widen_f16(self.load_half_partial(from))
    }

    #[inline(always)]
    fn bf16_load(self, from: &[Bf16; 16]) -> Self::F32 {
        self.widen_bf16(self.load_half(from))
    }

    #[inline(always)]
    fn bf16_load_partial(self, from: &[Bf16]) -> Self::F32 {
        self.widen_bf16(self.load_half_partial(from))
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        proven!(self, _mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        proven!(self, _mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        proven!(self, _mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn f32_sum(self, a: Self::F32) -> f32 {
        proven!(self, {
            let high = _mm512_extractf32x8_ps::<1>(a);
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), high);
            let high = _mm256_extractf128_ps::<1>(eight);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), high);
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn f32_sum4(self, a: [Self::F32; 4]) -> [f32; 4] {
        let [a, b, c, d] = a;
        let sums = proven!(self, {
            // Quarters of sixteen bytes: first quarter + third, second + fourth, then both.
            let ab = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
            );
            let cd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(c, d),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d),
            );
            let four = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            );
            // One quarter a row now; add inside the quarters.
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
            _mm512_castps512_ps128(_mm512_maskz_compress_ps(0b0001_0001_0001_0001, one))
        });
        bytemuck::cast(sums)
    }

    #[inline(always)]
    fn i32_zero(self) -> Self::I32 {
        proven!(self, _mm512_setzero_si512())
    }

    #[inline(always)]
    fn i32_add(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        proven!(self, _mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn i32_sum(self, a: Self::I32) -> i32 {
        proven!(self, _mm512_reduce_add_epi32(a))
    }

    #[inline(always)]
    fn i32_sum4(self, a: [Self::I32; 4]) -> [i32; 4] {
        let [a, b, c, d] = a;
        let sums = proven!(self, {
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            // In every quarter: a, b, c, d.
            let quarters =
                _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let high = _mm512_extracti64x4_epi64::<1>(quarters);
            let two = _mm256_add_epi32(_mm512_castsi512_si256(quarters), high);
            _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
        });
        bytemuck::cast(sums)
    }

    #[inline(always)]
    fn u8_pad(self, from: &[u8]) -> [u8; 64] {
        let mask = u64::MAX.checked_shr(64 - from.len().min(64) as u32).unwrap_or(0);
        // SAFETY: AVX-512BW as the token proves; the mask selects bytes inside `from`, and the
        // others are not touched.
        let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().cast()) };
        let mut padded = [0; 64];
        // SAFETY: AVX-512 as the token proves; `padded` is 64 bytes; no alignment needed.
        unsafe { _mm512_storeu_si512(padded.as_mut_ptr().cast(), bytes) };
        padded
    }

    #[inline(always)]
    fn u8_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        self.l2(acc, self.load(a), self.load(b))
    }

    /// VNNI multiplies unsigned by signed bytes: `a * b = a * (b - 128) + a * 128`.
    #[inline(always)]
    fn u8_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let (a, b) = (self.load(a), self.flip_signs(self.load(b)));
        proven!(self, {
            let excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), a, _mm512_set1_epi8(i8::MIN));
            _mm512_sub_epi32(_mm512_dpbusd_epi32(acc, a, b), excess)
        })
    }

    /// Flipped signs turn `i8` into `u8` of the same differences.
    #[inline(always)]
    fn i8_l2(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        self.l2(acc, self.flip_signs(self.load(a)), self.flip_signs(self.load(b)))
    }

    /// VNNI multiplies unsigned by signed bytes: `a * b = (b + 128) * a - 128 * a`.
    #[inline(always)]
    fn i8_dot(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        let (a, b) = (self.load(a), self.flip_signs(self.load(b)));
        proven!(self, {
            let excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(i8::MIN), a);
            _mm512_sub_epi32(_mm512_dpbusd_epi32(acc, b, a), excess)
        })
    }

    #[inline(always)]
    fn hamming(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let (a, b) = (self.load(a), self.load(b));
        proven!(self, _mm512_add_epi32(acc, _mm512_popcnt_epi32(_mm512_xor_si512(a, b))))
    }

    #[inline(always)]
    fn nibble_l2(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        let (low, high, codes) = (self.load(low), self.load(high), self.load(codes));
        proven!(self, {
            let fours = _mm512_set1_epi8(0x3c);
            let l = _mm512_and_si512(_mm512_slli_epi16::<2>(codes), fours);
            let h = _mm512_and_si512(_mm512_srli_epi16::<2>(codes), fours);
            let acc = _mm512_dpbusd_epi32(acc, l, _mm512_sub_epi8(l, low));
            _mm512_dpbusd_epi32(acc, h, _mm512_sub_epi8(h, high))
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
        let (low, high, codes) = (self.load(low), self.load(high), self.load(codes));
        let (l, h) = self.nibbles(codes);
        proven!(self, _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(acc, l, low), h, high))
    }

    #[inline(always)]
    fn nibbles_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let ((al, ah), (bl, bh)) = (self.nibbles(self.load(a)), self.nibbles(self.load(b)));
        proven!(self, {
            let l = _mm512_abs_epi8(_mm512_sub_epi8(al, bl));
            let h = _mm512_abs_epi8(_mm512_sub_epi8(ah, bh));
            _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(acc, l, l), h, h)
        })
    }

    /// `(2 a - 15) c = 2 a c - 15 c`, where `c = 2 b - 15`.
    #[inline(always)]
    fn nibbles_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let ((al, ah), (bl, bh)) = (self.nibbles(self.load(a)), self.nibbles(self.load(b)));
        proven!(self, {
            let fifteen = _mm512_set1_epi8(15);
            let cl = _mm512_sub_epi8(_mm512_add_epi8(bl, bl), fifteen);
            let ch = _mm512_sub_epi8(_mm512_add_epi8(bh, bh), fifteen);
            let acc = _mm512_dpbusd_epi32(acc, _mm512_add_epi8(al, al), cl);
            let acc = _mm512_dpbusd_epi32(acc, _mm512_add_epi8(ah, ah), ch);
            let excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), fifteen, cl);
            _mm512_sub_epi32(acc, _mm512_dpbusd_epi32(excess, fifteen, ch))
        })
    }

    #[inline(always)]
    fn lookup_zero(self) -> Self::Lookups {
        proven!(self, [_mm512_setzero_si512(); 4])
    }

    #[inline(always)]
    fn lookup(self, acc: Self::Lookups, tables: &[u8; 64], codes: &[u8; 64]) -> Self::Lookups {
        let (tables, codes) = (self.load(tables), self.load(codes));
        proven!(self, {
            let nibble = _mm512_set1_epi8(15);
            let low = _mm512_shuffle_epi8(tables, _mm512_and_si512(codes, nibble));
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            let high = _mm512_shuffle_epi8(tables, high);
            [
                _mm512_add_epi16(acc[0], low),
                _mm512_add_epi16(acc[1], _mm512_srli_epi16::<8>(low)),
                _mm512_add_epi16(acc[2], high),
                _mm512_add_epi16(acc[3], _mm512_srli_epi16::<8>(high)),
            ]
        })
    }

    #[inline(always)]
    fn lookup_sums(self, acc: Self::Lookups) -> [u16; 32] {
        let [low, high] = [self.in_order(acc[0], acc[1]), self.in_order(acc[2], acc[3])];
        bytemuck::cast([low[0], low[1], high[0], high[1]])
    }

    #[inline(always)]
    fn plane_zero(self) -> Self::Counts {
        proven!(self, _mm512_setzero_si512())
    }

    #[inline(always)]
    fn plane_counts(self, acc: Self::Counts, code: &[u8; 16], planes: &[u8; 64]) -> Self::Counts {
        let planes = self.load(planes);
        let code = bytemuck::cast::<[u8; 16], __m128i>(*code);
        proven!(self, {
            let each = _mm512_setr_epi64(0, 0, 0, 0, 1, 1, 1, 1);
            let code = _mm512_permutexvar_epi64(each, _mm512_castsi128_si512(code));
            _mm512_add_epi64(acc, _mm512_popcnt_epi64(_mm512_xor_si512(code, planes)))
        })
    }

    #[inline(always)]
    fn plane_weigh(self, acc: Self::I32, counts: Self::Counts, shift: u32) -> Self::I32 {
        proven!(self, {
            let shifts = _mm512_setr_epi64(0, 1, 2, 3, 0, 1, 2, 3);
            let shifts = _mm512_add_epi64(shifts, _mm512_set1_epi64(i64::from(shift)));
            _mm512_add_epi32(acc, _mm512_sllv_epi64(counts, shifts))
        })
    }

    #[inline(always)]
    fn hadamard(self, block: &mut [f32; 16]) {
        self.hadamard_16(block);
    }
}
