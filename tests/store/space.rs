//! Space: versions between two held snapshots are reused, and compaction leaves little more than
//! the live pages.

use nearfield::store::{
    DiskOperation, ExtentId, InjectedFault, ReadTransaction, SimulatedDisk, Store, StoreError,
    StoreOptions,
};
use rand::RngExt;

use crate::history::{Model, SMALL, Sizes, content, durability, random, transaction};
use crate::support::files::Folder;

const PAGE: u64 = 4096;

fn options() -> StoreOptions {
    StoreOptions::new().page_size(PAGE as u32).log_size(64 << 10)
}

/// Returns the greatest length after a compaction of a store with `live` live pages: those and a twentieth, and the reserve; a short file
/// reaches up to the far copies of its meta slots.
fn most(live: u64) -> u64 {
    const FAR: u64 = (128 << 10) + (1 << 20) + PAGE;
    const RESERVE: u64 = 256 << 10;

    (live * PAGE * 105 / 100).max(FAR) + RESERVE
}

/// Returns the pages that the newest state uses, with those of the log.
fn live(store: &Store) -> u64 {
    store.stats().unwrap().reserved_pages + store.check().unwrap().used_pages
}

/// Round `n` replaces every value and every extent.
fn overwrite(store: &Store, n: u64) {
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<u64>("t").unwrap();
    for key in 0..200 {
        let len = if key % 20 == 0 { 9000 } else { 100 + key * 5 };
        table.insert(key, &vec![(n + key) as u8; len as usize]).unwrap();
    }
    for (number, len) in (0..).zip([100, 70_000, 300_000, 5 << 20]) {
        let bytes = vec![(n + number) as u8; len as usize];
        if n == 0 {
            assert_eq!(tx.create_extent(len).unwrap(), ExtentId(number));
        }
        tx.write_extent(ExtentId(number), 0, &bytes).unwrap();
    }
    tx.commit().unwrap();
}

/// Returns whether a snapshot shows the contents of round `n`.
fn shows(tx: &ReadTransaction, n: u64) -> bool {
    let table = tx.table::<u64>("t").unwrap();
    let values = (0..200).all(|key| {
        let value = table.get(key).unwrap().unwrap();
        value.iter().all(|&byte| byte == (n + key) as u8)
    });
    values
        && (0..4).all(|number| {
            let bytes = tx.extent(ExtentId(number)).unwrap();
            bytes.bytes().unwrap().iter().all(|&byte| byte == (n + number) as u8)
        })
}

#[test]
fn one_old_snapshot_holds_its_own_pages_only() {
    let folder = Folder::new("space-one");
    let path = folder.path().join("file");
    let store = options().open(&path).unwrap();
    overwrite(&store, 0);
    store.checkpoint().unwrap();
    let live = live(&store);
    let snapshot = store.begin_read().unwrap();
    // The snapshot is not in the file yet when its pages are overwritten: it stays in memory.
    let (mut in_memory, mut most_resident) = (None, 0);
    for n in 1..40 {
        overwrite(&store, n);
        if n == 20 {
            in_memory = Some(store.begin_read().unwrap());
        }
        if n % 3 == 0 {
            store.checkpoint().unwrap();
        }
        most_resident = most_resident.max(store.stats().unwrap().resident_bytes);
    }
    assert!(shows(&snapshot, 0) && shows(&in_memory.unwrap(), 20));
    store.check().unwrap();
    let stats = store.stats().unwrap();
    println!(
        "{live} pages are live, {} in the file, {most_resident} resident",
        stats.file_bytes / PAGE
    );
    // The file holds two snapshots, the last checkpoint, the newest state, and one that is being written.
    assert!(stats.file_bytes / PAGE < live * 5, "{} of {live}", stats.file_bytes / PAGE);
    assert!(most_resident < 8 << 20, "{most_resident}");
}

/// The space is reused without checkpoints, and with some.
#[test]
fn memory_holds_versions_that_snapshots_see_and_no_later_ones() {
    for checkpoints in [u64::MAX, 7] {
        let options = StoreOptions::new().page_size(PAGE as u32).log_size(64 << 20);
        let store = options.open_in_memory().unwrap();
        let set = |round: u64| {
            let mut tx = store.begin_write().unwrap();
            let mut table = tx.table::<u64>("t").unwrap();
            for key in 0..200 {
                table.insert(key, &[(round + key) as u8; 700]).unwrap();
            }
            table.insert(200, &vec![round as u8; 30_000]).unwrap();
            tx.commit().unwrap();
        };
        set(0);
        let one = store.stats().unwrap().resident_bytes;
        let mut snapshots = vec![(0, store.begin_read().unwrap())];
        let mut most = 0;
        for round in 1..200 {
            set(round);
            if round == 100 {
                snapshots.push((round, store.begin_read().unwrap()));
            }
            if round % checkpoints == 0 {
                store.checkpoint().unwrap();
            }
            most = most.max(store.stats().unwrap().resident_bytes);
        }
        println!("a version takes {one} bytes, {most} were resident at most");
        assert!(one > 100_000 && most < one * 7, "{one} bytes, {most} were resident");
        for (round, tx) in &snapshots {
            let table = tx.table::<u64>("t").unwrap();
            for key in 0..200 {
                let value = table.get(key).unwrap().unwrap();
                assert!(value.iter().all(|&byte| byte == (round + key) as u8));
            }
            assert!(table.get(200).unwrap().unwrap().iter().all(|&byte| byte == *round as u8));
        }
    }
}

