//! Collections within one process.

#[path = "../support/mod.rs"]
mod support;

mod commits;
mod damage;
mod opening;
mod power_cut;
mod tasks;
