//! One object per index calls its kernel on its instruction set: distances from a query to a list of slots are a single
//! indirect call, behind which all code is inlined.

pub(in crate::index) mod field;

use std::fmt::Debug;
use std::sync::Arc;

use bytemuck::cast_slice;

use crate::arena::{Slot, View};
use crate::distance::{Kernel, Visitor, dispatch};
use crate::error::IndexError;
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::quantization::Coder;
use crate::simd::{Isa, Simd, Task};
use crate::vector::{Block, Element};

/// The distance computations of an index.
pub(in crate::index) trait Engine: Send + Sync + Debug {
    /// Writes the order keys of the distances between `query` and each of `slots` to `orders`.
    fn orders(
        &self,
        rows: View<'_, Block>,
        query: &[Block],
        slots: &[Slot],
        orders: &mut [OrderKey],
    );

    /// Writes the order keys of the distances between `slot` and each of `slots` to `orders`.
    fn between(&self, rows: View<'_, Block>, slot: Slot, slots: &[Slot], orders: &mut [OrderKey]) {
        self.orders(rows, rows.row(slot), slots, orders);
    }

    /// Writes the order keys of the distances between `query` and each of `rows`, which follow one another, to `orders`; both
    /// have the same number.
    fn orders_in_line(&self, rows: &[Block], query: &[Block], orders: &mut [OrderKey]);

    /// Returns the distance that an order key encodes.
    fn distance(&self, order: OrderKey) -> f32;
}

struct Boxed;

impl Visitor for Boxed {
    type Output = Box<dyn Engine>;

    fn visit<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> Self::Output {
        Box::new(Bound { simd, kernel })
    }
}

/// Returns the engine of a metric over an element type, on the given instruction set.
pub(in crate::index) fn engine(
    metric: Metric,
    element: Element,
    isa: Isa,
) -> Result<Box<dyn Engine>, IndexError> {
    dispatch(metric, element, isa, true, Boxed).ok_or(IndexError::Unsupported { metric, element })
}

/// Returns the engine over the codes of a quantizer. Queries are in their prepared form.
pub(in crate::index) fn code_engine(coder: &Arc<Coder>, isa: Isa) -> Option<Box<dyn Engine>> {
    let query = coder.visit(isa, Boxed)?;
    Some(match &**coder {
        Coder::Scalar(_) => match coder.visit_between(isa, Boxed) {
            Some(between) => Box::new(Asymmetric { query, between, coder: coder.clone() }),
            None => query,
        },
        Coder::Product(_) | Coder::Rabitq(_) => Box::new(Coded { query, coder: coder.clone() }),
    })
}

/// Engine over codes if queries have another form than rows.
#[derive(Debug)]
struct Asymmetric {
    query: Box<dyn Engine>,
    between: Box<dyn Engine>,
    coder: Arc<Coder>,
}

impl Engine for Asymmetric {
    fn orders(
        &self,
        rows: View<'_, Block>,
        query: &[Block],
        slots: &[Slot],
        orders: &mut [OrderKey],
    ) {
        self.query.orders(rows, query, slots, orders);
    }

    fn between(&self, rows: View<'_, Block>, slot: Slot, slots: &[Slot], orders: &mut [OrderKey]) {
        let row = rows.row(slot);
        self.between.orders(rows, row, slots, orders);
        if !self.coder.has_plain_codes() {
            return;
        }
        // Few pairs of codes are of two kinds.
        let mut query = None;
        for (&other, order) in slots.iter().zip(orders) {
            if self.coder.differ(row, rows.row(other))
                && let Some(query) = query.get_or_insert_with(|| self.coder.query_of(row))
            {
                self.query.orders(rows, query, &[other], std::slice::from_mut(order));
            }
        }
    }

    fn orders_in_line(&self, rows: &[Block], query: &[Block], orders: &mut [OrderKey]) {
        self.query.orders_in_line(rows, query, orders);
    }

