//! Errors name the file, the expectation and the remedy, in the words of the caller.

mod collection_support;

use std::path::Path;

use collection_support::{Folder, config, open, vector};
use nearfield::store::{Fault, FaultKind, SimulatedDisk, Store, StoreError, StoreOptions};
use nearfield::{Collection, CollectionError, Config, Flat, Hnsw, Metric, Originals, Quantization};

const DIMENSION: usize = 8;

/// Returns the text of an error, which names the path.
fn told<T>(result: Result<T, CollectionError>, path: &Path) -> String {
    let text = result.err().expect("it is refused").to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    text
}

#[test]
fn errors_of_opening_name_the_path_and_the_remedy() {
    let folder = Folder::new("errors-opening");
    let path = folder.file("c.nf");
    let nowhere = folder.file("none/c.nf");
    told(Collection::open(&nowhere, config(DIMENSION)), &nowhere);
    told(Collection::open_read_only(&nowhere).map(drop), &nowhere);
    told(Hnsw::open(&nowhere), &nowhere);

    let collection = open(&path, config(DIMENSION));
    let text = told(Collection::open(&path, config(DIMENSION)), &path);
    assert!(text.contains("open it read-only, or close the other"), "{text}");
    let text = told(collection.backup(&path), &path);
    assert!(text.contains("close the other"), "{text}");
    assert!(told(Collection::create(&path, config(DIMENSION)), &path).contains("another path"));
    drop(collection);

    std::fs::write(&path, b"a text that is no store at all").unwrap();
    assert!(told(Collection::open(&path, config(DIMENSION)), &path).contains("check the path"));
    std::fs::remove_file(&path).unwrap();
    let store = Store::open(&path).unwrap();
    let mut tx = store.begin_write().unwrap();
    tx.table::<str>("colours").unwrap();
    tx.commit().unwrap();
    drop(store);
    assert!(told(Collection::open(&path, config(DIMENSION)), &path).contains("check the path"));
    assert!(told(Collection::open_read_only(&path).map(drop), &path).contains("check the path"));
    Hnsw::builder(DIMENSION, Metric::L2).build().unwrap().save(&path).unwrap();
    assert!(told(Flat::load(&path), &path).contains("an exact index"));
}

#[test]
fn damage_names_the_path_wherever_it_is_met() {
    let folder = Folder::new("errors-damage");
    let path = folder.file("c.nf");
    let collection = open(&path, config(DIMENSION));
    let mut tx = collection.begin_write().unwrap();
    for key in 0..400 {
        tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
        tx.put_payload(key, &[key as u8; 900]).unwrap();
    }
    tx.commit().unwrap();
    collection.close().unwrap();
    let mut image = std::fs::read(&path).unwrap();
    let data = (128 << 10) + (256 << 10);
    for page in image[data..].chunks_mut(4096) {
        // Only payloads are damaged: their leaves repeat a byte.
        if page[3000..3100].iter().all(|&byte| byte == page[3000] && byte != 0) {
            page[3050] ^= 1;
        }
    }
    std::fs::write(&path, image).unwrap();
    let collection = open(&path, config(DIMENSION));
    assert!(told(collection.check(), &path).contains("restore it from a backup"));
    let damaged = (0..400).filter_map(|key| collection.payload(key).err()).collect::<Vec<_>>();
    assert!(damaged.len() > 100);
    for error in damaged {
        told(Err::<(), _>(error), &path);
    }
    let snapshot = collection.snapshot().unwrap();
    told(snapshot.payload(5).and_then(|_| snapshot.payload(100)).map(drop), &path);
    told(collection.backup(folder.file("copy.nf")), &path);
    let mut tx = collection.begin_write().unwrap();
    told((0..400).try_for_each(|key| tx.payload(key).map(drop)), &path);
    drop(tx);
    let reader = Collection::open_read_only(&path).unwrap().snapshot().unwrap();
    told((0..400).try_for_each(|key| reader.payload(key).map(drop)), &path);
}

