//! The inverted-file index: answers compared with exhaustive search, trainings, changes from many
//! threads, and every refusal.
#![allow(clippy::float_cmp, reason = "what must be equal is compared exactly")]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nearfield::dataset::{Dataset, recall};
use nearfield::{
    Bf16, Element, F16, Flat, Hits, Hnsw, IndexError, Isa, Ivf, IvfBuilder, Metric, Originals,
    Quantization, VectorError,
};

use crate::support::data::{carried, sparse_keys as keys};
use crate::support::random::numbers;

fn sound(index: &Ivf) {
    let report = index.check();
    assert!(report.is_ok(), "{report}");
}

/// Returns the recall at 10 over a carried data set, keys being row numbers; searched one by one and as a batch.
fn recall_on(data: &Dataset, builder: IvfBuilder, nprobe: usize) -> f64 {
    let index = builder.build().unwrap();
    let keys: Vec<u64> = (0..data.base().len() as u64).collect();
    index.insert_batch(&keys, data.base()).threads(2).run().unwrap();
    assert!(index.is_trained());
    sound(&index);
    let found = index.search_batch(data.queries()).k(10).nprobe(nprobe).run().unwrap();
    for (query, hits) in data.queries().iter().zip(found.iter()) {
        let single = index.search(&query).k(10).nprobe(nprobe).run().unwrap();
        assert_eq!(single.as_slice(), hits);
    }
    recall(found.iter().map(|hits| hits.iter().map(|hit| hit.key)), data.truth(), 10).unwrap()
}

#[test]
#[ignore = "long: `just test-all`"]
fn finds_the_true_neighbours_of_real_vectors() {
    for name in ["photo-sift-128-5k", "words-100-10k"] {
        let data = carried(name);
        let builder = || Ivf::builder(data.base().dimension(), data.metric());
        for (quantization, least) in [
            (Quantization::None, 0.97),
            (Quantization::Auto, 0.97),
            (Quantization::Pq4, 0.95),
            (Quantization::Rabitq { bits: 1 }, 0.75),
            (Quantization::Rabitq { bits: 2 }, 0.94),
        ] {
            let recall = recall_on(&data, builder().quantization(quantization), 80);
            assert!(recall > least, "{name} {quantization:?}: {recall}");
        }
        // The recall of the codes alone.
        for (quantization, least) in [
            (Quantization::Pq4, 0.6),
            (Quantization::Rabitq { bits: 1 }, 0.35),
            (Quantization::Rabitq { bits: 2 }, 0.65),
            (Quantization::Rabitq { bits: 4 }, 0.87),
        ] {
            let builder = builder().quantization(quantization).originals(Originals::Dropped);
            let recall = recall_on(&data, builder, 80);
            assert!(recall > least, "{name} {quantization:?} alone: {recall}");
        }
        // A builder with default settings.
        let index = builder().build().unwrap();
        let keys: Vec<u64> = (0..data.base().len() as u64).collect();
        index.insert_batch(&keys, data.base()).run().unwrap();
        let found = index.search_batch(data.queries()).run().unwrap();
        let found = found.iter().map(|hits| hits.iter().map(|hit| hit.key));
        let recall = recall(found, data.truth(), 10).unwrap();
        assert!(recall > 0.85, "{name}: {recall}");
    }
}

