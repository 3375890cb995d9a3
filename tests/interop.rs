//! With the features on, values go to other crates and come back, and types of other crates are vectors.
#![allow(clippy::float_cmp, reason = "distances of equal vectors are exactly zero")]

use std::borrow::Cow;
use std::fmt::Debug;

use half::{bf16, f16};
use ndarray::{Array2, Axis, ShapeBuilder, array, s};
use nearfield::collection::{CollectionStats, ScrollCursor};
use nearfield::search::{Cursor, SearchPlan};
use nearfield::{
    AsVector, BatchHits, Bf16, Collection, Determinism, Element, F16, Flat, Hits, Hnsw, Isa, Ivf,
    Metric, Originals, Quantization, Shards, Stats, VectorRef, interop, shards,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json, to_value};

/// Asserts that a value has this form, and is read back from it.
fn has_form<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T, form: &Value) {
    assert_eq!(to_value(value).unwrap(), *form);
    assert_eq!(from_value::<T>(form.clone()).unwrap(), *value);
}

/// Returns the value that is read from the text of another.
fn read_back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

fn line(count: u64) -> Hnsw {
    let index = Hnsw::builder(1, Metric::L2).build().unwrap();
    let vectors: Vec<f32> = (0..count).map(|key| key as f32 / 3.0).collect();
    index.insert_batch(&(0..count).collect::<Vec<_>>(), &vectors).run().unwrap();
    index
}

#[test]
fn settings_are_their_names() {
    has_form(&Metric::InnerProduct, &json!("ip"));
    has_form(&Element::Bf16, &json!("bf16"));
    has_form(&Isa::Avx2, &json!("avx2"));
    has_form(&Originals::Sq12, &json!("sq12"));
    has_form(&Determinism::Bitwise, &json!("bitwise"));
    has_form(&SearchPlan::FilteredWalk, &json!("filtered-walk"));
    has_form(&Quantization::Pq { sub_vectors: 32, bits: 8 }, &json!("pq32x8"));
    has_form(&ScrollCursor::after(255), &json!("00000000000000ff"));
    let error = from_value::<Metric>(json!("euclidean")).unwrap_err().to_string();
    assert!(error.contains("allowed: l2, ip, cosine, hamming or custom"), "{error}");
    assert!(from_value::<Quantization>(json!(4)).is_err());
}

#[test]
fn answers_are_read_back() {
    let index = line(100);
    // As many as the value itself holds, and more.
    for k in [0, 1, 32, 33, 80] {
        let hits = index.search(&[7.1]).k(k.max(1)).run().unwrap();
        let hits = if k == 0 { Hits::new() } else { hits };
        let read: Hits = read_back(&hits);
        assert_eq!((&read, read.len()), (&hits, k));
        assert_eq!((read.plan(), read.hops()), (hits.plan(), hits.hops()));
        assert_eq!(read.distances_computed(), hits.distances_computed());
        assert_eq!(read.is_complete(), hits.is_complete());
    }
    let one = index.search(&[0.0]).k(1).run().unwrap();
    let form = to_value(&one).unwrap();
    assert_eq!(form["hits"], json!([{ "key": 0, "distance": 0.0 }]));
    assert_eq!(form["is_complete"], json!(true));
    let queries = [[0.5], [9.0], [33.0]];
    let batch = index.search_batch(&queries).k(40).run().unwrap();
    let read: BatchHits = read_back(&batch);
    assert_eq!(read, batch);
    assert_eq!(read_back(&BatchHits::default()), BatchHits::default());
    let other = line(10);
    let both = Shards::new(vec![&index, &other]).unwrap();
    let hits = both.search(&[1.0]).k(5).run().unwrap();
    let read: shards::ShardHits = read_back(&hits);
    assert_eq!(read, hits);
}

