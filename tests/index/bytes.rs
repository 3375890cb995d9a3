//! Indexes as bytes: those of their files, on systems without files too. Each byte is checked before it is used.

use std::io;

use nearfield::custom::{Haversine, Manhattan};
use nearfield::dataset::Generated;
use nearfield::store::StoreError;
use nearfield::{
    AsVector, CollectionError, ErrorKind, Flat, Hnsw, Ivf, Metric, Originals, Quantization,
    VectorRef,
};

use crate::support::files::Folder;

const DIMENSION: usize = 24;

fn generated(rows: usize) -> (Vec<u64>, Vec<f32>, Vec<f32>) {
    let data = Generated::builder(rows.max(1), DIMENSION).queries(20).build().unwrap();
    let floats = |vectors: VectorRef<'_>| match vectors {
        VectorRef::F32(floats) => floats.to_vec(),
        other => panic!("{other:?}"),
    };
    let keys = (0..rows as u64).map(|i| i * 3 + 1).collect();
    let mut base = floats(data.base().as_vector());
    base.truncate(rows * DIMENSION);
    (keys, base, floats(data.queries().as_vector()))
}

fn graph(rows: usize, quantization: Quantization, originals: Originals) -> Hnsw {
    let (keys, base, _) = generated(rows);
    let builder = Hnsw::builder(DIMENSION, Metric::L2).ef_construction(40);
    let index = builder.quantization(quantization).originals(originals).build().unwrap();
    index.insert_batch(&keys, &base).threads(1).run().unwrap();
    index
}

fn exact(rows: usize) -> Flat {
    let (keys, base, _) = generated(rows);
    let index = Flat::builder(DIMENSION, Metric::Cosine).build().unwrap();
    index.insert_batch(&keys, &base).run().unwrap();
    index
}

fn lists(rows: usize, quantization: Quantization) -> Ivf {
    let (keys, base, _) = generated(rows);
    let index = Ivf::builder(DIMENSION, Metric::L2).lists(16).quantization(quantization);
    let index = index.build().unwrap();
    index.insert_batch(&keys, &base).threads(1).run().unwrap();
    index.train().unwrap();
    index
}

/// Asserts that the index comes back from bytes, a reader and a file, and a file of `save` from its bytes, with the same answers and
/// changeable; `$of_file` reads a file.
macro_rules! assert_comes_back {
    ($index:expr, $kind:ty, $of_file:path) => {{
        let index: $kind = $index;
        let bytes = index.to_bytes().unwrap();
        let mut written = Vec::new();
        index.write_to(&mut written).unwrap();
        let folder = Folder::new("bytes");
        let path = folder.write("index.nf", &bytes);
        let saved = folder.file("saved.nf");
        index.save(&saved).unwrap();
        let saved = std::fs::read(saved).unwrap();
        let (_, _, queries) = generated(index.len());
        let found = |index: &$kind| index.search_batch(&queries).k(10).threads(1).run().unwrap();
        let again = <$kind>::from_bytes(&bytes).unwrap();
        let expected = found(&again);
        assert_eq!(expected.iter().next().unwrap().len(), index.len().min(10));
        for other in [
            <$kind>::from_bytes(&saved).unwrap(),
            <$kind>::read_from(&*written).unwrap(),
            $of_file(&path).unwrap(),
        ] {
            assert_eq!(found(&other), expected);
        }
        assert_eq!(again.len(), index.len());
        again.insert(u64::MAX, &queries[..DIMENSION]).unwrap();
        let nearest = again.search(&queries[..DIMENSION]).k(1).run().unwrap();
        assert_eq!(nearest[0].key, u64::MAX);
        let changed = <$kind>::from_bytes(&again.to_bytes().unwrap()).unwrap();
        assert_eq!((changed.len(), found(&changed)), (again.len(), found(&again)));
        (bytes.len(), saved.len())
    }};
}

#[test]
fn a_graph_comes_back_from_bytes() {
    assert_comes_back!(graph(3000, Quantization::None, Originals::Kept), Hnsw, Hnsw::open);
    assert_comes_back!(graph(1, Quantization::None, Originals::Kept), Hnsw, Hnsw::load);
    assert_comes_back!(graph(0, Quantization::None, Originals::Kept), Hnsw, Hnsw::load);
}

#[test]
fn codes_come_back_from_bytes() {
    for (quantization, originals) in [
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Sq8, Originals::Dropped),
        (Quantization::Rabitq { bits: 4 }, Originals::Sq8),
        (Quantization::Pq { sub_vectors: 12, bits: 4 }, Originals::Kept),
    ] {
        assert_comes_back!(graph(5000, quantization, originals), Hnsw, Hnsw::open);
    }
}

#[test]
fn an_exact_index_comes_back_from_bytes() {
    assert_comes_back!(exact(2000), Flat, Flat::open);
    assert_comes_back!(exact(0), Flat, Flat::load);
}

#[test]
fn lists_come_back_from_bytes() {
    for quantization in [Quantization::None, Quantization::Rabitq { bits: 4 }] {
        assert_comes_back!(lists(2000, quantization), Ivf, Ivf::load);
    }
    assert_comes_back!(Ivf::builder(DIMENSION, Metric::L2).build().unwrap(), Ivf, Ivf::load);
}

