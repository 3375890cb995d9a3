//! The distances between queries and stored rows. [`Engine`] collects the rows that a caller names by their slots, and compares them
//! in one indirect call.

pub(in crate::index) mod field;

use std::sync::Arc;

use bytemuck::cast_slice;

use crate::arena::{Slot, View};
use crate::distance::{BoundKernel, Custom, CustomUse, dispatch};
use crate::error::IndexError;
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::quantization::Coder;
use crate::simd::Isa;
use crate::vector::{Block, Element};

/// The distance computations of an index.
#[derive(Debug)]
pub(in crate::index) struct Engine {
    /// Compares queries and rows.
    kernel: Box<dyn BoundKernel>,
    between: Between,
    /// The use of a custom metric, if the kernel is one.
    custom: Option<Arc<CustomUse>>,
}

/// The comparison of two rows.
#[derive(Debug)]
enum Between {
    /// Queries have the form of rows.
    Same,
    /// A kernel compares two codes.
    Codes(Box<dyn BoundKernel>, Arc<Coder>),
    /// The quantizer itself compares two codes.
    Quantizer(Arc<Coder>),
}

impl Engine {
    /// Returns the engine of a metric over an element type, on the given instruction set.
    pub(in crate::index) fn new(
        metric: Metric,
        element: Element,
        isa: Isa,
    ) -> Result<Self, IndexError> {
        if metric == Metric::Custom {
            return Err(IndexError::Parameter {
                name: "metric",
                value: metric.to_string(),
                allowed: "a metric of this crate; `builder_with` of Flat and Hnsw takes a custom one",
            });
        }
        let kernel = dispatch(metric, element, isa, true)
            .ok_or(IndexError::Unsupported { metric, element })?;
        Ok(Self { kernel, between: Between::Same, custom: None })
    }

    /// Returns the engine of a custom metric.
    pub(in crate::index) fn custom(
        custom: &Custom,
        dimension: usize,
        element: Element,
    ) -> Result<Self, IndexError> {
        let (kernel, custom) = custom.bind(dimension, element)?;
        Ok(Self { kernel, between: Between::Same, custom: Some(custom) })
    }

    /// Returns the use of the custom metric.
    pub(in crate::index) fn custom_use(&self) -> Option<&CustomUse> {
        self.custom.as_deref()
    }

    /// Returns the engine over the codes of a quantizer. Queries are in their prepared form.
    pub(in crate::index) fn over_codes(coder: &Arc<Coder>, isa: Isa) -> Option<Self> {
        let kernel = coder.query_kernel(isa)?;
        let between = match &**coder {
            Coder::Scalar(_) => match coder.code_kernel(isa) {
                Some(between) => Between::Codes(between, coder.clone()),
                None => Between::Same,
            },
            Coder::Product(_) | Coder::Rabitq(_) => Between::Quantizer(coder.clone()),
        };
        Some(Self { kernel, between, custom: None })
    }

    /// Writes the order keys of the distances between `query` and each of `slots` to `orders`.
    #[inline]
    pub(in crate::index) fn orders(
        &self,
        rows: View<'_, Block>,
        query: &[Block],
        slots: &[Slot],
        orders: &mut [OrderKey],
    ) {
        compare(&*self.kernel, rows, query, slots, orders);
    }

    /// Writes the order keys of the distances between `slot` and each of `slots` to `orders`.
    pub(in crate::index) fn between(
        &self,
        rows: View<'_, Block>,
        slot: Slot,
        slots: &[Slot],
        orders: &mut [OrderKey],
    ) {
        let row = rows.row(slot);
        match &self.between {
            Between::Same => self.orders(rows, row, slots, orders),
            Between::Codes(between, coder) => {
                compare(&**between, rows, row, slots, orders);
                if coder.has_plain_codes() {
                    self.compare_unlike(coder, rows, row, slots, orders);
                }
            }
            Between::Quantizer(coder) => {
                if let Some(query) = coder.query_of(row) {
                    return self.orders(rows, &query, slots, orders);
                }
                for (order, &other) in orders.iter_mut().zip(slots) {
                    *order = coder.key_between(row, rows.row(other));
                }
            }
        }
    }

    /// Replaces the order keys of pairs of a centred and a plain code. Such pairs are rare.
    fn compare_unlike(
        &self,
        coder: &Coder,
        rows: View<'_, Block>,
        row: &[Block],
        slots: &[Slot],
        orders: &mut [OrderKey],
    ) {
        let mut query = None;
        for (&other, order) in slots.iter().zip(orders) {
            if coder.differ(row, rows.row(other))
                && let Some(query) = query.get_or_insert_with(|| coder.query_of(row))
            {
                self.orders(rows, query, &[other], std::slice::from_mut(order));
            }
        }
    }

    /// Writes the order keys of the distances between `query` and each of `rows`, which follow one another, to `orders`; both
    /// have the same number.
    pub(in crate::index) fn orders_in_line(
        &self,
        rows: &[Block],
        query: &[Block],
        orders: &mut [OrderKey],
    ) {
        self.kernel.orders_in_line(cast_slice(query), cast_slice(rows), orders);
    }

    /// Returns the distance that an order key encodes.
    #[inline]
    pub(in crate::index) fn distance(&self, order: OrderKey) -> f32 {
        self.kernel.distance(order)
    }
}

/// Writes the order keys of the distances between `query` and each of `slots` under a kernel to `orders`.
#[inline]
fn compare(
    kernel: &dyn BoundKernel,
    rows: View<'_, Block>,
    query: &[Block],
    slots: &[Slot],
    orders: &mut [OrderKey],
) {
    kernel.orders(cast_slice(query), rows.bytes(), cast_slice(slots), orders);
}
