//! `Determinism::Bitwise`: the same index, byte by byte, for any number of threads, and as good as any.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nearfield::store::{ExtentId, Store};
use nearfield::{
    CancelToken, Determinism, ErrorKind, Flat, Hnsw, IndexError, Metric, Originals, Quantization,
};

use crate::support::data::{keys_of as keys, words};
use crate::support::files::Folder;

/// Returns the columns of a saved index, without the parts that differ from one file to the next.
fn columns(index: &Hnsw, name: &str) -> Vec<(u64, Vec<u8>)> {
    let folder = Folder::new(name);
    let path = folder.file("index.nf");
    index.save(&path).unwrap();
    let columns = {
        let store = Store::open_read_only(&path).unwrap();
        let tx = store.begin_read().unwrap();
        let table = tx.table::<u64>("columns").unwrap();
        let mut columns = Vec::new();
        for entry in table.entries().unwrap() {
            let (key, chunk) = entry.unwrap();
            let extent = ExtentId(u64::from_le_bytes(chunk[..8].try_into().unwrap()));
            columns.push((key, tx.extent(extent).unwrap().bytes().unwrap().to_vec()));
        }
        columns
    };
    assert!(columns.len() > 2);
    columns
}

#[test]
#[ignore = "long: `just test-all`"]
fn any_number_of_threads_makes_the_same_bytes() {
    let data = words();
    let (dimension, vectors) = (data.dimension(), data.base().to_f32().unwrap());
    let count = 5000;
    let (all, vectors) = (keys(0..count), &vectors[..count * dimension]);
    for (quantization, originals) in [
        (Quantization::None, Originals::Kept),
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Sq8, Originals::Dropped),
        (Quantization::Sq4, Originals::Sq8),
        (Quantization::Rabitq { bits: 2 }, Originals::Kept),
        (Quantization::Pq { sub_vectors: 50, bits: 4 }, Originals::Kept),
    ] {
        let build = |threads: usize| {
            let builder = Hnsw::builder(dimension, data.metric()).ef_construction(60).m(8);
            let index = builder.quantization(quantization).originals(originals).build().unwrap();
            let insert = |from: usize, to: usize| {
                let part = &vectors[from * dimension..to * dimension];
                let batch = index.insert_batch(&all[from..to], part).threads(threads);
                batch.determinism(Determinism::Bitwise).run().unwrap();
            };
            insert(0, 3000);
            insert(3000, count);
            let report = index.check();
            assert!(report.is_ok(), "{report:?}");
            assert_eq!(index.len(), count);
            columns(&index, &format!("threads-{threads}-{quantization:?}"))
        };
        let one = build(1);
        assert!(one == build(2), "{quantization:?}");
        assert!(one == build(7), "{quantization:?}");
    }
}

#[test]
fn searches_beside_change_nothing_where_codes_blur_clusters() {
    let data = words();
    let (dimension, vectors) = (data.dimension(), data.base().to_f32().unwrap());
    // 40 of the words, with 150 vectors very near to each: codes of four bits do not separate these.
    let row = |at: usize| &vectors[at * dimension..(at + 1) * dimension];
    let near = |at: usize| row(at % 40).iter().zip(row(at)).map(|(x, y)| x + 0.02 * y);
    let base: Vec<f32> = (0..6000).flat_map(near).collect();
    let build = |threads: usize, searched: bool| {
        let builder = Hnsw::builder(dimension, data.metric()).ef_construction(60).m(8);
        let index = builder.quantization(Quantization::Sq4).build().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            if searched {
                scope.spawn(|| {
                    for query in base.chunks(dimension).cycle() {
                        index.search(query).run().unwrap();
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            let keys = keys(0..6000);
            let batch = index.insert_batch(&keys, &base).threads(threads);
            batch.determinism(Determinism::Bitwise).run().unwrap();
            over.store(true, Ordering::Relaxed);
        });
        assert!(index.check().is_ok());
        assert_eq!(index.stats().code_bits, None, "walks read the vectors");
        columns(&index, &format!("beside-{threads}-{searched}"))
    };
    let alone = build(1, false);
    assert!(alone == build(3, true));
    assert!(alone == build(1, true));
}

#[test]
fn recall_is_that_of_any_other_build() {
    let data = words();
    let (dimension, vectors) = (data.dimension(), data.base().to_f32().unwrap());
    let (all, queries) = (keys(0..10_000), data.queries().to_f32().unwrap());
    let queries = &queries[..dimension * 300.min(queries.len() / dimension)];
    let exact = Flat::builder(dimension, data.metric()).build().unwrap();
    exact.insert_batch(&all, &vectors).run().unwrap();
    let truth = exact.search_batch(queries).k(10).run().unwrap();
    let recall = |determinism| {
        let index = Hnsw::builder(dimension, data.metric()).build().unwrap();
        index.insert_batch(&all, &vectors).determinism(determinism).run().unwrap();
        assert!(index.check().is_ok());
        let found = index.search_batch(queries).k(10).ef(32).run().unwrap();
        let both = |(found, truth): (&[nearfield::Hit], &[nearfield::Hit])| {
            found.iter().filter(|f| truth.iter().any(|t| t.key == f.key)).count()
        };
        let hits: usize = found.iter().zip(truth.iter()).map(both).sum();
        hits as f64 / (truth.len() * 10) as f64
    };
    let (free, bitwise) = (recall(Determinism::None), recall(Determinism::Bitwise));
    println!("recall@10 at ef 32: {free} in any order, {bitwise} bitwise");
    assert!(bitwise > free - 0.02 && bitwise > 0.9, "{bitwise} {free}");
}

#[test]
fn searches_and_changes_may_go_on_beside() {
    let data = words();
    let (dimension, vectors) = (data.dimension(), data.base().to_f32().unwrap());
    let index = Hnsw::builder(dimension, data.metric())
        .ef_construction(40)
        .m(8)
        .quantization(Quantization::Sq4)
        .build()
        .unwrap();
    let part = |from: usize, to: usize| &vectors[from * dimension..to * dimension];
    index.insert_batch(&keys(0..1000), part(0, 1000)).run().unwrap();
    let told = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let tell = |done: usize, of: usize| {
                assert!(done <= of && of == 4000);
                told.fetch_max(done, Ordering::Relaxed);
            };
            let (all, rows) = (keys(1000..5000), part(1000, 5000));
            let batch = index.insert_batch(&all, rows).threads(3);
            batch.determinism(Determinism::Bitwise).progress(&tell).run().unwrap();
        });
        scope.spawn(|| {
            // The other kind of batch may take work from the same pool.
            for round in 0..10 {
                let (all, rows) = (keys(5000 + round * 100..5100 + round * 100), part(5000, 5100));
                index.insert_batch(&all, rows).run().unwrap();
            }
        });
        scope.spawn(|| {
            for key in 0..900 {
                assert!(index.remove(key).unwrap());
                let hits = index.search(part(6000, 6001)).k(5).run().unwrap();
                assert!(hits.keys().all(|found| found > key));
            }
        });
    });
    assert_eq!(told.into_inner(), 4000);
    assert_eq!(index.len(), 5100);
    let report = index.check();
    assert!(report.is_ok(), "{report:?}");
    // A small graph may miss some vectors.
    let is_found = |&key: &usize| {
        let hits = index.search(part(key, key + 1)).k(1).ef(64).run().unwrap();
        hits[0].distance < 1e-5
    };
    let found = (1000..5000).step_by(10).filter(is_found).count();
    assert!(found > 380, "{found} of 400");
}

