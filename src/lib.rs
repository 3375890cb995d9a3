//! Embeddable vector search.

pub mod dataset;
mod distance;
mod error;
mod index;
mod metric;
mod simd;
mod vector;
mod arena;
mod graph;
pub mod store;

pub use error::{IndexError, VectorError};
pub use metric::Metric;
pub use vector::{AsVector, Bf16, Element, F16, VectorRef};
