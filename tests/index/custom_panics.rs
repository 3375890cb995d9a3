//! Kernels of custom metrics that break the rules: NaN, infinities, numbers at random, and panics.

use std::sync::atomic::{AtomicU32, Ordering};

use nearfield::custom::CustomMetric;
use nearfield::{Determinism, Flat, Hnsw, Index, IndexError, Shards};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::data::{generated, keys};
use crate::support::files::Folder;

/// Any function as a kernel.
struct Kernel<F>(F);

impl<F: Fn(&[f32], &[f32]) -> f32 + Send + Sync + 'static> CustomMetric for Kernel<F> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        (self.0)(a, b)
    }
}

fn manhattan(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}

type Function = fn(&[f32], &[f32]) -> f32;

/// Numbers that have nothing to do with the vectors.
fn at_random(_: &[f32], _: &[f32]) -> f32 {
    static STATE: AtomicU32 = AtomicU32::new(1);
    let state = STATE.fetch_add(0x9e37_79b9, Ordering::Relaxed);
    f32::from_bits((state ^ state >> 15).wrapping_mul(0x2c1b_3c6d))
}

#[test]
fn any_numbers_leave_an_index_sound_and_calls_end() {
    let kernels: [(&str, Function); 8] = [
        ("nan", |_, _| f32::NAN),
        ("-nan", |_, _| -f32::NAN),
        ("infinity", |_, _| f32::INFINITY),
        ("-infinity", |_, _| f32::NEG_INFINITY),
        ("zero", |_, _| -0.0),
        ("some nan", |a, b| if a[0] * b[0] > 0.0 { f32::NAN } else { manhattan(a, b) }),
        ("unlike in the two orders", |a, b| a[0] - 2.0 * b[0]),
        ("random", at_random),
    ];
    let vectors = generated(1200, 6);
    for (name, kernel) in kernels {
        let graph = Hnsw::builder_with(6, Kernel(kernel)).m(4).ef_construction(40).build().unwrap();
        let flat = Flat::builder_with(6, Kernel(kernel)).build().unwrap();
        let indexes: [&dyn Index; 2] = [&graph, &flat];
        for index in indexes {
            index.insert_batch(&keys(1000), &&vectors[..6000]).threads(2).run().unwrap();
            for key in (0..1000).step_by(3) {
                assert_eq!(index.remove(key), Ok(true), "{name}");
            }
            for key in 0..200 {
                let vector = &vectors[(1000 + key) * 6..][..6];
                index.upsert(key as u64, &vector).unwrap();
            }
            let query = &vectors[..6];
            for k in [1, 10, 2000] {
                let hits = index.search(&query).k(k).ef(20).run().unwrap();
                assert!(hits.len() <= k && !hits.is_empty(), "{name}");
                // The documented order, with NaN last.
                let order = |a: f32, b: f32| a <= b || b.is_nan();
                assert!(hits.is_sorted_by(|a, b| order(a.distance, b.distance)), "{name}");
                assert!(hits.iter().all(|hit| hit.distance.to_bits() != (-0.0_f32).to_bits()));
            }
            assert_eq!(index.search(&query).k(5000).run().unwrap().len(), index.len(), "{name}");
            let even = index.search(&query).filter(|key| key % 2 == 0).k(5).run().unwrap();
            assert_eq!(even.len(), 5, "{name}");
            let near = index.search(&query).within(1.0).run().unwrap();
            assert!(near.iter().all(|hit| hit.distance <= 1.0), "{name}");
            let far = index.search(&query).within(f32::INFINITY).run().unwrap();
            assert!(far.iter().all(|hit| !hit.distance.is_nan()), "{name}");
            let all: Vec<_> = index.search(&query).iter().unwrap().map(|hit| hit.key).collect();
            assert!(all.len() <= index.len());
            index.search_batch(&&vectors[..600]).k(3).run().unwrap();
        }
        assert_eq!(flat.search(&vectors[..6]).iter().unwrap().count(), flat.len(), "{name}");
        let report = graph.check();
        assert!(report.is_ok(), "{name}: {report}");
        graph.calibrate().k(5).sample(20).run().unwrap();
        graph.maintain(std::time::Duration::from_mins(1));
        assert!(graph.check().is_ok(), "{name}");
        let bitwise = Hnsw::builder_with(6, Kernel(kernel)).build().unwrap();
        bitwise.insert_batch(&keys(1200), &vectors).run_in_order().unwrap();
        assert!(bitwise.check().is_ok() && bitwise.len() == 1200, "{name}");
        assert_eq!(graph.metric_panics() + flat.metric_panics() + bitwise.metric_panics(), 0);
    }
}

/// The first component of a vector for which the kernel panics.
const BAD: f32 = 1313.0;

fn panicking(a: &[f32], b: &[f32]) -> f32 {
    assert!(a[0] != BAD && b[0] != BAD, "not this one");
    manhattan(a, b)
}

