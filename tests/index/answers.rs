//! The indexes as a user meets them: answers compared with exhaustive search, every refusal, and
//! insertions beside searches.
#![allow(clippy::float_cmp, reason = "integers and bits are compared exactly")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use nearfield::dataset::{Dataset, Generated, recall};
use nearfield::{Bf16, Element, F16, Flat, Hits, Hnsw, IndexError, Isa, Metric, VectorError};

use crate::support::data::{carried, sparse_keys as keys};
use crate::support::random::numbers;

/// Returns the recall at 10 of an index over a carried data set, keys being row numbers.
fn recall_on(data: &Dataset, element: Element, ef: usize) -> f64 {
    let index =
        Hnsw::builder(data.base().dimension(), data.metric()).element(element).build().unwrap();
    let keys: Vec<u64> = (0..data.base().len() as u64).collect();
    index.insert_batch(&keys, data.base()).threads(2).run().unwrap();
    let report = index.check();
    assert!(report.is_ok(), "{report}");
    let found = index.search_batch(data.queries()).k(10).ef(ef).run().unwrap();
    recall(found.iter().map(|hits| hits.iter().map(|hit| hit.key)), data.truth(), 10).unwrap()
}

#[test]
fn finds_the_true_neighbours_of_real_vectors() {
    for (name, elements) in [
        ("photo-sift-128-5k", [Element::F32, Element::U8, Element::F16]),
        ("words-100-10k", [Element::F32, Element::F16, Element::Bf16]),
    ] {
        let data = carried(name);
        for element in elements {
            // Eight significant bits cannot separate all neighbours.
            let least = if element == Element::Bf16 { 0.94 } else { 0.97 };
            let recall = recall_on(&data, element, 100);
            assert!(recall > least, "{name} {element}: {recall}");
        }
    }
}

