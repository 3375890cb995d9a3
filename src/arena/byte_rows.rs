//! Rows of one length, as bytes: those of a column, or those of a slice. Kernels that read both are compiled once.
#![expect(unsafe_code, reason = "rows are found by address arithmetic, as in chunks")]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::MAX_ROWS;

/// Rows with ids from zero on, found in a table of chunks.
///
/// Invariant: each id below `limit` is a row of `stride` initialised bytes in chunk `id >> shift`, whose address is in the table. The
/// bytes live, and change through atomics only, during `'a`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteRows<'a> {
    table: &'a [AtomicPtr<u8>],
    shift: u32,
    stride: usize,
    limit: u32,
}

impl<'a> ByteRows<'a> {
    /// Returns the rows of the first `limit` ids.
    ///
    /// # Safety
    ///
    /// - The table has an entry for each of the ids.
    /// - Each entry is the address of `1 << shift` rows of `stride` bytes, of which those with the ids are initialised, live during
    ///   `'a`, and change through atomics only.
    pub(super) unsafe fn new(
        table: &'a [AtomicPtr<u8>],
        shift: u32,
        stride: usize,
        limit: u32,
    ) -> Self {
        Self { table, shift, stride, limit }
    }

    /// Returns row `id`.
    ///
    /// # Panics
    ///
    /// If no row has the id.
    #[inline(always)]
    pub(crate) fn row(self, id: u32) -> &'a [u8] {
        assert!(id < self.limit, "row beyond the view");
        let within = (id & ((1 << self.shift) - 1)) as usize;
        // SAFETY: the id is below the limit, so the invariant holds for it.
        unsafe {
            let base = self.table.get_unchecked((id >> self.shift) as usize);
            let base = base.load(Ordering::Relaxed);
            std::slice::from_raw_parts(base.add(within * self.stride), self.stride)
        }
    }
}

/// Rows that follow one another in a slice.
#[derive(Debug)]
pub(crate) struct SliceRows<'a> {
    first: [AtomicPtr<u8>; 1],
    stride: usize,
    count: u32,
    rows: PhantomData<&'a [u8]>,
}

impl<'a> SliceRows<'a> {
    /// Returns the rows of `stride` bytes; a rest is no row. Rows of no bytes have any id.
    pub(crate) fn new(rows: &'a [u8], stride: usize) -> Self {
        let most = MAX_ROWS as usize;
        let count = rows.len().checked_div(stride).unwrap_or(most).min(most) as u32;
        let first = [AtomicPtr::new(rows.as_ptr().cast_mut())];
        Self { first, stride, count, rows: PhantomData }
    }

    /// Returns the rows.
    pub(crate) fn rows(&self) -> ByteRows<'_> {
        // SAFETY: ids below `MAX_ROWS` are in the first chunk of `1 << 31` rows. `count` rows of the borrowed slice begin at its address,
        // which has no other owner than `self`.
        unsafe { ByteRows::new(&self.first, MAX_ROWS.ilog2(), self.stride, self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Column;

    #[test]
    fn rows_of_a_column_and_of_a_slice_are_its_bytes() {
        let column = Column::<u64>::new(3);
        let rows: Vec<u64> = (0..3 * 50_000).collect();
        for row in rows.chunks_exact(3) {
            column.push(|to| to.copy_from_slice(row)).unwrap();
        }
        let bytes: &[u8] = bytemuck::cast_slice(&rows);
        let slice = SliceRows::new(bytes, 24);
        for id in (0..50_000).step_by(if cfg!(miri) { 7_919 } else { 1 }) {
            let expected = &bytes[24 * id as usize..][..24];
            assert_eq!(column.view().bytes().row(id), expected);
            assert_eq!(slice.rows().row(id), expected);
        }
        for rows in [column.view().bytes(), slice.rows(), SliceRows::new(&[], 24).rows()] {
            assert!(std::panic::catch_unwind(|| rows.row(50_000).len()).is_err());
        }
        assert_eq!(SliceRows::new(&[], 0).rows().row(7), [0; 0]);
        assert_eq!(SliceRows::new(&[1, 2, 3], 2).rows().row(0), [1, 2]);
    }
}
