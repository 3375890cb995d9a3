//! With the features on, subscribers of `tracing` and recorders of `metrics` see operations. The tests set their own, for
//! the test's thread only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use nearfield::store::SimulatedDisk;
use nearfield::{Collection, Flat, Hnsw, IndexError, Ivf, Metric};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

/// Runs one test at a time: if a thread without a subscriber is the first to make a span, `tracing` may disable
/// that span, until the next subscriber is set.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A recorded span.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: &'static str,
    level: String,
    fields: HashMap<&'static str, u64>,
    /// The span that was current when this one was made, if any.
    parent: Option<u64>,
    entered: bool,
    left: bool,
}

#[derive(Default)]
struct Spans {
    seen: Vec<Seen>,
    stack: Vec<u64>,
}

/// Keeps every span.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Spans>>);

impl Visit for Seen {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        panic!("{} is {value:?}", field.name());
    }
}

impl Subscriber for Watcher {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "nearfield"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().unwrap();
        let metadata = span.metadata();
        let mut seen = Seen {
            name: metadata.name(),
            level: metadata.level().to_string(),
            parent: spans.stack.last().copied(),
            ..Seen::default()
        };
        span.record(&mut seen);
        spans.seen.push(seen);
        Id::from_u64(spans.seen.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut self.0.lock().unwrap().seen[span.into_u64() as usize - 1]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        let mut spans = self.0.lock().unwrap();
        spans.stack.push(span.into_u64());
        spans.seen[span.into_u64() as usize - 1].entered = true;
    }

    fn exit(&self, span: &Id) {
        let mut spans = self.0.lock().unwrap();
        assert_eq!(spans.stack.pop(), Some(span.into_u64()), "left in another order than entered");
        spans.seen[span.into_u64() as usize - 1].left = true;
    }
}

impl Watcher {
    /// Runs `work` and returns the spans that it made.
    fn watch(work: impl FnOnce()) -> Vec<Seen> {
        let watcher = Self::default();
        tracing::subscriber::with_default(watcher.clone(), work);
        let spans = watcher.0.lock().unwrap();
        assert!(spans.seen.iter().all(|seen| seen.entered && seen.left), "{:?}", spans.seen);
        spans.seen.clone()
    }
}

/// A counter, or the number and sum of a histogram's values.
#[derive(Debug, Default)]
struct Total {
    count: AtomicU64,
    sum: Mutex<f64>,
}

impl CounterFn for Total {
    fn increment(&self, value: u64) {
        self.count.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.count.fetch_max(value, Ordering::Relaxed);
    }
}

impl HistogramFn for Total {
    fn record(&self, value: f64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.sum.lock().unwrap() += value;
    }
}

/// Keeps every metric by its name and label, as `name{value}`.
#[derive(Debug, Default)]
struct Book(Mutex<HashMap<String, Arc<Total>>>);

impl Book {
    fn of(&self, key: &Key) -> Arc<Total> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| {
                assert_eq!(label.key(), "operation");
                label.value()
            })
            .collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    /// Runs `work` and returns its counts.
    fn keep(work: impl FnOnce()) -> HashMap<String, (u64, f64)> {
        let book = Self::default();
        metrics::with_local_recorder(&book, work);
        let totals = book.0.into_inner().unwrap().into_iter();
        totals
            .map(|(name, t)| (name, (t.count.load(Ordering::Relaxed), *t.sum.lock().unwrap())))
            .collect()
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("{key} is no gauge of ours")
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}

const ROWS: [f32; 8] = [0.0, 0.0, 5.0, 5.0, 9.0, 9.0, 1.0, 1.0];

fn small() -> Hnsw {
    let index = Hnsw::builder(2, Metric::L2).build().unwrap();
    index.insert_batch(&[1, 2, 3, 4], &ROWS).threads(1).run().unwrap();
    index
}

