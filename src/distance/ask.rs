//! For tests: the order keys of a kernel that is chosen at run time, for a query and four rows.

use bytemuck::{NoUninit, cast_slice};

use super::{Kernel, Visitor};
use crate::order_key::OrderKey;
use crate::simd::{Simd, Task};

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
}

/// Keys one by one and four at a time, and the distances of these keys.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) keys: [OrderKey; 4],
    pub(crate) keys4: [OrderKey; 4],
    pub(crate) distances: [f32; 4],
}

impl Visitor for Ask<'_> {
    type Output = Found;

    fn visit<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> Found {
        let Self { query, rows } = self;
        simd.run(Typed { kernel, query: cast_slice(query), rows: rows.map(cast_slice) })
    }
}

struct Typed<'a, K: Kernel> {
    kernel: K,
    query: &'a [K::Element],
    rows: [&'a [K::Element]; 4],
}

impl<K: Kernel> Task for Typed<'_, K> {
    type Output = Found;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Found {
        let Self { kernel, query, rows } = self;
        let keys = rows.map(|row| kernel.key(simd, query, row));
        let keys4 = kernel.key4(simd, query, rows);
        Found { keys, keys4, distances: keys.map(|key| kernel.distance(key)) }
    }
}
