//! Readers beside a writer, writers beside each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nearfield::store::{Durability, ExtentId, SimulatedDisk, StoreOptions};

use crate::support::files::Folder;

fn options() -> StoreOptions {
    StoreOptions::new().page_size(4096).log_size(64 << 10)
}

/// Commits of a test: few under an interpreter.
const COMMITS: u64 = if cfg!(miri) { 12 } else { 1500 };

#[test]
fn readers_see_whole_commits_while_one_writes() {
    let store = options().open_in_memory().unwrap();
    let done = AtomicBool::new(false);
    let mut tx = store.begin_write().unwrap();
    let extent = tx.create_extent(5000).unwrap();
    tx.table::<u64>("t").unwrap().insert(0, &0_u64.to_le_bytes()).unwrap();
    tx.commit().unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let tx = store.begin_read().unwrap();
                    let table = tx.table::<u64>("t").unwrap();
                    let n = u64::from_le_bytes(table.get(0).unwrap().unwrap().try_into().unwrap());
                    assert!(n >= last, "snapshots do not go back");
                    last = n;
                    let bytes = tx.extent(extent).unwrap().bytes().unwrap();
                    assert!(bytes[..4000].iter().all(|&byte| byte == n as u8));
                    for entry in table.range(1..).unwrap() {
                        let (key, value) = entry.unwrap();
                        let written = u64::from_le_bytes(value[..8].try_into().unwrap());
                        assert!(written <= n && written % 300 + 1 == key);
                    }
                }
            });
        }
        for n in 1..=COMMITS {
            let mut tx = store.begin_write().unwrap();
            let mut table = tx.table::<u64>("t").unwrap();
            table.insert(0, &n.to_le_bytes()).unwrap();
            table.insert(n % 300 + 1, &n.to_le_bytes().repeat(1 + n as usize % 200)).unwrap();
            if n % 3 == 0 {
                table.remove((n + 100) % 300 + 1).unwrap();
            }
            tx.write_extent(extent, 0, &[n as u8; 4000]).unwrap();
            if n % 100 == 0 {
                tx.set_durability(Durability::None);
            }
            tx.commit().unwrap();
            if n % 97 == 0 {
                store.compact().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    store.check().unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(stats.snapshots, 0);
    assert!(stats.checkpoints > u64::from(!cfg!(miri)));
}

#[test]
fn waiting_writers_share_syncs_and_lose_nothing() {
    let disk = SimulatedDisk::new();
    let store = options().open_simulated(&disk).unwrap();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for writer in 0..4_u64 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for n in 0..COMMITS / 4 {
                    let mut tx = store.begin_write().unwrap();
                    let mut table = tx.table::<u64>("t").unwrap();
                    table.insert(n * 4 + writer, &writer.to_le_bytes()).unwrap();
                    tx.commit().unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    let tx = store.begin_read().unwrap();
                    let table = tx.table::<u64>("t").unwrap();
                    assert!(table.get(n * 4 + writer).unwrap().is_some(), "own commits are seen");
                }
            });
        }
    });
    let commits = done.load(Ordering::Relaxed);
    let stats = store.stats().unwrap();
    assert_eq!(stats.commits, commits);
    println!("{commits} commits, {} syncs", stats.syncs);
    store.check().unwrap();
    let found = disk.after_power_cut(nearfield::store::Cut::Nothing, 1);
    let store = options().open_simulated(&found).unwrap();
    let tx = store.begin_read().unwrap();
    assert_eq!(tx.table::<u64>("t").unwrap().len(), commits);
}

#[test]
fn a_snapshot_and_its_values_go_to_other_threads() {
    let store = options().open_in_memory().unwrap();
    let mut tx = store.begin_write().unwrap();
    let extent = tx.create_extent(100).unwrap();
    tx.table::<str>("t").unwrap().insert("key", b"value").unwrap();
    tx.commit().unwrap();
    let snapshot = store.begin_read().unwrap();
    let mut tx = store.begin_write().unwrap();
    tx.table::<str>("t").unwrap().remove("key").unwrap();
    tx.remove_extent(extent).unwrap();
    let tx = thread::spawn(move || {
        tx.table::<str>("t").unwrap().insert("other", b"").unwrap();
        tx
    });
    tx.join().unwrap().commit().unwrap();
    store.checkpoint().unwrap();
    thread::scope(|scope| {
        let table = snapshot.table::<str>("t").unwrap();
        scope.spawn(move || assert_eq!(table.get("key").unwrap(), Some(&b"value"[..])));
        let content = snapshot.extent(extent).unwrap();
        scope.spawn(move || assert_eq!(content.bytes().unwrap(), [0; 100]));
    });
    assert!(store.begin_read().unwrap().extent(ExtentId(0)).is_err());
}

/// While one commit waits for the disk, the next ones are made: states become visible that are not
/// the newest any more.
#[test]
#[cfg(not(miri))]
fn snapshots_of_commits_that_wait_together_are_whole() {
    const KEYS: u64 = 24;
    let folder = Folder::new("waiting");
    let store = options().open(folder.file("store.nf")).unwrap();
    let add = |store: &nearfield::store::Store| {
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<u64>("t").unwrap();
        let last =
            table.get(0).unwrap().map_or(0, |v| u64::from_le_bytes(*v.first_chunk().unwrap()));
        for key in 0..KEYS {
            table.insert(key, &(last + 1).to_le_bytes().repeat(50)).unwrap();
        }
        tx.commit().unwrap();
    };
    add(&store);
    let writing = AtomicU64::new(4);
    let snapshots = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..150 {
                    add(&store);
                }
                writing.fetch_sub(1, Ordering::Relaxed);
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                while writing.load(Ordering::Relaxed) > 0 {
                    let tx = store.begin_read().unwrap();
                    let table = tx.table::<u64>("t").unwrap();
                    let first = table.get(0).unwrap().unwrap().to_vec();
                    for _ in 0..20 {
                        for entry in table.entries().unwrap() {
                            assert!(
                                entry.unwrap().1 == first,
                                "snapshot {} has changed",
                                tx.number()
                            );
                        }
                        thread::yield_now();
                    }
                    snapshots.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} snapshots, {} syncs", snapshots.into_inner(), store.stats().unwrap().syncs);
    store.check().unwrap();
}
