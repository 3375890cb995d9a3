//! Several collections searched as one: the answer is that of one collection that holds all vectors.

use std::sync::Arc;
use std::time::Duration;

use nearfield::shards::{Shard, ShardHits};
use nearfield::{
    CancelToken, Collection, Element, Flat, Hnsw, Index, IndexError, Ivf, KeySet, Metric, Shards,
};

use crate::support::collections::{config, open, vector};
use crate::support::files::Folder;

const DIMENSION: usize = 8;

fn filled(keys: impl Iterator<Item = u64>) -> Flat {
    let index = Flat::builder(DIMENSION, Metric::L2).build().unwrap();
    for key in keys {
        index.insert(key, &vector(key, 0, DIMENSION)).unwrap();
    }
    index
}

fn pairs(hits: &ShardHits) -> Vec<(u64, u32)> {
    hits.iter().map(|hit| (hit.key, hit.distance.to_bits())).collect()
}

#[test]
fn shards_answer_as_one_index_would() {
    let whole = filled(0..900);
    let parts: Vec<Flat> = (0..3).map(|part| filled((0..900).filter(|k| k % 3 == part))).collect();
    let shards = Shards::new(&parts).unwrap();
    let queries: Vec<f32> = (0..150).flat_map(|i| vector(i, 7, DIMENSION)).collect();
    let set: KeySet = (0..900).filter(|key| key % 7 == 0).collect();
    let batch = shards.search_batch(&queries).k(12).run().unwrap();
    let alone = shards.search_batch(&queries).k(12).threads(1).run().unwrap();
    assert_eq!((batch.len(), &batch), (150, &alone));
    for (query, of_batch) in queries.chunks_exact(DIMENSION).zip(&batch) {
        let expected = |hits: nearfield::Hits| -> Vec<(u64, u32)> {
            hits.iter().map(|hit| (hit.key, hit.distance.to_bits())).collect()
        };
        let hits = shards.search(query).k(12).run().unwrap();
        assert!(hits.iter().all(|hit| hit.key % 3 == hit.shard as u64) && hits.is_complete());
        assert_eq!(pairs(&hits), expected(whole.search(query).k(12).run().unwrap()));
        assert_eq!(&hits, of_batch);
        assert_eq!(hits, shards.search(query).k(12).threads(2).run().unwrap());
        let hits = shards.search(query).k(12).filter(&set).run().unwrap();
        assert_eq!(pairs(&hits), expected(whole.search(query).k(12).filter(&set).run().unwrap()));
        let hits = shards.search(query).within(0.5).run().unwrap();
        assert_eq!(pairs(&hits), expected(whole.search(query).within(0.5).run().unwrap()));
        let hits = shards.search(query).k(5).filter_by_shard(|s, key| s == 1 && key > 99);
        let hits = hits.run().unwrap();
        assert!(hits.len() == 5 && hits.iter().all(|hit| hit.shard == 1 && hit.key > 99));
    }
}

