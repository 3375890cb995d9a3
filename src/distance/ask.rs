//! For tests: the order keys of a kernel that is chosen at run time, for a query and four rows.

use bytemuck::{NoUninit, cast_slice, cast_slice_mut};

use super::BoundKernel;
use crate::arena::SliceRows;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// A query and four rows, as bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    query: &'a [u8],
    rows: [&'a [u8]; 4],
}

impl<'a> Ask<'a> {
    pub(crate) fn of<T: NoUninit>(query: &'a [T], rows: [&'a [T]; 4]) -> Self {
        Self { query: cast_slice(query), rows: rows.map(cast_slice) }
    }

    /// Returns the keys and distances under `kernel`.
    pub(crate) fn under(&self, kernel: &dyn BoundKernel) -> Found {
        let mut keys = [OrderKey::MIN; 4];
        for (key, row) in keys.chunks_mut(1).zip(self.rows) {
            kernel.orders(self.query, SliceRows::new(row, row.len()).rows(), &[0], key);
        }
        let len = self.rows[0].len();
        let mut keys4 = keys;
        if self.rows.iter().all(|row| row.len() == len) {
            keys4 = [OrderKey::MIN; 4];
            // One after the other, the first one with the alignment of blocks.
            let mut blocks = vec![Block::ZERO; (4 * len).div_ceil(size_of::<Block>())];
            let bytes: &mut [u8] = cast_slice_mut(&mut blocks);
            for (at, row) in self.rows.iter().enumerate() {
                bytes[at * len..][..len].copy_from_slice(row);
            }
            let rows = SliceRows::new(bytes, len);
            kernel.orders(self.query, rows.rows(), &[0, 1, 2, 3], &mut keys4);
        }
        Found { keys, keys4, distances: keys.map(|key| kernel.distance(key)) }
    }
}

/// Keys one by one and four at a time, and the distances of these keys.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) keys: [OrderKey; 4],
    pub(crate) keys4: [OrderKey; 4],
    pub(crate) distances: [f32; 4],
}
