//! Measuring the head of a walk's finds again by the vectors themselves.

use super::engine::Engine;
use crate::arena::View;
use crate::vector::Block;

/// Candidates that are measured again beyond those wanted, at least.
const LEAST: usize = 24;

/// The nearest candidates by their codes, then by their vectors.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// When the search began, as a moment of replacements.
    pub(super) began: u64,
    /// How often the search was begun anew.
    pub(super) attempts: u32,
    slots: Vec<u32>,
    keys: Vec<u32>,
    /// Key and slot, the nearest first.
    pub(super) sorted: Vec<(u32, u32)>,
}

impl Head {
    /// How many of the candidates to measure for `k` answers.
    pub(super) fn depth(k: usize) -> usize {
        k.saturating_mul(2).max(k.saturating_add(LEAST))
    }

    /// Measures the candidates, nearest first by their codes, by their vectors.
    pub(super) fn measure(
        &mut self,
        engine: &dyn Engine,
        vectors: View<'_, Block>,
        query: &[Block],
        candidates: impl Iterator<Item = u32>,
    ) {
        let Self { slots, keys, sorted, .. } = self;
        slots.clear();
        slots.extend(candidates.filter(|&slot| slot < vectors.len()));
        for &slot in &*slots {
            vectors.prefetch(slot);
        }
        keys.resize(slots.len(), 0);
        engine.keys(vectors, query, slots, keys);
        sorted.clear();
        sorted.extend(keys.iter().copied().zip(slots.iter().copied()));
        sorted.sort_unstable();
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        (self.slots.capacity() + self.keys.capacity()) * 4 + self.sorted.capacity() * 8
    }
}
