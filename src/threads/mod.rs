//! Threads that divide work, in this process: a forked child has none of its parent's threads.
//!
//! An inherited pool finishes no work. Code that divides work calls [`map`], [`map_parts`], [`map_chunks`] or [`in_turn`], which check the pool first;
//! `tests/architecture.rs` holds the sources against this rule. In WebAssembly the caller's thread is the only one (`alone.rs`).

#[cfg(target_family = "wasm")]
mod alone;
mod divide;
#[cfg(not(target_family = "wasm"))]
mod pools;

#[cfg(target_family = "wasm")]
use alone as pools;

pub(crate) use divide::{in_turn, map, map_chunks, map_parts};
pub(crate) use pools::{KeptPool, count, install, is_in_pool, spawn, with_threads};
