//! A thread that would wait for itself is refused, in every call; other threads wait.

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nearfield::store::{Store, StoreError, StoreOptions};
use nearfield::{Collection, CollectionError};
use support::collections::{config, open, vector};
use support::files::Folder;

const DIMENSION: usize = 8;

/// Longer than a thread waits for a value that it took and may have handed to another thread.
const LONG: Duration = Duration::from_secs(1);

/// Runs `test` on its own thread, and fails if it does not end.
fn within_seconds(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let running = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match wait.recv_timeout(Duration::from_secs(30)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it waits for itself"),
        _ => running.join().unwrap(),
    }
}

fn is_deadlock<T>(result: Result<T, CollectionError>) -> bool {
    matches!(result.err(), Some(CollectionError::Store(StoreError::Deadlock)))
}

#[test]
fn every_operation_of_a_collection_that_waits_is_refused() {
    within_seconds(|| {
        let folder = Folder::new("self-waiting");
        let collection = open(&folder.file("c.nf"), config(DIMENSION));
        let mut tx = collection.begin_write().unwrap();
        tx.upsert(1, &vector(1, 0, DIMENSION)).unwrap();
        let start = Instant::now();
        assert!(is_deadlock(collection.begin_write()));
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
        assert!(is_deadlock(collection.stats()));
        assert!(is_deadlock(collection.check()));
        assert!(is_deadlock(collection.checkpoint()));
        assert!(is_deadlock(collection.compact()));
        assert!(is_deadlock(collection.preload()));
        assert!(is_deadlock(collection.clone().close()));
        assert!(is_deadlock(collection.task().check()));
        assert!(is_deadlock(collection.task().checkpoint()));
        assert!(is_deadlock(collection.task().compact()));
        assert!(is_deadlock(collection.task().preload()));
        // These calls wait for no writer.
        assert!(collection.try_begin_write().unwrap().is_none());
        collection.backup(folder.file("copy.nf")).unwrap();
        assert!(collection.snapshot().unwrap().is_empty());
        assert!(collection.search(&vector(1, 0, DIMENSION)).k(1).run().unwrap().is_empty());
        tx.commit().unwrap();
        assert_eq!(collection.stats().unwrap().commit, 1);
        collection.close().unwrap();
    });
}

#[test]
fn every_operation_of_a_store_that_waits_is_refused() {
    within_seconds(|| {
        let store = StoreOptions::new().open_in_memory().unwrap();
        let mut tx = store.begin_write().unwrap();
        tx.table::<u64>("numbers").unwrap().insert(1, b"one").unwrap();
        let deadlock = |error: Option<StoreError>| matches!(error, Some(StoreError::Deadlock));
        assert!(deadlock(store.begin_write().err()));
        assert!(deadlock(store.stats().err()));
        assert!(deadlock(store.check().err()));
        assert!(deadlock(store.checkpoint().err()));
        assert!(deadlock(store.compact().err()));
        assert!(deadlock(store.clone().close().err()));
        assert!(store.try_begin_write().unwrap().is_none());
        store.begin_read().unwrap();
        tx.commit().unwrap();
        store.check().unwrap();
    });
}

#[test]
fn the_last_handle_may_go_while_a_transaction_is_open() {
    within_seconds(|| {
        let folder = Folder::new("self-waiting-drop");
        let path = folder.file("c.nf");
        let collection = open(&path, config(DIMENSION));
        let mut tx = collection.begin_write().unwrap();
        tx.upsert(1, &vector(1, 0, DIMENSION)).unwrap();
        drop(collection);
        tx.commit().unwrap();
        assert_eq!(open(&path, config(DIMENSION)).len(), 1);

        let path = folder.file("store");
        let store = Store::open(&path).unwrap();
        let mut tx = store.begin_write().unwrap();
        tx.table::<u64>("numbers").unwrap().insert(1, b"one").unwrap();
        drop(store);
        tx.commit().unwrap();
        let store = Store::open(&path).unwrap();
        assert_eq!(store.begin_read().unwrap().table::<u64>("numbers").unwrap().len(), 1);
    });
}

#[test]
fn a_transaction_that_was_handed_on_is_waited_for() {
    within_seconds(|| {
        let folder = Folder::new("self-waiting-handed");
        let collection = open(&folder.file("c.nf"), config(DIMENSION));
        for round in 0..3 {
            let tx = collection.begin_write().unwrap();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let mut tx = tx;
                    // The transaction is used within the time of grace, and kept for longer.
                    thread::sleep(Duration::from_millis(50));
                    match round {
                        0 => tx.upsert(round, &vector(round, 0, DIMENSION)).unwrap(),
                        1 => assert!(tx.contains(0)),
                        _ => assert!(tx.name_or_insert("a name").unwrap() > 0),
                    }
                    thread::sleep(LONG);
                    tx.commit().unwrap();
                });
                match round {
                    0 => assert_eq!(collection.stats().unwrap().commit, 1),
                    1 => assert!(collection.check().unwrap().is_ok()),
                    _ => drop(collection.begin_write().unwrap()),
                }
            });
        }
        // A thread that ends a transaction of another thread is no holder any more.
        let tx = collection.begin_write().unwrap();
        thread::scope(|scope| scope.spawn(move || drop(tx)).join().unwrap());
        drop(collection.begin_write().unwrap());
        // A thread that works in a transaction of another thread is refused a second one.
        let tx = collection.begin_write().unwrap();
        let refused = thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut tx = tx;
                tx.upsert(9, &vector(9, 0, DIMENSION)).unwrap();
                (is_deadlock(collection.begin_write()), tx)
            });
            let (refused, tx) = other.join().unwrap();
            drop(tx);
            refused
        });
        assert!(refused);
        collection.close().unwrap();
    });
}

#[test]
fn the_store_s_transaction_may_be_handed_on_as_well() {
    within_seconds(|| {
        let store = StoreOptions::new().open_in_memory().unwrap();
        let tx = store.begin_write().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut tx = tx;
                thread::sleep(Duration::from_millis(50));
                tx.table::<u64>("numbers").unwrap().insert(1, b"one").unwrap();
                thread::sleep(LONG);
                tx.commit().unwrap();
            });
            assert_eq!(store.check().unwrap().entries, 1);
        });
    });
}

#[test]
fn callbacks_are_refused_at_once() {
    within_seconds(|| {
        let folder = Folder::new("self-waiting-callbacks");
        let collection = open(&folder.file("c.nf"), config(DIMENSION));
        let mut tx = collection.begin_write().unwrap();
        for key in 0..200 {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
        }
        tx.commit().unwrap();
        let other: &Collection = &collection;
        let called = std::sync::atomic::AtomicU32::new(0);
        let asks = |_, _| {
            let start = Instant::now();
            assert!(is_deadlock(other.begin_write()));
            assert!(is_deadlock(other.stats()));
            assert!(is_deadlock(other.checkpoint()));
            assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
            called.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        // The last call follows the end of the operation.
        let watched = |done, total| {
            if done < total {
                asks(done, total);
            }
        };
        let task = collection.task().progress(&watched);
        task.check().unwrap();
        task.preload().unwrap();
        task.compact().unwrap();
        assert!(called.into_inner() > 3);
        assert_eq!(collection.stats().unwrap().commit, 1);
    });
}
