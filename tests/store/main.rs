//! The store within one process.

#[path = "../support/mod.rs"]
mod support;

mod concurrency;
mod damage;
mod faults;
mod history;
mod model;
mod power_cut;
mod small;
mod space;
