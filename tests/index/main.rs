//! Graphs and exact indexes, their codes and files, and the data sets that they are tested with.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bytes;
mod calibrate;
mod clusters;
mod custom_metric;
mod custom_panics;
mod dataset;
mod determinism;
mod duplicates;
mod errors;
mod files;
mod filter;
mod long_vectors;
mod merge;
mod moved_codes;
mod near_copies;
mod odd_callers;
mod plans;
mod quantization;
mod quantizers;
mod query_modes;
mod remove;
mod replacements;
mod shards;
