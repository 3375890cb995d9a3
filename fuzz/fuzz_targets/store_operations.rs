//! Random operations against a `BTreeMap`: rollbacks, savepoints, snapshots, checkpoints, compaction, reopening, kills.
#![no_main]

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nearfield::store::{Durability, ExtentId, ReadTransaction, SimulatedDisk, Store};
use nearfield::store::{StoreOptions, WriteTransaction};

/// Operations of one transaction, after a byte that chooses its end.
const BATCH: usize = 1 + 8 * 3;
/// Further batches are ignored, because they cost time and find nothing new.
const BATCHES: usize = 8;

/// A byte and its number of repetitions: an entry of the model costs nothing to copy.
type Key = (u8, u16);
type Value = (u8, u16);

#[derive(Clone, Default, PartialEq)]
struct Model {
    entries: BTreeMap<Key, Value>,
    extents: Vec<(ExtentId, u8, u16)>,
}

/// Returns a key of up to 480 bytes, for pages of 4 KiB: a few dozen entries make a tree of three levels.
fn key(a: u8, b: u8) -> Key {
    let len = u16::from(b % 16) * 32;
    if len == 0 { (0, 0) } else { (a, len) }
}

fn value(kind: u8, b: u8) -> Value {
    let b = u16::from(b);
    // Mostly short values, and a few that need separate pages.
    (
        kind,
        match kind >> 4 {
            0..8 => b / 8,
            8..14 => b,
            14 => b * 4,
            _ => b * 24,
        },
    )
}

fn bytes((byte, len): (u8, u16)) -> Vec<u8> {
    vec![byte; len as usize]
}

fn agrees(tx: &ReadTransaction, model: &Model) -> bool {
    let entries = match tx.table::<[u8]>("t") {
        Ok(table) => {
            table.len() == model.entries.len() as u64 && {
                let mut found = table.entries().unwrap().map(Result::unwrap);
                model.entries.iter().all(|(&k, &v)| found.next().is_some_and(|f| same(f, k, v)))
                    && found.next().is_none()
            }
        }
        Err(_) => model.entries.is_empty(),
    };
    entries
        && tx.extents().unwrap().len() == model.extents.len()
        && model.extents.iter().all(|&(extent, byte, len)| {
            tx.extent(extent).is_ok_and(|found| is(found.bytes().unwrap(), (byte, len)))
        })
}

fn same((k, v): (&[u8], &[u8]), key: Key, value: Value) -> bool {
    is(k, key) && is(v, value)
}

/// Returns whether `found` is `len` times `byte`. Compares the bytes with themselves, shifted, because a loop would be instrumented.
fn is(found: &[u8], (byte, len): (u8, u16)) -> bool {
    found.len() == len as usize
        && found
            .first()
            .is_none_or(|&first| first == byte && found[1..] == found[..found.len() - 1])
}

fn operate(tx: &mut WriteTransaction, model: &mut Model, kind: u8, a: u8, b: u8) {
    let at = key(a, b);
    let entries = &mut model.entries;
    match kind % 16 {
        13 => {
            if b % 4 > 0 {
                let (byte, len) = (a, u16::from(b) * 40);
                let extent = tx.create_extent(len.into()).unwrap();
                tx.write_extent(extent, 0, &bytes((byte, len))).unwrap();
                model.extents.push((extent, byte, len));
            } else if !model.extents.is_empty() {
                let (extent, ..) = model.extents.swap_remove(a as usize % model.extents.len());
                tx.remove_extent(extent).unwrap();
            }
            return;
        }
        14 if b == 0 => {
            tx.drop_table("t").unwrap();
            entries.clear();
            return;
        }
        _ => {}
    }
    let mut table = tx.table::<[u8]>("t").unwrap();
    match kind % 16 {
        0..7 => {
            let value = value(kind, b);
            let replaced = table.insert(&bytes(at), &bytes(value)).unwrap();
            assert_eq!(replaced, entries.insert(at, value).is_some());
        }
        7 => {
            // A run of neighbouring keys, upwards or downwards.
            for i in 0..8 {
                let at = key(if kind & 16 == 0 { a.wrapping_add(i) } else { a.wrapping_sub(i) }, b);
                let replaced = table.insert(&bytes(at), &bytes((kind, u16::from(i)))).unwrap();
                assert_eq!(replaced, entries.insert(at, (kind, i.into())).is_some());
            }
        }
        8..11 => {
            let most = if kind % 16 == 10 { 8 } else { 1 };
            for _ in 0..most {
                let found = entries.range(at..).next().map_or(at, |(&key, _)| key);
                let removed = table.remove(&bytes(found)).unwrap();
                assert_eq!(removed, entries.remove(&found).is_some());
                if !removed {
                    break;
                }
            }
        }
        11 => {
            let got = table.range((Included(&bytes(at)[..]), Unbounded)).unwrap().next();
            match (got.transpose().unwrap(), entries.range(at..).next()) {
                (Some(got), Some((&key, &value))) => assert!(same(got, key, value)),
                (got, want) => assert!(got.is_none() && want.is_none()),
            }
        }
        12 => {
            let got = table.range((Unbounded, Excluded(&bytes(at)[..]))).unwrap().next_back();
            match (got.transpose().unwrap(), entries.range(..at).next_back()) {
                (Some(got), Some((&key, &value))) => assert!(same(got, key, value)),
                (got, want) => assert!(got.is_none() && want.is_none()),
            }
        }
        _ => {
            let got = table.get(&bytes(at)).unwrap();
            assert_eq!(got, entries.get(&at).map(|&value| bytes(value)).as_deref());
        }
    }
}

