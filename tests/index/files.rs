//! Indexes in files: a loaded index answers bit by bit as the saved one, however it is opened, and damage is an error.

use std::path::PathBuf;

use nearfield::dataset::{Generated, Vectors};
use nearfield::store::{StoreError, StoreOptions};
use nearfield::{
    AsVector, CollectionError, Element, Flat, Hnsw, IndexError, Metric, Originals, Quantization,
    VectorRef,
};

use crate::support::files::Folder;

fn data(rows: usize, dimension: usize) -> Generated {
    Generated::builder(rows, dimension).queries(50).build().unwrap()
}

fn floats(vectors: &Vectors) -> &[f32] {
    match vectors.as_vector() {
        VectorRef::F32(floats) => floats,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_graph_comes_back_bit_by_bit() {
    round_trip("graph", Quantization::None, Originals::Kept);
}

#[test]
fn codes_come_back_bit_by_bit() {
    round_trip("codes-4", Quantization::Sq4, Originals::Kept);
    round_trip("codes-8", Quantization::Sq8, Originals::Kept);
    round_trip("codes-1", Quantization::Rabitq { bits: 1 }, Originals::Kept);
    round_trip("codes-pq", Quantization::Pq { sub_vectors: 13, bits: 4 }, Originals::Kept);
}

#[test]
fn codes_without_vectors_come_back_bit_by_bit() {
    round_trip("codes-only", Quantization::Sq8, Originals::Dropped);
    round_trip("codes-only-4", Quantization::Rabitq { bits: 4 }, Originals::Dropped);
    let product = Quantization::Pq { sub_vectors: 24, bits: 8 };
    round_trip("codes-only-pq", product, Originals::Dropped);
}

#[test]
fn finer_codes_come_back_bit_by_bit() {
    round_trip("finer-4", Quantization::Sq4, Originals::Sq8);
    round_trip("finer-1", Quantization::Rabitq { bits: 1 }, Originals::Sq12);
    round_trip("finer-pq", Quantization::Pq { sub_vectors: 13, bits: 4 }, Originals::Sq8);
}

fn round_trip(name: &str, quantization: Quantization, originals: Originals) {
    let folder = Folder::new(name);
    let (rows, dimension) = (6000, 48);
    let data = data(rows, dimension);
    let (base, queries) = (floats(data.base()), floats(data.queries()));
    let builder = Hnsw::builder(dimension, Metric::L2).ef_construction(60);
    let index = builder.quantization(quantization).originals(originals).build().unwrap();
    let keys: Vec<u64> = (0..rows as u64).map(|i| i * 7 + 1).collect();
    index.insert_batch(&keys, base).run().unwrap();
    let path = folder.file("index.nf");
    index.save(&path).unwrap();

    // The index in memory has found where its codes are too coarse, and a loaded index finds it again.
    let of_first = index.search_batch(queries).k(10).ef(50).threads(1).run().unwrap();
    let expected =
        Hnsw::load(&path).unwrap().search_batch(queries).k(10).ef(50).threads(1).run().unwrap();
    let same = of_first.iter().zip(expected.iter()).filter(|(a, b)| a[0].key == b[0].key).count();
    assert!(same * 100 >= expected.len() * 95, "{same} of {}", expected.len());
    for again in [Hnsw::open(&path).unwrap(), Hnsw::load(&path).unwrap()] {
        assert_eq!(again.len(), rows);
        let found = again.search_batch(queries).k(10).ef(50).threads(1).run().unwrap();
        assert_eq!(found, expected);
        let report = again.check();
        assert!(report.is_ok(), "{report}");
        assert_eq!(again.get(keys[77]), index.get(keys[77]));
        assert!(again.contains(1) && !again.contains(2));
        assert_eq!(again.stats().levels, index.stats().levels);
        // Codes of about a bit a component blur about half of the probes, and each index draws its own conclusion.
        let is_coarse =
            matches!(quantization, Quantization::Rabitq { bits: 1 } | Quantization::Pq { .. });
        assert!(is_coarse || again.stats().code_bits == index.stats().code_bits);
        assert_eq!(again.stats().bytes.vectors, index.stats().bytes.vectors);

        // The loaded index keeps growing, in its own memory.
        let more: Vec<u64> = (0..500).map(|i| (1 << 40) + i).collect();
        again.insert_batch(&more, &base[..500 * dimension]).run().unwrap();
        assert!(again.check().is_ok());
        assert_eq!(again.len(), rows + 500);
        assert!(matches!(
            again.insert(1, &base[..dimension]),
            Err(IndexError::KeyExists { key: 1 })
        ));
    }
    // The file is unchanged, and can be replaced while it is open.
    let open = Hnsw::open(&path).unwrap();
    let small = Hnsw::builder(dimension, Metric::L2).build().unwrap();
    small.save(&path).unwrap();
    assert_eq!(open.search_batch(queries).k(10).ef(50).threads(1).run().unwrap(), expected);
    assert!(Hnsw::open(&path).unwrap().is_empty());
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    drop(open);
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(".new-")), "{names:?}");
}

