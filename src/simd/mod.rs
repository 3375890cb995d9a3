//! Instruction sets of this CPU: one zero-sized proof token per instruction set, and the only place with
//! intrinsics.
//!
//! [`Simd`] abstracts one logical register of 64 bytes on every instruction set, so that a kernel
//! is written once. The only source of a token is a constructor that queried the CPU, so holding one
//! proves that its instructions exist; its methods are safe. They are `#[inline(always)]` and
//! carry no `#[target_feature]` themselves: whole tasks, a graph walk for example, are inlined
//! into the one function with that attribute, behind [`Simd::run`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod hadamard;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod prefetch;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128", not(test))))]
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
mod sorted;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub use isa::Isa;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use prefetch::prefetch;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128", not(test))))]
pub(crate) use scalar::Scalar;
/// Plain Rust, which a program never runs if it is compiled for `simd128` as a whole.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(test)))]
pub(crate) use simd128::Simd128 as Scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use simd128::Simd128;
pub(crate) use sorted::{MERGED, SLACK, Sorted};

use crate::vector::{Bf16, F16};
use std::fmt::Debug;

/// Code to be run under one instruction set. Its `run` must be `#[inline(always)]`, and so must
/// every function that it calls and that touches vectors.
pub(crate) trait Task {
    /// The result.
    type Output;

    /// Does the work with the instructions that `simd` proves.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Proof that this CPU has an instruction set, and its operations on registers of 64 bytes.
pub(crate) trait Simd: Sorted + Copy + Send + Sync + Debug + 'static {
    /// Sixteen `f32`.
    type F32: Copy;
    /// Lanes of 32-bit integers that wrap. The instruction set chooses the number of lanes and their
    /// order; only the sum of all lanes has a meaning.
    type I32: Copy;
    /// Sums modulo 2^16 of 32 codes, see [`Simd::lookup`].
    type Lookups: Copy;
    /// Counts of four planes, see [`Simd::plane_counts`].
    type Counts: Copy;

    /// The number of independent sums of [`Self::F32`] that a kernel should run, to hide the latency of
    /// addition: 1, 2 or 4.
    const CHAINS: usize;
    /// Whether the registers hold the sums of four rows at once, so that a one-to-four kernel
    /// should load its query once for four rows.
    const FOUR_ROWS: bool;

    /// Runs `task` inside one function that may use all instructions of this set.
    fn run<T: Task>(self, task: T) -> T::Output;

    /// Zeros.
    fn f32_zero(self) -> Self::F32;
    /// Loads sixteen floats.
    fn f32_load(self, from: &[f32; 16]) -> Self::F32;
    /// Loads up to sixteen floats, then zeros.
    fn f32_load_partial(self, from: &[f32]) -> Self::F32;
    /// Loads sixteen halves, widened.
    fn f16_load(self, from: &[F16; 16]) -> Self::F32;
    /// Loads up to sixteen halves, widened, then zeros.
    fn f16_load_partial(self, from: &[F16]) -> Self::F32;
    /// Loads sixteen brain floats, widened.
    fn bf16_load(self, from: &[Bf16; 16]) -> Self::F32;
    /// Loads up to sixteen brain floats, widened, then zeros.
    fn bf16_load_partial(self, from: &[Bf16]) -> Self::F32;
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once if the set has a fused multiply-add.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// Returns the sum of all lanes.
    fn f32_sum(self, a: Self::F32) -> f32;
    /// Returns four sums, each added in the order of [`Simd::f32_sum`]: same bits.
    fn f32_sum4(self, a: [Self::F32; 4]) -> [f32; 4];