    fn distance(&self, order: OrderKey) -> f32 {
        self.query.distance(order)
    }
}

/// Engine over codes if the quantizer itself compares rows.
#[derive(Debug)]
struct Coded {
    query: Box<dyn Engine>,
    coder: Arc<Coder>,
}

impl Engine for Coded {
    fn orders(
        &self,
        rows: View<'_, Block>,
        query: &[Block],
        slots: &[Slot],
        orders: &mut [OrderKey],
    ) {
        self.query.orders(rows, query, slots, orders);
    }

    fn between(&self, rows: View<'_, Block>, slot: Slot, slots: &[Slot], orders: &mut [OrderKey]) {
        let row = rows.row(slot);
        if let Some(query) = self.coder.query_of(row) {
            return self.query.orders(rows, &query, slots, orders);
        }
        for (order, &other) in orders.iter_mut().zip(slots) {
            *order = self.coder.key_between(row, rows.row(other));
        }
    }

    fn orders_in_line(&self, rows: &[Block], query: &[Block], orders: &mut [OrderKey]) {
        self.query.orders_in_line(rows, query, orders);
    }

    fn distance(&self, order: OrderKey) -> f32 {
        self.query.distance(order)
    }
}

/// A kernel and the proof that the CPU can run it.
#[derive(Debug, Clone, Copy)]
struct Bound<S, K> {
    simd: S,
    kernel: K,
}

impl<S: Simd, K: Kernel> Engine for Bound<S, K> {
    fn orders(
        &self,
        rows: View<'_, Block>,
        query: &[Block],
        slots: &[Slot],
        orders: &mut [OrderKey],
    ) {
        self.simd.run(Measure { kernel: self.kernel, rows, query, slots, orders });
    }

    fn orders_in_line(&self, rows: &[Block], query: &[Block], orders: &mut [OrderKey]) {
        self.simd.run(MeasureLine { kernel: self.kernel, rows, query, orders });
    }

    fn distance(&self, order: OrderKey) -> f32 {
        self.kernel.distance(order)
    }
}

/// Distances from one query to many rows.
struct Measure<'a, K> {
    kernel: K,
    rows: View<'a, Block>,
    query: &'a [Block],
    slots: &'a [Slot],
    orders: &'a mut [OrderKey],
}

impl<K: Kernel> Task for Measure<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { kernel, rows, query, slots, orders } = self;
        let query: &[K::Element] = cast_slice(query);
        let row = |slot: Slot| cast_slice::<Block, K::Element>(rows.row(slot));
        let (fours, rest) = slots.as_chunks::<4>();
        let (out, last) = orders.split_at_mut(fours.len() * 4);
        for (four, out) in fours.iter().zip(out.as_chunks_mut::<4>().0) {
            *out = kernel.key4(simd, query, four.map(row));
        }
        for (&slot, out) in rest.iter().zip(last) {
            *out = kernel.key(simd, query, row(slot));
        }
    }
}

/// Distances from one query to rows that follow one another.
struct MeasureLine<'a, K> {
    kernel: K,
    rows: &'a [Block],
    query: &'a [Block],
    orders: &'a mut [OrderKey],
}

impl<K: Kernel> Task for MeasureLine<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { kernel, rows, query, orders } = self;
        let query: &[K::Element] = cast_slice(query);
        let stride = rows.len() / orders.len().max(1);
        let (fours, rest) = orders.as_chunks_mut::<4>();
        let (four_rows, rows) = rows.split_at(4 * stride * fours.len());
        for (four, rows) in fours.iter_mut().zip(four_rows.chunks_exact(4 * stride.max(1))) {
            let row = |i: usize| cast_slice(&rows[i * stride..(i + 1) * stride]);
            *four = kernel.key4(simd, query, [row(0), row(1), row(2), row(3)]);
        }
        for (one, row) in rest.iter_mut().zip(rows.chunks_exact(stride.max(1))) {
            *one = kernel.key(simd, query, cast_slice(row));
        }
    }
}
