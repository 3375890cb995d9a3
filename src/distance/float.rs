//! Kernels over floating-point numbers, which are widened to `f32` and summed as such.
//!
//! Every kernel makes a sum in the same order: [`Simd::CHAINS`] sums taken in turn by
//! registers of sixteen, then added up. So `key4` gives the bits of `key`.

use super::{Fours, Kernel};
use crate::order_key::OrderKey;
use crate::simd::Simd;
use crate::vector::{Bf16, F16};
use bytemuck::Pod;
use std::fmt::Debug;
use std::marker::PhantomData;

/// A number that can be widened to `f32`.
pub(super) trait Float: Pod + Debug + Default + Send + Sync + Into<f32> {
    fn load<S: Simd>(simd: S, from: &[Self; 16]) -> S::F32;
    fn load_partial<S: Simd>(simd: S, from: &[Self]) -> S::F32;
}

macro_rules! float {
    ($($float:ty: $load:ident, $load_partial:ident;)*) => {$(
        impl Float for $float {
            #[inline(always)]
            fn load<S: Simd>(simd: S, from: &[Self; 16]) -> S::F32 {
                simd.$load(from)
            }

            #[inline(always)]
            fn load_partial<S: Simd>(simd: S, from: &[Self]) -> S::F32 {
                simd.$load_partial(from)
            }
        }
    )*};
}

float! {
    f32: f32_load, f32_load_partial;
    F16: f16_load, f16_load_partial;
    Bf16: bf16_load, bf16_load_partial;
}

/// The term that is summed over the components.
trait Term {
    /// Returns `acc` and the term of `a` and `b`, added up.
    fn add<S: Simd>(simd: S, acc: S::F32, a: S::F32, b: S::F32) -> S::F32;
}

/// `(a - b)^2`.
struct Square;

impl Term for Square {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::F32, a: S::F32, b: S::F32) -> S::F32 {
        let difference = simd.sub(a, b);
        simd.mul_add(difference, difference, acc)
    }
}

/// `a * b`.
struct Product;

impl Term for Product {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::F32, a: S::F32, b: S::F32) -> S::F32 {
        simd.mul_add(a, b, acc)
    }
}

/// Returns the chain that takes the register numbered `i`.
#[inline(always)]
const fn chain<S: Simd>(i: usize) -> usize {
    i % S::CHAINS
}

/// Returns one register that adds up all chains.
#[inline(always)]
fn join<S: Simd>(simd: S, chains: [S::F32; 4]) -> S::F32 {
    match S::CHAINS {
        1 => chains[0],
        2 => simd.add(chains[0], chains[1]),
        _ => simd.add(simd.add(chains[0], chains[1]), simd.add(chains[2], chains[3])),
    }
}

/// Returns the terms of `a` and `b`, added up to one register.
#[inline(always)]
fn sums<S: Simd, E: Float, T: Term>(simd: S, a: &[E], b: &[E]) -> S::F32 {
    let len = a.len().min(b.len());
    let (a, a_tail) = a[..len].as_chunks::<16>();
    let (b, b_tail) = b[..len].as_chunks::<16>();
    let mut acc = [simd.f32_zero(); 4];
    if const { S::CHAINS == 1 } {
        for (a, b) in a.iter().zip(b) {
            acc[0] = T::add(simd, acc[0], E::load(simd, a), E::load(simd, b));
        }
        if !a_tail.is_empty() {
            let (a, b) = (E::load_partial(simd, a_tail), E::load_partial(simd, b_tail));
            acc[0] = T::add(simd, acc[0], a, b);
        }
        return acc[0];
    }
    let (a, a_rest) = a.as_chunks::<4>();
    let (b, b_rest) = b.as_chunks::<4>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..4 {
            let c = chain::<S>(i);
            acc[c] = T::add(simd, acc[c], E::load(simd, &a[i]), E::load(simd, &b[i]));
        }
    }
    for i in 0..3 {
        if let (Some(a), Some(b)) = (a_rest.get(i), b_rest.get(i)) {
            let c = chain::<S>(i);
            acc[c] = T::add(simd, acc[c], E::load(simd, a), E::load(simd, b));
        }
    }
    if !a_tail.is_empty() {
        let c = chain::<S>(3);
        let (a, b) = (E::load_partial(simd, a_tail), E::load_partial(simd, b_tail));
        acc[c] = T::add(simd, acc[c], a, b);
    }
    join(simd, acc)
}

