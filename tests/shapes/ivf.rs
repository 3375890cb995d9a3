//! Recall of the inverted-file index on data of many shapes: with the originals kept, reading all lists finds the true
//! neighbours for any shape, metric, codes, and order of insertion.

use std::cell::LazyCell;

use nearfield::{Element, Flat, Ivf, IvfBuilder, Metric, Originals, Quantization};

use crate::data::{Counts, METRICS, Shape, exact, shapes, topic, unit};
use crate::support::files::Folder;
use crate::support::random::Normal;
use crate::truth::{K, kth_distances};

const CODES: [Quantization; 4] = [
    Quantization::Pq4,
    Quantization::Rabitq { bits: 1 },
    Quantization::Rabitq { bits: 2 },
    Quantization::Rabitq { bits: 4 },
];

const QUERIES: usize = 40;
const WHOLE: Counts = Counts { first: 2200, later: 600, queries: QUERIES };
const MOVED: Counts = Counts { first: 2200, later: 1200, queries: QUERIES };
const ALL: usize = usize::MAX;

/// Vectors and queries, and the greatest distance of a neighbour of each query.
struct Near<'s> {
    vectors: &'s [f32],
    queries: &'s [f32],
    kth: Vec<f64>,
}

impl<'s> Near<'s> {
    fn new(vectors: &'s [f32], queries: &'s [f32], dimension: usize, metric: Metric) -> Self {
        Self { vectors, queries, kth: kth_distances(vectors, queries, dimension, metric) }
    }

    /// Returns the share of the answers that are as near as the true neighbour of the last rank, within the precision of `f32`.
    fn recall(&self, index: &Ivf, nprobe: usize) -> f64 {
        let (dimension, metric) = (index.dimension(), index.metric());
        let batch = index.search_batch(self.queries).k(K).nprobe(nprobe).run().unwrap();
        let mut found = 0;
        for (i, query) in self.queries.chunks(dimension).enumerate() {
            let hits = index.search(query).k(K).nprobe(nprobe).run().unwrap();
            assert_eq!(hits.as_slice(), &batch[i], "one by one and in a batch");
            let kth = self.kth[i];
            let rounding = match metric {
                Metric::Cosine => 2e-7,
                _ => 2e-6 * kth.abs(),
            };
            let is_near = |key: &u64| {
                let vector = &self.vectors[*key as usize * dimension..][..dimension];
                exact(metric, query, vector) <= kth + rounding
            };
            found += hits.keys().filter(is_near).count();
        }
        found as f64 / (K * self.kth.len()) as f64
    }
}

fn insert(index: &Ivf, shape: &Shape, at_once: bool) {
    let count = shape.count;
    let keys: Vec<u64> = (0..shape.len() as u64).collect();
    if at_once {
        index.insert_batch(&keys, &shape.all).threads(2).run().unwrap();
        return;
    }
    index.insert_batch(&keys[..count], shape.first()).threads(2).run().unwrap();
    for (&key, vector) in keys[count..].iter().zip(shape.later().chunks(shape.dimension)) {
        index.insert(key, vector).unwrap();
    }
}

/// Returns a builder with few lists, so that trainings take little time.
fn builder(dimension: usize, metric: Metric) -> IvfBuilder {
    Ivf::builder(dimension, metric).lists(40)
}

