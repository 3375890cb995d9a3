//! The models: small indexes, two or three threads, and the conditions of each step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearfield::model::{begin, explore};
use nearfield::{Flat, Hits, Hnsw, Metric};
use shuttle::thread;

const QUERY: [f32; 2] = [0.0, -50.0];

/// Returns the vector of a key in one of its versions. No two vectors are at the same distance from [`QUERY`].
fn vector(key: u64, version: u64) -> [f32; 2] {
    [(key * 7 % 16 * 10) as f32, (version * 3) as f32]
}

fn distance(key: u64, version: u64) -> f32 {
    let [x, y] = vector(key, version);
    x * x + (y - QUERY[1]) * (y - QUERY[1])
}

/// Keys 0..64, and the operations on them that threads report to each other.
#[derive(Default)]
struct Told {
    inserted: AtomicU64,
    /// Removals that have begun, and removals that have ended.
    leaving: AtomicU64,
    removed: AtomicU64,
    /// The version of [`UPSERTED`] that was written last, and the one that is being written.
    done: AtomicU64,
    begun: AtomicU64,
}

const UPSERTED: u64 = 3;

impl Told {
    fn with(keys: impl IntoIterator<Item = u64>) -> Self {
        let told = Self::default();
        told.inserted.store(keys.into_iter().map(|key| 1 << key).sum(), Ordering::SeqCst);
        told
    }
}

/// Checks that the answer of a search is possible.
fn look(told: &Told, search: impl FnOnce() -> Hits) {
    let inserted = told.inserted.load(Ordering::SeqCst);
    let removed = told.removed.load(Ordering::SeqCst);
    let done = told.done.load(Ordering::SeqCst);
    let hits = search();
    let leaving = told.leaving.load(Ordering::SeqCst);
    let begun = told.begun.load(Ordering::SeqCst);
    let mut met = BTreeMap::new();
    for hit in &hits {
        let versions = if hit.key == UPSERTED { done..=begun } else { 0..=0 };
        let version =
            versions.clone().find(|&v| distance(hit.key, v).to_bits() == hit.distance.to_bits());
        assert!(version.is_some(), "key {} at {}, of {versions:?}", hit.key, hit.distance);
        assert!(met.insert(hit.key, version).is_none(), "key {} twice", hit.key);
        assert!(removed >> hit.key & 1 == 0, "key {} was removed", hit.key);
    }
    let sure = inserted & !leaving;
    for key in (0..64).filter(|key| sure >> key & 1 != 0) {
        assert!(met.contains_key(&key), "key {key} is missing from {met:?}");
    }
}

/// Returns all vectors that walks can reach: with this radius, no walk ends early.
fn walk(index: &Hnsw) -> Hits {
    index.search(&QUERY).k(64).ef(64).within(f32::MAX).run().expect("a search")
}

/// Runs threads over a model to their ends, in the schedule that is explored.
fn run_threads<M: Send + Sync + 'static>(
    model: &Arc<M>,
    threads: impl IntoIterator<Item = fn(&M)>,
) {
    explore(true);
    let spawn = |run: fn(&M)| {
        let model = Arc::clone(model);
        thread::spawn(move || run(&model))
    };
    let threads: Vec<_> = threads.into_iter().map(spawn).collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    explore(false);
}

struct Model {
    index: Hnsw,
    told: Told,
}

impl Model {
    fn new(seed: u64, keys: u64) -> Arc<Self> {
        begin();
        let builder = Hnsw::builder(2, Metric::L2).m(2).ef_construction(8).seed(seed);
        let index = builder.build().expect("an index");
        for key in 0..keys {
            index.insert(key, &vector(key, 0)).expect("a new key");
        }
        Arc::new(Self { index, told: Told::with(0..keys) })
    }

    fn insert(&self, key: u64) {
        self.index.insert(key, &vector(key, 0)).expect("a new key");
        self.told.inserted.fetch_or(1 << key, Ordering::SeqCst);
    }

    fn remove(&self, key: u64) {
        self.told.leaving.fetch_or(1 << key, Ordering::SeqCst);
        assert!(self.index.remove(key).expect("memory"));
        self.told.removed.fetch_or(1 << key, Ordering::SeqCst);
    }

