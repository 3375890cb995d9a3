//! Distances, as the graph asks for them.

use crate::graph::id::Node;
use crate::order_key::OrderKey;

/// The distances between vectors, as [order keys](OrderKey): a walk needs nothing else of vectors.
pub(crate) trait Space: Copy {
    /// A vector to measure from.
    type Query: Copy;

    /// Returns the same space with all nodes that exist now.
    fn refresh(self) -> Self;

    /// Returns the first node without a vector: those below it have one.
    fn end(&self) -> Node;

    /// Prefetches the vectors of nodes.
    fn prefetch(&self, nodes: &[Node]);

    /// Writes the order keys of the distances between `query` and each of `nodes` to `keys`.
    fn keys(&self, query: Self::Query, nodes: &[Node], keys: &mut [OrderKey]);

    /// Returns the distance that an order key encodes.
    fn distance(&self, key: OrderKey) -> f32;

    /// Returns whether two nodes have the same vector.
    fn is_same(&self, a: Node, b: Node) -> bool;

    /// Returns the order key of the distance between `query` and a node.
    fn key(&self, query: Self::Query, node: Node) -> OrderKey {
        let mut key = [OrderKey::MIN];
        self.keys(query, &[node], &mut key);
        key[0]
    }
}

/// The further distances that linking needs.
pub(crate) trait LinkSpace: Space {
    /// Writes the order keys of the distances between the vector of a node and each of `nodes` to `keys`.
    fn between(&self, node: Node, nodes: &[Node], keys: &mut [OrderKey]);

    /// Returns whether the node is neither removed nor about to be. No node may be removed while rows are changed.
    fn is_live(&self, node: Node) -> bool;

    /// Returns whether a neighbour at `between` from a candidate makes a link to that candidate, which is
    /// at `base`, superfluous: RobustPrune's `alpha * between < base` (Subramanya et al., 2019).
    fn occludes(&self, between: OrderKey, base: OrderKey) -> bool;
}
