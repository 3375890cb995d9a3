//! Inverted-file indexes in files: a loaded index answers and changes as the saved one, and damage is an error.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::store::{StoreError, StoreOptions};
use nearfield::{
    Collection, CollectionError, Element, Flat, Hnsw, IndexError, Ivf, IvfBuilder, KeySet, Metric,
    Originals, Quantization,
};

use crate::support::collections::{config, vector};
use crate::support::data::sparse_keys as keys;
use crate::support::files::Folder;

const CODES: [Quantization; 5] = [
    Quantization::None,
    Quantization::Pq4,
    Quantization::Rabitq { bits: 1 },
    Quantization::Rabitq { bits: 2 },
    Quantization::Rabitq { bits: 4 },
];

/// Returns components that every element type can represent: whole numbers from 1 to 100.
fn whole(count: usize, dimension: usize) -> Vec<f32> {
    (0..count as u64)
        .flat_map(|key| vector(key, 0, dimension))
        .map(|x| (x * 99.0).round() + 1.0)
        .collect()
}

fn sound(index: &Ivf) {
    let report = index.check();
    assert!(report.is_ok(), "{report}");
}

/// Checks that both indexes answer every kind of query alike, to the last bit.
fn same(a: &Ivf, b: &Ivf, queries: &[f32], keys: &[u64]) {
    assert_eq!((a.len(), a.is_trained()), (b.len(), b.is_trained()));
    let (lists, others) = (a.stats().lists.unwrap(), b.stats().lists.unwrap());
    assert_eq!(lists, others);
    assert_eq!(a.stats().code_bits, b.stats().code_bits);
    assert_eq!((a.metric(), a.element()), (b.metric(), b.element()));
    let batch = a.search_batch(queries).k(10).run().unwrap();
    assert_eq!(batch, b.search_batch(queries).k(10).run().unwrap());
    let few: KeySet = keys.iter().copied().step_by(40).collect();
    for query in queries.chunks_exact(a.dimension()) {
        let both = [a, b].map(|index| {
            let hits = index.search(query).k(10).nprobe(3).run().unwrap();
            let radius = hits[5].distance;
            let within = index.search(query).k(20).within(radius).run().unwrap();
            let filtered = index.search(query).k(5).filter(&|key| key % 3 == 0).run().unwrap();
            let of_few = index.search(query).k(5).filter(&few).run().unwrap();
            let iterated: Vec<_> = index.search(query).iter().unwrap().take(15).collect();
            ([hits, within, filtered, of_few], iterated)
        });
        assert_eq!(both[0], both[1]);
    }
    for &key in keys {
        assert_eq!(a.get(key), b.get(key));
        assert_eq!(a.contains(key + 1), b.contains(key + 1));
    }
}

fn builder(dimension: usize, metric: Metric) -> IvfBuilder {
    Ivf::builder(dimension, metric).lists(24).nprobe(5).seed(11)
}

#[test]
#[ignore = "long: `just test-all`"]
fn every_metric_element_and_code_comes_back_and_goes_on_alike() {
    let folder = Folder::new("ivf-elements");
    let (dimension, count) = (19, 900);
    let data = whole(count + 200, dimension);
    let (first, more) = data.split_at(count * dimension);
    let queries = &data[..12 * dimension];
    let keys = keys(count + 200);
    let elements = [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::U8];
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for element in elements {
            for quantization in CODES {
                for originals in [Originals::Kept, Originals::Dropped] {
                    let path = folder.file("index.nf");
                    let index = builder(dimension, metric).element(element);
                    let index = index.quantization(quantization).originals(originals).build();
                    let Ok(index) = index else { continue };
                    index.insert_batch(&keys[..count], first).run().unwrap();
                    assert!(index.is_trained());
                    index.save(&path).unwrap();
                    let again = Ivf::load(&path).unwrap();
                    sound(&again);
                    same(&index, &again, queries, &keys);

                    // Both indexes change, and stay alike.
                    for index in [&index, &again] {
                        index.insert_batch(&keys[count..], more).threads(1).run().unwrap();
                        for &key in &keys[..300] {
                            assert!(index.remove(key).unwrap());
                        }
                        for (&key, vector) in keys[300..340].iter().zip(data.chunks(dimension)) {
                            assert!(index.upsert(key, vector).unwrap());
                        }
                        let taken = index.insert(keys[400], &data[..dimension]);
                        assert!(matches!(taken, Err(IndexError::KeyExists { .. })));
                    }
                    sound(&again);
                    same(&index, &again, queries, &keys);
                    index.train().unwrap();
                    again.train().unwrap();
                    sound(&again);
                    same(&index, &again, queries, &keys);
                    again.save(&path).unwrap();
                    same(&index, &Ivf::load(&path).unwrap(), queries, &keys);
                }
            }
        }
    }
}

