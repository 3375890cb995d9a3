//! The store compared with a model in memory: tables as `BTreeMap`s, extents as byte vectors.

use std::collections::BTreeMap;
use std::ops::Bound;

use nearfield::store::{SimulatedDisk, Store, StoreOptions};
use rand::RngExt;

use crate::history::{Model, Random, SMALL, Sizes, durability, holds, random, transaction};
use crate::support::files::Folder;

fn history(seed: u64, options: &StoreOptions, sizes: Sizes, steps: usize) {
    let mut random = random(seed);
    let disk = SimulatedDisk::new();
    let mut store = options.open_simulated(&disk).unwrap();
    let mut model = Model::default();
    let mut snapshots = Vec::new();
    for step in 0..steps {
        let (mut tx, next) = transaction(&mut random, sizes, &store, &model).unwrap();
        if random.random_range(0..5) == 0 {
            drop(tx);
        } else {
            tx.set_durability(durability(&mut random));
            tx.commit().unwrap();
            model = next;
        }
        match random.random_range(0..12) {
            0 => store.checkpoint().unwrap(),
            1 => {
                store.compact().unwrap();
            }
            2 => {
                snapshots.clear();
                store.clone().close().unwrap();
                drop(store);
                store = options.open_simulated(&disk).unwrap();
                assert_eq!(store.recovered(), 0);
            }
            3..6 => snapshots.push((store.begin_read().unwrap(), model.clone())),
            6 => snapshots.clear(),
            _ => {}
        }
        assert!(holds(&store, &model).unwrap(), "seed {seed}, step {step}");
        if let Err(error) = store.check() {
            panic!("seed {seed}, step {step}: {error}");
        }
        for (snapshot, model) in &snapshots {
            for (name, entries) in &model.trimmed().tables {
                let table = snapshot.table::<[u8]>(name).unwrap();
                assert_eq!(table.len(), entries.len() as u64);
                assert!(
                    table
                        .entries()
                        .unwrap()
                        .map(Result::unwrap)
                        .eq(entries.iter().map(|(k, v)| (&k[..], &v[..])))
                );
            }
        }
    }
}

