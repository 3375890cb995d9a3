//! Estimates of distances by the codes of a list, and their errors.

use super::directory::{Directory, Scratch};
use super::list::List;
use crate::index::ivf::codes::codec::Formula;
use crate::index::ivf::codes::drift::{Figures, Margins, SharedMargins};
use crate::index::ivf::space::Space;
use crate::metric::Metric;
use crate::sync::RwLock;
use crate::threads::map;

/// Constants of a list's estimates.
#[derive(Debug)]
pub(in crate::index::ivf) struct Facts {
    /// The square of the centroid's length.
    pub(in crate::index::ivf) square: f32,
    /// The centroid's distance from the base.
    pub(in crate::index::ivf) offset: f32,
    pub(in crate::index::ivf) margins: SharedMargins,
}

impl Directory {
    /// Returns the formula of the estimates in a list. `ranked` has the list in its lower half, and
    /// the query's distance from it in the upper.
    pub(in crate::index::ivf) fn formula(&self, space: &Space, ranked: u64) -> Option<Formula> {
        let bias = space.bias(ranked);
        let slope = if space.encoder.metric == Metric::InnerProduct {
            // Terms remove the error in the direction of the centroid, by the query's share in
            // that direction: then a query's length does not matter.
            let square = self.facts.get(ranked as u32 as usize)?.square;
            if square.is_normal() { -bias / square } else { 0.0 }
        } else {
            1.0
        };
        Some(self.codec.as_ref()?.formula(bias, slope, space.weight()))
    }

    /// Returns the deviation of estimates in a list, if errors had random directions. The query is given
    /// by the square of its length.
    pub(in crate::index::ivf) fn deviation(
        &self,
        space: &Space,
        ranked: u64,
        query_square: f32,
    ) -> f32 {
        /// Rounding error of single precision, as a share of the terms of a sum.
        const ROUNDING: f32 = 1e-6;

        let Some((facts, codec)) = self.facts.get(ranked as u32 as usize).zip(self.codec.as_ref())
        else {
            return 0.0;
        };
        let bias = space.bias(ranked);
        let Margins { length, error } = facts.margins.get();
        let (from_centroid, from_base) = if space.encoder.metric == Metric::InnerProduct {
            let along = if facts.square.is_normal() { bias * (bias / facts.square) } else { 0.0 };
            ((query_square - along).max(0.0).sqrt(), query_square.sqrt())
        } else {
            let distance = bias.max(0.0).sqrt();
            (distance, distance + facts.offset)
        };
        let of_product = from_centroid * error + from_base * codec.query_error() * length;
        let root = (space.dimension() as f32).sqrt();
        space.weight() * of_product / root + ROUNDING * (bias.abs() + from_base * length)
    }

    /// Publishes the errors of a list's codes to searches.
    pub(in crate::index::ivf) fn tell_margins(&self, number: u32, list: &List) {
        if let Some(facts) = self.facts.get(number as usize) {
            facts.margins.set(list.figures.margins());
        }
    }

    /// Measures the errors of codes whose file does not record them, by the vectors beside them.
    pub(in crate::index::ivf) fn count_again(&mut self, space: &Space) {
        let Some(codec) = &self.codec else { return };
        if !self.has_rows {
            return;
        }
        let count = |(number, list): (usize, &RwLock<List>)| {
            let (mut row, mut scratch) = (Vec::new(), Scratch::default());
            let list = &mut *list.write();
            let mut figures = Figures::default();
            for position in 0..list.len() {
                self.read(space, (number as u32, list, position), &mut row, &mut scratch);
                let Scratch { floats, residual, code, .. } = &mut scratch;
                list.codes.get(position, code);
                codec.decode(code, list.terms[position], residual);
                let centroid = self.centroid(space, number as u32);
                let (mut length, mut error) = (0.0, 0.0);
                for ((x, c), near) in floats.iter().zip(centroid).zip(residual) {
                    let of_component = x - c;
                    length += of_component * of_component;
                    error += (of_component - *near) * (of_component - *near);
                }
                figures.add(length, error);
            }
            list.figures = figures;
            self.tell_margins(number as u32, list);
        };
        map(self.lists.len(), |number| count((number, &self.lists[number])));
    }
}
