//! Random operations against a `BTreeMap`, with rollbacks, checkpoints and reopening.
#![no_main]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nearfield::store::{Durability, SimulatedDisk, StoreOptions};

/// A store without tables: opening a copy is cheaper than making one.
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
    let disk = SimulatedDisk::from_image(empty(&options)).unwrap();
    let mut store = options.open_simulated(&disk).unwrap();
    let mut committed: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for batch in data.chunks(24).take(40) {
        let mut model = committed.clone();
        let mut tx = store.begin_write().unwrap();
        let mut table = tx.table::<[u8]>("t").unwrap();
        for operation in batch.chunks_exact(3) {
            let [kind, a, b] = operation else { continue };
            let key = vec![*a; (*b % 32) as usize];
            match kind % 8 {
                0..5 => {
                    let value = vec![*kind; *b as usize * (1 + *kind as usize % 20)];
                    assert_eq!(
                        table.insert(&key, &value).unwrap(),
                        model.insert(key, value).is_some()
                    );
                }
                5 | 6 => {
                    let found = model.range(key.clone()..).next().map(|(k, _)| k.clone());
                    let key = found.unwrap_or(key);
                    assert_eq!(table.remove(&key).unwrap(), model.remove(&key).is_some());
                }
                _ => {
                    let got = table.range(&key[..]..).unwrap().next().transpose().unwrap();
                    let want = model.range(key..).next();
                    assert_eq!(got, want.map(|(k, v)| (&k[..], &v[..])));
                }
            }
        }
        match batch[0] % 6 {
            0 => drop(tx),
            n => {
                let levels = [Durability::Immediate, Durability::Eventual, Durability::None];
                tx.set_durability(levels[n as usize % 3]);
                tx.commit().unwrap();
                committed = model;
            }
        }
        match batch[batch.len() - 1] % 8 {
            0 => store.checkpoint().unwrap(),
            1 => {
                drop(store);
                store = options.open_simulated(&disk).unwrap();
            }
            _ => {}
        }
    }
    store.check().unwrap();
    let tx = store.begin_read().unwrap();
    if committed.is_empty() {
        return;
    }
    let found = tx.table::<[u8]>("t").unwrap().entries().unwrap().map(Result::unwrap);
    assert!(found.eq(committed.iter().map(|(k, v)| (&k[..], &v[..]))));
});
