//! Random histories and the model that they are compared with.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use nearfield::store::{Durability, ExtentId, Store, StoreError, WriteTransaction};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

pub(crate) type Random = Xoshiro256PlusPlus;

pub(crate) fn random(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

/// The expected contents of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) tables: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(crate) extents: BTreeMap<u64, Vec<u8>>,
}

/// The limits of random sizes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) operations: usize,
    pub(crate) keys: u32,
    pub(crate) value: usize,
    pub(crate) extent: usize,
}

pub(crate) const SMALL: Sizes = Sizes { operations: 12, keys: 200, value: 300, extent: 9000 };

fn key(random: &mut Random, sizes: Sizes) -> Vec<u8> {
    let n = random.random_range(0..sizes.keys);
    match random.random_range(0..4) {
        0 => n.to_be_bytes().to_vec(),
        1 => format!("key/with/a/common/prefix/{n:06}").into_bytes(),
        2 => vec![b'x'; n as usize % 60],
        _ => [&[n as u8; 3][..], &n.to_le_bytes()].concat(),
    }
}

fn value(random: &mut Random, sizes: Sizes) -> Vec<u8> {
    let len = match random.random_range(0..10) {
        0 => 0,
        1 => random.random_range(0..sizes.value * 20),
        _ => random.random_range(0..sizes.value),
    };
    vec![random.random(); len]
}

/// Applies one random change to transaction and model.
pub(crate) fn change(
    random: &mut Random,
    sizes: Sizes,
    tx: &mut WriteTransaction,
    model: &mut Model,
) -> Result<(), StoreError> {
    let name = ["a", "b", "numbers"][random.random_range(0..3)];
    match random.random_range(0..40) {
        0 => {
            // After a cut, a model with an empty table is equal to one without the table.
            let is_gone = tx.drop_table(name)?;
            assert!(is_gone || model.tables.remove(name).is_none_or(|table| table.is_empty()));
            model.tables.remove(name);
        }
        1 => {
            let mut table = tx.table::<[u8]>(name)?;
            let entries: BTreeMap<Vec<u8>, Vec<u8>> =
                (0..sizes.operations).map(|_| (key(random, sizes), value(random, sizes))).collect();
            table.bulk_load(entries.iter().map(|(k, v)| (&k[..], &v[..])))?;
            model.tables.entry(name.to_owned()).or_default().extend(entries);
        }
        2 | 3 => {
            let len = random.random_range(0..sizes.extent as u64);
            let extent = tx.create_extent(len)?;
            assert!(model.extents.insert(extent.0, vec![0; len as usize]).is_none());
        }
        4..8 => {
            let Some((&number, content)) = model.extents.iter_mut().last() else { return Ok(()) };
            let at = random.random_range(0..=content.len());
            let n = random.random_range(0..=(content.len() - at).min(200));
            let bytes = vec![random.random(); n];
            tx.write_extent(ExtentId(number), at as u64, &bytes)?;
            content[at..at + n].copy_from_slice(&bytes);
            let extent = tx.extent(ExtentId(number))?;
            assert!(extent.bytes()? == content);
        }
        8 => {
            if model.extents.len() > 3 {
                let number = *model.extents.keys().next().unwrap();
                tx.remove_extent(ExtentId(number))?;
                model.extents.remove(&number);
            }
        }
        9..20 => {
            let table = model.tables.entry(name.to_owned()).or_default();
            // Half of the changes are of an existing key.
            let key = match random.random_range(0..2) {
                0 => key(random, sizes),
                _ => match table.range(key(random, sizes)..).next() {
                    Some((key, _)) => key.clone(),
                    None => key(random, sizes),
                },
            };
            assert_eq!(tx.table::<[u8]>(name)?.remove(&key)?, table.remove(&key).is_some());
        }
        _ => {
            let table = model.tables.entry(name.to_owned()).or_default();
            let (key, value) = (key(random, sizes), value(random, sizes));
            let replaced = tx.table::<[u8]>(name)?.insert(&key, &value)?;
            assert_eq!(replaced, table.insert(key, value).is_some());
        }
    }
    Ok(())
}

pub(crate) fn durability(random: &mut Random) -> Durability {
    match random.random_range(0..6) {
        0 => Durability::Eventual,
        1 => Durability::None,
        _ => Durability::Immediate,
    }
}

/// Makes random changes, with savepoints. Returns the transaction and the model after it.
pub(crate) fn transaction(
    random: &mut Random,
    sizes: Sizes,
    store: &Store,
    model: &Model,
) -> Result<(WriteTransaction, Model), StoreError> {
    let mut tx = store.begin_write()?;
    let mut model = model.clone();
    for _ in 0..random.random_range(1..=sizes.operations) {
        if random.random_range(0..30) == 0 {
            let savepoint = tx.savepoint()?;
            let mut other = model.clone();
            for _ in 0..random.random_range(0..5) {
                change(random, sizes, &mut tx, &mut other)?;
            }
            if random.random() {
                tx.roll_back(savepoint)?;
            } else {
                model = other;
            }
        }
        change(random, sizes, &mut tx, &mut model)?;
    }
    Ok((tx, model))
}

/// Reads everything that a store holds.
pub(crate) fn content(store: &Store) -> Result<Model, StoreError> {
    let tx = store.begin_read()?;
    let mut model = Model::default();
    for name in tx.tables()? {
        let table = tx.table::<[u8]>(&name)?;
        let mut entries = BTreeMap::new();
        for entry in table.entries()? {
            let (key, value) = entry?;
            entries.insert(key.to_vec(), value.to_vec());
        }
        assert_eq!(table.len(), entries.len() as u64);
        model.tables.insert(name, entries);
    }
    for extent in tx.extents()? {
        let bytes = tx.extent(extent)?.bytes()?;
        assert!(bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(64));
        model.extents.insert(extent.0, bytes.to_vec());
    }
    Ok(model)
}

impl Model {
    /// Returns the model without empty tables, because a history may make them or not.
    pub(crate) fn trimmed(&self) -> Self {
        let mut model = self.clone();
        model.tables.retain(|_, table| !table.is_empty());
        model
    }
}

/// Returns whether the store has the contents of the model.
pub(crate) fn holds(store: &Store, model: &Model) -> Result<bool, StoreError> {
    Ok(content(store)?.trimmed() == model.trimmed())
}

/// Reads all that can be read, without a judgement.
pub(crate) fn read_all(store: &Store) -> Result<(), StoreError> {
    let tx = store.begin_read()?;
    for name in tx.tables()? {
        // The limit is far above the entries of these stores, because a forged tree may reach one page many times.
        for entry in tx.table::<[u8]>(&name)?.entries()?.take(100_000) {
            entry?;
        }
    }
    for extent in tx.extents()? {
        tx.extent(extent)?.bytes()?;
    }
    Ok(())
}

/// Changes something in every table, which copies and splits pages.
pub(crate) fn write_some(store: &Store) -> Result<(), StoreError> {
    let mut random = random(8);
    let mut tx = store.begin_write()?;
    for name in tx.tables()? {
        let mut table = tx.table::<[u8]>(&name)?;
        for _ in 0..200 {
            let key = key(&mut random, SMALL);
            if random.random() {
                table.insert(&key, &[1; 100])?;
            } else {
                table.remove(&key)?;
            }
        }
    }
    tx.commit()?;
    store.checkpoint()
}
