//! Maintenance that is watched and ended at every step: no data is lost, and reports are true.

use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield::collection::MaintenanceTask;
use nearfield::store::{StoreError, StoreOptions};
use nearfield::{CancelToken, Collection, CollectionError};
use parking_lot::Mutex;

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 16;
const KEYS: u64 = 600;

/// Returns a collection with gaps in its file, payloads and a journal.
fn collection(folder: &Folder) -> Collection {
    let collection = open(&folder.file("c.nf"), config(DIMENSION).m(6).ef_construction(40));
    for version in 0..3 {
        let mut tx = collection.begin_write().unwrap();
        for key in 0..KEYS {
            tx.upsert(key, &vector(key, version, DIMENSION)).unwrap();
            tx.put_payload(key, &vec![key as u8; 300]).unwrap();
        }
        tx.commit().unwrap();
        if version < 2 {
            collection.checkpoint().unwrap();
        }
    }
    collection
}

fn verify(collection: &Collection) {
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(collection.len() as u64, KEYS);
    for key in (0..KEYS).step_by(7) {
        assert_eq!(collection.get(key), Some(vector(key, 2, DIMENSION)));
        assert_eq!(collection.payload(key).unwrap(), Some(vec![key as u8; 300]));
    }
}

/// The reports of an operation rise to its total, and it may be ended at each report. Returns the steps.
fn at_every_step(
    collection: &Collection,
    prepare: impl Fn(),
    operation: impl Fn(MaintenanceTask<'_>) -> Result<(), CollectionError>,
) -> usize {
    prepare();
    let told = Mutex::new(Vec::new());
    let note = |done, total| told.lock().push((done, total));
    operation(collection.task().progress(&note)).unwrap();
    let told = told.into_inner();
    assert!(told.is_sorted(), "{told:?}");
    assert!(told.iter().all(|(done, total)| done <= total), "{told:?}");
    let &(done, total) = told.last().unwrap();
    assert!(done == total && done > 0, "{told:?}");

    for step in (0..told.len()).step_by((told.len() / 8).max(1)) {
        prepare();
        let (cancel, steps) = (CancelToken::new(), AtomicUsize::new(0));
        let count = |_, _| {
            if steps.fetch_add(1, Ordering::Relaxed) == step {
                cancel.cancel();
            }
        };
        let result = operation(collection.task().progress(&count).cancel(&cancel));
        // The last report follows everything that can be ended.
        let is_last = steps.into_inner() <= step + 1;
        assert!(
            matches!(result, Err(CollectionError::Cancelled)) || (is_last && result.is_ok()),
            "step {step} of {}: {result:?}",
            told.len()
        );
        verify(collection);
    }
    told.len()
}

#[test]
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods are of one lifetime each"
)]
fn every_operation_can_be_watched_and_ended() {
    let folder = Folder::new("tasks");
    let collection = collection(&folder);
    verify(&collection);
    let change = || {
        let mut tx = collection.begin_write().unwrap();
        for key in 0..KEYS / 2 {
            tx.upsert(key, &vector(key, 2, DIMENSION)).unwrap();
        }
        tx.commit().unwrap();
    };
    let copy = folder.file("copy.nf");
    let steps = [
        at_every_step(&collection, change, |task| task.checkpoint()),
        at_every_step(&collection, change, |task| task.compact().map(drop)),
        at_every_step(&collection, || (), |task| task.check().map(drop)),
        at_every_step(&collection, || (), |task| task.backup(&copy)),
        at_every_step(&collection, || (), |task| task.preload()),
    ];
    assert!(steps.iter().all(|&steps| steps > 2), "{steps:?}");

    let cancel = CancelToken::new();
    cancel.cancel();
    let task = || collection.task().cancel(&cancel);
    assert!(matches!(task().checkpoint(), Err(CollectionError::Cancelled)));
    assert!(matches!(task().check(), Err(CollectionError::Cancelled)));
    // The complete copy is kept.
    verify(&open(&copy, config(DIMENSION)));
    assert!(matches!(task().backup(&copy), Err(CollectionError::Cancelled)));
    verify(&open(&copy, config(DIMENSION)));
    drop(collection);
    verify(&open(&folder.file("c.nf"), config(DIMENSION)));
}

#[test]
fn a_store_can_be_watched_too() {
    let store = StoreOptions::new().page_size(4096).log_size(64 << 10).open_in_memory().unwrap();
    for round in 0..4_u64 {
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<u64>("t").unwrap();
        for key in 0..500 {
            table.insert(key, &[round as u8; 200]).unwrap();
            table.remove((key + 1) * 2).unwrap();
        }
        tx.create_extent(100_000).unwrap();
        tx.commit().unwrap();
    }
    let seen = AtomicUsize::new(0);
    let count = |bytes| seen.fetch_add(bytes as usize, Ordering::Relaxed) < usize::MAX;
    let report = store.check_while(count).unwrap();
    assert!(seen.load(Ordering::Relaxed) >= 400_000);
    assert!(matches!(store.check_while(|_| false), Err(StoreError::Cancelled)));
    for steps in 0..40 {
        let left = AtomicUsize::new(steps);
        let go_on = |_| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        };
        let result = store.compact_while(go_on);
        assert!(matches!(result, Ok(_) | Err(StoreError::Cancelled)), "{result:?}");
        let found = store.check().unwrap();
        assert_eq!((found.entries, found.extents), (report.entries, report.extents));
    }
    store.begin_write().unwrap().commit().unwrap();
}
