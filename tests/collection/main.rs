//! Collections within one process.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod commits;
mod damage;
mod exchange;
mod golden;
mod listing;
mod opening;
mod power_cut;
mod tables;
mod tasks;
