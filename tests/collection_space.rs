//! Space of a collection: pages that a snapshot holds, in this process and in another, and file
//! length after compaction.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nearfield::{Collection, CollectionBuilder, Metric, Snapshot};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use support::collections::{config, open, vector};
use support::files::Folder;

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const FILE: &str = "NEARFIELD_TEST_FILE";
const DIMENSION: usize = 32;
const KEYS: u64 = 1000;
const PAGE: u64 = 4096;
/// Keys of the collections with pages and a log of the default size.
const ROWS: u64 = 3000;

fn settings() -> CollectionBuilder {
    config(DIMENSION).m(6).ef_construction(30).checkpoint_after(1 << 30)
}

fn payload(key: u64, version: u64) -> Vec<u8> {
    vec![
        (key + version) as u8;
        (key * 7 % 900) as usize + usize::from(key.is_multiple_of(50)) * 9000
    ]
}

/// Gives every key the vector and payload of this version.
fn overwrite(collection: &Collection, version: u64) {
    let mut tx = collection.begin_write().unwrap();
    for key in 0..KEYS {
        tx.upsert(key, &vector(key, version, DIMENSION)).unwrap();
        tx.put_payload(key, &payload(key, version)).unwrap();
    }
    tx.commit().unwrap();
}

/// Returns the number of keys of a snapshot that lack the vector or payload of this version.
fn wrong(snapshot: &Snapshot, version: u64) -> usize {
    let is_wrong = |&key: &u64| {
        snapshot.get(key) != Some(vector(key, version, DIMENSION))
            || snapshot.payload(key).unwrap() != Some(&payload(key, version)[..])
    };
    (0..KEYS).filter(is_wrong).count()
}

/// Returns the bytes of the file, and of log and pages in use.
fn sizes(collection: &Collection) -> (u64, u64) {
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    let store = collection.stats().unwrap().store;
    let pages = store.reserved_pages + report.store.used_pages;
    (store.file_bytes, pages * store.page_size as u64)
}

/// Returns the greatest length after a compaction: the live bytes and a twentieth, and the reserve; a short file reaches up to the far copies of its
/// meta slots.
fn most(live: u64) -> u64 {
    const FAR: u64 = (128 << 10) + (1 << 20) + PAGE;
    const RESERVE: u64 = 256 << 10;

    (live * 105 / 100).max(FAR) + RESERVE
}

/// A process that holds a snapshot of version 0 and verifies it on request.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: Box<dyn Iterator<Item = String>>,
}

