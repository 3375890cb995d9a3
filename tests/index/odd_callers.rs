//! Unusual callers: panics in their closures and iterators, many threads, maintenance from several at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearfield::dataset::Generated;
use nearfield::store::{SimulatedDisk, StoreError, StoreOptions};
use nearfield::{
    AsVector, Collection, CollectionError, Determinism, Flat, Hnsw, Ivf, Metric, Quantization,
    VectorRef,
};

use crate::support::files::Folder;

const DIMENSION: usize = 24;

fn vectors(count: usize) -> Vec<f32> {
    let data = Generated::builder(count, DIMENSION).queries(1).build().unwrap();
    match data.base().as_vector() {
        VectorRef::F32(floats) => floats.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Checks that vectors find themselves, except one in twenty, if a walk ends elsewhere. A larger `ef` would turn walks into scans.
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
        assert!(catch_unwind(batch).is_err());
        assert!(index.check().is_ok());
        // The inserted vectors are found, and the others can still be inserted.
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
fn a_panic_in_the_middle_of_any_batch_leaves_a_sound_index() {
    let vectors = vectors(3000);
    let keys: Vec<u64> = (0..3000).collect();
    let panics = |done: usize, _: usize| assert!(done < 1500, "enough");
    let refuses = |key: u64| assert!(!key.is_multiple_of(7), "no");
    // The same macro serves each kind of index, because their batches and searches share names but no trait.
    macro_rules! panic_within {
        ($index:expr, $threads:expr, $determinism:expr) => {
            let index = $index;
            let batch = || {
                let batch = index.insert_batch(&keys, &vectors).progress(&panics);
                batch.threads($threads).determinism($determinism).run()
            };
            assert!(catch_unwind(batch).is_err());
            let missing = keys.iter().copied().filter(|&key| !index.contains(key));
            for key in missing.collect::<Vec<_>>() {
                index.insert(key, &vectors[key as usize * DIMENSION..][..DIMENSION]).unwrap();
            }
            assert_eq!(index.len(), 3000);
            let queries = &vectors[..40 * DIMENSION];
            let accepts = |key: u64| {
                refuses(key);
                true
            };
            let search = || index.search_batch(queries).k(5).filter(&accepts).run().map(drop);
            assert!(catch_unwind(search).is_err());
            let hits = index.search_batch(queries).k(1).ef(200).run().unwrap();
            let own = hits.iter().zip(0..).filter(|(hits, key)| hits[0].key == *key).count();
            assert!(own >= 36, "{own} of 40 find themselves");
        };
    }
    for (threads, determinism) in
        [(1, Determinism::None), (3, Determinism::None), (3, Determinism::Bitwise)]
    {
        let l2 = Metric::L2;
        let codes = Hnsw::builder(DIMENSION, l2).quantization(Quantization::Sq4);
        panic_within!(Hnsw::builder(DIMENSION, l2).build().unwrap(), threads, determinism);
        panic_within!(codes.build().unwrap(), threads, determinism);
        panic_within!(Flat::builder(DIMENSION, l2).build().unwrap(), threads, determinism);
        let ivf = Ivf::builder(DIMENSION, l2).lists(20).nprobe(20).build().unwrap();
        panic_within!(ivf, threads, determinism);
    }
}

/// Returns the result of `f`, or fails if `f` waits for ever.
fn in_time<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(f()));
    result.recv_timeout(Duration::from_mins(2)).expect("it waits for ever, or has panicked")
}

