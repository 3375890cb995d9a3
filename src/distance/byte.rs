//! Kernels over bytes. All sums are exact.

use super::float::cosine_distance;
use super::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;
use bytemuck::Pod;
use std::fmt::Debug;
use std::marker::PhantomData;

/// A signed or unsigned byte.
pub(super) trait Byte: Pod + Debug + Default + Send + Sync {
    fn pad<S: Simd>(simd: S, from: &[Self]) -> [Self; 64];
    fn l2<S: Simd>(simd: S, acc: S::I32, a: &[Self; 64], b: &[Self; 64]) -> S::I32;
    fn dot<S: Simd>(simd: S, acc: S::I32, a: &[Self; 64], b: &[Self; 64]) -> S::I32;
    /// Returns the key of an inner product: descending.
    fn dot_key(dot: i32) -> OrderKey;
    /// Returns the inner product that [`Byte::dot_key`] made the key from.
    fn dot_of(key: OrderKey) -> f64;
    /// Returns a sum of [`Byte::dot`] as a number.
    fn exact(dot: i32) -> f64;
}

impl Byte for u8 {
    #[inline(always)]
    fn pad<S: Simd>(simd: S, from: &[Self]) -> [Self; 64] {
        simd.u8_pad(from)
    }

    #[inline(always)]
    fn l2<S: Simd>(simd: S, acc: S::I32, a: &[Self; 64], b: &[Self; 64]) -> S::I32 {
        simd.u8_l2(acc, a, b)
    }

    #[inline(always)]
    fn dot<S: Simd>(simd: S, acc: S::I32, a: &[Self; 64], b: &[Self; 64]) -> S::I32 {
        simd.u8_dot(acc, a, b)
    }

    #[inline(always)]
    fn dot_key(dot: i32) -> OrderKey {
        OrderKey::from_bits(!(dot as u32))
    }

    #[inline(always)]
    fn dot_of(key: OrderKey) -> f64 {
        f64::from(!key.to_bits())
    }

    #[inline(always)]
    fn exact(dot: i32) -> f64 {
        f64::from(dot as u32)
    }
}

impl Byte for i8 {
    #[inline(always)]
    fn pad<S: Simd>(simd: S, from: &[Self]) -> [Self; 64] {
        bytemuck::cast(simd.u8_pad(bytemuck::cast_slice(from)))
    }

    #[inline(always)]
    fn l2<S: Simd>(simd: S, acc: S::I32, a: &[Self; 64], b: &[Self; 64]) -> S::I32 {
        simd.i8_l2(acc, a, b)
    }

    #[inline(always)]
    fn dot<S: Simd>(simd: S, acc: S::I32, a: &[Self; 64], b: &[Self; 64]) -> S::I32 {
        simd.i8_dot(acc, a, b)
    }

    #[inline(always)]
    fn dot_key(dot: i32) -> OrderKey {
        OrderKey::from_bits(!(dot as u32 ^ 0x8000_0000))
    }

    #[inline(always)]
    fn dot_of(key: OrderKey) -> f64 {
        f64::from((!key.to_bits() ^ 0x8000_0000) as i32)
    }

    #[inline(always)]
    fn exact(dot: i32) -> f64 {
        f64::from(dot)
    }
}

/// The term that is summed over 64 bytes at a time.
pub(super) trait Step<E> {
    /// Returns `acc` and the terms of `a` and `b`, added up.
    fn add<S: Simd>(simd: S, acc: S::I32, a: &[E; 64], b: &[E; 64]) -> S::I32;
}

/// `(a - b)^2`.
struct Square;

impl<E: Byte> Step<E> for Square {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::I32, a: &[E; 64], b: &[E; 64]) -> S::I32 {
        E::l2(simd, acc, a, b)
    }
}

/// `a * b`.
pub(super) struct Product;

impl<E: Byte> Step<E> for Product {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::I32, a: &[E; 64], b: &[E; 64]) -> S::I32 {
        E::dot(simd, acc, a, b)
    }
}

/// Returns the terms of `a` and `b`, added up to one register.
#[inline(always)]
pub(super) fn sums<S: Simd, E: Byte, T: Step<E>>(simd: S, a: &[E], b: &[E]) -> S::I32 {
    let len = a.len().min(b.len());
    let (a, a_tail) = a[..len].as_chunks::<64>();
    let (b, b_tail) = b[..len].as_chunks::<64>();
    let (a, a_rest) = a.as_chunks::<2>();
    let (b, b_rest) = b.as_chunks::<2>();
    let (mut even, mut odd) = (simd.i32_zero(), simd.i32_zero());
    for (a, b) in a.iter().zip(b) {
        even = T::add(simd, even, &a[0], &b[0]);
        odd = T::add(simd, odd, &a[1], &b[1]);
    }
    if let ([a], [b]) = (a_rest, b_rest) {
        even = T::add(simd, even, a, b);
    }
    if !a_tail.is_empty() {
        odd = T::add(simd, odd, &E::pad(simd, a_tail), &E::pad(simd, b_tail));
    }
    simd.i32_add(even, odd)
}

