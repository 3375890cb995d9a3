//! What a walk or an insertion works with, kept from one to the next.

use bumpalo::Bump;

use super::prune::Candidate;
use crate::arena::{Pool, Visited};

/// Buffers of one search or insertion. Once they have grown, a search allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) pool: Pool,
    pub(super) visited: Visited,
    /// Neighbours of the row in hand that were not met before: row and node.
    pub(super) fresh: Vec<(u32, u32)>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) kept: Vec<Candidate>,
    /// Lists that an insertion keeps until it links.
    pub(super) lists: Bump,
    pub(crate) counters: Counters,
}

/// What a walk did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counters {
    /// Distances computed.
    pub(crate) distances: u64,
    /// Rows read.
    pub(crate) hops: u64,
}

impl Scratch {
    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.pool.bytes()
            + self.visited.bytes()
            + self.fresh.capacity() * size_of::<(u32, u32)>()
            + (self.candidates.capacity() + self.kept.capacity()) * size_of::<Candidate>()
            + self.lists.allocated_bytes()
    }
}
