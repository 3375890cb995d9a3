//! Estimates against the formula, and their bounds against the truth.

use super::grid::{self, Nearest};
use super::{Quantizer, RabitqQuantizer};
use crate::metric::Metric;
use crate::quantization::quantizer::PreparedQuery;
use crate::quantization::tests::Random;
use crate::simd::{Isa, run_on};

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// About normal, off the origin, of unequal lengths.
fn vectors(random: &mut Random, count: usize, dimension: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for _ in 0..count {
        let length = 1.5 + random.signed();
        for component in 0..dimension {
            let normal = random.signed() + random.signed() + random.signed();
            all.push(length * normal + (component % 5) as f32 * 0.2);
        }
    }
    all
}

fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f(a.into(), b.into())).sum()
    };
    match metric {
        Metric::InnerProduct => -sum(&|a, b| a * b),
        Metric::Cosine => {
            1.0 - sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
        }
        _ => sum(&|a, b| (a - b) * (a - b)),
    }
}

/// Planes of a vector's grid point, and its scale.
fn point(residual: &[f32], bits: u32) -> (Vec<f32>, f32) {
    let mut values = vec![0; residual.len()];
    let fit = run_on(Isa::Scalar, Nearest { residual, bits, values: &mut values });
    let plane_len = residual.len().div_ceil(8);
    let mut planes = vec![0; bits as usize * plane_len];
    for (number, plane) in planes.chunks_exact_mut(plane_len).enumerate() {
        grid::write_plane(&values, bits - 1 - number as u32, plane);
    }
    (grid::components(&planes, bits, residual.len()), fit.scale)
}

#[test]
fn estimates_are_the_formula_on_every_instruction_set() {
    let mut random = Random(1);
    for dimension in [1, 3, 31, 64, 65, 100, 128, 129, 192, 384, 1000] {
        for bits in [1, 2, 4] {
            for metric in METRICS {
                let data = vectors(&mut random, 50, dimension);
                let builder = RabitqQuantizer::builder(dimension, metric).bits(bits).seed(3);
                let mut quantizer = builder.train(&data).unwrap();
                let codes = quantizer.quantize_batch(&data).unwrap();
                let row = |i: usize| &data[i * dimension..][..dimension];
                let admitted = |i: usize| quantizer.admit(row(i)).unwrap().into_owned();
                let residual = |i: usize, multiple: f32| {
                    let mut residual = Vec::new();
                    quantizer.residual_into(&admitted(i), multiple, &mut residual);
                    residual
                };
                let squares = |v: &[f32]| super::dot(v, v);
                let query_bits = super::query::query_bits(bits);
                let multiple = match metric {
                    Metric::InnerProduct => {
                        let product = super::dot(&admitted(0), &quantizer.centre) as f32;
                        product / squares(&quantizer.centre) as f32
                    }
                    _ => 1.0,
                };
                let of_query = residual(0, multiple);
                let (query, query_scale) = point(&of_query, query_bits);
                let mut expected = Vec::new();
                for i in 0..50 {
                    let (of_code, scale) = point(&residual(i, 1.0), bits);
                    let scale = f64::from(scale) * f64::from(query_scale);
                    let product = scale * super::dot(&of_code, &query);
                    let sum = squares(&of_query) + squares(&residual(i, 1.0));
                    let centre = &quantizer.centre;
                    let middle = super::dot(centre, &admitted(0))
                        + f64::from(multiple)
                            * (super::dot(centre, &admitted(i)) - squares(centre));
                    expected.push(match metric {
                        Metric::InnerProduct => (-product - middle, sum + middle.abs()),
                        Metric::Cosine => (sum / 2.0 - product, sum),
                        _ => (sum - 2.0 * product, sum),
                    });
                }
                let mut first: Option<Vec<f32>> = None;
                for &isa in Isa::available() {
                    quantizer.isa = isa;
                    assert_eq!(quantizer.quantize_batch(&data).unwrap(), codes);
                    let mut found = vec![0.0; 50];
                    quantizer.query(row(0)).unwrap().distances(&codes, &mut found).unwrap();
                    for (found, &(expected, size)) in found.iter().zip(&expected) {
                        let off = (f64::from(*found) - expected).abs();
                        let case = format!("{dimension} {bits} {metric} {isa}");
                        assert!(off < 2e-6 * size, "{case}: {found} {expected}");
                    }
                    assert_eq!(*first.get_or_insert_with(|| found.clone()), found, "{isa}");
                }
            }
        }
    }
}

/// A query that is much shorter than the centre was estimated with an error in proportion to the centre: 100 times as large at .01.
#[test]
fn estimates_of_inner_products_are_in_proportion_to_the_query() {
    let mut random = Random(11);
    let data = vectors(&mut random, 200, 128);
    for bits in [1, 2, 4] {
        let builder = RabitqQuantizer::builder(128, Metric::InnerProduct).bits(bits);
        let quantizer = builder.train(&data).unwrap();
        let codes = quantizer.quantize_batch(&data).unwrap();
        let code = |i: usize| &codes[i * quantizer.code_len()..][..quantizer.code_len()];
        for asked in data.chunks(128).take(10) {
            let estimates = |factor: f32| -> Vec<(f32, f32)> {
                let scaled: Vec<f32> = asked.iter().map(|x| x * factor).collect();
                let query = quantizer.query(&scaled).unwrap();
                let estimates = (0..200).map(|i| query.estimate(code(i)).unwrap());
                estimates.map(|e| (e.distance / factor, e.bound / factor)).collect()
            };
            let own = estimates(1.0);
            for factor in [1e-3, 0.01, 0.3, 7.0, 1000.0] {
                for (&(distance, _), &(expected, bound)) in estimates(factor).iter().zip(&own) {
                    let off = (distance - expected).abs();
                    // Components near the middle of two cells may be rounded to either.
                    assert!(off < 0.2 * bound, "{bits} {factor}: {distance}, not {expected}");
                }
            }
        }
    }
}

