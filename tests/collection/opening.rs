//! The time of opening is bounded: the contents of the file are copied, and few vectors are inserted again.
//!
//! Counts are asserted; times are printed, and asserted loosely if no other process needs the machine
//! (`NEARFIELD_TIMES=1 cargo test --release --test collection opening:: -- --nocapture`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use nearfield::store::{Durability, StoreOptions};
use nearfield::{Collection, CollectionBuilder, Hnsw, Metric, Originals, Quantization, Snapshot};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

/// The most operations that a default policy leaves to replay: 100 ms of at least 25 us each, and a commit.
const LIMIT: u64 = 4_100;

/// The most operations that are applied to a dropped snapshot; beyond them, a new one is made.
const FEW: u64 = 64;

/// Each key with the version of its vector and its payload.
type Model = BTreeMap<u64, (u64, Vec<u8>)>;

fn put(collection: &Collection, key: u64, version: u64, dimension: usize) {
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(key, &vector(key, version, dimension)).unwrap();
    tx.put_payload(key, &version.to_le_bytes()).unwrap();
    tx.set_durability(Durability::None);
    tx.commit().unwrap();
}

/// Makes sure that all commits before survive the end of the process.
fn flush(collection: &Collection) {
    let mut tx = collection.begin_write().unwrap();
    tx.set_durability(Durability::Eventual);
    tx.commit().unwrap();
}

/// Returns whether times are bounded, and the histories are as long as those of the bounds.
fn is_timed() -> bool {
    std::env::var_os("NEARFIELD_TIMES").is_some()
}

fn in_time(what: &str, took: Duration, limit: Duration) {
    println!("{what}: {took:.1?}");
    assert!(!is_timed() || took < limit, "{what} took {took:?}");
}

#[test]
fn a_hundred_thousand_small_commits_are_opened_in_an_instant() {
    const DIMENSION: usize = 4;
    let rows = if is_timed() { 100_000 } else { 12_000 };
    let folder = Folder::new("opening");
    let path = folder.file("c.nf");
    let collection = open(&path, Collection::builder(DIMENSION, Metric::L2));
    for key in 0..rows {
        put(&collection, key, 0, DIMENSION);
    }
    flush(&collection);
    let stats = collection.stats().unwrap();
    println!(
        "{} bytes of journal, {} of deltas, {} checkpoints, {} operations pending",
        stats.journal_bytes, stats.delta_bytes, stats.checkpoints, stats.pending_operations
    );
    assert!(stats.pending_operations < LIMIT);

    let start = Instant::now();
    let snapshot = collection.snapshot().unwrap();
    in_time("own snapshot", start.elapsed(), Duration::from_millis(200));
    assert_eq!((snapshot.recovery().operations, snapshot.number()), (0, rows));
    assert_eq!(snapshot.len() as u64, rows);

    // Another process opens the file before any clean-up.
    let start = Instant::now();
    let reader = Collection::open_read_only(&path).unwrap();
    in_time("open_read_only", start.elapsed(), Duration::from_millis(400));
    let seen = reader.snapshot().unwrap();
    assert_eq!((seen.number(), seen.len() as u64), (rows, rows));
    assert!(seen.recovery().operations < LIMIT, "{:?}", seen.recovery());
    in_time("first snapshot", seen.recovery().total, Duration::from_millis(400));
    for key in (0..rows).step_by(97) {
        assert_eq!(seen.get(key), Some(vector(key, 0, DIMENSION)));
        assert_eq!(snapshot.get(key), seen.get(key));
    }
    drop((snapshot, seen, reader, collection));

    let collection = open(&path, Collection::builder(DIMENSION, Metric::L2));
    let recovery = collection.recovery();
    println!("{recovery:?}");
    assert!(recovery.operations < LIMIT, "{recovery:?}");
    in_time("open", recovery.total, Duration::from_millis(400));
    assert_eq!(collection.len() as u64, rows);
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    let mut missed = 0;
    for key in 0..rows {
        let own = vector(key, 0, DIMENSION);
        assert_eq!(collection.get(key).as_ref(), Some(&own));
        if key % 17 == 0 {
            let hits = collection.search(&own).k(1).ef(32).run().unwrap();
            missed += u64::from(hits[0].distance != 0.0);
        }
    }
    assert!(missed * 17 * 100 <= rows, "{missed} are not found");
}

