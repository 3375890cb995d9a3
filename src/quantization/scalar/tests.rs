//! Tests of scalar codes.

use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Returns vectors whose components have deviations from 0.1 to 2 and a common shift.
fn sample(count: usize, dimension: usize, seed: u64) -> Vec<f32> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut normal = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    let component = |i: usize| 0.1 + 1.9 * (i as f32 * 0.37).sin().abs();
    (0..count * dimension).map(|i| normal() * component(i % dimension) + 1.0).collect()
}

fn square(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[test]
fn codes_come_back_with_an_error_in_proportion_to_their_cells() {
    for dimension in [1, 3, 31, 64, 100, 128, 129, 200, 384, 1000] {
        let vectors = sample(300, dimension, 3);
        let spread = {
            let mean = mean(&vectors, dimension);
            vectors.chunks_exact(dimension).map(|v| square(v, &mean)).sum::<f64>() / 300.0
        };
        for metric in [Metric::L2, Metric::InnerProduct] {
            // The optimal uniform grid of 16 cells has 1.2 % of a normal's variance; a fifth of that for twice the bits is far
            // above the error of 256 cells.
            let shares = [(Bits::Four, 0.05), (Bits::Eight, 0.006), (Bits::Twelve, 2e-5)];
            for (bits, share) in shares {
                let grid = ScalarGrid::train(&vectors, dimension, metric, bits, 1, Isa::detect());
                let (mut rotated, mut back) = (Vec::new(), Vec::new());
                let mut code = vec![Block::ZERO; grid.code_blocks()];
                let mut error = 0.0;
                for vector in vectors.chunks_exact(dimension) {
                    grid.encode(vector, &mut rotated, &mut code);
                    grid.decode(&code, &mut back);
                    assert_eq!(back.len(), dimension);
                    error += square(vector, &back) / 300.0;
                }
                let scale = if metric == Metric::InnerProduct {
                    vectors.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 300.0
                } else {
                    spread
                };
                assert!(
                    error < share * scale,
                    "{dimension} {metric:?} {bits:?}: {error} of {scale}"
                );
                assert!((f64::from(grid.error) / error - 1.0).abs() < 0.01);
            }
        }
    }
}

/// The inner product of a vector with its code was 1.2 % too small on average, and up to 5 %, each by another share.
#[test]
fn codes_of_four_bits_have_the_inner_product_of_their_vector_with_itself() {
    for dimension in [64, 100, 128, 384, 1000] {
        let vectors = sample(200, dimension, 5);
        let metric = Metric::InnerProduct;
        let grid = ScalarGrid::train(&vectors, dimension, metric, Bits::Four, 1, Isa::detect());
        let (mut rotated, mut back) = (Vec::new(), Vec::new());
        let mut code = vec![Block::ZERO; grid.code_blocks()];
        let mut sum = 0.0;
        for (at, vector) in vectors.chunks_exact(dimension).enumerate() {
            // Vectors of every length.
            let length = [1.0, 0.01, 30.0][at % 3];
            let vector: Vec<f32> = vector.iter().map(|x| x * length).collect();
            grid.encode(&vector, &mut rotated, &mut code);
            grid.decode(&code, &mut back);
            let product = |a: &[f32]| -> f64 {
                a.iter().zip(&vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let off = product(&back) / product(&vector) - 1.0;
            assert!(off.abs() < 0.03, "{dimension}: {off}");
            sum += off / 200.0;
        }
        assert!(sum.abs() < 0.003, "{dimension}: {sum} on average");
    }
}

#[test]
fn equal_vectors_and_single_ones_are_exact_and_nothing_divides_by_zero() {
    for bits in [Bits::Four, Bits::Eight, Bits::Twelve] {
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            for count in [1, 50] {
                let one: Vec<f32> = (0..37).map(|i| (i as f32).cos()).collect();
                let grid =
                    ScalarGrid::train(&one.repeat(count), 37, metric, bits, 1, Isa::detect());
                let mut code = vec![Block::ZERO; grid.code_blocks()];
                let (mut rotated, mut back) = (Vec::new(), Vec::new());
                grid.encode(&one, &mut rotated, &mut code);
                grid.decode(&code, &mut back);
                assert!(back.iter().all(|x| x.is_finite()));
                let zeros = vec![0.0; 37];
                let all_zero = ScalarGrid::train(&zeros, 37, metric, bits, 1, Isa::detect());
                all_zero.encode(&zeros, &mut rotated, &mut code);
                all_zero.decode(&code, &mut back);
                assert!(back.iter().all(|x| x.is_finite()));
                // Components far outside of the fitted range are clipped, not wrapped.
                grid.encode(&[f32::MAX; 37], &mut rotated, &mut code);
                let mut query = vec![Block::ZERO; grid.query_blocks()];
                grid.prepare(&[-f32::MAX; 37], &mut rotated, &mut query);
            }
        }
    }
}

#[test]
fn whole_bytes_are_their_own_codes() {
    let vectors: Vec<f32> = (0..256 * 20).map(|i| (i * 7 % 256) as f32).collect();
    let grid = ScalarGrid::train(&vectors, 20, Metric::L2, Bits::Eight, 1, Isa::detect());
    let mut code = vec![Block::ZERO; grid.code_blocks()];
    let (mut rotated, mut back) = (Vec::new(), Vec::new());
    for vector in vectors.chunks_exact(20) {
        grid.encode(vector, &mut rotated, &mut code);
        grid.decode(&code, &mut back);
        assert_eq!(back, vector);
    }
}