/// How many of many estimates lie within their bounds, and how far they are off on average, as a
/// share of the bound.
fn coverage(dimension: usize, bits: u32, metric: Metric, epsilon: f32) -> (f64, f64) {
    let mut random = Random(dimension as u64);
    let data = vectors(&mut random, 60, dimension);
    let (mut within, mut off, mut count) = (0, 0.0, 0);
    for seed in 0..40 {
        let builder = RabitqQuantizer::builder(dimension, metric).bits(bits).seed(seed);
        let quantizer = builder.train(&data).unwrap();
        let codes = quantizer.quantize_batch(&data).unwrap();
        for asked in [0, 20, 40] {
            let asked = &data[asked * dimension..][..dimension];
            let query = quantizer.query(asked).unwrap().with_epsilon(epsilon);
            for (row, code) in data.chunks(dimension).zip(codes.chunks(quantizer.code_len())) {
                // A vector and itself: nothing is random about the product.
                if row == asked {
                    continue;
                }
                let estimate = query.estimate(code).unwrap();
                let error = f64::from(estimate.distance) - exact(metric, row, asked);
                within += u32::from(error.abs() <= f64::from(estimate.bound));
                off += error / f64::from(estimate.bound);
                count += 1;
            }
        }
    }
    (f64::from(within) / f64::from(count), off / f64::from(count))
}

#[test]
fn the_truth_lies_within_the_bound_as_often_as_stated() {
    for dimension in [64, 100, 384] {
        for bits in [1, 2, 4] {
            for metric in METRICS {
                for (epsilon, least, most) in
                    [(1.0, 0.66, 0.85), (1.9, 0.93, 0.995), (3.0, 0.99, 1.0)]
                {
                    let (within, off) = coverage(dimension, bits, metric, epsilon);
                    let case = format!("{dimension} {bits} {metric} {epsilon}");
                    eprintln!("{case}: {within:.3} within, off {off:.3}");
                    assert!((least..=most).contains(&within), "{case}: {within} within");
                    assert!(off.abs() < 0.05, "{case}: off by {off} on average");
                }
            }
        }
    }
}

/// The search by turns must find directions nearly as good as the best of all scales.
#[test]
fn grid_points_are_nearly_the_best() {
    let mut random = Random(5);
    let (mut losses, mut most) = (Vec::new(), 0.0_f64);
    // Rotated vectors have 64 components or more.
    for dimension in [64, 200, 1000] {
        for bits in [1, 2, 4] {
            for _ in 0..20 {
                let data = vectors(&mut random, 1, dimension);
                let cosine = |point: &[f32]| {
                    super::dot(point, &data)
                        / (super::dot(point, point) * super::dot(&data, &data)).sqrt()
                };
                let found = cosine(&point(&data, bits).0);
                let greatest = f64::from((1_u32 << bits) - 1);
                let largest = data.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
                let best = (1..=400)
                    .map(|i| {
                        let step =
                            2.0 * f64::from(largest) * f64::from(i) / 400.0 / greatest.min(2.0);
                        let grid: Vec<f32> = data
                            .iter()
                            .map(|&x| {
                                let odd = 2.0 * (f64::from(x) / step).floor() + 1.0;
                                odd.clamp(-greatest, greatest) as f32
                            })
                            .collect();
                        cosine(&grid)
                    })
                    .fold(0.0, f64::max);
                let lost = (1.0 - found * found).sqrt() / (1.0 - best * best).sqrt().max(1e-3);
                most = most.max(lost);
                losses.push(lost);
            }
        }
    }
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    eprintln!("errors are {mean:.4} times the least on average, {most:.4} times at most");
    assert!(mean < 1.01 && most < 1.1);
}

/// Distances between codes: none from a code to itself, and right on average.
#[test]
fn distances_between_codes_are_fair() {
    for bits in [1, 2, 4] {
        for metric in METRICS {
            let dimension = 256;
            let data = vectors(&mut Random(7), 100, dimension);
            let quantizer =
                RabitqQuantizer::builder(dimension, metric).bits(bits).train(&data).unwrap();
            let codes = quantizer.quantize_batch(&data).unwrap();
            let code = |i: usize| &codes[i * quantizer.code_len()..][..quantizer.code_len()];
            let row = |i: usize| &data[i * dimension..][..dimension];
            let (mut off, mut spread) = (0.0, 0.0);
            for i in 0..99 {
                let truth = exact(metric, row(i), row(i + 1));
                let error = f64::from(quantizer.distance(code(i), code(i + 1)).unwrap()) - truth;
                let size = (super::dot(row(i), row(i)) * super::dot(row(i + 1), row(i + 1))).sqrt();
                let size = if metric == Metric::Cosine { 1.0 } else { size };
                off += error / size / 99.0;
                spread += (error / size).abs() / 99.0;
                let own = f64::from(quantizer.distance(code(i), code(i)).unwrap());
                let own_off = (own - exact(metric, row(i), row(i))).abs();
                assert!(own_off < 1e-4 * size.max(1.0) * 10.0, "{bits} {metric}: {own}");
            }
            eprintln!("{bits} {metric}: off {off:.4}, spread {spread:.4}");
            assert!(
                off.abs() < 0.02 && spread < [0.12, 0.06, 0.03][bits as usize / 2],
                "{off} {spread}"
            );
        }
    }
}
