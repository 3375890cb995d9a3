//! Errors name the file, the expectation and the remedy, in the words of the caller.

use std::path::Path;

use nearfield::dataset::{DatasetError, Vectors};
use nearfield::quantization::{QuantizationError, Quantizer, ScalarQuantizer};
use nearfield::store::{
    DiskOperation, InjectedFault, SimulatedDisk, Store, StoreError, StoreOptions,
};
use nearfield::{
    AsVector, Collection, CollectionBuilder, CollectionError, Error, ErrorKind, Flat, Hnsw,
    IndexError, Metric, Originals, Quantization, VectorError,
};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

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
    told(config(DIMENSION).open(&nowhere), &nowhere);
    told(Collection::open_read_only(&nowhere).map(drop), &nowhere);
    told(Hnsw::open(&nowhere), &nowhere);

    let collection = open(&path, config(DIMENSION));
    let text = told(config(DIMENSION).open(&path), &path);
    assert!(text.contains("open it read-only, or close the other"), "{text}");
    let text = told(collection.backup(&path), &path);
    assert!(text.contains("close the other"), "{text}");
    assert!(told(config(DIMENSION).create(&path), &path).contains("another path"));
    drop(collection);

    std::fs::write(&path, b"a text that is no store at all").unwrap();
    assert!(told(config(DIMENSION).open(&path), &path).contains("check the path"));
    std::fs::remove_file(&path).unwrap();
    let store = Store::open(&path).unwrap();
    let mut tx = store.begin_write().unwrap();
    tx.table::<str>("colours").unwrap();
    tx.commit().unwrap();
    drop(store);
    assert!(told(config(DIMENSION).open(&path), &path).contains("check the path"));
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
fn opening_makes_no_collection() {
    let folder = Folder::new("no-collection");
    let path = folder.file("c.nf");
    let missing = Collection::open(&path).unwrap_err();
    assert!(matches!(missing, CollectionError::Missing { .. }), "{missing:?}");
    assert!(missing.to_string().contains("Collection::builder(dimension, metric)"), "{missing}");
    assert!(matches!(
        Collection::open(folder.file("none/c.nf")),
        Err(CollectionError::Missing { .. })
    ));
    assert!(Collection::open(folder.path()).is_err());
    std::fs::write(&path, []).unwrap();
    let empty = Collection::open(&path).unwrap_err();
    assert!(matches!(empty, CollectionError::Store(StoreError::NotAStore { .. })), "{empty:?}");
    assert!(std::fs::read(&path).unwrap().is_empty(), "it stays as it is");
    // A store without a collection, as a crash leaves it that comes before the first commit.
    std::fs::remove_file(&path).unwrap();
    drop(Store::open(&path).unwrap());
    let unfinished = Collection::open(&path).unwrap_err();
    assert!(matches!(unfinished, CollectionError::NotACollection { .. }), "{unfinished:?}");
    drop(config(DIMENSION).open(&path).unwrap());
    assert!(Collection::open(&path).unwrap().is_empty());
}