    fn upsert(&self, version: u64) {
        self.told.begun.store(version, Ordering::SeqCst);
        assert!(self.index.upsert(UPSERTED, &vector(UPSERTED, version)).expect("memory"));
        self.told.done.store(version, Ordering::SeqCst);
    }

    fn maintain(&self) {
        self.index.maintain(Duration::MAX);
    }

    fn look(&self) {
        look(&self.told, || walk(&self.index));
    }

    /// Runs the threads to their ends, and checks that the index is whole.
    fn run(self: &Arc<Self>, threads: impl IntoIterator<Item = fn(&Self)>) {
        run_threads(self, threads);
        self.look();
        let report = self.index.check();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        self.maintain();
        self.look();
        let report = self.index.check();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }
}

/// Two insertions into full rows, beside searches.
pub(crate) fn insertions(graph: u64) {
    Model::new(graph, 6).run([
        |model: &Model| {
            model.insert(6);
            model.look();
        },
        |model: &Model| model.insert(7),
        |model: &Model| {
            model.look();
            model.look();
        },
    ]);
}

/// Two insertions into an almost empty index, each of which may become the entry point.
pub(crate) fn raised(graph: u64) {
    Model::new(graph, 1).run([
        |model: &Model| model.insert(1),
        |model: &Model| model.insert(2),
        |model: &Model| {
            model.look();
            model.look();
        },
    ]);
}

/// A slot gets another vector while searches are in its row.
pub(crate) fn reuse(graph: u64) {
    let model = Model::new(graph, 6);
    model.remove(2);
    model.run([
        |model: &Model| {
            model.maintain();
            model.insert(7);
        },
        |model: &Model| model.remove(4),
        Model::look,
    ]);
}

/// Replacements of a vector beside searches.
pub(crate) fn upserts(graph: u64) {
    Model::new(graph, 6).run([
        |model: &Model| {
            for version in 1..=3 {
                model.upsert(version);
            }
        },
        |model: &Model| {
            model.look();
            model.look();
        },
    ]);
}

/// Vectors move from the end to vacant slots.
pub(crate) fn moves(graph: u64) {
    let model = Model::new(graph, 7);
    model.remove(1);
    model.remove(2);
    model.run([Model::maintain, |model: &Model| model.insert(8), Model::look]);
}

/// Neighbours are removed at the same time.
pub(crate) fn removals(graph: u64) {
    Model::new(graph, 7).run([
        |model: &Model| {
            model.remove(3);
            model.maintain();
        },
        |model: &Model| model.remove(4),
        Model::look,
    ]);
}

struct FlatModel {
    index: Flat,
    told: Told,
}

impl FlatModel {
    fn new(keys: u64) -> Arc<Self> {
        begin();
        let index = Flat::builder(2, Metric::L2).build().expect("an index");
        for key in 0..keys {
            index.insert(key, &vector(key, 0)).expect("a new key");
        }
        Arc::new(Self { index, told: Told::with(0..keys) })
    }

    fn look(&self) {
        look(&self.told, || self.index.search(&QUERY).k(64).run().expect("a search"));
    }

    fn run(self: &Arc<Self>, threads: impl IntoIterator<Item = fn(&Self)>) {
        run_threads(self, threads);
        self.look();
    }
}

/// A removal and an insertion that takes the slot, beside a scan.
pub(crate) fn scans(_graph: u64) {
    FlatModel::new(3).run([
        |model: &FlatModel| {
            model.told.leaving.fetch_or(1 << 1, Ordering::SeqCst);
            assert!(model.index.remove(1).expect("memory"));
            model.told.removed.fetch_or(1 << 1, Ordering::SeqCst);
            for key in [5, 6] {
                model.index.insert(key, &vector(key, 0)).expect("a new key");
                model.told.inserted.fetch_or(1 << key, Ordering::SeqCst);
            }
        },
        FlatModel::look,
    ]);
}

/// Replacements beside scans.
pub(crate) fn scanned_upserts(_graph: u64) {
    FlatModel::new(4).run([
        |model: &FlatModel| {
            for version in 1..=3 {
                model.told.begun.store(version, Ordering::SeqCst);
                let vector = vector(UPSERTED, version);
                assert!(model.index.upsert(UPSERTED, &vector).expect("memory"));
                model.told.done.store(version, Ordering::SeqCst);
            }
        },
        FlatModel::look,
    ]);
}
