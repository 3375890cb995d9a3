//! Collections as a user meets them: commits are found, here and after opening again; changes without a commit leave no trace.

use nearfield::store::{Store, StoreError};
use nearfield::{
    Collection, CollectionBuilder, CollectionError, Element, ErrorKind, Hnsw, IndexError, Metric,
};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 8;

fn config_small() -> CollectionBuilder {
    config(DIMENSION)
}

#[test]
fn a_commit_is_found_and_a_rollback_leaves_no_trace() {
    let folder = Folder::new("collection");
    let path = folder.file("c.nf");
    let collection = config_small().create(&path).unwrap();
    assert!(matches!(config_small().create(&path), Err(CollectionError::Exists { .. })));
    let snapshot = collection.snapshot().unwrap();
    let shape = (collection.dimension(), collection.metric(), collection.element());
    assert_eq!(shape, (DIMENSION, Metric::L2, Element::F32));
    assert_eq!(shape, (snapshot.dimension(), snapshot.metric(), snapshot.element()));
    drop(snapshot);
    let mut tx = collection.begin_write().unwrap();
    for key in 0..100 {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    tx.put_payload(7, b"seven").unwrap();
    assert!(tx.contains(7) && !collection.contains(7));
    assert_eq!(tx.payload(7).unwrap().as_deref(), Some(&b"seven"[..]));
    assert!(matches!(tx.put_payload(100, b""), Err(CollectionError::KeyMissing { key: 100 })));
    assert_eq!(tx.commit().unwrap(), 1);

    let mut tx = collection.begin_write().unwrap();
    tx.upsert(500, &vector(500, 0, DIMENSION)).unwrap();
    tx.put_payload(7, b"changed").unwrap();
    tx.upsert(7, &vector(7, 1, DIMENSION)).unwrap();
    assert!(tx.remove(8).unwrap() && !tx.remove(8).unwrap() && !tx.contains(8));
    assert!(tx.payload(8).unwrap().is_none() && collection.contains(8));
    let wrong = tx.upsert(501, &[0.0; 3]);
    assert!(matches!(wrong, Err(CollectionError::Index(IndexError::Vector(_)))));
    drop(tx);
    assert!(!collection.contains(500));
    assert_eq!(collection.payload(7).unwrap().as_deref(), Some(&b"seven"[..]));

    let found = collection.search(&vector(42, 0, DIMENSION)).k(1).run().unwrap();
    assert_eq!((found[0].key, collection.len()), (42, 100));
    let mut tx = collection.begin_write().unwrap();
    let keys = [600, 601];
    let both = [vector(600, 0, DIMENSION), vector(601, 0, DIMENSION)].concat();
    assert!(matches!(
        tx.upsert_batch(&keys[..1], &both),
        Err(CollectionError::Index(IndexError::BatchLength { keys: 1, vectors: 2 }))
    ));
    tx.upsert_batch(&keys, &both).unwrap();
    assert_eq!(tx.commit().unwrap(), 2);
    // A transaction without changes makes no commit.
    assert_eq!(collection.begin_write().unwrap().commit().unwrap(), 2);

    // The collection is dropped without a close: the journal has all changes.
    drop(collection);
    let collection = open(&path, config_small());
    assert_eq!(collection.recovery().operations, 102);
    assert_eq!(collection.len(), 102);
    assert_eq!(collection.search(&both[..DIMENSION]).k(1).run().unwrap()[0].key, 600);
    collection.close().unwrap();
    let collection = open(&path, config_small());
    assert_eq!(collection.recovery().operations, 0);
    assert_eq!(collection.len(), 102);
    assert_eq!(collection.search(&both[DIMENSION..]).k(1).run().unwrap()[0].key, 601);
    assert_eq!(collection.payload(7).unwrap().as_deref(), Some(&b"seven"[..]));
    assert_eq!(collection.get(42), Some(vector(42, 0, DIMENSION)));
}

#[test]
fn opening_compares_what_is_said_with_the_file() {
    let folder = Folder::new("mismatch");
    let path = folder.file("c.nf");
    drop(config_small().m(5).element(Element::F16).create(&path).unwrap());
    let named = |config: CollectionBuilder| match config.open(&path) {
        Err(CollectionError::Mismatch { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(Collection::builder(9, Metric::L2)), "dimension");
    assert_eq!(named(Collection::builder(DIMENSION, Metric::Cosine)), "metric");
    assert_eq!(named(config_small().element(Element::F32)), "element");
    assert_eq!(named(config_small().m(6)), "m");
    assert_eq!(named(config_small().ef_construction(333)), "ef_construction");
    assert_eq!(named(config_small().seed(3)), "seed");
    assert_eq!(named(config_small().alpha(1.5)), "alpha");
    // Settings that the caller does not give are read from the file.
    let collection = open(&path, Collection::builder(DIMENSION, Metric::L2));
    assert!(matches!(
        config_small().open(&path),
        Err(CollectionError::Store(StoreError::Locked { .. }))
    ));
    drop(collection);
    let index = Hnsw::open(&path).unwrap();
    assert_eq!((index.element(), index.len()), (Element::F16, 0));
}

#[test]
fn a_file_has_all_settings() {
    let folder = Folder::new("settings");
    let path = folder.file("c.nf");
    let builder = config_small().m(5).seed(11).alpha(1.2).element(Element::F16);
    drop(builder.clone().create(&path).unwrap());
    let collection = Collection::open(&path).unwrap();
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(1, &vector(1, 0, DIMENSION)).unwrap();
    tx.commit().unwrap();
    assert!(matches!(
        Collection::open(&path),
        Err(CollectionError::Store(StoreError::Locked { .. }))
    ));
    collection.close().unwrap();
    assert_eq!(builder.open(&path).unwrap().len(), 1);
    // The file of an index is a collection, too.
    let index = Hnsw::builder(DIMENSION, Metric::Cosine).build().unwrap();
    index.insert(3, &vector(3, 0, DIMENSION)).unwrap();
    index.save(folder.file("index.nf")).unwrap();
    let collection = Collection::open(folder.file("index.nf")).unwrap();
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(4, &vector(4, 0, DIMENSION)).unwrap();
    tx.commit().unwrap();
    assert_eq!(collection.search(&vector(4, 0, DIMENSION)).k(1).run().unwrap()[0].key, 4);
}

#[test]
fn one_of_several_makers_wins() {
    let folder = Folder::new("makers");
    for round in 0..20 {
        let path = folder.file(&format!("{round}.nf"));
        let made = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| config_small().m(6).create(&path).map(Collection::close)))
                .collect();
            let opener = scope.spawn(|| {
                for _ in 0..20 {
                    match Collection::open(&path) {
                        Ok(found) => assert!(found.is_empty()),
                        Err(error) => assert!(
                            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Locked),
                            "{error:?}"
                        ),
                    }
                }
            });
            opener.join().unwrap();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect::<Vec<_>>()
        });
        let refused = made.iter().filter_map(|made| made.as_ref().err());
        assert!(refused.clone().all(|e| e.kind() == ErrorKind::AlreadyExists), "{made:?}");
        assert_eq!(refused.count(), 3);
        assert!(Collection::open(&path).unwrap().is_empty());
    }
}

