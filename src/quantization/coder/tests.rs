//! Tests of the coder of an index.

use super::*;
use crate::distance::Ask;
use crate::quantization::quantizer::PreparedQuery;
use crate::quantization::tests::Random;

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

fn codings(dimension: usize) -> Vec<Coding> {
    let product = |parts: usize, bits| Coding::Product { sub_vectors: parts as u32, bits };
    let mut all = [1, 2, 4].map(|bits| Coding::Rabitq { bits }).to_vec();
    all.extend([product(1, 4), product(dimension, 4), product(dimension.div_ceil(3), 8)]);
    all
}

fn vectors(random: &mut Random, count: usize, dimension: usize, metric: Metric) -> Vec<f32> {
    let mut all: Vec<f32> = (0..count * dimension).map(|_| random.signed() + 0.1).collect();
    if metric == Metric::Cosine {
        for row in all.chunks_exact_mut(dimension) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            for x in row {
                *x /= norm;
            }
        }
    }
    all
}

/// Returns the distances of a query and four rows.
fn distances(coder: &Coder, isa: Isa, query: &[Block], rows: [&[Block]; 4]) -> [f32; 4] {
    let found = Ask::of(query, rows).under(&*coder.query_kernel(isa).expect("available"));
    assert_eq!(found.keys, found.keys4);
    found.distances
}

#[test]
fn kernels_give_the_distances_of_the_quantizer_on_every_instruction_set() {
    let mut random = Random(4);
    for dimension in [1, 20, 64, 129, 192] {
        for metric in METRICS {
            let base = vectors(&mut random, 40, dimension, metric);
            for coding in codings(dimension) {
                let what = format!("{dimension} {metric:?} {coding:?}");
                let mut sample = base.clone();
                let coder = Coder::train(&mut sample, dimension, metric, coding, 5, Isa::detect())
                    .expect("trained");
                let quantizer = coder.quantizer().expect("no grid");
                let mut scratch = Vec::new();
                let rows: [Vec<Block>; 4] = std::array::from_fn(|i| {
                    let mut code = vec![Block::ZERO; coder.code_blocks()];
                    let mut row = base[i * dimension..][..dimension].to_vec();
                    coder.encode(&mut row, &mut scratch, &mut code);
                    code
                });
                let codes = rows.each_ref().map(|row| code_of(quantizer, row));
                let factors = rows.each_ref().map(|row| coder.factor(row));
                for (i, code) in codes.iter().enumerate() {
                    let mut row = base[i * dimension..][..dimension].to_vec();
                    if matches!(&coder, Coder::Product(product) if product.has_lengths()) {
                        make_unit(&mut row);
                    }
                    // Scaling to unit length once more changes last digits.
                    if metric != Metric::Cosine {
                        assert_eq!(&quantizer.quantize(&row).expect("legal"), code, "{what}");
                    }
                }
                // The old content of the blocks does not matter.
                let garbage: Block = bytemuck::cast([0xa5_u8; 64]);
                let mut blocks = vec![garbage; coder.query_blocks()];
                let query = &base[10 * dimension..][..dimension];
                coder.prepare(&mut query.to_vec(), &mut scratch, &mut blocks);
                let prepared: Box<dyn PreparedQuery> = quantizer.prepare(query).expect("legal");
                for &isa in Isa::available() {
                    let rows = rows.each_ref().map(Vec::as_slice);
                    let found = distances(&coder, isa, &blocks, rows);
                    for ((found, code), factor) in found.into_iter().zip(codes).zip(factors) {
                        let expected = factor * prepared.distance(code).expect("a code");
                        let expected = if metric == Metric::InnerProduct {
                            expected
                        } else {
                            expected.max(0.0)
                        };
                        let off = (found - expected).abs();
                        assert!(off <= 1e-5 * (1.0 + expected.abs()), "{what} {isa:?}: {off}");
                    }
                }
                let between = quantizer.distance(codes[0], codes[1]).expect("codes");
                let between = between * (factors[0] * factors[1]);
                assert_eq!(coder.key_between(&rows[0], &rows[1]), OrderKey::of_f32(between + 0.0));
                if let Some(query) = coder.query_of(&rows[0]) {
                    let rows = rows.each_ref().map(Vec::as_slice);
                    let [_, found, ..] = distances(&coder, Isa::Scalar, &query, rows);
                    assert!((found - between).abs() <= 1e-5 * (1.0 + between.abs()), "{what}");
                }
            }
        }
    }
}

