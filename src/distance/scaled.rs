//! Kernels over codes that carry their own scale, and queries that carry theirs.
//!
//! A component of a code encodes its number times the row's [scale](super::rung) in *steps*, which all rows share. Products
//! are sums of products of whole numbers, times both scales. A squared distance is made of a product and two squares,
//! in `f64`, of the same rounded numbers, because separate roundings would cancel badly.
//!
//! A prepared query ends with a block of `f64`s. For products it begins with the query's scale. Rows are compared
//! with one of two forms of the query for distances, the centred one or the plain one, as the row was coded; the block has the scale
//! and the square of each.

use bytemuck::{cast_ref, cast_slice};

use super::byte::{Product, product_and_square, sums, sums4};
use super::nibble::{BetweenDot, QueryDot, sum, sum4};
use super::rung::Place;
use super::twelve::{TWELVE_BLOCKS, TWELVE_QUERY_BLOCKS, codes_dot, query_dot, square};
use super::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::Block;

/// Returns the last block of a prepared query.
#[inline(always)]
fn constants(query: &[Block]) -> [f64; 8] {
    query.last().map_or([0.0; 8], |block| *cast_ref::<Block, [f64; 8]>(block))
}

/// Returns the key of a number; a negative zero counts as zero.
#[inline(always)]
fn key_of(number: f64) -> OrderKey {
    OrderKey::of_f32(number as f32 + 0.0)
}

/// Returns the key of a negated product in both scales.
#[inline(always)]
fn dot_key(dot: i64, a: f32, b: f32) -> OrderKey {
    OrderKey::of_f32(0.0 - dot as f32 * (a * b))
}

/// Sums over codes of one width.
pub(crate) trait Width: Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The place of the rung in a row.
    const PLACE: Place;
    /// See [`Kernel::FOURS`].
    const FOURS: Fours;

    /// Returns the blocks of a query for a row of `row` blocks.
    fn query_blocks(row: usize) -> usize;

    /// Returns the mean of the square that rounding adds to that of a row of `row` blocks, in squared steps of the row.
    fn rounding(row: usize) -> f64;

    fn query_dot<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> i64;

    fn dot<S: Simd>(simd: S, a: &[Block], b: &[Block]) -> i64;

    fn square<S: Simd>(simd: S, row: &[Block]) -> i64;

    /// Returns [`Self::query_dot`] of a query and each of `rows`.
    #[inline(always)]
    fn query_dot4<S: Simd>(simd: S, query: &[Block], rows: [&[Block]; 4]) -> [i64; 4] {
        let mut dots = [0; 4];
        for (dot, row) in dots.iter_mut().zip(rows) {
            *dot = Self::query_dot(simd, query, row);
        }
        dots
    }

    /// Returns [`Self::dot`] of a code and each of `rows`.
    #[inline(always)]
    fn dot4<S: Simd>(simd: S, code: &[Block], rows: [&[Block]; 4]) -> [i64; 4] {
        let mut dots = [0; 4];
        for (dot, row) in dots.iter_mut().zip(rows) {
            *dot = Self::dot(simd, code, row);
        }
        dots
    }

    /// Returns [`Self::query_dot`] of a query and a row, and [`Self::square`] of the row.
    #[inline(always)]
    fn query_dot_and_square<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> (i64, i64) {
        (Self::query_dot(simd, query, row), Self::square(simd, row))
    }

    /// Returns [`Self::dot`] of a code and a row, and [`Self::square`] of the row.
    #[inline(always)]
    fn dot_and_square<S: Simd>(simd: S, code: &[Block], row: &[Block]) -> (i64, i64) {
        (Self::dot(simd, code, row), Self::square(simd, row))
    }
}

/// Components of eight bits, `i8`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Eight;

impl Width for Eight {
    const PLACE: Place = Place::Byte;
    const FOURS: Fours = Fours::ManyRegisters;

    #[inline(always)]
    fn query_blocks(row: usize) -> usize {
        row
    }

    #[inline(always)]
    fn rounding(row: usize) -> f64 {
        (row * size_of::<Block>()) as f64 / 12.0
    }

    #[inline(always)]
    fn query_dot<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> i64 {
        Self::dot(simd, query, row)
    }

    #[inline(always)]
    fn query_dot4<S: Simd>(simd: S, query: &[Block], rows: [&[Block]; 4]) -> [i64; 4] {
        Self::dot4(simd, query, rows)
    }

    #[inline(always)]
    fn dot4<S: Simd>(simd: S, query: &[Block], rows: [&[Block]; 4]) -> [i64; 4] {
        let sums = sums4::<S, i8, Product>(simd, cast_slice(query), rows.map(cast_slice));
        simd.i32_sum4(sums).map(i64::from)
    }

