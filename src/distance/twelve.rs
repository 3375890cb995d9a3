//! Kernels over 12-bit codes: 128 components in three blocks, of which the first two hold the upper eight bits of each as an
//! `i8`, and the third the lower four, in the layout of 4-bit codes.
//!
//! A component is `16 a + b`, `a` in -128..=127 and `b` in 0..=15. A *prepared* query has four blocks for each three of codes:
//! its `a`s, then its `b`s, in a byte each, and one more block at the end for the constants of a kernel. Squares
//! and products are those of whole numbers, put together from products of bytes and exact; keys are their `f32`s.

use bytemuck::{cast_mut, cast_ref, cast_slice, cast_slice_mut};

use super::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::Block;

/// Blocks of codes of 128 components.
pub(crate) const TWELVE_BLOCKS: usize = 3;

/// Blocks of a prepared query of 128 components, without the last one.
pub(crate) const TWELVE_QUERY_BLOCKS: usize = 4;

/// Returns the head of the last block of a query for distances: the sum of the products of its `a`s and `b`s, and of the squares of
/// its `b`s.
#[inline(always)]
fn constants(query: &[Block]) -> [i64; 2] {
    query.last().map_or([0; 2], |block| {
        let words = cast_slice::<Block, i64>(std::slice::from_ref(block));
        [words[0], words[1]]
    })
}

/// Returns the groups of a code, and those of another or of a prepared query, which have `N` blocks each.
#[inline(always)]
fn groups<'a, const N: usize>(
    query: &'a [Block],
    row: &'a [Block],
) -> impl Iterator<Item = (&'a [Block; N], &'a [Block; TWELVE_BLOCKS])> {
    query.as_chunks::<N>().0.iter().zip(row.as_chunks::<TWELVE_BLOCKS>().0)
}

/// Returns the sum of `16 (a - a') + (b - b')`, squared, over a query and a code.
#[inline(always)]
fn query_l2<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> i64 {
    let zero = Block::ZERO;
    let [mut upper, mut crossed, mut own, mut lower, mut squares] = [simd.i32_zero(); 5];
    for ([h0, h1, l0, l1], [a0, a1, b]) in groups(query, row) {
        upper = simd.i8_l2(upper, cast_ref(h0), cast_ref(a0));
        upper = simd.i8_l2(upper, cast_ref(h1), cast_ref(a1));
        crossed = simd.nibble_dot(crossed, cast_ref(h0), cast_ref(h1), cast_ref(b));
        crossed = simd.i8_dot(crossed, cast_ref(l0), cast_ref(a0));
        crossed = simd.i8_dot(crossed, cast_ref(l1), cast_ref(a1));
        own = simd.nibble_dot(own, cast_ref(a0), cast_ref(a1), cast_ref(b));
        lower = simd.nibble_dot(lower, cast_ref(l0), cast_ref(l1), cast_ref(b));
        squares = simd.nibbles_l2(squares, cast_ref(b), cast_ref(&zero));
    }
    let [crossed, own, lower, squares] =
        simd.i32_sum4([crossed, own, lower, squares]).map(i64::from);
    let [products, last] = constants(query);
    let upper = i64::from(simd.i32_sum(upper) as u32);
    256 * upper + 32 * (products - crossed + own) + last - 2 * lower + squares
}

/// Returns the sum of `(16 a + b) (16 a' + b')` over a query and a code.
#[inline(always)]
pub(super) fn query_dot<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> i64 {
    let [mut upper, mut crossed, mut lower] = [simd.i32_zero(); 3];
    for ([h0, h1, l0, l1], [a0, a1, b]) in groups(query, row) {
        upper = simd.i8_dot(upper, cast_ref(h0), cast_ref(a0));
        upper = simd.i8_dot(upper, cast_ref(h1), cast_ref(a1));
        crossed = simd.nibble_dot(crossed, cast_ref(h0), cast_ref(h1), cast_ref(b));
        crossed = simd.i8_dot(crossed, cast_ref(l0), cast_ref(a0));
        crossed = simd.i8_dot(crossed, cast_ref(l1), cast_ref(a1));
        lower = simd.nibble_dot(lower, cast_ref(l0), cast_ref(l1), cast_ref(b));
    }
    let [upper, crossed, lower, _] =
        simd.i32_sum4([upper, crossed, lower, simd.i32_zero()]).map(i64::from);
    256 * upper + 16 * crossed + lower
}

