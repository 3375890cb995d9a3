//! Names, entries and pages: all of a collection, listed, against a plain model.

use std::collections::{BTreeMap, BTreeSet};

use nearfield::collection::{Entry, ScrollCursor};
use nearfield::store::StoreOptions;
use nearfield::{Attributes, Collection, CollectionError, ErrorKind, Snapshot, attributes, field};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 4;

/// The parts of an entry: vector, name, attributes, payload.
type Parts = (Vec<f32>, Option<Vec<u8>>, Option<Attributes>, Option<Vec<u8>>);

type Model = BTreeMap<u64, Parts>;

fn parts(entry: Entry<'_>) -> (u64, Parts) {
    let Entry { key, vector, name, attributes, payload, .. } = entry.into_owned();
    (key, (vector, name.map(Into::into), attributes, payload.map(Into::into)))
}

fn listed(collection: &Collection) -> Model {
    let owned: Vec<_> = collection.entries().unwrap().map(|entry| parts(entry.unwrap())).collect();
    assert!(owned.is_sorted_by_key(|(key, _)| *key));
    let snapshot = collection.snapshot().unwrap();
    assert_eq!(snapshot_of(&snapshot), owned);
    owned.into_iter().collect()
}

fn snapshot_of(snapshot: &Snapshot) -> Vec<(u64, Parts)> {
    snapshot.entries().unwrap().map(|entry| parts(entry.unwrap())).collect()
}

fn names(collection: &Collection) -> Vec<(Vec<u8>, u64)> {
    let owned = collection.names().unwrap().map(Result::unwrap);
    let owned: Vec<_> = owned.map(|(name, key)| (name.into_owned(), key)).collect();
    let snapshot = collection.snapshot().unwrap();
    let borrowed = snapshot.names().unwrap().map(Result::unwrap);
    let borrowed: Vec<_> = borrowed.map(|(name, key)| (name.into_owned(), key)).collect();
    assert_eq!(owned, borrowed);
    owned
}