    #[inline(always)]
    fn query_dot_and_square<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> (i64, i64) {
        Self::dot_and_square(simd, query, row)
    }

    #[inline(always)]
    fn dot_and_square<S: Simd>(simd: S, code: &[Block], row: &[Block]) -> (i64, i64) {
        let (code, row): (&[i8], &[i8]) = (cast_slice(code), cast_slice(row));
        let (dot, square) = product_and_square(simd, code, row);
        (i64::from(simd.i32_sum(dot)), i64::from(simd.i32_sum(square)))
    }

    #[inline(always)]
    fn dot<S: Simd>(simd: S, a: &[Block], b: &[Block]) -> i64 {
        i64::from(simd.i32_sum(sums::<S, i8, Product>(simd, cast_slice(a), cast_slice(b))))
    }

    #[inline(always)]
    fn square<S: Simd>(simd: S, row: &[Block]) -> i64 {
        Self::dot(simd, row, row)
    }
}

/// Components of twelve bits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Twelve;

impl Width for Twelve {
    const PLACE: Place = Place::Upper;
    // One row alone keeps the arithmetic busy.
    const FOURS: Fours = Fours::Never;

    #[inline(always)]
    fn query_blocks(row: usize) -> usize {
        row / TWELVE_BLOCKS * TWELVE_QUERY_BLOCKS
    }

    #[inline(always)]
    fn rounding(_: usize) -> f64 {
        0.0
    }

    #[inline(always)]
    fn query_dot<S: Simd>(simd: S, query: &[Block], row: &[Block]) -> i64 {
        query_dot(simd, query, row)
    }

    #[inline(always)]
    fn dot<S: Simd>(simd: S, a: &[Block], b: &[Block]) -> i64 {
        codes_dot(simd, a, b)
    }

    #[inline(always)]
    fn square<S: Simd>(simd: S, row: &[Block]) -> i64 {
        square(simd, row)
    }
}

macro_rules! kernel {
    (
        $(#[$doc:meta])* $name:ident: $fours:expr,
        |$simd:ident, $query:ident| $shared_type:ty: $share:expr,
        |$shared:pat_param, $row:ident| $key:expr
        $(, |$rows:ident| $keys:expr)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct $name<W>(W);

        impl<W: Width> Kernel for $name<W> {
            type Element = Block;
            type Shared = $shared_type;
            const FOURS: Fours = $fours;

            #[inline(always)]
            #[allow(unused_variables, reason = "not every kernel needs both to find what it shares")]
            fn share<S: Simd>(self, $simd: S, $query: &[Block]) -> $shared_type {
                $share
            }

            #[inline(always)]
            fn key<S: Simd>(
                self,
                $simd: S,
                $query: &[Block],
                $shared: $shared_type,
                $row: &[Block],
            ) -> OrderKey {
                $key
            }

            $(#[inline(always)]
            fn key4<S: Simd>(
                self,
                $simd: S,
                $query: &[Block],
                $shared: $shared_type,
                $rows: [&[Block]; 4],
            ) -> [OrderKey; 4] {
                $keys
            })?

            #[inline(always)]
            fn distance(self, key: OrderKey) -> f32 {
                key.to_f32()
            }
        }
    };
}

kernel! {
    /// Negated inner product of a prepared query and a code, in squared steps.
    ScaledDot: W::FOURS,
    |simd, query| f32: constants(query)[0] as f32,
    |scale, row| {
        let dot = W::query_dot(simd, &query[..W::query_blocks(row.len())], row);
        dot_key(dot, scale, W::PLACE.scale(row))
    },
    |rows| {
        let dots = W::query_dot4(simd, &query[..W::query_blocks(rows[0].len())], rows);
        dot_keys::<W>(dots, scale, rows)
    }
}

kernel! {
    /// Squared distance of a prepared query and a code, in squared steps.
    ScaledL2: Fours::Never,
    |simd, query| (): (),
    |(), row| {
        let (form, [scale, square]) = form::<W>(query, row, W::PLACE.is_plain(row));
        let (dot, own_square) = W::query_dot_and_square(simd, form, row);
        key_of(l2(scale, square, dot, own::<W>(row, own_square)))
    }
}

kernel! {
    /// [`ScaledDot`] between two codes.
    ScaledBetweenDot: W::FOURS,
    |simd, query| f32: W::PLACE.scale(query),
    |scale, row| dot_key(W::dot(simd, query, row), scale, W::PLACE.scale(row)),
    |rows| {
        let dots = W::dot4(simd, query, rows);
        dot_keys::<W>(dots, scale, rows)
    }
}

kernel! {
    /// [`ScaledL2`] between two codes that are both centred, or both plain.
    ScaledBetweenL2: Fours::Never,
    |simd, query| (f64, f64): own::<W>(query, W::square(simd, query)),
    |(scale, square), row| {
        let (dot, own_square) = W::dot_and_square(simd, query, row);
        key_of(l2(scale, square, dot, own::<W>(row, own_square)))
    }
}

// Written out, because closures would be calls from code that is compiled for an instruction set.

#[inline(always)]
fn dot_keys<W: Width>([a, b, c, d]: [i64; 4], scale: f32, rows: [&[Block]; 4]) -> [OrderKey; 4] {
    let [first, second, third, last] = rows;
    let a = dot_key(a, scale, W::PLACE.scale(first));
    let b = dot_key(b, scale, W::PLACE.scale(second));
    [a, b, dot_key(c, scale, W::PLACE.scale(third)), dot_key(d, scale, W::PLACE.scale(last))]
}

/// Returns the form of a prepared query for a row, with its scale and square.
#[inline(always)]
fn form<'a, W: Width>(
    query: &'a [Block],
    row: &[Block],
    is_plain: bool,
) -> (&'a [Block], [f64; 2]) {
    let blocks = W::query_blocks(row.len());
    let begin = if is_plain { blocks } else { 0 };
    let [a, b, c, d, ..] = constants(query);
    (&query[begin..begin + blocks], if is_plain { [c, d] } else { [a, b] })
}

