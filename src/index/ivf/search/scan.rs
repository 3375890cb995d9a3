//! Scanning one list.

use super::nearest::{Candidate, Nearest};
use super::probe::Effort;
use crate::graph::Watch;
use crate::index::ivf::Ivf;
use crate::index::ivf::codes::codec::{Formula, Prepared};
use crate::index::ivf::lists::list::List;
use crate::order_key::OrderKey;
use crate::vector::Block;

/// Rows that are measured at once.
pub(in crate::index::ivf) const TILE: usize = 32;

/// Codes that are measured at once: a few microseconds of work.
const CODES: usize = 1024;

/// A list that is scanned.
#[derive(Clone, Copy)]
pub(in crate::index::ivf) struct Scan<'a> {
    pub(in crate::index::ivf) ivf: &'a Ivf,
    pub(in crate::index::ivf) list: &'a List,
    pub(in crate::index::ivf) number: u32,
    pub(in crate::index::ivf) effort: &'a Effort,
}

impl Scan<'_> {
    /// Offers all vectors, measured by their rows. Returns the number that the time allowed.
    pub(in crate::index::ivf) fn rows(
        self,
        query: &[Block],
        nearest: &mut Nearest,
        watch: &mut impl Watch,
    ) -> usize {
        let blocks = self.ivf.space.blocks();
        let mut read = 0;
        for (tile, rows) in self.list.rows.chunks(TILE * blocks).enumerate() {
            self.tile(tile, rows, query, nearest);
            let count = rows.len() / blocks;
            read += count;
            if watch.spent(count) {
                break;
            }
        }
        read
    }

    /// Offers the vectors of one tile of rows.
    #[inline]
    pub(in crate::index::ivf) fn tile(
        self,
        tile: usize,
        rows: &[Block],
        query: &[Block],
        nearest: &mut Nearest,
    ) {
        let space = &self.ivf.space;
        let mut orders = [OrderKey::MIN; TILE];
        let orders = &mut orders[..rows.len() / space.blocks()];
        space.engine.orders_in_line(rows, query, orders);
        let mut bound = nearest.bound();
        for (place, &order) in orders.iter().enumerate() {
            if order <= bound {
                self.offer(order, tile * TILE + place, nearest);
                bound = nearest.bound();
            }
        }
    }

    /// Offers all vectors, measured by their codes. Returns the number that the time allowed.
    pub(in crate::index::ivf) fn codes(
        self,
        query: &Prepared<'_>,
        formula: Formula,
        distances: &mut Vec<f32>,
        nearest: &mut Nearest,
        watch: &mut impl Watch,
    ) -> usize {
        let bound_of = |nearest: &Nearest| match nearest.bound() {
            OrderKey::MAX => f32::INFINITY,
            bound => bound.to_f32(),
        };
        let mut bound = bound_of(nearest);
        self.estimates(query, formula, distances, watch, |start, distances| {
            for (chunk, start) in distances.chunks(16).zip((start..).step_by(16)) {
                // Hardly any estimate is small enough: sixteen are dismissed at once.
                if chunk.iter().fold(f32::INFINITY, |least, &d| if d < least { d } else { least })
                    > bound
                {
                    continue;
                }
                for (place, &distance) in chunk.iter().enumerate() {
                    if distance <= bound {
                        self.offer(OrderKey::of_f32(distance + 0.0), start + place, nearest);
                        bound = bound_of(nearest);
                    }
                }
            }
        })
    }

    /// Calls `each` with estimates by codes, and the position of the first of them, until all were
    /// passed or it is time to end. Returns their number. The estimates are appended to `distances`.
    pub(in crate::index::ivf) fn estimates(
        self,
        query: &Prepared<'_>,
        formula: Formula,
        distances: &mut Vec<f32>,
        watch: &mut impl Watch,
        mut each: impl FnMut(usize, &[f32]),
    ) -> usize {
        let mut read = 0;
        for terms in self.list.terms.chunks(CODES) {
            let before = distances.len();
            distances.resize(before + terms.len(), 0.0);
            let distances = &mut distances[before..];
            query.scan(&self.list.codes, read, distances);
            formula.estimate_all(terms, distances);
            each(read, distances);
            read += terms.len();
            if watch.spent(terms.len()) {
                break;
            }
        }
        read
    }

    /// Offers the vector at one position, if it is near enough.
    pub(in crate::index::ivf) fn one(
        self,
        position: usize,
        query: &[Block],
        prepared: Option<(&Prepared<'_>, Formula)>,
        code: &mut Vec<u8>,
        nearest: &mut Nearest,
    ) {
        let space = &self.ivf.space;
        let order = if let Some((prepared, formula)) = prepared {
            self.list.codes.get(position, code);
            let estimate = prepared.distance(code);
            debug_assert!(estimate.is_ok(), "a code of this quantizer");
            let term = self.list.terms[position];
            OrderKey::of_f32(formula.estimate(term, estimate.unwrap_or(f32::INFINITY)) + 0.0)
        } else {
            space.measure(self.list.row(position, space.blocks()), query)
        };
        if order <= nearest.bound() {
            self.offer(order, position, nearest);
        }
    }

    /// Returns the vector at a position, with the order key of its distance.
    pub(in crate::index::ivf) fn candidate(self, order: OrderKey, position: usize) -> Candidate {
        let key = self.list.keys[position];
        Candidate { order, key, list: self.number, position: position as u32 }
    }

    fn offer(self, order: OrderKey, position: usize, nearest: &mut Nearest) {
        let Effort { cut, asks, .. } = *self.effort;
        if cut.is_some_and(|radius| self.ivf.distance(self.effort, order) > radius) {
            return;
        }
        let candidate = self.candidate(order, position);
        if asks {
            nearest.wait(candidate);
        } else {
            nearest.offer(candidate);
        }
    }
}
