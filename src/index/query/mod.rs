//! The parts of a query and of its answer: filters, requests, limits of time, and hits. They know no index.

pub(in crate::index) mod budget;
pub(in crate::index) mod combined;
pub(in crate::index) mod filter;
pub(in crate::index) mod hits;
pub(in crate::index) mod key_sets;
pub(in crate::index) mod request;
#[cfg(feature = "serde")]
mod serial;
pub(in crate::index) mod verdicts;