/// Each shape is tested under each metric and code: all lists are read, originals are kept.
#[test]
#[ignore = "long: `just test-all`"]
fn all_lists_with_originals_find_the_true_neighbours_of_any_shape() {
    let folder = Folder::new("shapes-ivf");
    let mut missed = Vec::new();
    let mut turn = 0;
    for shape in shapes(WHOLE, MOVED) {
        for metric in METRICS {
            let near = Near::new(&shape.all, &shape.queries, shape.dimension, metric);
            // Plain vectors are asked only if they could find more.
            let of_plain = LazyCell::new(|| {
                let plain = builder(shape.dimension, metric).build().unwrap();
                insert(&plain, &shape, true);
                near.recall(&plain, ALL)
            });
            for quantization in CODES {
                turn += 1;
                let index = builder(shape.dimension, metric).quantization(quantization);
                let index = index.build().unwrap();
                insert(&index, &shape, turn % 2 == 0);
                let report = index.check();
                assert!(report.is_ok(), "{report}");
                let mut least = near.recall(&index, ALL);
                if turn % 4 < 2 {
                    let path = folder.file("index.nf");
                    index.save(&path).unwrap();
                    let again = Ivf::load(&path).unwrap();
                    assert_eq!(index.stats().lists, again.stats().lists);
                    least = least.min(near.recall(&again, ALL));
                }
                if least < 0.99 && least < *of_plain {
                    missed.push(format!(
                        "{} {metric} {quantization:?} {}: {least:.3}, plain vectors {:.3}",
                        shape.name,
                        if turn % 2 == 0 { "at once" } else { "one by one" },
                        *of_plain,
                    ));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} of {turn}:\n{}", missed.len(), missed.join("\n"));
}

#[test]
#[ignore = "long: `just test-all`"]
fn every_element_type_keeps_its_neighbours() {
    let mut missed = Vec::new();
    for shape in [
        Shape::of("whole", 24, 1, WHOLE, |n| {
            (0..24).map(|_| (30.0 + 9.0 * n.next()).round().clamp(1.0, 99.0)).collect()
        }),
        Shape::moved(
            "whole, others later",
            24,
            MOVED,
            |n| {
                topic(n, 24, 0, 2, 0.2)
                    .iter()
                    .map(|x| (50.0 + 15.0 * x).round().clamp(0.0, 127.0))
                    .collect()
            },
            |n| {
                topic(n, 24, 2, 40, 0.2)
                    .iter()
                    .map(|x| (50.0 + 15.0 * x).round().clamp(0.0, 127.0))
                    .collect()
            },
        ),
    ] {
        for element in [Element::F16, Element::Bf16, Element::I8, Element::U8] {
            for metric in METRICS {
                for quantization in CODES {
                    let index = builder(24, metric).element(element).quantization(quantization);
                    let index = index.build().unwrap();
                    insert(&index, &shape, false);
                    let recall = recall_stored(&index, &shape);
                    if recall < 0.99 {
                        missed.push(format!(
                            "{} {element} {metric} {quantization:?}: {recall:.3}",
                            shape.name
                        ));
                    }
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Returns the recall against the neighbours among the vectors as they are stored, to which queries are rounded, too.
fn recall_stored(index: &Ivf, shape: &Shape) -> f64 {
    let exact = Flat::builder(shape.dimension, index.metric()).element(index.element());
    let exact = exact.build().unwrap();
    let keys: Vec<u64> = (0..index.len() as u64).collect();
    exact.insert_batch(&keys, &shape.all).run().unwrap();
    let truth = exact.search_batch(&shape.queries).k(K).run().unwrap();
    let found = index.search_batch(&shape.queries).k(K).nprobe(ALL).run().unwrap();
    let both = truth.iter().zip(found.iter());
    let near = both.map(|(truth, found)| {
        found.iter().filter(|hit| hit.distance <= truth[K - 1].distance).count()
    });
    near.sum::<usize>() as f64 / (K * QUERIES) as f64
}

fn built(builder: IvfBuilder, keys: &[u64], vectors: &[f32], threads: usize) -> Ivf {
    let index = builder.build().unwrap();
    index.insert_batch(keys, vectors).threads(threads).run().unwrap();
    index
}

/// The recall was .130 on two threads and .560 on one: the index trained again in the middle of the batch, on its first part.
#[test]
fn one_batch_trains_once_whatever_its_order() {
    const COUNT: usize = 12_000;
    let dimension = 24;
    let mut normal = Normal::new(3);
    let rows: Vec<Vec<f32>> = (0..COUNT)
        .map(|i| topic(&mut normal, dimension, i * 60 / COUNT, i * 60 / COUNT + 1, 0.2))
        .collect();
    let mut order: Vec<usize> = (0..COUNT).collect();
    let queries: Vec<f32> =
        (0..QUERIES).flat_map(|_| topic(&mut normal, dimension, 0, 60, 0.2)).collect();
    let vectors = rows.concat();
    let near = Near::new(&vectors, &queries, dimension, Metric::L2);
    for shuffled in [false, true] {
        if shuffled {
            (1..COUNT).rev().for_each(|i| order.swap(i, normal.below(i + 1)));
        }
        let keys: Vec<u64> = order.iter().map(|&i| i as u64).collect();
        let vectors: Vec<f32> = order.iter().flat_map(|&i| rows[i].clone()).collect();
        let builder = || Ivf::builder(dimension, Metric::L2).quantization(Quantization::Pq4);
        let [one, two] = [1, 2].map(|threads| built(builder(), &keys, &vectors, threads));
        assert_eq!(
            (one.stats().lists.unwrap().trainings, two.stats().lists.unwrap().trainings),
            (1, 1)
        );
        let answers = |index: &Ivf| index.search_batch(&queries).k(K).nprobe(ALL).run().unwrap();
        assert_eq!(answers(&one), answers(&two));
        for index in [one, two] {
            let recall = near.recall(&index, ALL);
            assert!(recall >= 0.99, "shuffled {shuffled}: {recall}");
        }
    }
}

/// 20,000 vectors of a few topics, then 20,000 of the others: .000 to .028 with `Pq4`, .23 to .51 with `Rabitq1`.
#[test]
#[ignore = "long: `just test-all`"]
fn topics_that_come_later_are_found() {
    let dimension = 32;
    for (topics, quantization) in
        [(1, Quantization::Pq4), (5, Quantization::Rabitq { bits: 1 }), (20, Quantization::Pq4)]
    {
        let shape = Shape::moved(
            "topics",
            dimension,
            Counts { first: 5000, later: 5000, queries: QUERIES },
            |n| topic(n, dimension, 0, topics, 0.3),
            |n| topic(n, dimension, topics, 60, 0.3),
        );
        let near = Near::new(&shape.all, &shape.queries, dimension, Metric::L2);
        for in_parts in [false, true] {
            let builder = || Ivf::builder(dimension, Metric::L2);
            let [coded, plain] = [quantization, Quantization::None].map(|quantization| {
                let index = builder().quantization(quantization).build().unwrap();
                if in_parts {
                    insert(&index, &shape, false);
                } else {
                    let keys: Vec<u64> = (0..10_000).collect();
                    index.insert_batch(&keys[..5000], shape.first()).run().unwrap();
                    index.insert_batch(&keys[5000..], shape.later()).run().unwrap();
                }
                index
            });
            let found = near.recall(&coded, ALL);
            assert!(
                found >= 0.99,
                "{topics} topics, {quantization:?}, in parts {in_parts}: {found}"
            );
            let (few, of_plain) = (near.recall(&coded, 16), near.recall(&plain, 16));
            assert!(few >= of_plain - 0.02, "{topics}, {quantization:?}: {few}, plain {of_plain}");
            // The lists have followed the vectors: no search reads much more than its share of them.
            let lists = coded.stats().lists.unwrap();
            assert!(lists.imbalance < 4.0 && lists.trainings < 12, "{lists:?}");
        }
    }
}

/// The index kept one list, so that every search read everything; recall .000 with `Pq4`.
#[test]
fn others_after_equal_vectors_get_lists_of_their_own() {
    let counts = Counts { first: 4200, later: 9800, queries: QUERIES };
    for quantization in [Quantization::None, Quantization::Pq4] {
        let shape = Shape::moved("equal first", 16, counts, |_| vec![1.5; 16], |n| n.vector(16));
        let near = Near::new(&shape.all, &shape.queries, 16, Metric::L2);
        for at_once in [false, true] {
            let index = Ivf::builder(16, Metric::L2).quantization(quantization).build().unwrap();
            insert(&index, &shape, at_once);
            let lists = index.stats().lists.unwrap();
            assert!(lists.count > 100 && lists.longest < 6000, "{quantization:?} {lists:?}");
            let found = near.recall(&index, ALL);
            assert!(found >= 0.99, "{quantization:?}: {found}");
            let hits = index.search(&shape.queries[..16]).k(K).run().unwrap();
            assert!(hits.distances_computed() < 7000, "{}", hits.distances_computed());
        }
    }
}

/// The recall was Pq4 .31 and Rabitq4 .90 at .1 of the length, .14 at .01: a factor does not change the order.
#[test]
fn the_length_of_a_query_does_not_matter_under_the_inner_product() {
    let dimension = 64;
    let mut normal = Normal::new(8);
    let vectors: Vec<f32> =
        (0..6000).flat_map(|_| unit(topic(&mut normal, dimension, 0, 50, 0.5))).collect();
    let queries: Vec<f32> =
        (0..QUERIES).flat_map(|_| unit(topic(&mut normal, dimension, 0, 50, 0.5))).collect();
    let keys: Vec<u64> = (0..6000).collect();
    let scales = [1.0, 0.001, 0.01, 0.1, 100.0];
    let scaled = scales.map(|scale| queries.iter().map(|x| x * scale).collect::<Vec<f32>>());
    let scaled = scaled.each_ref();
    let near = scaled.map(|queries| Near::new(&vectors, queries, dimension, Metric::InnerProduct));
    for quantization in CODES {
        let builder = Ivf::builder(dimension, Metric::InnerProduct).quantization(quantization);
        let index = built(builder, &keys, &vectors, 2);
        let measured = |near: &Near<'_>| {
            let search = |query| index.search(query).k(K).nprobe(ALL).run().unwrap();
            let queries = near.queries.chunks(dimension);
            let computed: u64 = queries.map(|query| search(query).distances_computed()).sum();
            (near.recall(&index, ALL), computed)
        };
        let (recall, computed) = measured(&near[0]);
        assert!(recall >= 0.99, "{quantization:?}: {recall}");
        for (scale, near) in scales.iter().zip(&near).skip(1) {
            let (of_scaled, also_computed) = measured(near);
            assert!(of_scaled >= 0.99, "{quantization:?} times {scale}: {of_scaled}");
            let share = also_computed as f64 / computed as f64;
            assert!((0.9..1.1).contains(&share), "{quantization:?} times {scale}: {share}");
        }
    }
}

/// Without originals, estimates are right on average, and the statistics report their error.
#[test]
fn what_codes_alone_tell_is_unbiased_and_its_error_is_told() {
    let dimension = 48;
    for quantization in CODES {
        for metric in METRICS {
            for (shape, later) in [("plain", 1.0_f32), ("longer later", 20.0)] {
                let mut normal = Normal::new(21);
                let index = builder(dimension, metric).quantization(quantization);
                let index = index.originals(Originals::Dropped).build().unwrap();
                let vectors: Vec<f32> = (0..2500)
                    .flat_map(|i| {
                        let scale = if i < 2000 { 1.0 } else { later };
                        topic(&mut normal, dimension, 0, 40, 0.4)
                            .into_iter()
                            .map(move |x| x * scale)
                    })
                    .collect();
                let keys: Vec<u64> = (0..2500).collect();
                index.insert_batch(&keys[..2000], &vectors[..2000 * dimension]).run().unwrap();
                index.insert_batch(&keys[2000..], &vectors[2000 * dimension..]).run().unwrap();
                let told = f64::from(index.stats().lists.unwrap().code_error.unwrap());
                // The vectors inserted last, in units of the error of the codes.
                let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
                for _ in 0..20 {
                    let query: Vec<f32> = topic(&mut normal, dimension, 0, 40, 0.4)
                        .iter()
                        .map(|x| x * later)
                        .collect();
                    let hits = index.search(&query).k(2500).nprobe(ALL).run().unwrap();
                    for hit in hits.iter().filter(|hit| hit.key >= 2000) {
                        let vector = &vectors[hit.key as usize * dimension..][..dimension];
                        let truth = exact(metric, &query, vector);
                        let lengths = [&query[..], vector]
                            .map(|v| v.iter().map(|&x| f64::from(x * x)).sum::<f64>());
                        let unit = match metric {
                            Metric::Cosine => 1.0,
                            _ => (lengths[0] * lengths[1]).sqrt(),
                        };
                        let error = (f64::from(hit.distance) - truth) / unit;
                        sum += error;
                        squares += error * error;
                        count += 1.0;
                    }
                }
                let (bias, deviation): (f64, f64) = (sum / count, (squares / count).sqrt());
                let case = format!(
                    "{shape} {metric} {quantization:?}: bias {bias:.4}, deviation {deviation:.4}, told {told:.3}"
                );
                assert!(bias.abs() < 0.02 && bias.abs() < 0.35 * deviation + 0.002, "{case}");
                // The error is a share of the residual's length, in a random direction to the query's.
                assert!(deviation < 4.0 * told / (dimension as f64).sqrt() + 1e-3, "{case}");
                let range = match quantization {
                    Quantization::Rabitq { bits: 4 } => 0.05..0.2,
                    Quantization::Rabitq { bits: 1 } => 0.4..0.95,
                    _ => 0.2..0.6,
                };
                assert!(range.contains(&told), "{case}");
            }
        }
    }
}