    /// Zeros.
    fn i32_zero(self) -> Self::I32;
    /// `a + b`, wrapping.
    fn i32_add(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Returns the wrapping sum of all lanes; cast it to `u32` if it was accumulated unsigned.
    fn i32_sum(self, a: Self::I32) -> i32;
    /// Returns four sums at once.
    fn i32_sum4(self, a: [Self::I32; 4]) -> [i32; 4];

    /// Returns up to 64 bytes, then zeros.
    fn u8_pad(self, from: &[u8]) -> [u8; 64];
    /// `acc + sum((a - b)^2)`.
    fn u8_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32;
    /// `acc + sum(a * b)`.
    fn u8_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32;
    /// `acc + sum((a - b)^2)`.
    fn i8_l2(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32;
    /// `acc + sum(a * b)`.
    fn i8_dot(self, acc: Self::I32, a: &[i8; 64], b: &[i8; 64]) -> Self::I32;
    /// `acc +` the number of bits in which `a` and `b` differ.
    fn hamming(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32;

    /// `acc + sum(4 * nibble * (4 * nibble - query))` over 128 nibbles: `low` belongs to the low nibbles of
    /// the bytes, `high` to the high ones. Components of the query are in -4..=123. Four times the sum is the excess of
    /// `sum((query - 8 * nibble)^2)` over `sum(query^2)`.
    fn nibble_l2(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32;
    /// `acc + sum(query * nibble)` over 128 nibbles and a query of any `i8`.
    fn nibble_dot(
        self,
        acc: Self::I32,
        low: &[i8; 64],
        high: &[i8; 64],
        codes: &[u8; 64],
    ) -> Self::I32;
    /// `acc + sum((a - b)^2)` over 128 pairs of nibbles.
    fn nibbles_l2(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32;
    /// `acc + sum((2 * a - 15) * (2 * b - 15))` over 128 pairs of nibbles.
    fn nibbles_dot(self, acc: Self::I32, a: &[u8; 64], b: &[u8; 64]) -> Self::I32;

    /// Zeros.
    fn lookup_zero(self) -> Self::Lookups;
    /// Adds to the sum of each of 32 codes the bytes that four of its nibbles choose from four tables of
    /// sixteen bytes. Byte `16 * t + i` of `codes` holds the choice of code `i` from table `t` in
    /// its low nibble, and the choice of code `16 + i` in its high one.
    fn lookup(self, acc: Self::Lookups, tables: &[u8; 64], codes: &[u8; 64]) -> Self::Lookups;
    /// Returns the sums, in the order of codes.
    fn lookup_sums(self, acc: Self::Lookups) -> [u16; 32];

    /// Zeros.
    fn plane_zero(self) -> Self::Counts;
    /// Adds to each of four counts the number of bits in which 128 bits of a code differ from 128 bits of one
    /// of four planes. `planes` has the first eight bytes of each plane, then the other eight
    /// of each. Right for up to 65,536 bits in all.
    fn plane_counts(self, acc: Self::Counts, code: &[u8; 16], planes: &[u8; 64]) -> Self::Counts;
    /// Adds to the sum of all lanes of `acc` each count, times two to the power of `shift` and the
    /// plane's number.
    fn plane_weigh(self, acc: Self::I32, counts: Self::Counts, shift: u32) -> Self::I32;

    /// Applies the Walsh-Hadamard transform, not scaled.
    #[inline(always)]
    fn hadamard(self, block: &mut [f32; 16]) {
        hadamard::plain(block);
    }
}

/// Runs a task on the level that [`Isa::detect`] answers.
#[inline]
pub(crate) fn run_detected<T: Task>(task: T) -> T::Output {
    run_on(Isa::detect(), task)
}

/// Runs `task` with the instructions of `isa`, or in plain Rust if this CPU lacks them.
pub(crate) fn run_on<T: Task>(isa: Isa, task: T) -> T::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if let Some(simd) = Avx512::new() => simd.run(task),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if let Some(simd) = Avx2::new() => simd.run(task),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon if let Some(simd) = Neon::new() => simd.run(task),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Simd128 => Simd128::new().run(task),
        _ => Scalar::new().run(task),
    }
}

/// Returns the first `N` elements of `from`, zero padded: loads a tail if the instruction set has no masks.
#[inline(always)]
fn padded<T: bytemuck::Zeroable + Copy, const N: usize>(from: &[T]) -> [T; N] {
    let mut buffer = [T::zeroed(); N];
    let len = from.len().min(N);
    buffer[..len].copy_from_slice(&from[..len]);
    buffer
}