#[test]
fn progress_that_panics_leaves_a_collection_that_can_be_written() {
    let folder = Folder::new("panics");
    let (path, copy) = (folder.file("whole.nf"), folder.file("copy.nf"));
    let vectors = vectors(2000);
    let collection = Collection::builder(DIMENSION, Metric::L2).open(&path).unwrap();
    let write = |keys: std::ops::Range<u64>| {
        let mut tx = collection.begin_write().unwrap();
        for key in keys {
            tx.upsert(key, &vectors[key as usize * DIMENSION..][..DIMENSION]).unwrap();
            tx.put_payload(key, &[7; 900]).unwrap();
        }
        tx.commit().unwrap();
    };
    write(0..1000);
    let mut written = 1000;
    let panics = |done: u64, _: u64| assert!(done == 0, "enough");
    for operation in 0..5 {
        let run = || {
            let task = collection.task().progress(&panics);
            match operation {
                0 => task.checkpoint(),
                1 => task.check().map(drop),
                2 => task.compact().map(drop),
                3 => task.preload(),
                _ => task.backup(&copy),
            }
        };
        assert!(catch_unwind(run).is_err(), "operation {operation} was silent");
        // The caller panics in the middle of a transaction, too.
        let abandoned = || {
            let mut tx = collection.begin_write().unwrap();
            tx.upsert(5000, &[0.0; DIMENSION]).unwrap();
            panic!("on the way");
        };
        let again = collection.clone();
        let begun = in_time(move || again.begin_write().map(drop));
        assert!(begun.is_ok(), "operation {operation}: {begun:?}");
        assert!(catch_unwind(abandoned).is_err());
        write(written..written + 200);
        written += 200;
        assert!(collection.check().unwrap().is_ok(), "after operation {operation}");
    }
    assert_eq!(collection.len(), 2000);
    assert!(!copy.exists());
    collection.close().unwrap();
    // No half-written copy is left.
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["whole.nf"]);
    let again = Collection::builder(DIMENSION, Metric::L2).open(&path).unwrap();
    assert!(again.check().unwrap().is_ok());
    assert_eq!(again.len(), 2000);
}

#[test]
fn callers_that_panic_leave_a_store_that_can_be_written() {
    let store = StoreOptions::new().open_simulated(&SimulatedDisk::new()).unwrap();
    let load = |table: &str, from: u64, panics_at: u64| {
        let mut tx = store.begin_write().unwrap();
        let values = (from..from + 5000).map(|key| {
            assert!(key != panics_at, "no more");
            (key, &[1; 100][..])
        });
        tx.table::<u64>(table).unwrap().bulk_load(values).unwrap();
        tx.commit().unwrap();
    };
    load("old", 0, u64::MAX);
    for round in 0..3 {
        // The load panics on an empty table, whose pages are written at once, and on one with entries.
        for table in ["new", "old"] {
            let broken = || load(table, 10_000, 13_000);
            assert!(catch_unwind(broken).is_err());
        }
        let stops = |done: u64| -> bool { panic!("after {done} bytes") };
        assert!(catch_unwind(|| store.check_while(stops)).is_err());
        assert!(catch_unwind(|| store.compact_while(stops)).is_err());
        let other = store.clone();
        in_time(move || other.begin_write().map(drop)).unwrap();
        load(&format!("round {round}"), 0, u64::MAX);
        store.compact().unwrap();
        store.check().unwrap();
    }
    // A caller that continues the transaction gets an error.
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<u64>("new").unwrap();
    let panics = (0..2000).map(|key| {
        assert!(key < 1000);
        (key, &[2; 500][..])
    });
    assert!(catch_unwind(AssertUnwindSafe(|| table.bulk_load(panics))).is_err());
    assert!(matches!(table.insert(1, b"x"), Err(StoreError::TransactionFailed)));
    assert!(matches!(tx.commit(), Err(StoreError::TransactionFailed)));
    let tx = store.begin_read().unwrap();
    assert_eq!(tx.tables().unwrap(), ["old", "round 0", "round 1", "round 2"]);
    assert_eq!(tx.table::<u64>("old").unwrap().len(), 5000);
    drop(tx);
    store.check().unwrap();
}