#[test]
fn all_lists_give_the_answers_of_an_exact_index() {
    answer_as_an_exact_index(&[Metric::InnerProduct]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn all_lists_give_the_answers_of_an_exact_index_under_other_metrics() {
    answer_as_an_exact_index(&[Metric::L2, Metric::Cosine]);
}

fn answer_as_an_exact_index(metrics: &[Metric]) {
    let (dimension, count) = (37, 1500);
    let floats = numbers(count * dimension, 1);
    let bytes: Vec<f32> = floats.iter().map(|x| (x * 200.0).round()).collect();
    let unsigned: Vec<f32> = bytes.iter().map(|x| x + 100.0).collect();
    // Components with few values, so that many vectors have the same distance.
    let coarse: Vec<f32> = floats.iter().map(|x| (x * 2.0).round() + 1.0).collect();
    let mut sets = Vec::new();
    for &metric in metrics {
        for element in [Element::F32, Element::F16, Element::Bf16] {
            sets.push((metric, element, &floats));
        }
        sets.push((metric, Element::F32, &coarse));
        sets.push((metric, Element::I8, &bytes));
        sets.push((metric, Element::U8, &unsigned));
    }
    for (metric, element, data) in sets {
        for &isa in Isa::available() {
            let exact = Flat::builder(dimension, metric).element(element).isa(isa);
            let exact = exact.build().unwrap();
            exact.insert_batch(&keys(count), data).threads(1).run().unwrap();
            let index = Ivf::builder(dimension, metric).element(element).isa(isa).lists(40);
            let index = index.build().unwrap();
            index.insert_batch(&keys(count), data).threads(2).run().unwrap();
            assert!(index.is_trained());
            assert_eq!(index.stats().isa, isa);
            sound(&index);
            let queries: Vec<f32> = data.chunks(dimension).step_by(97).flatten().copied().collect();
            for k in [1, 10, 40, count, count + 5] {
                let truth = exact.search_batch(&queries).k(k).run().unwrap();
                let found = index.search_batch(&queries).k(k).nprobe(usize::MAX).run().unwrap();
                assert_eq!(truth, found, "{metric} {element} {isa} {k}");
                for (query, truth) in queries.chunks(dimension).zip(truth.iter()) {
                    let hits = index.search(query).k(k).nprobe(40).run().unwrap();
                    assert_eq!(hits.as_slice(), truth);
                    // A search returns all vectors, also from few lists.
                    assert_eq!(
                        index.search(query).k(k).nprobe(1).run().unwrap().len(),
                        truth.len()
                    );
                }
                let few = index.search_batch(&queries).k(k).nprobe(1).run().unwrap();
                assert!(few.iter().all(|hits| hits.len() == k.min(count)));
            }
        }
    }
}

#[test]
fn packed_bits_are_found_by_hamming_distance() {
    let dimension = 75;
    let bytes: Vec<u8> = numbers(10 * 5000, 5).iter().map(|x| (x * 1e6) as i32 as u8).collect();
    let index =
        Ivf::builder(dimension, Metric::Hamming).quantization(Quantization::Auto).build().unwrap();
    let exact = Flat::builder(dimension, Metric::Hamming).build().unwrap();
    index.insert_batch(&keys(5000), &bytes).threads(2).run().unwrap();
    exact.insert_batch(&keys(5000), &bytes).threads(2).run().unwrap();
    assert!(index.is_trained() && index.stats().code_bits.is_none());
    sound(&index);
    for (vector, key) in bytes.chunks(10).zip(keys(5000)).step_by(50) {
        let hits = index.search(vector).k(3).run().unwrap();
        assert_eq!((hits[0].key, hits[0].distance), (key, 0.0));
        assert_eq!(index.get(key), exact.get(key));
        let all = index.search(vector).k(5).nprobe(usize::MAX).run().unwrap();
        let distances = |hits: &Hits| hits.iter().map(|hit| hit.distance).collect::<Vec<_>>();
        assert_eq!(distances(&all), distances(&exact.search(vector).k(5).run().unwrap()));
    }
}

#[test]
fn the_answers_depend_on_vectors_and_seed_alone() {
    let data = carried("photo-sift-128-5k");
    let keys: Vec<u64> = (0..data.base().len() as u64).collect();
    let answers = |threads, seed| {
        let index = Ivf::builder(128, Metric::L2)
            .quantization(Quantization::Rabitq { bits: 2 })
            .originals(Originals::Dropped)
            .seed(seed)
            .build()
            .unwrap();
        index.insert_batch(&keys, data.base()).threads(threads).run().unwrap();
        index.search_batch(data.queries()).nprobe(4).threads(threads).run().unwrap()
    };
    let one = answers(1, 7);
    assert_eq!(answers(2, 7), one);
    assert_eq!(answers(4, 7), one);
    assert_ne!(answers(1, 8), one);
}

#[test]
fn an_index_trains_itself_and_again_as_it_grows() {
    let dimension = 6;
    let vectors = numbers(20_000 * dimension, 3);
    let index = Ivf::builder(dimension, Metric::L2).build().unwrap();
    let mut lists = vec![1];
    for (key, vector) in vectors.chunks(dimension).enumerate() {
        index.insert(key as u64, vector).unwrap();
        let stats = index.stats().lists.unwrap();
        assert_eq!(stats.is_trained, key + 1 >= 4096, "{key}");
        if stats.count != lists[lists.len() - 1] {
            lists.push(stats.count);
        }
        if key % 997 == 0 {
            assert_eq!(index.search(vector).k(1).nprobe(3).run().unwrap()[0].key, key as u64);
        }
    }
    assert_eq!(lists, [1, 256, 512]);
    sound(&index);
    // One batch of the same vectors trains once, for all of them.
    let whole = Ivf::builder(dimension, Metric::L2).build().unwrap();
    let keys: Vec<u64> = (0..20_000).collect();
    whole.insert_batch(&keys, &vectors).run().unwrap();
    assert_eq!(whole.stats().lists.unwrap().count, 566);
    sound(&whole);
    // Repeated trainings without vectors, from the codes alone.
    let coded = Ivf::builder(dimension, Metric::L2)
        .quantization(Quantization::Rabitq { bits: 4 })
        .originals(Originals::Dropped)
        .build()
        .unwrap();
    for (key, vector) in vectors.chunks(dimension).enumerate().take(5000) {
        coded.insert(key as u64, vector).unwrap();
    }
    for _ in 0..3 {
        coded.train().unwrap();
        sound(&coded);
    }
    assert_eq!((coded.len(), coded.stats().bytes.vectors), (5000, 0));
    for (key, vector) in vectors.chunks(dimension).enumerate().take(5000).step_by(100) {
        let near = coded.get(key as u64).unwrap();
        let error: f32 = vector.iter().zip(&near).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!(error < 0.01, "{error}");
    }
}

#[test]
fn lists_that_have_become_uneven_are_made_anew() {
    let index = Ivf::builder(2, Metric::L2).build().unwrap();
    let spread = numbers(2 * 5000, 1);
    index.insert_batch(&keys(5000), &spread).run().unwrap();
    let before = index.stats().lists.unwrap();
    // Another 6,000 vectors, all in one corner.
    for (key, vector) in numbers(2 * 6000, 2).chunks(2).enumerate() {
        let near = [10.0 + 1e-2 * vector[0], 1e-2 * vector[1]];
        index.upsert(1_000_000 + key as u64, &near).unwrap();
    }
    let after = index.stats().lists.unwrap();
    assert!(after.count > before.count);
    assert!(after.imbalance < 6.0, "{after:?}");
    sound(&index);
}

#[test]
fn removed_vectors_are_gone_and_their_memory_is_given_back() {
    for quantization in [Quantization::None, Quantization::Pq4, Quantization::Rabitq { bits: 1 }] {
        for originals in [Originals::Kept, Originals::Dropped] {
            if quantization == Quantization::None && originals == Originals::Dropped {
                continue;
            }
            let dimension = 19;
            let vectors = numbers(6000 * dimension, 3);
            // Long lists, because a short list keeps the room of the vectors that it once had.
            let index = Ivf::builder(dimension, Metric::Cosine)
                .lists(30)
                .quantization(quantization)
                .originals(originals)
                .build()
                .unwrap();
            index.insert_batch(&keys(6000), &vectors).threads(2).run().unwrap();
            let full = index.stats().bytes;
            let (gone, left): (Vec<_>, Vec<_>) = keys(6000).into_iter().partition(|k| k % 10 != 0);
            for &key in &gone {
                assert_eq!((index.remove(key), index.remove(key)), (Ok(true), Ok(false)));
                assert!(!index.contains(key));
            }
            assert_eq!((index.len(), index.get(gone[0])), (left.len(), None));
            sound(&index);
            let bytes = index.stats().bytes;
            assert!(
                2 * bytes.vectors <= full.vectors && 2 * bytes.codes <= full.codes,
                "{bytes:?}"
            );
            assert!(2 * bytes.keys <= full.keys + (64 << 10), "{bytes:?} {full:?}");
            let all = index.search(&vectors[..dimension]).k(6000).run().unwrap();
            let found: HashSet<u64> = all.keys().collect();
            assert_eq!(found, left.iter().copied().collect());
            // The lists take back other vectors, and the same keys.
            index.insert_batch(&gone, &vectors[..gone.len() * dimension]).run().unwrap();
            sound(&index);
            assert_eq!(index.len(), 6000);
        }
    }
}

/// Returns a vector that identifies a version of a key.
fn version(key: u64, version: u64, dimension: usize) -> Vec<f32> {
    numbers(dimension, (key * 100_000 + version) as u32)
}

#[test]
fn changes_and_searches_from_many_threads() {
    const KEYS: u64 = 6000;
    const THREADS: u64 = 4;
    let dimension = 9;
    for (quantization, metric) in [
        (Quantization::None, Metric::L2),
        (Quantization::Pq4, Metric::L2),
        (Quantization::Rabitq { bits: 4 }, Metric::Cosine),
    ] {
        let index = Ivf::builder(dimension, metric).quantization(quantization).build().unwrap();
        let running = AtomicUsize::new(THREADS as usize);
        // A key that is always in the index, though it moves from list to list.
        index.insert(u64::MAX, &[0.25; 9]).unwrap();
        let live: HashMap<u64, u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (index, running) = (&index, &running);
                    scope.spawn(move || {
                        let mut live = HashMap::new();
                        let mut state = thread + 1;
                        for step in 0..12_000_u64 {
                            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            // Each thread has its own keys.
                            let key = (state >> 33) % (KEYS / THREADS) * THREADS + thread;
                            let vector = version(key, step, dimension);
                            match (state >> 20) % 8 {
                                0 => assert_eq!(index.remove(key), Ok(live.remove(&key).is_some())),
                                1..=3 => {
                                    let there = live.insert(key, step).is_some();
                                    assert_eq!(index.upsert(key, &vector), Ok(there));
                                }
                                _ => match index.insert(key, &vector) {
                                    Ok(()) => assert_eq!(live.insert(key, step), None),
                                    Err(error) => {
                                        assert_eq!(error, IndexError::KeyExists { key });
                                        assert!(live.contains_key(&key));
                                    }
                                },
                            }
                            if step == 9000 && thread == 0 {
                                index.train().unwrap();
                            }
                        }
                        running.fetch_sub(1, Ordering::Release);
                        live
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut sign = 1.0;
                while running.load(Ordering::Acquire) > 0 {
                    sign = -sign;
                    assert_eq!(index.upsert(u64::MAX, &[0.25 * sign; 9]), Ok(true));
                    // With all lists read, the search meets the key once, in any list.
                    let hits = index.search(&[0.25; 9]).k(8000).nprobe(usize::MAX).run().unwrap();
                    let mut keys: Vec<u64> = hits.keys().collect();
                    assert!(keys.contains(&u64::MAX));
                    let count = keys.len();
                    keys.sort_unstable();
                    keys.dedup();
                    assert_eq!(keys.len(), count);
                }
            });
            scope.spawn(|| {
                let queries = numbers(100 * dimension, 77);
                while running.load(Ordering::Acquire) > 0 {
                    let found = index.search_batch(&queries).k(5).nprobe(4).threads(1).run();
                    for hits in &found.unwrap() {
                        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
                    }
                    let hits = index.search(&[0.25; 9]).k(8000).nprobe(usize::MAX).run().unwrap();
                    assert_eq!(hits.keys().filter(|&key| key == u64::MAX).count(), 1);
                }
            });
            let live = writers.into_iter().flat_map(|writer| writer.join().unwrap());
            live.collect()
        });
        assert!(index.is_trained());
        sound(&index);
        assert_eq!(index.len(), live.len() + 1);
        for key in 0..KEYS {
            assert_eq!(index.contains(key), live.contains_key(&key));
            let Some(&step) = live.get(&key) else { continue };
            let vector = version(key, step, dimension);
            let hits = index.search(&vector).k(1).nprobe(2).run().unwrap();
            assert_eq!(hits[0].key, key, "{quantization:?}");
            assert!(hits[0].distance.abs() < 1e-6);
        }
        let all = index.search(&[0.25; 9]).k(10_000).nprobe(usize::MAX).run().unwrap();
        assert!(all.keys().all(|key| key == u64::MAX || live.contains_key(&key)));
    }
}