#[test]
fn packed_bits_come_back() {
    let folder = Folder::new("ivf-bits");
    let dimension = 75;
    let bytes: Vec<u8> = whole(600, 10).iter().map(|x| (x * 2.5) as u8).collect();
    let index = builder(dimension, Metric::Hamming).lists(8).build().unwrap();
    index.insert_batch(&keys(600), &bytes).run().unwrap();
    let path = folder.file("index.nf");
    index.save(&path).unwrap();
    let again = Ivf::load(&path).unwrap();
    sound(&again);
    assert!(again.is_trained());
    let expected = index.search_batch(&bytes).k(7).run().unwrap();
    assert_eq!(again.search_batch(&bytes).k(7).run().unwrap(), expected);
}

#[test]
fn the_greatest_numbers_come_back() {
    let folder = Folder::new("ivf-greatest");
    let path = folder.file("index.nf");
    let signs: Vec<f32> = whole(600, 5).iter().map(|x| (x - 50.5).signum()).collect();
    for (quantization, greatest) in CODES.into_iter().zip([1e18].into_iter().chain([2e14; 4])) {
        for originals in [Originals::Kept, Originals::Dropped] {
            let index = builder(5, Metric::L2).quantization(quantization).originals(originals);
            let Ok(index) = index.build() else { continue };
            let vectors: Vec<f32> = signs.iter().map(|sign| sign * greatest).collect();
            index.insert_batch(&keys(600), &vectors).run().unwrap();
            index.train().unwrap();
            assert!(index.is_trained());
            index.save(&path).unwrap();
            let again = Ivf::load(&path).unwrap();
            for key in keys(600) {
                assert_eq!(again.get(key), index.get(key));
            }
        }
    }
}

#[test]
fn untrained_and_empty_ones_come_back_and_are_trained_later() {
    let folder = Folder::new("ivf-untrained");
    let (dimension, count) = (19, 500);
    let data = whole(count, dimension);
    let seven = Quantization::Pq { sub_vectors: 7, bits: 4 };
    for quantization in CODES.map(|codes| if codes == Quantization::Pq4 { seven } else { codes }) {
        let path = folder.file("index.nf");
        let index = builder(dimension, Metric::L2).quantization(quantization).build();
        let index = index.unwrap();
        index.save(&path).unwrap();
        let again = Ivf::load(&path).unwrap();
        assert!(again.is_empty() && !again.is_trained());
        index.insert_batch(&keys(count), &data).run().unwrap();
        again.insert_batch(&keys(count), &data).run().unwrap();
        assert!(!index.is_trained());
        index.save(&path).unwrap();
        let third = Ivf::load(&path).unwrap();
        assert!(!third.is_trained());
        same(&index, &again, &data[..dimension], &keys(count));
        same(&index, &third, &data[..dimension], &keys(count));
        // The file keeps the numbers of lists and of sub-vectors, so that training gives the same result.
        index.train().unwrap();
        third.train().unwrap();
        assert_eq!(third.stats().lists.unwrap().count, 24);
        same(&index, &third, &data[..20 * dimension], &keys(count));
        sound(&third);
        // A trained index whose vectors are all removed: lists without a vector.
        for key in keys(count) {
            third.remove(key).unwrap();
        }
        third.save(&path).unwrap();
        let emptied = Ivf::load(&path).unwrap();
        assert!(emptied.is_empty() && emptied.is_trained());
        assert!(emptied.search(&data[..dimension]).run().unwrap().is_empty());
        emptied.insert_batch(&keys(count), &data).run().unwrap();
        sound(&emptied);
    }
}

