//! A full disk loses nothing, refuses single transactions, and removing makes room again: on a simulated disk of
//! every size, and on a small file system of the machine.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use nearfield::store::{Cut, SimulatedDisk, Store, StoreError, StoreOptions};
use nearfield::{Collection, CollectionError};
use support::collections::{config, vector};

const DIMENSION: usize = 16;

type Model = BTreeMap<u64, Vec<u8>>;

fn value(key: u64, len: usize) -> Vec<u8> {
    vec![key as u8 | 1; len]
}

/// Returns whether the error names a full disk and the file, if any.
fn is_full(error: &StoreError, path: Option<&Path>) -> bool {
    let StoreError::Io { path: named, source, .. } = error else { return false };
    assert_eq!(named.as_deref(), path, "{error}");
    assert!(path.is_none_or(|path| error.to_string().contains(path.to_str().unwrap())));
    source.kind() == std::io::ErrorKind::StorageFull
}

fn put(store: &Store, keys: &[u64], len: usize) -> Result<(), StoreError> {
    let mut tx = store.begin_write()?;
    for &key in keys {
        tx.table::<u64>("values")?.insert(key, &value(key, len))?;
    }
    tx.commit()
}

fn remove(store: &Store, keys: &[u64]) -> Result<(), StoreError> {
    let mut tx = store.begin_write()?;
    for &key in keys {
        assert!(tx.table::<u64>("values")?.remove(key)?);
    }
    tx.commit()
}

fn content(store: &Store) -> Model {
    let tx = store.begin_read().unwrap();
    let Some(table) = tx.find_table::<u64>("values").unwrap() else { return Model::new() };
    table.entries().unwrap().map(|entry| entry.unwrap()).map(|(k, v)| (k, v.to_vec())).collect()
}

/// Readers, checks and statistics work, and show the acknowledged commits.
fn holds(store: &Store, model: &Model) {
    assert_eq!(&content(store), model);
    store.check().unwrap();
    store.stats().unwrap();
}

/// Fills a store until a commit is refused. Returns the acknowledged contents.
fn fill(store: &Store, first: u64, len: usize, path: Option<&Path>) -> Model {
    let mut model = content(store);
    for batch in first.. {
        let keys: Vec<u64> = (0..4).map(|i| batch * 4 + i).collect();
        match put(store, &keys, len) {
            Ok(()) => model.extend(keys.iter().map(|&key| (key, value(key, len)))),
            Err(error) => {
                assert!(is_full(&error, path), "{error:?}");
                break;
            }
        }
        assert!(batch < first + 100_000, "it is never full");
    }
    model
}

