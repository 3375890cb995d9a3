//! From vectors to codes of a fraction of their size, and distances over codes.

mod persist;
mod rotation;
mod scalar;

pub(crate) use scalar::{Bits, ScalarGrid};
