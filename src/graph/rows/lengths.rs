//! Inner products between vectors of different lengths: long vectors are nearer to others than these are to themselves.
//!
//! Three things follow. A long vector is nearer to nearly all others than the row in hand is, and pruning by distance alone
//! would keep it and drop them: [`select`](super::prune::select) also asks whether it is near in space. A long vector that
//! is inserted late is among the answers of queries far from its few neighbours, whose rows do not lead to it: it gets rows on all
//! levels up to the entry's ([`overshadows`](Graph::overshadows)), and rises with the entry
//! ([`lift`](Graph::lift)). A descent may pass a long vector, because it need not be the nearest there: the walk also begins at all
//! nodes that the descent met.

use std::sync::atomic::{AtomicU64, Ordering};

use super::levels::Graph;
use crate::graph::id::Node;
use crate::graph::space::{LinkSpace, Space};
use crate::order_key::OrderKey;

/// Squared lengths that differ by at most this factor count as equal: those of codes of 4 bits are off by some percent.
const EQUAL: f32 = 1.2;

fn split(range: u64) -> (f32, f32) {
    (f32::from_bits(range as u32), f32::from_bits((range >> 32) as u32))
}

/// The number beside a range in a file. Older versions wrote exponents there; a count this small means that exponents are not used.
const KNOWN: u64 = 1;

/// The range of the lengths of all vectors.
#[derive(Debug)]
pub(in crate::graph) struct Lengths {
    /// The bits of the least squared length and, above them, of the greatest; `None` if distances are no inner products.
    range: Option<AtomicU64>,
}

const fn bits(least: f32, most: f32) -> u64 {
    (most.to_bits() as u64) << 32 | least.to_bits() as u64
}

/// The range of no length, and that of all lengths.
const NONE: u64 = bits(f32::INFINITY, 0.0);
const ANY: u64 = bits(0.0, f32::INFINITY);

impl Lengths {
    pub(super) fn none_yet(are_products: bool) -> Self {
        Self { range: are_products.then(|| AtomicU64::new(NONE)) }
    }

    /// Creates lengths from their [parts](Self::parts). Those of a file may be any numbers, or missing: any length is possible
    /// then.
    pub(super) fn of((range, known): (u64, u64)) -> Self {
        let (least, most) = split(range);
        let is_known = known == KNOWN && least <= most && most > 0.0;
        let range = if is_known { range } else { ANY };
        Self { range: Some(AtomicU64::new(range)) }
    }

    /// Returns the numbers that a file keeps, or `None` if distances are no inner products.
    pub(super) fn parts(&self) -> Option<(u64, u64)> {
        let range = self.range.as_ref()?.load(Ordering::Relaxed);
        let (least, most) = split(range);
        Some(if least <= most { (range, KNOWN) } else { (0, 0) })
    }

    /// Notes that lengths are given in another unit from now on.
    pub(super) fn forget(&self) {
        if let Some(range) = &self.range {
            range.store(if self.differ() { ANY } else { NONE }, Ordering::Relaxed);
        }
    }

    /// Learns the length of a node, which exists, as does `other`. If no length is known, those of all others are equal.
    pub(in crate::graph) fn learn<S: LinkSpace>(&self, space: S, node: Node, other: Option<Node>) {
        let Some(range) = &self.range else { return };
        let mut before = range.load(Ordering::Relaxed);
        let other = other.filter(|&other| before == NONE && other < space.end());
        for node in std::iter::once(node).chain(other) {
            let square = -space.distance(own(space, node));
            loop {
                let (least, most) = split(before);
                let after = bits(least.min(square), most.max(square));
                if after == before {
                    break;
                }
                match range.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => before = after,
                    Err(now) => before = now,
                }
            }
        }
    }

    /// Learns the lengths of another graph.
    pub(in crate::graph) fn absorb(&self, other: &Self) {
        if let (Some(range), Some(other)) = (&self.range, &other.range) {
            let of = |range: &AtomicU64| split(range.load(Ordering::Relaxed));
            let (own, other) = (of(range), of(other));
            range.store(bits(own.0.min(other.0), own.1.max(other.1)), Ordering::Relaxed);
        }
    }

    /// Returns whether lengths differ.
    #[inline(always)]
    pub(in crate::graph) fn differ(&self) -> bool {
        self.range.as_ref().is_some_and(|range| {
            let (least, most) = split(range.load(Ordering::Relaxed));
            most > least * EQUAL
        })
    }
}

/// Returns the order key of a node's distance from itself.
pub(in crate::graph) fn own<S: LinkSpace>(space: S, node: Node) -> OrderKey {
    let mut key = [OrderKey::MIN];
    space.between(node, &[node], &mut key);
    key[0]
}

/// Returns the distance by which a candidate must be nearer to a kept node than to the node in hand to be nearer in space, too.
/// Both arguments are order keys of a node's distance from itself.
pub(super) fn reach<S: Space>(space: S, node: OrderKey, kept: OrderKey) -> f32 {
    let (node, kept) = (-space.distance(node), -space.distance(kept));
    // `|k - c|^2 < |n - c|^2`, with known products.
    if kept > node * EQUAL { (kept - node) / 2.0 } else { 0.0 }
}

impl Graph {
    /// Returns the node in hand if pruning must know lengths.
    pub(in crate::graph) fn with_length(&self, node: Node) -> Option<Node> {
        self.lengths.differ().then_some(node)
    }
}
