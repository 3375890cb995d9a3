//! Extents that compaction moves while a snapshot reads them: the dropped snapshot goes on as the next one.

use std::ops::Range;
use std::path::Path;

use nearfield::{Collection, Metric, Snapshot};

const DIMENSION: usize = 32;
const ROWS: u64 = 3000;
/// Keys whose large payloads take the room in front of the vectors, and are removed.
const LOADED: Range<u64> = 0..40;

fn vector(key: u64, version: u64) -> Vec<f32> {
    crate::support::collections::vector(key, version, DIMENSION)
}

fn put(collection: &Collection, keys: Range<u64>, version: u64) {
    let mut tx = collection.begin_write().unwrap();
    for key in keys {
        tx.upsert(key, &vector(key, version)).unwrap();
        tx.put_payload(key, &[version as u8; 200]).unwrap();
    }
    tx.commit().unwrap();
}

fn put_payloads(collection: &Collection, payload: &[u8]) {
    let mut tx = collection.begin_write().unwrap();
    for key in LOADED {
        tx.put_payload(key, payload).unwrap();
    }
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
}

/// Returns the number of keys whose vector or payload is not that of `version`.
fn count_wrong(snapshot: &Snapshot, version: impl Fn(u64) -> u64) -> usize {
    let is_wrong = |&key: &u64| {
        let version = version(key);
        snapshot.get(key) != Some(vector(key, version))
            || snapshot.payload(key).unwrap() != Some(&[version as u8; 200][..])
    };
    (0..ROWS).filter(is_wrong).count()
}

/// Makes the file `path`, lets compaction move the extents of a snapshot of a reader, and returns the number of keys that the next
/// snapshot of the reader has wrong after 11 more commits.
pub(crate) fn wrong_after_moves(path: &Path) -> usize {
    let settings = Collection::builder(DIMENSION, Metric::L2).m(6).ef_construction(20);
    let collection = settings.create(path).unwrap();
    put(&collection, 0..ROWS, 0);
    collection.checkpoint().unwrap();
    put_payloads(&collection, &vec![1; 100_000]);
    put(&collection, LOADED.end..ROWS, 1);
    let mut tx = collection.begin_write().unwrap();
    for key in LOADED {
        tx.upsert(key, &vector(key, 1)).unwrap();
    }
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    put_payloads(&collection, &[1; 200]);
    let reader = Collection::open_read_only(path).unwrap();
    let first = reader.snapshot().unwrap();
    collection.compact().unwrap();
    drop(first);
    put(&collection, 0..10, 2);
    let second = reader.snapshot().unwrap();
    for round in 0..11 {
        let from = round * 900 % (ROWS - 899);
        put(&collection, from..from + 900, 7 + round);
        if round % 2 == 1 {
            collection.checkpoint().unwrap();
        }
    }
    count_wrong(&second, |key| if key < 10 { 2 } else { 1 })
}