/// Returns the answers of a search, to the last bit.
fn answers(search: impl Fn(&[f32]) -> Vec<(u64, u32)>, dimension: usize) -> Vec<Vec<(u64, u32)>> {
    (0..40).map(|key| search(&vector(key * 31, 9, dimension))).collect()
}

fn of_index(index: &Hnsw, dimension: usize) -> Vec<Vec<(u64, u32)>> {
    let search = |query: &[f32]| {
        let hits = index.search(query).k(10).ef(40).run().unwrap();
        hits.iter().map(|hit| (hit.key, hit.distance.to_bits())).collect()
    };
    answers(search, dimension)
}

fn of_snapshot(snapshot: &Snapshot, dimension: usize) -> Vec<Vec<(u64, u32)>> {
    let search = |query: &[f32]| {
        let hits = snapshot.search(query).k(10).ef(40).run().unwrap();
        hits.iter().map(|hit| (hit.key, hit.distance.to_bits())).collect()
    };
    answers(search, dimension)
}

fn of_collection(collection: &Collection, dimension: usize) -> Vec<Vec<(u64, u32)>> {
    let search = |query: &[f32]| {
        let hits = collection.search(query).k(10).ef(40).run().unwrap();
        hits.iter().map(|hit| (hit.key, hit.distance.to_bits())).collect()
    };
    answers(search, dimension)
}

/// Changes some keys. Returns the number of the commit.
fn change(
    random: &mut Xoshiro256PlusPlus,
    collection: &Collection,
    model: &mut Model,
    version: u64,
    (keys, dimension): (u64, usize),
) -> u64 {
    let mut tx = collection.begin_write().unwrap();
    tx.set_durability(Durability::Eventual);
    for _ in 0..random.random_range(1..12) {
        let key = random.random_range(0..keys);
        if random.random_range(0..4) == 0 {
            assert_eq!(tx.remove(key).unwrap(), model.remove(&key).is_some());
            continue;
        }
        let payload = vec![version as u8; random.random_range(0..30)];
        tx.upsert(key, &vector(key, version, dimension)).unwrap();
        tx.put_payload(key, &payload).unwrap();
        model.insert(key, (version, payload));
    }
    tx.commit().unwrap()
}

/// Compares a snapshot with the model of its commit. Rounded vectors are not compared.
fn compare(snapshot: &Snapshot, model: &Model, (keys, dimension): (u64, usize), is_exact: bool) {
    assert_eq!(snapshot.len(), model.len());
    for key in 0..keys {
        let found = model.get(&key);
        assert_eq!(snapshot.contains(key), found.is_some());
        assert_eq!(snapshot.payload(key).unwrap(), found.map(|(_, payload)| &payload[..]));
        if let Some((version, _)) = found.filter(|_| is_exact) {
            assert_eq!(snapshot.get(key), Some(vector(key, *version, dimension)));
        }
    }
}

