//! The unit in which rows are stored.

use bytemuck::{Pod, Zeroable};

/// One cache line. A stored row is a whole number of blocks, zero padded, so that a kernel inside
/// the walk meets neither a tail nor a line shared by two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Block([u8; 64]);

impl Block {
    /// All bits zero.
    pub(crate) const ZERO: Self = Self([0; 64]);
}