/// Gaps before boundaries of the memory, and zeros behind the end, take little.
#[test]
fn bytes_are_about_as_many_as_those_of_a_file() {
    for rows in [10, 1000, 20_000] {
        let (keys, base, _) = generated(rows);
        let index = Flat::builder(DIMENSION, Metric::L2).build().unwrap();
        index.insert_batch(&keys, &base).run().unwrap();
        let (bytes, file) = assert_comes_back!(index, Flat, Flat::load);
        assert!(bytes <= file + (2 << 20), "{bytes} of {file}");
    }
}

#[test]
fn bytes_of_another_kind_are_refused() {
    let graph = graph(10, Quantization::None, Originals::Kept).to_bytes().unwrap();
    let lists = lists(500, Quantization::None).to_bytes().unwrap();
    assert!(matches!(Flat::from_bytes(&graph), Err(CollectionError::Kind { .. })));
    assert!(matches!(Ivf::from_bytes(&graph), Err(CollectionError::Kind { .. })));
    assert!(matches!(Hnsw::from_bytes(&lists), Err(CollectionError::Kind { .. })));
}

#[test]
fn hostile_bytes_are_errors() {
    let index = graph(600, Quantization::None, Originals::Kept);
    let bytes = index.to_bytes().unwrap();
    for kind in [
        Hnsw::from_bytes(&[]).map(drop),
        Flat::from_bytes(&[]).map(drop),
        Ivf::from_bytes(&[]).map(drop),
    ] {
        assert!(matches!(kind, Err(CollectionError::NotACollection { .. })), "{kind:?}");
    }
    let (zeros, ones) = (vec![0; 100_000], vec![255; 100_000]);
    for text in [&b"no index"[..], &zeros, &ones, &bytes[4096..]] {
        assert!(Hnsw::from_bytes(text).is_err());
        assert!(Flat::from_bytes(text).is_err());
        assert!(Ivf::from_bytes(text).is_err());
    }
    // Zeros may be missing at the end, and nothing else.
    let used = bytes.len() - bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    for len in (0..used).step_by(19_997).chain(used - 8..used) {
        assert!(Hnsw::from_bytes(&bytes[..len]).is_err(), "{len} of {used}");
    }
}

/// A changed byte is an error, or one that is not read: of the log, of a gap, or of a record's second copy.
#[test]
fn a_changed_byte_changes_no_answer() {
    let (_, _, queries) = generated(300);
    let graph = graph(300, Quantization::None, Originals::Kept);
    let lists = lists(300, Quantization::None);
    let bytes = [graph.to_bytes().unwrap(), lists.to_bytes().unwrap()];
    let graph_finds = |index: &Hnsw| index.search_batch(&queries).k(5).threads(1).run().unwrap();
    let lists_find = |index: &Ivf| index.search_batch(&queries).k(5).threads(1).run().unwrap();
    let expected = [
        graph_finds(&Hnsw::from_bytes(&bytes[0]).unwrap()),
        lists_find(&Ivf::from_bytes(&bytes[1]).unwrap()),
    ];
    let mut refused = [0, 0];
    for (kind, bytes) in bytes.iter().enumerate() {
        let mut bytes = bytes.clone();
        for at in (0..bytes.len()).step_by(bytes.len() / 100) {
            bytes[at] ^= 0x55;
            let found = if kind == 0 {
                Hnsw::from_bytes(&bytes).map(|index| graph_finds(&index))
            } else {
                Ivf::from_bytes(&bytes).map(|index| lists_find(&index))
            };
            match found {
                Ok(found) => assert_eq!(found, expected[kind], "byte {at}"),
                Err(_) => refused[kind] += 1,
            }
            bytes[at] ^= 0x55;
        }
    }
    assert!(refused.iter().all(|&refused| refused > 3), "{refused:?}");
}

/// A reader or a writer that fails after some bytes.
struct Failing(usize);

impl io::Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Failing {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let given = bytes.len().min(self.0);
        self.0 -= given;
        if given == 0 { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(given) }
    }
}

#[test]
fn errors_of_readers_and_writers_are_passed_on() {
    let index = exact(100);
    for room in [0, 1, 100_000] {
        let error = index.write_to(Failing(room)).unwrap_err();
        assert!(matches!(error, CollectionError::Store(StoreError::Io { .. })), "{error}");
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        let error = Flat::read_from(Failing(room)).unwrap_err();
        assert!(matches!(error, CollectionError::Store(StoreError::Io { .. })), "{error}");
    }
}

#[test]
fn bytes_of_a_custom_metric_come_back_with_the_metric_alone() {
    let index = Hnsw::builder_with(2, Haversine).build().unwrap();
    index.insert_batch(&[1, 2], &[48.8566, 2.3522, 52.52, 13.405]).run().unwrap();
    let bytes = index.to_bytes().unwrap();
    let again = Hnsw::from_bytes_with(&bytes, Haversine).unwrap();
    let query = [51.5, 0.1];
    assert_eq!(again.search(&query).run().unwrap(), index.search(&query).run().unwrap());
    let refused = Hnsw::from_bytes(&bytes).unwrap_err();
    assert!(matches!(refused, CollectionError::CustomMetric { given: None, .. }), "{refused}");
    assert!(refused.to_string().contains("from_bytes_with"), "{refused}");
    let refused = Hnsw::from_bytes_with(&bytes, Manhattan).unwrap_err();
    assert!(matches!(refused, CollectionError::CustomMetric { given: Some(_), .. }), "{refused}");
    let plain = exact(10).to_bytes().unwrap();
    let refused = Flat::from_bytes_with(&plain, Manhattan).unwrap_err();
    assert!(matches!(refused, CollectionError::Mismatch { name: "metric", .. }), "{refused}");
}
