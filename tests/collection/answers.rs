//! Answers with records, groups of answers and diverse ones, against brute force.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nearfield::attributes::Value;
use nearfield::collection::Answer;
use nearfield::search::TryFilterError;
use nearfield::{
    CancelToken, Collection, CollectionError, Distance, Element, ErrorKind, Hnsw, KeySet, Metric,
    attributes,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::files::Folder;
use crate::support::random::Normal;

const DIMENSION: usize = 6;

/// An `ef` by which every search scans, and is exact.
const EXACT: usize = 100_000;

#[test]
fn answers_have_the_records_of_their_keys() {
    let folder = Folder::new("answers");
    let collection =
        Collection::builder(DIMENSION, Metric::L2).create(folder.file("c.nf")).unwrap();
    let mut random = Normal::new(3);
    let mut tx = collection.begin_write().unwrap();
    for number in 0..500_u64 {
        let key = if number.is_multiple_of(2) {
            tx.name_or_insert(format!("name {number}")).unwrap()
        } else {
            number
        };
        tx.upsert(key, &random.vector(DIMENSION)).unwrap();
        if number.is_multiple_of(3) {
            tx.set(key, attributes! { "number" => number as i64 }).unwrap();
        }
        if number.is_multiple_of(5) {
            tx.put_payload(key, &number.to_le_bytes()).unwrap();
        }
    }
    tx.commit().unwrap();
    let snapshot = collection.snapshot().unwrap();
    let entries: BTreeMap<u64, _> = snapshot
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.key, entry))
        .collect();
    let query = random.vector(DIMENSION);
    let odd = |key: u64| key % 2 == 1;
    let plain = snapshot.search(&query).k(40).filter(odd).ef(EXACT).run().unwrap();
    let all = |answers: &[Answer<'_>]| {
        assert!(
            answers
                .iter()
                .map(|answer| (answer.key, answer.distance))
                .eq(plain.iter().map(|hit| (hit.key, hit.distance)))
        );
        for answer in answers {
            let entry = &entries[&answer.key];
            assert_eq!(answer.name, entry.name);
            assert_eq!(answer.attributes, entry.attributes);
            assert_eq!(answer.payload, entry.payload);
            assert_eq!(answer.vector.as_ref(), Some(&entry.vector));
        }
    };
    // Settings before and behind the parts.
    let search = snapshot.search(&query).k(40).with_payload().with_attributes();
    let answers = search.with_name().with_vector().filter(odd).ef(EXACT).run().unwrap();
    all(&answers);
    assert_eq!(answers.plan(), plain.plan());
    assert!(answers.is_complete() && answers.distances_computed() > 0);
    assert!(
        answers
            .iter()
            .filter_map(|answer| answer.payload.as_ref())
            .all(|payload| matches!(payload, Cow::Borrowed(_)))
    );
    // Answers of a snapshot outlive the search, those of a collection the collection.
    let owned = {
        let search = collection.search(&query).k(40).filter(odd).ef(EXACT);
        search.with_name().with_payload().with_attributes().with_vector().run().unwrap()
    };
    all(&owned);
    let few = collection.search(&query).k(40).filter(odd).ef(EXACT).with_payload().run().unwrap();
    for answer in &few {
        assert_eq!(answer.payload, entries[&answer.key].payload);
        assert!(answer.name.is_none() && answer.attributes.is_none() && answer.vector.is_none());
    }
    assert_eq!(few.into_iter().count(), 40);
    let late = collection.search(&query).timeout(Duration::ZERO).with_payload().run().unwrap();
    assert!(late.is_empty() && !late.is_complete());
    let refused = collection.search(&[0.0]).with_payload().run().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    // A removed key has no records in the newest commit, and all in the snapshot.
    let mut tx = collection.begin_write().unwrap();
    for &key in entries.keys() {
        tx.remove(key).unwrap();
    }
    tx.commit().unwrap();
    assert!(collection.search(&query).with_payload().run().unwrap().is_empty());
    all(&snapshot
        .search(&query)
        .k(40)
        .filter(odd)
        .ef(EXACT)
        .with_payload()
        .with_name()
        .with_attributes()
        .with_vector()
        .run()
        .unwrap());
}

