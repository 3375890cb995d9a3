//! No operation waits long when codes are made: searches and insertions run through training and encoding.
//!
//! A separate file, because test files run one after the other: the holder of a lock here shares the CPUs with no other test.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearfield::dataset::{Generated, GroundTruth, recall};
use nearfield::{Flat, Hnsw, Metric, Originals, Quantization};

/// Returns the time that an operation held its thread up: time on the clock, without the time in which the
/// machine ran something else while the thread was runnable.
fn pause<T>(operation: impl FnOnce() -> T) -> (T, Duration) {
    let waited = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        stat.split(' ')
            .nth(1)
            .and_then(|ns| ns.parse().ok())
            .map_or(Duration::ZERO, Duration::from_nanos)
    };
    let (before, start) = (waited(), Instant::now());
    let result = operation();
    let elapsed = start.elapsed();
    (result, elapsed.saturating_sub(waited().saturating_sub(before)))
}

#[test]
fn codes_come_while_vectors_are_inserted_and_searched() {
    const COUNT: usize = 5500;
    let set = Generated::builder(COUNT, 128).queries(200).seed(3).build().unwrap();
    let (base, queries) = (set.base().to_f32().unwrap(), set.queries().to_f32().unwrap());
    let exact = Flat::builder(128, Metric::L2).build().unwrap();
    exact.insert_batch(&(0..COUNT as u64).collect::<Vec<_>>(), &base).run().unwrap();
    let truth = exact.search_batch(&queries).k(10).run().unwrap();
    let truth = truth.iter().flatten().map(|hit| u32::try_from(hit.key).unwrap()).collect();
    let truth = GroundTruth::from_parts(10, truth, None).unwrap();
    for (quantization, originals) in [
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Sq4, Originals::Dropped),
        (Quantization::Rabitq { bits: 4 }, Originals::Kept),
    ] {
        let longest = || {
            let builder = Hnsw::builder(128, Metric::L2).quantization(quantization);
            let index = builder.originals(originals).build().unwrap();
            let done = AtomicBool::new(false);
            let longest = std::thread::scope(|scope| {
                let searcher = scope.spawn(|| {
                    let mut longest = Duration::ZERO;
                    while !done.load(Ordering::Relaxed) {
                        for query in queries.chunks_exact(128) {
                            let known = index.len().min(10);
                            let (hits, pause) = pause(|| index.search(query).k(10).run().unwrap());
                            longest = longest.max(pause);
                            assert!(hits.len() >= known);
                        }
                    }
                    longest
                });
                let mut longest = Duration::ZERO;
                for (key, vector) in (0..).zip(base.chunks_exact(128)) {
                    let ((), pause) = pause(|| index.insert(key, vector).unwrap());
                    longest = longest.max(pause);
                }
                done.store(true, Ordering::Relaxed);
                longest.max(searcher.join().unwrap())
            });
            let stats = index.stats();
            assert_eq!(stats.code_bits, Some(4));
            let blocks = if quantization == Quantization::Sq4 { 1 } else { 2 };
            assert_eq!(stats.bytes.codes / 64, COUNT * blocks);
            assert!(index.check().is_ok());
            let least = if originals == Originals::Kept { 0.97 } else { 0.7 };
            let found = index.search_batch(&queries).k(10).ef(128).run().unwrap();
            let found = found.iter().map(|hits| hits.iter().map(|hit| hit.key));
            let found = recall(found, &truth, 10).unwrap();
            assert!(found > least, "{originals:?}: {found}");
            longest
        };
        // A waiter for a lock waits longer if another process took the CPU from the holder, and `pause` does not see a machine that takes the CPU
        // from all threads.
        let mut best = Duration::MAX;
        for _ in 0..20 {
            best = best.min(longest());
            if best < Duration::from_millis(5) {
                break;
            }
        }
        assert!(
            best < Duration::from_millis(5),
            "{quantization:?}, {originals:?}: an operation took {best:?} at best"
        );
    }
}