/// Returns [`query_l2`] of two codes.
#[inline(always)]
fn codes_l2<S: Simd>(simd: S, a: &[Block], b: &[Block]) -> i64 {
    let [mut upper, mut alike, mut crossed, mut lower] = [simd.i32_zero(); 4];
    for ([a0, a1, an], [b0, b1, bn]) in groups(a, b) {
        upper = simd.i8_l2(upper, cast_ref(a0), cast_ref(b0));
        upper = simd.i8_l2(upper, cast_ref(a1), cast_ref(b1));
        alike = simd.nibble_dot(alike, cast_ref(a0), cast_ref(a1), cast_ref(an));
        alike = simd.nibble_dot(alike, cast_ref(b0), cast_ref(b1), cast_ref(bn));
        crossed = simd.nibble_dot(crossed, cast_ref(a0), cast_ref(a1), cast_ref(bn));
        crossed = simd.nibble_dot(crossed, cast_ref(b0), cast_ref(b1), cast_ref(an));
        lower = simd.nibbles_l2(lower, cast_ref(an), cast_ref(bn));
    }
    let [upper, alike, crossed, lower] = simd.i32_sum4([upper, alike, crossed, lower]);
    let [alike, crossed, lower] = [alike, crossed, lower].map(i64::from);
    256 * i64::from(upper as u32) + 32 * (alike - crossed) + lower
}

/// Returns [`query_dot`] of two codes.
#[inline(always)]
pub(super) fn codes_dot<S: Simd>(simd: S, a: &[Block], b: &[Block]) -> i64 {
    let zero = Block::ZERO;
    let [mut upper, mut crossed, mut squares, mut apart] = [simd.i32_zero(); 4];
    for ([a0, a1, an], [b0, b1, bn]) in groups(a, b) {
        upper = simd.i8_dot(upper, cast_ref(a0), cast_ref(b0));
        upper = simd.i8_dot(upper, cast_ref(a1), cast_ref(b1));
        crossed = simd.nibble_dot(crossed, cast_ref(a0), cast_ref(a1), cast_ref(bn));
        crossed = simd.nibble_dot(crossed, cast_ref(b0), cast_ref(b1), cast_ref(an));
        squares = simd.nibbles_l2(squares, cast_ref(an), cast_ref(&zero));
        squares = simd.nibbles_l2(squares, cast_ref(bn), cast_ref(&zero));
        apart = simd.nibbles_l2(apart, cast_ref(an), cast_ref(bn));
    }
    let [upper, crossed, squares, apart] =
        simd.i32_sum4([upper, crossed, squares, apart]).map(i64::from);
    // 2 b b' = b^2 + b'^2 - (b - b')^2
    256 * upper + 16 * crossed + (squares - apart) / 2
}

