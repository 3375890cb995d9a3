//! Space of a collection: pages that a snapshot holds, in this process and in another, and file
//! length after compaction.

mod collection_support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use collection_support::{Folder, config, open, vector};
use nearfield::{Collection, CollectionBuilder, Snapshot};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const FILE: &str = "NEARFIELD_TEST_FILE";
const DIMENSION: usize = 32;
const KEYS: u64 = 1000;
const PAGE: u64 = 4096;

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
    (store.file_bytes, (store.reserved_pages + report.store.used_pages) * PAGE)
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
