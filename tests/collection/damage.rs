//! Damaged files: opening and searching end with an answer or an error for any bytes.
//!
//! Chunks are walked in the map without being verified, so damage in them reaches the graph; records are damaged behind the store's
//! checksums, by writing them anew. `NEARFIELD_DAMAGES=20000 cargo test --release --test collection damage::` makes a longer run.

use std::path::Path;
use std::time::Duration;

use nearfield::store::{Store, StoreOptions};
use nearfield::{Hnsw, Metric, Quantization};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

use crate::support::collections::{config, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 8;
const ROWS: u64 = 1500;

fn damages() -> usize {
    std::env::var("NEARFIELD_DAMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// Uses an index in every way; its answers do not matter.
fn exercise(path: &Path) -> bool {
    let Ok(index) = Hnsw::open(path) else { return false };
    if index.dimension() != DIMENSION {
        return true;
    }
    for key in 0..20 {
        let query = vector(key * 71, 0, DIMENSION);
        let _ = index.search(&query).k(10).ef(20).run();
        let _ = index.get(key * 71);
    }
    let queries: Vec<f32> = (0..8).flat_map(|key| vector(key, 0, DIMENSION)).collect();
    let _ = index.search_batch(&queries).k(5).ef(16).threads(1).run();
    for key in 0..10 {
        let _ = index.insert((1 << 50) + key, &vector(key, 3, DIMENSION));
    }
    let _ = index.check();
    let _ = index.stats();
    true
}

#[test]
#[ignore = "long: `just test-all`"]
fn damaged_chunks_do_no_harm() {
    let folder = Folder::new("damage");
    let path = folder.file("index.nf");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    for quantization in [Quantization::None, Quantization::Sq8] {
        let index = Hnsw::builder(DIMENSION, Metric::L2)
            .m(4)
            .ef_construction(20)
            .quantization(quantization)
            .build()
            .unwrap();
        let keys: Vec<u64> = (0..ROWS * 6).collect();
        let count = if quantization == Quantization::None { ROWS as usize } else { keys.len() };
        let vectors: Vec<f32> =
            keys[..count].iter().flat_map(|&k| vector(k, 0, DIMENSION)).collect();
        index.insert_batch(&keys[..count], &vectors).run().unwrap();
        index.save(&path).unwrap();
        let image = std::fs::read(&path).unwrap();
        let mut opened = 0;
        for _ in 0..damages() {
            let mut bytes = image.clone();
            // Behind meta slots and log: trees and extents.
            let start = 192 << 10;
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(start..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[at] = random.random(),
                    1 => bytes[at] ^= 1 << random.random_range(0..8),
                    2 => {
                        let end = (at + 4096).min(bytes.len());
                        bytes[at..end].fill(0);
                    }
                    _ => {
                        let end = (at + random.random_range(1..4096)).min(bytes.len());
                        random.fill_bytes(&mut bytes[at..end]);
                    }
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            opened += usize::from(exercise(&path));
            // A load that verifies checksums reports the damage, unless the damage is in free space.
            let _ = Hnsw::load(&path);
        }
        println!("{quantization:?}: {opened} of {} opened", damages());
        // Most of the file is chunks.
        assert!(opened > damages() / 4);
    }
}

#[test]
fn damaged_records_do_no_harm() {
    records("records", Duration::from_secs(9), &["columns", "journal"]);
}

#[test]
fn damaged_deltas_do_no_harm() {
    records("deltas", Duration::ZERO, &["deltas", "deltas", "deltas", "columns", "journal"]);
}

/// Damages records of the head and of these tables.
fn records(name: &str, replay_limit: Duration, tables: &[&str]) {
    let folder = Folder::new(name);
    let path = folder.file("c.nf");
    let settings = config(DIMENSION).m(4).ef_construction(20).replay_limit(replay_limit);
    let collection = settings.create(&path).unwrap();
    let mut tx = collection.begin_write().unwrap();
    for key in 0..ROWS {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    let mut tx = collection.begin_write().unwrap();
    for key in ROWS..ROWS + 20 {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    tx.commit().unwrap();
    let mut tx = collection.begin_write().unwrap();
    for key in 0..10 {
        tx.upsert(key, &vector(key, 1, DIMENSION)).unwrap();
        tx.remove(key + 20).unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(collection.stats().unwrap().delta_bytes > 0, replay_limit.is_zero());
    drop(collection);
    let image = std::fs::read(&path).unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut opened = 0;
    for _ in 0..damages() {
        std::fs::write(&path, &image).unwrap();
        damage_record(&path, &mut random, tables);
        opened += usize::from(exercise(&path));
        if let Ok(collection) = config(DIMENSION).open(&path) {
            let _ = collection.search(&vector(1, 0, DIMENSION)).k(3).run();
            let _ = collection.check();
            let _ = collection.snapshot();
            if let Ok(mut tx) = collection.begin_write() {
                let _ = tx.upsert(1 << 50, &vector(1, 1, DIMENSION));
                let _ = tx.commit();
            }
            let _ = collection.checkpoint();
        }
    }
    println!("{opened} of {} opened", damages());
    assert!(opened > 0 && opened < damages());
}

/// Writes one record anew, changed, with sound checksums.
fn damage_record(path: &Path, random: &mut Xoshiro256PlusPlus, tables: &[&str]) {
    let store: Store = StoreOptions::new().open(path).unwrap();
    let mut tx = store.begin_write().unwrap();
    let (which, first): (usize, bool) = (random.random_range(0..2 + tables.len()), random.random());
    let mut spoil = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        match random.random_range(0..4) {
            0 if !bytes.is_empty() => bytes.truncate(random.random_range(0..bytes.len())),
            1 => bytes.push(random.random()),
            2 if bytes.len() >= 4 => {
                let at = random.random_range(0..bytes.len() / 4) * 4;
                let word: u32 = match random.random_range(0..4) {
                    0 => u32::MAX,
                    1 => 1 << 31,
                    2 => random.random_range(0..3000),
                    _ => random.random(),
                };
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            _ if !bytes.is_empty() => {
                let at = random.random_range(0..bytes.len());
                bytes[at] = bytes[at].wrapping_add(1);
            }
            _ => {}
        }
        bytes
    };
    if which < 2 {
        let name = ["settings", "checkpoint"][which];
        let mut table = tx.table::<str>("nearfield").unwrap();
        let new = spoil(table.get(name).unwrap().unwrap());
        table.insert(name, &new).unwrap();
    } else {
        let mut table = tx.table::<u64>(tables[which - 2]).unwrap();
        let (key, new) = {
            let entry = if first { table.first() } else { table.last() };
            let (key, value) = entry.unwrap().unwrap();
            (key, spoil(value))
        };
        table.insert(key, &new).unwrap();
    }
    tx.commit().unwrap();
}
