//! Plain Rust, in shapes that the compiler turns into the vectors of the base architecture.
//!
//! Operations of many instructions are functions that the compiler does not inline: a copy in each of a hundred kernels made up a fourth of
//! a program, and CPUs that have no vector instructions are rare.

use super::{Simd, Task, padded};
use crate::vector::{Bf16, F16};
use std::array::from_fn;

/// Proof of nothing: every CPU runs plain Rust.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar(());

impl Scalar {
    /// Returns the token.
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// `acc + sum(term(a, b))`, sixteen lanes of four bytes each.
    #[inline(always)]
    fn pairs<T: Copy, U: Copy>(
        acc: [i32; 16],
        a: &[T; 64],
        b: &[U; 64],
        term: impl Fn(T, U) -> i32,
    ) -> [i32; 16] {
        let mut acc = acc;
        for start in [0, 16, 32, 48] {
            for lane in 0..16 {
                let product = term(a[start + lane], b[start + lane]);
                acc[lane] = acc[lane].wrapping_add(product);
            }
        }
        acc
    }
}

impl Simd for Scalar {
    type F32 = [f32; 16];
    type I32 = [i32; 16];
    type Lookups = [u16; 32];
    type Counts = [u32; 4];

    const CHAINS: usize = 1;
    const FOUR_ROWS: bool = false;

    fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }

    #[inline(always)]
    fn f32_zero(self) -> Self::F32 {
        [0.0; 16]
    }

    #[inline(always)]
    fn f32_load(self, from: &[f32; 16]) -> Self::F32 {
        *from
    }

    #[inline(never)]
    fn f32_load_partial(self, from: &[f32]) -> Self::F32 {
        padded(from)
    }

    #[inline(never)]
    fn f16_load(self, from: &[F16; 16]) -> Self::F32 {
        from.map(F16::to_f32)
    }

    #[inline(never)]
    fn f16_load_partial(self, from: &[F16]) -> Self::F32 {
        self.f16_load(&padded(from))
    }

    #[inline(never)]
    fn bf16_load(self, from: &[Bf16; 16]) -> Self::F32 {
        from.map(Bf16::to_f32)
    }

    #[inline(never)]
    fn bf16_load_partial(self, from: &[Bf16]) -> Self::F32 {
        self.bf16_load(&padded(from))
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|i| a[i] - b[i])
    }

    /// Multiplies and adds without `f32::mul_add`, which is a call of the mathematical library if the CPU lacks the instruction.
    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(never)]
    fn f32_sum(self, a: Self::F32) -> f32 {
        let mut sums = a;
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
        }
        sums[0]
    }

    #[inline(never)]
    fn f32_sum4(self, a: [Self::F32; 4]) -> [f32; 4] {
        a.map(|a| self.f32_sum(a))
    }

    #[inline(always)]
    fn i32_zero(self) -> Self::I32 {
        [0; 16]
    }

    #[inline(always)]
    fn i32_add(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(never)]
    fn i32_sum(self, a: Self::I32) -> i32 {
        a.into_iter().fold(0, i32::wrapping_add)
    }

    #[inline(never)]
    fn i32_sum4(self, a: [Self::I32; 4]) -> [i32; 4] {
        a.map(|a| self.i32_sum(a))
    }

    #[inline(never)]
    fn u8_pad(self, from: &[u8]) -> [u8; 64] {
        padded(from)
    }

    #[inline(never)]
    fn u8_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        Self::pairs(acc, a, b, |a, b| {
            let difference = i32::from(i16::from(a) - i16::from(b));
            difference * difference
        })
    }

    #[inline(never)]
    fn u8_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        Self::pairs(acc, a, b, |a, b| i32::from(a) * i32::from(b))
    }

    #[inline(never)]
    fn i8_l2(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        Self::pairs(acc, a, b, |a, b| {
            let difference = i32::from(i16::from(a) - i16::from(b));
            difference * difference
        })
    }

    #[inline(never)]
    fn i8_dot(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32 {
        Self::pairs(acc, a, b, |a, b| i32::from(a) * i32::from(b))
    }

    #[inline(never)]
    fn hamming(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let mut acc = acc;
        let (a, _) = a.as_chunks::<8>();
        let (b, _) = b.as_chunks::<8>();
        for ((a, b), lane) in a.iter().zip(b).zip(&mut acc) {
            let differing = (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).count_ones();
            *lane = lane.wrapping_add(differing as i32);
        }
        acc
    }

    #[inline(never)]
    fn nibble_l2(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        let product = |query: i8, four: u8| {
            let four = i16::from(four);
            i32::from(four) * i32::from(four - i16::from(query))
        };
        let acc = Self::pairs(acc, low, codes, |query, code| product(query, code << 2 & 0x3c));
        Self::pairs(acc, high, codes, |query, code| product(query, code >> 2 & 0x3c))
    }

    #[inline(never)]
    fn nibble_dot(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32 {
        let product = |query: i8, nibble: u8| i32::from(i16::from(query) * i16::from(nibble));
        let acc = Self::pairs(acc, low, codes, |query, code| product(query, code & 15));
        Self::pairs(acc, high, codes, |query, code| product(query, code >> 4))
    }

    #[inline(never)]
    fn nibbles_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let square = |a: u8, b: u8| {
            let difference = i32::from(i16::from(a) - i16::from(b));
            difference * difference
        };
        Self::pairs(acc, a, b, |a, b| square(a & 15, b & 15) + square(a >> 4, b >> 4))
    }

    #[inline(never)]
    fn nibbles_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32 {
        let centred = |nibble: u8| 2 * i16::from(nibble) - 15;
        let product = |a: u8, b: u8| i32::from(centred(a) * centred(b));
        Self::pairs(acc, a, b, |a, b| product(a & 15, b & 15) + product(a >> 4, b >> 4))
    }

    #[inline(always)]
    fn lookup_zero(self) -> Self::Lookups {
        [0; 32]
    }

    #[inline(never)]
    fn lookup(self, acc: Self::Lookups, tables: &[u8; 64], codes: &[u8; 64]) -> Self::Lookups {
        let mut acc = acc;
        let (tables, _) = tables.as_chunks::<16>();
        let (codes, _) = codes.as_chunks::<16>();
        for (table, codes) in tables.iter().zip(codes) {
            for (i, code) in codes.iter().enumerate() {
                acc[i] = acc[i].wrapping_add(u16::from(table[usize::from(code & 15)]));
                acc[16 + i] = acc[16 + i].wrapping_add(u16::from(table[usize::from(code >> 4)]));
            }
        }
        acc
    }

    #[inline(always)]
    fn lookup_sums(self, acc: Self::Lookups) -> [u16; 32] {
        acc
    }

    #[inline(always)]
    fn plane_zero(self) -> Self::Counts {
        [0; 4]
    }

    #[inline(never)]
    fn plane_counts(self, acc: Self::Counts, code: &[u8; 16], planes: &[u8; 64]) -> Self::Counts {
        let mut acc = acc;
        let (code, _) = code.as_chunks::<8>();
        let (planes, _) = planes.as_chunks::<32>();
        for (code, planes) in code.iter().zip(planes) {
            let (planes, _) = planes.as_chunks::<8>();
            for (count, plane) in acc.iter_mut().zip(planes) {
                let differing = u64::from_ne_bytes(*code) ^ u64::from_ne_bytes(*plane);
                *count = count.wrapping_add(differing.count_ones());
            }
        }
        acc
    }

    #[inline(always)]
    fn plane_weigh(self, acc: Self::I32, counts: Self::Counts, shift: u32) -> Self::I32 {
        let mut acc = acc;
        for (plane, count) in counts.into_iter().enumerate() {
            acc[plane] = acc[plane].wrapping_add((count as i32) << (plane as u32 + shift));
        }
        acc
    }
}