#[track_caller]
fn assert_panicked<T: std::fmt::Debug>(result: Result<T, IndexError>) {
    let expected = IndexError::MetricPanicked {
        metric: "kernel".to_owned(),
        message: "not this one".to_owned(),
    };
    assert_eq!(result.unwrap_err(), expected);
    let text = expected.to_string();
    assert!(text.contains("\"kernel\" panicked: not this one"), "{text}");
}

#[test]
fn a_panic_is_an_error_and_leaves_the_index_as_it_was() {
    let vectors = generated(600, 4);
    let index = Hnsw::builder_with(4, Kernel(panicking)).m(4).build().unwrap();
    index.insert_batch(&keys(600), &vectors).run().unwrap();
    let bad = [BAD, 0.0, 0.0, 0.0];
    let sound = |len: usize| {
        let report = index.check();
        assert!(report.is_ok(), "{report}");
        assert_eq!(index.len(), len);
        for (key, vector) in vectors.chunks(4).enumerate().skip(100).step_by(11) {
            let hits = index.search(vector).k(1).ef(100).run().unwrap();
            assert_eq!(hits[0].key, key as u64);
        }
    };
    sound(600);

    assert_panicked(index.insert(1000, &bad));
    assert!(!index.contains(1000));
    sound(600);
    assert_panicked(index.upsert(1000, &bad));
    assert!(!index.contains(1000));
    assert_panicked(index.upsert(5, &bad));
    assert_eq!(index.get(5).unwrap(), vectors[20..24]);
    sound(600);
    // A batch has inserted a part.
    let batch = [&vectors[..4], &bad[..], &vectors[4..8]].concat();
    assert_panicked(index.insert_batch(&[2000, 2001, 2002], &batch).threads(1).run());
    assert!(!index.contains(2001));
    let len = index.len();
    sound(len);

    assert_panicked(index.search(&bad).run());
    assert_panicked(index.search(&bad).filter(|key| key % 2 == 0).run());
    assert_panicked(index.search(&bad).within(3.0).run());
    assert_panicked(index.search_batch(&[&vectors[..4], &bad].concat()).run());
    let mut hits = index.search(&vectors[..4]).run().unwrap();
    assert_panicked(index.search(&bad).run_into(&mut hits));
    assert!(hits.is_empty() && !hits.is_complete());
    let mut iter = index.search(&bad).iter().unwrap();
    assert!(iter.next().is_none() && iter.next().is_none() && !iter.is_complete());
    assert_panicked(Shards::new([&index]).unwrap().search(&bad).run());
    assert_panicked(Shards::new([&index]).unwrap().search_batch(&bad).run());
    assert_panicked(index.calibrate().queries(&bad).k(5).run());
    assert!(index.stats().calibration.is_none());
    sound(len);
    let panics = index.metric_panics();
    assert!(panics > 100, "{panics}");
    for key in 0..100 {
        index.remove(key).unwrap();
    }
    sound(len - 100);
    assert_eq!(index.metric_panics(), panics);
}

#[test]
fn a_vector_that_makes_the_kernel_panic_can_be_removed() {
    let vectors = generated(300, 4);
    // An exact index compares nothing when it takes a vector.
    let flat = Flat::builder_with(4, Kernel(panicking)).build().unwrap();
    flat.insert_batch(&keys(300), &vectors).run().unwrap();
    flat.insert(1000, &[BAD, 0.0, 0.0, 0.0]).unwrap();
    assert_panicked(flat.search(&vectors[..4]).run());
    assert_panicked(flat.search_batch(&vectors).run());
    assert_eq!(flat.remove(1000), Ok(true));
    assert_eq!(flat.search(&vectors[..4]).run().unwrap()[0].key, 0);
    assert_eq!(flat.search_batch(&vectors).k(1).run().unwrap().len(), 300);

    // So does a graph with its first vector, and one that is built in order.
    let graph = Hnsw::builder_with(4, Kernel(panicking)).m(4).build().unwrap();
    graph.insert(1000, &[BAD, 0.0, 0.0, 0.0]).unwrap();
    assert_panicked(graph.insert(1, &vectors[..4]));
    assert_eq!((graph.remove(1000), graph.len()), (Ok(true), 0));
    let bad = [&vectors[..800], &[BAD, 0.0, 0.0, 0.0], &vectors[800..]].concat();
    let batch = graph.insert_batch(&(0..301).collect::<Vec<_>>(), &bad).run_in_order();
    assert_panicked(batch);
    assert_eq!(graph.len(), 301);
    let report = graph.check();
    assert!(report.is_ok(), "{report}");
    assert_eq!(graph.remove(200), Ok(true));
    let report = graph.check();
    assert!(report.is_ok(), "{report}");
    assert!(graph.search(&vectors[..4]).k(1).run().is_ok());
}

