//! Random predicates over random attributes, beside a plain evaluation for each key.
//!
//! `NEARFIELD_PREDICATES=100000` makes a longer run.

use std::collections::BTreeMap;

use crate::attributes::random::Random;
use crate::attributes::{Attributes, Predicate, Value};
use crate::collection::{Collection, Selection};
use crate::{ErrorKind, Metric, attributes, field};

/// The file of a collection, which is removed at the end.
pub(super) struct Temporary {
    pub(super) path: std::path::PathBuf,
}

impl Temporary {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("nearfield-attributes-{name}-{}.nf", std::process::id());
        Self { path: std::env::temp_dir().join(name) }
    }

    pub(super) fn create(&self) -> Collection {
        let _ = std::fs::remove_file(&self.path);
        Collection::builder(1, Metric::L2).create(&self.path).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

type Model = BTreeMap<u64, Attributes>;

/// Returns the keys for which a predicate is true, by the plain evaluation for each key.
fn expected(model: &Model, predicate: &Predicate) -> Vec<u64> {
    let is_true = |attributes: &Attributes| predicate.matches(attributes).unwrap();
    model.iter().filter(|(_, attributes)| is_true(attributes)).map(|(&key, _)| key).collect()
}

pub(super) fn keys(selection: &Selection) -> Vec<u64> {
    selection.iter().collect()
}

/// Keys of one chunk, of neighbouring chunks, and of the ends of the range.
fn any_key(random: &mut Random) -> u64 {
    match random.below(8) {
        0..4 => random.below(40) as u64,
        4 => (1 << 14) - 3 + random.below(6) as u64,
        5 => (1 << 32) - 3 + random.below(6) as u64,
        6 => (1 << 63) + random.below(20) as u64 * 20_000,
        _ => u64::MAX - random.below(4) as u64,
    }
}

fn change(random: &mut Random, collection: &Collection, model: &mut Model) {
    let mut tx = collection.begin_write().unwrap();
    for _ in 0..=random.below(29) {
        let key = any_key(random);
        match random.below(8) {
            0 => {
                assert_eq!(tx.remove(key).unwrap(), model.remove(&key).is_some());
            }
            1 if model.contains_key(&key) => {
                let had = model.insert(key, Attributes::new()).is_some_and(|a| !a.is_empty());
                assert_eq!(tx.remove_attributes(key).unwrap(), had);
            }
            _ => {
                tx.upsert(key, &[(key % 97) as f32]).unwrap();
                let attributes = random.attributes();
                tx.set(key, attributes.clone()).unwrap();
                let found = tx.attributes(key).unwrap().unwrap_or_default();
                assert_eq!(found, attributes);
                model.insert(key, attributes);
            }
        }
        if random.below(20) == 0 {
            let predicate = random.predicate(3);
            let found = tx.matching(&predicate).unwrap();
            assert_eq!(keys(&found), expected(model, &predicate), "{predicate}");
        }
        if random.below(60) == 0 {
            let predicate = random.predicate(3);
            let gone = expected(model, &predicate);
            assert_eq!(tx.remove_where(&predicate).unwrap(), gone.len());
            model.retain(|key, _| !gone.contains(key));
        }
    }
    tx.commit().unwrap();
}

#[test]
fn predicates_select_the_keys_of_a_plain_evaluation() {
    let cases: usize =
        std::env::var("NEARFIELD_PREDICATES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let file = Temporary::new("random");
    let (mut random, mut collection) = (Random::new(3), file.create());
    let mut model = Model::new();
    let (mut selected, mut rejected) = (0, 0);
    for case in 0..cases {
        if case % 20 == 0 {
            change(&mut random, &collection, &mut model);
        }
        if case % 500 == 499 {
            let report = collection.check().unwrap();
            assert!(report.is_ok(), "{report}");
            drop(collection);
            collection = Collection::open(&file.path).unwrap();
        }
        let predicate = random.predicate(3);
        let expected = expected(&model, &predicate);
        let found = collection.matching(&predicate).unwrap();
        assert_eq!(keys(&found), expected, "{predicate}");
        if case % 10 == 0 {
            let snapshot = collection.snapshot().unwrap();
            assert_eq!(keys(&snapshot.matching(&predicate).unwrap()), expected, "{predicate}");
        }
        selected += expected.len();
        rejected += model.len() - expected.len();
    }
    for (&key, attributes) in &model {
        assert_eq!(collection.attributes(key).unwrap().unwrap_or_default(), *attributes);
    }
    assert_eq!(collection.len(), model.len());
    println!("{cases} predicates: {selected} keys selected, {rejected} rejected");
    assert!(selected > cases && rejected > cases);
}

#[test]
fn long_texts_that_begin_alike_are_told_apart() {
    let file = Temporary::new("long");
    let collection = file.create();
    let begin = "a".repeat(64);
    let texts = [begin.clone(), format!("{begin}b"), format!("{begin}c"), "b".to_owned()];
    let mut tx = collection.begin_write().unwrap();
    for (key, text) in (0..).zip(&texts) {
        tx.upsert(key, &[0.0]).unwrap();
        tx.set(key, attributes! { "t" => text.as_str(), "l" => [text.as_str(), "x"] }).unwrap();
    }
    tx.commit().unwrap();
    let found = |predicate: Predicate| keys(&collection.matching(&predicate).unwrap());
    let t = || field("t");
    assert_eq!(found(t().eq(texts[1].as_str())), [1]);
    assert_eq!(found(t().ne(texts[1].as_str())), [0, 2, 3]);
    assert_eq!(found(t().lt(texts[2].as_str())), [0, 1]);
    assert_eq!(found(t().le(texts[1].as_str())), [0, 1]);
    assert_eq!(found(t().gt(texts[1].as_str())), [2, 3]);
    assert_eq!(found(t().gt(texts[0].as_str())), [1, 2, 3]);
    assert_eq!(found(t().prefix(texts[1].as_str())), [1]);
    assert_eq!(found(t().prefix(begin.as_str())), [0, 1, 2]);
    assert_eq!(found(field("l").has(texts[2].as_str())), [2]);
    assert_eq!(found(field("l").has("x")), [0, 1, 2, 3]);
    let facet = collection.facet("t").unwrap();
    let mut texts: Vec<Value> = texts.iter().map(|text| Value::from(text.as_str())).collect();
    texts.sort_by_key(|text| format!("{text:?}"));
    let mut seen: Vec<Value> = facet.iter().map(|(value, _)| value.clone()).collect();
    seen.sort_by_key(|text| format!("{text:?}"));
    assert_eq!(seen, texts);
    assert!(facet.iter().all(|&(_, count)| count == 1));
    assert!(collection.check().unwrap().is_ok());
}

#[test]
fn a_facet_counts_each_value_and_selections_page() {
    let file = Temporary::new("facet");
    let collection = file.create();
    let mut tx = collection.begin_write().unwrap();
    // Enough keys of one value for a bitmap, over two chunks.
    let count = 20_000_u64;
    let flat: Vec<f32> = (0..count).map(|key| key as f32).collect();
    tx.upsert_batch(&(0..count).collect::<Vec<_>>(), &flat).unwrap();
    for key in 0..count {
        let attributes = attributes! { "third" => (key % 3) as i64, "even" => key % 2 == 0 };
        tx.set(key, attributes).unwrap();
    }
    tx.commit().unwrap();
    let facet = collection.facet("third").unwrap();
    let values = [(0, 6667), (1, 6667), (2, 6666)];
    assert_eq!(facet, values.map(|(value, count)| (Value::Integer(value), count)));
    assert_eq!(collection.facet("none").unwrap(), []);
    let selection = collection.matching(&field("third").eq(1).and(field("even").eq(true))).unwrap();
    let all: Vec<u64> = (0..count).filter(|key| key % 6 == 4).collect();
    assert_eq!(keys(&selection), all);
    let mut paged = Vec::new();
    while paged.len() < all.len() {
        let first = paged.last().map_or(0, |last| last + 1);
        paged.extend(selection.iter_from(first).take(1000));
    }
    assert_eq!(paged, all);
    let hits = collection.search(&[9000.0]).filter(&selection).k(3).run().unwrap();
    assert_eq!(hits.keys().next(), Some(8998));
    assert!(hits.keys().all(|key| selection.contains(key)));
    assert!(collection.check().unwrap().is_ok());
}

#[test]
fn invalid_attributes_and_predicates_are_refused_whole() {
    let file = Temporary::new("invalid");
    let collection = file.create();
    let mut tx = collection.begin_write().unwrap();
    let missing = tx.set(1, attributes! { "a" => 1 }).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    tx.upsert(1, &[0.0]).unwrap();
    for refused in [
        attributes! { "a" => f64::NAN },
        attributes! { "" => 1 },
        attributes! { "a" => "x".repeat(1 << 20) },
    ] {
        assert_eq!(tx.set(1, refused).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(tx.attributes(1).unwrap(), None);
    assert_eq!(tx.matching(&field("a").eq(f64::NAN)).unwrap_err().kind(), ErrorKind::InvalidInput);
    tx.commit().unwrap();
    assert!(collection.matching(&field("a").is_null()).unwrap().contains(1));
}

#[test]
fn a_transaction_with_too_many_fields_changes_nothing() {
    let file = Temporary::new("fields");
    let collection = file.create();
    let mut tx = collection.begin_write().unwrap();
    for key in 0..257 {
        tx.upsert(key, &[0.0]).unwrap();
        let fields = (0..256).map(|at| (format!("field {}", key * 256 + at), at as i64));
        tx.set(key, fields.collect()).unwrap();
    }
    let error = tx.matching(&field("field 1").eq(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}");
    // The tables have a part of the changes.
    assert!(tx.commit().is_err());
    assert!(collection.is_empty() && collection.facet("field 1").unwrap().is_empty());
    let report = collection.check().unwrap();
    assert!(report.is_ok(), "{report}");
    // The same number less one is allowed.
    let mut tx = collection.begin_write().unwrap();
    for key in 0..256 {
        tx.upsert(key, &[0.0]).unwrap();
        let fields = (0..256).map(|at| (format!("field {}", key * 256 + at), at as i64));
        tx.set(key, fields.collect()).unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(keys(&collection.matching(&field("field 65535").eq(255)).unwrap()), [255]);
}
