//! Which candidates become neighbours.

use super::Space;
use super::layer::Link;

/// A possible neighbour of some node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Key of its distance from that node.
    pub(super) key: u32,
    pub(super) link: Link,
}

/// Chooses at most `limit` of the candidates, which come sorted by key, into `kept`: the
/// heuristic of HNSW (algorithm 4), which is RobustPrune. A candidate is dropped when a kept one
/// occludes it, so that links point in different directions. Tree links are always kept; there
/// must not be more than `limit`. Distances computed are returned.
#[inline(always)]
pub(super) fn select<S: Space>(
    space: S,
    candidates: &[Candidate],
    limit: usize,
    kept: &mut Vec<Candidate>,
) -> u64 {
    kept.clear();
    let mut room = limit.saturating_sub(candidates.iter().filter(|c| c.link.tree).count());
    let mut distances = 0;
    for candidate in candidates {
        if candidate.link.tree {
            kept.push(*candidate);
        } else if room > 0 && !occluded(space, candidate, kept, &mut distances) {
            kept.push(*candidate);
            room -= 1;
        }
    }
    distances
}

#[inline(always)]
fn occluded<S: Space>(
    space: S,
    candidate: &Candidate,
    kept: &[Candidate],
    distances: &mut u64,
) -> bool {
    let from = space.stored(candidate.link.node);
    let (fours, rest) = kept.as_chunks::<4>();
    for four in fours {
        *distances += 4;
        let keys = space.key4(from, four.map(|c| c.link.node));
        if keys.into_iter().any(|key| space.occludes(key, candidate.key)) {
            return true;
        }
    }
    *distances += rest.len() as u64;
    rest.iter().any(|c| space.occludes(space.key(from, c.link.node), candidate.key))
}
