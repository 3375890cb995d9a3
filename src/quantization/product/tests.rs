//! Codes and distances against the definition: the nearest centroid of each part, and the exact
//! distance to the decoded code.
#![expect(clippy::float_cmp, reason = "what must be equal is compared exactly")]

use super::fast_scan::ScanTables;
use super::{PackedCodes, ProductQuantizer, ProductQuery, Quantizer, split};
use crate::metric::Metric;
use crate::quantization::error::QuantizationError;
use crate::quantization::quantizer::PreparedQuery;
use crate::quantization::tests::Random;
use crate::simd::Isa;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

fn vectors(random: &mut Random, count: usize, dimension: usize) -> Vec<f32> {
    (0..count * dimension).map(|_| random.signed()).collect()
}

/// Computes the metric by its definition; vectors under cosine must have unit length.
fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match metric {
        Metric::InnerProduct => -pairs.map(|(a, b)| a * b).sum::<f64>(),
        Metric::Cosine => pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / 2.0,
        _ => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
    }
}

#[test]
fn splits_cover_the_vector_in_order_and_evenly() {
    for dimension in 1..70 {
        for sub_vectors in 1..=dimension {
            let mut end = 0;
            for range in split(dimension, sub_vectors) {
                assert_eq!(range.start, end);
                let even = dimension / sub_vectors;
                assert!(range.len() == even || range.len() == even + 1);
                end = range.end;
            }
            assert_eq!(end, dimension);
        }
    }
}

#[test]
fn distances_are_those_to_what_codes_stand_for() {
    let mut random = Random(1);
    for (dimension, sub_vectors) in [(1, 1), (3, 2), (31, 7), (31, 31), (100, 12), (130, 65)] {
        for (bits, rotated) in [(4, false), (4, true), (8, false), (8, true)] {
            for metric in METRICS {
                let case = format!("{dimension} in {sub_vectors} of {bits} {metric} {rotated}");
                let data = vectors(&mut random, 300, dimension);
                let quantizer = ProductQuantizer::builder(dimension, metric)
                    .sub_vectors(sub_vectors)
                    .bits(bits)
                    .rotated(rotated)
                    .rounds(2)
                    .train(&data)
                    .expect(&case);
                assert_eq!(quantizer.code_len(), (sub_vectors * bits as usize).div_ceil(8));
                let query = quantizer.query(&data[..dimension]).expect(&case);
                let admitted = quantizer.admit(&data[..dimension]).unwrap();
                let first = quantizer.quantize(&data[..dimension]).unwrap();
                // The decoded code before the rotation is undone.
                let stored = |code: &[u8]| -> Vec<f32> {
                    let parts = quantizer.parts.iter().enumerate();
                    let choice = |(i, part): (usize, &super::Part)| {
                        part.centroids.point(quantizer.choice(code, i)).collect::<Vec<_>>()
                    };
                    parts.flat_map(choice).collect()
                };
                for row in data.chunks(dimension).skip(1).step_by(31) {
                    let code = quantizer.quantize(row).unwrap();
                    let row = quantizer.admit(row).unwrap();
                    for (i, part) in quantizer.parts.iter().enumerate() {
                        let square = |c: usize| {
                            let point: Vec<f32> = part.centroids.point(c).collect();
                            exact(Metric::L2, &point, &row[part.range.clone()])
                        };
                        let chosen = square(quantizer.choice(&code, i));
                        let least = (0..1 << bits).map(square).fold(f64::INFINITY, f64::min);
                        assert!(chosen <= least * (1.0 + 1e-5) + 1e-12, "{case}");
                    }
                    let stored_row = stored(&code);
                    let near = |found: f32, expected: f64| {
                        let off = (f64::from(found) - expected).abs();
                        assert!(off < 1e-5 * (1.0 + expected.abs()), "{case}: {found} {expected}");
                    };
                    near(query.distance(&code).unwrap(), exact(metric, &admitted, &stored_row));
                    let symmetric = quantizer.distance(&first, &code).unwrap();
                    near(symmetric, exact(metric, &stored(&first), &stored_row));
                    // Tables and sums made anew give the same bits.
                    let parts = quantizer.parts.iter().enumerate();
                    let sum: f32 = parts
                        .map(|(i, part)| {
                            let choice = |code| quantizer.choice(code, i);
                            quantizer.pair(part, choice(&first), choice(&code))
                        })
                        .sum();
                    assert_eq!(sum, symmetric, "{case}");
                    // The dequantized vector has the distance of the stored one.
                    let back = quantizer.dequantize(&code).unwrap();
                    let query = &quantizer_input(&quantizer, &data[..dimension]);
                    if !rotated {
                        near(
                            exact(metric, query, &back) as f32,
                            exact(metric, &admitted, &stored_row),
                        );
                    }
                }
            }
        }
    }
}

/// Returns the vector before rotation.
fn quantizer_input(quantizer: &ProductQuantizer, vector: &[f32]) -> Vec<f32> {
    crate::quantization::admit::admit(vector, quantizer.dimension, quantizer.metric)
        .unwrap()
        .into_owned()
}

