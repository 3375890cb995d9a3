//! A trained grid as bytes.
//!
//! Little-endian: the width of a cell and the mean squared error as `f32`; a byte, whose bit 0 is set with a rotation, and bit 1 if
//! each code carries a scale; the mean, one `f32` a component, if the metric has one and the grid has a rotation; the signs of the
//! rotation, a bit each, the first in the lowest.

use super::{Bits, Parts, ScalarGrid};
use crate::metric::Metric;
use crate::quantization::math::Rotation;
use crate::simd::Isa;

impl ScalarGrid {
    /// Returns the grid as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.step.to_le_bytes().to_vec();
        out.extend(self.error.to_le_bytes());
        out.push(u8::from(self.rotation.is_some()) | u8::from(self.is_scaled) << 1);
        out.extend(self.mean.iter().flat_map(|x| x.to_le_bytes()));
        if let Some(rotation) = &self.rotation {
            let signs: Vec<bool> = rotation.signs().collect();
            let byte = |bits: &[bool]| {
                bits.iter().enumerate().fold(0, |byte, (at, &bit)| byte | u8::from(bit) << at)
            };
            out.extend(signs.chunks(8).map(byte));
        }
        out
    }

    /// Returns the grid of bytes that [`Self::to_bytes`] gave for an index of these facts. Returns `None` for other bytes.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        dimension: usize,
        metric: Metric,
        bits: Bits,
        isa: Isa,
    ) -> Option<Self> {
        let (step, rest) = bytes.split_first_chunk()?;
        let (error, rest) = rest.split_first_chunk()?;
        let (step, error) = (f32::from_le_bytes(*step), f32::from_le_bytes(*error));
        let (&flags, mut rest) = rest.split_first()?;
        let (rotated, is_scaled) = (flags & 1, flags >> 1);
        // Without a rotation, vectors are their own codes, which only bytes under L2 are.
        let exact = bits == Bits::Eight && metric == Metric::L2;
        if !(step.is_normal() && step > 0.0 && error >= 0.0 && error.is_finite())
            || is_scaled > rotated
            || !(rotated == 1 || (rotated == 0 && exact))
        {
            return None;
        }
        let mut mean = Vec::new();
        let mut rotation = None;
        if rotated == 1 {
            if metric != Metric::InnerProduct {
                let (floats, signs) = rest.split_at_checked(4 * dimension)?;
                mean.extend(floats.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)));
                rest = signs;
            }
            let mut at = 0;
            let mut torn = false;
            rotation = Some(Rotation::with_signs(dimension, isa, || {
                let bit = rest.get(at / 8).map(|byte| byte >> (at % 8) & 1 != 0);
                at += 1;
                torn |= bit.is_none();
                bit.unwrap_or(false)
            }));
            if torn || rest.len() != at.div_ceil(8) {
                return None;
            }
            rest = &[];
        }
        let sound = rest.is_empty() && mean.iter().all(|x| x.is_finite());
        let is_scaled = is_scaled == 1;
        let parts = Parts { mean, rotation, is_scaled, step, error };
        sound.then(|| Self::new(dimension, metric, bits, isa, parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Block;

    #[test]
    fn a_grid_comes_back_and_damaged_ones_do_not() {
        for dimension in [1, 64, 100, 192] {
            let sample: Vec<f32> = (0..dimension * 40).map(|i| (i as f32).sin() + 0.1).collect();
            let whole: Vec<f32> = sample.iter().map(|x| (x * 50.0 + 60.0).round()).collect();
            for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
                for bits in [Bits::Four, Bits::Eight, Bits::Twelve] {
                    for sample in [&sample, &whole] {
                        let isa = Isa::detect();
                        let grid = ScalarGrid::train(sample, dimension, metric, bits, 3, isa);
                        let bytes = grid.to_bytes();
                        let again =
                            ScalarGrid::from_bytes(&bytes, dimension, metric, bits, isa).unwrap();
                        let code = |grid: &ScalarGrid| {
                            let mut code = vec![Block::ZERO; grid.code_blocks()];
                            grid.encode(&sample[..dimension], &mut Vec::new(), &mut code);
                            code
                        };
                        assert_eq!(code(&grid), code(&again));
                        assert_eq!(again.distance(7.0).to_bits(), grid.distance(7.0).to_bits());
                        for len in 0..bytes.len() {
                            let torn = &bytes[..len];
                            assert!(
                                ScalarGrid::from_bytes(torn, dimension, metric, bits, isa)
                                    .is_none()
                            );
                        }
                    }
                }
            }
        }
    }
}