/// Returns [`sums`] of `a` and each of `rows`, which have one length.
#[inline(always)]
pub(super) fn sums4<S: Simd, E: Byte, T: Step<E>>(
    simd: S,
    a: &[E],
    rows: [&[E]; 4],
) -> [S::I32; 4] {
    let len = a.len().min(rows[0].len());
    let (a, a_tail) = a[..len].as_chunks::<64>();
    let (b0, b0_tail) = rows[0][..len].as_chunks::<64>();
    let (b1, b1_tail) = rows[1][..len].as_chunks::<64>();
    let (b2, b2_tail) = rows[2][..len].as_chunks::<64>();
    let (b3, b3_tail) = rows[3][..len].as_chunks::<64>();
    let mut acc = [simd.i32_zero(); 4];
    for ((((a, b0), b1), b2), b3) in a.iter().zip(b0).zip(b1).zip(b2).zip(b3) {
        acc[0] = T::add(simd, acc[0], a, b0);
        acc[1] = T::add(simd, acc[1], a, b1);
        acc[2] = T::add(simd, acc[2], a, b2);
        acc[3] = T::add(simd, acc[3], a, b3);
    }
    if !a_tail.is_empty() {
        let a = E::pad(simd, a_tail);
        acc[0] = T::add(simd, acc[0], &a, &E::pad(simd, b0_tail));
        acc[1] = T::add(simd, acc[1], &a, &E::pad(simd, b1_tail));
        acc[2] = T::add(simd, acc[2], &a, &E::pad(simd, b2_tail));
        acc[3] = T::add(simd, acc[3], &a, &E::pad(simd, b3_tail));
    }
    acc
}

/// `sum((a - b)^2)`; the key is the sum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SquaredL2<E>(PhantomData<E>);

impl<E: Byte> Kernel for SquaredL2<E> {
    type Element = E;
    type Shared = ();
    const FOURS: Fours = Fours::ManyRegisters;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[E]) {}

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, a: &[E], (): (), b: &[E]) -> OrderKey {
        OrderKey::from_bits(simd.i32_sum(sums::<S, E, Square>(simd, a, b)) as u32)
    }

    #[inline(always)]
    fn key4<S: Simd>(self, simd: S, query: &[E], (): (), rows: [&[E]; 4]) -> [OrderKey; 4] {
        let [a, b, c, d] = simd.i32_sum4(sums4::<S, E, Square>(simd, query, rows));
        [
            OrderKey::from_bits(a as u32),
            OrderKey::from_bits(b as u32),
            OrderKey::from_bits(c as u32),
            OrderKey::from_bits(d as u32),
        ]
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_bits() as f32
    }
}

/// `-sum(a * b)`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InnerProduct<E>(PhantomData<E>);

impl<E: Byte> Kernel for InnerProduct<E> {
    type Element = E;
    type Shared = ();
    const FOURS: Fours = Fours::ManyRegisters;

    #[inline(always)]
    fn share<S: Simd>(self, _: S, _: &[E]) {}

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, a: &[E], (): (), b: &[E]) -> OrderKey {
        E::dot_key(simd.i32_sum(sums::<S, E, Product>(simd, a, b)))
    }

    #[inline(always)]
    fn key4<S: Simd>(self, simd: S, query: &[E], (): (), rows: [&[E]; 4]) -> [OrderKey; 4] {
        let [a, b, c, d] = simd.i32_sum4(sums4::<S, E, Product>(simd, query, rows));
        [E::dot_key(a), E::dot_key(b), E::dot_key(c), E::dot_key(d)]
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        (0.0 - E::dot_of(key)) as f32
    }
}

/// `1 - sum(a * b) / sqrt(sum(a^2) * sum(b^2))`; 1 if one of the vectors is zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cosine<E>(PhantomData<E>);

impl<E: Byte> Cosine<E> {
    #[inline(always)]
    fn finish(dot: i32, aa: i32, bb: i32) -> OrderKey {
        // A square root for each: their product may need more digits than an `f64` has.
        let norms = f64::from(aa as u32).sqrt() * f64::from(bb as u32).sqrt();
        let cosine = if norms == 0.0 { 0.0 } else { E::exact(dot) / norms };
        OrderKey::of_f32(cosine_distance(cosine as f32))
    }
}

/// Returns `sum(a * b)` and `sum(b * b)`, computed in one pass, each added up to one register.
#[inline(always)]
pub(super) fn product_and_square<S: Simd, E: Byte>(simd: S, a: &[E], b: &[E]) -> (S::I32, S::I32) {
    let len = a.len().min(b.len());
    let (a, a_tail) = a[..len].as_chunks::<64>();
    let (b, b_tail) = b[..len].as_chunks::<64>();
    let (mut product, mut square) = (simd.i32_zero(), simd.i32_zero());
    for (a, b) in a.iter().zip(b) {
        product = E::dot(simd, product, a, b);
        square = E::dot(simd, square, b, b);
    }
    if !a_tail.is_empty() {
        let (a, b) = (E::pad(simd, a_tail), E::pad(simd, b_tail));
        product = E::dot(simd, product, &a, &b);
        square = E::dot(simd, square, &b, &b);
    }
    (product, square)
}

impl<E: Byte> Kernel for Cosine<E> {
    type Element = E;
    /// The square of the query.
    type Shared = i32;
    const FOURS: Fours = Fours::Never;

    #[inline(always)]
    fn share<S: Simd>(self, simd: S, query: &[E]) -> i32 {
        simd.i32_sum(sums::<S, E, Product>(simd, query, query))
    }

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, query: &[E], qq: i32, row: &[E]) -> OrderKey {
        let (dot, square) = product_and_square(simd, query, row);
        let zero = simd.i32_zero();
        let [dot, square, ..] = simd.i32_sum4([dot, square, zero, zero]);
        Self::finish(dot, qq, square)
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}
