//! Quantised indexes: recall beside the unquantised one, and their limits.

use nearfield::dataset::{Generated, recall};
use nearfield::{
    Determinism, Element, Flat, Hnsw, IndexError, Metric, Originals, Quantization, VectorError,
};

use crate::support::data::{keys, words};
use crate::support::recall::{recall_beside, recall_of};

/// Base vectors and 200 queries.
fn generated(count: usize, dimension: usize) -> (Vec<f32>, Vec<f32>) {
    let set = Generated::builder(count, dimension).queries(200).seed(3).build().unwrap();
    (set.base().to_f32().unwrap(), set.queries().to_f32().unwrap())
}

/// Vectors of an index that has codes: a few more than make them.
const COUNT: usize = 4200;

#[test]
#[ignore = "long: `just test-all`"]
fn codes_lose_half_a_point_of_recall_at_most() {
    let metrics = [Metric::L2, Metric::Cosine, Metric::InnerProduct];
    for dimension in [20, 100, 384] {
        let (base, queries) = generated(COUNT, dimension);
        // Graphs that two threads build differ, so one pair of recalls may differ by a point; their
        // mean may not.
        let mut lost = [0.0; 2];
        for metric in metrics {
            let exact = Flat::builder(dimension, metric).build().unwrap();
            exact.insert_batch(&keys(COUNT), &base).run().unwrap();
            let truth = exact.search_batch(&queries).k(10).run().unwrap();
            let recall = |quantization, element| {
                let builder = Hnsw::builder(dimension, metric).element(element);
                let index = builder.quantization(quantization).build().unwrap();
                index.insert_batch(&keys(COUNT), &base).run().unwrap();
                assert!(index.check().is_ok());
                let bits = index.stats().code_bits;
                assert_eq!(bits.is_some(), index.stats().bytes.codes > 0);
                (recall_beside(&truth, &index, &queries, 64), bits)
            };
            let (plain, bits) = recall(Quantization::None, Element::F32);
            assert_eq!(bits, None);
            let kinds = [(Quantization::Sq8, 8), (Quantization::Sq4, 4)];
            for ((quantization, bits), lost) in kinds.into_iter().zip(&mut lost) {
                for element in [Element::F32, Element::F16] {
                    let (found, used) = recall(quantization, element);
                    assert_eq!(used, Some(bits));
                    assert!(
                        found > plain - 0.02,
                        "{dimension} {metric:?} {quantization:?} {element:?}: {found} after {plain}"
                    );
                    *lost += (plain - found) / 6.0;
                }
            }
        }
        assert!(lost.iter().all(|&lost| lost < 0.005), "{dimension}: {lost:?} lost");
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn real_words_are_found_by_codes() {
    let data = words();
    let n = data.base().len();
    for quantization in [Quantization::Auto, Quantization::Sq8, Quantization::Sq4] {
        for (originals, least) in [
            (Originals::Kept, 0.97),
            (Originals::Sq12, 0.97),
            (Originals::Sq8, 0.95),
            (Originals::Dropped, 0.75),
        ] {
            let builder = Hnsw::builder(data.dimension(), data.metric());
            let builder = builder.quantization(quantization).originals(originals);
            let index = builder.build().unwrap();
            index.insert_batch(&keys(n), data.base()).run().unwrap();
            let found = index.search_batch(data.queries()).k(10).ef(100).run().unwrap();
            let found = found.iter().map(|hits| hits.iter().map(|hit| hit.key));
            let recall = recall(found, data.truth(), 10).unwrap();
            assert!(recall > least, "{quantization:?} {originals:?}: {recall}");
            if originals != Originals::Kept {
                assert_eq!(index.stats().bytes.vectors, 0, "nothing was kept");
                let all = data.base().to_f32().unwrap();
                let row = &all[7 * data.dimension()..8 * data.dimension()];
                let stored = index.get(7).unwrap();
                let dot: f32 = row.iter().zip(&stored).map(|(a, b)| a * b).sum();
                let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
                let norms = norm(row) * norm(&stored);
                assert!(dot / norms > 0.98, "the code of a vector points where it points");
            }
        }
    }
}

const ORIGINALS: [Originals; 4] =
    [Originals::Kept, Originals::Sq12, Originals::Sq8, Originals::Dropped];

/// Returns product quantization, and `RaBitQ` of all widths, for a dimension.
fn coarse(dimension: usize) -> [Quantization; 5] {
    [
        Quantization::Rabitq { bits: 1 },
        Quantization::Rabitq { bits: 2 },
        Quantization::Rabitq { bits: 4 },
        Quantization::Pq { sub_vectors: dimension.div_ceil(2), bits: 4 },
        Quantization::Pq { sub_vectors: dimension.div_ceil(4), bits: 8 },
    ]
}

#[test]
#[ignore = "long: `just test-all`"]
fn coarse_codes_lead_to_the_neighbours() {
    for (dimension, metric) in
        [(20, Metric::L2), (100, Metric::Cosine), (192, Metric::InnerProduct)]
    {
        let (base, queries) = generated(COUNT, dimension);
        let exact = Flat::builder(dimension, metric).build().unwrap();
        exact.insert_batch(&keys(COUNT), &base).run().unwrap();
        let truth = exact.search_batch(&queries).k(10).run().unwrap();
        let plain = Hnsw::builder(dimension, metric).build().unwrap();
        plain.insert_batch(&keys(COUNT), &base).run().unwrap();
        let plain = recall_beside(&truth, &plain, &queries, 64);
        // Long vectors are tested with every other quantization.
        for quantization in coarse(dimension).into_iter().step_by(1 + dimension / 150) {
            let what = format!("{dimension} {metric:?} {quantization:?}");
            for originals in ORIGINALS {
                let builder = Hnsw::builder(dimension, metric).quantization(quantization);
                let index = builder.originals(originals).build().unwrap();
                index.insert_batch(&keys(COUNT), &base).run().unwrap();
                assert!(index.check().is_ok());
                let stats = index.stats();
                assert!(stats.code_bits.is_some(), "{what}");
                let found = recall_beside(&truth, &index, &queries, 64);
                if matches!(originals, Originals::Kept | Originals::Sq12) {
                    assert!(found > plain - 0.02, "{what}: {found} after {plain}");
                } else {
                    let sure = originals == Originals::Sq8;
                    assert!(found > if sure { plain - 0.04 } else { 0.45 }, "{what}: {found}");
                    assert_eq!(stats.bytes.vectors, 0);
                    let row = &base[7 * dimension..8 * dimension];
                    let back = index.get(7).unwrap();
                    let dot: f32 = row.iter().zip(&back).map(|(a, b)| a * b).sum();
                    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
                    assert!(
                        dot / (norm(row) * norm(&back)) > if sure { 0.999 } else { 0.7 },
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn coarse_codes_keep_the_recall_of_an_ef() {
    keep_the_recall(&[1]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn other_coarse_codes_keep_the_recall_of_an_ef() {
    keep_the_recall(&[0, 2, 3, 4]);
}

/// Compares some of the `coarse` codes with the vectors.
fn keep_the_recall(places: &[usize]) {
    let data = words();
    let n = data.base().len();
    // One thread builds the same graph every time.
    let recall_at_64 = |quantization| {
        let builder = Hnsw::builder(data.dimension(), data.metric()).quantization(quantization);
        let index = builder.build().unwrap();
        let keys = keys(n);
        let batch = index.insert_batch(&keys, data.base());
        batch.determinism(Determinism::Bitwise).run().unwrap();
        let found = index.search_batch(data.queries()).k(10).ef(64).run().unwrap();
        let found = found.iter().map(|hits| hits.iter().map(|hit| hit.key));
        recall(found, data.truth(), 10).unwrap()
    };
    let plain = recall_at_64(Quantization::None);
    for quantization in places.iter().map(|&at| coarse(data.dimension())[at]) {
        let found = recall_at_64(quantization);
        assert!(found > plain - 0.005, "{quantization:?}: {found} after {plain}");
    }
}

#[test]
fn codes_of_whole_numbers_know_the_angle() {
    know_the_angle(Quantization::Sq4);
}

#[test]
#[ignore = "long: `just test-all`"]
fn rabitq_codes_of_whole_numbers_know_the_angle() {
    know_the_angle(Quantization::Rabitq { bits: 4 });
}

fn know_the_angle(quantization: Quantization) {
    let (base, queries) = generated(COUNT, 64);
    let largest = base.iter().chain(&queries).fold(0.0_f32, |largest, x| largest.max(x.abs()));
    // Lengths from 20 to 120, which the cosine ignores.
    let whole = |floats: &[f32]| -> Vec<i8> {
        let rows = floats.chunks_exact(64).enumerate();
        rows.flat_map(|(i, row)| {
            let length = 20.0 + (i % 11) as f32 * 10.0;
            row.iter().map(move |x| (x / largest * length) as i8)
        })
        .collect()
    };
    let (base, queries) = (whole(&base), whole(&queries));
    let builder = Flat::builder(64, Metric::Cosine).element(Element::I8);
    let exact = builder.build().unwrap();
    exact.insert_batch(&keys(COUNT), &base).run().unwrap();
    let truth = exact.search_batch(&queries).k(10).run().unwrap();
    for originals in ORIGINALS {
        let builder = Hnsw::builder(64, Metric::Cosine).element(Element::I8);
        let builder = builder.quantization(quantization).originals(originals);
        let index = builder.build().unwrap();
        index.insert_batch(&keys(COUNT), &base).run().unwrap();
        assert!(index.stats().code_bits.is_some());
        let found = index.search_batch(&queries).k(10).ef(64).run().unwrap();
        let hits: usize = found
            .iter()
            .zip(truth.iter())
            .map(|(f, t)| f.iter().filter(|f| t.iter().any(|t| t.key == f.key)).count())
            .sum();
        let recall = hits as f64 / (truth.len() * 10) as f64;
        let least = if originals == Originals::Dropped { 0.7 } else { 0.95 };
        assert!(recall > least, "{quantization:?} {originals:?}: {recall}");
    }
}

#[test]
fn quantizers_that_there_are_not_are_refused() {
    for quantization in [
        Quantization::Rabitq { bits: 0 },
        Quantization::Rabitq { bits: 3 },
        Quantization::Rabitq { bits: u32::MAX },
        Quantization::Pq { sub_vectors: 0, bits: 8 },
        Quantization::Pq { sub_vectors: 33, bits: 8 },
        Quantization::Pq { sub_vectors: usize::MAX, bits: 4 },
        Quantization::Pq { sub_vectors: 8, bits: 6 },
    ] {
        let error = Hnsw::builder(32, Metric::L2).quantization(quantization).build().unwrap_err();
        assert!(matches!(error, IndexError::Parameter { name: "quantization", .. }), "{error}");
    }
}

#[test]
fn few_vectors_are_searched_without_codes() {
    let (base, queries) = generated(1000, 33);
    let exact = Flat::builder(33, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(1000), &base).run().unwrap();
    for originals in ORIGINALS {
        let builder = Hnsw::builder(33, Metric::L2).quantization(Quantization::Sq4);
        let index = builder.originals(originals).build().unwrap();
        assert!(index.search(&queries[..33]).run().unwrap().is_empty());
        index.insert_batch(&keys(1000), &base).run().unwrap();
        assert_eq!(index.stats().code_bits, None);
        let nearest = index.search(&queries[..33]).k(10).ef(50).run().unwrap();
        assert_eq!(nearest.len(), 10);
        assert!(recall_of(&index, &exact, &queries, 50) > 0.95);
    }
}

#[test]
fn equal_and_constant_vectors_are_taken() {
    let kinds = [Quantization::Sq4, Quantization::Sq8];
    for quantization in kinds.into_iter().chain(coarse(17).into_iter().step_by(3)) {
        let index = Hnsw::builder(17, Metric::L2).quantization(quantization).build().unwrap();
        let equal = vec![0.25_f32; 17 * 5000];
        index.insert_batch(&keys(5000), &equal).run().unwrap();
        assert!(index.check().is_ok());
        let hits = index.search(&[0.25; 17]).k(10).ef(20).run().unwrap();
        assert!(hits.len() == 10 && hits.iter().all(|hit| hit.distance == 0.0));
        // A vector far from the training data of the quantizer.
        index.insert(9999, &[1e17; 17]).unwrap();
        assert_eq!(index.search(&[1e17; 17]).k(1).ef(400).run().unwrap()[0].key, 9999);
    }
}

#[test]
fn what_makes_no_codes_keeps_its_vectors() {
    let refused = |builder: nearfield::HnswBuilder| {
        for originals in [Originals::Dropped, Originals::Sq8, Originals::Sq12] {
            let error = builder.clone().originals(originals).build().unwrap_err();
            assert!(matches!(error, IndexError::Parameter { name: "originals", .. }));
        }
    };
    refused(Hnsw::builder(8, Metric::L2));
    refused(Hnsw::builder(128, Metric::Hamming).quantization(Quantization::Auto));
    refused(Hnsw::builder(8, Metric::L2).element(Element::U8).quantization(Quantization::Sq8));
    let index = Hnsw::builder(128, Metric::Hamming).quantization(Quantization::Sq4).build();
    assert!(matches!(index, Err(IndexError::Parameter { name: "quantization", .. })));
}

/// Codes of eight bits keep vectors of whole numbers exactly: later vectors of other numbers are refused, and one
/// among the training vectors makes all codes rounded.
#[test]
fn whole_numbers_are_kept_and_others_are_refused() {
    let dimension = 24;
    let whole = |at: usize| (at * 7 % 256) as f32;
    let vectors: Vec<f32> = (0..5000 * dimension).map(whole).collect();
    let mut half = vectors[..dimension].to_vec();
    half[5] = 0.5;
    for (codes, originals) in
        [(Quantization::Sq4, Originals::Sq8), (Quantization::Sq8, Originals::Dropped)]
    {
        let build = || {
            let builder = Hnsw::builder(dimension, Metric::L2).quantization(codes);
            builder.originals(originals).build().unwrap()
        };
        let index = build();
        index.insert_batch(&keys(5000), &vectors).run().unwrap();
        let refused =
            VectorError::NotRepresentable { component: 5, value: 0.5, element: Element::U8 };
        assert_eq!(index.insert(9000, &half), Err(IndexError::Vector(refused)));
        assert_eq!(index.upsert(3, &half), Err(IndexError::Vector(refused)));
        let two = [&vectors[..dimension], &half].concat();
        let batch = index.insert_batch(&[9000, 9001], &two).run();
        assert_eq!(batch, Err(IndexError::BatchVector { position: 1, source: refused }));
        assert_eq!(index.len(), 5000);
        for key in (0..5000).step_by(101) {
            let at = key as usize * dimension;
            assert_eq!(index.get(key).unwrap(), vectors[at..at + dimension]);
        }

        let index = build();
        let mixed = [&vectors[..], &half].concat();
        index.insert_batch(&keys(5001), &mixed).run().unwrap();
        assert!(index.stats().code_bits.is_some());
        let found = index.get(5000).unwrap();
        let length: f32 = half.iter().map(|x| x * x).sum();
        let error: f32 = found.iter().zip(&half).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(error <= 0.02 * 0.02 * length, "{error} of {length}");
    }
}
