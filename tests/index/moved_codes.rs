//! Later vectors far from the training data of the quantizer: codes are made anew, and answers are as good
//! as with any other order of insertion.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nearfield::store::{ExtentId, Store};
use nearfield::{Collection, Determinism, Flat, Hnsw, Metric, Originals, Quantization};

use crate::support::files::Folder;
use crate::support::random::Normal;

const DIMENSION: usize = 48;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

/// Vectors of the first topic, and of all topics.
const FIRST: usize = 4800;
const LATER: usize = 8400;
const ALL: usize = FIRST + LATER;
/// Vectors of a batch.
const STEP: usize = 600;

/// Returns vectors around each of the centres in turn.
fn around(normal: &mut Normal, centres: &[f32], count: usize, spread: f32) -> Vec<f32> {
    let all = centres.iter().cycle().take(count * DIMENSION);
    all.map(|x| x + spread * normal.next()).collect()
}

/// Vectors of one topic, then of 39 others, and queries from these.
struct Moved {
    keys: Vec<u64>,
    base: Vec<f32>,
    queries: Vec<f32>,
}

impl Moved {
    fn new(spread: f32) -> Self {
        let mut normal = Normal::new(3);
        let centres: Vec<f32> = (0..40 * DIMENSION).map(|_| normal.next()).collect();
        let (one, others) = centres.split_at(DIMENSION);
        let mut base = around(&mut normal, one, FIRST, spread);
        base.extend(around(&mut normal, others, LATER, spread));
        let keys = (0..ALL as u64).collect();
        Self { keys, base, queries: around(&mut normal, others, 100, spread) }
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.base[at * DIMENSION..(at + 1) * DIMENSION]
    }

    fn truth(&self, metric: Metric) -> Vec<Vec<u64>> {
        let exact = Flat::builder(DIMENSION, metric).build().unwrap();
        exact.insert_batch(&self.keys, &self.base).run().unwrap();
        let search = |query: &[f32]| exact.search(query).run().unwrap().keys().collect();
        self.queries.chunks(DIMENSION).map(search).collect()
    }

    /// Returns the recall at an `ef` of 64, and the distances of a search.
    fn recall(&self, index: &Hnsw, truth: &[Vec<u64>]) -> (f64, f64) {
        let (mut found, mut distances) = (0, 0);
        for (query, truth) in self.queries.chunks(DIMENSION).zip(truth) {
            let hits = index.search(query).ef(64).run().unwrap();
            found += hits.keys().filter(|key| truth.contains(key)).count();
            distances += hits.distances_computed();
        }
        (found as f64 / (10 * truth.len()) as f64, distances as f64 / truth.len() as f64)
    }

    /// Inserts a range in batches. Returns the greatest error of the codes after any batch.
    fn insert(&self, index: &Hnsw, range: std::ops::Range<usize>, threads: usize) -> f32 {
        let mut greatest = 0.0_f32;
        for from in range.clone().step_by(STEP) {
            let to = range.end.min(from + STEP);
            let rows = &self.base[from * DIMENSION..to * DIMENSION];
            let batch = index.insert_batch(&self.keys[from..to], rows).threads(threads);
            batch.determinism(Determinism::Bitwise).run().unwrap();
            greatest = greatest.max(index.stats().code_error.unwrap_or(0.0));
        }
        greatest
    }
}

fn index(metric: Metric, quantization: Quantization, originals: Originals) -> Hnsw {
    let builder = Hnsw::builder(DIMENSION, metric).m(10).ef_construction(60);
    builder.quantization(quantization).originals(originals).build().unwrap()
}

const PQ: Quantization = Quantization::Pq { sub_vectors: 24, bits: 4 };