#[test]
fn exact_search_agrees_with_the_published_truth() {
    let data = carried("photo-sift-128-5k");
    let index = Flat::builder(128, Metric::L2).element(Element::U8).build().unwrap();
    let keys: Vec<u64> = (0..data.base().len() as u64).collect();
    index.insert_batch(&keys, data.base()).run().unwrap();
    let found = index.search_batch(data.queries()).k(10).threads(2).run().unwrap();
    for (query, hits) in found.iter().enumerate() {
        let truth = data.truth().distances(query).unwrap();
        for (hit, distance) in hits.iter().zip(truth) {
            assert_eq!(hit.distance, *distance);
        }
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn every_kernel_and_instruction_set_answers_alike() {
    let dimension = 37;
    let count = 3000;
    let floats = numbers(count * dimension, 1);
    let bytes: Vec<f32> = floats.iter().map(|x| (x * 200.0).round()).collect();
    let unsigned: Vec<f32> = bytes.iter().map(|x| x + 100.0).collect();
    let mut sets = Vec::new();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for element in [Element::F32, Element::F16, Element::Bf16] {
            sets.push((metric, element, &floats));
        }
        sets.push((metric, Element::I8, &bytes));
        sets.push((metric, Element::U8, &unsigned));
    }
    for (metric, element, data) in sets {
        let exact = Flat::builder(dimension, metric).element(element).build().unwrap();
        exact.insert_batch(&keys(count), data).threads(1).run().unwrap();
        for &isa in Isa::available() {
            let index = Hnsw::builder(dimension, metric).element(element).isa(isa).build().unwrap();
            index.insert_batch(&keys(count), data).threads(2).run().unwrap();
            assert!(index.check().is_ok());
            assert_eq!(index.stats().isa, isa);
            let mut same = 0;
            for query in data.chunks(dimension).step_by(97) {
                let hits = index.search(query).k(5).ef(100).run().unwrap();
                let truth = exact.search(query).k(5).run().unwrap();
                same += hits.keys().filter(|key| truth.keys().any(|k| k == *key)).count();
            }
            let asked = data.chunks(dimension).step_by(97).count() * 5;
            // Maximum inner product on data without structure is the hardest case for a graph.
            let least = if metric == Metric::InnerProduct { 0.8 } else { 0.9 };
            assert!(
                same as f64 > least * asked as f64,
                "{metric} {element} {isa}: {same} of {asked}"
            );
        }
    }
}

#[test]
fn packed_bits_are_found_by_hamming_distance() {
    let dimension = 75;
    let bytes: Vec<u8> = numbers(10 * 2000, 5).iter().map(|x| (x * 1e6) as i32 as u8).collect();
    let index = Hnsw::builder(dimension, Metric::Hamming).build().unwrap();
    index.insert_batch(&keys(2000), &bytes).threads(2).run().unwrap();
    assert_eq!(index.element(), Element::Bit);
    for (vector, key) in bytes.chunks(10).zip(keys(2000)).step_by(50) {
        let hits = index.search(vector).k(3).ef(64).run().unwrap();
        assert_eq!((hits[0].key, hits[0].distance), (key, 0.0));
        let stored = index.get(key).unwrap();
        assert_eq!(stored.len(), dimension);
        for (i, bit) in stored.iter().enumerate() {
            assert_eq!(*bit, f32::from(vector[i / 8] >> (i % 8) & 1));
        }
    }
    // The bits that pad the last byte are ignored.
    let mut padded = bytes[..10].to_vec();
    padded[9] ^= 0b1111_1000;
    assert_eq!(index.search(&padded).k(1).run().unwrap()[0].distance, 0.0);
    let refused = index.insert(1, &[0.0_f32; 10]);
    let mismatch = VectorError::ElementMismatch { expected: Element::Bit, found: Element::F32 };
    assert_eq!(refused, Err(mismatch.into()));
}

#[test]
fn bad_vectors_are_refused_and_change_nothing() {
    let index = Hnsw::builder(3, Metric::Cosine).build().unwrap();
    index.insert(1, &[1.0, 0.0, 0.0]).unwrap();
    let refusals: [(&[f32], VectorError); 6] = [
        (&[1.0, 2.0], VectorError::Length { expected: 3, found: 2 }),
        (&[], VectorError::Length { expected: 3, found: 0 }),
        (&[1.0, f32::NAN, 0.0], VectorError::NonFinite { component: 1 }),
        (&[1.0, 0.0, f32::INFINITY], VectorError::NonFinite { component: 2 }),
        (&[f32::NEG_INFINITY, 0.0, 0.0], VectorError::NonFinite { component: 0 }),
        (&[0.0, -0.0, 0.0], VectorError::ZeroNorm),
    ];
    for (vector, error) in refusals {
        assert_eq!(index.insert(2, vector), Err(error.into()));
        assert_eq!(index.search(vector).run(), Err(error.into()));
        assert!(error.to_string().len() > 10);
    }
    let batch = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let error = IndexError::BatchVector { position: 1, source: VectorError::ZeroNorm };
    for threads in [1, 2] {
        let refused = index.insert_batch(&[2, 3], &batch).threads(threads).run();
        assert_eq!(refused, Err(error.clone()));
    }
    assert_eq!(index.search_batch(&batch).run(), Err(error));
    assert_eq!(index.len(), 1);
    assert!(!index.contains(2));
    // Huge and tiny vectors have a direction, too.
    index.insert(4, &[f32::MAX, f32::MAX, 0.0]).unwrap();
    index.insert(5, &[0.0, f32::from_bits(1), 0.0]).unwrap();
    assert_eq!(index.get(5).unwrap(), [0.0, 1.0, 0.0]);
    assert!((index.get(4).unwrap()[0] - 0.5_f32.sqrt()).abs() < 1e-6);
}

#[test]
fn elements_that_cannot_hold_a_value_say_so() {
    let bytes = Hnsw::builder(2, Metric::L2).element(Element::U8).build().unwrap();
    for (value, position) in [([256.0, 0.0], 0), ([0.0, -1.0], 1), ([0.5, 0.0], 0)] {
        let error = bytes.insert(1, &value).unwrap_err();
        let expected = VectorError::NotRepresentable {
            component: position,
            value: value[position],
            element: Element::U8,
        };
        assert_eq!(error, expected.into());
    }
    bytes.insert(1, &[255.0, -0.0]).unwrap();
    bytes.insert(2, &[7_i8, 0]).unwrap();
    assert_eq!(bytes.get(1).unwrap(), [255.0, 0.0]);
    let halves = Hnsw::builder(1, Metric::L2).element(Element::F16).build().unwrap();
    assert!(halves.insert(1, &[70_000.0]).is_err());
    halves.insert(1, &[F16::from_f32(0.1)]).unwrap();
    halves.insert(2, &[Bf16::from_f32(3.0)]).unwrap();
    assert_eq!(halves.get(1).unwrap(), [F16::from_f32(0.1).to_f32()]);
}

#[test]
fn parameters_out_of_range_are_named() {
    for dimension in [0, 65_537, usize::MAX] {
        let error = Hnsw::builder(dimension, Metric::L2).build().unwrap_err();
        assert!(matches!(error, IndexError::Parameter { name: "dimension", .. }), "{error}");
        assert!(Flat::builder(dimension, Metric::L2).build().is_err());
    }
    let widest = Hnsw::builder(65_536, Metric::L2).build().unwrap();
    let vector = vec![1.0_f32; 65_536];
    (0..3).for_each(|key| widest.insert(key, &vector).unwrap());
    assert_eq!(widest.search(&vector).run().unwrap().len(), 3);
    let builder = || Hnsw::builder(4, Metric::L2);
    for (refused, parameter) in [
        (builder().m(1), "m"),
        (builder().m(usize::MAX), "m"),
        (builder().ef_construction(0), "ef_construction"),
        (builder().alpha(0.9), "alpha"),
        (builder().alpha(f32::NAN), "alpha"),
    ] {
        let error = refused.build().unwrap_err();
        assert!(matches!(error, IndexError::Parameter { name, .. } if name == parameter));
    }
    let error = builder().element(Element::Bit).build().unwrap_err();
    assert_eq!(error, IndexError::Unsupported { metric: Metric::L2, element: Element::Bit });
    let index = builder().build().unwrap();
    assert!(index.search(&[0.0; 4]).ef(0).run().is_err());
    assert!(index.search_batch(&[0.0; 4]).threads(0).run().is_err());
    assert!(index.insert_batch(&[1], &[0.0; 4]).threads(0).run().is_err());
}

#[test]
fn empty_indexes_and_odd_counts_have_obvious_answers() {
    let hnsw = Hnsw::builder(2, Metric::L2).build().unwrap();
    assert!(hnsw.is_empty() && hnsw.check().is_ok());
    assert!(hnsw.search(&[0.0, 0.0]).run().unwrap().is_empty());
    assert_eq!(hnsw.get(1), None);
    let none: [f32; 0] = [];
    hnsw.insert_batch(&[], &none).run().unwrap();
    assert!(hnsw.search_batch(&none).run().unwrap().is_empty());
    let refused = hnsw.insert_batch(&[1, 2], &[0.0, 0.0]).run();
    assert_eq!(refused, Err(IndexError::BatchLength { keys: 2, vectors: 1 }));
    assert!(matches!(
        hnsw.insert_batch(&[1], &[0.0, 0.0, 1.0]).run(),
        Err(IndexError::Vector(VectorError::Length { .. }))
    ));
    let points = numbers(2 * 5000, 9);
    // One thread, so that both take the vectors in the same order, because the order decides between equal distances.
    hnsw.insert_batch(&keys(5000), &points).threads(1).run().unwrap();
    let flat = Flat::builder(2, Metric::L2).build().unwrap();
    flat.insert_batch(&keys(5000), &points).threads(1).run().unwrap();
    let query = [0.1, 0.2];
    for k in [0, 1, 32, 33, 1000, 1024, 1025, 4999, 5000, 5001, usize::MAX] {
        let exact = flat.search(&query).k(k).run().unwrap();
        assert_eq!(exact.len(), k.min(5000));
        assert!(exact.is_sorted_by(|a, b| a.distance <= b.distance));
        let hits = hnsw.search(&query).k(k).run().unwrap();
        assert_eq!(hits.len(), k.min(5000));
        if k >= 1000 {
            assert_eq!(hits, exact, "every vector is looked at");
        }
        for batch in [hnsw.search_batch(&query).k(k).run(), flat.search_batch(&query).k(k).run()] {
            assert_eq!(batch.unwrap()[0].len(), k.min(5000));
        }
    }
    assert_eq!(hnsw.search(&query).k(1).ef(usize::MAX).run().unwrap().len(), 1);
}

#[test]
fn a_key_is_taken_once() {
    let index = Hnsw::builder(1, Metric::L2).build().unwrap();
    index.insert(5, &[1.0]).unwrap();
    assert_eq!(index.insert(5, &[2.0]), Err(IndexError::KeyExists { key: 5 }));
    assert_eq!(
        index.insert_batch(&[6, 5], &[1.0, 2.0]).run(),
        Err(IndexError::KeyExists { key: 5 })
    );
    assert_eq!(
        index.insert_batch(&[6, 7, 6], &[1.0, 2.0, 3.0]).run(),
        Err(IndexError::KeyExists { key: 6 })
    );
    assert_eq!((index.len(), index.get(5)), (1, Some(vec![1.0])));
    index.insert(u64::MAX, &[2.0]).unwrap();
    index.insert(0, &[3.0]).unwrap();
    // Threads insert the same keys: each key is inserted by one of them.
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for key in 100..300 {
                    let won = index.insert(key, &[key as f32]).is_ok();
                    taken.fetch_add(usize::from(won), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 200);
    assert_eq!(index.len(), 203);
    assert!(index.check().is_ok());
}

#[test]
fn equal_vectors_stay_reachable() {
    let index = Hnsw::builder(8, Metric::L2).m(4).ef_construction(20).build().unwrap();
    let mut vectors = vec![0.25_f32; 8 * 3000];
    vectors.extend(numbers(8 * 1000, 3));
    index.insert_batch(&keys(4000), &vectors).threads(2).run().unwrap();
    let report = index.check();
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.levels[0].reachable, 4000);
    let hits = index.search(&[0.25; 8]).k(10).run().unwrap();
    assert!(hits.iter().all(|hit| hit.distance == 0.0));
}

#[test]
fn searches_beside_insertions_lose_nothing() {
    let long = std::env::var_os("NEARFIELD_STRESS").is_some();
    // Few queries do not show a difference in recall, because some queries miss all ten of their neighbours.
    let (count, dimension, queries) = if long { (1_000_000, 128, 5_000) } else { (8_000, 32, 200) };
    let made = Generated::builder(count, dimension).queries(queries).seed(11).build().unwrap();
    let vectors = made.base().to_f32().unwrap();
    let vector = |i: usize| &vectors[i * dimension..(i + 1) * dimension];
    let queries = made.queries().to_f32().unwrap();
    let index = Hnsw::builder(dimension, Metric::L2).build().unwrap();
    let next = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let searches = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= count {
                            break;
                        }
                        index.insert(i as u64, vector(i)).unwrap();
                        // An inserted vector is found at once.
                        if i.is_multiple_of(97) {
                            let hits = index.search(vector(i)).k(10).ef(100).run().unwrap();
                            assert!(hits.keys().any(|key| key == i as u64), "{i} is not found");
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut hits = Hits::new();
                for query in queries.chunks(dimension).cycle() {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let before = index.len();
                    index.search(query).k(10).run_into(&mut hits).unwrap();
                    assert!(hits.len() >= before.min(10));
                    assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let ended: Vec<_> = writers.into_iter().map(ScopedJoinHandle::join).collect();
        // The searches are ended before a failure is reported, because they would run for ever.
        done.store(true, Ordering::Relaxed);
        for ended in ended {
            ended.unwrap();
        }
    });
    assert!(searches.into_inner() > 0);
    let report = index.check();
    assert!(report.is_ok(), "{report}");

    let quiet = Hnsw::builder(dimension, Metric::L2).build().unwrap();
    let all: Vec<u64> = (0..count as u64).collect();
    quiet.insert_batch(&all, &vectors).threads(2).run().unwrap();
    let exact = Flat::builder(dimension, Metric::L2).build().unwrap();
    exact.insert_batch(&all, &vectors).threads(2).run().unwrap();
    let truth = exact.search_batch(&queries).k(10).run().unwrap();
    let overlap = |index: &Hnsw| {
        let found = index.search_batch(&queries).k(10).ef(64).run().unwrap();
        let pairs = found.iter().zip(truth.iter());
        let same = |(a, b): (&[nearfield::Hit], &[nearfield::Hit])| {
            a.iter().filter(|hit| b.iter().any(|t| t.key == hit.key)).count()
        };
        pairs.map(same).sum::<usize>() as f64 / (10 * truth.len()) as f64
    };
    let (busy, quiet) = (overlap(&index), overlap(&quiet));
    println!("recall@10 at ef 64: {busy:.4} beside searches, {quiet:.4} alone");
    // The long form has enough queries to detect a difference of two thousandths.
    let allowed = if long { 0.002 } else { 0.01 };
    assert!(busy > quiet - allowed, "{busy} beside searches, {quiet} alone");
}

#[test]
fn what_is_inserted_is_found_by_a_narrow_search() {
    let (count, dimension) = (10_000, 32);
    let made = Generated::builder(count, dimension).clusters(500).seed(5).build().unwrap();
    let vectors = made.base().to_f32().unwrap();
    let index = Hnsw::builder(dimension, Metric::L2).build().unwrap();
    let mut missed = Vec::new();
    for (key, vector) in (0..).zip(vectors.chunks(dimension)) {
        index.insert(key, vector).unwrap();
        let hits = index.search(vector).k(1).ef(8).run().unwrap();
        missed.extend((hits[0].key != key).then_some(key));
    }
    assert!(missed.is_empty(), "{missed:?} are not found");
}

#[test]
fn progress_and_pools_are_the_callers() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let index = Hnsw::builder(4, Metric::L2).build().unwrap();
    let (calls, last) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let progress = |done: usize, total: usize| {
        assert!(done <= total && total == 2500);
        calls.fetch_add(1, Ordering::Relaxed);
        last.fetch_max(done, Ordering::Relaxed);
    };
    let vectors = numbers(4 * 2500, 2);
    index.insert_batch(&keys(2500), &vectors).pool(&pool).progress(&progress).run().unwrap();
    assert_eq!(last.into_inner(), 2500);
    assert!(calls.into_inner() >= 1000);
    let batch = index.search_batch(&vectors).k(1).pool(&pool).run().unwrap();
    for ((hits, query), key) in batch.iter().zip(vectors.chunks(4)).zip(keys(2500)) {
        assert_eq!(hits, index.search(query).k(1).run().unwrap().as_slice());
        assert!(hits[0].distance > 0.0 || hits[0].key == key);
    }
    let stats = index.stats();
    assert_eq!((stats.len, stats.levels[0]), (2500, 2500));
    assert!(stats.search_distances > 0 && stats.insert_distances > 0);
    assert!(stats.bytes.total() > 2500 * (16 + 128));
}

#[test]
fn an_index_goes_anywhere() {
    fn anywhere<T: Send + Sync + std::fmt::Debug + 'static>() {}
    anywhere::<Hnsw>();
    anywhere::<Flat>();
    anywhere::<Hits>();
}