#[test]
fn spans_of_an_index() {
    let _alone = alone();
    let index = small();
    let mut distances = 0;
    let spans = Watcher::watch(|| {
        distances = index.search(&[1.0, 1.0]).k(2).run().unwrap().distances_computed();
        index.insert(5, &[2.0, 2.0]).unwrap();
        assert!(matches!(index.insert(5, &[2.0, 2.0]), Err(IndexError::KeyExists { key: 5 })));
        index.search_batch(&ROWS).k(1).threads(1).run().unwrap();
        index.insert_batch(&[8, 9], &ROWS[..4]).threads(2).run().unwrap();
        assert!(index.search(&[f32::NAN, 0.0]).run().is_err());
    });
    let names: Vec<_> = spans.iter().map(|s| (s.name, s.level.as_str())).collect();
    assert_eq!(
        names,
        [
            ("search", "TRACE"),
            ("insert", "TRACE"),
            ("insert", "TRACE"),
            ("search_batch", "DEBUG"),
            ("insert_batch", "DEBUG"),
            ("search", "TRACE"),
        ]
    );
    assert!(spans.iter().all(|span| span.parent.is_none()));
    let field = |at: usize, name: &str| spans[at].fields.get(name).copied();
    assert_eq!(field(0, "items"), Some(1));
    assert_eq!(field(0, "distances"), Some(distances));
    assert!(distances > 0);
    assert_eq!((field(0, "failed"), field(1, "failed")), (None, None));
    assert_eq!((field(2, "failed"), field(2, "items")), (Some(1), None));
    assert_eq!((field(3, "items"), field(4, "items")), (Some(4), Some(2)));
    assert_eq!(field(5, "failed"), Some(1));
}

/// Every kind of index reports replacements, removals and maintenance.
#[test]
fn spans_of_a_living_index() {
    let _alone = alone();
    let (graph, exact) = (small(), Flat::builder(2, Metric::L2).build().unwrap());
    let lists = Ivf::builder(2, Metric::L2).lists(2).build().unwrap();
    let spans = Watcher::watch(|| {
        graph.upsert(1, &[2.0, 2.0]).unwrap();
        assert!(graph.upsert(1, &[f32::NAN, 2.0]).is_err());
        assert!(graph.remove(1).unwrap() && !graph.remove(1).unwrap());
        assert!(graph.maintain(Duration::MAX).is_complete);
        exact.upsert(1, &[2.0, 2.0]).unwrap();
        exact.remove(1).unwrap();
        exact.maintain(Duration::MAX);
        for key in 0..3 {
            lists.upsert(key, &[2.0, key as f32]).unwrap();
        }
        lists.train().unwrap();
        lists.remove(1).unwrap();
    });
    let seen: Vec<_> = spans.iter().map(|s| (s.name, s.fields.get("items").copied())).collect();
    let expected = [
        ("upsert", Some(1)),
        ("upsert", None),
        ("remove", Some(1)),
        ("remove", Some(0)),
        // The slot of the replaced vector, and the slot of the removed one.
        ("maintain", Some(2)),
        ("upsert", Some(1)),
        ("remove", Some(1)),
        ("maintain", Some(0)),
        ("upsert", Some(1)),
        ("upsert", Some(1)),
        ("upsert", Some(1)),
        ("train", Some(3)),
        ("remove", Some(1)),
    ];
    assert_eq!(seen, expected);
    let failed = spans.iter().map(|s| s.fields.contains_key("failed"));
    assert_eq!(failed.filter(|failed| *failed).count(), 1);
    let levels = |name: &str| spans.iter().find(|s| s.name == name).map(|s| s.level.as_str());
    assert_eq!((levels("remove"), levels("maintain")), (Some("TRACE"), Some("INFO")));
}

/// The spans of a collection's commits contain those of its store, which contain the waits for the disk.
#[test]
fn spans_of_a_collection() {
    let _alone = alone();
    let disk = SimulatedDisk::new();
    let config = Collection::builder(2, Metric::L2);
    let spans = Watcher::watch(|| {
        let collection = config.clone().open_simulated(&disk).unwrap();
        let mut tx = collection.begin_write().unwrap();
        tx.upsert_batch(&[1, 2, 3, 4], &ROWS).unwrap();
        tx.commit().unwrap();
        collection.check().unwrap();
        collection.checkpoint().unwrap();
        collection.compact().unwrap();
        collection.preload().unwrap();
    });
    let find = |name: &str| {
        let at = spans.iter().position(|span| span.name == name);
        at.unwrap_or_else(|| panic!("no {name} among {spans:?}"))
    };
    for (name, level) in [
        ("open", "INFO"),
        ("commit", "DEBUG"),
        ("check", "INFO"),
        ("checkpoint", "INFO"),
        ("compact", "INFO"),
        ("load", "INFO"),
    ] {
        assert_eq!(spans[find(name)].level, level, "{name}");
        assert!(spans[find(name)].fields.contains_key("items"), "{name}");
    }
    let commit = find("commit");
    assert_eq!(spans[commit].fields["items"], 4);
    let within = |outer: usize, name: &str| {
        spans.iter().position(|s| s.name == name && s.parent == Some(outer as u64 + 1))
    };
    let stored = within(commit, "store_commit").expect("a commit of the store");
    assert!(within(stored, "store_sync").is_some(), "a commit that is not on the disk");
    assert!(within(find("checkpoint"), "store_checkpoint").is_some());
    assert!(spans[find("checkpoint")].fields["items"] > 0);
}