#[test]
fn an_iteration_goes_on_from_text() {
    let index = line(100);
    let mut iter = index.search(&[0.0]).iter().unwrap();
    let first: Vec<u64> = iter.by_ref().take(40).map(|hit| hit.key).collect();
    let text = serde_json::to_string(&iter.cursor()).unwrap();
    let cursor: Cursor = serde_json::from_str(&text).unwrap();
    let rest = index.search(&[0.0]).iter_from(cursor).unwrap();
    let all: Vec<u64> = first.into_iter().chain(rest.map(|hit| hit.key)).collect();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    for wrong in ["\"0\"", "\"01zz\"", "\"\"", "\"02\"", "7", "\"\u{e9}\u{e9}\""] {
        assert!(serde_json::from_str::<Cursor>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn figures_are_read_back() {
    let index = line(3000);
    index.calibrate().run().unwrap();
    let stats: Stats = index.stats();
    assert!(stats.calibration.is_some());
    assert_eq!(read_back(&stats), stats);
    assert_eq!(to_value(&stats).unwrap()["metric"], json!("l2"));
    assert_eq!(read_back(&stats.drift()), stats.drift());
    let lists = Ivf::builder(1, Metric::L2).build().unwrap();
    assert_eq!(read_back(&lists.stats()), lists.stats());
    let path = std::env::temp_dir().join(format!("nearfield-interop-{}.nf", std::process::id()));
    let collection = Collection::builder(2, Metric::Cosine).open(&path).unwrap();
    let stats = collection.stats().unwrap();
    let read: CollectionStats = read_back(&stats);
    assert_eq!(read, stats);
    collection.close().unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn halves_are_vectors() {
    let numbers = [0.5_f32, -1.0, 65_504.0];
    let theirs = numbers.map(f16::from_f32);
    let VectorRef::F16(ours) = theirs.as_vector() else { panic!("another type") };
    assert_eq!(ours, numbers.map(F16::from_f32));
    assert_eq!(f16::from(ours[1]), theirs[1]);
    assert_eq!(F16::from(theirs[1]), ours[1]);
    let rows = vec![[bf16::from_f32(3.0), bf16::from_f32(4.0)]; 2];
    let VectorRef::Bf16(ours) = rows.as_vector() else { panic!("another type") };
    assert_eq!(ours, [3.0, 4.0, 3.0, 4.0].map(Bf16::from_f32));
    let index = Flat::builder(3, Metric::L2).element(Element::F16).build().unwrap();
    index.insert(1, &theirs).unwrap();
    assert_eq!(index.search(&theirs.to_vec()).k(1).run().unwrap()[0].distance, 0.0);
    let rounded = array![[f16::ONE, f16::ZERO, f16::ZERO]];
    index.insert_batch(&[2], &interop::components(&rounded)).run().unwrap();
    assert_eq!(index.search(&[0.9, 0.0, 0.0]).k(1).run().unwrap()[0].key, 2);
}

#[test]
fn arrays_of_any_layout_are_vectors() {
    let rows = Array2::from_shape_fn((4, 6), |(row, column)| (10 * row + column) as f32);
    let expected = |view: ndarray::ArrayView2<'_, f32>| view.iter().copied().collect::<Vec<_>>();
    let whole = interop::components(&rows);
    assert!(matches!(whole, Cow::Borrowed(_)));
    assert!(matches!(interop::components(&rows.slice(s![1..3, ..])), Cow::Borrowed(_)));
    let mut reversed = rows.view();
    reversed.invert_axis(Axis(1));
    let columns_first = Array2::from_shape_fn((4, 6).f(), |at| rows[at]);
    for view in [rows.t(), rows.slice(s![.., ..2]), rows.slice(s![..;2, 1..;2]), reversed] {
        let components = interop::components(&view);
        assert!(matches!(components, Cow::Owned(_)));
        assert_eq!(*components, expected(view));
    }
    assert_eq!(interop::components(&columns_first), whole);
    let index = Hnsw::builder(2, Metric::L2).build().unwrap();
    let left = rows.slice(s![.., ..2]);
    index.insert_batch(&[0, 1, 2, 3], &interop::components(&left)).run().unwrap();
    let hits = index.search(&interop::components(&left.row(2))).k(1).run().unwrap();
    assert_eq!((hits[0].key, hits[0].distance), (2, 0.0));
    assert!(index.search(&interop::components(&Array2::<f32>::zeros((0, 2)))).run().is_err());
}
