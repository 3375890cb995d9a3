//! One object per index that stands for its kernel on its instruction set: a search makes a
//! single indirect call, behind which everything is inlined.

use std::fmt::Debug;

use super::space::Inlined;
use crate::arena::View;
use crate::distance::{Kernel, Visitor, dispatch};
use crate::error::IndexError;
use crate::graph::{Graph, Near, Scratch, Space};
use crate::metric::Metric;
use crate::simd::{Isa, Simd, Task};
use crate::vector::{Block, Element};

/// What an index does with distances.
pub(super) trait Engine: Send + Sync + Debug {
    /// Leaves the nearest `ef` slots that a walk from `from` finds in `scratch.pool`.
    fn walk(
        &self,
        graph: &Graph,
        vectors: View<'_, Block>,
        query: &[Block],
        from: Near,
        ef: usize,
        scratch: &mut Scratch,
    );

    /// Keys of the distances between `query` and each of `slots`, written to `keys`.
    fn keys(&self, vectors: View<'_, Block>, query: &[Block], slots: &[u32], keys: &mut [u32]);

    /// The distance that a key stands for.
    fn distance(&self, key: u32) -> f32;
}

/// The engine of a metric over an element type, on the given instruction set.
pub(super) fn engine(
    metric: Metric,
    element: Element,
    isa: Isa,
) -> Result<Box<dyn Engine>, IndexError> {
    struct Boxed;
    impl Visitor for Boxed {
        type Output = Box<dyn Engine>;
        fn visit<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> Self::Output {
            Box::new(Bound { simd, kernel })
        }
    }
    dispatch(metric, element, isa, true, Boxed).ok_or(IndexError::Unsupported { metric, element })
}

/// A kernel and the proof that the CPU can run it.
#[derive(Debug, Clone, Copy)]
struct Bound<S, K> {
    simd: S,
    kernel: K,
}

impl<S: Simd, K: Kernel> Engine for Bound<S, K> {
    fn walk(
        &self,
        graph: &Graph,
        vectors: View<'_, Block>,
        query: &[Block],
        from: Near,
        ef: usize,
        scratch: &mut Scratch,
    ) {
        self.simd.run(Walk { kernel: self.kernel, graph, vectors, query, from, ef, scratch });
    }

    fn keys(&self, vectors: View<'_, Block>, query: &[Block], slots: &[u32], keys: &mut [u32]) {
        self.simd.run(Measure { kernel: self.kernel, vectors, query, slots, out: keys });
    }

    fn distance(&self, key: u32) -> f32 {
        self.kernel.distance(key)
    }
}

struct Walk<'a, K> {
    kernel: K,
    graph: &'a Graph,
    vectors: View<'a, Block>,
    query: &'a [Block],
    from: Near,
    ef: usize,
    scratch: &'a mut Scratch,
}

impl<K: Kernel> Task for Walk<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let space = Inlined::new(simd, self.kernel, self.vectors);
        let query = Inlined::<S, K>::elements(self.query);
        self.graph.walk(space, query, self.from, self.ef, self.scratch);
    }
}

struct Measure<'a, K> {
    kernel: K,
    vectors: View<'a, Block>,
    query: &'a [Block],
    slots: &'a [u32],
    out: &'a mut [u32],
}

impl<K: Kernel> Task for Measure<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let space = Inlined::new(simd, self.kernel, self.vectors);
        space.keys(Inlined::<S, K>::elements(self.query), self.slots, self.out);
    }
}