#[test]
fn growth_is_remembered() {
    let folder = Folder::new("ivf-growth");
    let path = folder.file("index.nf");
    let (dimension, count) = (4, 5000);
    let data = whole(count * 5, dimension);
    let index = Ivf::builder(dimension, Metric::L2).build().unwrap();
    index.insert_batch(&keys(count), &data[..count * dimension]).run().unwrap();
    let lists = index.stats().lists.unwrap().count;
    index.save(&path).unwrap();
    let again = Ivf::load(&path).unwrap();
    let keys: Vec<u64> = (0..count as u64 * 4).map(|key| (1 << 40) + key).collect();
    let (some, rest) = keys.split_at(count);
    let (some_data, rest_data) = data[count * dimension..].split_at(count * dimension);
    again.insert_batch(some, some_data).run().unwrap();
    assert_eq!(again.stats().lists.unwrap().count, lists, "not yet four times as many");
    again.insert_batch(rest, rest_data).run().unwrap();
    assert!(again.stats().lists.unwrap().count > lists);
    sound(&again);
}

/// Lists that fill several chunks, and one that is longer than a chunk.
#[test]
fn large_lists_come_back() {
    let folder = Folder::new("ivf-large");
    let path = folder.file("index.nf");
    let (dimension, count) = (4096, 2600);
    let data = whole(count, dimension);
    let index = Ivf::builder(dimension, Metric::L2).lists(12);
    let index = index.quantization(Quantization::Rabitq { bits: 1 }).build().unwrap();
    for trained in [false, true] {
        if trained {
            index.train().unwrap();
        } else {
            for (key, vector) in (0..).zip(data.chunks_exact(dimension)).skip(1) {
                index.insert(key, vector).unwrap();
            }
            // An untrained index has one list.
            let small = Ivf::builder(dimension, Metric::L2).lists(1000).build().unwrap();
            small.insert_batch(&keys(count), &data).run().unwrap();
            assert!(!small.is_trained());
            small.save(&path).unwrap();
            let again = Ivf::load(&path).unwrap();
            same(&small, &again, &data[..dimension], &keys(40));
        }
        index.save(&path).unwrap();
        let again = Ivf::load(&path).unwrap();
        sound(&again);
        same(&index, &again, &data[..4 * dimension], &[1, 2, 77]);
    }
}