#[test]
fn many_pages_are_known_by_their_age() {
    let folder = Folder::new("space-pages");
    let store = options().open(folder.path().join("file")).unwrap();
    let set = |round: u64| {
        let mut tx = store.begin_write().unwrap();
        let values: Vec<_> = (0..=255_u8).map(|byte| [byte; 500]).collect();
        let entries = (0..12_000_u64).map(|key| (key, &values[(round + key) as usize % 256][..]));
        tx.drop_table("t").unwrap();
        tx.table::<u64>("t").unwrap().bulk_load(entries).unwrap();
        tx.commit().unwrap();
    };
    set(0);
    let live = live(&store);
    let mut snapshots = vec![store.begin_read().unwrap()];
    for round in 1..24 {
        set(round);
        if round == 12 {
            snapshots.push(store.begin_read().unwrap());
        }
    }
    for (tx, round) in snapshots.iter().zip([0, 12]) {
        let table = tx.table::<u64>("t").unwrap();
        for entry in table.entries().unwrap() {
            let (key, value) = entry.unwrap();
            assert!(value.iter().all(|&byte| byte == (round + key) as u8));
        }
    }
    let pages = store.stats().unwrap().file_bytes / PAGE;
    println!("{live} pages are live, {pages} in the file");
    assert!(live > 1500 && pages < live * 5, "{live} pages are live, {pages} in the file");
    store.check().unwrap();
}

/// A snapshot, and the model of its commit.
struct Held {
    tx: ReadTransaction,
    model: Model,
    /// Whether the snapshot is of the writing handle.
    is_own: bool,
}

fn seen(tx: &ReadTransaction) -> Model {
    let mut model = Model::default();
    for name in tx.tables().unwrap() {
        let table = tx.table::<[u8]>(&name).unwrap();
        let entries = table.entries().unwrap().map(Result::unwrap);
        let entries = entries.map(|(key, value)| (key.to_vec(), value.to_vec()));
        model.tables.insert(name, entries.collect());
    }
    for extent in tx.extents().unwrap() {
        model.extents.insert(extent.0, tx.extent(extent).unwrap().bytes().unwrap().to_vec());
    }
    model
}

/// Snapshots of this handle and of read-only ones, at many commits, dropped in any order.
fn held_history(seed: u64, sizes: Sizes, steps: usize) {
    let folder = Folder::new(&format!("space-held-{seed}"));
    let path = folder.path().join("file");
    let mut random = random(seed);
    let mut store = options().open(&path).unwrap();
    let mut model = Model::default();
    let mut held: Vec<Held> = Vec::new();
    let mut others: Vec<Store> = Vec::new();
    let verify = |held: &[Held], step: usize| {
        for Held { tx, model, .. } in held {
            let same = seen(tx).trimmed() == model.trimmed();
            assert!(same, "seed {seed}, step {step}: snapshot {} has changed", tx.number());
        }
    };
    for step in 0..steps {
        let (mut tx, next) = transaction(&mut random, sizes, &store, &model).unwrap();
        if random.random_range(0..6) == 0 {
            drop(tx);
        } else {
            let durability = durability(&mut random);
            tx.set_durability(durability);
            tx.commit().unwrap();
            model = next;
        }
        match random.random_range(0..16) {
            0..4 => store.checkpoint().unwrap(),
            4 => drop(store.compact().unwrap()),
            5 => {
                // The store is opened again beside the other handles, whose snapshots stay.
                held.retain(|held| !held.is_own);
                drop(store);
                store = options().open(&path).unwrap();
            }
            6 => {
                store.checkpoint().unwrap();
                others.push(options().open_read_only(&path).unwrap());
            }
            7 if !others.is_empty() => {
                let other = random.random_range(0..others.len());
                store.checkpoint().unwrap();
                let tx = others[other].begin_read().unwrap();
                held.push(Held { tx, model: model.clone(), is_own: false });
            }
            8 if others.len() > 2 => drop(others.swap_remove(0)),
            9..13 => {
                let tx = store.begin_read().unwrap();
                held.push(Held { tx, model: model.clone(), is_own: true });
            }
            _ if held.len() > 5 => {
                let at = random.random_range(0..held.len());
                verify(&held[at..=at], step);
                held.swap_remove(at);
            }
            _ => {}
        }
        assert!(content(&store).unwrap().trimmed() == model.trimmed(), "seed {seed}, step {step}");
        if step % 8 == 0 {
            verify(&held, step);
        }
        if let Err(error) = store.check() {
            panic!("seed {seed}, step {step}: {error}");
        }
    }
    verify(&held, steps);
}

