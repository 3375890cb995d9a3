//! Real processes on a real collection: one is killed while it writes, one writes while another reads.
//!
//! `NEARFIELD_KILLS=200 cargo test --release --test collection_process` makes a longer run.

mod collection_support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use collection_support::{Folder, config, open, vector};
use nearfield::{Collection, CollectionError, Config};

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const FILE: &str = "NEARFIELD_TEST_FILE";
const DIMENSION: usize = 8;
/// Keys of a commit.
const KEYS: u64 = 3;

/// Checkpoints are frequent.
fn settings() -> Config {
    config(DIMENSION).m(6).ef_construction(40).checkpoint_after(4000)
}

/// Starts this test program again in another role.
fn start(role: &str, path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["role", "--exact", "--nocapture", "--test-threads", "1"])
        .env(ROLE, role)
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// What commit `n` does, the same for whoever computes it.
fn apply(collection: &Collection, n: u64) -> Result<(), CollectionError> {
    let mut tx = collection.begin_write()?;
    for key in n * KEYS..(n + 1) * KEYS {
        tx.upsert(key, &vector(key, 0, DIMENSION))?;
        tx.put_payload(key, &key.to_le_bytes())?;
    }
    assert_eq!(tx.commit()?, n);
    Ok(())
}

/// Not a test of its own: what the other process does. Ends at once where nobody asks for it.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(FILE).unwrap());
    let collection = open(&path, settings());
    let first = collection.stats().unwrap().commit + 1;
    let (count, pause) = match role.as_str() {
        "writer" => (u64::MAX, Duration::ZERO),
        "steady" => (300, Duration::from_micros(500)),
        role => panic!("unknown role {role}"),
    };
    println!("ready");
    for n in first..first.saturating_add(count) {
        apply(&collection, n).unwrap();
        // The reader measures from here.
        println!("ack {n}");
        std::thread::sleep(pause);
    }
    println!("done");
}

/// The number in a line such as `ack 7`.
fn acknowledged(line: &str) -> Option<u64> {
    line.trim().strip_prefix("ack ")?.parse().ok()
}

#[test]
fn a_killed_writer_loses_nothing() {
    let kills = std::env::var("NEARFIELD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let folder = Folder::new("collection-kill");
    let path = folder.file("c.nf");
    let mut acked = 0;
    let mut replayed = 0;
    for kill in 0..kills {
        let (mut child, mut out) = start("writer", &path);
        let deadline = Instant::now() + Duration::from_millis(15 + kill * 37 % 120);
        let mut line = String::new();
        let mut ready = false;
        while out.read_line(&mut line).unwrap() > 0 {
            // The test program has begun the line.
            ready |= line.trim().ends_with("ready");
            acked = acknowledged(&line).unwrap_or(acked);
            if ready && Instant::now() > deadline {
                break;
            }
            line.clear();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was said before it died counts as well.
        line.clear();
        while out.read_line(&mut line).unwrap_or(0) > 0 {
            acked = acknowledged(&line).unwrap_or(acked);
            line.clear();
        }

        let collection = open(&path, settings());
        replayed += collection.recovery().operations;
        let last = collection.stats().unwrap().commit;
        assert!(last == acked || last == acked + 1, "{last} is found, {acked} was acknowledged");
        assert_eq!(collection.len() as u64, last * KEYS);
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{report}");
        for key in (KEYS..(last + 1) * KEYS).rev().step_by(7) {
            assert_eq!(collection.get(key), Some(vector(key, 0, DIMENSION)));
            let payload = collection.payload(key).unwrap();
            assert_eq!(payload.as_deref(), Some(&key.to_le_bytes()[..]));
        }
        acked = last;
    }
    println!("{acked} commits, {replayed} operations replayed over {kills} kills");
    assert!(acked > kills && replayed > 0);
}

#[test]
fn a_reader_follows_a_writer() {
    let folder = Folder::new("collection-follow");
    let path = folder.file("c.nf");
    drop(open(&path, settings()));
    let reader = Collection::open_read_only(&path).unwrap();
    let (mut child, mut out) = start("steady", &path);
    let mut line = String::new();
    let mut waits = Vec::new();
    let mut seen = 0;
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some(n) = acknowledged(&line) {
            let start = Instant::now();
            let snapshot = reader.snapshot().unwrap();
            waits.push(start.elapsed());
            assert!(snapshot.number() >= n, "{} is seen, {n} was acknowledged", snapshot.number());
            assert!(snapshot.number() >= seen);
            seen = snapshot.number();
            assert_eq!(snapshot.len() as u64, seen * KEYS);
            let key = seen * KEYS + n % KEYS;
            let hits = snapshot.search(&vector(key, 0, DIMENSION)).k(1).ef(40).run().unwrap();
            assert_eq!(hits[0].key, key);
            assert_eq!(snapshot.payload(key).unwrap(), Some(&key.to_le_bytes()[..]));
        }
        line.clear();
    }
    assert!(child.wait().unwrap().success());
    waits.sort();
    println!(
        "snapshots took {:?} at the median, {:?} at most",
        waits[waits.len() / 2],
        waits[waits.len() - 1]
    );
    assert_eq!(seen, 300);
}
