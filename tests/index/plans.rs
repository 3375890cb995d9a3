//! A further setting does no harm: radii, counts and candidates, on every index, metric and element.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nearfield::dataset::Generated;
use nearfield::search::SearchPlan;
use nearfield::{
    Element, Flat, Hit, Hnsw, IndexError, Ivf, KeySet, Metric, Originals, Quantization, Shards,
    VectorError,
};

use crate::support::data::keys;
use crate::support::random::noise;
use crate::support::recall::shared;

const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

fn bits(hits: &[Hit]) -> Vec<(u64, u32)> {
    hits.iter().map(|hit| (hit.key, hit.distance.to_bits())).collect()
}

/// A search with the radius of an answer at `k` finds the answers of that search within the radius,
/// and so does one with any smaller radius. Lists are read on while they have more vectors within it.
macro_rules! assert_radius_cuts {
    ($index:expr, $queries:expr, $reads_on:expr, $what:expr) => {
        for query in $queries {
            let query: &[f32] = query;
            for (k, ef) in [(1, 16), (10, 16), (10, 50), (10, 300), (100, 100), (700, 700)] {
                let search = $index.search(query).k(k).ef(ef);
                let plain = search.run().unwrap();
                for rank in [0, k / 2, k - 1] {
                    let Some(last) = plain.get(rank) else { continue };
                    let inside = plain.iter().take_while(|hit| hit.distance <= last.distance);
                    let inside: Vec<Hit> = inside.copied().collect();
                    let cut = search.within(last.distance).run().unwrap();
                    let what = format!("{} k {k} ef {ef} rank {rank}", $what);
                    assert!(inside.len() > rank, "{what}");
                    let found = |hit: &&Hit| cut.contains(hit);
                    // Nearer vectors may have been found.
                    let is_full = $reads_on && cut.len() == k;
                    let count = inside.iter().filter(found).count();
                    assert!(is_full || count == inside.len(), "{what}");
                    assert!($reads_on || bits(&cut) == bits(&inside), "{what}");
                    assert!(cut.iter().all(|hit| hit.distance <= last.distance), "{what}");
                    let even = |key: u64| key.is_multiple_of(2);
                    let lost = || {
                        let plain = search.filter(even).run().unwrap();
                        let cut = search.filter(even).within(last.distance).run().unwrap();
                        let inside = plain.iter().take_while(|hit| hit.distance <= last.distance);
                        let is_full = $reads_on && cut.len() == k;
                        inside.filter(|hit| !is_full && !cut.contains(hit)).count()
                    };
                    // The measured cost of a filter may change the plan between two searches, once.
                    assert!(lost() == 0 || lost() == 0, "{what}, filtered");
                }
            }
        }
    };
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_radius_takes_away_what_is_beyond_it_and_nothing_else() {
    const COUNT: usize = 4300;
    let made = Generated::builder(COUNT, 24).queries(6).seed(3).build().unwrap();
    let (base, queries) = made.into_parts();
    let flat = queries.to_f32().unwrap();
    let queries: Vec<&[f32]> = flat.chunks(24).collect();
    let lossy = [
        (Quantization::None, Originals::Kept),
        (Quantization::Sq8, Originals::Kept),
        (Quantization::Sq4, Originals::Sq12),
        (Quantization::Sq8, Originals::Dropped),
        (Quantization::Rabitq { bits: 2 }, Originals::Kept),
    ];
    for metric in METRICS {
        for element in FLOATS {
            let exact = Flat::builder(24, metric).element(element).build().unwrap();
            exact.insert_batch(&keys(COUNT), &base).run().unwrap();
            assert_radius_cuts!(exact, &queries, false, format!("flat {metric} {element}"));
            for (quantization, originals) in lossy {
                let builder = Hnsw::builder(24, metric).element(element).quantization(quantization);
                // The promise holds in any graph.
                let builder = builder.originals(originals).ef_construction(50);
                let graph = builder.build().unwrap();
                graph.insert_batch(&keys(COUNT), &base).threads(2).run().unwrap();
                let what = format!("{metric} {element} {quantization:?} {originals:?}");
                assert_radius_cuts!(graph, &queries, false, what);
            }
        }
        for quantization in [Quantization::None, Quantization::Pq4] {
            let lists = Ivf::builder(24, metric).quantization(quantization).build().unwrap();
            lists.insert_batch(&keys(COUNT), &base).threads(2).run().unwrap();
            assert_radius_cuts!(lists, &queries, true, format!("lists {metric} {quantization:?}"));
        }
    }
}

#[test]
fn a_vector_is_at_no_cosine_distance_from_itself_and_at_two_from_its_opposite() {
    for dimension in [1, 2, 3, 7, 24, 100, 384, 1000, 1537] {
        let mut next = noise(dimension as u64);
        // Random vectors, constant vectors, steep vectors and a few large components among small ones.
        let mut vectors: Vec<Vec<f32>> = Vec::new();
        for at in 0..40 {
            let scale = 10_f32.powi(at % 9 - 4);
            vectors.push((0..dimension).map(|_| next() * scale).collect());
            vectors.push(vec![scale * (1.0 + at as f32 * 0.37); dimension]);
            let falls = |i: usize| scale * (next() + 1.5) * 0.9_f32.powi(i.min(300) as i32);
            vectors.push((0..dimension).map(falls).collect());
        }
        for element in FLOATS {
            let flat = Flat::builder(dimension, Metric::Cosine).element(element).build().unwrap();
            let graph = Hnsw::builder(dimension, Metric::Cosine).element(element).build().unwrap();
            let lists = Ivf::builder(dimension, Metric::Cosine).element(element).build().unwrap();
            for (key, vector) in (0..).zip(&vectors) {
                flat.insert(key, vector).unwrap();
                graph.insert(key, vector).unwrap();
                lists.insert(key, vector).unwrap();
            }
            for (key, vector) in (0..).zip(&vectors) {
                let what = format!("{dimension} {element} {key}");
                let k = vectors.len();
                for hits in [
                    flat.search(vector).within(0.0).run().unwrap(),
                    graph.search(vector).within(0.0).ef(500).run().unwrap(),
                    lists.search(vector).within(0.0).k(k).run().unwrap(),
                ] {
                    assert!(hits.keys().any(|found| found == key), "{what}");
                    assert!(hits.iter().all(|hit| hit.distance == 0.0), "{what}");
                }
                let opposite: Vec<f32> = vector.iter().map(|x| -x).collect();
                for hits in [
                    flat.search(&opposite).k(k).run().unwrap(),
                    graph.search(&opposite).k(k).run().unwrap(),
                    lists.search(&opposite).k(k).run().unwrap(),
                ] {
                    assert!(hits.iter().all(|hit| (0.0..=2.0).contains(&hit.distance)), "{what}");
                }
            }
        }
    }
    let mut next = noise(5);
    let signed: Vec<i8> = (0..4000).map(|_| (next() * 127.0) as i8).collect();
    let bytes: Vec<u8> = (0..4000).map(|_| ((next() + 1.0) * 127.0) as u8).collect();
    let flat = Flat::builder(40, Metric::Cosine).element(Element::I8).build().unwrap();
    flat.insert_batch(&keys(100), &signed).run().unwrap();
    let whole = Flat::builder(40, Metric::Cosine).element(Element::U8).build().unwrap();
    whole.insert_batch(&keys(100), &bytes).run().unwrap();
    for at in 0..100 {
        let vector = &signed[at * 40..][..40];
        let hits = flat.search(vector).within(0.0).run().unwrap();
        assert_eq!((hits.len(), hits[0].key), (1, at as u64));
        let hits = whole.search(&bytes[at * 40..][..40]).within(0.0).run().unwrap();
        assert_eq!((hits.len(), hits[0].key), (1, at as u64));
    }
}

#[test]
fn rounding_to_halves_keeps_the_length_and_the_order() {
    let mut next = noise(11);
    for element in [Element::F16, Element::Bf16] {
        for dimension in [16, 128] {
            let exact = Flat::builder(dimension, Metric::Cosine).build().unwrap();
            let flat = Flat::builder(dimension, Metric::Cosine).element(element).build().unwrap();
            for key in 0..500 {
                let vector: Vec<f32> = (0..dimension).map(|_| next()).collect();
                exact.insert(key, &vector).unwrap();
                flat.insert(key, &vector).unwrap();
                let held = flat.get(key).unwrap();
                let square: f64 = held.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                let step = if element == Element::F16 { 1e-3 } else { 8e-3 };
                assert!((1.0..1.0 + step).contains(&square), "{element} {dimension}: {square}");
            }
            let query: Vec<f32> = (0..dimension).map(|_| next()).collect();
            let truth = exact.search(&query).k(500).run().unwrap();
            let hits = flat.search(&query).k(500).run().unwrap();
            for hit in &hits {
                let wanted = truth.iter().find(|other| other.key == hit.key).unwrap();
                let off = (hit.distance - wanted.distance).abs();
                assert!(off < if element == Element::F16 { 1e-3 } else { 8e-3 }, "{off}");
            }
        }
    }
}

#[test]
fn vectors_whose_distances_would_overflow_are_refused() {
    let long = 2_f32.powi(62);
    for metric in METRICS {
        for element in [Element::F32, Element::Bf16] {
            for dimension in [1, 4, 100] {
                let flat = Flat::builder(dimension, metric).element(element).build().unwrap();
                let graph = Hnsw::builder(dimension, metric).element(element).build().unwrap();
                let lists = Ivf::builder(dimension, metric).element(element).build().unwrap();
                // All of the length is in one component, or each component has the same share.
                let one = |length: f32| {
                    let mut vector = vec![0.0; dimension];
                    vector[dimension - 1] = length;
                    vector
                };
                let each = |length: f32| vec![length / (dimension as f32).sqrt(); dimension];
                let long_ones = [one(1e20), each(1e20), one(long * 1.02), each(-1e38)];
                for (key, vector) in (100..).zip(long_ones) {
                    let fits = metric == Metric::Cosine;
                    let check = |result: Result<(), IndexError>| match result {
                        Ok(()) => assert!(fits, "{metric} {element} {dimension}"),
                        Err(error) => {
                            let IndexError::Vector(VectorError::TooLong { length }) = error else {
                                panic!("{error}")
                            };
                            assert!(!fits && length > f64::from(long), "{length}");
                            assert!(error.to_string().contains("2^62"));
                        }
                    };
                    check(flat.insert(key, &vector));
                    check(graph.insert(key, &vector));
                    check(lists.insert(key, &vector));
                    let batch = graph.insert_batch(&[key + 10], &vector).run().map(drop);
                    check(batch.map_err(|e| match e {
                        IndexError::BatchVector { source, .. } => IndexError::Vector(source),
                        other => other,
                    }));
                    check(flat.search(&vector).run().map(drop));
                    check(graph.search(&vector).run().map(drop));
                    check(lists.search(&vector).run().map(drop));
                }
                // The longest accepted vectors, one and its opposite, are at finite distances.
                for (key, vector) in [one(long), one(-long), each(long * 0.98)].iter().enumerate() {
                    flat.insert(key as u64 + 10, vector).unwrap();
                    graph.insert(key as u64 + 10, vector).unwrap();
                    lists.insert(key as u64 + 10, vector).unwrap();
                }
                for hits in [
                    flat.search(&one(long)).run().unwrap(),
                    graph.search(&one(long)).run().unwrap(),
                    lists.search(&one(long)).run().unwrap(),
                ] {
                    assert!(hits.len() >= 3 && hits[0].key != 11, "{metric} {element}");
                    assert!(hits.iter().all(|hit| hit.distance.is_finite()), "{metric} {element}");
                }
            }
        }
    }
    // The range of half precision ends far below.
    let flat = Flat::builder(2, Metric::L2).element(Element::F16).build().unwrap();
    let beyond = flat.insert(1, &[1e20, 0.0]).unwrap_err();
    assert!(matches!(beyond, IndexError::Vector(VectorError::NotRepresentable { .. })));
}

#[test]
fn batches_within_a_radius_are_what_single_searches_are() {
    let made = Generated::builder(5000, 16).queries(150).seed(2).build().unwrap();
    let (base, queries) = made.into_parts();
    for metric in METRICS {
        let flat = Flat::builder(16, metric).build().unwrap();
        flat.insert_batch(&keys(5000), &base).run().unwrap();
        (0..300).for_each(|key| assert!(flat.remove(key * 7).unwrap()));
        let query = queries.row(0).unwrap();
        let all = flat.search(&query).k(5000).run().unwrap();
        for rank in [0, 9, 400, 2000, 4699] {
            let radius = all[rank].distance;
            for k in [None, Some(20), Some(1500)] {
                let batch = flat.search_batch(&queries).within(radius).threads(1);
                let batch = k.map_or(batch, |k| batch.k(k)).run().unwrap();
                for (at, query) in queries.iter().enumerate() {
                    let search = flat.search(&query).within(radius);
                    let one = k.map_or(search, |k| search.k(k)).run().unwrap();
                    assert_eq!(bits(&batch[at]), bits(&one), "{metric} {rank} {k:?}");
                }
                let mut wanted = all.iter().take_while(|hit| hit.distance <= radius).count();
                wanted = wanted.min(k.unwrap_or(usize::MAX));
                assert_eq!(batch[0].len(), wanted);
            }
        }
    }
}

/// A graph, the exact index over the same vectors, and queries.
fn generated(count: usize, quantization: Quantization) -> (Hnsw, Flat, Vec<f32>) {
    let made = Generated::builder(count, 24).queries(20).seed(8).build().unwrap();
    let (base, queries) = made.into_parts();
    let graph = Hnsw::builder(24, Metric::L2).quantization(quantization).build().unwrap();
    graph.insert_batch(&keys(count), &base).threads(2).run().unwrap();
    let exact = Flat::builder(24, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(count), &base).threads(2).run().unwrap();
    (graph, exact, queries.to_f32().unwrap())
}

/// The same of 20,000 vectors, which several tests search: with the vectors alone, and with codes.
static PLAIN: LazyLock<(Hnsw, Flat, Vec<f32>)> =
    LazyLock::new(|| generated(20_000, Quantization::None));
static CODED: LazyLock<(Hnsw, Flat, Vec<f32>)> =
    LazyLock::new(|| generated(20_000, Quantization::Sq4));

/// Rejecting the nearest costs the same as finding that number of further answers, and finds the same.
#[test]
fn excluding_the_nearest_costs_what_as_many_more_answers_do() {
    for (quantization, made) in [(Quantization::None, &PLAIN), (Quantization::Sq4, &CODED)] {
        let (graph, exact, queries) = &**made;
        for excluded in [1, 10, 60, 100, 300, 700] {
            let (mut by_hand, mut by_set, mut by_closure) = ((0, 0), (0, 0), (0, 0));
            for query in queries.chunks(24) {
                let all = exact.search(query).k(excluded + 10).run().unwrap();
                let (near, truth) = all.split_at(excluded);
                let seen: KeySet = near.iter().map(|hit| hit.key).collect();
                let hits = exact.search(query).exclude(&seen).run().unwrap();
                assert_eq!(hits.as_slice(), truth);
                let more = graph.search(query).k(excluded + 10).run().unwrap();
                let fresh: Vec<Hit> =
                    more.iter().filter(|hit| !seen.contains(hit.key)).copied().collect();
                let taken = &fresh[..fresh.len().min(10)];
                by_hand.0 += more.distances_computed();
                by_hand.1 += shared(taken, truth);
                let hits = graph.search(query).exclude(&seen).run().unwrap();
                assert!(hits.len() == 10 && hits.keys().all(|key| !seen.contains(key)));
                assert_eq!(hits.plan(), SearchPlan::FilteredWalk);
                by_set.0 += hits.distances_computed();
                by_set.1 += shared(&hits, truth);
                // The closure is quick, so that its measured cost leaves the plan as it is: a slow filter is called less often,
                // at more distances.
                let seen: Vec<bool> = (0..20_000).map(|key| seen.contains(key)).collect();
                let fresh = |key: u64| !seen[key as usize];
                let hits = graph.search(query).filter(fresh).run().unwrap();
                by_closure.0 += hits.distances_computed();
                by_closure.1 += shared(&hits, truth);
            }
            let what =
                format!("{quantization:?} {excluded}: {by_hand:?} {by_set:?} {by_closure:?}");
            // Walks on codes find more than by hand, because they continue on the vectors.
            let most = if quantization == Quantization::None { 1.4 } else { 2.0 };
            assert!(by_set.0 as f64 <= by_hand.0 as f64 * most, "{what}");
            // Half of the answers by hand are right; with 700 excluded, closures find all of them for twice the distances.
            let most = if quantization == Quantization::None { 1.4 } else { 2.5 };
            assert!(by_closure.0 as f64 <= by_hand.0 as f64 * most, "{what}");
            assert!(by_set.1.min(by_closure.1) >= by_hand.1, "{what}");
        }
    }
}

#[test]
fn keys_are_excluded_besides_a_filter_in_batches_iterations_lists_and_shards() {
    let (graph, exact, queries) = generated(6000, Quantization::None);
    let lists = Ivf::builder(24, Metric::L2).build().unwrap();
    let vectors: Vec<f32> = (0..6000).flat_map(|key| exact.get(key).unwrap()).collect();
    lists.insert_batch(&keys(6000), &vectors).run().unwrap();
    let even = |key: u64| key.is_multiple_of(2);
    let query = &queries[..24];
    let all = exact.search(query).k(6000).run().unwrap();
    for excluded in [0, 1, 50, 5000, 6000] {
        let seen: KeySet = all.keys().take(excluded).collect();
        let wanted: Vec<u64> = all.keys().skip(excluded).filter(|&key| even(key)).collect();
        let first = &wanted[..wanted.len().min(10)];
        let exact_hits = exact.search(query).exclude(&seen).filter(even).run().unwrap();
        assert!(exact_hits.keys().eq(first.iter().copied()));
        let known: KeySet = (0..6000).filter(|&key| even(key)).collect();
        let exact_hits = exact.search(query).exclude(&seen).filter(&known).run().unwrap();
        assert!(exact_hits.keys().eq(first.iter().copied()));
        let is_fine = |keys: Vec<u64>| {
            assert!(keys.iter().all(|&key| even(key) && !seen.contains(key)), "{excluded}");
            let same = first.iter().filter(|key| keys.contains(key)).count();
            assert!(same + 1 >= first.len() && keys.len() == first.len(), "{excluded}: {same}");
        };
        let hits = graph.search(query).filter(even).exclude(&seen).run().unwrap();
        is_fine(hits.keys().collect());
        let hits = graph.search(query).exclude(&seen).filter(&known).run().unwrap();
        is_fine(hits.keys().collect());
        let hits = lists.search(query).nprobe(1000).exclude(&seen).filter(even).run().unwrap();
        is_fine(hits.keys().collect());
        for batch in [
            graph.search_batch(query).exclude(&seen).filter(even).run().unwrap(),
            exact.search_batch(query).exclude(&seen).filter(even).run().unwrap(),
        ] {
            is_fine(batch[0].iter().map(|hit| hit.key).collect());
        }
        let given = graph.search(query).exclude(&seen).filter(even).iter().unwrap();
        is_fine(given.take(10).map(|hit| hit.key).collect());
        let given = graph.search(query).exclude(&seen).iter().unwrap();
        assert_eq!(given.count(), 6000 - excluded);
        let shards = Shards::new([&graph]).unwrap();
        let hits = shards.search(query).exclude(&seen).filter(even).run().unwrap();
        is_fine(hits.keys().collect());
        let hits = shards.search_batch(query).exclude(&seen).filter(even).run().unwrap();
        is_fine(hits[0].keys().collect());
    }
}

/// A slow filter is called for the nearest vectors only, in their order, as by hand.
#[test]
fn a_dear_filter_is_asked_about_little_more_than_the_answers() {
    let dear = |key: u64, share: u64, asked: &AtomicUsize| {
        asked.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(30) {
            std::hint::spin_loop();
        }
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < share << 22
    };
    for (quantization, made) in [(Quantization::None, &PLAIN), (Quantization::Sq4, &CODED)] {
        let (graph, exact, queries) = &**made;
        // Shares of 1,024.
        for share in [1023, 600, 200, 30] {
            let (mut same, mut by_hand, mut calls) = ((0, 0), 0, 0);
            for query in queries.chunks(24).take(8) {
                let none = AtomicUsize::new(0);
                let all = exact.search(query).k(20_000).run().unwrap();
                let accepted =
                    |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < share << 22;
                let truth: Vec<Hit> =
                    all.iter().filter(|hit| accepted(hit.key)).take(10).copied().collect();
                let given = graph.search(query).iter().unwrap();
                let hits: Vec<Hit> =
                    given.filter(|hit| dear(hit.key, share, &none)).take(10).collect();
                by_hand += none.into_inner();
                same.0 += shared(&hits, &truth);
                let asked = AtomicUsize::new(0);
                let filter = |key: u64| dear(key, share, &asked);
                let hits = graph.search(query).filter(filter).run().unwrap();
                assert_eq!(hits.len(), 10);
                calls += asked.into_inner();
                same.1 += shared(&hits, &truth);
                let asked = AtomicUsize::new(0);
                let filter = |key: u64| dear(key, share, &asked);
                let hits = exact.search(query).filter(filter).run().unwrap();
                assert_eq!(hits.as_slice(), truth);
                let rank = all.iter().position(|hit| Some(hit) == truth.last()).unwrap();
                assert!(asked.into_inner() <= rank + 4);
            }
            let what = format!("{quantization:?} {share}: {calls} {by_hand} {same:?}");
            assert!(calls <= by_hand * 5 / 4 + 8 * 4, "{what}");
            assert!(same.1 + 2 >= same.0 && same.1 >= 74, "{what}");
        }
    }
}

/// A further setting neither makes a search longer by an order nor its answers fewer, however the
/// filter relates to the query.
#[test]
fn more_of_anything_is_neither_an_order_slower_nor_worse() {
    let (graph, exact, queries) = &*PLAIN;
    let mut next = noise(77);
    // The number of nearest vectors that are rejected, and the share of the others.
    let filters: Vec<(usize, f32)> = (0..12)
        .map(|at| {
            let near = [0, 20, 60, 150, 400, 1500][at % 6];
            (near, f32::midpoint(next(), 1.0) * if at < 6 { 0.02 } else { 0.9 })
        })
        .collect();
    for (near, share) in filters {
        let (mut distances, mut times, mut answers) = (vec![0; 6], vec![0; 6], vec![0; 6]);
        for query in queries.chunks(24).take(10) {
            let all = exact.search(query).k(20_000).run().unwrap();
            // A table, because a call that takes about 20 ns would have one plan or another by its measured cost.
            let mut rejected = vec![false; 20_000];
            for (rank, key) in all.keys().enumerate() {
                let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                rejected[key as usize] = rank < near || (mixed as f32) < share * (1 << 24) as f32;
            }
            let accepts = |key: u64| !rejected[key as usize];
            let truth = exact.search(query).filter(accepts).run().unwrap();
            for (at, ef) in [16, 32, 64, 128, 256, 1000].into_iter().enumerate() {
                let hits = graph.search(query).ef(ef).filter(accepts).run().unwrap();
                assert_eq!(hits.len(), 10);
                distances[at] += hits.distances_computed();
                // A scan reads rows in their order, which takes a fourth of the time, or less.
                let is_scan = hits.plan() == SearchPlan::FilteredScan;
                times[at] += hits.distances_computed() / if is_scan { 4 } else { 1 };
                answers[at] += shared(&hits, &truth);
                let close = graph.search(query).ef(ef).filter(accepts).within(hits[9].distance);
                let close = close.k(10).run().unwrap();
                assert!(shared(&close, &hits) >= 8);
            }
        }
        let what = format!("{near} {share}: {distances:?} {answers:?}");
        for at in 1..6 {
            // A larger `ef` is neither much quicker than a smaller one, nor slower than its growth.
            assert!(distances[at - 1] < distances[at] * 3, "{what}");
            assert!(times[at] < times[at - 1] * 10, "{what}");
            assert!(answers[at] + 4 >= answers[at - 1], "{what}");
        }
        assert!(answers[2] >= 92, "{what}");
    }
}

/// A pool of as many candidates as answers finds enough accepted ones by a walk, wherever that costs less than a scan; a scan of fewer
/// reads codes, and finds the same as one of vectors.
#[test]
fn known_filters_of_any_share_cost_a_walk_or_a_part_of_a_scan() {
    for (graph, exact, queries) in [&*PLAIN, &*CODED] {
        for (one_in, most) in [(2, 1500), (3, 2500), (10, 2600), (40, 800), (400, 150)] {
            let mixed = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let set: KeySet = (0..20_000).filter(|&key| mixed(key) * one_in < 1 << 24).collect();
            let (mut found, mut asked, mut distances) = (0, 0, 0);
            for query in queries.chunks(24) {
                for ef in [10, 64] {
                    let hits = graph.search(query).k(10).ef(ef).filter(&set).run().unwrap();
                    assert_eq!(hits.len(), 10);
                    distances += hits.distances_computed();
                    if ef == 64 {
                        let truth = exact.search(query).k(10).filter(&set).run().unwrap();
                        found += shared(&hits, &truth);
                        asked += 10;
                    }
                }
            }
            let mean = distances / (2 * queries.chunks(24).len() as u64);
            println!("1 in {one_in}: {found} of {asked}, {mean} distances");
            assert!(found * 100 >= asked * 95, "1 in {one_in}: {found} of {asked}");
            assert!(mean <= most, "1 in {one_in}: {mean} distances");
        }
    }
}
