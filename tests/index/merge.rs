//! Collections merged into one: no data is lost, the order does not matter, and contradictions are refused by name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield::collection::ConflictRule;
use nearfield::dataset::Generated;
use nearfield::{
    CancelToken, Collection, CollectionBuilder, CollectionError, IndexError, Metric, Originals,
    Quantization, Snapshot, Transaction, attributes,
};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 16;

/// Makes a collection that is checkpointed and closed.
fn made(path: &Path, config: CollectionBuilder, fill: impl FnOnce(&mut Transaction)) -> PathBuf {
    let collection = config.create(path).unwrap();
    let mut tx = collection.begin_write().unwrap();
    fill(&mut tx);
    tx.commit().unwrap();
    collection.close().unwrap();
    path.to_owned()
}

fn snapshots<'p, P: IntoIterator<Item = &'p PathBuf>>(paths: P) -> Vec<Snapshot> {
    let snapshot = |path| Collection::open_read_only(path).unwrap().snapshot().unwrap();
    paths.into_iter().map(snapshot).collect()
}

fn whole(path: &Path, config: CollectionBuilder) -> Collection {
    let collection = open(path, config);
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    collection
}

/// Merges parts of a generated set and compares the recall with that of each part alone being right.
fn merged_recall(name: &str, config: impl Fn() -> CollectionBuilder) {
    let folder = Folder::new(name);
    let (base, queries) = Generated::builder(6000, DIMENSION).build().unwrap().into_parts();
    let base = base.to_f32().unwrap();
    let row = |key: u64| &base[key as usize * DIMENSION..][..DIMENSION];
    let sizes = [0..2500, 2500..4000, 4000..5980, 5980..6000];
    let paths: Vec<PathBuf> = (0..)
        .zip(sizes)
        .map(|(part, keys)| {
            made(&folder.file(&format!("part-{part}")), config(), |tx| {
                for key in keys {
                    tx.upsert(key, row(key)).unwrap();
                }
            })
        })
        .collect();
    let at = folder.file("whole");
    let merged = Collection::merge(&snapshots(&paths), &at).run().unwrap();
    assert_eq!((merged.vectors, merged.superseded), (6000, 0));
    let collection = whole(&at, config());
    let exact = nearfield::Flat::builder(DIMENSION, Metric::L2).build().unwrap();
    let keys: Vec<u64> = (0..6000).collect();
    exact.insert_batch(&keys, &base).run().unwrap();
    let truth = exact.search_batch(&queries).k(10).run().unwrap();
    let found = collection.search_batch(&queries).k(10).ef(100).run().unwrap();
    let right: usize = truth
        .iter()
        .zip(found.iter())
        .map(|(truth, found)| truth.iter().filter(|t| found.iter().any(|f| f.key == t.key)).count())
        .sum();
    let share = right as f64 / (10 * truth.len()) as f64;
    assert!(share > 0.93, "{share}");

    // The merged collection takes changes as any other.
    let mut tx = collection.begin_write().unwrap();
    for key in 0..500 {
        assert!(tx.remove(key).unwrap());
        tx.upsert(key + 10_000, row(key)).unwrap();
    }
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    collection.calibrate().run().unwrap();
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(collection.len(), 6000);
}

#[test]
fn the_merged_graph_is_whole_and_finds() {
    merged_recall("merge-plain", || config(DIMENSION));
}

#[test]
fn codes_are_made_for_all() {
    merged_recall("merge-codes", || config(DIMENSION).quantization(Quantization::Sq8));
    let product = Quantization::Pq { sub_vectors: DIMENSION / 2, bits: 4 };
    merged_recall("merge-product", || config(DIMENSION).quantization(product));
}

