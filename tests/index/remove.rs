//! Removing and replacing: soundness, recall, reuse of slots, and a model beside many threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearfield::search::SearchPlan;
use nearfield::{Flat, Hnsw, Index, Ivf, Metric, Quantization};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::data::{generated, keys_of as keys};
use crate::support::recall::recall_of;

#[test]
fn removed_vectors_are_gone_and_others_stay() {
    let vectors = generated(3000, 24);
    for quantization in [Quantization::None, Quantization::Sq8] {
        let index = Hnsw::builder(24, Metric::L2).quantization(quantization).build().unwrap();
        index.insert_batch(&keys(0..3000), &vectors).run().unwrap();
        for key in (0..3000).filter(|key| key % 3 != 0) {
            assert!(index.remove(key).unwrap());
            assert!(!index.remove(key).unwrap());
            assert!(!index.contains(key) && index.get(key).is_none());
        }
        assert_eq!(index.len(), 1000);
        let report = index.check();
        assert!(report.is_ok(), "{report}");
        for key in (0..3000).step_by(3) {
            let hits = index.search(&vectors[key * 24..][..24]).k(10).run().unwrap();
            assert_eq!((hits[0].key, hits.len()), (key as u64, 10));
            assert!(hits.iter().all(|hit| hit.key % 3 == 0));
        }
        let all = index.search(&vectors[..24]).k(5000).run().unwrap();
        assert_eq!(all.len(), 1000);
    }
}

#[test]
fn an_index_can_be_emptied_and_filled_again_and_again() {
    let vectors = generated(600, 8);
    let index = Hnsw::builder(8, Metric::L2).m(4).build().unwrap();
    for round in 0..5 {
        index.insert_batch(&keys(0..600), &vectors).run().unwrap();
        assert!(index.check().is_ok());
        for key in 0..600 {
            assert!(index.remove((key * 7 + round) % 600).unwrap());
            if key % 50 == 0 {
                let report = index.check();
                assert!(report.is_ok(), "{report}");
            }
        }
        assert!(index.is_empty() && index.search(&[0.0; 8]).run().unwrap().is_empty());
        let budget = if round == 0 { Duration::MAX } else { Duration::from_secs(9) };
        assert!(index.maintain(budget).is_complete);
    }
}

#[test]
fn a_star_loses_its_centre() {
    // All other nodes are children of few nodes: removing those joins many trees.
    let index = Hnsw::builder(2, Metric::L2).m(2).build().unwrap();
    index.insert(0, &[0.0, 0.0]).unwrap();
    for key in 1..400_u64 {
        let angle = key as f32;
        index.insert(key, &[angle.cos(), angle.sin()]).unwrap();
    }
    for key in 0..399 {
        assert!(index.remove(key).unwrap());
        let report = index.check();
        assert!(report.is_ok(), "{key}: {report}");
    }
    assert_eq!(index.search(&[1.0, 1.0]).run().unwrap()[0].key, 399);
}

#[test]
fn replacing_moves_a_vector() {
    let vectors = generated(2000, 16);
    let index = Hnsw::builder(16, Metric::L2).build().unwrap();
    let flat = Flat::builder(16, Metric::L2).build().unwrap();
    for (key, vector) in vectors.chunks_exact(16).take(1000).enumerate() {
        assert!(!index.upsert(key as u64, vector).unwrap());
        assert!(!flat.upsert(key as u64, vector).unwrap());
    }
    for (key, vector) in vectors.chunks_exact(16).skip(1000).enumerate() {
        assert!(index.upsert(key as u64, vector).unwrap());
        assert!(flat.upsert(key as u64, vector).unwrap());
        assert_eq!(index.get(key as u64), Some(vector.to_vec()));
        assert_eq!(flat.get(key as u64), Some(vector.to_vec()));
        let hits = flat.search(vector).k(2000).run().unwrap();
        assert_eq!((hits.len(), hits[0].key), (1000, key as u64));
    }
    assert_eq!((index.len(), flat.len()), (1000, 1000));
    assert!(index.check().is_ok());
    assert!(recall_of(&index, &flat, &vectors[16_000..19_200], 64) > 0.98);
    for key in 0..990 {
        assert!(flat.remove(key).unwrap());
    }
    let left: Vec<u64> = flat.search(&[0.0; 16]).k(99).run().unwrap().keys().collect();
    assert_eq!(left.len(), 10);
    assert!(left.iter().all(|&key| key >= 990));
}

#[test]
fn many_threads_change_and_search_at_once() {
    change_and_search(Quantization::Sq8);
}

#[test]
#[ignore = "long: `just test-all`"]
fn many_threads_change_and_search_at_once_without_codes() {
    change_and_search(Quantization::None);
}