/// Files with deltas answer as the index in memory does, to the last bit, however they are opened.
fn histories(name: &str, settings: &dyn Fn() -> CollectionBuilder, start: u64, dimension: usize) {
    let folder = Folder::new(name);
    let path = folder.file("c.nf");
    let keys = start.max(300) + 50;
    let scale = (keys, dimension);
    let is_exact = name.ends_with("exact");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(start);
    let mut model = Model::new();
    let mut collection = open(&path, settings());
    let many: Vec<u64> = (0..start).collect();
    let vectors: Vec<f32> = many.iter().flat_map(|&key| vector(key, 0, dimension)).collect();
    let mut tx = collection.begin_write().unwrap();
    tx.upsert_batch(&many, &vectors).unwrap();
    tx.commit().unwrap();
    model.extend(many.iter().map(|&key| (key, (0, Vec::new()))));
    for key in 0..start {
        // The model has an empty payload for each key.
        model.insert(key, (0, Vec::new()));
    }
    let mut tx = collection.begin_write().unwrap();
    for key in 0..start {
        tx.put_payload(key, &[]).unwrap();
    }
    tx.commit().unwrap();
    let (mut deltas, mut replayed, mut anew) = (0, 0, 0);
    let mut held = Vec::new();
    for version in 1..160 {
        let commit = change(&mut random, &collection, &mut model, version, scale);
        let stats = collection.stats().unwrap();
        deltas += u64::from(stats.delta_bytes > 0);
        if version % 8 == 0 {
            let own = collection.snapshot().unwrap();
            assert_eq!(own.number(), commit);
            assert!(own.recovery().operations <= FEW);
            compare(&own, &model, scale, is_exact);
            let live = of_collection(&collection, dimension);
            if own.recovery().operations == 0 {
                anew += 1;
                assert_eq!(of_snapshot(&own, dimension), live);
            }
            // The snapshot is held, so that the next one cannot reuse it.
            held.push(own);
            if stats.pending_operations == 0 {
                let index = Hnsw::open(&path).unwrap();
                assert_eq!(of_index(&index, dimension), live);
                let index = Hnsw::load(&path).unwrap();
                assert_eq!(of_index(&index, dimension), live);
            }
        }
        if version % 20 == 0 {
            let report = collection.check().unwrap();
            assert!(report.is_ok(), "{report}");
            let live = of_collection(&collection, dimension);
            held.clear();
            drop(collection);
            collection = open(&path, settings());
            let recovery = collection.recovery();
            assert_eq!(recovery.operations, stats.pending_operations);
            replayed += recovery.operations;
            if recovery.operations == 0 {
                assert_eq!(of_collection(&collection, dimension), live);
            }
            let report = collection.check().unwrap();
            assert!(report.is_ok(), "{report}");
            let snapshot = collection.snapshot().unwrap();
            assert_eq!(snapshot.number(), commit);
            compare(&snapshot, &model, scale, is_exact);
        }
        if version % 50 == 0 {
            let copy = folder.file("copy.nf");
            collection.backup(&copy).unwrap();
            let pending = collection.stats().unwrap().pending_operations;
            let copied = open(&copy, settings());
            assert_eq!(copied.recovery().operations, pending);
            compare(&copied.snapshot().unwrap(), &model, scale, is_exact);
            let report = copied.check().unwrap();
            assert!(report.is_ok(), "{report}");
        }
        if version == 100 {
            collection.compact().unwrap();
        }
    }
    println!("{name}: deltas were there after {deltas} commits, {replayed} operations replayed");
    assert!(deltas > 100, "deltas were there after {deltas} commits");
    assert!(anew > 5, "{anew} snapshots were made anew");
}

fn often() -> CollectionBuilder {
    config(6).m(6).ef_construction(40).checkpoint_after(1 << 20).replay_limit(Duration::ZERO)
}

#[test]
fn vectors_come_back_from_deltas() {
    histories("opening-exact", &often, 0, 6);
}

#[test]
fn some_commits_are_replayed_behind_deltas() {
    // An operation counts for at least 25 us, so one in several commits writes a delta.
    let some = || often().replay_limit(Duration::from_micros(400));
    histories("opening-some-exact", &some, 200, 6);
}

#[test]
fn codes_come_back_from_deltas() {
    let coded = || {
        let config =
            Collection::builder(32, Metric::Cosine).log_size(1 << 20).m(6).ef_construction(30);
        config.replay_limit(Duration::ZERO)
    };
    histories("opening-sq4", &|| coded().quantization(Quantization::Sq4), 4_200, 32);
    let rounded = || coded().quantization(Quantization::Rabitq { bits: 2 });
    histories("opening-sq8", &|| rounded().originals(Originals::Sq8), 4_200, 32);
    // Codes begin in the middle of the history.
    let dropped = || coded().quantization(Quantization::Sq8).originals(Originals::Dropped);
    histories("opening-dropped", &dropped, 4_000, 32);
}