#[test]
fn searches_go_on_while_the_index_trains() {
    let dimension = 24;
    let vectors = numbers(8000 * dimension, 4);
    let index = Ivf::builder(dimension, Metric::L2).lists(500).build().unwrap();
    index.insert_batch(&keys(8000), &vectors).run().unwrap();
    assert!(!index.is_trained());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            index.train().unwrap();
            done.store(true, Ordering::Release);
        });
        let mut asked = 0;
        while !done.load(Ordering::Acquire) || asked < 8 {
            for (key, vector) in keys(8000).into_iter().zip(vectors.chunks(dimension)).step_by(999)
            {
                let hits = index.search(vector).k(1).run().unwrap();
                assert_eq!((hits[0].key, hits[0].distance), (key, 0.0));
                asked += 1;
            }
        }
    });
    assert!(index.is_trained());
    sound(&index);
}

/// A vector that leaves a list lets another take its position, which a training may have passed already.
#[test]
fn no_vector_is_lost_while_others_move_and_the_index_trains() {
    let (dimension, count) = (6, 1500);
    let index = Ivf::builder(dimension, Metric::L2).lists(20).build().unwrap();
    let keys = keys(count);
    index.insert_batch(&keys, &numbers(count * dimension, 1)).run().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 2;
            while !done.load(Ordering::Relaxed) {
                let vectors = numbers(count * dimension, round);
                for (&key, vector) in keys.iter().zip(vectors.chunks(dimension)) {
                    assert!(index.upsert(key, vector).unwrap(), "{key} was lost");
                }
                round += 1;
            }
        });
        for _ in 0..60 {
            index.train().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.len(), count);
    sound(&index);
}