#[test]
fn a_file_is_replaced_in_one_step_and_kinds_are_told_apart() {
    let folder = Folder::new("ivf-replaced");
    let path = folder.file("index.nf");
    let data = whole(300, 8);
    let index = builder(8, Metric::L2).lists(4).build().unwrap();
    index.insert_batch(&keys(300), &data).run().unwrap();
    index.save(&path).unwrap();
    builder(8, Metric::L2).build().unwrap().save(&path).unwrap();
    assert!(Ivf::load(&path).unwrap().is_empty());
    index.save(&path).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(".new-")), "{names:?}");

    let kind = |error: CollectionError, expected: &str, found: &str| {
        assert!(matches!(error, CollectionError::Kind { .. }), "{error}");
        let told = format!("{} holds {found}, not {expected};", path.display());
        assert!(error.to_string().starts_with(&told), "{error}");
    };
    let (graph, exact) = ("a graph index", "an exact index");
    let lists = "an inverted-file index";
    kind(Hnsw::open(&path).unwrap_err(), graph, lists);
    kind(Hnsw::load(&path).unwrap_err(), graph, lists);
    kind(Flat::open(&path).unwrap_err(), exact, lists);
    kind(config(8).open(&path).unwrap_err(), graph, lists);
    kind(Collection::open_read_only(&path).unwrap_err(), graph, lists);
    // The refused loads have not changed the file.
    assert_eq!(Ivf::load(&path).unwrap().len(), 300);
    Hnsw::builder(8, Metric::L2).build().unwrap().save(&path).unwrap();
    kind(Ivf::load(&path).unwrap_err(), lists, graph);
    kind(Flat::load(&path).unwrap_err(), exact, graph);
    Flat::builder(8, Metric::L2).build().unwrap().save(&path).unwrap();
    kind(Ivf::load(&path).unwrap_err(), lists, exact);

    let other = folder.file("other");
    assert!(matches!(Ivf::load(&other), Err(CollectionError::Store(StoreError::Io { .. }))));
    std::fs::write(&other, b"not a store at all").unwrap();
    let not_a_store = Ivf::load(&other);
    assert!(matches!(not_a_store, Err(CollectionError::Store(StoreError::NotAStore { .. }))));
    std::fs::remove_file(&other).unwrap();
    let store = StoreOptions::new().open(&other).unwrap();
    assert!(matches!(index.save(&other), Err(CollectionError::Store(StoreError::Locked { .. }))));
    assert!(matches!(Ivf::load(&other), Err(CollectionError::NotACollection { .. })));
    drop(store);
    let nowhere = folder.file("no-folder/index.nf");
    assert!(matches!(index.save(nowhere), Err(CollectionError::Store(StoreError::Io { .. }))));
}

/// Sets a flag when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A writer changes vectors in a known order; a save meanwhile is the state between two of its changes.
#[test]
fn what_is_saved_is_one_moment() {
    const KEYS: u64 = 1500;
    const DIMENSION: usize = 6;

    let folder = Folder::new("ivf-moment");
    let path = folder.file("index.nf");
    let index = Ivf::builder(DIMENSION, Metric::L2).lists(20).build().unwrap();
    let put = |round: u64, key: u64| index.upsert(key, &vector(key, round, DIMENSION)).unwrap();
    (0..KEYS).for_each(|key| _ = put(0, key));
    assert!(index.is_trained());
    let done = AtomicBool::new(false);
    let done = &done;
    let mut moments = Vec::new();
    std::thread::scope(|scope| {
        // The writer changes key after key in each round: in odd rounds every seventh key is removed, and inserted again in the next.
        scope.spawn(|| {
            let mut round = 1;
            while !done.load(Ordering::Relaxed) {
                for key in 0..KEYS {
                    if round % 2 == 1 && key % 7 == 0 {
                        assert!(index.remove(key).unwrap());
                    } else {
                        put(round, key);
                    }
                }
                round += 1;
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                index.train().unwrap();
            }
        });
        scope.spawn(|| {
            let query = vector(5, 0, DIMENSION);
            while !done.load(Ordering::Relaxed) {
                assert_eq!(index.search(&query).k(10).run().unwrap().len(), 10);
            }
        });
        // The other threads end with this thread, also if it fails.
        let _end = End(done);
        for _ in 0..40 {
            index.save(&path).unwrap();
            let saved = Ivf::load(&path).unwrap();
            sound(&saved);
            // The vector of key 1 identifies the round in which it was set last.
            let of_one = saved.get(1).unwrap();
            let newest = (0..1 << 20).find(|&round| of_one == vector(1, round, DIMENSION));
            let newest: u64 = newest.unwrap();
            // Keys 0 and 1 may be a round ahead: from the first key that is not, all keys are a round behind.
            let is_at = |key: u64, round: u64| {
                if round % 2 == 1 && key.is_multiple_of(7) {
                    !saved.contains(key)
                } else {
                    saved.get(key) == Some(vector(key, round, DIMENSION))
                }
            };
            let ahead = (1..KEYS).take_while(|&key| is_at(key, newest)).count() as u64 + 1;
            let behind = newest.checked_sub(1);
            for key in ahead..KEYS {
                assert!(is_at(key, behind.unwrap()), "{key} of {ahead} in round {newest}");
            }
            assert!(is_at(0, newest) || (ahead == KEYS && is_at(0, newest + 1)));
            let there = (0..KEYS).filter(|&key| saved.contains(key)).count();
            assert_eq!(saved.len(), there);
            moments.push((newest, ahead));
        }
    });
    moments.dedup();
    assert!(moments.len() > 1, "the writer stood still: {moments:?}");
    println!("{} moments, the last in round {}", moments.len(), moments[moments.len() - 1].0);
}