#[test]
fn the_same_inputs_make_the_same_bytes() {
    let folder = Folder::new("merge-order");
    let paths: Vec<PathBuf> = (0..4_u64)
        .map(|part| {
            made(&folder.file(&part.to_string()), config(DIMENSION), |tx| {
                for key in (0..1200).filter(|key| key % 4 == part) {
                    tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
                    tx.put_payload(key, &key.to_be_bytes()).unwrap();
                }
                for name in 0..3 {
                    let key = tx.name_or_insert(format!("name {part} {name}")).unwrap();
                    tx.upsert(key, &vector(key, part + 1, DIMENSION)).unwrap();
                }
            })
        })
        .collect();
    let merge = |order: [usize; 4], threads: usize| {
        let inputs = snapshots(order.map(|at| &paths[at]));
        let at = folder.file("merged");
        Collection::merge(&inputs, &at).threads(threads).run().unwrap();
        columns(&at)
    };
    let first = merge([0, 1, 2, 3], 1);
    for (order, threads) in [([3, 2, 1, 0], 1), ([1, 3, 0, 2], 4), ([0, 1, 2, 3], 3)] {
        assert!(merge(order, threads) == first, "{order:?} {threads}");
    }
}

/// Returns the columns of a saved index, without the parts that differ from one store to the next.
fn columns(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let store = nearfield::store::Store::open_read_only(path).unwrap();
    let tx = store.begin_read().unwrap();
    let mut all = Vec::new();
    for entry in tx.table::<u64>("columns").unwrap().entries().unwrap() {
        let (key, chunk) = entry.unwrap();
        let extent = u64::from_le_bytes(chunk[..8].try_into().unwrap());
        let bytes = tx.extent(nearfield::store::ExtentId(extent)).unwrap().bytes().unwrap();
        all.push((key, bytes.to_vec()));
    }
    for table in ["payloads", "names of keys"] {
        // Without names, the table of names does not exist.
        let Ok(table) = tx.table::<u64>(table) else { continue };
        for entry in table.entries().unwrap() {
            let (key, value) = entry.unwrap();
            all.push((key, value.to_vec()));
        }
    }
    all
}

#[test]
fn payloads_and_names_come_along_and_what_was_removed_does_not() {
    let folder = Folder::new("merge-names");
    let one = made(&folder.file("one"), config(DIMENSION), |tx| {
        for (name, number) in [("harbour", 1), ("bridge", 2), ("forgotten", 3)] {
            let key = tx.name_or_insert(name).unwrap();
            tx.upsert(key, &vector(number, 0, DIMENSION)).unwrap();
            tx.put_payload(key, name.as_bytes()).unwrap();
            tx.set(key, attributes! { "place" => name, "number" => number as i64 }).unwrap();
        }
        tx.name_or_insert("never used").unwrap();
        tx.upsert(7, &vector(7, 0, DIMENSION)).unwrap();
    });
    let collection = open(&one, config(DIMENSION));
    let mut tx = collection.begin_write().unwrap();
    let forgotten = tx.name_or_insert("forgotten").unwrap();
    assert!(tx.remove(forgotten).unwrap());
    assert!(tx.remove(7).unwrap());
    tx.commit().unwrap();
    collection.close().unwrap();
    let two = made(&folder.file("two"), config(DIMENSION), |tx| {
        for (name, number) in [(&[9_u8; 16][..], 5), (b"aqueduct", 6)] {
            let key = tx.name_or_insert(name).unwrap();
            tx.upsert(key, &vector(number, 0, DIMENSION)).unwrap();
            tx.put_payload(key, name).unwrap();
            // The fields have other numbers than in the other collection.
            let place = String::from_utf8_lossy(name);
            tx.set(key, attributes! { "arches" => 9, "place" => &*place }).unwrap();
        }
        // A user's own key in the range of named keys.
        tx.upsert((1 << 63) + 3, &vector(4, 0, DIMENSION)).unwrap();
    });
    let at = folder.file("whole");
    assert_eq!(Collection::merge(&snapshots([&one, &two]), &at).run().unwrap().vectors, 5);
    let collection = whole(&at, config(DIMENSION));
    let named = |number: u64| {
        let hits = collection.search(&vector(number, 0, DIMENSION)).k(1).run().unwrap();
        assert_eq!(hits[0].distance.to_bits(), 0);
        let key = hits[0].key;
        let payload = collection.payload(key).unwrap();
        let name = collection.name_of(key).unwrap();
        assert_eq!(name, payload);
        if let Some(name) = &name {
            assert_eq!(collection.key_of(name).unwrap(), Some(key));
        }
        (key, name)
    };
    assert_eq!(named(1).1.as_deref(), Some(&b"harbour"[..]));
    assert_eq!(named(2).1.as_deref(), Some(&b"bridge"[..]));
    assert_eq!(named(5).1.as_deref(), Some(&[9; 16][..]));
    assert_eq!(named(6).1.as_deref(), Some(&b"aqueduct"[..]));
    assert_eq!(named(4), ((1 << 63) + 3, None));
    for name in ["forgotten", "never used"] {
        assert_eq!(collection.key_of(name).unwrap(), None);
    }
    assert_eq!(
        collection.attributes(named(1).0).unwrap().unwrap(),
        attributes! { "place" => "harbour", "number" => 1 }
    );
    let selected = |text: &str| {
        let selection = collection.matching(&text.parse().unwrap()).unwrap();
        selection.iter().collect::<Vec<_>>()
    };
    assert_eq!(selected("place = 'aqueduct' and arches > 8"), [named(6).0]);
    assert_eq!(selected("number is not null and not number = 2"), [named(1).0]);
    assert_eq!(selected("place = 'forgotten'"), [0_u64; 0]);
    assert_eq!(selected("place is null"), [named(4).0]);
    let mut tx = collection.begin_write().unwrap();
    let key = tx.name_or_insert("later").unwrap();
    assert!(collection.name_of(key).unwrap().is_none() && !collection.contains(key));
}