/// Opens the store after the process was killed: the bytes handed to the disk are kept.
fn reopened(options: &StoreOptions, image: Vec<u8>) -> (SimulatedDisk, Store) {
    let disk = SimulatedDisk::from_image(image).unwrap();
    let store = options.open_simulated(&disk).unwrap();
    (disk, store)
}

/// Returns a store without tables, because opening a copy is cheaper than making one.
fn empty(options: &StoreOptions) -> Vec<u8> {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let disk = SimulatedDisk::new();
        options.open_simulated(&disk).unwrap().close().unwrap();
        disk.image().unwrap()
    };
    IMAGE.get_or_init(make).clone()
}

fuzz_target!(|data: &[u8]| {
    let options = StoreOptions::new().page_size(4096).log_size(64 << 10);
    let (mut disk, mut store) = reopened(&options, empty(&options));
    let mut committed = Model::default();
    // States that a kill may restore: commits since the last one that reached the operating system.
    let mut possible: Vec<Model> = Vec::new();
    let mut snapshot: Option<(ReadTransaction, Model)> = None;
    for batch in data.chunks(BATCH).take(BATCHES) {
        let mut model = committed.clone();
        let mut tx = store.begin_write().unwrap();
        let mut savepoint = None;
        for operation in batch[1..].chunks_exact(3) {
            let &[kind, a, b] = operation else { continue };
            match (kind % 16, &savepoint) {
                (15, Some((saved, then))) => {
                    tx.roll_back(*saved).unwrap();
                    model = Model::clone(then);
                }
                (15, None) => savepoint = Some((tx.savepoint().unwrap(), model.clone())),
                _ => operate(&mut tx, &mut model, kind, a, b),
            }
        }
        match batch[0] % 8 {
            0 => drop(tx),
            n => {
                let levels = [Durability::Immediate, Durability::Eventual, Durability::None];
                tx.set_durability(levels[n as usize % 3]);
                tx.commit().unwrap();
                if n % 3 == 2 {
                    possible.push(std::mem::replace(&mut committed, model));
                } else {
                    possible.clear();
                    committed = model;
                }
            }
        }
        match (batch[0] / 8) % 8 {
            0 => store.checkpoint().unwrap(),
            1 => {
                snapshot = None;
                drop(store);
                store = options.open_simulated(&disk).unwrap();
                assert_eq!(store.recovered(), 0);
            }
            2 => drop(store.compact().unwrap()),
            3 => {
                snapshot = None;
                let image = disk.image().unwrap();
                drop(store);
                (disk, store) = reopened(&options, image);
                let tx = store.begin_read().unwrap();
                possible.push(std::mem::take(&mut committed));
                committed = possible.drain(..).rfind(|model| agrees(&tx, model)).unwrap();
            }
            4 => snapshot = Some((store.begin_read().unwrap(), committed.clone())),
            _ => continue,
        }
        if batch[0] / 8 % 8 < 3 {
            possible.clear();
        }
    }
    if let Some((snapshot, model)) = snapshot {
        assert!(agrees(&snapshot, &model));
    }
    store.check().unwrap();
    assert!(agrees(&store.begin_read().unwrap(), &committed));
});
