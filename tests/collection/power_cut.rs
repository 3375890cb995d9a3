//! Power cuts at every kind of moment over histories of a collection.
//!
//! After each cut, the disk is in a state that a cut could leave; the collection on it must open, be sound, and hold the last
//! acknowledged commit or one in flight: every key of it is found as its own nearest neighbour, with its payload, attributes and name, and no
//! other key or name is. Then the history continues.
//!
//! `NEARFIELD_POWER_CUTS=20000 cargo test --release --test collection power_cut::` makes a longer run.

use std::collections::BTreeMap;
use std::time::Duration;

use nearfield::store::{Durability, SimulatedDisk};
use nearfield::{Attributes, Collection, CollectionBuilder, CollectionError, attributes, field};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::support::collections::{config, vector};
use crate::support::cuts::any_cut;

const DIMENSION: usize = 6;

/// An entry: the version of its vector, its payload, the version of its attributes, and the number in its name.
type Entry = (u64, Option<Vec<u8>>, Option<u64>, Option<u64>);

type Model = BTreeMap<u64, Entry>;

/// Each key with the bits of its vector, its payload, its attributes and its name.
type Content = Vec<(u64, Vec<u32>, Option<Vec<u8>>, Option<Attributes>, Option<Vec<u8>>)>;

fn name_of(number: u64) -> Vec<u8> {
    format!("name {number}").into_bytes()
}

/// Attributes that several keys share, and some that few have.
fn attributes_of(version: u64) -> Attributes {
    let parity = if version.is_multiple_of(2) { "even" } else { "odd" };
    attributes! { "version" => version as i64, "parity" => parity, "tags" => [parity, "all"] }
}

/// Counts of the cases that a run has met.
#[derive(Debug, Default)]
struct Met {
    cuts: usize,
    in_creation: usize,
    in_checkpoint: usize,
    in_compaction: usize,
    /// Cuts after which the commit in flight was found.
    in_flight: usize,
    replayed: u64,
    /// Lives that began with deltas, and commits that were in flight with one.
    with_deltas: usize,
    delta_was_cut: usize,
    /// Keys that a walk searched for, and keys that it did not find.
    searched: usize,
    missed: usize,
    largest: usize,
    /// Keys that a predicate selected, and names.
    selected: usize,
    named: usize,
}

/// Checkpoints are frequent, and in most histories deltas too.
fn settings(history: u64) -> CollectionBuilder {
    let config = config(DIMENSION).log_size(64 << 10).m(6).ef_construction(40);
    match history % 3 {
        0 => config.checkpoint_after(3000),
        // After each commit, and after some.
        1 => config.checkpoint_after(12_000).replay_limit(Duration::ZERO),
        _ => config.checkpoint_after(12_000).replay_limit(Duration::from_micros(300)),
    }
}

/// Makes a few changes to a transaction and to a model. Returns whether no cut can lose them.
fn change(
    random: &mut Xoshiro256PlusPlus,
    collection: &Collection,
    model: &mut Model,
    version: u64,
) -> Result<bool, CollectionError> {
    let mut tx = collection.begin_write()?;
    let before = model.clone();
    for _ in 0..random.random_range(1..12) {
        let key = random.random_range(0..300);
        let has = model.contains_key(&key);
        match random.random_range(0..16) {
            0..=4 => {
                tx.upsert(key, &vector(key, version, DIMENSION))?;
                model.entry(key).or_insert((version, None, None, None)).0 = version;
            }
            5 => {
                assert_eq!(tx.remove(key)?, has);
                model.remove(&key);
            }
            6..=8 if has => {
                let payload = vec![version as u8; random.random_range(0..40) * 20];
                tx.put_payload(key, &payload)?;
                model.entry(key).and_modify(|entry| entry.1 = Some(payload));
            }
            9 if has => {
                tx.remove_payload(key)?;
                model.entry(key).and_modify(|entry| entry.1 = None);
            }
            10 | 11 if has => {
                tx.set(key, attributes_of(version))?;
                model.entry(key).and_modify(|entry| entry.2 = Some(version));
            }
            12 if has => {
                tx.remove_attributes(key)?;
                model.entry(key).and_modify(|entry| entry.2 = None);
            }
            13 => {
                let number = random.random_range(0..20);
                let key = tx.name_or_insert(name_of(number))?;
                tx.upsert(key, &vector(key, version, DIMENSION))?;
                model.entry(key).or_insert((version, None, None, Some(number))).0 = version;
            }
            14 => {
                let number = random.random_range(0..20);
                let named = model.iter().find(|(_, entry)| entry.3 == Some(number));
                let key = named.map(|(&key, _)| key);
                assert_eq!(tx.remove_named(name_of(number))?, key);
                model.retain(|other, _| Some(*other) != key);
            }
            15 => {
                let (from, to) = (random.random_range(0..20), random.random_range(0..20));
                let has = |number| model.values().any(|entry| entry.3 == Some(number));
                if has(from) && !has(to) {
                    let key = tx.rename(name_of(from), name_of(to))?;
                    model.entry(key).and_modify(|entry| entry.3 = Some(to));
                }
            }
            _ => {}
        }
    }
    if random.random_range(0..10) == 0 {
        *model = before;
        return Ok(false);
    }
    let immediate = random.random_range(0..4) != 0;
    if !immediate {
        tx.set_durability(Durability::Eventual);
    }
    tx.commit().map(|_| immediate)
}