/// Vectors of any length, each with its code, have the product with themselves.
#[test]
fn product_codes_of_directions_keep_lengths() {
    let mut random = Random(11);
    let dimension = 48;
    let base = vectors(&mut random, 600, dimension, Metric::InnerProduct);
    for (bits, sub_vectors) in [(4, 24), (8, 12)] {
        let coding = Coding::Product { sub_vectors, bits };
        let mut sample = base.clone();
        let coder =
            Coder::train(&mut sample, dimension, Metric::InnerProduct, coding, 5, Isa::detect());
        let coder = coder.expect("trained");
        let (mut code, mut scratch) = (vec![Block::ZERO; coder.code_blocks()], Vec::new());
        for (i, row) in base.chunks_exact(dimension).take(40).enumerate() {
            let scale = 10_f32.powi(i as i32 % 20 - 10);
            let mut row: Vec<f32> = row.iter().map(|x| x * scale).collect();
            coder.encode(&mut row, &mut scratch, &mut code);
            let mut decoded = Vec::new();
            coder.decode(&code, &mut decoded);
            let [own, square] = [&decoded, &row]
                .map(|other| row.iter().zip(other).map(|(a, b)| a * b).sum::<f32>());
            assert!((own - square).abs() < 1e-4 * square, "{bits} {scale}: {own} of {square}");
            let off: f32 = row.iter().zip(&decoded).map(|(a, b)| (a - b).powi(2)).sum();
            assert!(off < 0.3 * square, "{bits} {scale}: {off} of {square}");
        }
        coder.encode(&mut vec![0.0; dimension], &mut scratch, &mut code);
        let mut decoded = Vec::new();
        coder.decode(&code, &mut decoded);
        assert!(decoded.iter().all(|&x| x == 0.0), "a zero vector stays one");
    }
}

#[test]
fn coders_come_back_and_others_do_not() {
    let mut random = Random(9);
    let (dimension, isa) = (20, Isa::detect());
    for metric in METRICS {
        let mut sample = vectors(&mut random, 40, dimension, metric);
        for coding in codings(dimension) {
            let train = |sample: &mut Vec<f32>| {
                Coder::train(sample, dimension, metric, coding, 5, isa).expect("trained")
            };
            let bytes = train(&mut sample).to_bytes();
            let back = Coder::from_bytes(&bytes, dimension, metric, coding, isa);
            assert_eq!(back.expect("sound").to_bytes(), bytes);
            for other in codings(dimension).into_iter().chain([Coding::Scalar(Bits::Four)]) {
                let back = Coder::from_bytes(&bytes, dimension, metric, other, isa);
                assert_eq!(back.is_some(), other == coding, "{coding:?} as {other:?}");
            }
            assert!(Coder::from_bytes(&bytes, dimension + 1, metric, coding, isa).is_none());
            let torn = &bytes[..bytes.len() - 1];
            assert!(Coder::from_bytes(torn, dimension, metric, coding, isa).is_none());
        }
    }
}

#[test]
fn huge_components_and_few_vectors_are_taken() {
    let isa = Isa::detect();
    for metric in METRICS {
        for coding in codings(12) {
            let mut sample = vec![0.3_f32; 12];
            let coder = Coder::train(&mut sample, 12, metric, coding, 1, isa).expect("trained");
            let mut code = vec![Block::ZERO; coder.code_blocks()];
            let mut scratch = Vec::new();
            coder.encode(&mut [f32::MAX; 12], &mut scratch, &mut code);
            let mut query = vec![Block::ZERO; coder.query_blocks()];
            coder.prepare(&mut [-f32::MAX; 12], &mut scratch, &mut query);
            let rows = [code.as_slice(); 4];
            let distances = distances(&coder, isa, &query, rows);
            assert!(distances.iter().all(|x| x.is_finite()), "{metric:?} {coding:?}");
            let mut back = Vec::new();
            coder.decode(&code, &mut back);
            assert!(back.len() == 12 && back.iter().all(|x| x.is_finite()));
        }
    }
}