#[test]
fn a_key_in_several_inputs_is_refused_or_decided_whatever_the_order() {
    let folder = Folder::new("merge-conflict");
    let part = |name: &str, version: u64, payload: &[u8]| {
        made(&folder.file(name), config(DIMENSION), |tx| {
            for key in 0..400 {
                // Half of the keys are equal in all inputs.
                let version = if key < 200 { 0 } else { version };
                tx.upsert(key, &vector(key, version, DIMENSION)).unwrap();
            }
            if !payload.is_empty() {
                tx.put_payload(333, payload).unwrap();
            }
        })
    };
    let paths = [part("a", 1, b"2024"), part("b", 2, b"2026"), part("c", 3, b"")];
    let at = folder.file("whole");
    let refused = Collection::merge(&snapshots(&paths), &at).run().unwrap_err();
    assert!(
        matches!(refused, CollectionError::MergeConflict { key: 200, name: None }),
        "{refused}"
    );
    assert!(!at.exists());
    let mut results = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let inputs = snapshots(order.map(|part| &paths[part]));
        let merge = Collection::merge(&inputs, &at).rule(ConflictRule::GreatestPayload);
        let merged = merge.run().unwrap();
        assert_eq!((merged.vectors, merged.superseded), (400, 800));
        let collection = whole(&at, config(DIMENSION));
        assert_eq!(collection.get(333), Some(vector(333, 2, DIMENSION)));
        assert_eq!(collection.payload(333).unwrap().as_deref(), Some(&b"2026"[..]));
        let vectors: Vec<_> = (0..400).map(|key| collection.get(key).unwrap()).collect();
        results.push((vectors, columns(&at)));
        for key in (0..400).step_by(9) {
            let query = collection.get(key).unwrap();
            let hits = collection.search(&query).k(1).ef(100).run().unwrap();
            assert_eq!(hits[0].key, key);
        }
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));

    let named = |name: &str, number: u64| {
        made(&folder.file(name), config(DIMENSION), |tx| {
            let key = tx.name_or_insert("quay").unwrap();
            tx.upsert(key, &vector(number, 0, DIMENSION)).unwrap();
        })
    };
    let paths = [named("d", 1), named("e", 2)];
    match Collection::merge(&snapshots(&paths), &at).run().unwrap_err() {
        CollectionError::MergeConflict { name: Some(name), .. } => assert_eq!(name, b"quay"),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_not_of_a_kind_is_refused_and_a_token_ends_it() {
    let folder = Folder::new("merge-refused");
    let fill = |tx: &mut Transaction| {
        for key in 0..300 {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
        }
    };
    let one = made(&folder.file("one"), config(DIMENSION), fill);
    let at = folder.file("whole");
    let mismatch = |other: CollectionBuilder, other_dimension: usize| {
        let two = folder.file("two");
        let _ = std::fs::remove_file(&two);
        made(&two, other, |tx| tx.upsert(1000, &vector(1000, 0, other_dimension)).unwrap());
        match Collection::merge(&snapshots([&one, &two]), &at).run().unwrap_err() {
            CollectionError::Mismatch { name, .. } => name,
            other => panic!("{other}"),
        }
    };
    assert_eq!(mismatch(config(8), 8), "dimension");
    assert_eq!(mismatch(Collection::builder(DIMENSION, Metric::Cosine), DIMENSION), "metric");
    assert_eq!(mismatch(config(DIMENSION).m(8), DIMENSION), "m");
    let codes = config(DIMENSION).quantization(Quantization::Sq4);
    assert_eq!(mismatch(codes, DIMENSION), "quantization");
    let nothing = Collection::merge(&[], &at).run().unwrap_err();
    assert!(matches!(
        nothing,
        CollectionError::Index(IndexError::Parameter { name: "inputs", .. })
    ));

    let three = made(&folder.file("three"), config(DIMENSION), |tx| {
        for key in 1000..1300 {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
        }
    });
    std::fs::write(&at, b"as it was").unwrap();
    let inputs = snapshots([&one, &three]);
    let (cancel, calls) = (CancelToken::new(), AtomicU64::new(0));
    let progress = |done: u64, total: u64| {
        assert!(done <= total && total == 300);
        calls.fetch_add(1, Ordering::Relaxed);
        cancel.cancel();
    };
    let merge = Collection::merge(&inputs, &at).progress(&progress).cancel(&cancel);
    assert!(matches!(merge.run().unwrap_err(), CollectionError::Cancelled));
    assert!(calls.load(Ordering::Relaxed) > 0);
    assert_eq!(std::fs::read(&at).unwrap(), b"as it was");
    assert_eq!(Collection::merge(&inputs, &at).run().unwrap().vectors, 600);
    // A merge of one input and an empty one, and of an empty one alone.
    let empty = made(&folder.file("empty"), config(DIMENSION), |_| ());
    assert_eq!(Collection::merge(&snapshots([&at, &empty]), &at).run().unwrap().vectors, 600);
    assert_eq!(whole(&at, config(DIMENSION)).len(), 600);
    let none = folder.file("none");
    assert_eq!(Collection::merge(&snapshots([&empty]), &none).run().unwrap().vectors, 0);
    let collection = whole(&none, config(DIMENSION));
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(5, &vector(5, 0, DIMENSION)).unwrap();
    tx.commit().unwrap();
    assert_eq!(collection.search(&vector(5, 0, DIMENSION)).run().unwrap()[0].key, 5);
}

#[test]
fn codes_of_one_quantizer_are_copied() {
    copies("merge-copied", Quantization::Sq8, Originals::Dropped);
}

#[test]
#[ignore = "long: `just test-all`"]
fn finer_codes_of_one_quantizer_are_copied() {
    copies("merge-copied-finer", Quantization::Sq4, Originals::Sq12);
}

fn copies(name: &str, quantization: Quantization, originals: Originals) {
    let folder = Folder::new(name);
    let dimension = 32;
    let settings = || config(dimension).quantization(quantization).originals(originals);
    let one = made(&folder.file("one"), settings(), |tx| {
        for key in 0..5000 {
            tx.upsert(key, &vector(key, 0, dimension)).unwrap();
        }
    });
    // Two collections with the same beginning and different changes after it.
    let two = folder.file("two");
    std::fs::copy(&one, &two).unwrap();
    for (path, removed, first) in [(&one, 0..2500, 10_000), (&two, 2500..5000, 20_000)] {
        let collection = open(path, settings());
        let mut tx = collection.begin_write().unwrap();
        for key in removed {
            tx.remove(key).unwrap();
        }
        for key in first..first + 200 {
            tx.upsert(key, &vector(key, 0, dimension)).unwrap();
        }
        tx.commit().unwrap();
        collection.close().unwrap();
    }
    let at = folder.file("whole");
    let inputs = snapshots([&one, &two]);
    assert_eq!(Collection::merge(&inputs, &at).run().unwrap().vectors, 5400);
    let collection = whole(&at, settings());
    for key in (0..5000).step_by(7).chain(10_000..10_200).chain(20_000..20_200) {
        let input = &inputs[usize::from(!(2500..20_000).contains(&key))];
        // The vectors are equal to the bit, because no vector was encoded twice.
        let (before, after) = (input.get(key).unwrap(), collection.get(key).unwrap());
        assert!(before.iter().zip(&after).all(|(a, b)| a.to_bits() == b.to_bits()), "{key}");
    }
}