#[test]
fn callbacks_use_the_index_that_calls_them() {
    in_time(|| {
        let vectors = vectors(3000);
        let keys: Vec<u64> = (0..2000).collect();
        let first = &vectors[..2000 * DIMENSION];
        let vector = |key: u64| &vectors[key as usize * DIMENSION..][..DIMENSION];
        macro_rules! call_back {
            ($index:expr, $threads:expr, $determinism:expr) => {
                let index = $index;
                let more = AtomicU64::new(2000);
                let progress = |done: usize, _: usize| {
                    assert!(!index.search(vector(1)).k(3).run().unwrap().is_empty());
                    if done.is_multiple_of(2) {
                        let key = more.fetch_add(1, Ordering::Relaxed);
                        index.insert(key, vector(key)).unwrap();
                        assert!(index.upsert(key, vector(key)).unwrap());
                        assert!(!key.is_multiple_of(4) || index.remove(key).unwrap());
                    }
                };
                let batch = index.insert_batch(&keys, first).progress(&progress);
                batch.threads($threads).determinism($determinism).run().unwrap();
                assert_eq!((more.load(Ordering::Relaxed), index.len()), (3000, 2750));
                let accepts = |key: u64| {
                    let near = index.search(vector(key)).k(1).filter(|key| key != 7).run();
                    !near.unwrap().is_empty() && key.is_multiple_of(2)
                };
                let hits = index.search(vector(8)).k(20).filter(&accepts).run().unwrap();
                assert_eq!(hits.len(), 20);
            };
        }
        for (threads, determinism) in
            [(1, Determinism::None), (3, Determinism::None), (3, Determinism::Bitwise)]
        {
            call_back!(Hnsw::builder(DIMENSION, Metric::L2).build().unwrap(), threads, determinism);
            call_back!(Flat::builder(DIMENSION, Metric::L2).build().unwrap(), threads, determinism);
            let ivf = Ivf::builder(DIMENSION, Metric::L2).lists(20).nprobe(20).build().unwrap();
            call_back!(ivf, threads, determinism);
        }
    });
}

#[test]
fn callbacks_that_would_wait_for_themselves_are_told() {
    in_time(|| {
        let refused = |error: &StoreError| matches!(error, StoreError::Deadlock);
        let told =
            |error: CollectionError| matches!(error, CollectionError::Store(e) if refused(&e));
        let disk = SimulatedDisk::new();
        let config = Collection::builder(DIMENSION, Metric::L2);
        let collection = config.open_simulated(&disk).unwrap();
        let vectors = vectors(500);
        let mut tx = collection.begin_write().unwrap();
        for (key, vector) in (0..).zip(vectors.chunks(DIMENSION)) {
            tx.upsert(key, vector).unwrap();
        }
        tx.commit().unwrap();
        let calls = AtomicU64::new(0);
        let progress = |done: u64, total: u64| {
            // The last call follows the end of the operation.
            if done < total {
                assert!(told(collection.begin_write().err().unwrap()));
                assert!(told(collection.stats().unwrap_err()));
                assert!(told(collection.checkpoint().unwrap_err()));
                calls.fetch_add(1, Ordering::Relaxed);
            }
            assert_eq!(collection.search(&vectors[..DIMENSION]).k(1).run().unwrap()[0].key, 0);
            assert_eq!(collection.snapshot().unwrap().len(), 500);
        };
        let mut before = 0;
        for operation in 0..4 {
            let task = collection.task().progress(&progress);
            match operation {
                0 => task.checkpoint().unwrap(),
                1 => assert!(task.check().unwrap().is_ok()),
                2 => drop(task.compact().unwrap()),
                _ => task.preload().unwrap(),
            }
            let now = calls.load(Ordering::Relaxed);
            assert!(now > before, "nothing was called by operation {operation}");
            before = now;
            collection.begin_write().map(drop).unwrap();
        }

        let store = StoreOptions::new().open_simulated(&SimulatedDisk::new()).unwrap();
        let mut tx = store.begin_write().unwrap();
        let values = (0..5000_u64).map(|key| (key, &[1; 100][..]));
        tx.table::<u64>("table").unwrap().bulk_load(values).unwrap();
        tx.commit().unwrap();
        let asked = std::cell::Cell::new(0);
        let asks = |_: u64| {
            asked.set(asked.get() + 1);
            assert!(refused(&store.begin_write().err().unwrap()));
            assert!(refused(&store.stats().unwrap_err()));
            assert!(refused(&store.check().unwrap_err()));
            store.begin_read().unwrap().table::<u64>("table").unwrap().len() == 5000
        };
        store.check_while(asks).unwrap();
        let by_check = asked.replace(0);
        store.compact_while(asks).unwrap();
        assert!(by_check > 0 && asked.get() > 0);
        store.begin_write().map(drop).unwrap();
    });
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
        assert!(catch_unwind(search).is_err());
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
