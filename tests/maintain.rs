//! Maintenance: memory is freed once most vectors are removed, also beside searches and changes.

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearfield::{Flat, Hnsw, Metric, Originals, Quantization};
use support::data::{generated, keys_of as keys};

/// One test at a time, because searches of other tests delay the reclaiming of slots.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn memory_is_given_back_once_most_vectors_are_gone() {
    give_back(&[(Quantization::None, Originals::Kept), (Quantization::Sq4, Originals::Dropped)]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn memory_of_other_codes_is_given_back_once_most_vectors_are_gone() {
    give_back(&[
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Sq4, Originals::Sq8),
        (Quantization::Rabitq { bits: 4 }, Originals::Dropped),
    ]);
}

fn give_back(cases: &[(Quantization, Originals)]) {
    const COUNT: usize = 12_000;
    let _alone = ALONE.lock().unwrap();
    let vectors = generated(COUNT, 32);
    let row = |key: u64| &vectors[key as usize * 32..][..32];
    let keeps = |key: u64| key % 10 == 3;
    let flat = Flat::builder(32, Metric::L2).build().unwrap();
    flat.insert_batch(&keys(0..COUNT), &vectors).run().unwrap();
    let before = flat.stats().bytes;
    for key in (0..COUNT as u64).filter(|&key| !keeps(key)) {
        flat.remove(key).unwrap();
    }
    let done = flat.maintain(Duration::MAX);
    assert!(done.is_complete && done.moved > 900 && done.returned_bytes > 1 << 20, "{done}");
    let after = flat.stats().bytes;
    assert!(after.vectors * 8 < before.vectors, "{before:?} {after:?}");
    assert_eq!(flat.maintain(Duration::MAX).moved, 0);
    for key in (0..COUNT as u64).filter(|&key| keeps(key)) {
        assert_eq!(flat.get(key).unwrap(), row(key));
    }

    for &(quantization, originals) in cases {
        let builder = Hnsw::builder(32, Metric::L2).quantization(quantization);
        let index = builder.originals(originals).build().unwrap();
        index.insert_batch(&keys(0..COUNT), &vectors).run().unwrap();
        let known: Vec<Vec<f32>> = (0..COUNT as u64).map(|key| index.get(key).unwrap()).collect();
        let before = index.stats().bytes;
        for key in (0..COUNT as u64).filter(|&key| !keeps(key)) {
            index.remove(key).unwrap();
        }
        assert!(!index.maintain(Duration::ZERO).is_complete);
        let done = index.maintain(Duration::MAX);
        assert!(done.is_complete && done.moved > 900, "{done}");
        let after = index.stats().bytes;
        assert!(after.total() - after.scratch < (before.total() - before.scratch) / 4, "{after:?}");
        let again = index.maintain(Duration::MAX);
        assert!(again.is_complete && again.moved == 0, "{again}");
        let report = index.check();
        assert!(report.is_ok(), "{report}");
        assert_eq!(index.len(), COUNT / 10);
        for key in (0..COUNT as u64).filter(|&key| keeps(key)) {
            assert_eq!(index.get(key).unwrap(), known[key as usize]);
        }
        let mut found = 0;
        for key in (0..COUNT as u64).filter(|&key| keeps(key)) {
            let hits = index.search(row(key)).k(10).ef(64).run().unwrap();
            assert!(hits.len() == 10 && hits.keys().all(keeps));
            found += usize::from(hits.keys().any(|hit| hit == key));
        }
        assert!(found * 10 > COUNT / 10 * 9, "{found} find themselves");
        // Other vectors can be inserted into the vacant slots.
        for key in (0..COUNT as u64).filter(|&key| !keeps(key)) {
            index.insert(key, row(key)).unwrap();
        }
        assert_eq!((index.len(), index.stats().levels[0]), (COUNT, COUNT));
        let report = index.check();
        assert!(report.is_ok(), "{report}");
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn vectors_move_while_they_are_searched_and_replaced() {
    const COUNT: usize = 10_000;
    let _alone = ALONE.lock().unwrap();
    let vectors = generated(COUNT, 8);
    let row = |at: u64| &vectors[at as usize * 8..][..8];
    let index = Hnsw::builder(8, Metric::L2).build().unwrap();
    let flat = Flat::builder(8, Metric::L2).build().unwrap();
    index.insert_batch(&keys(0..COUNT), &vectors).run().unwrap();
    flat.insert_batch(&keys(0..COUNT), &vectors).run().unwrap();
    let last = COUNT as u64 - 1000;
    for key in 0..last {
        index.remove(key).unwrap();
        flat.remove(key).unwrap();
    }
    let over = AtomicBool::new(false);
    // Every other key gets another vector, in each round.
    let replacement = |key: u64, round: u64| (key * 7 + round * 13) % COUNT as u64;
    let (rounds, moved) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) || round == 0 {
                round += 1;
                for key in (last..COUNT as u64).step_by(2) {
                    assert!(index.upsert(key, row(replacement(key, round))).unwrap());
                    assert!(flat.upsert(key, row(replacement(key, round))).unwrap());
                }
            }
            round
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for key in (last + 1..COUNT as u64).step_by(2) {
                    for hits in [
                        index.search(row(key)).k(5).ef(32).run().unwrap(),
                        flat.search(row(key)).k(5).run().unwrap(),
                    ] {
                        assert!(hits.len() == 5 && hits.keys().all(|key| key >= last), "{hits:?}");
                        let mut keys: Vec<u64> = hits.keys().collect();
                        keys.sort_unstable();
                        keys.dedup();
                        assert_eq!(keys.len(), 5);
                    }
                }
            }
        });
        let done =
            (index.maintain(Duration::from_secs(20)), flat.maintain(Duration::from_secs(20)));
        over.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), (done.0.moved, done.1.moved))
    });
    // Searches may have delayed maintenance until now; none run from here on.
    let done = (index.maintain(Duration::MAX), flat.maintain(Duration::MAX));
    assert!(done.0.is_complete && done.1.is_complete);
    assert!(moved.0 + done.0.moved > 0 && moved.1 + done.1.moved > 0, "{moved:?} {done:?}");
    let report = index.check();
    assert!(report.is_ok(), "{report}");
    assert_eq!((index.len(), flat.len()), (1000, 1000));
    for key in last..COUNT as u64 {
        let at = if (key - last).is_multiple_of(2) { replacement(key, rounds) } else { key };
        assert_eq!(index.get(key).unwrap(), row(at));
        assert_eq!(flat.get(key).unwrap(), row(at));
    }
}