impl Other {
    fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["role", "--exact", "--nocapture", "--test-threads", "1"])
            .env(ROLE, "reader")
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take();
        let mut other = Self { child, input, output: Box::new(lines.map_while(Result::ok)) };
        assert_eq!(other.answer(), 0);
        other
    }

    fn answer(&mut self) -> usize {
        let words = self.output.find_map(|line| line.split_once("wrong: ").map(|(_, n)| n.parse()));
        words.unwrap().unwrap()
    }

    fn wrong(&mut self) -> usize {
        writeln!(self.input.as_mut().unwrap()).unwrap();
        self.answer()
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// The body of the other process, not a test. Returns at once if the role is not set.
#[test]
fn role() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let path = PathBuf::from(std::env::var(FILE).unwrap());
    let snapshot = Collection::open_read_only(path).unwrap().snapshot().unwrap();
    println!("wrong: {}", wrong(&snapshot, 0));
    for _ in std::io::stdin().lines() {
        println!("wrong: {}", wrong(&snapshot, 0));
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_snapshot_held_over_many_versions_holds_one_of_them() {
    let folder = Folder::new("space-versions");
    for is_other in [false, true] {
        let path = folder.file(if is_other { "other.nf" } else { "own.nf" });
        let collection = open(&path, settings());
        overwrite(&collection, 0);
        collection.checkpoint().unwrap();
        let (_, seen) = sizes(&collection);
        let mut other = is_other.then(|| Other::start(&path));
        let own = (!is_other).then(|| collection.snapshot().unwrap());
        for version in 1..=40 {
            overwrite(&collection, version);
            // Idle snapshots, and one of an intermediate commit.
            drop(collection.snapshot().unwrap());
            if version % 2 == 0 {
                collection.checkpoint().unwrap();
            }
        }
        collection.checkpoint().unwrap();
        assert!(own.as_ref().is_none_or(|own| wrong(own, 0) == 0));
        assert!(other.as_mut().is_none_or(|other| other.wrong() == 0));
        let (file, live) = sizes(&collection);
        println!("{seen} bytes are seen, {live} are live, {file} in the file");
        assert!(file < seen + live * 3, "{seen} bytes are seen, {live} are live: {file}");
        let held = collection.stats().unwrap().store.held_bytes;
        assert!(held > seen / 4 && held <= seen, "{held} are held");
        drop(own);
        other.into_iter().for_each(Other::end);
        collection.compact().unwrap();
        assert!(sizes(&collection).0 <= most(live));
        assert_eq!(wrong(&collection.snapshot().unwrap(), 40), 0);
        assert_eq!(collection.stats().unwrap().store.held_bytes, 0);
    }
}

#[test]
fn compacting_once_leaves_little_more_than_what_is_live() {
    let folder = Folder::new("space-once");
    for (name, removed) in [("all", 0..KEYS), ("most", 40..KEYS), ("some", 0..300), ("none", 0..0)]
    {
        let path = folder.file(name);
        let collection = open(&path, settings());
        for version in 0..4 {
            overwrite(&collection, version);
            collection.checkpoint().unwrap();
        }
        let mut tx = collection.begin_write().unwrap();
        for key in removed.clone() {
            assert!(tx.remove(key).unwrap());
        }
        tx.commit().unwrap();
        let before = collection.stats().unwrap().store.file_bytes;
        let freed = collection.compact().unwrap();
        let (file, live) = sizes(&collection);
        println!("without {name}: {before} became {file}, {live} are live");
        assert_eq!(before - file, freed);
        assert!(file <= most(live), "{name}: {file} bytes, {live} are live");
        collection.compact().unwrap();
        let (again, _) = sizes(&collection);
        assert!(again <= file && file - again <= 2 * PAGE, "{file} became {again}");
        let verify = |collection: &Collection| {
            for key in (0..KEYS).step_by(7) {
                let expected = (!removed.contains(&key)).then(|| vector(key, 3, DIMENSION));
                assert_eq!(collection.get(key), expected);
                let expected = expected.map(|_| payload(key, 3));
                assert_eq!(collection.payload(key).unwrap(), expected);
            }
        };
        verify(&collection);
        drop(collection);
        let collection = open(&path, settings());
        verify(&collection);
        assert!(collection.check().unwrap().is_ok());
    }
}

#[test]
fn compacting_beside_a_snapshot_makes_no_file_longer() {
    let folder = Folder::new("space-beside");
    for is_other in [false, true] {
        for versions in [1, 4] {
            let path = folder.file(&format!("{is_other}-{versions}.nf"));
            let collection = open(&path, settings());
            overwrite(&collection, 0);
            collection.checkpoint().unwrap();
            let mut other = is_other.then(|| Other::start(&path));
            let own = (!is_other).then(|| collection.snapshot().unwrap());
            for version in 1..versions {
                overwrite(&collection, version);
                collection.checkpoint().unwrap();
            }
            let mut tx = collection.begin_write().unwrap();
            for key in 0..KEYS {
                assert!(tx.remove(key).unwrap());
            }
            tx.commit().unwrap();
            for _ in 0..3 {
                let before = collection.stats().unwrap().store.file_bytes;
                collection.compact().unwrap();
                let (file, _) = sizes(&collection);
                println!("{versions} versions: {before} became {file}");
                assert!(file <= before, "{before} became {file}");
                assert!(own.as_ref().is_none_or(|own| wrong(own, 0) == 0));
                assert!(other.as_mut().is_none_or(|other| other.wrong() == 0));
                assert!(collection.is_empty());
            }
            assert!(collection.stats().unwrap().store.held_bytes > KEYS * DIMENSION as u64 * 4);
            drop(own);
            other.into_iter().for_each(Other::end);
            collection.compact().unwrap();
            let (file, live) = sizes(&collection);
            println!("then {file}, {live} are live");
            assert!(file <= most(live), "{file} bytes, {live} are live");
            assert!(collection.is_empty());
        }
    }
}

#[test]
fn compacting_after_removing_all_long_payloads_is_done_in_one_call() {
    const LONG: usize = 10_000;
    let default = Collection::builder(DIMENSION, Metric::L2).m(6).ef_construction(20);
    for (name, settings) in [("default", default), ("small", settings())] {
        let folder = Folder::new("space-long");
        let collection = open(&folder.file("c.nf"), settings);
        let mut tx = collection.begin_write().unwrap();
        for key in 0..ROWS {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
            tx.put_payload(key, &[key as u8; LONG]).unwrap();
        }
        tx.commit().unwrap();
        collection.checkpoint().unwrap();
        let (before, _) = sizes(&collection);
        assert!(before > ROWS * LONG as u64, "{name}: {before} bytes before");
        let mut tx = collection.begin_write().unwrap();
        for key in 0..ROWS {
            assert!(tx.remove(key).unwrap());
        }
        tx.commit().unwrap();
        let (before, _) = sizes(&collection);
        collection.compact().unwrap();
        let (file, live) = sizes(&collection);
        println!("{name}: {before} became {file}, {live} are live");
        assert!(file <= before, "{name}: {before} became {file}");
        assert!(file <= most(live), "{name}: {before} became {file}, {live} are live");
        collection.compact().unwrap();
        let (again, _) = sizes(&collection);
        assert!(again <= file, "{name}: {file} became {again}");
        assert!(collection.is_empty());
        assert!(collection.payload(ROWS / 2).unwrap().is_none());
    }
}

fn label(key: u64, version: u64) -> Vec<u8> {
    vec![(key * 3 + version) as u8; 200 + (key * 7 % 50) as usize]
}

/// Gives each of the keys the vector and label of this version. Returns the number of the commit.
fn put(collection: &Collection, keys: Range<u64>, version: u64) -> u64 {
    let mut tx = collection.begin_write().unwrap();
    for key in keys {
        tx.upsert(key, &vector(key, version, DIMENSION)).unwrap();
        tx.put_payload(key, &label(key, version)).unwrap();
    }
    tx.commit().unwrap()
}

/// Gives each of the keys a payload, and makes a checkpoint.
fn put_payloads(collection: &Collection, keys: Range<u64>, payload: impl Fn(u64) -> Vec<u8>) {
    let mut tx = collection.begin_write().unwrap();
    for key in keys {
        tx.put_payload(key, &payload(key)).unwrap();
    }
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
}

/// Returns the numbers of wrong vectors, of wrong labels, and of searches (one for ten rows) that do not find their own vector.
fn errors(snapshot: &Snapshot, version: impl Fn(u64) -> u64) -> [usize; 3] {
    let mut errors = [0; 3];
    for key in 0..ROWS {
        let wanted = vector(key, version(key), DIMENSION);
        errors[0] += usize::from(snapshot.get(key).as_ref() != Some(&wanted));
        let is_label = snapshot.payload(key).unwrap() == Some(&label(key, version(key))[..]);
        errors[1] += usize::from(!is_label);
        if key % 10 == 0 {
            let hits = snapshot.search(&wanted).k(1).ef(60).run().unwrap();
            errors[2] += usize::from((hits[0].key, hits[0].distance) != (key, 0.0));
        }
    }
    errors
}

/// A dropped snapshot goes on as the next one, for which compaction must not have moved its extents.
#[test]
fn a_snapshot_after_compaction_is_right_with_pages_of_the_default_size() {
    const LOADED: Range<u64> = 0..40;
    let folder = Folder::new("space-default");
    for is_reader in [false, true] {
        let path = folder.file(if is_reader { "reader.nf" } else { "own.nf" });
        let settings = Collection::builder(DIMENSION, Metric::L2).m(6).ef_construction(20);
        let collection = open(&path, settings);
        put(&collection, 0..ROWS, 0);
        collection.checkpoint().unwrap();
        // Large payloads take the room in front of the extents of version 1, and are removed.
        put_payloads(&collection, LOADED, |_| vec![1; 100_000]);
        put(&collection, LOADED.end..ROWS, 1);
        let mut tx = collection.begin_write().unwrap();
        for key in LOADED {
            tx.upsert(key, &vector(key, 1, DIMENSION)).unwrap();
        }
        tx.commit().unwrap();
        collection.checkpoint().unwrap();
        put_payloads(&collection, LOADED, |key| label(key, 1));
        // An idle reader beside own snapshots would keep the pages that a fault would take from the snapshots.
        let reader = is_reader.then(|| Collection::open_read_only(&path).unwrap());
        let snapshot = || match &reader {
            Some(reader) => reader.snapshot().unwrap(),
            None => collection.snapshot().unwrap(),
        };
        let first = snapshot();
        collection.compact().unwrap();
        drop(first);
        let number = put(&collection, 0..10, 2);
        let second = snapshot();
        assert_eq!(second.number(), number);
        // 11 commits of 360 KB.
        for round in 0..11 {
            let from = round * 900 % (ROWS - 899);
            put(&collection, from..from + 900, 7 + round);
            if round % 2 == 1 {
                collection.checkpoint().unwrap();
            }
        }
        let [vectors, labels, missed] = errors(&second, |key| if key < 10 { 2 } else { 1 });
        let what =
            format!("reader {is_reader}: {vectors} vectors, {labels} labels, {missed} missed");
        assert!(vectors == 0 && labels == 0 && missed < 30, "{what}");
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{what}: {report}");
    }
}

/// Each key with the version of its vector and payload.
type Model = BTreeMap<u64, u64>;

fn equals(snapshot: &Snapshot, model: &Model) -> bool {
    snapshot.len() == model.len()
        && (0..KEYS / 4).all(|key| {
            let version = model.get(&key);
            snapshot.get(key) == version.map(|&version| vector(key, version, DIMENSION))
                && snapshot.payload(key).unwrap().map(<[u8]>::to_vec)
                    == version.map(|&version| payload(key, version))
        })
}

#[test]
fn snapshots_at_many_commits_never_change() {
    for seed in 0..4 {
        let folder = Folder::new(&format!("space-many-{seed}"));
        let path = folder.file("c.nf");
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let collection = open(&path, settings().checkpoint_after(60_000));
        let readers: Vec<_> = (0..3).map(|_| Collection::open_read_only(&path).unwrap()).collect();
        let mut model = Model::new();
        let mut held: Vec<(Snapshot, Model)> = Vec::new();
        for version in 1..150 {
            let mut tx = collection.begin_write().unwrap();
            for _ in 0..random.random_range(1..60) {
                let key = random.random_range(0..KEYS / 4);
                if random.random_range(0..4) == 0 {
                    assert_eq!(tx.remove(key).unwrap(), model.remove(&key).is_some());
                } else {
                    tx.upsert(key, &vector(key, version, DIMENSION)).unwrap();
                    tx.put_payload(key, &payload(key, version)).unwrap();
                    model.insert(key, version);
                }
            }
            tx.commit().unwrap();
            match random.random_range(0..12) {
                0 => collection.checkpoint().unwrap(),
                1 => drop(collection.compact().unwrap()),
                2..4 => held.push((collection.snapshot().unwrap(), model.clone())),
                4 => {
                    let reader = &readers[random.random_range(0..3)];
                    held.push((reader.snapshot().unwrap(), model.clone()));
                }
                5..8 if held.len() > 3 => {
                    let (snapshot, model) = held.swap_remove(random.random_range(0..held.len()));
                    assert!(equals(&snapshot, &model), "seed {seed}: {snapshot:?}");
                }
                _ => {}
            }
        }
        for (snapshot, model) in &held {
            assert!(equals(snapshot, model), "seed {seed}: {snapshot:?}");
        }
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{report}");
        drop((held, readers));
        collection.compact().unwrap();
        let (file, live) = sizes(&collection);
        assert!(file <= most(live), "{file} bytes, {live} are live");
        assert!(equals(&collection.snapshot().unwrap(), &model));
    }
}