#[test]
fn a_mismatch_speaks_as_the_configuration_does() {
    let folder = Folder::new("errors-mismatch");
    let path = folder.file("c.nf");
    let quantized = config(64).quantization(Quantization::Sq4).alpha(1.2);
    drop(open(&path, quantized));
    let mismatch = |config: CollectionBuilder| told(config.open(&path), &path);
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
    let text = mismatch(Collection::builder(64, Metric::Cosine));
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
    let collection = config(DIMENSION).open_simulated(&disk).unwrap();
    let commit = |key| {
        let mut tx = collection.begin_write()?;
        tx.upsert(key, &vector(key, 0, DIMENSION))?;
        tx.commit()
    };
    commit(1).unwrap();
    let snapshot = collection.snapshot().unwrap();
    disk.fail_at(DiskOperation::Sync, 0, InjectedFault::Error);
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

/// Calls each part of the crate with `?`. One of the steps fails.
fn use_all(folder: &Folder, fails_at: usize) -> nearfield::Result<()> {
    let broken = |step| step == fails_at;
    if broken(0) {
        Vectors::open(folder.file("none.fvecs"))?;
    }
    let bits = if broken(1) { 7 } else { 8 };
    let sample = vector(1, 0, DIMENSION);
    let quantizer = ScalarQuantizer::builder(DIMENSION, Metric::L2).bits(bits).train(&sample)?;
    let _ = quantizer.quantize(&sample)?;
    let index = Hnsw::builder(DIMENSION, Metric::L2).build()?;
    index.insert(1, &sample)?;
    if broken(2) {
        index.insert(1, &sample)?;
    }
    index.save(folder.file(if broken(3) { "none/index.nf" } else { "index.nf" }))?;
    let store = StoreOptions::new().open_in_memory()?;
    let _open = broken(4).then(|| store.begin_write()).transpose()?;
    store.begin_write()?.commit()?;
    if broken(5) {
        Err(VectorError::ZeroNorm)?;
    }
    Ok(())
}

#[test]
fn one_error_takes_those_of_all_parts() {
    let folder = Folder::new("errors-all");
    let error = |step| use_all(&folder, step).expect_err("it is refused");
    let cases = [
        (ErrorKind::NotFound, "Dataset("),
        (ErrorKind::InvalidInput, "Quantization("),
        (ErrorKind::AlreadyExists, "Index("),
        (ErrorKind::NotFound, "Collection(Store("),
        (ErrorKind::Deadlock, "Store("),
        (ErrorKind::InvalidInput, "Vector("),
    ];
    for (step, (kind, part)) in cases.into_iter().enumerate() {
        let error = error(step);
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(format!("{error:?}").starts_with(part), "{error:?}");
        assert_eq!(error.clone().to_string(), error.to_string());
    }
    use_all(&folder, cases.len()).unwrap();

    // The text and the source are those of the part's error.
    let inner = Vectors::open(folder.file("none.fvecs")).unwrap_err();
    let outer = Error::from(inner.clone());
    assert_eq!(outer.to_string(), inner.to_string());
    let source = std::error::Error::source(&outer).and_then(|e| e.downcast_ref::<std::io::Error>());
    let source = source.expect("the operating system's error is the source");
    assert!(source.raw_os_error().is_some(), "{source:?}");
    assert!(outer.to_string().contains("none.fvecs"), "{outer}");
}

#[test]
fn errors_may_cross_threads_and_be_kept() {
    fn check<E: std::error::Error + Clone + Send + Sync + 'static>() {}
    check::<Error>();
    check::<VectorError>();
    check::<IndexError>();
    check::<CollectionError>();
    check::<StoreError>();
    check::<QuantizationError>();
    check::<DatasetError>();
}

#[test]
fn kinds_tell_how_to_go_on() {
    let folder = Folder::new("errors-kinds");
    let path = folder.file("c.nf");
    let kind = |result: Result<Collection, CollectionError>| {
        let error = result.expect_err("it is refused");
        assert_eq!(Error::from(error.clone()).kind(), error.kind());
        error.kind()
    };
    let collection = open(&path, config(DIMENSION));
    assert_eq!(kind(config(DIMENSION).open(&path)), ErrorKind::Locked);
    assert_eq!(kind(config(DIMENSION).create(&path)), ErrorKind::AlreadyExists);
    let mut tx = collection.begin_write().unwrap();
    assert_eq!(tx.put_payload(7, b"x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(tx.upsert(7, &[f32::NAN; DIMENSION]).unwrap_err().kind(), ErrorKind::InvalidInput);
    let refused = collection.begin_write().map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Deadlock);
    drop((tx, collection));
    assert_eq!(kind(config(DIMENSION + 1).open(&path)), ErrorKind::Incompatible);
    std::fs::write(&path, b"a text that is no store at all").unwrap();
    assert_eq!(kind(config(DIMENSION).open(&path)), ErrorKind::Incompatible);

    let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    let query = vector(1, 0, DIMENSION);
    index.insert(1, &query).unwrap();
    let error = index.search(&query.as_vector()).recall(0.9).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady);

    let disk = SimulatedDisk::new();
    let store = StoreOptions::new().open_simulated(&disk).unwrap();
    disk.fail_at(DiskOperation::Sync, 0, InjectedFault::Full);
    let commit = || {
        store.begin_write().and_then(|mut tx| {
            tx.table::<u64>("numbers")?.insert(1, b"one")?;
            tx.commit()
        })
    };
    assert_eq!(commit().unwrap_err().kind(), ErrorKind::DiskFull);
    assert_eq!(commit().unwrap_err().kind(), ErrorKind::Poisoned);
}