#[test]
fn random_histories_equal_the_model() {
    let options = StoreOptions::new().page_size(4096).log_size(64 << 10);
    for seed in 0..40 {
        history(seed, &options, SMALL, 40);
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn deep_trees_equal_the_model() {
    let sizes = Sizes { operations: 400, keys: 5000, value: 100, extent: 300_000 };
    for (seed, page_size) in [4096, 8192, 16384, 32768, 65536].into_iter().enumerate() {
        let options = StoreOptions::new().page_size(page_size).log_size(1 << 20);
        history(1000 + seed as u64, &options, sizes, 40);
    }
}

#[test]
fn ranges_equal_the_model_from_both_ends() {
    let store = StoreOptions::new().page_size(4096).log_size(64 << 10).open_in_memory().unwrap();
    let mut random = random(5);
    let mut model = BTreeMap::new();
    let mut tx = store.begin_write().unwrap();
    for _ in 0..3000 {
        let key: u32 = random.random_range(0..10_000);
        tx.table::<u32>("t").unwrap().insert(key, &key.to_le_bytes()).unwrap();
        model.insert(key, key.to_le_bytes());
    }
    let bound = |random: &mut Random| {
        let key = random.random_range(0..10_100_u32);
        [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded][random.random_range(0..3)]
    };
    for round in 0..2000 {
        let range = (bound(&mut random), bound(&mut random));
        let inverted = match range {
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
                a > b || (a == b && range != (Bound::Included(a), Bound::Included(b)))
            }
            _ => false,
        };
        let mut expected: std::collections::VecDeque<_> =
            if inverted { [].into() } else { model.range(range).map(|(&k, &v)| (k, v)).collect() };
        let table = tx.table::<u32>("t").unwrap();
        let mut found = table.range(range).unwrap();
        let mut steps = 0;
        loop {
            let (got, want) = if random.random() {
                (found.next(), expected.pop_front())
            } else {
                (found.next_back(), expected.pop_back())
            };
            let got = got.map(|entry| entry.unwrap());
            assert_eq!(got, want.as_ref().map(|(k, v)| (*k, &v[..])), "round {round}");
            steps += 1;
            if want.is_none() || steps > 300 {
                break;
            }
        }
    }
    let table = tx.table::<u32>("t").unwrap();
    assert_eq!(table.first().unwrap().map(|(k, _)| k), model.keys().next().copied());
    assert_eq!(table.last().unwrap().map(|(k, _)| k), model.keys().next_back().copied());
}

#[test]
fn everything_can_be_removed_again() {
    let store = StoreOptions::new().page_size(4096).log_size(64 << 10).open_in_memory().unwrap();
    for round in 0..3_u64 {
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<u64>("t").unwrap();
        for key in 0..5000_u64 {
            table.insert(key.wrapping_mul(0x9e37_79b9_7f4a_7c15), &[7; 40]).unwrap();
        }
        for key in 0..5000_u64 {
            let key = if round == 1 { 4999 - key } else { key };
            assert!(table.remove(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap());
        }
        assert!(table.is_empty());
        tx.commit().unwrap();
        store.check().unwrap();
    }
    assert!(store.begin_read().unwrap().table::<u64>("t").unwrap().is_empty());
    let report = store.check().unwrap();
    assert!(report.used_pages <= 2, "{report:?}");
}

#[test]
fn a_file_keeps_its_content() {
    let folder = Folder::new("model");
    let path = folder.file("file");
    let mut random = random(77);
    let options = StoreOptions::new().page_size(4096).log_size(64 << 10);
    let mut model = Model::default();
    for _ in 0..5 {
        let store = options.open(&path).unwrap();
        assert!(holds(&store, &model).unwrap());
        for _ in 0..10 {
            let (tx, next) = transaction(&mut random, SMALL, &store, &model).unwrap();
            tx.commit().unwrap();
            model = next;
        }
        store.check().unwrap();
        if random.random() {
            store.compact().unwrap();
        }
        let reader = Store::open_read_only(&path).unwrap();
        assert!(holds(&reader, &model).unwrap());
        assert!(Store::open(&path).is_err(), "there is one writer");
    }
}

/// A load in any order and with repeated keys is the same as inserting one entry after another.
#[test]
fn an_unsorted_load_is_like_insertions() {
    let mut state = 5_u64;
    let mut entries = Vec::new();
    for n in 0..20_000_u32 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Keys of all lengths, many of which begin with the same eight bytes; some keys are repeated.
        let mut key = format!("{:0>width$}", state >> 50, width = (state >> 40) as usize % 24);
        key.truncate(20);
        entries.push((key.into_bytes(), n.to_le_bytes().repeat(n as usize % 40)));
    }
    let model: BTreeMap<Vec<u8>, Vec<u8>> = entries.iter().cloned().collect();
    assert!(model.len() < entries.len(), "some keys must come more than once");
    for already in [&[][..], &[(b"7".to_vec(), b"old".to_vec())]] {
        let store = StoreOptions::new().page_size(4096).open_in_memory().unwrap();
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<[u8]>("t").unwrap();
        for (key, value) in already {
            table.insert(key, value).unwrap();
        }
        let loaded = table.bulk_load_unsorted(entries.iter().map(|(k, v)| (&k[..], &v[..])));
        assert_eq!(loaded.unwrap(), entries.len() as u64);
        tx.commit().unwrap();
        store.check().unwrap();
        let tx = store.begin_read().unwrap();
        let mut want = model.clone();
        for (key, value) in already {
            want.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let table = tx.table::<[u8]>("t").unwrap();
        assert_eq!(table.len(), want.len() as u64);
        let found = table.entries().unwrap().map(Result::unwrap);
        assert!(found.eq(want.iter().map(|(k, v)| (&k[..], &v[..]))));
        for (key, value) in &want {
            assert_eq!(table.get(key).unwrap(), Some(&value[..]));
            let longer = [&key[..], &[0]].concat();
            assert_eq!(table.get(&longer).unwrap(), want.get(&longer).map(|v| &v[..]));
        }
    }
}
