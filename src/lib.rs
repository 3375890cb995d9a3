//! Embeddable vector search.

mod arena;
pub mod dataset;
mod distance;
mod error;
mod graph;
mod index;
mod metric;
mod simd;
pub mod store;
mod vector;

pub use error::{IndexError, VectorError};
pub use metric::Metric;
pub use vector::{AsVector, Bf16, Element, F16, VectorRef};