#[test]
fn a_mismatch_speaks_as_the_configuration_does() {
    let folder = Folder::new("errors-mismatch");
    let path = folder.file("c.nf");
    let quantized = config(64).quantization(Quantization::Sq4).alpha(1.2);
    drop(open(&path, quantized));
    let mismatch = |config: Config| told(Collection::open(&path, config), &path);
    assert_eq!(
        mismatch(config(64).quantization(Quantization::None)),
        format!(
            "quantization is Sq4 and kept originals in {}, none is given; \
             give the value of the file, or none",
            path.display()
        )
    );
    let text = mismatch(
        config(64)
            .quantization(Quantization::Pq { sub_vectors: 8, bits: 4 })
            .originals(Originals::Dropped),
    );
    assert!(text.contains("Pq with 8 sub-vectors of 4 bits and dropped originals"), "{text}");
    let text = mismatch(config(64).alpha(1.5));
    assert!(text.starts_with("alpha is 1.2 in "), "{text}");
    assert!(text.contains(", 1.5 is given"), "{text}");
    let text = mismatch(config(64).alpha(1.0));
    assert!(text.contains(", 1 is given"), "{text}");
    let text = mismatch(Config::new(64, Metric::Cosine));
    assert!(text.starts_with("metric is l2 in "), "{text}");

    let other = folder.file("other.nf");
    let inputs = [&path, &other].map(|path| {
        let config = if path == &other { config(64).m(7) } else { config(64) };
        open(path, config).snapshot().unwrap()
    });
    let merged = Collection::merge(&inputs, folder.file("merged.nf")).run();
    let text = merged.unwrap_err().to_string();
    assert!(text.contains("in one collection, and ") && !text.contains("Some("), "{text}");
}

#[test]
fn a_long_name_is_called_a_name() {
    let folder = Folder::new("errors-names");
    let collection = open(&folder.file("c.nf"), config(DIMENSION));
    let mut tx = collection.begin_write().unwrap();
    let error = tx.name_or_insert("n".repeat(600)).unwrap_err();
    assert!(matches!(error, CollectionError::NameTooLong { len: 600, max: 512 }), "{error:?}");
    assert!(error.to_string().starts_with("the name has 600 bytes"), "{error}");
    // The name is refused, and the transaction is unchanged.
    let key = tx.name_or_insert("n".repeat(512)).unwrap();
    tx.upsert(key, &vector(1, 0, DIMENSION)).unwrap();
    tx.commit().unwrap();
    let store = StoreOptions::new().page_size(4096).open_in_memory().unwrap();
    let error = store.begin_write().unwrap().table::<u64>(&"n".repeat(600)).unwrap_err();
    assert!(matches!(error, StoreError::NameTooLong { len: 600, max: 512 }), "{error:?}");
}

#[test]
fn the_first_error_stays_readable() {
    let disk = SimulatedDisk::new();
    let collection = Collection::open_simulated(&disk, config(DIMENSION)).unwrap();
    let commit = |key| {
        let mut tx = collection.begin_write()?;
        tx.upsert(key, &vector(key, 0, DIMENSION))?;
        tx.commit()
    };
    commit(1).unwrap();
    let snapshot = collection.snapshot().unwrap();
    disk.fail_at(FaultKind::Sync, 0, Fault::Error);
    let first = commit(2).unwrap_err();
    assert!(matches!(first, CollectionError::Store(StoreError::Io { .. })), "{first:?}");
    for _ in 0..3 {
        let CollectionError::Store(StoreError::Poisoned { cause }) = commit(3).unwrap_err() else {
            panic!("it is poisoned");
        };
        assert_eq!(cause, first.to_string());
        assert!(cause.contains("sync the log") && cause.contains("simulated fault"), "{cause}");
        let text = collection.checkpoint().unwrap_err().to_string();
        assert!(text.contains(&cause) && text.contains("open the file again"), "{text}");
    }
    // Reads still work.
    assert_eq!(collection.stats().unwrap().commit, 1);
    assert!(collection.check().unwrap().is_ok());
    assert_eq!((snapshot.len(), collection.snapshot().unwrap().len()), (1, 1));
    assert_eq!(collection.search(&vector(1, 0, DIMENSION)).k(1).run().unwrap()[0].key, 1);
}
