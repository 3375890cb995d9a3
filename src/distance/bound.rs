//! A kernel bound to an instruction set: one indirect call compares a query with many rows.
//!
//! Each pair of kernel and instruction set is compiled once, here: rows are found in the same way wherever they are
//! ([`ByteRows`]).

use std::fmt;

use bytemuck::cast_slice;

use super::Kernel;
use crate::arena::{ByteRows, SliceRows};
use crate::order_key::OrderKey;
use crate::simd::{Simd, Task};

/// A kernel and its instruction set, chosen at run time. Vectors are the bytes of components of the kernel's type.
pub(crate) trait BoundKernel: Send + Sync {
    /// Writes the order keys of the distances between `query` and each of the rows with `ids` to `orders`, which has their number.
    ///
    /// # Panics
    ///
    /// If a row does not exist, or if the address or the length of a vector is not one of components of the kernel's type.
    fn orders(&self, query: &[u8], rows: ByteRows<'_>, ids: &[u32], orders: &mut [OrderKey]);

    /// Returns the distance that an order key encodes.
    fn distance(&self, order: OrderKey) -> f32;

    /// Returns the names of the kernel and the instruction set.
    fn name(&self) -> &'static str;
}

impl dyn BoundKernel {
    /// Writes the order keys of the distances between `query` and each of `rows`, which follow one another and are as many as `orders`.
    pub(crate) fn orders_in_line(&self, query: &[u8], rows: &[u8], orders: &mut [OrderKey]) {
        const IDS: [u32; 32] = {
            let mut ids = [0; 32];
            let mut id = 0;
            while id < ids.len() {
                ids[id] = id as u32;
                id += 1;
            }
            ids
        };

        let stride = rows.len() / orders.len().max(1);
        let mut rest = rows;
        for orders in orders.chunks_mut(IDS.len()) {
            let rows;
            (rows, rest) = rest.split_at(orders.len() * stride);
            let rows = SliceRows::new(rows, stride);
            self.orders(query, rows.rows(), &IDS[..orders.len()], orders);
        }
    }
}

impl fmt::Debug for dyn BoundKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Binds `kernel` to the instruction set that `simd` proves. The pair has no size, so the box takes no memory.
pub(super) fn bind<S: Simd, K: Kernel>(simd: S, kernel: K) -> Box<dyn BoundKernel> {
    Box::new(Bound { simd, kernel })
}

#[derive(Clone, Copy)]
struct Bound<S, K> {
    simd: S,
    kernel: K,
}

impl<S: Simd, K: Kernel> BoundKernel for Bound<S, K> {
    fn orders(&self, query: &[u8], rows: ByteRows<'_>, ids: &[u32], orders: &mut [OrderKey]) {
        self.simd.run(Compare { kernel: self.kernel, query, rows, ids, orders });
    }

    fn distance(&self, order: OrderKey) -> f32 {
        self.kernel.distance(order)
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

/// One query and many rows.
struct Compare<'a, K> {
    kernel: K,
    query: &'a [u8],
    rows: ByteRows<'a>,
    ids: &'a [u32],
    orders: &'a mut [OrderKey],
}

impl<K: Kernel> Task for Compare<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { kernel, query, rows, mut ids, mut orders } = self;
        let query: &[K::Element] = cast_slice(query);
        let shared = kernel.share(simd, query);
        if const { K::FOURS.on::<S>() } {
            let ((fours, rest), (four_orders, last)) =
                (ids.as_chunks::<4>(), orders.as_chunks_mut::<4>());
            for (four, orders) in fours.iter().zip(four_orders) {
                let [a, b, c, d] = *four;
                let four = [rows.row(a), rows.row(b), rows.row(c), rows.row(d)];
                let [a, b, c, d] = four;
                let four = [cast_slice(a), cast_slice(b), cast_slice(c), cast_slice(d)];
                *orders = kernel.key4(simd, query, shared, four);
            }
            (ids, orders) = (rest, last);
        }
        for (&id, order) in ids.iter().zip(orders) {
            *order = kernel.key(simd, query, shared, cast_slice(rows.row(id)));
        }
    }
}
