//! Removal of a node, in three steps.
//!
//! `cut.rs` takes the node out of the spanning trees and joins its tree neighbours; `bypass.rs` gives its neighbours links past it; `sweep.rs`
//! removes the links to it that are left, some rows at a time.

mod bypass;
mod cut;
mod sweep;

pub(crate) use sweep::Sweep;
