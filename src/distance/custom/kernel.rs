//! A custom metric as a kernel of an index: rows become slices of components, distances become order keys, and panics are noted.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::{Pod, cast_slice};

use super::{Custom, CustomMetric};
use crate::arena::ByteRows;
use crate::distance::BoundKernel;
use crate::error::IndexError;
use crate::order_key::OrderKey;
use crate::vector::{Bf16, Element, F16};

/// The use of a custom metric in one index.
pub(crate) struct CustomUse {
    name: Arc<str>,
    may_be_negative: bool,
    /// Panics until now.
    panics: AtomicU64,
    /// The message of the last panic.
    message: Mutex<String>,
    /// Makes the error after a panic. A pointer: only programs that make a custom metric contain it.
    error: fn(&Self) -> IndexError,
}

impl CustomUse {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn may_be_negative(&self) -> bool {
        self.may_be_negative
    }

    /// Returns the number of panics until now.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::SeqCst)
    }

    /// Notes a panic.
    #[cold]
    fn note(&self, payload: Box<dyn Any + Send>) {
        let text = payload
            .downcast::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|payload| payload.downcast::<String>().map(|text| *text));
        let text = text.unwrap_or_else(|payload| {
            // The destructor of a payload of the user's own may panic, too.
            Box::leak(payload);
            "a payload that is no text".to_owned()
        });
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.panics.fetch_add(1, Ordering::SeqCst);
    }

    #[cold]
    fn error(&self) -> IndexError {
        let message = self.message.lock().unwrap_or_else(PoisonError::into_inner).clone();
        IndexError::MetricPanicked { metric: self.name().to_owned(), message }
    }
}

impl fmt::Debug for CustomUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.name).finish()
    }
}

/// A call that must not rely on distances if a custom metric panics meanwhile.
#[derive(Debug)]
pub(crate) struct Vigil<'a>(Option<(&'a CustomUse, u64)>);

impl<'a> Vigil<'a> {
    /// Begins the call. Other metrics never panic.
    #[inline]
    pub(crate) fn begin(custom: Option<&'a CustomUse>) -> Self {
        Self(custom.map(|custom| (custom, custom.panics())))
    }

    /// Returns an error if the metric has panicked since the beginning.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), IndexError> {
        match self.0 {
            Some((custom, before)) if custom.panics() != before => Err((custom.error)(custom)),
            _ => Ok(()),
        }
    }
}

/// A custom metric over one element type.
struct CustomKernel {
    metric: Arc<dyn CustomMetric>,
    dimension: usize,
    element: Element,
    in_use: Arc<CustomUse>,
}

/// Binds a metric to a dimension and an element type.
pub(super) fn bind(
    custom: &Custom,
    dimension: usize,
    element: Element,
) -> (Box<dyn BoundKernel>, Arc<CustomUse>) {
    let Custom { metric, name, .. } = custom;
    let in_use = Arc::new(CustomUse {
        name: Arc::clone(name),
        may_be_negative: metric.may_be_negative(),
        panics: AtomicU64::new(0),
        message: Mutex::default(),
        error: CustomUse::error,
    });
    let (metric, used) = (Arc::clone(metric), Arc::clone(&in_use));
    (Box::new(CustomKernel { metric, dimension, element, in_use: used }), in_use)
}

thread_local! {
    /// The components of a query and of a row. A kernel that calls another index takes empty ones.
    static FLOATS: Cell<(Vec<f32>, Vec<f32>)> = Cell::default();
}

impl CustomKernel {
    /// Calls `note` with the distance of each row, in the order of `ids`.
    fn measure(&self, query: &[u8], rows: ByteRows<'_>, ids: &[u32], note: impl FnMut(f32)) {
        match self.element {
            Element::F32 => {
                let metric = |a: &[u8], b: &[u8]| {
                    let (a, b): (&[f32], &[f32]) = (cast_slice(a), cast_slice(b));
                    self.metric.distance(&a[..self.dimension], &b[..self.dimension])
                };
                ids.iter().map(|&id| metric(query, rows.row(id))).for_each(note);
            }
            Element::Bit => {
                let bytes = self.element.bytes(self.dimension);
                let metric = |b: &[u8]| self.metric.distance_of_bits(&query[..bytes], &b[..bytes]);
                ids.iter().map(|&id| metric(rows.row(id))).for_each(note);
            }
            Element::F16 => self.measure_converted::<F16>(query, rows, ids, note),
            Element::Bf16 => self.measure_converted::<Bf16>(query, rows, ids, note),
            Element::I8 => self.measure_converted::<i8>(query, rows, ids, note),
            Element::U8 => self.measure_converted::<u8>(query, rows, ids, note),
        }
    }

    /// Does [`Self::measure`] for components that are converted.
    fn measure_converted<T: Pod + Into<f32>>(
        &self,
        query: &[u8],
        rows: ByteRows<'_>,
        ids: &[u32],
        mut note: impl FnMut(f32),
    ) {
        let convert = |row: &[u8], floats: &mut Vec<f32>| {
            let components: &[T] = cast_slice(row);
            floats.clear();
            floats.extend(components[..self.dimension].iter().map(|&component| component.into()));
        };
        let (mut a, mut b) = FLOATS.take();
        convert(query, &mut a);
        for &id in ids {
            convert(rows.row(id), &mut b);
            note(self.metric.distance(&a, &b));
        }
        FLOATS.set((a, b));
    }
}

impl BoundKernel for CustomKernel {
    fn orders(&self, query: &[u8], rows: ByteRows<'_>, ids: &[u32], orders: &mut [OrderKey]) {
        let mut done = 0;
        while done < ids.len() {
            let rest = catch_unwind(AssertUnwindSafe(|| {
                self.measure(query, rows, &ids[done..], |distance| {
                    // A negative zero becomes a zero.
                    orders[done] = OrderKey::of_f32(distance + 0.0);
                    done += 1;
                });
            }));
            if let Err(payload) = rest {
                self.in_use.note(payload);
                orders[done] = OrderKey::MAX;
                done += 1;
            }
        }
    }

    fn distance(&self, order: OrderKey) -> f32 {
        order.to_f32()
    }

    fn name(&self) -> &'static str {
        "a custom metric"
    }
}