/// Makes changes of every kind, in the collection and in the model.
fn change(random: &mut SmallRng, collection: &Collection, model: &mut Model, version: u64) {
    let mut tx = collection.begin_write().unwrap();
    for _ in 0..random.random_range(1..30) {
        let name = format!("name {}", random.random_range(0..40));
        let key = if random.random() {
            random.random_range(0..60)
        } else {
            tx.name_or_insert(&name).unwrap()
        };
        let parts = model.entry(key).or_default();
        parts.0 = vector(key, version, DIMENSION);
        tx.upsert(key, &parts.0).unwrap();
        parts.1 = (key >= 1 << 63).then(|| name.into_bytes());
        match random.random_range(0..8) {
            0 | 1 => {
                let attributes =
                    attributes! { "version" => version as i64, "even" => key % 2 == 0 };
                tx.set(key, attributes.clone()).unwrap();
                parts.2 = Some(attributes);
            }
            2 => {
                parts.3 = Some(vec![version as u8; random.random_range(0..6)]);
                tx.put_payload(key, parts.3.as_ref().unwrap()).unwrap();
            }
            3 => {
                assert!(tx.remove(key).unwrap());
                model.remove(&key);
            }
            4 if parts.1.is_some() => {
                let renamed = format!("renamed {}", random.random_range(0..20));
                match tx.rename(parts.1.as_ref().unwrap(), &renamed) {
                    Ok(same) => {
                        assert_eq!(same, key);
                        parts.1 = Some(renamed.into_bytes());
                    }
                    Err(CollectionError::NameTaken { key: other, .. }) => {
                        assert_eq!(model[&other].1, Some(renamed.into_bytes()));
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            5 if parts.1.is_some() => {
                let name = parts.1.take().unwrap();
                assert_eq!(tx.remove_name(&name).unwrap(), Some(key));
                assert_eq!(tx.name_of(key).unwrap(), None);
                assert_eq!(tx.remove_name(&name).unwrap(), None);
            }
            6 if parts.1.is_some() && random.random_range(0..4) == 0 => {
                let name = parts.1.clone().unwrap();
                assert_eq!(tx.remove_named(&name).unwrap(), Some(key));
                model.remove(&key);
            }
            _ => {}
        }
    }
    tx.commit().unwrap();
}

fn names_of(model: &Model) -> Vec<(Vec<u8>, u64)> {
    let named = model.iter().filter_map(|(&key, parts)| Some((parts.1.clone()?, key)));
    let sorted: BTreeSet<_> = named.collect();
    sorted.into_iter().collect()
}

#[test]
fn listings_show_one_moment_of_any_history() {
    let folder = Folder::new("listings");
    let path = folder.file("c.nf");
    let mut random = SmallRng::seed_from_u64(4);
    let mut collection = open(&path, config(DIMENSION).checkpoint_after(9000));
    let mut model = Model::new();
    let mut given = BTreeMap::new();
    for version in 0..80 {
        let before = (collection.snapshot().unwrap(), model.clone());
        change(&mut random, &collection, &mut model, version);
        assert_eq!(listed(&collection), model);
        let snapshot = snapshot_of(&before.0);
        assert_eq!(snapshot, before.1.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(names(&collection), names_of(&model));
        // A key from 2^63 on is the name's that it was given for, and never another's, but by `rename`.
        for (&key, parts) in &model {
            if key >= 1 << 63 && !before.1.contains_key(&key) {
                assert!(given.insert(key, parts.1.clone()).is_none(), "{key} is given twice");
            }
        }
        let even = field("even").eq(true);
        let is_even =
            |parts: &Parts| parts.2.as_ref().and_then(|a| a.get("even")) == Some(&true.into());
        let count = model.values().filter(|parts| is_even(parts)).count();
        assert_eq!(collection.count(&even).unwrap(), count);
        assert_eq!(collection.snapshot().unwrap().count(&even).unwrap(), count);
        assert_eq!(collection.begin_write().unwrap().count(&even).unwrap(), count);
        if version % 9 == 8 {
            let report = collection.check().unwrap();
            assert!(report.is_ok(), "{report}");
            drop(before);
            drop(collection);
            collection = open(&path, config(DIMENSION).checkpoint_after(9000));
        }
    }
    assert!(given.len() > 60 && model.len() > 40, "{} {}", given.len(), model.len());
    let copy = folder.file("copy.nf");
    collection.backup(&copy).unwrap();
    let copy = Collection::open(&copy).unwrap();
    assert_eq!((listed(&copy), names(&copy)), (model.clone(), names_of(&model)));
    // The copy knows the keys of removed names, too.
    for named in [&collection, &copy] {
        let mut tx = named.begin_write().unwrap();
        let key = tx.name_or_insert("a new name").unwrap();
        assert!(!given.contains_key(&key) && !model.contains_key(&key));
    }
    // A merge gives keys anew; entries and names are the same.
    let path = folder.file("merged.nf");
    Collection::merge(&[collection.snapshot().unwrap()], &path).run().unwrap();
    let merged = Collection::open(&path).unwrap();
    let sorted = |model: Model| -> Vec<_> {
        let mut all: Vec<_> =
            model.into_iter().map(|(key, parts)| (key % (1 << 63), parts)).collect();
        all.iter_mut().filter(|(_, parts)| parts.1.is_some()).for_each(|(key, _)| *key = 0);
        all.sort_by(|a, b| (a.0, &a.1.1).cmp(&(b.0, &b.1.1)));
        all
    };
    assert_eq!(sorted(listed(&merged)), sorted(model));
    assert!(merged.check().unwrap().is_ok());
}

#[test]
fn a_removed_key_has_no_name() {
    let folder = Folder::new("forgotten");
    let path = folder.file("c.nf");
    let collection = open(&path, config(DIMENSION));
    let mut tx = collection.begin_write().unwrap();
    let keys = ["first", "second", "third"].map(|name| tx.name_or_insert(name).unwrap());
    for key in keys {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    // A name without a vector.
    let reserved = tx.name_or_insert("reserved").unwrap();
    tx.commit().unwrap();
    let before = collection.snapshot().unwrap();
    let mut tx = collection.begin_write().unwrap();
    assert!(tx.remove(keys[0]).unwrap() && !tx.remove(reserved).unwrap());
    tx.set(keys[1], attributes! { "old" => true }).unwrap();
    assert_eq!(tx.remove_where(&field("old").eq(true)).unwrap(), 1);
    assert_eq!(tx.key_of("first").unwrap(), None);
    // A transaction that is dropped removes no name.
    drop(tx);
    assert_eq!(collection.key_of("first").unwrap(), Some(keys[0]));
    let mut tx = collection.begin_write().unwrap();
    for key in [keys[0], keys[2], reserved] {
        tx.remove(key).unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(names(&collection), [(b"second".to_vec(), keys[1])]);
    assert_eq!(collection.name_of(keys[0]).unwrap(), None);
    assert_eq!(before.name_of(keys[0]).unwrap(), Some(&b"first"[..]));
    assert_eq!(before.key_of("reserved").unwrap(), Some(reserved));
    drop((before, collection));
    let collection = open(&path, config(DIMENSION));
    assert_eq!(names(&collection), [(b"second".to_vec(), keys[1])]);
    let mut tx = collection.begin_write().unwrap();
    // The keys of removed names stay theirs: a reader that has one finds no other entry under it.
    let again = tx.name_or_insert("first").unwrap();
    assert!(again > reserved);
    assert_eq!(tx.name_or_insert("another").unwrap(), again + 1);
    assert!(tx.name_or_insert("n".repeat(600)).is_err());
    let refused = tx.rename("first", "n".repeat(600)).unwrap_err();
    assert!(matches!(refused, CollectionError::NameTooLong { len: 600, max: 512 }), "{refused}");
    assert_eq!(tx.rename("first", "first").unwrap(), again);
    let refused = tx.rename("first", "second").unwrap_err();
    assert!(matches!(&refused, CollectionError::NameTaken { key, .. } if *key == keys[1]));
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert!(refused.to_string().contains("\"second\""), "{refused}");
    let refused = tx.rename("third", "fourth").unwrap_err();
    assert!(matches!(&refused, CollectionError::NameMissing { name } if name == b"third"));
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(tx.rename("first", "fourth").unwrap(), again);
    assert_eq!((tx.key_of("first").unwrap(), tx.key_of("fourth").unwrap()), (None, Some(again)));
    assert_eq!(tx.name_of(again).unwrap().as_deref(), Some(&b"fourth"[..]));
    tx.commit().unwrap();
    assert!(collection.check().unwrap().is_ok());
}

#[test]
fn pages_give_each_entry_once_whatever_is_committed_between_them() {
    let folder = Folder::new("pages");
    let path = folder.file("c.nf");
    let collection = open(&path, config(1));
    let mut random = SmallRng::seed_from_u64(9);
    let put = |collection: &Collection, keys: &[u64]| {
        let mut tx = collection.begin_write().unwrap();
        for &key in keys {
            tx.upsert(key, &[(key % 1000) as f32]).unwrap();
            tx.set(key, attributes! { "third" => key % 3 == 0 }).unwrap();
        }
        tx.commit().unwrap();
    };
    let extremes = [0, 1, (1 << 32) - 1, u64::MAX - 1, u64::MAX];
    put(&collection, &extremes);
    put(&collection, &(100..400).collect::<Vec<_>>());
    let third = field("third").eq(true);
    for (predicate, limit) in [(None, 7), (Some(&third), 5), (None, 1000), (Some(&third), 1)] {
        let is_wanted = |key: &u64| predicate.is_none() || key.is_multiple_of(3);
        let at_first: BTreeSet<u64> = collection.keys().into_iter().filter(is_wanted).collect();
        let moment = collection.snapshot().unwrap();
        let (mut all, mut after) = (Vec::new(), None);
        let mut ever = at_first.clone();
        let mut always = at_first.clone();
        loop {
            let page = collection.scroll(predicate, after, limit).unwrap();
            assert!(page.entries.len() <= limit);
            all.extend(page.entries.iter().map(|entry| entry.key));
            let Some(next) = page.next else { break };
            assert_eq!(Some(next.last_key()), all.last().copied());
            after = Some(next.to_string().parse::<ScrollCursor>().unwrap());
            assert_eq!(after, Some(ScrollCursor::from_bytes(next.to_bytes())));
            let (added, removed) = (random.random_range(0..500), random.random_range(0..500));
            put(&collection, &[added]);
            ever.extend([added].iter().filter(|key| is_wanted(key)));
            let mut tx = collection.begin_write().unwrap();
            if added != removed && tx.remove(removed).unwrap() {
                always.remove(&removed);
            }
            tx.commit().unwrap();
        }
        assert!(all.is_sorted_by(|a, b| a < b));
        let all: BTreeSet<u64> = all.into_iter().collect();
        assert!(always.is_subset(&all) && all.is_subset(&ever), "{limit}");
        // Pages of a snapshot are those of its moment.
        let (mut all, mut after) = (BTreeSet::new(), None);
        loop {
            let page = moment.scroll(predicate, after, limit).unwrap();
            all.extend(page.entries.iter().map(|entry| entry.key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, at_first);
    }
    let behind_all = Some(ScrollCursor::after(u64::MAX));
    for predicate in [None, Some(&third)] {
        let page = collection.scroll(predicate, behind_all, 3).unwrap();
        assert!(page.entries.is_empty() && page.next.is_none());
    }
    assert!(collection.scroll(None, None, 0).is_err());
    assert!(collection.scroll(Some(&field("a").eq(f64::NAN)), behind_all, 1).is_err());
    for text in ["", "0", "00000000000000FF", "000000000000000g", "+000000000000001", "\u{e9}"] {
        let refused = text.parse::<ScrollCursor>().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    }
}

/// Changes tables of the file under the collection.
fn damage(
    path: &std::path::Path,
    table: &str,
    change: impl FnOnce(Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Option<Vec<u8>>)>,
) {
    let store = StoreOptions::new().open(path).unwrap();
    let mut tx = store.begin_write().unwrap();
    let mut table = tx.table::<[u8]>(table).unwrap();
    let entries = table.entries().unwrap().map(|entry| entry.unwrap());
    let entries = entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    for (key, value) in change(entries) {
        match value {
            Some(value) => table.insert(&key, &value).map(drop).unwrap(),
            None => table.remove(&key).map(drop).unwrap(),
        }
    }
    tx.commit().unwrap();
}

#[test]
fn the_check_finds_entries_that_contradict_records() {
    let folder = Folder::new("contradictions");
    let path = folder.file("c.nf");
    let collection = open(&path, config(1));
    let mut tx = collection.begin_write().unwrap();
    // Chunks of keys far from each other, and one of two neighbours.
    for key in [3, 4, 1 << 14, 1 << 40, u64::MAX] {
        tx.upsert(key, &[1.0]).unwrap();
        tx.set(key, attributes! { "n" => key as i64, "tags" => ["a", "b"] }).unwrap();
    }
    for name in ["x", "y"] {
        let key = tx.name_or_insert(name).unwrap();
        tx.upsert(key, &[2.0]).unwrap();
    }
    tx.commit().unwrap();
    collection.close().unwrap();
    let faults = |path: &std::path::Path| {
        let report = open(path, config(1)).check().unwrap();
        assert_eq!(report.is_ok(), report.attribute_faults + report.name_faults == 0, "{report}");
        (report.attribute_faults, report.name_faults)
    };
    assert_eq!(faults(&path), (0, 0));
    let index = "index of attributes";
    let mut kept = Vec::new();
    damage(&path, index, |entries| {
        kept = entries;
        // One is missing, one lacks a key, and one has keys that no record tells.
        let (missing, pair) =
            (kept[0].clone(), kept.iter().rfind(|(_, keys)| keys.len() == 5).unwrap());
        let surplus = [&pair.0[..pair.0.len() - 7], &[0, 0, 0, 0, 0, 9, 9]].concat();
        vec![
            (missing.0, None),
            (pair.0.clone(), Some(pair.1[..3].to_vec())),
            (surplus, Some(pair.1.clone())),
        ]
    });
    assert_eq!(faults(&path), (3, 0));
    // Bytes that are no keys.
    damage(&path, index, |_| vec![(kept[1].0.clone(), Some(vec![9]))]);
    assert_eq!(faults(&path).0, 4);
    damage(&path, index, |entries| {
        let gone = entries.into_iter().map(|(key, _)| (key, None));
        gone.chain(kept.iter().map(|(key, value)| (key.clone(), Some(value.clone())))).collect()
    });
    assert_eq!(faults(&path), (0, 0));
    damage(&path, "keys of names", |entries| {
        let [(x, first), (y, _)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((&x[..], &y[..]), (&b"x"[..], &b"y"[..]));
        vec![(y.clone(), Some(first.clone())), (b"z".to_vec(), Some(vec![1, 2]))]
    });
    // `y` has the key of `x`, the key of `y` has no such name, and `z` has none.
    assert_eq!(faults(&path), (0, 3));
}