trait InOrder {
    fn run_in_order(self) -> Result<(), IndexError>;
}

impl InOrder for nearfield::InsertBatch<'_> {
    fn run_in_order(self) -> Result<(), IndexError> {
        self.determinism(Determinism::Bitwise).threads(2).run()
    }
}

#[test]
fn threads_that_panic_beside_others_leave_the_index_sound() {
    let vectors = generated(4000, 4);
    let index = Hnsw::builder_with(4, Kernel(panicking)).m(4).build().unwrap();
    index.insert_batch(&keys(1000), &vectors[..4000]).run().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (index, vectors) = (&index, &vectors);
            scope.spawn(move || {
                let mut random = SmallRng::seed_from_u64(thread);
                for turn in 0..1500 {
                    let at = random.random_range(0..1000);
                    let key = 10_000 * (thread + 1) + random.random_range(0..300);
                    let mut vector = vectors[at * 16..][..4].to_vec();
                    if turn % 50 == 0 {
                        vector[0] = BAD;
                    }
                    // Each thread has keys of its own: their vectors are those of its last success.
                    let before = index.get(key);
                    let is_bad = turn % 50 == 0;
                    match random.random_range(0..3) {
                        0 => {
                            let result = index.upsert(key, &vector);
                            assert!(result.is_err() || !is_bad);
                            let expected = if result.is_ok() { Some(vector) } else { before };
                            assert_eq!(index.get(key), expected);
                        }
                        1 => {
                            assert_eq!(index.remove(key), Ok(before.is_some()));
                            assert!(!index.contains(key));
                        }
                        _ => {
                            let result = index.search(&vector).run();
                            assert!(result.is_err() || !is_bad);
                        }
                    }
                }
            });
        }
    });
    let report = index.check();
    assert!(report.is_ok(), "{report}");
    index.maintain(std::time::Duration::from_mins(1));
    let report = index.check();
    assert!(report.is_ok(), "{report}");
    assert_eq!(index.search(&vectors[..4]).k(9000).run().unwrap().len(), index.len());
}

/// A payload that panics again when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("again");
    }
}

#[test]
fn any_payload_of_a_panic_is_an_error() {
    let bomb: Function = |_, _| std::panic::panic_any(Bomb);
    let number: Function = |_, _| std::panic::panic_any(7_u32);
    let text: Function = |a, _| panic!("at {}", a[0]);
    for (kernel, expected) in
        [(bomb, "a payload that is no text"), (number, "a payload that is no text"), (text, "at 2")]
    {
        let index = Flat::builder_with(1, Kernel(kernel)).build().unwrap();
        index.insert(1, &[1.0]).unwrap();
        match index.search(&[2.0]).run() {
            Err(IndexError::MetricPanicked { message, .. }) => assert_eq!(message, expected),
            other => panic!("{other:?}"),
        }
        assert_eq!(index.metric_panics(), 1);
    }
}

#[test]
fn a_kernel_may_search_another_index() {
    let inner = Flat::builder_with(2, Kernel(manhattan)).element(nearfield::Element::F16);
    let inner = inner.build().unwrap();
    inner.insert(1, &[0.0, 0.0]).unwrap();
    let through = move |a: &[f32], b: &[f32]| {
        manhattan(a, b) + inner.search(b).run().map_or(f32::NAN, |hits| hits[0].distance)
    };
    let outer = Flat::builder_with(2, Kernel(through)).element(nearfield::Element::F16);
    let outer = outer.build().unwrap();
    outer.insert_batch(&[1, 2], &[1.0, 1.0, 5.0, 0.0]).run().unwrap();
    let hits = outer.search(&[5.0, 0.0]).run().unwrap();
    assert_eq!(
        hits.iter().map(|hit| (hit.key, hit.distance)).collect::<Vec<_>>(),
        [(2, 5.0), (1, 7.0)]
    );
}

#[test]
fn an_index_that_was_read_undoes_an_insertion_that_panics() {
    let index = Hnsw::builder_with(2, Kernel(panicking)).build().unwrap();
    index.insert_batch(&[1, 2], &[0.0, 0.0, 1.0, 1.0]).run().unwrap();
    let folder = Folder::new("custom-panics");
    let path = folder.file("index.nf");
    index.save(&path).unwrap();
    for again in [
        Hnsw::from_bytes_with(&index.to_bytes().unwrap(), Kernel(panicking)).unwrap(),
        Hnsw::load_with(&path, Kernel(panicking)).unwrap(),
        Hnsw::open_with(&path, Kernel(panicking)).unwrap(),
    ] {
        assert_panicked(again.insert(3, &[BAD, 0.0]));
        assert_eq!((again.len(), again.contains(3)), (2, false));
        let report = again.check();
        assert!(report.is_ok(), "{report}");
    }
}
