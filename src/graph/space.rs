//! Distances, as the graph asks for them.

/// The distances between vectors, as keys that order like them: all that a walk needs to know of vectors.
pub(crate) trait Space: Copy {
    /// A vector to measure from.
    type Query: Copy;

    /// The same space with all nodes that exist now.
    fn refresh(self) -> Self;

    /// Nodes below it have a vector.
    fn len(&self) -> u32;

    /// Brings the vectors of nodes nearer to the CPU.
    fn prefetch(&self, nodes: &[u32]);

    /// Keys of the distances between `query` and each of `nodes`, written to `keys`.
    fn keys(&self, query: Self::Query, nodes: &[u32], keys: &mut [u32]);

    /// Returns the distance of a key.
    fn distance(&self, key: u32) -> f32;

    /// Whether two nodes have the same vector.
    fn is_same(&self, a: u32, b: u32) -> bool;

    /// Key of the distance between `query` and a node.
    fn key(&self, query: Self::Query, node: u32) -> u32 {
        let mut key = [0];
        self.keys(query, &[node], &mut key);
        key[0]
    }
}

/// The distances that linking needs besides.
pub(crate) trait LinkSpace: Space {
    /// Keys of the distances between the vector of a node and each of `nodes`.
    fn between(&self, node: u32, nodes: &[u32], keys: &mut [u32]);

    /// Whether the node has not been removed, nor is about to be. No node may be removed while rows are changed.
    fn is_live(&self, node: u32) -> bool;

    /// Whether a neighbour at `between` from a candidate makes a link to that candidate, which is
    /// at `base`, superfluous: RobustPrune's `alpha * between < base` (Subramanya et al., 2019).
    fn occludes(&self, between: u32, base: u32) -> bool;
}