/// Returns the contents of the collection, after checking all of it.
fn content(collection: &Collection, met: &mut Met) -> Result<Content, String> {
    let report = collection.check().map_err(|e| format!("check: {e}"))?;
    if !report.is_ok() {
        return Err(format!("check: {report}"));
    }
    let mut found = Vec::new();
    let mut keys = collection.keys();
    keys.sort_unstable();
    for key in keys {
        let Some(stored) = collection.get(key) else { continue };
        // Few candidates, so that a collection of many keys is walked: a walk may miss the key, and a scan must not.
        let near = collection.search(&stored).k(1).ef(16).run().map_err(|e| e.to_string())?;
        met.searched += 1;
        met.missed += usize::from(near[0].key != key);
        let hits = collection.search(&stored).k(1).ef(1000).run().map_err(|e| e.to_string())?;
        if hits[0].key != key || hits[0].distance != 0.0 {
            return Err(format!("key {key} is not its own nearest neighbour: {hits:?}"));
        }
        let payload = collection.payload(key).map_err(|e| e.to_string())?;
        let attributes = collection.attributes(key).map_err(|e| e.to_string())?;
        let name = collection.name_of(key).map_err(|e| e.to_string())?;
        met.named += usize::from(name.is_some());
        found.push((key, stored.iter().map(|x| x.to_bits()).collect(), payload, attributes, name));
    }
    // Each name has a key with a vector: a removed one is gone from both tables.
    let names = collection.names().and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let names = names.map_err(|e| e.to_string())?;
    let mut named: Vec<(Vec<u8>, u64)> =
        found.iter().filter_map(|entry| Some((entry.4.clone()?, entry.0))).collect();
    named.sort_unstable();
    if !names
        .iter()
        .map(|(name, key)| (&name[..], *key))
        .eq(named.iter().map(|(n, k)| (&n[..], *k)))
    {
        return Err(format!("the names are {names:?}, not {named:?}"));
    }
    let even = field("parity").eq("even").and(field("tags").has("all"));
    let selected = collection.matching(&even).map_err(|e| e.to_string())?;
    let is_even = |entry: &&(u64, _, _, Option<Attributes>, _)| {
        entry.3.as_ref().is_some_and(|attributes| attributes.get("parity") == Some(&"even".into()))
    };
    let expected: Vec<u64> = found.iter().filter(is_even).map(|entry| entry.0).collect();
    met.selected += expected.len();
    if selected.iter().collect::<Vec<_>>() != expected {
        return Err(format!("{selected:?} is selected, not {expected:?}"));
    }
    if found.len() != collection.len() {
        return Err(format!("{} keys are found of {}", found.len(), collection.len()));
    }
    Ok(found)
}

fn expected(model: &Model) -> Content {
    let bits = |key, version| vector(key, version, DIMENSION).iter().map(|x| x.to_bits()).collect();
    let entry = |(&key, (version, payload, attributes, name)): (&u64, &Entry)| {
        let attributes = attributes.map(attributes_of);
        (key, bits(key, *version), payload.clone(), attributes, name.map(name_of))
    };
    model.iter().map(entry).collect()
}