/// Returns [`sums`] of `a` and each of `rows`, which have one length.
#[inline(always)]
fn sums4<S: Simd, E: Float, T: Term>(simd: S, a: &[E], rows: [&[E]; 4]) -> [S::F32; 4] {
    let len = a.len().min(rows[0].len());
    let (a, a_tail) = a[..len].as_chunks::<16>();
    let (a, a_rest) = a.as_chunks::<4>();
    let (b0, b0_tail) = rows[0][..len].as_chunks::<16>();
    let (b1, b1_tail) = rows[1][..len].as_chunks::<16>();
    let (b2, b2_tail) = rows[2][..len].as_chunks::<16>();
    let (b3, b3_tail) = rows[3][..len].as_chunks::<16>();
    let (b0, b0_rest) = b0.as_chunks::<4>();
    let (b1, b1_rest) = b1.as_chunks::<4>();
    let (b2, b2_rest) = b2.as_chunks::<4>();
    let (b3, b3_rest) = b3.as_chunks::<4>();
    let mut acc = [[simd.f32_zero(); 4]; 4];
    for ((((a, b0), b1), b2), b3) in a.iter().zip(b0).zip(b1).zip(b2).zip(b3) {
        for i in 0..4 {
            let c = chain::<S>(i);
            let a = E::load(simd, &a[i]);
            acc[0][c] = T::add(simd, acc[0][c], a, E::load(simd, &b0[i]));
            acc[1][c] = T::add(simd, acc[1][c], a, E::load(simd, &b1[i]));
            acc[2][c] = T::add(simd, acc[2][c], a, E::load(simd, &b2[i]));
            acc[3][c] = T::add(simd, acc[3][c], a, E::load(simd, &b3[i]));
        }
    }
    for i in 0..3 {
        if let (Some(a), Some(b0), Some(b1), Some(b2), Some(b3)) =
            (a_rest.get(i), b0_rest.get(i), b1_rest.get(i), b2_rest.get(i), b3_rest.get(i))
        {
            let c = chain::<S>(i);
            let a = E::load(simd, a);
            acc[0][c] = T::add(simd, acc[0][c], a, E::load(simd, b0));
            acc[1][c] = T::add(simd, acc[1][c], a, E::load(simd, b1));
            acc[2][c] = T::add(simd, acc[2][c], a, E::load(simd, b2));
            acc[3][c] = T::add(simd, acc[3][c], a, E::load(simd, b3));
        }
    }
    if !a_tail.is_empty() {
        let c = chain::<S>(3);
        let a = E::load_partial(simd, a_tail);
        acc[0][c] = T::add(simd, acc[0][c], a, E::load_partial(simd, b0_tail));
        acc[1][c] = T::add(simd, acc[1][c], a, E::load_partial(simd, b1_tail));
        acc[2][c] = T::add(simd, acc[2][c], a, E::load_partial(simd, b2_tail));
        acc[3][c] = T::add(simd, acc[3][c], a, E::load_partial(simd, b3_tail));
    }
    [join(simd, acc[0]), join(simd, acc[1]), join(simd, acc[2]), join(simd, acc[3])]
}

