//! Recall on data of many shapes.

#[path = "../support/mod.rs"]
mod support;

mod data;
mod ivf;
mod once_failed;
mod product;
mod truth;
