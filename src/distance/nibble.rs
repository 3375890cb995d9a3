//! Kernels over 4-bit codes: 128 components in a block, of which the low nibbles of the 64 bytes
//! are the first half.
//!
//! A nibble `c` encodes `c - 7.5` steps. A *prepared* query has two blocks of `i8` for each
//! block of codes, in eighths of a step, and one more block for the constants of a kernel: it is
//! rounded sixteen times as finely as the codes are. Keys of queries and keys between codes are
//! in the same unit.

use super::byte::Byte;
use super::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::Block;
use bytemuck::{cast_ref, cast_slice};

/// Components in a block of codes.
pub(crate) const NIBBLES: usize = 128;

/// The term that is summed over a block of codes.
pub(super) trait Step {
    /// Blocks of the query for one block of codes.
    const WIDTH: usize;

    fn add<S: Simd>(simd: S, acc: S::I32, query: &[Block], codes: &Block) -> S::I32;
}

macro_rules! step {
    ($name:ident, 2, $operation:ident) => {
        #[derive(Debug)]
        pub(super) struct $name;
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
        pub(super) struct $name;
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
pub(super) fn sum<S: Simd, T: Step>(simd: S, query: &[Block], row: &[Block]) -> i32 {
    let mut acc = simd.i32_zero();
    for (query, codes) in query.chunks_exact(T::WIDTH).zip(row) {
        acc = T::add(simd, acc, query, codes);
    }
    simd.i32_sum(acc)
}

#[inline(always)]
pub(super) fn sum4<S: Simd, T: Step>(simd: S, query: &[Block], rows: [&[Block]; 4]) -> [i32; 4] {
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

/// Returns the first word of the query's last block. For products it is subtracted from twice the product with nibbles, so that these
/// count from -7.5; for distances it is the sum of the query's squares.
#[inline(always)]
fn constant(query: &[Block]) -> i32 {
    query.last().map_or(0, |block| cast_slice::<Block, i32>(std::slice::from_ref(block))[0])
}

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $step:ty, |$query:ident, $sum:ident| $key:expr, |$of:ident| $distance:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct $name;

        impl Kernel for $name {
            type Element = Block;
            type Shared = ();
            const FOURS: Fours = Fours::Registers;

            #[inline(always)]
            fn share<S: Simd>(self, _: S, _: &[Block]) {}

            #[inline(always)]
            fn key<S: Simd>(self, simd: S, $query: &[Block], (): (), row: &[Block]) -> OrderKey {
                let $sum = sum::<S, $step>(simd, $query, row);
                $key
            }

            #[inline(always)]
            fn key4<S: Simd>(self, simd: S, $query: &[Block], (): (), rows: [&[Block]; 4]) -> [OrderKey; 4] {
                sum4::<S, $step>(simd, $query, rows).map(|$sum| $key)
            }

            #[inline(always)]
            fn distance(self, $of: OrderKey) -> f32 {
                $distance
            }
        }
    };
}

kernel! {
    /// Squared distance of a prepared query and a code, in 64ths of a squared step.
    NibbleL2, QueryL2, |query, sum| OrderKey::from_bits((constant(query) + 4 * sum) as u32), |key| key.to_bits() as f32
}

kernel! {
    /// Negated inner product of a prepared query and a code, in 16ths of a squared step.
    NibbleDot, QueryDot, |query, sum| i8::dot_key(2 * sum - constant(query)), |key| -i8::dot_of(key) as f32
}

kernel! {
    /// [`NibbleL2`] between two codes.
    NibblesL2, BetweenL2, |query, sum| OrderKey::from_bits(sum as u32 * 64), |key| key.to_bits() as f32
}

kernel! {
    /// [`NibbleDot`] between two codes.
    NibblesDot, BetweenDot, |query, sum| i8::dot_key(sum * 4), |key| -i8::dot_of(key) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{Ask, with_isa};
    use crate::simd::Isa;
    use bytemuck::cast_slice_mut;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn nibbles(row: &[Block]) -> Vec<i64> {
        let bytes: &[u8] = cast_slice(row);
        let block = |b: &[u8; 64]| {
            b.map(|b| i64::from(b & 15)).into_iter().chain(b.map(|b| i64::from(b >> 4)))
        };
        bytes.as_chunks::<64>().0.iter().flat_map(|b| block(b).collect::<Vec<_>>()).collect()
    }

    fn components(query: &[Block]) -> Vec<i64> {
        let bytes: &[i8] = cast_slice(&query[..query.len() - 1]);
        bytes.iter().map(|&b| i64::from(b)).collect()
    }

    fn dot_key(dot: i64) -> OrderKey {
        i8::dot_key(i32::try_from(dot).unwrap())
    }

    fn l2_key(sum: i64) -> OrderKey {
        OrderKey::from_bits(u32::try_from(sum).unwrap())
    }

    #[test]
    fn every_kernel_is_exact_on_every_instruction_set() {
        let mut random = SmallRng::seed_from_u64(5);
        let longest = if cfg!(miri) { 2 } else { 512 };
        for blocks in (1..=17).chain([100, 511, 512]).filter(|&blocks| blocks <= longest) {
            for extreme in [false, true] {
                let mut byte = |any: &[u8]| {
                    if extreme { any[random.random_range(..any.len())] } else { random.random() }
                };
                let mut row = || {
                    let mut row = vec![Block::ZERO; blocks];
                    cast_slice_mut::<_, u8>(&mut row).fill_with(|| byte(&[0, 0xff, 0xf0, 0x0f]));
                    row
                };
                let rows = [row(), row(), row(), row()];
                let mut query = vec![Block::ZERO; 2 * blocks + 1];
                for product in [false, true] {
                    let len = 128 * blocks;
                    let mut sum = 0;
                    for x in &mut cast_slice_mut::<_, i8>(&mut query)[..len] {
                        *x = match (extreme, product) {
                            (false, false) => random.random_range(-4..=123),
                            (true, false) => [-4, 123][random.random_range(..2_usize)],
                            (false, true) => random.random_range(-127..=127),
                            (true, true) => [-127, 127][random.random_range(..2_usize)],
                        };
                        sum += i64::from(*x) * if product { 15 } else { i64::from(*x) };
                    }
                    cast_slice_mut::<_, i32>(&mut query[2 * blocks..])[0] = sum as i32;
                    let q = components(&query);
                    let r = rows.each_ref().map(Vec::as_slice);
                    let expected: [[OrderKey; 4]; 2] = if product {
                        [
                            r.map(|row| {
                                dot_key(
                                    q.iter().zip(nibbles(row)).map(|(q, c)| q * (2 * c - 15)).sum(),
                                )
                            }),
                            r.map(|row| {
                                let pairs = nibbles(r[0]).into_iter().zip(nibbles(row));
                                dot_key(pairs.map(|(a, b)| 4 * (2 * a - 15) * (2 * b - 15)).sum())
                            }),
                        ]
                    } else {
                        [
                            r.map(|row| {
                                let pairs = q.iter().zip(nibbles(row));
                                l2_key(pairs.map(|(q, c)| (q - 8 * c).pow(2)).sum())
                            }),
                            r.map(|row| {
                                let pairs = nibbles(r[0]).into_iter().zip(nibbles(row));
                                l2_key(pairs.map(|(a, b)| 64 * (a - b).pow(2)).sum())
                            }),
                        ]
                    };
                    for &isa in Isa::available() {
                        let found = if product {
                            [
                                Ask::of(&query, r).under(&*with_isa(NibbleDot, isa).unwrap()),
                                Ask::of(r[0], r).under(&*with_isa(NibblesDot, isa).unwrap()),
                            ]
                        } else {
                            [
                                Ask::of(&query, r).under(&*with_isa(NibbleL2, isa).unwrap()),
                                Ask::of(r[0], r).under(&*with_isa(NibblesL2, isa).unwrap()),
                            ]
                        };
                        for (found, expected) in found.iter().zip(&expected) {
                            let found = [found.keys, found.keys4];
                            assert_eq!(found, [*expected; 2], "{isa} {blocks} {extreme} {product}");
                        }
                    }
                }
            }
        }
    }
}
