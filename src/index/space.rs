//! Distances over stored rows, as the graph wants them.

use crate::arena::{Column, View};
use crate::distance::Kernel;
use crate::graph::Space;
use crate::simd::Simd;
use crate::vector::Block;

/// The rows of a column under one kernel on one instruction set.
#[derive(Debug)]
pub(super) struct Rows<'a, S, K> {
    pub(super) simd: S,
    pub(super) kernel: K,
    column: &'a Column<Block>,
    view: View<'a, Block>,
    /// Factor on squared distances for pruning; 1 compares keys as they are.
    alpha: f32,
}

impl<S: Copy, K: Copy> Clone for Rows<'_, S, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Copy, K: Copy> Copy for Rows<'_, S, K> {}

impl<'a, S: Simd, K: Kernel> Rows<'a, S, K> {
    #[inline(always)]
    pub(super) fn new(simd: S, kernel: K, column: &'a Column<Block>, alpha: f32) -> Self {
        Self { simd, kernel, column, view: column.view(), alpha }
    }

    /// A padded row as the kernel's elements.
    #[inline(always)]
    pub(super) fn elements(row: &[Block]) -> &[K::Element] {
        bytemuck::cast_slice(row)
    }
}

impl<'a, S: Simd, K: Kernel> Space for Rows<'a, S, K> {
    type Query = &'a [K::Element];

    #[inline(always)]
    fn len(&self) -> u32 {
        self.view.len()
    }

    #[inline(always)]
    fn refresh(self) -> Self {
        Self { view: self.column.view(), ..self }
    }

    #[inline(always)]
    fn stored(&self, node: u32) -> &'a [K::Element] {
        Self::elements(self.view.row(node))
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.view.prefetch(node);
    }

    #[inline(always)]
    fn key(&self, query: &'a [K::Element], node: u32) -> u32 {
        self.kernel.key(self.simd, query, self.stored(node))
    }

    #[inline(always)]
    fn key4(&self, query: &'a [K::Element], nodes: [u32; 4]) -> [u32; 4] {
        self.kernel.key4(self.simd, query, nodes.map(|node| self.stored(node)))
    }

    #[inline(always)]
    fn occludes(&self, between: u32, base: u32) -> bool {
        if self.alpha == 1.0 {
            return between < base;
        }
        self.alpha * self.kernel.distance(between) < self.kernel.distance(base)
    }
}