#[test]
fn indexes_of_all_kinds_are_searched_through_one_trait_and_as_shards() {
    let hnsw = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    let ivf = Ivf::builder(DIMENSION, Metric::L2).lists(8).build().unwrap();
    let flat = Flat::builder(DIMENSION, Metric::L2).build().unwrap();
    let kinds: [&dyn Index; 3] = [&hnsw, &ivf, &flat];
    for (part, index) in (0..).zip(kinds) {
        let keys: Vec<u64> = (0..900).filter(|key| key % 3 == part).collect();
        let rows: Vec<f32> = keys.iter().flat_map(|&key| vector(key, 0, DIMENSION)).collect();
        index.insert_batch(&keys, &rows).run().unwrap();
        assert!(index.upsert(part, &vector(part, 0, DIMENSION)).unwrap());
        assert!(index.insert(part, &vector(part, 0, DIMENSION)).is_err());
        assert!(index.insert(5000, &vector(5000, 0, DIMENSION)).is_ok());
        assert!(index.remove(5000).unwrap() && !index.contains(5000));
        assert_eq!((index.len(), index.stats().len, index.is_empty()), (300, 300, false));
        assert_eq!((index.dimension(), index.metric()), (DIMENSION, Metric::L2));
        assert_eq!(index.get(part), Some(vector(part, 0, DIMENSION)));
        assert_eq!(index.element(), Element::F32);
        assert_eq!(index.search_batch(&rows).ef(300).run().unwrap().len(), 300);
    }
    ivf.train().unwrap();
    let whole = filled(0..900);
    let shards: Shards<&dyn Shard> = Shards::new([&hnsw as &dyn Shard, &ivf, &flat]).unwrap();
    for at in 0..50 {
        let query = vector(at, 7, DIMENSION);
        let expected = whole.search(&query).k(12).run().unwrap();
        let expected: Vec<_> = expected.iter().map(|h| (h.key, h.distance.to_bits())).collect();
        let hits = shards.search(&query).k(12).ef(300).nprobe(8).run().unwrap();
        assert_eq!(pairs(&hits), expected);
        assert!(hits.iter().all(|hit| hit.key % 3 == hit.shard as u64));
    }
    let batch = shards.search_batch(&vector(1, 7, DIMENSION)).ef(300).nprobe(8).run().unwrap();
    assert_eq!(batch.len(), 1);
    // Lists are read by none of these.
    let without: Shards<&dyn Shard> = Shards::new([&hnsw as &dyn Shard, &flat]).unwrap();
    let query = vector(1, 7, DIMENSION);
    let refused = without.search(&query).nprobe(8).run();
    assert!(matches!(refused, Err(IndexError::Parameter { name: "nprobe", .. })));
}