/// Checks the promises of a store whose disk is full. Returns its contents at the end.
fn goes_on_when_full(store: &Store, mut model: Model, len: usize, path: Option<&Path>) -> Model {
    holds(store, &model);
    // Each further commit is refused, and leaves the store as before.
    for _ in 0..3 {
        let keys: Vec<u64> = (0..64).map(|i| 1 << 40 | i).collect();
        let refused = put(store, &keys, len.max(2000)).unwrap_err();
        assert!(is_full(&refused, path), "{refused:?}");
        holds(store, &model);
    }
    // Removals work, and free space.
    let half: Vec<u64> = model.keys().copied().filter(|key| key % 4 < 2).collect();
    for keys in half.chunks(8) {
        remove(store, keys).unwrap_or_else(|error| panic!("removing is refused: {error}"));
        model.retain(|key, _| !keys.contains(key));
    }
    holds(store, &model);
    store.compact().unwrap();
    holds(store, &model);
    for &key in half.iter().take(half.len() / 2) {
        put(store, &[key], len).unwrap_or_else(|error| panic!("there is room again: {error}"));
        model.insert(key, value(key, len));
    }
    holds(store, &model);
    model
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_store_goes_on_at_every_size_of_the_disk() {
    let options = StoreOptions::new().page_size(4096).log_size(64 << 10);
    for (step, len) in [(4096, 100), (4096 * 5, 700), (4096 * 3, 3000)] {
        for n in 0..40 {
            let disk = SimulatedDisk::new();
            let store = options.open_simulated(&disk).unwrap();
            put(&store, &[0], len).unwrap();
            disk.set_capacity(disk.image().unwrap().len() as u64 + n * step);
            let model = fill(&store, 1, len, None);
            let before = [Cut::Nothing, Cut::Everything, Cut::Subset(50)];
            for cut in before {
                let found = options.open_simulated(&disk.after_power_cut(cut, n)).unwrap();
                holds(&found, &model);
            }
            let model = goes_on_when_full(&store, model, len, None);
            for cut in before {
                let found = options.open_simulated(&disk.after_power_cut(cut, n)).unwrap();
                holds(&found, &model);
            }
            // A store opened again on the full disk keeps the same promises.
            drop(store);
            let store = options.open_simulated(&disk).unwrap();
            let model = fill(&store, 1 << 20, len, None);
            let mut model = goes_on_when_full(&store, model, len, None);
            // The store uses space that becomes free outside.
            disk.set_capacity(u64::MAX);
            for key in 1 << 50..(1 << 50) + 100 {
                put(&store, &[key], len).unwrap();
                model.insert(key, value(key, len));
            }
            store.checkpoint().unwrap();
            holds(&store, &model);
        }
    }
}

#[test]
fn a_commit_that_makes_a_checkpoint_is_refused_as_a_whole() {
    // A shorter log leaves free pages in front of the far copies of the meta slots.
    let options = StoreOptions::new().page_size(4096).log_size(1 << 20);
    for n in 0..60 {
        let disk = SimulatedDisk::new();
        let store = options.open_simulated(&disk).unwrap();
        put(&store, &[1, 2, 3], 500).unwrap();
        store.checkpoint().unwrap();
        disk.set_capacity(disk.image().unwrap().len() as u64 + n * 8192);
        let model = content(&store);
        let keys: Vec<u64> = (10..300).collect();
        let mut tx = store.begin_write().unwrap();
        let loaded = tx
            .table::<u64>("loaded")
            .unwrap()
            .bulk_load(keys.iter().map(|&key| (key, &[7; 900][..])));
        let extent = loaded.and_then(|_| tx.create_extent(100_000));
        let done = extent.and_then(|_| {
            for &key in &keys {
                tx.table::<u64>("values")?.insert(key, &value(key, 700))?;
            }
            tx.commit()
        });
        match done {
            Ok(()) => assert!(n > 10, "it fits nowhere"),
            Err(error) => {
                assert!(is_full(&error, None), "{error:?}");
                holds(&store, &model);
                let tx = store.begin_read().unwrap();
                assert!(tx.find_table::<u64>("loaded").unwrap().is_none());
                drop(tx);
                remove(&store, &[2]).unwrap();
                store.compact().unwrap();
                assert_eq!(content(&store).len(), 2);
                store.check().unwrap();
            }
        }
    }
}

fn commit(collection: &Collection, keys: &[u64], payload: usize) -> Result<u64, CollectionError> {
    let mut tx = collection.begin_write()?;
    for &key in keys {
        tx.upsert(key, &vector(key, 0, DIMENSION))?;
        tx.put_payload(key, &value(key, payload))?;
    }
    tx.commit()
}

/// Checks that the collection holds these keys and no others, with their payloads.
fn shows(collection: &Collection, keys: &[u64], payload: usize) {
    assert_eq!(collection.len(), keys.len());
    for &key in keys {
        assert!(collection.contains(key));
        assert_eq!(collection.payload(key).unwrap(), Some(value(key, payload)));
    }
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    collection.stats().unwrap();
    let snapshot = collection.snapshot().unwrap();
    assert_eq!(snapshot.len(), keys.len());
    if let Some(&key) = keys.first() {
        let hits = snapshot.search(&vector(key, 0, DIMENSION)).k(1).run().unwrap();
        assert_eq!(hits[0].key, key);
    }
}

/// Fills a collection until a commit is refused, removes, compacts, and commits again. Returns the keys that it holds.
fn collection_goes_on(collection: &Collection, payload: usize, path: Option<&Path>) -> Vec<u64> {
    let mut keys = Vec::new();
    for batch in 0_u64.. {
        let new: Vec<u64> = (0..8).map(|i| batch * 8 + i).collect();
        match commit(collection, &new, payload) {
            Ok(_) => keys.extend(new),
            Err(CollectionError::Store(error)) => {
                assert!(is_full(&error, path), "{error:?}");
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    shows(collection, &keys, payload);
    let gone: Vec<u64> = keys.iter().copied().filter(|key| key % 16 < 8).collect();
    for part in gone.chunks(16) {
        let mut tx = collection.begin_write().unwrap();
        for &key in part {
            assert!(tx.remove(key).unwrap());
        }
        tx.commit().unwrap_or_else(|error| panic!("removing is refused: {error}"));
    }
    keys.retain(|key| key % 16 >= 8);
    shows(collection, &keys, payload);
    collection.compact().unwrap_or_else(|error| panic!("compacting is refused: {error}"));
    shows(collection, &keys, payload);
    for part in gone.chunks(8).take(gone.len() / 16) {
        commit(collection, part, payload).unwrap_or_else(|error| panic!("no room: {error}"));
        keys.extend(part);
    }
    shows(collection, &keys, payload);
    keys
}

#[test]
fn a_collection_goes_on_at_every_size_of_the_disk() {
    for payload in [1500, 6000] {
        for n in 0..12 {
            let disk = SimulatedDisk::new();
            let config = || config(DIMENSION).checkpoint_after(64 << 10);
            let collection = config().open_simulated(&disk).unwrap();
            disk.set_capacity((2 << 20) + n * 40_000);
            let keys = collection_goes_on(&collection, payload, None);
            for cut in [Cut::Nothing, Cut::Everything, Cut::Subset(50)] {
                let found = disk.after_power_cut(cut, n);
                let found = config().open_simulated(&found).unwrap();
                shows(&found, &keys, payload);
            }
        }
    }
}

/// A small file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(name: &str, size: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("nearfield-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "nearfield"])
            .arg(&path)
            .output()
            .map_err(|error| error.to_string())?;
        if !mount.status.success() {
            let _ = std::fs::remove_dir(&path);
            return Err(String::from_utf8_lossy(&mount.stderr).into_owned());
        }
        Ok(Self(path))
    }

    /// Returns the files besides the collection's or the store's file.
    fn left_over(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| !["c.nf", "store"].contains(&&name[..])).collect()
    }

    /// Lets another program take all space that is left. Returns its file.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        ballast
    }

    /// Checks that a reader opens the file of a collection on the full disk, shows these keys, and makes no file.
    fn is_read_when_full(&self, path: &Path, keys: &[u64], payload: usize) {
        let reader = Collection::open_read_only(path).unwrap();
        let snapshot = reader.snapshot().unwrap();
        assert_eq!(snapshot.len(), keys.len());
        for &key in keys {
            assert_eq!(snapshot.get(key), Some(vector(key, 0, DIMENSION)));
            assert_eq!(snapshot.payload(key).unwrap(), Some(&value(key, payload)[..]));
        }
        let hits = snapshot.search(&vector(keys[0], 0, DIMENSION)).k(1).run().unwrap();
        assert_eq!(hits[0].key, keys[0]);
        assert_eq!(self.left_over(), ["ballast"], "while it is open");
        drop((snapshot, reader));
        assert_eq!(self.left_over(), ["ballast"], "once it is closed");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_full_file_system_is_survived() {
    let mount = match Mount::new("full", "24m") {
        Ok(mount) => mount,
        Err(reason) => {
            println!("SKIPPED: no file system could be mounted: {reason}");
            return;
        }
    };
    let path = mount.0.join("store");
    let options = StoreOptions::new().log_size(1 << 20);
    let store = options.open(&path).unwrap();
    let model = fill(&store, 1, 3000, Some(&path));
    assert!(model.len() > 2000, "{}", model.len());
    let model = goes_on_when_full(&store, model, 3000, Some(&path));
    drop(store);
    let store = options.open(&path).unwrap();
    assert_eq!(store.recovered(), 0);
    holds(&store, &model);
    drop(store);
    assert!(mount.left_over().is_empty(), "{:?}", mount.left_over());
    std::fs::remove_file(&path).unwrap();

    // Another program fills the disk, and frees space later.
    let path = mount.0.join("c.nf");
    let config = || config(DIMENSION).page_size(16 << 10).log_size(1 << 20);
    let collection = config().open(&path).unwrap();
    let mut keys: Vec<u64> = (0..64).collect();
    commit(&collection, &keys, 2000).unwrap();
    let ballast = mount.fill();
    let mut refused = 0;
    for batch in 10..2000 {
        let new: Vec<u64> = (0..8).map(|i| batch * 8 + i).collect();
        match commit(&collection, &new, 2000) {
            Ok(_) => keys.extend(new),
            Err(CollectionError::Store(error)) => {
                assert!(is_full(&error, Some(&path)), "{error:?}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3);
    shows(&collection, &keys, 2000);
    mount.is_read_when_full(&path, &keys, 2000);
    let copy = mount.0.join("copy.nf");
    let backup = collection.backup(&copy).unwrap_err();
    assert!(backup.to_string().contains("copy.nf"), "{backup}");
    std::fs::remove_file(&ballast).unwrap();
    assert!(mount.left_over().is_empty(), "{:?}", mount.left_over());
    for batch in 3000..3050 {
        let new: Vec<u64> = (0..8).map(|i| batch * 8 + i).collect();
        commit(&collection, &new, 2000).unwrap();
        keys.extend(new);
    }
    collection.close().unwrap();
    let collection = config().open(&path).unwrap();
    shows(&collection, &keys, 2000);
    drop(collection);
    std::fs::remove_file(&path).unwrap();

    // The collection fills it itself.
    let collection = config().open(&path).unwrap();
    let keys = collection_goes_on(&collection, 3000, Some(&path));
    drop(collection);
    let ballast = mount.fill();
    mount.is_read_when_full(&path, &keys, 3000);
    std::fs::remove_file(&ballast).unwrap();
    shows(&config().open(&path).unwrap(), &keys, 3000);
    assert!(mount.left_over().is_empty(), "{:?}", mount.left_over());
}