/// Returns the sum of `(16 a + b)^2` over a code.
#[inline(always)]
pub(super) fn square<S: Simd>(simd: S, row: &[Block]) -> i64 {
    let zero = Block::ZERO;
    let [mut upper, mut crossed, mut lower] = [simd.i32_zero(); 3];
    for [a0, a1, b] in row.as_chunks::<TWELVE_BLOCKS>().0 {
        upper = simd.i8_dot(upper, cast_ref(a0), cast_ref(a0));
        upper = simd.i8_dot(upper, cast_ref(a1), cast_ref(a1));
        crossed = simd.nibble_dot(crossed, cast_ref(a0), cast_ref(a1), cast_ref(b));
        lower = simd.nibbles_l2(lower, cast_ref(b), cast_ref(&zero));
    }
    let [upper, crossed, lower, _] =
        simd.i32_sum4([upper, crossed, lower, simd.i32_zero()]).map(i64::from);
    256 * upper + 32 * crossed + lower
}

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $sum:ident, |$of:ident| $key:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct $name;

        impl Kernel for $name {
            type Element = Block;
            type Shared = ();
            // One row alone keeps the arithmetic busy.
            const FOURS: Fours = Fours::Never;

            #[inline(always)]
            fn share<S: Simd>(self, _: S, _: &[Block]) {}

            #[inline(always)]
            fn key<S: Simd>(self, simd: S, query: &[Block], (): (), row: &[Block]) -> OrderKey {
                let $of = $sum(simd, query, row);
                OrderKey::of_f32($key as f32)
            }

            #[inline(always)]
            fn distance(self, key: OrderKey) -> f32 {
                key.to_f32()
            }
        }
    };
}

kernel! {
    /// Squared distance of a prepared query and a code, in squared steps.
    TwelveL2, query_l2, |sum| sum
}

kernel! {
    /// Negated inner product of a prepared query and a code, in squared steps.
    TwelveDot, query_dot, |sum| -sum
}

kernel! {
    /// [`TwelveL2`] between two codes.
    TwelvesL2, codes_l2, |sum| sum
}

kernel! {
    /// [`TwelveDot`] between two codes.
    TwelvesDot, codes_dot, |sum| -sum
}

/// Components of half a group.
const HALF: usize = 64;

/// Writes the code of these components, which `round` rounds to whole numbers, -2048 to 2047.
pub(crate) fn write_code(code: &mut [Block], components: &[f32], round: impl Fn(f32) -> i32) {
    code.fill(Block::ZERO);
    let groups = code.as_chunks_mut::<TWELVE_BLOCKS>().0;
    for ([a0, a1, b], components) in groups.iter_mut().zip(components.chunks(2 * HALF)) {
        let low: &mut [u8; HALF] = cast_mut(b);
        for ((a, shift), half) in [(a0, 0), (a1, 4)].into_iter().zip(components.chunks(HALF)) {
            let upper: &mut [u8; HALF] = cast_mut(a);
            for ((upper, low), &x) in upper.iter_mut().zip(&mut *low).zip(half) {
                let value = round(x);
                *upper = (value >> 4) as u8;
                *low |= ((value & 15) as u8) << shift;
            }
        }
    }
}

/// Writes the whole prepared query of these components, as [`write_code`] does.
pub(crate) fn write_query(query: &mut [Block], components: &[f32], round: impl Fn(f32) -> i32) {
    let Some((last, form)) = query.split_last_mut() else { return };
    let words: &mut [i64; 8] = cast_mut(last);
    (words[0], words[1]) = write_form(form, components, round);
}

/// Writes the prepared query of these components without its last block. Returns the sum of the products of its `a`s and
/// `b`s, and of the squares of its `b`s.
pub(crate) fn write_form(
    form: &mut [Block],
    components: &[f32],
    mut round: impl FnMut(f32) -> i32,
) -> (i64, i64) {
    form.fill(Block::ZERO);
    let groups = form.as_chunks_mut::<TWELVE_QUERY_BLOCKS>().0;
    let (mut products, mut squares) = (0, 0);
    for ([h0, h1, l0, l1], components) in groups.iter_mut().zip(components.chunks(2 * HALF)) {
        for ((h, l), half) in [(h0, l0), (h1, l1)].into_iter().zip(components.chunks(HALF)) {
            let (upper, lower): (&mut [u8; HALF], &mut [u8; HALF]) = (cast_mut(h), cast_mut(l));
            let (mut product, mut square) = (0, 0);
            for ((upper, lower), &x) in upper.iter_mut().zip(lower).zip(half) {
                let value = round(x);
                let (a, b) = (value >> 4, value & 15);
                (*upper, *lower) = (a as u8, b as u8);
                product += a * b;
                square += b * b;
            }
            products += i64::from(product);
            squares += i64::from(square);
        }
    }
    (products, squares)
}

