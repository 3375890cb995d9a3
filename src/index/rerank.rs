//! Measuring the head of a walk's finds again by the vectors themselves.

use super::engine::Engine;
use super::limit::Timer;
use crate::arena::View;
use crate::vector::Block;

/// Candidates that are measured again beyond those wanted, at least.
const LEAST: usize = 24;

/// Candidates that are measured without a look at the clock.
const PART: usize = 64;

/// Candidates that are brought nearer to the CPU before their turn.
const AHEAD: usize = 64;

/// The nearest candidates by their codes, then by their vectors.
#[derive(Debug, Default)]
pub(super) struct Head {
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

    /// Measures the candidates, nearest first by their codes, by their vectors; as many as there
    /// is time for, but some in any case.
    pub(super) fn measure(
        &mut self,
        engine: &dyn Engine,
        vectors: View<'_, Block>,
        query: &[Block],
        candidates: impl Iterator<Item = u32>,
        timer: &mut Timer<'_>,
    ) {
        let Self { slots, keys, sorted, .. } = self;
        slots.clear();
        slots.extend(candidates.filter(|&slot| slot < vectors.len()));
        for &slot in &slots[..slots.len().min(AHEAD)] {
            vectors.prefetch(slot);
        }
        keys.resize(slots.len(), 0);
        let mut done = 0;
        for (part, out) in slots.chunks(PART).zip(keys.chunks_mut(PART)) {
            for &slot in slots.iter().skip(done + AHEAD).take(part.len()) {
                vectors.prefetch(slot);
            }
            engine.keys(vectors, query, part, out);
            done += part.len();
            if timer.is_late(done) {
                break;
            }
        }
        slots.truncate(done);
        keys.truncate(done);
        sorted.clear();
        sorted.extend(keys.iter().copied().zip(slots.iter().copied()));
        sorted.sort_unstable();
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        (self.slots.capacity() + self.keys.capacity()) * 4 + self.sorted.capacity() * 8
    }
}