/// Files that earlier versions wrote must load for ever. `NEARFIELD_WRITE_GOLDEN=1` writes the missing ones.
#[test]
fn golden_files_load() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (count, dimension) = (200, 10);
    let data = whole(count, dimension);
    let keys = keys(count);
    let files = [
        ("lists-pq-1.nf", Metric::L2, Quantization::Pq4, Originals::Kept),
        ("lists-rabitq-1.nf", Metric::Cosine, Quantization::Rabitq { bits: 2 }, Originals::Dropped),
        ("lists-pq-2.nf", Metric::L2, Quantization::Pq4, Originals::Kept),
        ("lists-rabitq-2.nf", Metric::Cosine, Quantization::Rabitq { bits: 2 }, Originals::Dropped),
    ];
    let write = std::env::var_os("NEARFIELD_WRITE_GOLDEN").is_some();
    for (name, metric, quantization, originals) in files {
        let path = folder.join(name);
        if write && !path.exists() {
            let index = Ivf::builder(dimension, metric).element(Element::F16).lists(5).nprobe(2);
            let index = index.quantization(quantization).originals(originals).seed(3);
            let index = index.build().unwrap();
            index.insert_batch(&keys, &data).threads(1).run().unwrap();
            index.save(&path).unwrap();
        }
        // A copy is opened, because opening leaves a lock file for a moment.
        let scratch = Folder::new(name);
        let copy = scratch.file(name);
        std::fs::copy(&path, &copy).unwrap();
        let index = Ivf::load(&copy).unwrap();
        sound(&index);
        assert_eq!((index.len(), index.dimension(), index.metric()), (count, dimension, metric));
        assert_eq!((index.element(), index.is_trained()), (Element::F16, true));
        let lists = index.stats().lists.unwrap();
        assert_eq!((lists.count, lists.nprobe), (5, 2));
        assert_eq!(index.stats().code_bits, Some(2));
        // Version 1 does not store the error of the codes, but the loader computes it if vectors are kept.
        let is_told = originals == Originals::Kept || name.ends_with("-2.nf");
        assert_eq!((lists.code_error.is_some(), lists.trainings), (is_told, 1));
        let flat = Flat::builder(dimension, metric).element(Element::F16).build().unwrap();
        flat.insert_batch(&keys, &data).run().unwrap();
        let mut found = 0;
        for (key, vector) in keys.iter().zip(data.chunks_exact(dimension)) {
            let hits = index.search(vector).k(10).nprobe(5).run().unwrap();
            let truth = flat.search(vector).k(10).run().unwrap();
            if originals == Originals::Kept {
                assert_eq!(index.get(*key), flat.get(*key));
                assert_eq!(hits[0], truth[0]);
            }
            found += truth.keys().filter(|&key| hits.keys().any(|hit| hit == key)).count();
        }
        // The codes must be read as they were written; otherwise almost no answer would be right.
        let recall = found as f64 / (10 * count) as f64;
        println!("{name}: {recall}");
        assert!(recall > if originals == Originals::Kept { 0.99 } else { 0.7 }, "{recall}");
        // The loaded index takes insertions.
        index.insert(1 << 50, &data[..dimension]).unwrap();
        index.train().unwrap();
        sound(&index);
    }
}
