//! Walks over rows that do not change them.
//!
//! A search goes down through the upper levels (`descent.rs`) and walks the base level best first (`walk.rs`). Other walks keep one of
//! many equal vectors (`distinct.rs`), visit accepted nodes only (`detour.rs`), or continue with more candidates (`widen.rs`). All of them
//! work in a [`Scratch`], so that a search allocates nothing once its buffers have grown.

mod descent;
mod detour;
mod distinct;
mod scratch;
mod walk;
mod widen;

pub(super) use descent::seed;
pub(crate) use detour::{Accepted, Order};
pub(super) use distinct::is_crowded;
pub(crate) use scratch::{Counters, Scratch};
pub(crate) use walk::{Beam, LANES, Near, Watch};
pub(super) use walk::{Walk, begin, land, proceed};