#[test]
fn snapshots_beside_commits_show_one_commit() {
    const KEYS: u64 = 40;
    const DIMENSION: usize = 6;
    let folder = Folder::new("opening-beside");
    let collection = open(&folder.file("c.nf"), often().replay_limit(Duration::from_millis(2)));
    let commits = if is_timed() { 2_000 } else { 400 };
    let done = AtomicBool::new(false);
    let looking = AtomicU64::new(0);
    // Commit `n` sets key `n % KEYS` to version `n`, and so the payload.
    std::thread::scope(|scope| {
        let look = || {
            scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Acquire) {
                    let snapshot = collection.snapshot().unwrap();
                    let newest = snapshot.number();
                    assert!(snapshot.recovery().operations <= FEW);
                    assert_eq!(snapshot.len() as u64, newest.min(KEYS));
                    for version in newest.saturating_sub(KEYS - 1).max(1)..=newest {
                        let key = version % KEYS;
                        let wanted = vector(key, version, DIMENSION);
                        assert_eq!(snapshot.get(key).as_ref(), Some(&wanted), "{version} {newest}");
                        let payload = snapshot.payload(key).unwrap();
                        assert_eq!(payload, Some(&version.to_le_bytes()[..]));
                        if version % 8 == 0 {
                            let hits = snapshot.search(&wanted).k(1).ef(60).run().unwrap();
                            assert_eq!((hits[0].key, hits[0].distance), (key, 0.0));
                        }
                    }
                    looks += 1;
                    if looks == 1 {
                        looking.fetch_add(1, Ordering::Release);
                    }
                }
                assert!(looks > 0);
            })
        };
        let readers = [look(), look()];
        for version in 1..=commits {
            put(&collection, version % KEYS, version, DIMENSION);
            // On a busy machine, all commits may be made before a reader begins.
            while version == commits / 2
                && looking.load(Ordering::Acquire) < 2
                && !readers.iter().any(ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn a_snapshot_is_had_while_a_checkpoint_is_made() {
    let folder = Folder::new("opening-callback");
    let collection = open(&folder.file("c.nf"), often().replay_limit(Duration::from_secs(9)));
    let looks = AtomicU64::new(0);
    let look = |count: u64| {
        let snapshot = collection.snapshot().unwrap();
        assert_eq!((snapshot.number(), snapshot.len() as u64), (count, count));
        assert_eq!(snapshot.get(count - 1), Some(vector(count - 1, 0, 6)));
        looks.fetch_add(1, Ordering::Relaxed);
    };
    for count in 1..=300 {
        put(&collection, count - 1, 0, 6);
        if count % 100 == 0 {
            collection.task().progress(&|_, _| look(count)).checkpoint().unwrap();
            collection.task().progress(&|_, _| look(count)).check().unwrap();
            collection.task().progress(&|_, _| look(count)).compact().unwrap();
        }
    }
    assert!(looks.load(Ordering::Relaxed) > 9);
    // No snapshot holds the index still any more.
    put(&collection, 300, 0, 6);
    let (first, second) = (collection.snapshot().unwrap(), collection.snapshot().unwrap());
    assert_eq!((first.number(), second.number()), (301, 301));
    (301..400).for_each(|key| put(&collection, key, 0, 6));
    let third = collection.snapshot().unwrap();
    assert_eq!((third.number(), third.recovery().operations), (400, 0));
}

/// Changes the first delta of a file.
fn spoil(path: &Path, spoil: impl FnOnce(&mut Vec<u8>)) {
    let store = StoreOptions::new().open(path).unwrap();
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<u64>("deltas").unwrap();
    let mut bytes = table.get(0).unwrap().unwrap().to_vec();
    spoil(&mut bytes);
    table.insert(0, &bytes).unwrap();
    tx.commit().unwrap();
}

#[test]
fn deltas_of_another_checkpoint_are_left_aside() {
    let folder = Folder::new("opening-stale");
    let path = folder.file("c.nf");
    let collection = open(&path, often());
    let mut model = Model::new();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    for version in 1..20 {
        change(&mut random, &collection, &mut model, version, (60, 6));
    }
    collection.checkpoint().unwrap();
    change(&mut random, &collection, &mut model, 20, (60, 6));
    assert!(collection.stats().unwrap().delta_bytes > 0);
    drop(collection);
    // An older version of the crate leaves such a file: it makes checkpoints and ignores deltas.
    spoil(&path, |delta| delta[..8].copy_from_slice(&7_u64.to_le_bytes()));
    let collection = open(&path, often());
    assert!(collection.recovery().operations > 0);
    compare(&collection.snapshot().unwrap(), &model, (60, 6), true);
    // The next commit removes the deltas or adds to them; both leave a sound file.
    change(&mut random, &collection, &mut model, 21, (60, 6));
    drop(collection);
    let collection = open(&path, often());
    assert_eq!(collection.recovery().operations, 0);
    compare(&collection.snapshot().unwrap(), &model, (60, 6), true);
    assert!(collection.check().unwrap().is_ok());
}
