//! One form of all vectors of an index: the vectors, their codes, or their finer codes.

use super::{CodeWork, Codes};
use crate::arena::{Column, Slot};
use crate::index::distances::Engine;
use crate::index::encode::Encoder;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Rows that a walk or a scan reads, with the distances between them and queries.
#[derive(Debug, Clone, Copy)]
pub(in crate::index) struct Representation<'a> {
    pub(in crate::index) rows: &'a Column<Block>,
    /// Computes order keys, and for vectors the distances that these encode.
    pub(in crate::index) engine: &'a Engine,
    /// The codes whose rows these are; `None` for the vectors.
    pub(in crate::index) codes: Option<&'a Codes>,
}

impl<'a> Representation<'a> {
    /// Returns the vectors as a representation.
    #[inline]
    pub(in crate::index) fn of_vectors(rows: &'a Column<Block>, engine: &'a Engine) -> Self {
        Self { rows, engine, codes: None }
    }

    #[inline]
    pub(in crate::index) fn of_codes(codes: &'a Codes) -> Self {
        Self { rows: &codes.rows, engine: &codes.engine, codes: Some(codes) }
    }

    /// Returns whether the rows are codes.
    pub(in crate::index) fn is_coded(self) -> bool {
        self.codes.is_some()
    }

    /// Returns whether both have the same rows.
    pub(in crate::index) fn is_same(self, other: Self) -> bool {
        std::ptr::eq(self.rows, other.rows)
    }

    /// Returns the bytes of a row.
    pub(in crate::index) fn row_bytes(self) -> usize {
        self.rows.stride() * size_of::<Block>()
    }

    /// Returns the distance that an order key encodes.
    pub(in crate::index) fn distance(self, order: OrderKey) -> f32 {
        match self.codes {
            None => self.engine.distance(order),
            Some(codes) => codes.distance(order),
        }
    }

    /// Returns the query for the vector in `row`.
    pub(in crate::index) fn prepare<'q>(
        self,
        encoder: &Encoder,
        row: &'q [Block],
        coding: &'q mut CodeWork,
    ) -> &'q [Block] {
        if self.is_coded() {
            encoder.unit_into(row, &mut coding.floats);
        }
        self.prepare_unit(row, coding)
    }

    /// Returns the query for the vector in `row`, which the caller wrote to `coding.floats`, too, if the index has codes.
    pub(in crate::index) fn prepare_unit<'q>(
        self,
        row: &'q [Block],
        coding: &'q mut CodeWork,
    ) -> &'q [Block] {
        if let Some(codes) = self.codes {
            codes.prepare(coding);
        }
        self.prepared(row, coding)
    }

    /// Returns the query for the stored vector of a slot, whose row is copied to `row`.
    pub(in crate::index) fn prepare_slot<'q>(
        self,
        slot: Slot,
        row: &'q mut Vec<Block>,
        coding: &'q mut CodeWork,
    ) -> &'q [Block] {
        let stored = self.rows.view().row(slot);
        match self.codes {
            None => {
                row.clear();
                row.extend_from_slice(stored);
            }
            Some(codes) => codes.coder.decode(stored, &mut coding.floats),
        }
        self.prepare_unit(row, coding)
    }

    /// Returns the query that [`Self::prepare`] returned last for `row`, for these codes if these are codes.
    #[inline]
    pub(in crate::index) fn prepared<'q>(
        self,
        row: &'q [Block],
        coding: &'q CodeWork,
    ) -> &'q [Block] {
        if self.is_coded() { &coding.query } else { row }
    }

    /// Writes the vector that a row means to `floats`, scaled to unit length under the cosine.
    pub(in crate::index) fn decode(self, encoder: &Encoder, row: &[Block], floats: &mut Vec<f32>) {
        match self.codes {
            None => encoder.unit_into(row, floats),
            Some(codes) => codes.coder.decode(row, floats),
        }
    }
}