fn change_and_search(quantization: Quantization) {
    const KEYS: u64 = 400;
    const THREADS: u64 = 4;
    let dimension = 12;
    let vectors = generated(4000, dimension);
    let row = |at: usize| &vectors[at * dimension..(at + 1) * dimension];
    let index = Hnsw::builder(dimension, Metric::L2).quantization(quantization).build().unwrap();
    let flat = Flat::builder(dimension, Metric::L2).build().unwrap();
    let over = AtomicBool::new(false);
    // Each thread changes its own keys, so that it knows the contents at the end.
    let models: Vec<HashMap<u64, usize>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (index, flat) = (&index, &flat);
                scope.spawn(move || {
                    let mut rng = SmallRng::seed_from_u64(thread);
                    let mut model = HashMap::new();
                    for _ in 0..2500 {
                        let key = rng.random_range(0..KEYS) * THREADS + thread;
                        let at = rng.random_range(0..4000);
                        match rng.random_range(0..10) {
                            0..4 => {
                                let was = model.insert(key, at).is_some();
                                assert_eq!(index.upsert(key, row(at)).unwrap(), was);
                                assert_eq!(flat.upsert(key, row(at)).unwrap(), was);
                            }
                            4..6 => {
                                let is_new = !model.contains_key(&key);
                                assert_eq!(index.insert(key, row(at)).is_ok(), is_new);
                                assert_eq!(flat.insert(key, row(at)).is_ok(), is_new);
                                model.entry(key).or_insert(at);
                            }
                            6..9 => {
                                let was = model.remove(&key).is_some();
                                assert_eq!(index.remove(key).unwrap(), was);
                                assert_eq!(flat.remove(key).unwrap(), was);
                            }
                            _ => {
                                let found = index.get(key);
                                assert_eq!(found.as_deref(), model.get(&key).map(|&at| row(at)));
                            }
                        }
                    }
                    model
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut rng = SmallRng::seed_from_u64(77);
                while !over.load(Ordering::Relaxed) {
                    let query = row(rng.random_range(0..4000));
                    for hits in [
                        index.search(query).k(20).ef(40).run().unwrap(),
                        flat.search(query).k(20).run().unwrap(),
                    ] {
                        let mut keys: Vec<u64> = hits.keys().collect();
                        assert!(hits.windows(2).all(|w| w[0].distance <= w[1].distance));
                        keys.sort_unstable();
                        assert!(keys.windows(2).all(|w| w[0] < w[1]), "twice: {keys:?}");
                    }
                }
            });
        }
        let models = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        models
    });
    let report = index.check();
    assert!(report.is_ok(), "{report}");
    let model: HashMap<u64, usize> = models.into_iter().flatten().collect();
    assert_eq!((index.len(), flat.len()), (model.len(), model.len()));
    let mut missed = 0;
    for (&key, &at) in &model {
        let walked = index.search(row(at)).k(10).ef(60).run().unwrap();
        missed += usize::from(walked.keys().all(|found| found != key));
        for hits in [
            walked,
            index.search(row(at)).k(10).ef(4000).run().unwrap(),
            flat.search(row(at)).k(10).run().unwrap(),
        ] {
            assert!(hits.iter().all(|hit| model.contains_key(&hit.key)));
            // Several keys may have the vector.
            let is_there = hits.iter().any(|hit| hit.key == key && hit.distance == 0.0);
            assert!(is_there || hits.plan() == SearchPlan::Walk, "{key}");
        }
    }
    assert!(missed * 50 <= model.len(), "{missed} of {} are missed", model.len());
    let removed = (0..KEYS * THREADS).filter(|key| !model.contains_key(key));
    removed.for_each(|key| assert!(!index.contains(key) && !flat.contains(key)));
}

#[test]
fn a_search_sees_the_old_vector_or_the_new_one() {
    let vectors = generated(300, 8);
    let index = Hnsw::builder(8, Metric::L2).build().unwrap();
    let flat = Flat::builder(8, Metric::L2).build().unwrap();
    index.insert_batch(&keys(0..300), &vectors).run().unwrap();
    flat.insert_batch(&keys(0..300), &vectors).run().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3000 {
                // The same vector moves to another slot: the answers do not change.
                index.upsert(7, &vectors[56..64]).unwrap();
                flat.upsert(7, &vectors[56..64]).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        let (mut searches, mut found) = (0, 0);
        while !over.load(Ordering::Relaxed) {
            let walked = index.search(&vectors[56..64]).k(5).ef(16).run().unwrap();
            let scanned = flat.search(&vectors[56..64]).k(5).run().unwrap();
            for hits in [walked, scanned] {
                let count = hits.keys().filter(|&key| key == 7).count();
                assert!(count < 2 && hits.len() == 5, "{hits:?}");
                searches += 1;
                found += count;
            }
        }
        // A walk may miss a vector that moves meanwhile, as it may miss any vector, but rarely does.
        assert!(searches - found <= searches / 100, "{found} of {searches}");
    });
    assert_eq!((index.len(), flat.len()), (300, 300));
    assert!(index.check().is_ok());
}

#[test]
fn keys_are_those_of_the_vectors_that_are_left() {
    fn sorted(keys: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut keys: Vec<u64> = keys.collect();
        keys.sort_unstable();
        keys
    }

    let vectors = generated(300, 8);
    let graph = Hnsw::builder(8, Metric::L2).build().unwrap();
    let flat = Flat::builder(8, Metric::L2).build().unwrap();
    let lists = Ivf::builder(8, Metric::L2).lists(4).build().unwrap();
    assert_eq!(sorted(graph.keys().chain(flat.keys()).chain(lists.keys())), [0; 0]);
    let all: [&dyn Index; 3] = [&graph, &flat, &lists];
    for index in all {
        index.insert_batch(&keys(1000..1300), &vectors).run().unwrap();
        for key in (1000..1300).step_by(3) {
            assert!(index.remove(key).unwrap());
        }
        index.upsert(1000, &&vectors[..8]).unwrap();
    }
    let left: Vec<u64> = (1000..1300).filter(|key| key % 3 != 1 || *key == 1000).collect();
    assert_eq!(sorted(graph.keys()), left);
    assert_eq!(sorted(flat.keys()), left);
    assert_eq!(sorted(lists.keys()), left);
}
