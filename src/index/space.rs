//! Distances over stored rows, as the graph wants them.

use super::engine::Engine;
use crate::arena::{Column, View};
use crate::distance::Kernel;
use crate::graph::{LinkSpace, Space};
use crate::simd::Simd;
use crate::vector::Block;

/// The rows of a column under one kernel on one instruction set, for walks into which the kernel
/// is inlined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inlined<'a, S, K> {
    simd: S,
    kernel: K,
    view: View<'a, Block>,
}

impl<'a, S: Simd, K: Kernel> Inlined<'a, S, K> {
    #[inline(always)]
    pub(super) fn new(simd: S, kernel: K, view: View<'a, Block>) -> Self {
        Self { simd, kernel, view }
    }

    /// A padded row as the kernel's elements.
    #[inline(always)]
    pub(super) fn elements(row: &[Block]) -> &[K::Element] {
        bytemuck::cast_slice(row)
    }

    #[inline(always)]
    fn row(&self, node: u32) -> &'a [K::Element] {
        Self::elements(self.view.row(node))
    }
}

impl<'a, S: Simd, K: Kernel> Space for Inlined<'a, S, K> {
    type Query = &'a [K::Element];

    #[inline(always)]
    fn len(&self) -> u32 {
        self.view.len()
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.view.prefetch(node);
    }

    #[inline(always)]
    fn keys(&self, query: &'a [K::Element], nodes: &[u32], keys: &mut [u32]) {
        let (fours, rest) = nodes.as_chunks::<4>();
        let (out, last) = keys.split_at_mut(fours.len() * 4);
        for (four, out) in fours.iter().zip(out.as_chunks_mut::<4>().0) {
            *out = self.kernel.key4(self.simd, query, four.map(|node| self.row(node)));
        }
        for (&node, out) in rest.iter().zip(last) {
            *out = self.kernel.key(self.simd, query, self.row(node));
        }
    }
}

/// The same, with one call into the kernel for each list of nodes: linking is a lot of code, and
/// one copy of it serves all kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'a> {
    engine: &'a dyn Engine,
    column: &'a Column<Block>,
    view: View<'a, Block>,
    /// Factor on squared distances for pruning; without one, keys are compared as they are.
    alpha: Option<f32>,
}

impl<'a> Called<'a> {
    pub(super) fn new(
        engine: &'a dyn Engine,
        column: &'a Column<Block>,
        alpha: Option<f32>,
    ) -> Self {
        Self { engine, column, view: column.view(), alpha }
    }
}

impl<'a> Space for Called<'a> {
    type Query = &'a [Block];

    fn len(&self) -> u32 {
        self.view.len()
    }

    fn prefetch(&self, node: u32) {
        self.view.prefetch(node);
    }

    fn keys(&self, query: &'a [Block], nodes: &[u32], keys: &mut [u32]) {
        self.engine.keys(self.view, query, nodes, keys);
    }
}

impl<'a> LinkSpace for Called<'a> {
    fn refresh(self) -> Self {
        Self { view: self.column.view(), ..self }
    }

    fn stored(&self, node: u32) -> &'a [Block] {
        self.view.row(node)
    }

    fn occludes(&self, between: u32, base: u32) -> bool {
        match self.alpha {
            None => between < base,
            Some(alpha) => alpha * self.engine.distance(between) < self.engine.distance(base),
        }
    }
}