#[test]
#[ignore = "long: `just test-all`"]
fn answers_are_as_if_vectors_had_come_in_any_order() {
    let moved = Moved::new(0.5);
    for metric in METRICS {
        let truth = moved.truth(metric);
        for quantization in [Quantization::Sq4, Quantization::Rabitq { bits: 4 }, PQ] {
            let build = || index(metric, quantization, Originals::Kept);
            let (found, mixed) = (build(), build());
            let greatest = moved.insert(&found, 0..ALL, 2);
            let batch = mixed.insert_batch(&moved.keys, &moved.base).threads(2);
            batch.determinism(Determinism::Bitwise).run().unwrap();
            let (recall, distances) = moved.recall(&found, &truth);
            let (expected, least) = moved.recall(&mixed, &truth);
            let (stats, wanted) = (found.stats(), mixed.stats());
            let error = stats.code_error.unwrap();
            let what = format!(
                "{metric:?} {quantization:?}: recall {recall} {expected}, distances {distances} {least}, \
                 error {greatest} {error}, bits {:?} {:?}",
                stats.code_bits, wanted.code_bits
            );
            println!("{what}");
            // Without a mean, codes of four bits fit all topics alike.
            let is_moved = metric != Metric::InnerProduct || quantization != Quantization::Sq4;
            let less = if metric == Metric::InnerProduct { 0.04 } else { 0.02 };
            assert!(recall >= expected - less, "{what}");
            assert!(distances <= 1.1 * least, "{what}");
            assert!((greatest > 1.5) == is_moved && error < 1.35, "{what}");
            assert!(stats.code_bits.is_some() && stats.code_bits == wanted.code_bits, "{what}");
            assert!(found.check().is_ok(), "{what}");
            // Replaced codes use no memory beside those in use.
            assert!(stats.bytes.codes <= wanted.bytes.codes * 11 / 10, "{what}");
        }
    }
}