#[test]
fn scans_differ_by_the_rounding_of_tables_only() {
    let mut random = Random(2);
    // 1,100 sub-vectors: sums of 16 bits would overflow if they were not emptied in time.
    for sub_vectors in [1, 2, 3, 4, 5, 8, 31, 32, 100, 255, 256, 257, 1100] {
        for metric in METRICS {
            let dimension = sub_vectors + sub_vectors / 3;
            let data = vectors(&mut random, 130, dimension);
            let mut quantizer = ProductQuantizer::builder(dimension, metric)
                .sub_vectors(sub_vectors)
                .bits(4)
                .rounds(1)
                .train(&data)
                .unwrap();
            let codes = quantizer.quantize_batch(&data).unwrap();
            for count in [0, 1, 15, 16, 17, 31, 32, 33, 64, 130] {
                let codes = &codes[..count * quantizer.code_len()];
                let packed = quantizer.pack(codes).unwrap();
                assert_eq!((packed.len(), packed.is_empty()), (count, count == 0));
                let mut first: Option<Vec<f32>> = None;
                for &isa in Isa::available() {
                    quantizer.isa = isa;
                    let query = quantizer.query(&data[..dimension]).unwrap();
                    let (mut exact, mut scanned) = (vec![0.0; count], vec![0.0; count]);
                    query.distances(codes, &mut exact).unwrap();
                    query.scan(&packed, &mut scanned).unwrap();
                    for from in (0..=count).step_by(32) {
                        let mut part = vec![0.0; (count - from).min(40)];
                        query.scan_from(&packed, from, &mut part).unwrap();
                        assert_eq!(part, scanned[from..][..part.len()]);
                    }
                    let mut apart = 0.0_f32;
                    for (a, b) in exact.iter().zip(&scanned) {
                        let case = format!("{sub_vectors} {metric} {isa} {count}: {a} {b}");
                        assert!((a - b).abs() <= query.scan_error(), "{case}");
                        apart = apart.max((a - b).abs());
                    }
                    // The bound is one, but not a wild one: errors of entries cancel out by the
                    // root of their number.
                    let root = (sub_vectors as f32).sqrt();
                    let few = count < 64 || sub_vectors < 8;
                    assert!(few || apart * 4.0 * root > query.scan_error(), "{apart}");
                    let first = first.get_or_insert_with(|| scanned.clone());
                    assert_eq!(*first, scanned, "{sub_vectors} {metric} {isa} {count}");
                }
            }
        }
    }
}

/// Every entry chosen is the greatest: 255 in eight bits, so that sums of 16 bits are full
/// after 257 of them.
#[test]
fn the_greatest_sums_do_not_overflow() {
    for sub_vectors in [255, 256, 257, 258, 280, 2000] {
        let mut table = [1.0; 16];
        table[0] = 0.0;
        let tables = ScanTables::new(&vec![table; sub_vectors]);
        let codes = PackedCodes::new(sub_vectors, &vec![0xff; 40 * sub_vectors.div_ceil(2)]);
        for &isa in Isa::available() {
            let mut found = [0.0; 40];
            tables.scan(isa, &codes, 0, &mut found);
            let off = found.map(|found| (found - sub_vectors as f32).abs());
            assert!(off.iter().all(|off| *off < 0.01), "{sub_vectors} {isa}: {found:?}");
        }
    }
}

#[test]
fn what_cannot_be_scanned_is_refused() {
    let data = vectors(&mut Random(3), 300, 9);
    let train = |bits, sub_vectors| {
        let builder = ProductQuantizer::builder(9, Metric::L2).bits(bits).rounds(1);
        builder.sub_vectors(sub_vectors).train(&data).unwrap()
    };
    let parameter = |found: Result<(), QuantizationError>| match found {
        Err(QuantizationError::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let (four, eight) = (train(4, 9), train(8, 9));
    assert_eq!(parameter(eight.pack(&[]).map(drop)), "bits");
    let codes = four.quantize_batch(&data).unwrap();
    let mut packed: PackedCodes = four.pack(&codes).unwrap();
    assert_eq!(
        four.pack(&codes[1..]),
        Err(QuantizationError::CodeLength { expected: 1500, found: 1499 })
    );
    let query: ProductQuery<'_> = four.query(&data[..9]).unwrap();
    let place = QuantizationError::OutputLength { expected: 300, found: 299 };
    assert_eq!(query.scan(&packed, &mut [0.0; 299]), Err(place));
    assert_eq!(parameter(eight.query(&data[..9]).unwrap().scan(&packed, &mut [0.0; 300])), "bits");
    let other = train(4, 8);
    let other_query = other.query(&data[..9]).unwrap();
    assert_eq!(parameter(other_query.scan(&packed, &mut [0.0; 300])), "sub_vectors");
    assert_eq!(
        packed.push(&codes[..4]),
        Err(QuantizationError::CodeLength { expected: 5, found: 4 })
    );
    assert_eq!(packed.len(), 300);
}

#[test]
fn packed_codes_change_like_a_list() {
    for sub_vectors in [1, 3, 4, 9] {
        let data = vectors(&mut Random(4), 200, 9);
        let builder = ProductQuantizer::builder(9, Metric::L2).bits(4).rounds(1);
        let quantizer = builder.sub_vectors(sub_vectors).train(&data).unwrap();
        let codes = quantizer.quantize_batch(&data).unwrap();
        let mut list: Vec<&[u8]> = codes.chunks(quantizer.code_len()).collect();
        let mut packed = quantizer.pack(&codes).unwrap();
        let mut random = Random(5);
        while !list.is_empty() {
            let position = random.next() as usize % list.len();
            let other = random.next() as usize % list.len();
            packed.set(other, list[position]).unwrap();
            list[other] = list[position];
            packed.swap_remove(position).unwrap();
            list.swap_remove(position);
            if list.len().is_multiple_of(7) {
                packed.push(&codes[..quantizer.code_len()]).unwrap();
                list.push(&codes[..quantizer.code_len()]);
                packed.swap_remove(0).unwrap();
                list.swap_remove(0);
            }
            assert_eq!(packed, quantizer.pack(&list.concat()).unwrap());
            assert_eq!(packed.get(list.len()), None);
            assert!(list.iter().enumerate().all(|(i, code)| packed.get(i).unwrap() == *code));
        }
        let code = &codes[..quantizer.code_len()];
        assert!(packed.swap_remove(0).is_err() && packed.set(0, code).is_err());
    }
}
