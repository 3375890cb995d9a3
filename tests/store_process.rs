//! Real processes on a real file: one is killed while it writes, one writes while another reads.
//!
//! `NEARFIELD_KILLS=200 cargo test --release --test store_process` makes a longer run.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nearfield::store::{Durability, ExtentId, Store, StoreError, StoreOptions};
use support::files::Folder;

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const FILE: &str = "NEARFIELD_TEST_FILE";

fn options() -> StoreOptions {
    // A short log, so that checkpoints are frequent.
    StoreOptions::new().page_size(4096).log_size(64 << 10)
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

/// Applies transaction `n`, the same in each process: `n` in two tables and an extent.
fn apply(store: &Store, n: u64) -> Result<(), StoreError> {
    let mut tx = store.begin_write()?;
    let mut table = tx.table::<u64>("by number")?;
    table.insert(n % 500, &n.to_le_bytes())?;
    table.insert((1 << 40) | (n % 7), &vec![n as u8; (n % 7 * 3000) as usize])?;
    table.remove((n + 250) % 500)?;
    tx.table::<str>("last")?.insert("n", &n.to_le_bytes())?;
    let extent = if n == 1 { tx.create_extent(100_000)? } else { ExtentId(0) };
    tx.write_extent(extent, n % 1000 * 8, &n.to_le_bytes())?;
    if n.is_multiple_of(5) {
        tx.set_durability(Durability::Eventual);
    }
    tx.commit()
}

/// Returns the number of the last transaction, after checking that the store holds all of it and nothing else.
fn last(store: &Store) -> u64 {
    let tx = store.begin_read().unwrap();
    if tx.tables().unwrap().is_empty() {
        return 0;
    }
    let number = |value: &[u8]| u64::from_le_bytes(value.try_into().unwrap());
    let n = number(tx.table::<str>("last").unwrap().get("n").unwrap().unwrap());
    let table = tx.table::<u64>("by number").unwrap();
    for i in n.saturating_sub(249).max(1)..=n {
        assert_eq!(table.get(i % 500).unwrap().map(number), Some(i));
    }
    let long = table.get((1 << 40) | (n % 7)).unwrap().unwrap();
    assert_eq!(long, vec![n as u8; (n % 7 * 3000) as usize]);
    let extent = tx.extent(ExtentId(0)).unwrap();
    for i in n.saturating_sub(999).max(1)..=n {
        let at = i % 1000 * 8;
        assert_eq!(number(extent.range(at..at + 8).unwrap()), i);
    }
    n
}

/// The body of the other process, not a test. Returns at once if `ROLE` is not set.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(FILE).unwrap());
    let store = options().open(&path).unwrap();
    let first = last(&store) + 1;
    let (count, pause) = match role.as_str() {
        "writer" => (u64::MAX, Duration::ZERO),
        "steady" => (2000, Duration::from_micros(500)),
        role => panic!("unknown role {role}"),
    };
    println!("ready");
    for n in first..first.saturating_add(count) {
        apply(&store, n).unwrap();
        // The reader measures from here.
        println!("ack {n}");
        std::thread::sleep(pause);
    }
    println!("done");
}

#[test]
fn a_killed_writer_loses_no_acknowledged_commit() {
    let folder = Folder::new("kill");
    let path = folder.file("file");
    let kills = std::env::var("NEARFIELD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let (mut acknowledged, mut recovered) = (0, 0);
    for round in 0..kills {
        let (mut child, out) = start("writer", &path);
        let killer = std::thread::spawn(move || {
            // The delays reach from before the first commit to well behind several checkpoints.
            std::thread::sleep(Duration::from_millis(20 + round * 37 % 300));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in out.lines().map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("ack ") {
                acknowledged = n.parse().unwrap_or(acknowledged);
            }
        }
        killer.join().unwrap();
        let store = options().open(&path).unwrap();
        recovered += store.recovered();
        store.check().unwrap();
        let found = last(&store);
        assert!(found >= acknowledged, "round {round}: {acknowledged} acknowledged, {found} found");
        acknowledged = found;
    }
    println!("{kills} kills, {acknowledged} commits, {recovered} taken from the log");
    assert!(acknowledged > 0 && recovered > 0);
}

#[test]
fn another_process_sees_every_commit_whole() {
    let folder = Folder::new("follow");
    let path = folder.file("file");
    options().open(&path).unwrap().close().unwrap();
    let (mut child, out) = start("steady", &path);
    let reader = options().open_read_only(&path).unwrap();
    assert!(matches!(reader.begin_write(), Err(StoreError::ReadOnly { .. })));
    let old = reader.begin_read().unwrap();
    let (mut seen, mut snapshots, mut slowest) = (0, 0, Duration::ZERO);
    for line in out.lines().map_while(Result::ok) {
        let Some(n) = line.strip_prefix("ack ") else { continue };
        let start = Instant::now();
        let n: u64 = n.parse().unwrap();
        let found = last(&reader);
        slowest = slowest.max(start.elapsed());
        assert!(found >= n && found >= seen, "commit {n} is not seen");
        (seen, snapshots) = (found, snapshots + 1);
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(seen, 2000);
    assert!(old.tables().unwrap().is_empty(), "a snapshot does not change");
    println!("{snapshots} snapshots, the slowest {slowest:?} with its checks");
    drop((old, reader));
    // A reader that ended leaves no trace that matters.
    let store = options().open(&path).unwrap();
    store.checkpoint().unwrap();
    apply(&store, 2001).unwrap();
    store.check().unwrap();
    store.close().unwrap();
}

/// Returns the bytes of this process's memory that are in use.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_file_opens_at_once() {
    let folder = Folder::new("large");
    let path = folder.file("file");
    let store = Store::open(&path).unwrap();
    let mut tx = store.begin_write().unwrap();
    // An extent of 10 GB that is never written: the file is sparse.
    let hole = tx.create_extent(10 << 30).unwrap();
    tx.remove_extent(hole).unwrap();
    let keys: Vec<[u8; 8]> = (0..200_000_u64).map(u64::to_be_bytes).collect();
    let mut table = tx.table::<[u8; 8]>("t").unwrap();
    table.bulk_load(keys.iter().map(|key| (*key, &key[..]))).unwrap();
    tx.commit().unwrap();
    store.close().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 10 << 30);

    let mut fastest = Duration::MAX;
    let mut grown = u64::MAX;
    for _ in 0..5 {
        let before = resident();
        let start = Instant::now();
        let store = Store::open(&path).unwrap();
        let tx = store.begin_read().unwrap();
        let table = tx.table::<[u8; 8]>("t").unwrap();
        assert!(table.get(77_777_u64.to_be_bytes()).unwrap().is_some());
        fastest = fastest.min(start.elapsed());
        grown = grown.min(resident().saturating_sub(before));
    }
    println!("opened and read in {fastest:?}, {grown} bytes more resident");
    assert!(grown < 10 << 20);
    // Machines that run tests are busy: opening takes about one millisecond, and the claim is 10. Reading 10 GB would take seconds.
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
}
