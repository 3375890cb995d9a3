//! Callers that do what few do: panics in what they pass, many threads, maintenance from several at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nearfield::dataset::Generated;
use nearfield::{AsVector, Hnsw, Metric, Quantization, VectorRef};

const DIMENSION: usize = 24;

fn vectors(count: usize) -> Vec<f32> {
    let data = Generated::builder(count, DIMENSION).queries(1).build().unwrap();
    match data.base().as_vector() {
        VectorRef::F32(floats) => floats.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// All but one in twenty, where a walk ends elsewhere. A larger `ef` would make scans of the walks.
fn each_finds_itself(index: &Hnsw, vectors: &[f32], keys: impl Iterator<Item = u64>) {
    let (mut asked, mut missed) = (0, 0);
    for key in keys {
        let vector = &vectors[key as usize * DIMENSION..][..DIMENSION];
        let hits = index.search(vector).k(1).ef(64).run().unwrap();
        asked += 1;
        missed += usize::from(hits[0].key != key);
    }
    assert!(missed <= asked / 20 + 1, "{missed} of {asked}");
}

#[test]
fn a_progress_callback_that_panics_leaves_a_sound_index() {
    let vectors = vectors(6000);
    let keys: Vec<u64> = (0..6000).collect();
    for quantization in [Quantization::None, Quantization::Sq8] {
        let index =
            Hnsw::builder(DIMENSION, Metric::L2).quantization(quantization).build().unwrap();
        let batch = || {
            let panics = |done: usize, _: usize| assert!(done < 500, "enough");
            index.insert_batch(&keys, &vectors).threads(3).progress(&panics).run()
        };
        assert!(catch_unwind(AssertUnwindSafe(batch)).is_err());
        assert!(index.check().is_ok());
        // What is there answers, and the rest can still come.
        let there: Vec<u64> = keys.iter().copied().filter(|&key| index.contains(key)).collect();
        assert_eq!(there.len(), index.len());
        each_finds_itself(&index, &vectors, there.iter().copied().step_by(7));
        for &key in keys.iter().filter(|&&key| !there.contains(&key)).take(4000) {
            index.insert(key, &vectors[key as usize * DIMENSION..][..DIMENSION]).unwrap();
        }
        assert!(index.check().is_ok());
    }
}

#[test]
fn a_filter_that_panics_harms_no_later_search() {
    let vectors = vectors(2000);
    let keys: Vec<u64> = (0..2000).collect();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    index.insert_batch(&keys, &vectors).run().unwrap();
    for _ in 0..20 {
        let search = || {
            let accepts =
                |key: u64| if key % 50 == 7 { panic!("no") } else { key.is_multiple_of(2) };
            index.search(&vectors[..DIMENSION]).k(10).filter(&accepts).run().map(|hits| hits.len())
        };
        assert!(catch_unwind(AssertUnwindSafe(search)).is_err());
    }
    each_finds_itself(&index, &vectors, (0..2000).step_by(97));
    for key in 0..500 {
        assert!(index.remove(key).unwrap());
    }
    index.maintain(Duration::MAX);
    assert!(index.check().is_ok());
    each_finds_itself(&index, &vectors, (500..2000).step_by(97));
}

#[test]
fn three_hundred_threads_search_one_index() {
    let vectors = vectors(3000);
    let keys: Vec<u64> = (0..3000).collect();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    index.insert_batch(&keys, &vectors).run().unwrap();
    let barrier = std::sync::Barrier::new(300);
    std::thread::scope(|scope| {
        for thread in 0..300_u64 {
            let (index, vectors, barrier) = (&index, &vectors, &barrier);
            scope.spawn(move || {
                barrier.wait();
                each_finds_itself(index, vectors, (thread..3000).step_by(300));
            });
        }
    });
}

#[test]
fn maintenance_runs_from_several_threads() {
    let vectors = vectors(4000);
    let keys: Vec<u64> = (0..4000).collect();
    let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    index.insert_batch(&keys, &vectors).run().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (index, vectors) = (&index, &vectors);
            scope.spawn(move || {
                for key in (thread..4000).step_by(4) {
                    if !key.is_multiple_of(3) {
                        index.remove(key).unwrap();
                    }
                    if key % 300 < 4 {
                        index.maintain(Duration::MAX);
                    }
                }
                each_finds_itself(index, vectors, (thread * 3..4000).step_by(300));
            });
        }
    });
    index.maintain(Duration::MAX);
    assert!(index.check().is_ok());
    assert_eq!(index.len(), 1334);
    each_finds_itself(&index, &vectors, (0..4000).step_by(3));
}