#[test]
fn equal_distances_go_by_shard_and_a_key_may_be_in_several() {
    let parts: Vec<Flat> = (0..3).map(|_| filled(0..4)).collect();
    let hits = Shards::new(&parts).unwrap().search(&vector(2, 0, DIMENSION)).k(4).run().unwrap();
    let found: Vec<_> = hits.iter().map(|hit| (hit.shard, hit.key)).collect();
    assert_eq!(found[..3], [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(hits.keys().len(), 4);
}

#[test]
fn collections_snapshots_and_indexes_are_shards() {
    let folder = Folder::new("shards");
    let collections: Vec<Collection> = (0..3_u64)
        .map(|shard| {
            let collection = open(&folder.file(&shard.to_string()), config(DIMENSION));
            let mut tx = collection.begin_write().unwrap();
            for key in (0..600).filter(|key| key % 3 == shard) {
                tx.upsert(key, &vector(key, 0, DIMENSION)).unwrap();
            }
            tx.commit().unwrap();
            collection
        })
        .collect();
    let readers = (0..3).map(|shard| {
        let reader = Collection::open_read_only(folder.file(&shard.to_string())).unwrap();
        reader.snapshot().unwrap()
    });
    // A snapshot is cheap to clone and borrows nothing.
    let snapshots = Shards::new(readers).unwrap();
    let handles = Shards::new(&collections).unwrap();
    let half = Hnsw::builder(DIMENSION, Metric::L2).element(Element::F16).build().unwrap();
    half.insert(1000, &vector(1000, 0, DIMENSION)).unwrap();
    let half = Arc::new(half);
    let mut mixed: Vec<Box<dyn Shard + '_>> = vec![Box::new(&half), Box::new(Arc::clone(&half))];
    mixed.extend(collections.iter().map(|c| Box::new(c) as Box<dyn Shard>));
    let mixed = Shards::new(mixed).unwrap();
    for key in (0..600).step_by(7) {
        let query = vector(key, 0, DIMENSION);
        let hits = snapshots.search(&query).k(10).ef(100).run().unwrap();
        assert_eq!((hits[0].key, hits[0].shard as u64, hits.len()), (key, key % 3, 10));
        assert_eq!(handles.search(&query).k(10).ef(100).run().unwrap(), hits);
        let hits = mixed.search(&query).k(1).ef(100).run().unwrap();
        assert_eq!((hits[0].key, hits[0].shard as u64), (key, 2 + key % 3));
    }
    let hits = mixed.search_batch(&vector(1000, 0, DIMENSION)).k(2).run().unwrap();
    assert_eq!(
        hits[0].iter().map(|hit| (hit.shard, hit.key)).collect::<Vec<_>>(),
        [(0, 1000), (1, 1000)]
    );
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let index = |dimension, metric| Flat::builder(dimension, metric).build().unwrap();
    let none = Shards::new(Vec::<Flat>::new()).unwrap_err();
    assert!(matches!(none, IndexError::Parameter { name: "shards", .. }));
    let first = index(8, Metric::L2);
    let refused = |other: &Flat| match Shards::new([&first, &first, other]).unwrap_err() {
        IndexError::ShardMismatch { shard, name, expected, found } => {
            (shard, name, expected, found)
        }
        other => panic!("{other}"),
    };
    let (shard, name, expected, found) = refused(&index(9, Metric::L2));
    assert_eq!((shard, name, &*expected, &*found), (2, "dimension", "8", "9"));
    let (shard, name, expected, found) = refused(&index(8, Metric::Cosine));
    let (l2, cosine) = (Metric::L2.to_string(), Metric::Cosine.to_string());
    assert_eq!((shard, name, expected, found), (2, "metric", l2, cosine));

    let shards = Shards::new([&first, &first]).unwrap();
    let wrong = shards.search(&[0.0; 3]).run().unwrap_err();
    assert!(matches!(wrong, IndexError::Vector(_)), "{wrong}");
    let wrong = shards.search_batch(&[f32::NAN; 16]).run().unwrap_err();
    assert!(matches!(wrong, IndexError::BatchVector { position: 0, .. }), "{wrong}");
    let wrong = shards.search(&[0.0; 8]).ef(0).run().unwrap_err();
    assert!(matches!(wrong, IndexError::Parameter { name: "ef", .. }), "{wrong}");
    let wrong = shards.search_batch(&[0.0; 8]).threads(0).run().unwrap_err();
    assert!(matches!(wrong, IndexError::Parameter { name: "threads", .. }), "{wrong}");
    assert!(shards.search_batch(&[0.0; 0]).run().unwrap().is_empty());
    assert!(shards.search(&[0.0; 8]).run().unwrap().is_empty());
    assert_eq!(shards.shards().len(), 2);
}

#[test]
fn a_recall_is_each_shards_own() {
    let parts: Vec<Hnsw> = (0..2)
        .map(|part| {
            let index = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
            for key in (0..4000).filter(|key| key % 2 == part) {
                index.insert(key, &vector(key, 0, DIMENSION)).unwrap();
            }
            index
        })
        .collect();
    let shards = Shards::new(&parts).unwrap();
    let query = vector(9, 9, DIMENSION);
    let unknown = shards.search(&query).recall(0.9).run().unwrap_err();
    assert!(matches!(unknown, IndexError::NotCalibrated { .. }));
    for part in &parts {
        part.calibrate().run().unwrap();
    }
    assert_eq!(shards.search(&query).recall(0.9).run().unwrap().len(), 10);
}

#[test]
fn time_that_is_up_and_a_token_end_it() {
    let parts: Vec<Flat> = (0..3).map(|part| filled(part * 100..part * 100 + 100)).collect();
    let shards = Shards::new(&parts).unwrap();
    let query = vector(5, 0, DIMENSION);
    let hits = shards.search(&query).timeout(Duration::ZERO).run().unwrap();
    assert!(hits.is_empty() && !hits.is_complete());
    let hits = shards.search(&query).timeout(Duration::from_hours(1)).run().unwrap();
    assert!(hits.len() == 10 && hits.is_complete());
    let cancel = CancelToken::new();
    assert!(shards.search(&query).cancel(&cancel).run().unwrap().is_complete());
    cancel.cancel();
    assert!(!shards.search(&query).cancel(&cancel).run().unwrap().is_complete());
    let batch = shards.search_batch(&query).cancel(&cancel).run().unwrap();
    assert!(batch[0].is_empty() && !batch[0].is_complete());
}