/// Defines a kernel whose key follows from one sum.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $term:ty, $distance:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct $name<E>(PhantomData<E>);

        impl<E: Float> Kernel for $name<E> {
            type Element = E;
            type Shared = ();
            const FOURS: Fours = Fours::ManyRegisters;

            #[inline(always)]
            fn share<S: Simd>(self, _: S, _: &[E]) {}

            #[inline(always)]
            fn key<S: Simd>(self, simd: S, a: &[E], (): (), b: &[E]) -> OrderKey {
                let sum = simd.f32_sum(sums::<S, E, $term>(simd, a, b));
                OrderKey::of_f32($distance(sum))
            }

            #[inline(always)]
            fn key4<S: Simd>(self, simd: S, query: &[E], (): (), rows: [&[E]; 4]) -> [OrderKey; 4] {
                let [a, b, c, d] = simd.f32_sum4(sums4::<S, E, $term>(simd, query, rows));
                [
                    OrderKey::of_f32($distance(a)),
                    OrderKey::of_f32($distance(b)),
                    OrderKey::of_f32($distance(c)),
                    OrderKey::of_f32($distance(d)),
                ]
            }

            #[inline(always)]
            fn distance(self, key: OrderKey) -> f32 {
                key.to_f32()
            }
        }
    };
}

kernel! {
    /// `sum((a - b)^2)`.
    SquaredL2, Square, core::convert::identity
}

kernel! {
    /// `-sum(a * b)`.
    InnerProduct, Product, negated
}

kernel! {
    /// `1 - sum(a * b)`, which is the cosine distance of vectors of unit length.
    UnitCosine, Product, cosine_distance
}

/// Returns `-x`, but a zero stays positive.
#[inline(always)]
fn negated(x: f32) -> f32 {
    0.0 - x
}

/// Returns `1 - cosine`, raised to zero if rounding made it negative; NaN stays NaN.
#[inline(always)]
pub(super) fn cosine_distance(cosine: f32) -> f32 {
    let distance = 1.0 - cosine;
    if distance < 0.0 { 0.0 } else { distance }
}

/// `1 - sum(a * b) / sqrt(sum(a^2) * sum(b^2))`: cosine distance of vectors of any length; 1 if
/// one of them is zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cosine<E>(PhantomData<E>);

impl<E: Float> Cosine<E> {
    /// Returns the key of the three sums. If they left the range of `f32`, they are computed from `a` and `b`
    /// again.
    #[inline(always)]
    fn finish(dot: f32, aa: f32, bb: f32, a: &[E], b: &[E]) -> OrderKey {
        // Squares below this lost digits, and sums that overflowed are not below infinity.
        const SMALLEST: f32 = 1e-30;
        let trusted = aa > SMALLEST && bb > SMALLEST && aa < f32::INFINITY && bb < f32::INFINITY;
        let cosine = if trusted {
            (f64::from(dot) / (f64::from(aa) * f64::from(bb)).sqrt()) as f32
        } else {
            cosine_in_f64(a, b)
        };
        OrderKey::of_f32(cosine_distance(cosine))
    }
}

/// Returns the cosine of `a` and `b` in double precision, whose range holds the squares of all floats.
#[cold]
#[inline(never)]
fn cosine_in_f64<E: Float>(a: &[E], b: &[E]) -> f32 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a.into()), f64::from(b.into()));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa == 0.0 || bb == 0.0 { 0.0 } else { (dot / (aa.sqrt() * bb.sqrt())) as f32 }
}

impl<E: Float> Kernel for Cosine<E> {
    type Element = E;
    /// The square of the query.
    type Shared = f32;
    const FOURS: Fours = Fours::Never;

    #[inline(always)]
    fn share<S: Simd>(self, simd: S, query: &[E]) -> f32 {
        simd.f32_sum(sums::<S, E, Product>(simd, query, query))
    }

    #[inline(always)]
    fn key<S: Simd>(self, simd: S, query: &[E], qq: f32, row: &[E]) -> OrderKey {
        let mut parts = [simd.f32_zero(); 4];
        // One loop after the other, and both compiled once.
        for (sum, a) in parts.iter_mut().zip([query, row]) {
            *sum = sums::<S, E, Product>(simd, a, row);
        }
        let [dot, square, ..] = simd.f32_sum4(parts);
        Self::finish(dot, qq, square, query, row)
    }

    #[inline(always)]
    fn distance(self, key: OrderKey) -> f32 {
        key.to_f32()
    }
}