#[test]
fn a_snapshot_shows_one_commit() {
    let folder = Folder::new("snapshot");
    let path = folder.file("c.nf");
    // A checkpoint follows every few commits.
    let collection = config_small().checkpoint_after(2000).create(&path).unwrap();
    let reader = Collection::open_read_only(&path).unwrap();
    assert_eq!(reader.snapshot().unwrap().len(), 0);
    let mut kept = Vec::new();
    for commit in 1..=60_u64 {
        let mut tx = collection.begin_write().unwrap();
        for key in commit * 10..commit * 10 + 10 {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
        }
        tx.put_payload(10, &commit.to_le_bytes()).unwrap();
        assert_eq!(tx.commit().unwrap(), commit);
        for snapshot in [collection.snapshot().unwrap(), reader.snapshot().unwrap()] {
            assert_eq!(snapshot.number(), commit);
            assert_eq!(snapshot.len() as u64, commit * 10);
            let key = commit * 10 + commit % 10;
            let hits = snapshot.search(&vector(key, 0, DIMENSION)).k(1).run().unwrap();
            assert_eq!((hits[0].key, hits[0].distance.to_bits()), (key, 0));
            if commit % 7 == 0 {
                kept.push(snapshot);
            }
        }
    }
    for snapshot in &kept {
        let commit = snapshot.number();
        assert_eq!(snapshot.len() as u64, commit * 10);
        assert_eq!(snapshot.payload(10).unwrap(), Some(&commit.to_le_bytes()[..]));
        assert!(snapshot.contains(commit * 10 + 9) && !snapshot.contains(commit * 10 + 10));
        for key in (10..commit * 10 + 10).step_by(13) {
            let hits = snapshot.search(&vector(key, 0, DIMENSION)).k(1).ef(80).run().unwrap();
            assert_eq!(hits[0].key, key);
        }
    }
    assert!(kept.len() > 10);
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_growing_collection_is_checkpointed_and_stays_whole() {
    let folder = Folder::new("growing");
    let path = folder.file("c.nf");
    let dimension = 32;
    let config = || config(dimension).checkpoint_after(500_000);
    let mut total = 0_u64;
    for round in 0..4 {
        let collection = open(&path, config());
        assert_eq!(collection.len() as u64, total);
        for _ in 0..6 {
            let keys: Vec<u64> = (total..total + 1000).collect();
            let vectors: Vec<f32> = keys.iter().flat_map(|&k| vector(k, 0, dimension)).collect();
            let mut tx = collection.begin_write().unwrap();
            tx.upsert_batch(&keys, &vectors).unwrap();
            tx.commit().unwrap();
            total += 1000;
        }
        for key in (0..total).step_by(97) {
            let hits = collection.search(&vector(key, 0, dimension)).k(1).ef(200).run().unwrap();
            assert_eq!(hits[0].key, key, "{round}");
        }
        if round == 2 {
            collection.close().unwrap();
        }
    }
    let loaded = Hnsw::load(&path).unwrap();
    assert_eq!(loaded.len() as u64, total);
    let report = loaded.check();
    assert!(report.is_ok(), "{report}");
}

#[test]
fn a_backup_is_taken_while_others_write() {
    let folder = Folder::new("backup");
    let path = folder.file("c.nf");
    let collection = config_small().checkpoint_after(20_000).create(&path).unwrap();
    for commit in 0..40_u64 {
        let mut tx = collection.begin_write().unwrap();
        for key in commit * 50..commit * 50 + 50 {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
            tx.put_payload(key, &vec![7; (key % 100 * 20) as usize]).unwrap();
        }
        tx.commit().unwrap();
    }
    let copy = folder.file("copy.nf");
    std::thread::scope(|scope| {
        scope.spawn(|| collection.backup(&copy).unwrap());
        for key in 2000..2100 {
            let mut tx = collection.begin_write().unwrap();
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
            tx.commit().unwrap();
        }
    });
    assert!(matches!(
        collection.backup(&path),
        Err(CollectionError::Store(StoreError::Locked { .. }))
    ));
    let restored = open(&copy, config_small());
    assert!((2000..=2100).contains(&restored.len()));
    let report = restored.check().unwrap();
    assert!(report.is_ok(), "{report}");
    for key in (0..2000).step_by(31) {
        assert_eq!(restored.get(key), Some(vector(key, 0, DIMENSION)));
        assert_eq!(restored.payload(key).unwrap().map(|p| p.len() as u64), Some(key % 100 * 20));
    }
}

#[test]
fn compacting_gives_space_back_and_keeps_snapshots() {
    let folder = Folder::new("compact");
    let path = folder.file("c.nf");
    let dimension = 64;
    let collection = config(dimension).checkpoint_after(1 << 30).create(&path).unwrap();
    let mut snapshots = Vec::new();
    for round in 0..4_u64 {
        let keys: Vec<u64> = (round * 2000..round * 2000 + 2000).collect();
        let vectors: Vec<f32> = keys.iter().flat_map(|&k| vector(k, 0, dimension)).collect();
        let mut tx = collection.begin_write().unwrap();
        tx.upsert_batch(&keys, &vectors).unwrap();
        for &key in &keys {
            tx.put_payload(key, &[round as u8; 500]).unwrap();
        }
        tx.commit().unwrap();
        // Each checkpoint makes the chunks before it obsolete.
        collection.checkpoint().unwrap();
        snapshots.push(collection.snapshot().unwrap());
    }
    let query = vector(5000, 0, dimension);
    let before = collection.search(&query).k(10).ef(50).run().unwrap();
    collection.compact().unwrap();
    assert_eq!(collection.search(&query).k(10).ef(50).run().unwrap(), before);
    for (round, snapshot) in (1..).zip(&snapshots) {
        assert_eq!(snapshot.len(), round * 2000);
        let key = round as u64 * 2000 - 1;
        let query = vector(key, 0, dimension);
        assert_eq!(snapshot.search(&query).k(1).ef(100).run().unwrap()[0].key, key);
        assert_eq!(snapshot.payload(key).unwrap().map(<[u8]>::len), Some(500));
    }
    drop(snapshots);
    assert!(collection.compact().unwrap() > 0);
    assert_eq!(collection.search(&query).k(10).ef(50).run().unwrap(), before);
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    collection.close().unwrap();
    let collection = open(&path, config(dimension));
    assert_eq!(collection.recovery().operations, 0);
    assert_eq!(collection.search(&query).k(10).ef(50).run().unwrap(), before);
    // A collection loaded into memory gives the same answers, and takes changes.
    collection.preload().unwrap();
    assert_eq!(collection.search(&query).k(10).ef(50).run().unwrap(), before);
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(9999, &vector(9999, 0, dimension)).unwrap();
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    assert!(collection.check().unwrap().is_ok());
    let mut tx = collection.begin_write().unwrap();
    tx.upsert(9998, &vector(9998, 0, dimension)).unwrap();
    tx.commit().unwrap();
    let found = collection.search(&vector(9999, 0, dimension)).k(1).ef(100).run().unwrap();
    assert_eq!(found[0].key, 9999);
    let stats = collection.stats().unwrap();
    assert_eq!(stats.index.len, 8002);
    assert!(stats.column_bytes > 8000 * 64 * 4);
}

#[test]
fn names_stand_for_keys() {
    let folder = Folder::new("names");
    let path = folder.file("c.nf");
    let collection = config_small().create(&path).unwrap();
    let mut tx = collection.begin_write().unwrap();
    let first = tx.name_or_insert("first").unwrap();
    let id = tx.name_or_insert([7_u8; 16]).unwrap();
    assert_eq!(tx.name_or_insert("first").unwrap(), first);
    assert!(first >= 1 << 63 && id >= 1 << 63 && id != first);
    for key in [first, id, id + 1, 5] {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    // A user's key has the number that the next name would get.
    let other = tx.name_or_insert("other").unwrap();
    assert!(other > id + 1 && !tx.contains(other));
    tx.commit().unwrap();
    let before = collection.snapshot().unwrap();
    let mut tx = collection.begin_write().unwrap();
    let dropped = tx.name_or_insert("dropped").unwrap();
    drop(tx);
    assert_eq!(collection.key_of("dropped").unwrap(), None);
    let mut tx = collection.begin_write().unwrap();
    // A transaction with new names alone makes a commit.
    assert_eq!(tx.name_or_insert("later").unwrap(), dropped);
    assert_eq!(tx.commit().unwrap(), 2);
    assert_eq!(before.key_of("later").unwrap(), None);
    assert_eq!(collection.key_of("later").unwrap(), Some(dropped));
    // A snapshot of an old state keeps the file locked, because a new writer would not know of the snapshot.
    drop(collection);
    assert!(matches!(
        config_small().open(&path),
        Err(CollectionError::Store(StoreError::Locked { .. }))
    ));
    assert_eq!(before.number(), 1);
    drop(before);
    let collection = open(&path, config_small());

    let copy = folder.file("copy.nf");
    collection.backup(&copy).unwrap();
    drop(collection);
    for path in [path, copy] {
        let collection = open(&path, config_small());
        let hits = collection.search(&vector(id, 0, DIMENSION)).k(1).run().unwrap();
        assert_eq!(collection.name_of(hits[0].key).unwrap(), Some(vec![7; 16]));
        assert_eq!(collection.key_of("first").unwrap(), Some(first));
        assert_eq!(collection.name_of(5).unwrap(), None);
        let snapshot = collection.snapshot().unwrap();
        assert_eq!(snapshot.name_of(dropped).unwrap(), Some(&b"later"[..]));
    }
}

#[test]
fn removed_and_replaced_vectors_stay_so() {
    let folder = Folder::new("removed");
    let path = folder.file("vectors");
    let collection = open(&path, config_small());
    let keys: Vec<u64> = (0..600).collect();
    let all: Vec<f32> = keys.iter().flat_map(|&key| vector(key, 0, DIMENSION)).collect();
    let mut tx = collection.begin_write().unwrap();
    tx.upsert_batch(&keys, &all).unwrap();
    tx.put_payload(4, b"four").unwrap();
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    let before = collection.snapshot().unwrap();

    let mut tx = collection.begin_write().unwrap();
    for key in (0..600).step_by(4) {
        assert!(tx.remove(key).unwrap());
        tx.upsert(key + 1, &vector(key + 1, 1, DIMENSION)).unwrap();
    }
    tx.commit().unwrap();
    let holds = |collection: &Collection| {
        assert_eq!(collection.len(), 450);
        let report = collection.check().unwrap();
        assert!(report.is_ok(), "{report}");
        for key in 0..600 {
            let version = u64::from(key % 4 == 1);
            let hits = collection.search(&vector(key, version, DIMENSION)).k(20).run().unwrap();
            assert_eq!(hits[0].key == key && hits[0].distance == 0.0, key % 4 != 0);
            assert!(hits.iter().all(|hit| hit.key % 4 != 0));
        }
        assert_eq!(collection.payload(4).unwrap(), None);
    };
    holds(&collection);
    assert_eq!((before.len(), before.get(4)), (600, Some(vector(4, 0, DIMENSION))));
    assert_eq!(before.payload(4).unwrap(), Some(&b"four"[..]));
    let after = collection.snapshot().unwrap();
    assert_eq!((after.len(), after.get(4)), (450, None));
    drop((before, after));

    // The collection is opened from the journal, then from a checkpoint; then its slots are reused.
    drop(collection);
    holds(&open(&path, config_small()));
    let collection = open(&path, config_small());
    collection.checkpoint().unwrap();
    drop(collection);
    let collection = open(&path, config_small());
    holds(&collection);
    let mut tx = collection.begin_write().unwrap();
    for key in (0..600).step_by(4) {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    tx.commit().unwrap();
    collection.checkpoint().unwrap();
    assert_eq!(collection.len(), 600);
    assert!(collection.check().unwrap().is_ok());
}

#[test]
fn a_copy_of_a_collection_without_a_checkpoint_is_whole() {
    let folder = Folder::new("copies");
    let path = folder.file("c.nf");
    let collection = open(&path, config_small());
    for round in 0..2_u64 {
        // The copy has no vectors at first, then vectors in the journal alone.
        for lacks_columns in [false, true] {
            let copied = folder.file(&format!("copy-{round}-{lacks_columns}.nf"));
            collection.backup(&copied).unwrap();
            let store = Store::open(&copied).unwrap();
            let tables = store.begin_read().unwrap().tables().unwrap();
            for table in ["columns", "journal", "payloads", "nearfield"] {
                assert!(tables.iter().any(|name| name == table), "{table}: {tables:?}");
            }
            if lacks_columns {
                // Copies of earlier versions lack the table.
                let mut tx = store.begin_write().unwrap();
                assert!(tx.drop_table("columns").unwrap());
                tx.commit().unwrap();
            }
            drop(store);
            let copy = open(&copied, config_small());
            assert_eq!(copy.len() as u64, round * 10);
            assert!(copy.check().unwrap().is_ok());
            copy.preload().unwrap();
            let reader = Collection::open_read_only(&copied).unwrap();
            assert_eq!(reader.snapshot().unwrap().len() as u64, round * 10);
            copy.backup(folder.file("again.nf")).unwrap();
            assert_eq!(open(&folder.file("again.nf"), config_small()).len() as u64, round * 10);
            let merged = folder.file("merged.nf");
            let result = Collection::merge(&[copy.snapshot().unwrap()], &merged).run().unwrap();
            assert_eq!(result.vectors, round * 10);
            let mut tx = copy.begin_write().unwrap();
            tx.upsert(99, &vector(99, 0, DIMENSION)).unwrap();
            tx.commit().unwrap();
            copy.compact().unwrap();
            assert!(copy.check().unwrap().is_ok());
            copy.close().unwrap();
            assert_eq!(open(&copied, config_small()).len() as u64, round * 10 + 1);
        }
        let mut tx = collection.begin_write().unwrap();
        for key in 0..10 {
            tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
        }
        tx.commit().unwrap();
    }
}