#[test]
fn many_equal_vectors_and_nothing_else() {
    for quantization in [Quantization::None, Quantization::Pq4, Quantization::Rabitq { bits: 2 }] {
        let index = Ivf::builder(5, Metric::L2).quantization(quantization).build().unwrap();
        index.insert_batch(&keys(5000), &vec![1.5_f32; 25_000]).threads(2).run().unwrap();
        assert!(index.is_trained());
        sound(&index);
        assert_eq!(index.stats().lists.unwrap().count, 1);
        let hits = index.search(&[1.5; 5]).k(20).run().unwrap();
        assert_eq!(hits.len(), 20);
        assert!(hits.iter().all(|hit| hit.distance == 0.0));
        // Duplicates that are more than half of the vectors do not hide the others.
        let vectors = numbers(5 * 4000, 8);
        let others: Vec<u64> = (100_000..104_000).collect();
        index.insert_batch(&others, &vectors).threads(2).run().unwrap();
        index.train().unwrap();
        sound(&index);
        for (key, vector) in others.iter().zip(vectors.chunks(5)).step_by(37) {
            assert_eq!(index.search(vector).k(1).run().unwrap()[0].key, *key);
        }
    }
}

#[test]
fn few_vectors_few_components_and_none() {
    let none: [f32; 0] = [];
    let index = Ivf::builder(1, Metric::L2).build().unwrap();
    assert!(index.is_empty() && !index.is_trained());
    assert_eq!(index.remove(1), Ok(false));
    assert!(index.search(&[0.0]).run().unwrap().is_empty());
    assert!(index.search_batch(&none).run().unwrap().is_empty());
    assert_eq!(index.search_batch(&[1.0, 2.0]).run().unwrap().len(), 2);
    assert_eq!(index.get(1), None);
    assert_eq!(index.train(), Err(IndexError::TooFewVectors { needed: 1, found: 0 }));
    sound(&index);
    for quantization in [
        Quantization::None,
        Quantization::Pq4,
        Quantization::Rabitq { bits: 1 },
        Quantization::Rabitq { bits: 2 },
        Quantization::Rabitq { bits: 4 },
    ] {
        for dimension in [1, 2, 3, 17, 65, 129] {
            for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
                let builder = Ivf::builder(dimension, metric).quantization(quantization);
                let index = builder.build().unwrap();
                let vectors = numbers(dimension * 70, 3);
                for (key, vector) in vectors.chunks(dimension).enumerate() {
                    index.insert(key as u64, vector).unwrap();
                    if [0, 1, 15, 16, 40].contains(&key) {
                        match index.train() {
                            Ok(()) => sound(&index),
                            Err(IndexError::TooFewVectors { needed: 16, found }) => {
                                assert!(quantization == Quantization::Pq4 && found < 16);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    let hits = index.search(vector).k(3).nprobe(9).run().unwrap();
                    assert_eq!(hits.len(), 3.min(key + 1));
                }
                let exact = Flat::builder(dimension, metric).build().unwrap();
                // On one thread, equally near vectors keep the order of insertion.
                exact
                    .insert_batch(&(0..70).collect::<Vec<_>>(), &vectors)
                    .threads(1)
                    .run()
                    .unwrap();
                // More candidates than vectors: all are reranked.
                for query in vectors.chunks(dimension) {
                    let hits = index.search(query).k(5).nprobe(99).ef(70).run().unwrap();
                    let truth = exact.search(query).k(5).run().unwrap();
                    assert_eq!(hits, truth, "{quantization:?} {dimension} {metric}");
                }
                assert!(index.search(&vectors[..dimension]).k(0).run().unwrap().is_empty());
                let no_k = index.search_batch(&vectors).k(0).run().unwrap();
                assert_eq!((no_k.len(), no_k.iter().flatten().count()), (70, 0));
            }
        }
    }
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let index = Ivf::builder(3, Metric::Cosine).build().unwrap();
    index.insert(1, &[1.0, 0.0, 0.0]).unwrap();
    assert_eq!(index.insert(1, &[0.0, 1.0, 0.0]), Err(IndexError::KeyExists { key: 1 }));
    let refusals: [(&[f32], VectorError); 5] = [
        (&[1.0, 2.0], VectorError::Length { expected: 3, found: 2 }),
        (&[], VectorError::Length { expected: 3, found: 0 }),
        (&[1.0, f32::NAN, 0.0], VectorError::NonFinite { component: 1 }),
        (&[1.0, 0.0, f32::INFINITY], VectorError::NonFinite { component: 2 }),
        (&[0.0, -0.0, 0.0], VectorError::ZeroNorm),
    ];
    for (vector, error) in refusals {
        assert_eq!(index.insert(2, vector), Err(error.into()));
        assert_eq!(index.upsert(1, vector), Err(error.into()));
        assert_eq!(index.search(vector).run(), Err(error.into()));
    }
    let batch = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let error = IndexError::BatchVector { position: 1, source: VectorError::ZeroNorm };
    assert_eq!(index.insert_batch(&[2, 3], &batch).run(), Err(error.clone()));
    assert_eq!(index.search_batch(&batch).run(), Err(error));
    let twice = index.insert_batch(&[4, 4], &[1.0; 6]).run();
    assert_eq!(twice, Err(IndexError::KeyExists { key: 4 }));
    assert_eq!((index.len(), index.get(1)), (1, Some(vec![1.0, 0.0, 0.0])));

    let named = |result: Result<Ivf, IndexError>, parameter: &str| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, IndexError::Parameter { name, .. } if name == parameter),
            "{error}"
        );
    };
    let builder = || Ivf::builder(4, Metric::L2);
    named(Ivf::builder(0, Metric::L2).build(), "dimension");
    named(builder().lists(0).build(), "lists");
    named(builder().lists(usize::MAX).build(), "lists");
    named(builder().nprobe(0).build(), "nprobe");
    let five = Quantization::Pq { sub_vectors: 5, bits: 4 };
    named(builder().quantization(five).build(), "quantization");
    named(builder().originals(Originals::Dropped).build(), "originals");
    let bits = Ivf::builder(64, Metric::Hamming);
    named(bits.clone().quantization(Quantization::Pq4).build(), "quantization");
    named(bits.originals(Originals::Dropped).build(), "originals");
    let error = builder().element(Element::Bit).build().unwrap_err();
    assert_eq!(error, IndexError::Unsupported { metric: Metric::L2, element: Element::Bit });

    // `nprobe` of an index without lists, and `nprobe` 0.
    let asked = |result: Result<Hits, IndexError>| {
        matches!(result, Err(IndexError::Parameter { name: "nprobe", .. }))
    };
    assert!(asked(index.search(&[1.0; 3]).nprobe(0).run()));
    assert!(index.search_batch(&[1.0; 3]).nprobe(0).run().is_err());
    let hnsw = Hnsw::builder(1, Metric::L2).build().unwrap();
    assert!(asked(hnsw.search(&[1.0]).nprobe(8).run()));
    let flat = Flat::builder(1, Metric::L2).build().unwrap();
    assert!(asked(flat.search(&[1.0]).nprobe(8).run()));
    assert!(flat.search_batch(&[1.0]).nprobe(8).run().is_err());
    let few = builder().lists(10).build().unwrap();
    few.insert(1, &[0.0; 4]).unwrap();
    assert_eq!(few.train(), Err(IndexError::TooFewVectors { needed: 10, found: 1 }));
}

