//! Turnover: an index whose vectors are all replaced stays as good and as large as a fresh one.
//!
//! In its own process, because the reuse of slots depends on searches of other tests that run meanwhile.

mod support;

use std::sync::Mutex;

use nearfield::{Collection, Element, Flat, Hnsw, Metric, Originals, Quantization};
use support::data::{keys_of as keys, words};
use support::files::Folder;
use support::recall::recall_of;

/// One test at a time, for the same reason.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "long: `just test-all`"]
fn turnovers_lose_no_recall() {
    let _alone = ALONE.lock().unwrap();
    let data = words();
    let (dimension, vectors) = (data.dimension(), data.base().to_f32().unwrap());
    let queries = data.queries().to_f32().unwrap();
    let queries = &queries[..dimension * 200.min(queries.len() / dimension)];
    let row = |at: usize| &vectors[at * dimension..(at + 1) * dimension];
    for (quantization, originals) in [
        (Quantization::None, Originals::Kept),
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Sq4, Originals::Sq12),
        (Quantization::Sq4, Originals::Dropped),
        (Quantization::Rabitq { bits: 2 }, Originals::Kept),
    ] {
        let new = || {
            let builder = Hnsw::builder(dimension, data.metric()).element(Element::F32);
            builder.quantization(quantization).originals(originals).build().unwrap()
        };
        let index = new();
        index.insert_batch(&keys(0..5000), &vectors[..5000 * dimension]).run().unwrap();
        // Two turnovers: each step removes the oldest vector and inserts the one that was removed 5,000 steps ago.
        for step in 0..10_000 {
            assert!(index.remove(step as u64 % 10_000).unwrap());
            let new = (step + 5000) % 10_000;
            index.insert(new as u64, row(new)).unwrap();
        }
        assert!(index.check().is_ok());
        assert!(index.stats().levels[0] < 5600, "{:?}", index.stats().levels);
        let fresh = new();
        fresh.insert_batch(&keys(0..5000), &vectors[..5000 * dimension]).run().unwrap();
        let exact = Flat::builder(dimension, data.metric()).build().unwrap();
        exact.insert_batch(&keys(0..5000), &vectors[..5000 * dimension]).run().unwrap();
        let (turned, built) =
            (recall_of(&index, &exact, queries, 48), recall_of(&fresh, &exact, queries, 48));
        let lost = |index: &Hnsw| {
            let own = |&key: &usize| {
                let hits = index.search(row(key)).k(10).ef(24).run().unwrap();
                hits.keys().all(|found| found != key as u64)
            };
            (0..5000).filter(own).count()
        };
        let (lost_turned, lost_built) = (lost(&index), lost(&fresh));
        println!(
            "{quantization:?} {originals:?}: {turned} after turnovers, {built} fresh; {lost_turned} and {lost_built} do not find themselves"
        );
        assert!(turned > built - 0.02, "{turned} after turnovers, {built} fresh");
    }
}

/// A file does not say which links to removed vectors were swept. An index that is opened often sweeps them again, and must not grow each
/// time, neither by the commits that it repeats nor by the next ones.
#[test]
fn a_collection_that_is_opened_often_keeps_its_size() {
    open_often(20);
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_collection_that_is_opened_fifty_times_keeps_its_size() {
    open_often(50);
}

fn open_often(lives: u64) {
    const KEYS: u64 = 400;
    let _alone = ALONE.lock().unwrap();
    let folder = Folder::new("often");
    let path = folder.file("collection.nf");
    let config = || {
        let config = Collection::builder(8, Metric::L2).m(6).ef_construction(30).page_size(4096);
        config.log_size(256 << 10).checkpoint_after(60 << 10)
    };
    let (mut number, mut slots) = (0, 0);
    for life in 0..lives {
        let collection = config().open(&path).unwrap();
        for _ in 0..5 + life * 7 % 30 {
            number += 1;
            let mut tx = collection.begin_write().unwrap();
            for key in (0..KEYS).filter(|key| number == 1 || key % 8 == number % 8) {
                let vector: [f32; 8] =
                    std::array::from_fn(|i| ((key * 31 + number * 7 + i as u64 * 13) % 97) as f32);
                tx.upsert(key, &vector).unwrap();
            }
            tx.commit().unwrap();
        }
        slots = collection.stats().unwrap().index.levels[0];
    }
    let collection = config().open(&path).unwrap();
    assert!(collection.len() as u64 == KEYS && collection.check().unwrap().is_ok());
    drop(collection);
    assert!(slots as u64 <= KEYS * 5 / 2, "{slots} slots");
}