#[test]
fn what_is_refused_is_refused_alike() {
    let index = Hnsw::builder(2, Metric::L2).build().unwrap();
    let bitwise = Determinism::Bitwise;
    index.insert_batch(&[], &[0.0_f32; 0]).determinism(bitwise).run().unwrap();
    index.insert_batch(&[1, 2], &[0.0, 1.0, 2.0, 3.0]).determinism(bitwise).run().unwrap();
    let error = index.insert_batch(&[3, 1], &[0.0; 4]).determinism(bitwise).run().unwrap_err();
    assert_eq!(error, IndexError::KeyExists { key: 1 });
    let error = index.insert_batch(&[3], &[0.0, f32::NAN]).determinism(bitwise).run().unwrap_err();
    assert!(matches!(error, IndexError::BatchVector { position: 0, .. }), "{error}");
    let error = index.insert_batch(&[3], &[0.0; 2]).threads(0).determinism(bitwise).run();
    assert!(matches!(error, Err(IndexError::Parameter { name: "threads", .. })), "{error:?}");
    assert_eq!(index.len(), 2);
    let flat = Flat::builder(2, Metric::L2).build().unwrap();
    flat.insert_batch(&[9, 4], &[1.0; 4]).determinism(bitwise).run().unwrap();
    let hits = flat.search(&[1.0, 1.0]).k(2).run().unwrap();
    assert_eq!(hits.keys().collect::<Vec<_>>(), [9, 4]);
}

#[test]
fn a_cancelled_batch_keeps_the_vectors_that_it_inserted() {
    let vectors: Vec<f32> = (0..4000).map(|i| (i as f32 * 0.37).sin()).collect();
    for determinism in [Determinism::None, Determinism::Bitwise] {
        for threads in [1, 3] {
            let index = Hnsw::builder(4, Metric::L2).build().unwrap();
            let cancel = CancelToken::new();
            let stop = |inserted, _count| {
                if inserted == 300 {
                    cancel.cancel();
                }
            };
            let all = keys(0..1000);
            let batch = index.insert_batch(&all, &vectors).determinism(determinism);
            let error = batch.threads(threads).progress(&stop).cancel(&cancel).run().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            let inserted = index.len();
            assert!((300..500).contains(&inserted), "{inserted} of 1000 on {threads} threads");
            assert_eq!(index.keys().count(), inserted);
            let report = index.check();
            assert!(report.is_ok(), "{report}");
            let rest: Vec<u64> = (0..1000).filter(|key| !index.contains(*key)).collect();
            let again: Vec<f32> =
                rest.iter().flat_map(|key| &vectors[*key as usize * 4..][..4]).copied().collect();
            index.insert_batch(&rest, &again).determinism(determinism).run().unwrap();
            assert_eq!(index.len(), 1000);
        }
    }
    let flat = Flat::builder(4, Metric::L2).build().unwrap();
    let cancel = CancelToken::new();
    cancel.cancel();
    let batch = flat.insert_batch(&[1], &[0.0_f32; 4]).cancel(&cancel).run();
    assert_eq!(batch, Err(IndexError::Cancelled));
    assert!(flat.is_empty());
}