#[test]
fn every_metric_and_element_comes_back() {
    let folder = Folder::new("elements");
    let dimension = 40;
    let elements = [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::U8];
    let metrics = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
    let mut cases: Vec<_> =
        elements.into_iter().flat_map(|e| metrics.into_iter().map(move |m| (m, e))).collect();
    cases.push((Metric::Hamming, Element::Bit));
    for (metric, element) in cases {
        let width = if element == Element::Bit { dimension / 8 } else { dimension };
        let vectors: Vec<u8> =
            (0..300 * width).map(|i| ((i * 2_654_435_761) >> 7) as u8 % 100 + 1).collect();
        let keys: Vec<u64> = (0..300).collect();
        let path = folder.file("index.nf");

        let index =
            Hnsw::builder(dimension, metric).element(element).m(4).alpha(1.1).build().unwrap();
        index.insert_batch(&keys, &vectors).run().unwrap();
        index.save(&path).unwrap();
        for again in [Hnsw::open(&path).unwrap(), Hnsw::load(&path).unwrap()] {
            assert_eq!((again.metric(), again.element()), (metric, element));
            assert_eq!(again.dimension(), dimension);
            for query in vectors.chunks_exact(width).take(20) {
                let expected = index.search(query).k(5).ef(8).run().unwrap();
                assert_eq!(again.search(query).k(5).ef(8).run().unwrap(), expected);
            }
        }
        let wrong = Flat::open(&path).unwrap_err();
        assert!(matches!(wrong, CollectionError::Kind { .. }), "{wrong}");

        let index = Flat::builder(dimension, metric).element(element).build().unwrap();
        index.insert_batch(&keys, &vectors).run().unwrap();
        index.save(&path).unwrap();
        for again in [Flat::open(&path).unwrap(), Flat::load(&path).unwrap()] {
            assert_eq!(again.len(), 300);
            let expected = index.search_batch(&vectors).k(3).run().unwrap();
            assert_eq!(again.search_batch(&vectors).k(3).run().unwrap(), expected);
        }
        let wrong = Hnsw::load(&path).unwrap_err();
        assert!(matches!(wrong, CollectionError::Kind { .. }), "{wrong}");
    }
}

#[test]
fn other_files_are_refused() {
    let folder = Folder::new("other");
    let path = folder.file("file");
    assert!(matches!(Hnsw::open(&path), Err(CollectionError::Store(StoreError::Io { .. }))));
    std::fs::write(&path, b"not a store at all").unwrap();
    assert!(matches!(Hnsw::load(&path), Err(CollectionError::Store(StoreError::NotAStore { .. }))));
    std::fs::remove_file(&path).unwrap();
    let store = StoreOptions::new().open(&path).unwrap();
    let index = Hnsw::builder(2, Metric::L2).build().unwrap();
    assert!(matches!(index.save(&path), Err(CollectionError::Store(StoreError::Locked { .. }))));
    assert!(matches!(Hnsw::open(&path), Err(CollectionError::NotACollection { .. })));
    let mut tx = store.begin_write().unwrap();
    tx.table::<u64>("nearfield").unwrap().insert(1, b"x").unwrap();
    tx.commit().unwrap();
    assert!(matches!(Hnsw::open(&path), Err(CollectionError::NotACollection { .. })));
}

/// Files that earlier versions wrote must open for ever. `NEARFIELD_WRITE_GOLDEN=1` writes the missing ones.
#[test]
fn golden_files_open() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (rows, dimension) = (9000, 8);
    let number = |i: usize| {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 52
    };
    let vectors: Vec<f32> =
        (0..rows * dimension).map(|i| number(i) as f32 / 2048.0 - 1.0).collect();
    let keys: Vec<u64> = (0..rows as u64).map(|i| i * 3).collect();
    let builder = || Hnsw::builder(dimension, Metric::Cosine).m(4).ef_construction(30);
    let files = [
        ("graph-1.nf", Quantization::None, 500),
        ("codes-1.nf", Quantization::Sq8, rows),
        ("rabitq-1.nf", Quantization::Rabitq { bits: 2 }, 4200),
        ("pq-1.nf", Quantization::Pq { sub_vectors: 4, bits: 4 }, 4200),
    ];
    let write = std::env::var_os("NEARFIELD_WRITE_GOLDEN").is_some();
    for (name, quantization, count) in files {
        let path = folder.join(name);
        if write && !path.exists() {
            let index = builder().quantization(quantization).build().unwrap();
            index.insert_batch(&keys[..count], &vectors[..count * dimension]).run().unwrap();
            index.save(&path).unwrap();
        }
        // A copy is opened, because opening leaves a lock file for a moment.
        let scratch = Folder::new(name);
        let copy = scratch.file(name);
        std::fs::copy(&path, &copy).unwrap();
        for index in [Hnsw::open(&copy).unwrap(), Hnsw::load(&copy).unwrap()] {
            assert_eq!((index.len(), index.dimension()), (count, dimension));
            assert_eq!(index.metric(), Metric::Cosine);
            assert_eq!(index.stats().code_bits.is_some(), quantization != Quantization::None);
            let report = index.check();
            assert!(report.is_ok(), "{name}: {report}");
            let flat = Flat::builder(dimension, Metric::Cosine).build().unwrap();
            flat.insert_batch(&keys[..count], &vectors[..count * dimension]).run().unwrap();
            let (mut looked, mut found) = (0, 0);
            for at in (0..count).step_by(37) {
                let vector = &vectors[at * dimension..(at + 1) * dimension];
                assert_eq!(index.get(keys[at]), flat.get(keys[at]));
                let truth = flat.search(vector).k(1).run().unwrap();
                let hits = index.search(vector).k(1).ef(100).run().unwrap();
                looked += 1;
                found += usize::from(hits[0].key == truth[0].key);
            }
            // A walk misses some vectors.
            assert!(found * 10 > looked * 8, "{name}: {found} of {looked}");
        }
    }
}