#[test]
fn extreme_numbers_are_measured_or_refused() {
    let index = Ivf::builder(2, Metric::L2).lists(3).build().unwrap();
    assert!(matches!(
        index.insert(99, &[f32::MAX, 0.0]),
        Err(IndexError::Vector(VectorError::TooLong { .. }))
    ));
    let greatest = (1_u64 << 61) as f32;
    let extremes = [greatest, -greatest, f32::MIN_POSITIVE, 0.0, 1e15, -1e-30];
    for (key, pair) in extremes.iter().flat_map(|&a| extremes.map(|b| [a, b])).enumerate() {
        index.insert(key as u64, &pair).unwrap();
    }
    index.train().unwrap();
    sound(&index);
    assert_eq!(index.search(&[greatest, -greatest]).k(100).run().unwrap().len(), 36);
    for quantization in [Quantization::Pq4, Quantization::Rabitq { bits: 1 }] {
        let coded =
            Ivf::builder(2, Metric::L2).quantization(quantization).lists(3).build().unwrap();
        let refused = coded.insert(1, &[0.0, 1e16]).unwrap_err();
        let reason =
            VectorError::NotRepresentable { component: 1, value: 1e16, element: Element::F32 };
        assert_eq!(refused, reason.into());
        let limit = (1_u64 << 49) as f32;
        for (key, pair) in numbers(60, 1).chunks(2).enumerate() {
            coded
                .insert(key as u64, &pair.iter().map(|x| x * 2.0 * limit).collect::<Vec<_>>())
                .unwrap();
        }
        coded.train().unwrap();
        sound(&coded);
        for query in [[greatest, -greatest], [0.0, 0.0], [limit, limit]] {
            assert_eq!(coded.search(&query).k(100).run().unwrap().len(), 30);
        }
    }
}