#[test]
fn held_snapshots_never_change() {
    for seed in 0..3 {
        held_history(seed, SMALL, 150);
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn held_snapshots_never_change_in_long_histories() {
    let seeds = std::env::var("NEARFIELD_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    for seed in 3..seeds {
        held_history(seed, SMALL, 150);
    }
    let large = Sizes { operations: 60, keys: 2000, value: 200, extent: 300_000 };
    held_history(1000, large, 80);
}

/// Fills a store with values and extents of many sizes, and removes some of them by a pattern.
fn scattered(store: &Store, seed: u64, keep: u64) -> Model {
    let mut random = random(seed);
    let mut model = Model::default();
    for round in 0..6_u64 {
        let mut tx = store.begin_write().unwrap();
        for _ in 0..150 {
            let key = (round << 32 | random.random_range(0..1 << 20)).to_be_bytes();
            let len = match random.random_range(0..12) {
                0 => random.random_range(0..60_000),
                1..4 => random.random_range(0..9000),
                _ => random.random_range(0..600),
            };
            let value = vec![random.random(); len];
            tx.table::<[u8]>("t").unwrap().insert(&key, &value).unwrap();
            model.tables.entry("t".to_owned()).or_default().insert(key.to_vec(), value);
        }
        for _ in 0..4 {
            let len = match random.random_range(0..6) {
                0 => random.random_range(4 << 20..7 << 20),
                1 | 2 => random.random_range(200_000..3 << 20),
                _ => random.random_range(0..200_000),
            };
            let bytes = vec![random.random(); len];
            let extent = tx.create_extent(len as u64).unwrap();
            tx.write_extent(extent, 0, &bytes).unwrap();
            model.extents.insert(extent.0, bytes);
        }
        tx.commit().unwrap();
        if random.random() {
            store.checkpoint().unwrap();
        }
    }
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<[u8]>("t").unwrap();
    model.tables.get_mut("t").unwrap().retain(|key, _| {
        let keeps = random.random_range(0..100) < keep;
        assert!(keeps || table.remove(key).unwrap());
        keeps
    });
    model.extents.retain(|&number, _| {
        let keeps = random.random_range(0..100) < keep;
        if !keeps {
            tx.remove_extent(ExtentId(number)).unwrap();
        }
        keeps
    });
    tx.commit().unwrap();
    model
}

#[test]
fn compacting_once_leaves_little_more_than_what_is_live() {
    let folder = Folder::new("space-compact");
    for (seed, keep) in [(1, 0), (2, 3), (3, 20), (4, 50), (5, 80), (6, 97), (7, 100), (8, 40)] {
        let path = folder.path().join(format!("file-{seed}"));
        // A shorter log leaves room in front of the far copies of the meta slots, too short for a long extent.
        let store = options().log_size(1 << 20).open(&path).unwrap();
        let model = scattered(&store, seed, keep);
        store.checkpoint().unwrap();
        let before = store.stats().unwrap().file_bytes;
        let freed = store.compact().unwrap();
        let (live, after) = (live(&store), store.stats().unwrap().file_bytes);
        println!("{keep} % stay: {before} became {after}, {} are live", live * PAGE);
        assert_eq!(before - after, freed);
        assert!(after <= most(live), "{after} bytes, {} are live", live * PAGE);
        assert!(content(&store).unwrap().trimmed() == model.trimmed());
        // The second call has almost nothing to move.
        let written = store.stats().unwrap().written_bytes;
        store.compact().unwrap();
        let stats = store.stats().unwrap();
        assert!(stats.file_bytes <= after && after - stats.file_bytes <= 2 * PAGE);
        assert!(stats.written_bytes - written < after / 4, "it moves everything again");
        store.check().unwrap();
        drop(store);
        let store = options().open(&path).unwrap();
        assert!(content(&store).unwrap().trimmed() == model.trimmed());
        store.check().unwrap();
    }
}

#[test]
fn compacting_beside_a_snapshot_makes_no_file_longer() {
    let folder = Folder::new("space-beside");
    for (seed, keep) in [(11, 0), (12, 30), (13, 70), (14, 100)] {
        for is_other in [false, true] {
            let path = folder.path().join(format!("file-{seed}-{is_other}"));
            let store = options().open(&path).unwrap();
            overwrite(&store, 0);
            store.checkpoint().unwrap();
            let other = options().open_read_only(&path).unwrap();
            let snapshot = if is_other { other.begin_read() } else { store.begin_read() };
            let snapshot = snapshot.unwrap();
            drop(other);
            let mut tx = store.begin_write().unwrap();
            tx.drop_table("t").unwrap();
            for number in 0..4 {
                tx.remove_extent(ExtentId(number)).unwrap();
            }
            tx.commit().unwrap();
            let model = scattered(&store, seed, keep);
            store.checkpoint().unwrap();
            for _ in 0..3 {
                let before = store.stats().unwrap().file_bytes;
                store.compact().unwrap();
                let stats = store.stats().unwrap();
                assert!(stats.file_bytes <= before, "{before} became {}", stats.file_bytes);
                assert!(stats.held_bytes > 5 << 20, "{} are held", stats.held_bytes);
                assert!(shows(&snapshot, 0) && content(&store).unwrap() == model);
                store.check().unwrap();
            }
            drop(snapshot);
            store.compact().unwrap();
            let (live, stats) = (live(&store), store.stats().unwrap());
            assert_eq!(stats.held_bytes, 0);
            assert!(stats.file_bytes <= most(live));
            assert!(content(&store).unwrap() == model);
        }
    }
}

#[test]
fn compacting_that_is_ended_makes_no_file_longer() {
    let folder = Folder::new("space-ended");
    let path = folder.path().join("file");
    let mut counts = Vec::new();
    for end in [usize::MAX, 0, 1, 5, 20, 60, 150, 300, 500, 700, 900] {
        let _ = std::fs::remove_file(&path);
        let store = options().open(&path).unwrap();
        let model = scattered(&store, 21, 35);
        store.checkpoint().unwrap();
        let before = store.stats().unwrap().file_bytes;
        let (calls, longest) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let result = store.compact_while(|_| {
            calls.set(calls.get() + 1);
            longest.set(longest.get().max(std::fs::metadata(&path).unwrap().len()));
            calls.get() <= end
        });
        counts.push(calls.get());
        let after = store.stats().unwrap().file_bytes;
        println!("ended after {end} of {} calls: {before}, {}, {after}", counts[0], longest.get());
        assert!(after <= before, "{before} became {after}");
        assert_eq!(matches!(result, Err(StoreError::Cancelled)), end < counts[0], "{result:?}");
        assert!(end < usize::MAX || longest.get() > before, "nothing was evacuated");
        assert!(content(&store).unwrap().trimmed() == model.trimmed());
        store.check().unwrap();
    }
}

/// Returns a table of values of many lengths, of which every third stays.
fn thinned(disk: &SimulatedDisk) -> (Store, Model) {
    let store = options().open_simulated(disk).unwrap();
    let mut model = Model::default();
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<[u8]>("t").unwrap();
    let entries = model.tables.entry("t".to_owned()).or_default();
    for n in 0..400_u32 {
        let value = vec![n as u8; (n * 37 % 3000) as usize + if n % 9 == 0 { 12_000 } else { 0 }];
        table.insert(&n.to_be_bytes(), &value).unwrap();
        entries.insert(n.to_be_bytes().to_vec(), value);
    }
    tx.commit().unwrap();
    store.checkpoint().unwrap();
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<[u8]>("t").unwrap();
    for n in (0..400_u32).filter(|n| n % 3 > 0) {
        assert!(table.remove(&n.to_be_bytes()).unwrap());
        entries.remove(&n.to_be_bytes()[..]);
    }
    tx.commit().unwrap();
    (store, model)
}

/// Some writes of compaction are beyond the end of the file: without room for those, the store stays as it is.
#[test]
fn compacting_on_a_full_disk_loses_nothing() {
    let (mut went_on, mut refused) = (0, 0);
    for n in 0.. {
        let disk = SimulatedDisk::new();
        let (store, model) = thinned(&disk);
        disk.fail_at(DiskOperation::Write, n, InjectedFault::Full);
        let before = store.stats().unwrap().file_bytes;
        let result = store.compact();
        if !disk.fault_happened() {
            result.unwrap();
            break;
        }
        if result.is_ok() {
            went_on += 1;
            assert!(store.stats().unwrap().file_bytes <= before);
            store.begin_write().unwrap().commit().unwrap();
        } else {
            refused += 1;
            assert!(matches!(result, Err(StoreError::Io { .. })), "{result:?}");
        }
        assert!(content(&store).unwrap() == model);
        drop(store);
        let store = options().open_simulated(&disk).unwrap();
        assert!(content(&store).unwrap() == model);
        store.check().unwrap();
    }
    println!("{went_on} writes were not needed, {refused} were");
    assert!(went_on > 0 && refused > 5);
}
