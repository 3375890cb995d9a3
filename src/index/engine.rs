//! One object per index that stands for its kernel on its instruction set: a search makes a
//! single indirect call, behind which everything is inlined.

use std::fmt::Debug;
use std::ops::Range;

use super::space::Rows;
use crate::arena::{Column, Pool};
use crate::distance::{Kernel, Visitor, dispatch};
use crate::error::IndexError;
use crate::graph::{Graph, Scratch, Space};
use crate::metric::Metric;
use crate::simd::{Isa, Simd, Task};
use crate::vector::{Block, Element};

/// What an index does with distances.
pub(super) trait Engine: Send + Sync + Debug {
    /// Leaves the nearest `ef` slots that a walk finds in `scratch.pool`.
    fn walk(
        &self,
        graph: &Graph,
        vectors: &Column<Block>,
        query: &[Block],
        ef: usize,
        scratch: &mut Scratch,
    );

    /// Links a slot into the graph.
    fn link(
        &self,
        graph: &Graph,
        vectors: &Column<Block>,
        slot: u32,
        alpha: f32,
        scratch: &mut Scratch,
    );

    /// Offers the slots in `range` to the pools of the queries, which are stored one after the
    /// other.
    fn scan(
        &self,
        vectors: &Column<Block>,
        range: Range<u32>,
        queries: &[Block],
        pools: &mut [Pool],
    );

    /// Appends `(key, slot)` of all slots to `out`.
    fn scan_all(&self, vectors: &Column<Block>, query: &[Block], out: &mut Vec<(u32, u32)>);

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
        vectors: &Column<Block>,
        query: &[Block],
        ef: usize,
        scratch: &mut Scratch,
    ) {
        self.simd.run(Walk { kernel: self.kernel, graph, vectors, query, ef, scratch });
    }

    fn link(
        &self,
        graph: &Graph,
        vectors: &Column<Block>,
        slot: u32,
        alpha: f32,
        scratch: &mut Scratch,
    ) {
        self.simd.run(LinkSlot { kernel: self.kernel, graph, vectors, slot, alpha, scratch });
    }

    fn scan(
        &self,
        vectors: &Column<Block>,
        range: Range<u32>,
        queries: &[Block],
        pools: &mut [Pool],
    ) {
        self.simd.run(Scan { kernel: self.kernel, vectors, range, queries, pools });
    }

    fn scan_all(&self, vectors: &Column<Block>, query: &[Block], out: &mut Vec<(u32, u32)>) {
        self.simd.run(ScanAll { kernel: self.kernel, vectors, query, out });
    }

    fn distance(&self, key: u32) -> f32 {
        self.kernel.distance(key)
    }
}

struct Walk<'a, K> {
    kernel: K,
    graph: &'a Graph,
    vectors: &'a Column<Block>,
    query: &'a [Block],
    ef: usize,
    scratch: &'a mut Scratch,
}

impl<K: Kernel> Task for Walk<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let space = Rows::new(simd, self.kernel, self.vectors, 1.0);
        let query = Rows::<S, K>::elements(self.query);
        self.graph.search(space, query, self.ef, self.scratch);
    }
}

struct LinkSlot<'a, K> {
    kernel: K,
    graph: &'a Graph,
    vectors: &'a Column<Block>,
    slot: u32,
    alpha: f32,
    scratch: &'a mut Scratch,
}

impl<K: Kernel> Task for LinkSlot<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let space = Rows::new(simd, self.kernel, self.vectors, self.alpha);
        self.graph.insert(space, self.slot, self.scratch);
    }
}

struct Scan<'a, K> {
    kernel: K,
    vectors: &'a Column<Block>,
    range: Range<u32>,
    queries: &'a [Block],
    pools: &'a mut [Pool],
}

impl<K: Kernel> Task for Scan<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let space = Rows::new(simd, self.kernel, self.vectors, 1.0);
        let stride = self.vectors.stride();
        // A tile of rows stays in the first cache while all queries pass over it.
        let tile = (16 * 1024 / (stride * size_of::<Block>())).max(4) as u32;
        let end = self.range.end.min(space.len());
        let mut start = self.range.start;
        while start < end {
            let stop = end.min(start + tile);
            for (query, pool) in self.queries.chunks_exact(stride).zip(self.pools.iter_mut()) {
                each_key(space, Rows::<S, K>::elements(query), start..stop, |key, slot| {
                    if u64::from(key) < pool.bound() {
                        pool.insert(key, slot);
                    }
                });
            }
            start = stop;
        }
    }
}

struct ScanAll<'a, K> {
    kernel: K,
    vectors: &'a Column<Block>,
    query: &'a [Block],
    out: &'a mut Vec<(u32, u32)>,
}

impl<K: Kernel> Task for ScanAll<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let space = Rows::new(simd, self.kernel, self.vectors, 1.0);
        let query = Rows::<S, K>::elements(self.query);
        each_key(space, query, 0..space.len(), |key, slot| self.out.push((key, slot)));
    }
}

#[inline(always)]
fn each_key<P: Space>(
    space: P,
    query: P::Query,
    range: Range<u32>,
    mut each: impl FnMut(u32, u32),
) {
    let mut slot = range.start;
    while slot + 4 <= range.end {
        let slots = [slot, slot + 1, slot + 2, slot + 3];
        for (key, slot) in space.key4(query, slots).into_iter().zip(slots) {
            each(key, slot);
        }
        slot += 4;
    }
    for slot in slot..range.end {
        each(space.key(query, slot), slot);
    }
}