/// Runs one life of a collection, from opening to the cut. Returns the failure, if any.
fn live(
    random: &mut Xoshiro256PlusPlus,
    disk: &SimulatedDisk,
    candidates: &mut Vec<Model>,
    (history, version): (u64, &mut u64),
    met: &mut Met,
) -> Result<(), String> {
    let fresh = disk.image().unwrap().is_empty();
    let failed = |error: CollectionError| {
        if disk.is_off() { Ok(()) } else { Err(format!("unexpected error: {error}")) }
    };
    let collection = match settings(history).open_simulated(disk) {
        Ok(collection) => collection,
        Err(error) => {
            met.in_creation += usize::from(fresh);
            return failed(error);
        }
    };
    while !disk.is_off() {
        let mut next = candidates.last().cloned().unwrap_or_default();
        *version += 1;
        let result = match random.random_range(0..24) {
            0 => {
                let result = collection.checkpoint();
                met.in_checkpoint += usize::from(result.is_err());
                result.map(|()| true)
            }
            1 => {
                let result = collection.compact().map(|_| true);
                met.in_compaction += usize::from(result.is_err());
                result
            }
            2 => {
                let snapshot = collection.snapshot().map_err(|e| e.to_string());
                if let Ok(snapshot) = snapshot
                    && snapshot.len() != next.len()
                {
                    return Err("a snapshot does not show the last commit".to_owned());
                }
                Ok(false)
            }
            _ => {
                let result = change(random, &collection, &mut next, *version);
                candidates.push(next);
                result
            }
        };
        match result {
            // The commit was acknowledged as durable, so no older state may be found.
            Ok(true) => {
                candidates.drain(..candidates.len() - 1);
            }
            Ok(false) => {}
            Err(error) => return failed(error),
        }
        let last = candidates.last().map(expected).unwrap_or_default();
        if collection.len() != last.len() {
            return Err("a search does not see the last commit".to_owned());
        }
    }
    Ok(())
}

fn run(seed: u64, cuts: usize, met: &mut Met) -> Result<(), String> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut disk = SimulatedDisk::new();
    let mut candidates = vec![Model::new()];
    let mut version = 0;
    for _ in 0..cuts {
        let life = match random.random_range(0..4) {
            0 => random.random_range(1..8),
            1 => random.random_range(1..20),
            _ => random.random_range(1..120),
        };
        disk.power_off_after(life);
        live(&mut random, &disk, &mut candidates, (seed, &mut version), met)?;
        met.cuts += 1;
        let cut = any_cut(&mut random);
        disk = disk.after_power_cut(cut, random.random());
        // The check reads a copy, because checking may write.
        let copy = SimulatedDisk::from_image(disk.image().unwrap()).unwrap();
        let collection =
            settings(seed).open_simulated(&copy).map_err(|e| format!("{cut:?}: open: {e}"))?;
        met.replayed += collection.recovery().operations;
        let stats = collection.stats().map_err(|e| format!("{cut:?}: stats: {e}"))?;
        met.with_deltas += usize::from(stats.delta_bytes > 0);
        // Each commit of this history writes a delta, so operations to replay show that a delta was cut.
        met.delta_was_cut += usize::from(seed % 3 == 1 && collection.recovery().operations > 0);
        let found = content(&collection, met).map_err(|e| format!("{cut:?}: {e}"))?;
        let position = candidates.iter().rposition(|model| expected(model) == found);
        let position = position.ok_or_else(|| {
            format!("{cut:?}: neither the last commit nor one in flight, of {}", candidates.len())
        })?;
        met.in_flight += usize::from(position > 0);
        met.largest = met.largest.max(found.len());
        candidates = vec![candidates.swap_remove(position)];
        if disk.image().unwrap().len() > 8 << 20 || found.len() > 280 {
            disk = SimulatedDisk::new();
            candidates = vec![Model::new()];
        }
    }
    Ok(())
}

fn cuts() -> usize {
    std::env::var("NEARFIELD_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(250)
}

#[test]
fn every_power_cut_leaves_the_last_commit() {
    leave_the_last_commit(cuts());
}

#[test]
#[ignore = "long: `just test-all`"]
fn every_power_cut_of_many_leaves_the_last_commit() {
    leave_the_last_commit(500);
}

fn leave_the_last_commit(cuts: usize) {
    let mut met = Met::default();
    let per_history = 50;
    for seed in 0..(cuts / per_history) as u64 {
        if let Err(what) = run(seed, per_history, &mut met) {
            panic!("history {seed}, cut {}: {what}", met.cuts % per_history);
        }
    }
    println!("{met:?}");
    assert!(met.in_creation > 0 && met.in_flight > 0 && met.replayed > 0 && met.largest > 100);
    assert!(met.with_deltas > 0 && met.delta_was_cut > 0);
    assert!(met.in_checkpoint > 0 && met.in_compaction > 0 && met.selected > met.cuts);
    assert!(met.named > met.cuts);
    assert!(met.missed * 100 < met.searched, "walks miss what is there");
}
