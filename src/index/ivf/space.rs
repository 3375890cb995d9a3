//! Vectors as lists store them: rows of the index's element type, and as floats for centroids.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::error::{IndexError, VectorError};
use crate::index::distances::Engine;
use crate::index::encode::{Encoder, normalize};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::simd::Isa;
use crate::vector::{Block, Element};

/// The greatest magnitude of a component that is coded: quantizers take residuals up to 2^50.
const MOST_CODED: f32 = (1_u64 << 49) as f32;

/// Reading and comparing vectors of an index.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) encoder: Encoder,
    pub(super) isa: Isa,
    /// Engine between stored rows.
    pub(super) engine: Engine,
    /// Engine between floats, to find the list of a vector.
    pub(super) assigning: Engine,
    /// Engine between a query and centroids, as floats.
    pub(super) ranking: Engine,
}

impl Space {
    pub(super) fn new(encoder: Encoder, isa: Isa, stored: Engine) -> Result<Self, IndexError> {
        // The first lists are those whose vectors have the greatest product on average.
        let rank = match encoder.metric {
            Metric::InnerProduct => Metric::InnerProduct,
            _ => Metric::L2,
        };
        let assigning = Engine::new(Metric::L2, Element::F32, isa)?;
        let ranking = Engine::new(rank, Element::F32, isa)?;
        Ok(Self { encoder, isa, engine: stored, assigning, ranking })
    }

    /// Returns the blocks of a stored row.
    pub(super) fn blocks(&self) -> usize {
        self.encoder.blocks()
    }

    /// Returns the components of a vector.
    pub(super) fn dimension(&self) -> usize {
        self.encoder.dimension
    }

    /// Returns the blocks of a vector as floats.
    pub(super) fn float_blocks(&self) -> usize {
        Element::F32.bytes(self.dimension()).div_ceil(size_of::<Block>())
    }

    /// Writes the vector of a row to `floats`; of unit length under the cosine.
    pub(super) fn floats(&self, row: &[Block], floats: &mut Vec<f32>) {
        self.encoder.decode_into(row, floats);
        let integers = matches!(self.encoder.element, Element::I8 | Element::U8);
        if integers && self.encoder.metric == Metric::Cosine {
            let scaled = normalize(floats);
            debug_assert!(scaled.is_ok(), "a stored vector has a direction");
        }
    }

    /// Writes floats in whole blocks to `row`.
    pub(super) fn pad(&self, floats: &[f32], row: &mut Vec<Block>) {
        row.clear();
        row.resize(self.float_blocks(), Block::ZERO);
        cast_slice_mut::<_, f32>(row)[..floats.len()].copy_from_slice(floats);
    }

    /// Refuses a vector whose residual a quantizer could not take.
    pub(super) fn check_coded(&self, floats: &[f32]) -> Result<(), VectorError> {
        match floats.iter().position(|x| x.abs() > MOST_CODED) {
            None => Ok(()),
            Some(component) => {
                let (value, element) = (floats[component], self.encoder.element);
                Err(VectorError::NotRepresentable { component, value, element })
            }
        }
    }

    /// Returns whether the encoder could have made a row: finite, with a direction if the metric
    /// needs one, and zeros behind it.
    pub(super) fn is_row(&self, row: &[Block], is_coded: bool, floats: &mut Vec<f32>) -> bool {
        let Encoder { dimension, metric, element } = self.encoder;
        let bytes: &[u8] = cast_slice(row);
        let used = element.bytes(dimension);
        if bytes[used..].iter().any(|&byte| byte != 0) {
            return false;
        }
        if element == Element::Bit {
            return dimension.is_multiple_of(8) || bytes[used - 1] >> (dimension % 8) == 0;
        }
        self.encoder.decode_into(row, floats);
        floats.iter().fold(true, |all, x| all & x.is_finite())
            && (metric != Metric::Cosine || floats.iter().any(|&x| x != 0.0))
            && (!is_coded || self.check_coded(floats).is_ok())
    }

    /// Clamps a query into the range of quantizers.
    pub(super) fn clamp(floats: &mut [f32]) {
        for x in floats {
            *x = x.clamp(-MOST_CODED, MOST_CODED);
        }
    }

    /// Returns the order key of the distance of two stored rows.
    pub(super) fn measure(&self, row: &[Block], query: &[Block]) -> OrderKey {
        let mut order = OrderKey::MIN;
        self.engine.orders_in_line(row, query, std::slice::from_mut(&mut order));
        order
    }

    /// Returns the estimate that corresponds to a distance.
    pub(super) fn as_estimate(&self, distance: f32) -> f32 {
        if self.encoder.metric == Metric::Cosine { 2.0 * distance } else { distance }
    }

    /// Returns the term that is added to the estimates of a list: the distance of the query and the centroid.
    pub(super) fn bias(&self, ranked: u64) -> f32 {
        self.ranking.distance(OrderKey::from_bits((ranked >> 32) as u32))
    }

    /// Returns the factor of the distance by a code in an estimate, which is
    /// `bias + term + weight * distance`.
    pub(super) fn weight(&self) -> f32 {
        // |q - x|^2 = |q - c|^2 + |r|^2 - 2 (q - c) r, and q x = q c + q r, for x = c + r.
        if self.encoder.metric == Metric::InnerProduct { 1.0 } else { 2.0 }
    }

    /// Returns the distance of an estimate.
    pub(super) fn distance(&self, estimate: f32) -> f32 {
        match self.encoder.metric {
            Metric::InnerProduct => estimate,
            // Half the square of the distance of vectors of unit length.
            Metric::Cosine => (0.5 * estimate).clamp(0.0, 2.0),
            _ => estimate.max(0.0),
        }
    }
}