/// Returns the scale and the square of a code. The mean that rounding adds to the square is subtracted.
#[inline(always)]
fn own<W: Width>(row: &[Block], square: i64) -> (f64, f64) {
    let scale = f64::from(W::PLACE.scale(row));
    (scale, scale * scale * (square as f64 - W::rounding(row.len())))
}

#[inline(always)]
fn l2(scale: f64, square: f64, dot: i64, (own_scale, own_square): (f64, f64)) -> f64 {
    square + own_square - 2.0 * scale * own_scale * dot as f64
}

/// Negated inner product of a prepared query and a code of four bits a component, in 16ths of a squared step. The query's last
/// block continues with the [`NibbleDot`](super::NibbleDot) constant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScaledNibbleDot;

/// [`ScaledNibbleDot`] between two codes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScaledNibblesDot;

#[inline(always)]
fn nibble_key(query: &[Block], row: &[Block], sum: i32) -> OrderKey {
    let [scale, constant, ..] = constants(query);
    dot_key(i64::from(2 * sum - constant as i32), scale as f32, Place::Upper.scale(row))
}

impl Kernel for ScaledNibbleDot {
    type Element = Block;
    type Shared = ();
    const FOURS: Fours = Fours::Registers;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[Block]) {}

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, query: &[Block], (): (), row: &[Block]) -> OrderKey {
        nibble_key(query, row, sum::<S, QueryDot>(simd, query, row))
    }

    #[inline(always)]
    fn key4<S: Simd>(self, simd: S, query: &[Block], (): (), rows: [&[Block]; 4]) -> [OrderKey; 4] {
        let sums = sum4::<S, QueryDot>(simd, query, rows);
        let ([a, b, c, d], [row, second, third, last]) = (sums, rows);
        let [a, b] = [nibble_key(query, row, a), nibble_key(query, second, b)];
        [a, b, nibble_key(query, third, c), nibble_key(query, last, d)]
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}

#[inline(always)]
fn nibbles_key(a: &[Block], b: &[Block], sum: i32) -> OrderKey {
    dot_key(i64::from(4 * sum), Place::Upper.scale(a), Place::Upper.scale(b))
}

impl Kernel for ScaledNibblesDot {
    type Element = Block;
    type Shared = ();
    const FOURS: Fours = Fours::Registers;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[Block]) {}

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, a: &[Block], (): (), b: &[Block]) -> OrderKey {
        nibbles_key(a, b, sum::<S, BetweenDot>(simd, a, b))
    }

    #[inline(always)]
    fn key4<S: Simd>(self, simd: S, query: &[Block], (): (), rows: [&[Block]; 4]) -> [OrderKey; 4] {
        let sums = sum4::<S, BetweenDot>(simd, query, rows);
        let ([a, b, c, d], [row, second, third, last]) = (sums, rows);
        let [a, b] = [nibbles_key(query, row, a), nibbles_key(query, second, b)];
        [a, b, nibbles_key(query, third, c), nibbles_key(query, last, d)]
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}

#[cfg(test)]
mod tests;