#[test]
fn the_first_error_of_a_filter_ends_the_search() {
    let folder = Folder::new("try-filter");
    let path = folder.file("c.nf");
    let collection = Collection::builder(1, Metric::L2).create(path).unwrap();
    let count = 30_000_u64;
    let keys: Vec<u64> = (0..count).collect();
    let values: Vec<f32> = keys.iter().map(|&key| key as f32).collect();
    let mut tx = collection.begin_write().unwrap();
    tx.upsert_batch(&keys[..2000], &values[..2000]).unwrap();
    tx.commit().unwrap();
    let even = |key: u64| Ok::<_, String>(key.is_multiple_of(2));
    let hits = collection.search(&[0.0]).k(3).try_filter(even).run().unwrap();
    assert_eq!(hits.keys().collect::<Vec<_>>(), [0, 2, 4]);
    let answers = collection.search(&[0.0]).try_filter(even).k(3).with_vector().run().unwrap();
    assert_eq!(answers.iter().map(|a| a.key).collect::<Vec<_>>(), [0, 2, 4]);
    let graph = Hnsw::builder(1, Metric::L2).build().unwrap();
    graph.insert_batch(&keys, &values).run().unwrap();
    let calls = AtomicUsize::new(0);
    let fails = |key: u64| {
        let calls = calls.fetch_add(1, Ordering::Relaxed);
        if calls == 20 { Err(key) } else { Ok(key == count) }
    };
    // It accepts nothing, so that the search would ask about each key.
    let error = graph.search(&[500.0]).try_filter(fails).run().unwrap_err();
    assert!(matches!(error, TryFilterError::Filter(key) if key < count), "{error:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 21);
    let fails = |_: u64| Err::<bool, _>(std::fmt::Error);
    let error = collection.search(&[0.0]).try_filter(fails).run().unwrap_err();
    assert_eq!(error.to_string(), format!("the filter failed: {}", std::fmt::Error));
    assert!(std::error::Error::source(&error).is_some());
    let error = collection.search(&[0.0]).with_payload().try_filter(fails).run().unwrap_err();
    assert!(matches!(error, TryFilterError::Filter(std::fmt::Error)));
    let grouped = collection.search(&[0.0]).try_filter(even).group_by("none").run().unwrap();
    assert!(grouped.is_empty() && grouped.is_complete());
    let error = collection.search(&[0.0]).group_by("none").try_filter(fails).run().unwrap_err();
    assert!(matches!(error, TryFilterError::Filter(std::fmt::Error)));
    // Other errors and limits are as without it.
    let error = collection.search(&[0.0, 1.0]).try_filter(even).run().unwrap_err();
    assert!(matches!(error, TryFilterError::Search(_)), "{error}");
    let cancel = CancelToken::new();
    cancel.cancel();
    let hits = graph.search(&[0.0]).cancel(&cancel).try_filter(even).run().unwrap();
    assert!(!hits.is_complete());
}

/// Returns the groups that a scan of all gives: value, keys.
fn truth(
    distances: &BTreeMap<u64, f32>,
    value_of: impl Fn(u64) -> Option<i64>,
    accepts: impl Fn(u64) -> bool,
    (k, limit): (usize, usize),
) -> Vec<(i64, Vec<u64>)> {
    let mut sorted: Vec<u64> = distances.keys().copied().filter(|&key| accepts(key)).collect();
    sorted.sort_by(|a, b| distances[a].total_cmp(&distances[b]));
    let mut groups: Vec<(i64, Vec<u64>)> = Vec::new();
    for key in sorted {
        let Some(value) = value_of(key) else { continue };
        match groups.iter_mut().find(|(own, _)| *own == value) {
            Some((_, keys)) if keys.len() < limit => keys.push(key),
            Some(_) => {}
            None => groups.push((value, vec![key])),
        }
    }
    groups.truncate(k);
    groups
}

#[test]
fn groups_are_those_of_a_scan() {
    let folder = Folder::new("groups");
    let collection =
        Collection::builder(DIMENSION, Metric::L2).create(folder.file("c.nf")).unwrap();
    let mut normal = Normal::new(7);
    let mut random = SmallRng::seed_from_u64(7);
    let mut vectors = BTreeMap::new();
    let mut values: BTreeMap<u64, i64> = BTreeMap::new();
    let mut tx = collection.begin_write().unwrap();
    for key in 0..3000_u64 {
        // Most are of one group, and near the queries; others are far from them.
        let group = if key < 2500 { 0 } else { 1 + (key % 40) as i64 };
        let mut vector = normal.vector(DIMENSION);
        vector[0] += group as f32;
        tx.upsert(key, &vector).unwrap();
        vectors.insert(key, vector);
        let value: Value = match random.random_range(0..10) {
            0 => (group as f64).into(),
            1 => ["a", "list"].into(),
            2 => continue,
            _ => group.into(),
        };
        if !matches!(value, Value::Texts(_)) {
            values.insert(key, group);
        }
        tx.set(key, attributes! { "group" => value, "other" => true }).unwrap();
    }
    tx.commit().unwrap();
    let snapshot = collection.snapshot().unwrap();
    let l2 = Distance::new(Metric::L2, Element::F32).unwrap();
    let mut excluded = KeySet::new();
    excluded.extend((0..3000).filter(|key| key % 7 == 0));
    for (case, (k, limit)) in
        [(1, 1), (5, 1), (41, 3), (100, 2), (7, 40), (3, 3000)].into_iter().enumerate()
    {
        let query = normal.vector(DIMENSION);
        let distances: BTreeMap<u64, f32> = vectors
            .iter()
            .map(|(&key, vector)| (key, l2.between(&query, vector).unwrap()))
            .collect();
        let accepts =
            |key: u64| !key.is_multiple_of(7) && (case % 2 == 0 || !key.is_multiple_of(3));
        let filter = |key: u64| case % 2 == 0 || !key.is_multiple_of(3);
        let expected = truth(&distances, |key| values.get(&key).copied(), accepts, (k, limit));
        let search = snapshot.search(&query).k(k).filter(filter).exclude(&excluded);
        let groups = search.ef(EXACT).with_vector().group_by("group").limit(limit).run().unwrap();
        assert!(groups.is_complete());
        let found: Vec<(i64, Vec<u64>)> = groups
            .iter()
            .map(|group| {
                let value = match group.value {
                    Value::Integer(value) => value,
                    Value::Float(value) => value as i64,
                    ref other => panic!("{other:?}"),
                };
                (value, group.answers.iter().map(|answer| answer.key).collect())
            })
            .collect();
        assert_eq!(found, expected, "{k} {limit}");
        let vector_is_there = |answer: &Answer<'_>| answer.vector.is_some();
        assert!(groups.iter().all(|group| group.answers.iter().all(vector_is_there)));
        // With few candidates: as many groups and answers, if not the nearest.
        let search = collection.search(&query).k(k).filter(filter).exclude(&excluded);
        let groups = search.ef(10).group_by("group").limit(limit).run().unwrap();
        assert_eq!(groups.len(), expected.len());
        for group in &groups {
            let value = |key| values.get(key).map(|&value| Value::Integer(value));
            assert!(group.answers.iter().all(|answer| accepts(answer.key)));
            let first = value(&group.answers[0].key);
            assert!(group.answers.iter().all(|answer| value(&answer.key) == first));
            let all =
                values.iter().filter(|(key, _)| accepts(**key) && value(key) == first).count();
            assert_eq!(group.answers.len(), all.min(limit));
        }
    }
    let query = normal.vector(DIMENSION);
    assert!(collection.search(&query).group_by("none").run().unwrap().is_empty());
    assert_eq!(collection.search(&query).group_by("other").limit(2).run().unwrap().len(), 1);
    assert!(collection.search(&query).k(0).group_by("group").run().unwrap().is_empty());
    let late = collection.search(&query).timeout(Duration::ZERO).group_by("group").run().unwrap();
    assert!(!late.is_complete());
    for refused in [
        collection.search(&query).group_by("group").limit(0).run(),
        collection.search(&query).diverse(0.5, 10).group_by("group").run(),
        collection.search(&[0.0]).group_by("group").run(),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn diverse_answers_are_those_of_the_definition() {
    let folder = Folder::new("diverse");
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::Hamming] {
        let is_bits = metric == Metric::Hamming;
        let element = if is_bits { Element::Bit } else { Element::F32 };
        let path = folder.file(&format!("{metric}.nf"));
        let config = Collection::builder(16, metric).element(element);
        let collection = config.create(path).unwrap();
        let mut random = Normal::new(11);
        let mut tx = collection.begin_write().unwrap();
        for key in 0..300_u64 {
            if is_bits {
                tx.upsert(key, &[random.below(256) as u8, random.below(256) as u8]).unwrap();
            } else {
                tx.upsert(key, &random.vector(16)).unwrap();
            }
        }
        tx.commit().unwrap();
        let vectors: Vec<Vec<f32>> = (0..300).map(|key| collection.get(key).unwrap()).collect();
        for (lambda, k, fetch) in
            [(1.0, 10, 50), (0.5, 10, 50), (0.0, 5, 300), (0.7, 20, 3), (0.3, 400, 400)]
        {
            let (bits, floats) = ([random.below(256) as u8, 7], random.vector(16));
            let search =
                if is_bits { collection.search(&bits) } else { collection.search(&floats) };
            let search = search.ef(EXACT);
            let hits = search.k(fetch.max(k)).run().unwrap();
            // Distances from the definition, in `f64`.
            let between = |a: u64, b: u64| -> f64 {
                let (a, b) = (&vectors[a as usize], &vectors[b as usize]);
                let pairs = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
                match metric {
                    Metric::InnerProduct => -pairs.map(|(a, b)| a * b).sum::<f64>(),
                    Metric::Cosine => 1.0 - pairs.map(|(a, b)| a * b).sum::<f64>(),
                    _ => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
                }
            };
            let answers = search.k(k).diverse(lambda, fetch).with_vector().run().unwrap();
            assert_eq!(answers.len(), k.min(300));
            assert_eq!(answers[0].key, hits[0].key);
            let own: BTreeMap<u64, f32> = hits.iter().map(|hit| (hit.key, hit.distance)).collect();
            let mut chosen: Vec<u64> = Vec::new();
            let mut least = vec![f64::INFINITY; 300];
            for answer in &answers {
                let worth = |key: u64| {
                    let lambda = f64::from(lambda);
                    (1.0 - lambda) * least[key as usize] - lambda * f64::from(own[&key])
                };
                if !chosen.is_empty() {
                    let rest = own.keys().copied().filter(|key| !chosen.contains(key));
                    let best = rest.map(worth).fold(f64::NEG_INFINITY, f64::max);
                    // Rounding decides between equal ones.
                    let found = worth(answer.key);
                    assert!(found >= best - 1e-4, "{metric} {lambda}: {found} {best}");
                }
                assert!(!chosen.contains(&answer.key));
                chosen.push(answer.key);
                for (key, least) in (0..).zip(&mut least) {
                    *least = least.min(between(key, answer.key));
                }
            }
            if lambda >= 1.0 {
                assert!(chosen.iter().copied().eq(hits.keys().take(k)), "{metric}");
            }
        }
        let query = [0_u8; 2];
        for lambda in [-0.1, 1.1, f32::NAN] {
            let search = collection.search(&query).diverse(lambda, 10);
            let refused = search.run().unwrap_err();
            assert!(matches!(refused, CollectionError::Index(_)), "{refused}");
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        }
    }
}

#[test]
fn records_are_those_of_one_commit() {
    let folder = Folder::new("record-snapshots");
    let collection =
        Collection::builder(DIMENSION, Metric::L2).create(folder.file("c.nf")).unwrap();
    let empty = collection.records().unwrap();
    let mut random = Normal::new(5);
    let mut tx = collection.begin_write().unwrap();
    for number in 0..300_u64 {
        let key = tx.name_or_insert(format!("name {number}")).unwrap();
        tx.upsert(key, &random.vector(DIMENSION)).unwrap();
        tx.put_payload(key, &number.to_le_bytes()).unwrap();
        if number.is_multiple_of(3) {
            tx.set(key, attributes! { "number" => number as i64 }).unwrap();
        }
    }
    tx.commit().unwrap();
    let records = collection.records().unwrap();
    // A later commit removes a third of the keys and changes the others.
    let mut tx = collection.begin_write().unwrap();
    for number in 0..300_u64 {
        let key = tx.key_of(format!("name {number}")).unwrap().unwrap();
        if number.is_multiple_of(3) {
            tx.remove(key).unwrap();
        } else {
            tx.put_payload(key, b"changed").unwrap();
        }
    }
    tx.commit().unwrap();
    let newest = collection.records().unwrap();
    for number in 0..300_u64 {
        let (name, is_third) = (format!("name {number}"), number.is_multiple_of(3));
        assert_eq!(empty.key_of(&name).unwrap(), None);
        let key = records.key_of(&name).unwrap().unwrap();
        assert_eq!(empty.payload(key).unwrap(), None);
        assert_eq!(records.name_of(key).unwrap(), Some(name.as_bytes()));
        assert_eq!(records.payload(key).unwrap(), Some(&number.to_le_bytes()[..]));
        let attributes = is_third.then(|| attributes! { "number" => number as i64 });
        assert_eq!(records.attributes(key).unwrap(), attributes);
        assert_eq!(newest.key_of(&name).unwrap(), (!is_third).then_some(key));
        assert_eq!(newest.name_of(key).unwrap(), (!is_third).then_some(name.as_bytes()));
        assert_eq!(newest.payload(key).unwrap(), (!is_third).then_some(&b"changed"[..]));
        assert_eq!(newest.attributes(key).unwrap(), None);
    }
}
