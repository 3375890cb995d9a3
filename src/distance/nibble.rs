//! Kernels over 4-bit codes: 128 components in a block, of which the low nibbles of the 64 bytes
//! are the first half.
//!
//! A nibble `c` stands for `c - 7.5` steps. A *prepared* query has two blocks of `i8` for each
//! block of codes, in eighths of a step, and one block more for what a kernel needs besides: it is
//! rounded sixteen times as finely as the codes are. Keys of queries and keys between codes are
//! in the same unit.

use super::Kernel;
use super::byte::Byte;
use crate::simd::Simd;
use crate::vector::Block;
use bytemuck::{cast_ref, cast_slice};

/// Components in a block of codes.
pub(crate) const NIBBLES: usize = 128;

/// What is summed over a block of codes.
trait Step {
    /// Blocks of the query that go with one of codes.
    const WIDTH: usize;

    fn add<S: Simd>(simd: S, acc: S::I32, query: &[Block], codes: &Block) -> S::I32;
}

macro_rules! step {
    ($name:ident, 2, $operation:ident) => {
        #[derive(Debug)]
        struct $name;
        impl Step for $name {
            const WIDTH: usize = 2;
            #[inline(always)]
            fn add<S: Simd>(simd: S, acc: S::I32, query: &[Block], codes: &Block) -> S::I32 {
                simd.$operation(acc, cast_ref(&query[0]), cast_ref(&query[1]), cast_ref(codes))
            }
        }
    };
    ($name:ident, 1, $operation:ident) => {
        #[derive(Debug)]
        struct $name;
        impl Step for $name {
            const WIDTH: usize = 1;
            #[inline(always)]
            fn add<S: Simd>(simd: S, acc: S::I32, query: &[Block], codes: &Block) -> S::I32 {
                simd.$operation(acc, cast_ref(&query[0]), cast_ref(codes))
            }
        }
    };
}

step!(QueryL2, 2, nibble_l2);
step!(QueryDot, 2, nibble_dot);
step!(BetweenL2, 1, nibbles_l2);
step!(BetweenDot, 1, nibbles_dot);

#[inline(always)]
fn sum<S: Simd, T: Step>(simd: S, query: &[Block], row: &[Block]) -> i32 {
    let mut acc = simd.i32_zero();
    for (query, codes) in query.chunks_exact(T::WIDTH).zip(row) {
        acc = T::add(simd, acc, query, codes);
    }
    simd.i32_sum(acc)
}

#[inline(always)]
fn sum4<S: Simd, T: Step>(simd: S, query: &[Block], rows: [&[Block]; 4]) -> [i32; 4] {
    let [a, b, c, d] = rows;
    let mut acc = [simd.i32_zero(); 4];
    for ((((query, a), b), c), d) in query.chunks_exact(T::WIDTH).zip(a).zip(b).zip(c).zip(d) {
        acc[0] = T::add(simd, acc[0], query, a);
        acc[1] = T::add(simd, acc[1], query, b);
        acc[2] = T::add(simd, acc[2], query, c);
        acc[3] = T::add(simd, acc[3], query, d);
    }
    simd.i32_sum4(acc)
}

/// What is taken off twice the product of a query and nibbles, so that these count from -7.5:
/// the first word of the query's last block.
#[inline(always)]
fn excess(query: &[Block]) -> i32 {
    query.last().map_or(0, |block| cast_slice::<Block, i32>(std::slice::from_ref(block))[0])
}

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $step:ty, |$query:ident, $sum:ident| $key:expr, |$of:ident| $distance:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct $name;

        impl Kernel for $name {
            type Element = Block;

            #[inline(always)]
            fn key<S: Simd>(self, simd: S, $query: &[Block], row: &[Block]) -> u32 {
                let $sum = sum::<S, $step>(simd, $query, row);
                $key
            }

            #[inline(always)]
            fn key4<S: Simd>(self, simd: S, $query: &[Block], rows: [&[Block]; 4]) -> [u32; 4] {
                sum4::<S, $step>(simd, $query, rows).map(|$sum| $key)
            }

            #[inline(always)]
            fn distance(self, $of: u32) -> f32 {
                $distance
            }
        }
    };
}

kernel! {
    /// Squared distance of a prepared query and a code, in 64ths of a squared step.
    NibbleL2, QueryL2, |query, sum| sum as u32, |key| key as f32
}

kernel! {
    /// Negated inner product of a prepared query and a code, in 16ths of a squared step.
    NibbleDot, QueryDot, |query, sum| i8::dot_key(2 * sum - excess(query)), |key| -i8::dot_of(key) as f32
}

kernel! {
    /// [`NibbleL2`] between two codes.
    NibblesL2, BetweenL2, |query, sum| sum as u32 * 64, |key| key as f32
}

kernel! {
    /// [`NibbleDot`] between two codes.
    NibblesDot, BetweenDot, |query, sum| i8::dot_key(sum * 4), |key| -i8::dot_of(key) as f32
}