#[test]
fn metrics_of_an_index() {
    let _alone = alone();
    let index = small();
    let exact = Flat::builder(2, Metric::L2).build().unwrap();
    let (mut distances, mut hops) = (0, 0);
    let book = Book::keep(|| {
        for _ in 0..3 {
            let hits = index.search(&[1.0, 1.0]).k(2).run().unwrap();
            distances += hits.distances_computed();
            hops += hits.hops();
        }
        exact.insert(1, &[0.5, 0.5]).unwrap();
        assert!(exact.insert(1, &[0.5, 0.5]).is_err());
        exact.upsert(1, &[0.0, 0.5]).unwrap();
        exact.remove(1).unwrap();
        exact.maintain(Duration::MAX);
        index.search_batch(&ROWS).k(1).threads(1).run().unwrap();
        assert!(index.search(&[1.0]).run().is_err());
    });
    let count = |name: &str| book.get(name).map_or(0, |total| total.0);
    assert_eq!(count("nearfield_operations_total{search}"), 3);
    assert_eq!(count("nearfield_failures_total{search}"), 1);
    assert_eq!(count("nearfield_items_total{search}"), 3);
    assert_eq!(count("nearfield_operations_total{insert}"), 1);
    assert_eq!(count("nearfield_failures_total{insert}"), 1);
    for name in ["upsert", "remove", "maintain"] {
        assert_eq!(count(&format!("nearfield_operations_total{{{name}}}")), 1, "{name}");
        assert_eq!(count(&format!("nearfield_failures_total{{{name}}}")), 0, "{name}");
    }
    assert_eq!(count("nearfield_operations_total{search_batch}"), 1);
    assert_eq!(count("nearfield_items_total{search_batch}"), 4);
    let (samples, seconds) = book["nearfield_operation_seconds{search}"];
    assert_eq!(samples, 3);
    assert!(seconds > 0.0);
    assert_eq!(book["nearfield_search_distances{}"], (3, distances as f64));
    assert_eq!(book["nearfield_search_hops{}"], (3, hops as f64));
}

#[test]
fn metrics_of_a_collection() {
    let _alone = alone();
    let disk = SimulatedDisk::new();
    let config = Collection::builder(2, Metric::L2);
    let book = Book::keep(|| {
        let collection = config.clone().open_simulated(&disk).unwrap();
        for key in 0..5 {
            let mut tx = collection.begin_write().unwrap();
            tx.upsert(key, &[1.0, key as f32]).unwrap();
            tx.commit().unwrap();
        }
        drop(collection.begin_write().unwrap());
    });
    let count = |name: &str| book.get(name).map_or(0, |total| total.0);
    assert_eq!(count("nearfield_operations_total{commit}"), 5);
    assert_eq!(count("nearfield_items_total{commit}"), 5);
    assert_eq!(count("nearfield_operation_seconds{commit}"), 5);
    assert_eq!(count("nearfield_failures_total{commit}"), 0);
    assert!(count("nearfield_operations_total{store_commit}") >= 5);
    assert!(count("nearfield_operations_total{store_sync}") >= 5);
    assert!(book["nearfield_operation_seconds{store_sync}"].1 > 0.0);
    // The entries of the journal are applied again, and counted.
    let book = Book::keep(|| drop(config.open_simulated(&disk).unwrap()));
    assert_eq!(book["nearfield_operations_total{open}"].0, 1);
    assert_eq!(book["nearfield_items_total{open}"].0, 5);
}