const fn shared<T: Send + Sync>(_: &T) {}

#[test]
fn facts_are_told() {
    let index = Ivf::builder(100, Metric::L2)
        .element(Element::F16)
        .quantization(Quantization::Pq4)
        .originals(Originals::Dropped)
        .nprobe(5)
        .build()
        .unwrap();
    let halves: Vec<F16> = numbers(100 * 4500, 1).into_iter().map(F16::from_f32).collect();
    let progress = AtomicUsize::new(0);
    let seen = |done: usize, all: usize| {
        assert!(done <= all && all == 4500);
        progress.fetch_max(done, Ordering::Relaxed);
    };
    index.insert_batch(&keys(4500), &halves).threads(2).progress(&seen).run().unwrap();
    assert_eq!(progress.into_inner(), 4500);
    index.insert(1, &[Bf16::from_f32(0.25); 100]).unwrap();
    let stats = index.stats();
    let lists = stats.lists.unwrap();
    assert_eq!((stats.len, stats.dimension, stats.code_bits), (4501, 100, Some(2)));
    assert_eq!((lists.count, lists.nprobe, lists.is_trained), (269, 5, true));
    assert!(lists.longest >= 17 && lists.imbalance >= 1.0 && lists.empty < 100);
    assert_eq!((stats.bytes.vectors, stats.levels.len()), (0, 0));
    assert!(stats.bytes.codes >= 4501 * 25 && stats.bytes.keys >= 4501 * 20);
    assert!(stats.bytes.centroids >= 269 * 400 && stats.bytes.total() < 4501 * 100 * 2);
    let hits = index.search(&halves[..100]).k(1).run().unwrap();
    assert_eq!(hits.hops(), 5);
    assert!(hits.distances_computed() > 269);
    assert!(index.stats().search_distances >= hits.distances_computed());
    assert!(stats.insert_distances > 0);
    shared(&index);
    let debug = format!("{index:?}");
    assert!(debug.contains("len: 4501") && debug.contains("lists: 269"), "{debug}");
}