/// Makes `value` a component of a code.
pub(crate) fn put_component(code: &mut [Block], at: usize, value: i32) {
    let bytes: &mut [u8] = cast_slice_mut(code);
    let (group, within) = (at / 128 * 192, at % 128);
    let shift = within / 64 * 4;
    bytes[group + within] = (value >> 4) as u8;
    let low = &mut bytes[group + 128 + within % 64];
    *low = *low & !(15 << shift) | ((value & 15) as u8) << shift;
}

/// Returns a component of a code.
pub(crate) fn read_code(code: &[Block], at: usize) -> i32 {
    let bytes: &[u8] = cast_slice(code);
    let (group, within) = (at / 128 * 192, at % 128);
    let low = bytes[group + 128 + within % 64] >> (within / 64 * 4) & 15;
    i32::from(bytes[group + within] as i8) * 16 + i32::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::{Ask, with_isa};
    use crate::simd::Isa;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_kernel_is_exact_on_every_instruction_set() {
        let mut random = SmallRng::seed_from_u64(12);
        let longest = if cfg!(miri) { 2 } else { 512 };
        for groups in (1..=9).chain([100, 512]).filter(|&groups| groups <= longest) {
            for extreme in [false, true] {
                let mut values = || -> Vec<i32> {
                    let ends = [-2048, 2047, 15, -16];
                    let mut value = || {
                        if extreme {
                            ends[random.random_range(..ends.len())]
                        } else {
                            random.random_range(-2048..2048)
                        }
                    };
                    (0..groups * 128).map(|_| value()).collect()
                };
                let (query, rows) = (values(), [values(), values(), values(), values()]);
                let floats =
                    |values: &[i32]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
                let code = |values: &[i32]| {
                    let mut code = vec![Block::ZERO; groups * TWELVE_BLOCKS];
                    write_code(&mut code, &floats(values), |x| x as i32);
                    assert!(values.iter().enumerate().all(|(at, &x)| read_code(&code, at) == x));
                    code
                };
                let mut prepared = vec![Block::ZERO; groups * TWELVE_QUERY_BLOCKS + 1];
                write_query(&mut prepared, &floats(&query), |x| x as i32);
                let coded = code(&query);
                let codes = rows.each_ref().map(|row| code(row));
                let rows = rows.each_ref().map(|row| {
                    let pairs =
                        || query.iter().zip(row).map(|(&a, &b)| (i64::from(a), i64::from(b)));
                    let l2: i64 = pairs().map(|(a, b)| (a - b).pow(2)).sum();
                    let dot: i64 = pairs().map(|(a, b)| a * b).sum();
                    (OrderKey::of_f32(l2 as f32), OrderKey::of_f32(-dot as f32))
                });
                let codes = codes.each_ref().map(Vec::as_slice);
                for &isa in Isa::available() {
                    let (asked, between) = (Ask::of(&prepared, codes), Ask::of(&coded, codes));
                    let l2 = rows.map(|(l2, _)| l2);
                    let dot = rows.map(|(_, dot)| dot);
                    let found = [
                        (with_isa(TwelveL2, isa).map(|kernel| asked.under(&*kernel)), l2),
                        (with_isa(TwelveDot, isa).map(|kernel| asked.under(&*kernel)), dot),
                        (with_isa(TwelvesL2, isa).map(|kernel| between.under(&*kernel)), l2),
                        (with_isa(TwelvesDot, isa).map(|kernel| between.under(&*kernel)), dot),
                    ];
                    for (found, expected) in found {
                        let found = found.map(|found| [found.keys, found.keys4]);
                        assert_eq!(found, Some([expected; 2]), "{isa} {groups} {extreme}");
                    }
                }
            }
        }
    }
}