#[test]
fn without_vectors_a_figure_tells() {
    tell_without_vectors(&[Metric::L2]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn without_vectors_a_figure_tells_under_other_metrics() {
    let others = METRICS.into_iter().filter(|&metric| metric != Metric::L2);
    tell_without_vectors(&others.collect::<Vec<_>>());
}

fn tell_without_vectors(metrics: &[Metric]) {
    let moved = Moved::new(0.3);
    for &metric in metrics {
        for quantization in [Quantization::Sq8, Quantization::Rabitq { bits: 4 }] {
            let index = index(metric, quantization, Originals::Dropped);
            assert_eq!(index.stats().code_error, None);
            moved.insert(&index, 0..FIRST, 1);
            let before = index.stats().code_error.unwrap();
            moved.insert(&index, FIRST..ALL, 1);
            let after = index.stats().code_error.unwrap();
            println!("{metric:?} {quantization:?}: {before} {after}");
            assert!((0.8..1.25).contains(&before), "{metric:?} {quantization:?} {before}");
            // RaBitQ gives every vector its own length, and has no mean under the inner product.
            // Codes of eight bits that answer alone are off by a share of the vector's own length.
            let is_moved = quantization != Quantization::Sq8;
            assert!(
                after > if is_moved { 1.5 } else { 1.0 },
                "{metric:?} {quantization:?} {after}"
            );
            assert!(index.check().is_ok());
            // The error is kept in files, too.
            let folder = Folder::new(&format!("moved-dropped-{metric:?}-{}", before.to_bits()));
            let path = folder.file("index");
            index.save(&path).unwrap();
            for again in [Hnsw::load(&path).unwrap(), Hnsw::open(&path).unwrap()] {
                assert_eq!(again.stats().code_error, Some(after));
            }
        }
    }
}

/// Returns the columns of a saved index.
fn columns(index: &Hnsw, folder: &Folder, name: &str) -> Vec<(u64, Vec<u8>)> {
    let path = folder.file(name);
    index.save(&path).unwrap();
    let store = Store::open_read_only(&path).unwrap();
    let tx = store.begin_read().unwrap();
    let table = tx.table::<u64>("columns").unwrap();
    let entries = table.entries().unwrap().map(|entry| {
        let (key, chunk) = entry.unwrap();
        let extent = ExtentId(u64::from_le_bytes(chunk[..8].try_into().unwrap()));
        (key, tx.extent(extent).unwrap().bytes().unwrap().to_vec())
    });
    entries.collect()
}

#[test]
fn any_number_of_threads_makes_the_same_bytes() {
    make_the_same_bytes("moved-bitwise", &[(Quantization::Sq4, Originals::Sq12)]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn any_number_of_threads_makes_the_same_bytes_of_other_codes() {
    make_the_same_bytes(
        "moved-bitwise-other",
        &[
            (Quantization::Sq4, Originals::Kept),
            (Quantization::Rabitq { bits: 2 }, Originals::Kept),
            (PQ, Originals::Kept),
        ],
    );
}

fn make_the_same_bytes(folder: &str, cases: &[(Quantization, Originals)]) {
    let (moved, folder) = (Moved::new(0.5), Folder::new(folder));
    for &(quantization, originals) in cases {
        let build = |threads| {
            let index = index(Metric::L2, quantization, originals);
            let greatest = moved.insert(&index, 0..ALL, threads);
            assert!(greatest > index.stats().code_error.unwrap(), "{quantization:?}");
            columns(&index, &folder, &format!("{threads}"))
        };
        assert!(build(1) == build(2), "{quantization:?} {originals:?}");
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn searches_beside_find_what_is_there() {
    let moved = Moved::new(0.5);
    for (quantization, originals) in [
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Rabitq { bits: 1 }, Originals::Kept),
        (Quantization::Rabitq { bits: 4 }, Originals::Sq12),
        (PQ, Originals::Kept),
    ] {
        let index = index(Metric::L2, quantization, originals);
        moved.insert(&index, 0..FIRST, 2);
        let (searches, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (index, moved, done) = (&index, &moved, &done);
                let (searches, found) = (&searches, &found);
                scope.spawn(move || {
                    // Vectors that stay in the index, and are replaced by themselves.
                    let mut at = thread;
                    while !done.load(Ordering::Relaxed) {
                        at = (at + 7) % 700;
                        let row = moved.row(at);
                        let hits = if at.is_multiple_of(2) {
                            index.search(row).ef(100).run().unwrap()
                        } else {
                            index.search(row).filter(&|key| key < 5000).ef(100).run().unwrap()
                        };
                        // A few vectors are not found, as without codes.
                        let is_found = hits.keys().any(|key| key == at as u64);
                        found.fetch_add(usize::from(is_found), Ordering::Relaxed);
                        assert!(hits.len() == 10 && index.get(at as u64).is_some());
                        searches.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let mut greatest = 0.0_f32;
            for at in FIRST..ALL {
                index.insert(at as u64, moved.row(at)).unwrap();
                if at % 5 == 0 {
                    let same = at % 700;
                    assert!(index.upsert(same as u64, moved.row(same)).unwrap());
                }
                if at % 9 == 0 {
                    assert!(index.remove((700 + (at - FIRST) / 9) as u64).unwrap());
                }
                if at % 100 == 0 {
                    greatest = greatest.max(index.stats().code_error.unwrap_or(0.0));
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(greatest > 1.5, "{quantization:?} {greatest}");
        });
        let (searches, found) = (searches.into_inner(), found.into_inner());
        assert!(
            searches > 100 && found * 100 >= searches * 95,
            "{quantization:?} {searches} {found}"
        );
        assert!(index.maintain(Duration::from_mins(1)).is_complete);
        let report = index.check();
        assert!(report.is_ok(), "{report:?}");
        let removed = (FIRST..ALL).filter(|at| at % 9 == 0).count();
        assert_eq!(report.len, ALL - removed);
        if originals == Originals::Kept {
            assert!(index.stats().code_error.unwrap_or(1.0) < 1.35, "{quantization:?}");
        }
        let (mut looks, mut found) = (0, 0);
        for at in (0..ALL).step_by(29) {
            let is_gone = (700..700 + removed).contains(&at);
            assert_eq!(index.contains(at as u64), !is_gone);
            let hits = index.search(moved.row(at)).ef(64).run().unwrap();
            assert!(hits.keys().all(|key| index.contains(key)));
            looks += usize::from(!is_gone);
            found += usize::from(hits[0].key == at as u64);
        }
        if originals == Originals::Kept {
            assert!(found * 100 >= looks * 97, "{quantization:?} {looks} {found}");
        }
    }
}

#[test]
fn vectors_are_moved_together_while_codes_are_made_anew() {
    let moved = Moved::new(0.5);
    let index = index(Metric::Cosine, Quantization::Sq4, Originals::Kept);
    moved.insert(&index, 0..FIRST, 2);
    // Most slots become vacant, and get the vectors of other topics, until codes are made anew.
    for key in 0..FIRST as u64 - 400 {
        assert!(index.remove(key).unwrap());
    }
    let done = index.maintain(Duration::from_mins(1));
    assert!(done.is_complete && done.moved > 0, "{done}");
    let mut greatest = 0.0_f32;
    for at in FIRST..ALL {
        index.insert(at as u64, moved.row(at)).unwrap();
        if at % 500 == 0 {
            index.maintain(Duration::from_mins(1));
            greatest = greatest.max(index.stats().code_error.unwrap());
        }
    }
    assert!(greatest > 1.5 && index.stats().code_error.unwrap() < 1.35);
    let report = index.check();
    assert!(report.is_ok() && report.len == LATER + 400, "{report:?}");
    let looks = (FIRST - 400..ALL).step_by(31);
    let is_found =
        |at: &usize| index.search(moved.row(*at)).ef(64).run().unwrap()[0].key == *at as u64;
    assert!(looks.clone().filter(is_found).count() * 100 >= looks.len() * 98);
}

fn collection(
    path: &std::path::Path,
    quantization: Quantization,
    originals: Originals,
) -> Collection {
    let config = Collection::builder(DIMENSION, Metric::L2).m(10).ef_construction(60);
    config.quantization(quantization).originals(originals).open(path).unwrap()
}

#[test]
#[ignore = "long: `just test-all`"]
fn collections_keep_the_codes_that_fit() {
    let moved = Moved::new(0.5);
    for (quantization, originals) in [
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Rabitq { bits: 4 }, Originals::Kept),
        (PQ, Originals::Kept),
        (Quantization::Sq4, Originals::Sq12),
    ] {
        let folder = Folder::new(
            &format!("moved-{quantization:?}-{originals:?}").replace([' ', '{', '}', ':'], ""),
        );
        let path = folder.file("collection");
        let mut open = collection(&path, quantization, originals);
        let (mut greatest, mut copies) = (0.0_f32, 0);
        let mut held = None;
        for from in (0..ALL).step_by(STEP) {
            let mut tx = open.begin_write().unwrap();
            for at in from..from + STEP {
                tx.upsert(at as u64, moved.row(at)).unwrap();
            }
            if from >= STEP {
                tx.remove((from - STEP) as u64).unwrap();
            }
            tx.commit().unwrap();
            greatest = greatest.max(open.stats().unwrap().index.code_error.unwrap_or(0.0));
            let snapshot = open.snapshot().unwrap();
            let hits = snapshot.search(moved.row(from + STEP - 1)).ef(64).run().unwrap();
            assert!(snapshot.len() == open.len() && hits.len() == 10);
            if from == FIRST + STEP {
                held = Some(snapshot.clone());
            } else if from == FIRST + 3 * STEP {
                // The snapshot shows an earlier commit, with the codes of that time.
                let held = held.take().unwrap();
                assert_eq!(held.len(), (FIRST + 2 * STEP) - FIRST / STEP - 1);
                let hits = held.search(moved.row(FIRST + 5)).ef(100).run().unwrap();
                assert!(hits.keys().any(|key| key == FIRST as u64 + 5));
            }
            drop(snapshot);
            // Another process opens the file in the state after this one was killed.
            if from % (3 * STEP) == 0 {
                let copy = folder.file(&format!("copy-{from}"));
                std::fs::copy(&path, &copy).unwrap();
                let again = collection(&copy, quantization, originals);
                assert_eq!(again.len(), open.len());
                let report = again.check().unwrap();
                assert!(report.is_ok(), "{report}");
                let looks = (0..from + STEP).step_by(37).filter(|key| key % STEP != 0);
                let (mut all, mut found) = (0, 0);
                for key in looks {
                    let hits = again.search(moved.row(key)).ef(64).run().unwrap();
                    found += usize::from(hits.keys().any(|found| found == key as u64));
                    all += 1;
                }
                assert!(found * 100 >= all * 95, "{quantization:?} {from}: {found} of {all}");
                copies += 1;
            }
            if from % (5 * STEP) == 0 {
                open.checkpoint().unwrap();
            } else if from % (4 * STEP) == 0 {
                // The collection is closed and opened between commits.
                drop(open);
                open = collection(&path, quantization, originals);
            }
        }
        let error = open.stats().unwrap().index.code_error.unwrap();
        println!("{quantization:?} {originals:?}: {greatest} {error}, {copies} copies");
        // The figure is read between commits, so that it may miss the moment of the greatest error.
        assert!(greatest > 1.35, "{quantization:?} {greatest}");
        if originals == Originals::Kept && quantization != PQ {
            assert!(error < 1.35, "{quantization:?} {error}");
        }
        let truth = moved.truth(Metric::L2);
        let recall = |open: &Collection| {
            let mut found = 0;
            for (query, truth) in moved.queries.chunks(DIMENSION).zip(&truth) {
                let hits = open.search(query).ef(64).run().unwrap();
                found += hits.keys().filter(|key| truth.contains(key)).count();
            }
            found
        };
        open.checkpoint().unwrap();
        let before = recall(&open);
        let report = open.check().unwrap();
        assert!(report.is_ok(), "{report}");
        let bits = open.stats().unwrap().index.code_bits;
        drop(open);
        let again = collection(&path, quantization, originals);
        let stats = again.stats().unwrap();
        assert_eq!((stats.index.code_bits, stats.index.code_error), (bits, Some(error)));
        assert_eq!(stats.pending_operations, 0);
        assert_eq!(recall(&again), before);
        if originals == Originals::Kept {
            assert!(before >= 960, "{quantization:?} {before}");
        }
        assert!(again.check().unwrap().is_ok());
        again.compact().unwrap();
        assert_eq!(recall(&again), before);
    }
}
