//! Custom metrics: answers beside a plain evaluation, files, and the places that refuse them.

use std::collections::BTreeMap;

use nearfield::custom::{Chebyshev, CustomMetric, Haversine, Jaccard, Manhattan};
use nearfield::dataset::{Dataset, Generated, GroundTruth};
use nearfield::quantization::ScalarQuantizer;
use nearfield::{
    Collection, CollectionError, Distance, Element, ErrorKind, Flat, Hnsw, Index, IndexError, Ivf,
    KeySet, Metric, Quantization, Shards,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::data::keys;
use crate::support::files::Folder;
use crate::support::recall::{recall_of, shared};

/// The Manhattan distance less a number: mostly negative.
struct Below(f32);

impl CustomMetric for Below {
    fn name(&self) -> &'static str {
        "below"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        Manhattan.distance(a, b) - self.0
    }

    fn may_be_negative(&self) -> bool {
        true
    }
}

/// Distances in double precision, written in another way than the metrics.
fn plainly(metric: &str, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    match metric {
        "manhattan" => pairs().map(|(a, b)| (a - b).abs()).sum(),
        "chebyshev" => pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
        "jaccard" => {
            let both: f64 = pairs().map(|(a, b)| a.min(b)).sum();
            let any: f64 = pairs().map(|(a, b)| a.max(b)).sum();
            if any == 0.0 { 0.0 } else { 1.0 - both / any }
        }
        "haversine" => {
            // The angle between the directions, by the cross and the dot product.
            let direction = |v: &[f32]| {
                let (phi, lambda) = (f64::from(v[0]).to_radians(), f64::from(v[1]).to_radians());
                [phi.cos() * lambda.cos(), phi.cos() * lambda.sin(), phi.sin()]
            };
            let ([a, b, c], [x, y, z]) = (direction(a), direction(b));
            let cross = [b * z - c * y, c * x - a * z, a * y - b * x];
            let sine = cross.iter().map(|x| x * x).sum::<f64>().sqrt();
            6_371_008.8 * sine.atan2(a * x + b * y + c * z)
        }
        other => panic!("{other}"),
    }
}

/// Checks that hits ascend and have the distances of the plain evaluation, and that no other of `vectors` is nearer.
fn assert_nearest(
    metric: &str,
    query: &[f32],
    vectors: &BTreeMap<u64, Vec<f32>>,
    hits: &[nearfield::Hit],
) {
    let close = |a: f64, b: f64| {
        (a - b).abs()
            <= 1e-5 * a.abs().max(b.abs())
                + 1e-6
                + 3e-3 * f64::from(u8::from(metric == "haversine"))
    };
    let mut truth: Vec<f64> = vectors.values().map(|v| plainly(metric, query, v)).collect();
    truth.sort_by(f64::total_cmp);
    assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
    for (hit, &nearest) in hits.iter().zip(&truth) {
        let own = plainly(metric, query, &vectors[&hit.key]);
        let found = f64::from(hit.distance);
        assert!(close(found, own) && close(found, nearest), "{metric}: {found} {own} {nearest}");
    }
}

/// Builds both indexes of the same vectors, compares `Flat` with the plain evaluation, and the walks with `Flat`.
fn assert_recall<M: CustomMetric + Copy>(
    metric: M,
    dimension: usize,
    base: &[f32],
    queries: &[f32],
) {
    let count = base.len() / dimension;
    let flat = Flat::builder_with(dimension, metric).build().unwrap();
    let graph = Hnsw::builder_with(dimension, metric).build().unwrap();
    flat.insert_batch(&keys(count), base).run().unwrap();
    graph.insert_batch(&keys(count), base).threads(2).run().unwrap();
    let report = graph.check();
    assert!(report.is_ok(), "{report}");
    let vectors = (0..).zip(base.chunks(dimension).map(<[f32]>::to_vec)).collect();
    for query in queries.chunks(dimension).take(20) {
        let hits = flat.search(query).k(10).run().unwrap();
        assert_nearest(metric.name(), query, &vectors, &hits);
    }
    let recall = recall_of(&graph, &flat, queries, 128);
    assert!(recall >= 0.95, "{}: {recall}", metric.name());
    assert!(graph.stats().search_distances < (count * queries.len() / dimension) as u64 / 2);
}

#[test]
fn walks_find_the_nearest_under_each_metric() {
    let made = Generated::builder(6000, 24).queries(50).seed(3).build().unwrap();
    let (base, queries) = (made.base().to_f32().unwrap(), made.queries().to_f32().unwrap());
    assert_recall(Manhattan, 24, &base, &queries);
    assert_recall(Chebyshev, 24, &base, &queries);
    let mut random = SmallRng::seed_from_u64(4);
    let mut place = || [random.random_range(-90.0..90.0_f32), random.random_range(-180.0..180.0)];
    let base: Vec<f32> = (0..6000).flat_map(|_| place()).collect();
    let queries: Vec<f32> = (0..50).flat_map(|_| place()).collect();
    assert_recall(Haversine, 2, &base, &queries);
}

#[test]
fn walks_find_the_nearest_sets() {
    const BITS: usize = 250;
    const COUNT: usize = 6000;

    let mut random = SmallRng::seed_from_u64(5);
    // Sets of a topic have most of its elements, and some others.
    let topics: Vec<[bool; BITS]> =
        (0..60).map(|_| std::array::from_fn(|_| random.random_bool(0.15))).collect();
    let mut set = || {
        let topic = &topics[random.random_range(0..topics.len())];
        let mut bytes = vec![0_u8; BITS.div_ceil(8)];
        for (at, &has) in topic.iter().enumerate() {
            let share = if has { 0.75 } else { 0.04 };
            bytes[at / 8] |= u8::from(random.random_bool(share)) << (at % 8);
        }
        bytes
    };
    let flat = Flat::builder_with(BITS, Jaccard).build().unwrap();
    let graph = Hnsw::builder_with(BITS, Jaccard).build().unwrap();
    assert_eq!((flat.element(), graph.element()), (Element::Bit, Element::Bit));
    let base: Vec<u8> = (0..COUNT).flat_map(|_| set()).collect();
    flat.insert_batch(&keys(COUNT), &base).run().unwrap();
    graph.insert_batch(&keys(COUNT), &base).run().unwrap();
    let vectors = (0..COUNT as u64).map(|key| (key, flat.get(key).unwrap())).collect();
    let bits = |bytes: &[u8]| -> Vec<f32> {
        (0..BITS).map(|at| f32::from(bytes[at / 8] >> (at % 8) & 1)).collect()
    };
    let mut found = 0;
    for _ in 0..50 {
        let query = set();
        let truth = flat.search(&query).k(10).run().unwrap();
        assert_nearest("jaccard", &bits(&query), &vectors, &truth);
        let last = truth[9].distance;
        let hits = graph.search(&query).k(10).ef(128).run().unwrap();
        // Many sets are at the same distance.
        found += hits.iter().filter(|hit| hit.distance <= last).count();
    }
    assert!(found >= 475, "{found} of 500");
}

#[test]
fn any_sequence_of_calls_answers_as_a_plain_evaluation() {
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let metrics: [&dyn Fn(usize) -> Pair; 4] = [
            &|dimension| Pair::of(dimension, Manhattan, Element::F32),
            &|dimension| Pair::of(dimension, Chebyshev, Element::F16),
            &|dimension| Pair::of(dimension, Jaccard, Element::U8),
            &|dimension| Pair::of(dimension, Manhattan, Element::I8),
        ];
        let dimension = random.random_range(1..40);
        let pair = metrics[random.random_range(0..metrics.len())](dimension);
        let name = pair.flat.custom_metric().unwrap();
        let vector = |random: &mut SmallRng| -> Vec<f32> {
            (0..dimension).map(|_| f32::from(random.random_range(0..9_u8))).collect()
        };
        let mut model = BTreeMap::new();
        for _ in 0..random.random_range(1..250) {
            let key = random.random_range(0..60);
            if random.random_bool(0.3) {
                let was_there = model.remove(&key).is_some();
                for index in pair.both() {
                    assert_eq!(index.remove(key), Ok(was_there));
                }
            } else {
                let new = vector(&mut random);
                let was_there = model.insert(key, new.clone()).is_some();
                for index in pair.both() {
                    assert_eq!(index.upsert(key, &new), Ok(was_there));
                }
            }
        }
        let report = pair.graph.check();
        assert!(report.is_ok(), "{seed}: {report}");
        for _ in 0..5 {
            let query = vector(&mut random);
            let radius = random.random_range(0.0..2.0) * dimension as f32;
            let seen: KeySet = (0..60).filter(|key| key % 5 == 0).collect();
            for index in pair.both() {
                // With an `ef` as large as the index, a walk is a scan.
                let k = random.random_range(1..80);
                let hits = index.search(&query).k(k).ef(500).run().unwrap();
                assert_eq!(hits.len(), k.min(model.len()));
                assert_nearest(name, &query, &model, &hits);
                let mut even = model.clone();
                even.retain(|key, _| key % 2 == 0 && key % 5 > 0);
                let accepted = index.search(&query).filter(|key| key % 2 == 0).exclude(&seen);
                let hits = accepted.k(70).ef(500).run().unwrap();
                assert_eq!(hits.len(), even.len());
                assert_nearest(name, &query, &even, &hits);
                let mut near = model.clone();
                near.retain(|_, v| plainly(name, &query, v) <= f64::from(radius));
                let hits = index.search(&query).within(radius).ef(500).run().unwrap();
                assert!(hits.len().abs_diff(near.len()) <= usize::from(name == "jaccard"));
                assert_nearest(name, &query, &model, &hits);
                let all: Vec<_> = index.search(&query).ef(500).iter().unwrap().collect();
                assert_eq!(all.len(), model.len());
                assert_nearest(name, &query, &model, &all);
                let batch = index.search_batch(&query).k(3).ef(500).run().unwrap();
                assert_nearest(name, &query, &model, &batch[0]);
            }
        }
    }
}

/// Both indexes under one metric.
struct Pair {
    flat: Flat,
    graph: Hnsw,
}

impl Pair {
    fn of(dimension: usize, metric: impl CustomMetric + Copy, element: Element) -> Self {
        let flat = Flat::builder_with(dimension, metric).element(element).build().unwrap();
        let graph = Hnsw::builder_with(dimension, metric).element(element).m(4).build().unwrap();
        Self { flat, graph }
    }

    fn both(&self) -> [&dyn Index; 2] {
        [&self.flat, &self.graph]
    }
}

#[test]
fn negative_distances_have_their_order_and_alpha_is_taken_as_it_is() {
    let made = Generated::builder(4000, 16).queries(50).seed(9).build().unwrap();
    let (base, queries) = (made.base().to_f32().unwrap(), made.queries().to_f32().unwrap());
    let flat = Flat::builder_with(16, Below(5.0)).build().unwrap();
    flat.insert_batch(&keys(4000), &base).run().unwrap();
    let plain = Flat::builder_with(16, Manhattan).build().unwrap();
    plain.insert_batch(&keys(4000), &base).run().unwrap();
    let hits = flat.search(&queries[..16]).k(50).run().unwrap();
    assert!(hits.iter().any(|hit| hit.distance < 0.0), "{:?}", hits[0]);
    for hit in &hits {
        let distance = Below(5.0).distance(&queries[..16], &base[hit.key as usize * 16..][..16]);
        assert_eq!(hit.distance.to_bits(), (distance + 0.0).to_bits());
    }
    assert!(shared(&hits, &plain.search(&queries[..16]).k(50).run().unwrap()) >= 49);
    let within = flat.search(&queries[..16]).within(-1.0).run().unwrap();
    assert_eq!(within.len(), hits.iter().filter(|hit| hit.distance <= -1.0).count());
    for alpha in [1.0, 1.3] {
        let graph = Hnsw::builder_with(16, Below(5.0)).alpha(alpha).build().unwrap();
        graph.insert_batch(&keys(4000), &base).run().unwrap();
        assert!(graph.check().is_ok());
        let recall = recall_of(&graph, &flat, &queries, 128);
        assert!(recall >= 0.95, "{alpha}: {recall}");
    }
}

#[test]
fn a_file_has_the_name_and_opens_with_the_metric_alone() {
    let folder = Folder::new("custom-metric");
    let (graph, exact) = (folder.file("graph.nf"), folder.file("exact.nf"));
    let made = Generated::builder(900, 12).queries(5).seed(2).build().unwrap();
    let base = made.base().to_f32().unwrap();
    let index = Hnsw::builder_with(12, Manhattan).alpha(1.2).m(6).build().unwrap();
    index.insert_batch(&keys(900), &base).run().unwrap();
    for key in (0..900).step_by(7) {
        index.remove(key).unwrap();
    }
    index.save(&graph).unwrap();
    let flat = Flat::builder_with(12, Manhattan).build().unwrap();
    flat.insert_batch(&keys(900), &base).run().unwrap();
    flat.save(&exact).unwrap();
    for again in [
        Hnsw::open_with(&graph, Manhattan).unwrap(),
        Hnsw::load_with(&graph, std::sync::Arc::new(Manhattan)).unwrap(),
    ] {
        assert_eq!((again.metric(), again.custom_metric()), (Metric::Custom, Some("manhattan")));
        assert!(again.check().is_ok());
        for query in base.chunks(12).take(20) {
            let expected = index.search(query).k(10).run().unwrap();
            assert_eq!(again.search(query).k(10).run().unwrap(), expected);
        }
        again.upsert(0, &base[..12]).unwrap();
        assert_eq!(again.search(&base[..12]).k(1).run().unwrap()[0].key, 0);
        again.save(folder.file("again.nf")).unwrap();
    }
    let again = Hnsw::load_with(folder.file("again.nf"), Manhattan).unwrap();
    assert!(again.contains(0) && again.len() == index.len() + 1);
    let again = Flat::open_with(&exact, Manhattan).unwrap();
    assert_eq!(again.search(&base[..12]).run(), flat.search(&base[..12]).run());
    assert!(Flat::load_with(&exact, Manhattan).is_ok());

    // Without the metric, or with another one.
    for (error, path) in [
        (Hnsw::open(&graph).map(drop), &graph),
        (Hnsw::load(&graph).map(drop), &graph),
        (Flat::open(&exact).map(drop), &exact),
        (Flat::load(&exact).map(drop), &exact),
        (Collection::open(&graph).map(drop), &graph),
        (Collection::open_read_only(&graph).map(drop), &graph),
        (Collection::builder(12, Metric::L2).open(&graph).map(drop), &graph),
        (Collection::builder(12, Metric::Custom).open(&graph).map(drop), &graph),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incompatible);
        let CollectionError::CustomMetric { path: Some(named), metric, given: None } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((named, metric.as_str()), (path, "manhattan"));
        let text = error.to_string();
        assert!(text.contains("open_with") && text.contains("\"manhattan\""), "{text}");
    }
    for error in [
        Hnsw::open_with(&graph, Chebyshev).map(drop).unwrap_err(),
        Flat::load_with(&exact, Chebyshev).map(drop).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("\"manhattan\", \"chebyshev\" is given"), "{text}");
        assert!(matches!(error, CollectionError::CustomMetric { given: Some(_), .. }));
    }
    let error = Flat::open_with(&graph, Manhattan).unwrap_err();
    assert!(matches!(error, CollectionError::Kind { .. }), "{error}");
    let plain = folder.file("plain.nf");
    Hnsw::builder(12, Metric::L2).build().unwrap().save(&plain).unwrap();
    let error = Hnsw::open_with(&plain, Manhattan).unwrap_err();
    let CollectionError::Mismatch { name: "metric", stored, given, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((stored.as_str(), given.as_str()), ("l2", "manhattan"));
    // The metric of the file is for another dimension.
    let places = folder.file("places.nf");
    Hnsw::builder_with(3, Renamed("haversine")).build().unwrap().save(&places).unwrap();
    let error = Hnsw::open_with(&places, Haversine).unwrap_err();
    assert!(error.to_string().contains("over 3 components"), "{error}");
}

/// The Manhattan distance under another name.
#[derive(Clone, Copy)]
struct Renamed(&'static str);

impl CustomMetric for Renamed {
    fn name(&self) -> &str {
        self.0
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        Manhattan.distance(a, b)
    }
}

/// Returns the name of the parameter that was refused, and the text.
fn refused<T: std::fmt::Debug>(result: Result<T, IndexError>) -> (&'static str, String) {
    match result.unwrap_err() {
        error @ IndexError::Parameter { name, .. } => (name, error.to_string()),
        other => panic!("{other}"),
    }
}

#[test]
fn places_without_custom_metrics_refuse_them() {
    for quantization in ["auto", "sq8", "sq4", "pq4", "pq2x8", "rabitq1"] {
        let quantization: Quantization = quantization.parse().unwrap();
        let builder = Hnsw::builder_with(64, Manhattan).quantization(quantization);
        assert_eq!(refused(builder.build()).0, "quantization");
    }
    let (name, text) = refused(Hnsw::builder(4, Metric::Custom).build());
    assert!(name == "metric" && text.contains("builder_with"), "{text}");
    assert_eq!(refused(Flat::builder(4, "custom".parse().unwrap()).build()).0, "metric");
    assert_eq!(refused(Ivf::builder(4, Metric::Custom).build()).0, "metric");
    assert!(Distance::new(Metric::Custom, Element::F32).is_err());
    assert!(ScalarQuantizer::builder(4, Metric::Custom).train(&[0.0; 400]).is_err());
    let folder = Folder::new("custom-refused");
    let error = Collection::builder(4, Metric::Custom).create(folder.file("c.nf")).unwrap_err();
    assert!(matches!(error, CollectionError::Index(IndexError::Parameter { name: "metric", .. })));
    let made = Generated::builder(10, 4).queries(1).build().unwrap();
    let (base, queries) = made.into_parts();
    let truth = GroundTruth::from_parts(1, vec![0], None).unwrap();
    assert!(Dataset::from_parts("d", Metric::Custom, base, queries, truth).is_err());

    let long = "x".repeat(65).leak();
    for name in ["", &*long] {
        assert_eq!(refused(Flat::builder_with(4, Renamed(name)).build()).0, "name of the metric");
    }
    assert!(Flat::builder_with(4, Renamed(&long[1..])).build().is_ok());
    for dimension in [1, 3] {
        assert_eq!(refused(Hnsw::builder_with(dimension, Haversine).build()).0, "metric");
    }
    let bits = Hnsw::builder_with(64, Manhattan).element(Element::Bit).build();
    assert!(refused(bits).1.contains("\"manhattan\" over 64 components of bit"));
    assert_eq!(refused(Flat::builder_with(8, Jaccard).element(Element::F32).build()).0, "metric");
    let place = Hnsw::builder_with(2, Haversine).build().unwrap();
    assert!(matches!(place.insert(1, &[f32::NAN, 0.0]), Err(IndexError::Vector(_))));
    // No square is taken: the limit of lengths is for L2 and the inner product.
    let far = Flat::builder_with(2, Manhattan).build().unwrap();
    far.insert(1, &[3e38, -3e38]).unwrap();
    let distance = far.search(&[-3e38, 3e38]).run().unwrap()[0].distance;
    assert!(distance.is_infinite() && distance > 0.0);
}

#[test]
fn shards_have_one_custom_metric_and_debugging_text_names_it() {
    let of = |name| Flat::builder_with(2, Renamed(name)).build().unwrap();
    let (a, b, c) = (of("one"), of("one"), of("two"));
    a.insert(1, &[1.0, 1.0]).unwrap();
    b.insert(2, &[0.5, 0.0]).unwrap();
    let shards = Shards::new([&a, &b]).unwrap();
    let hits = shards.search(&[0.0, 0.0]).run().unwrap();
    assert_eq!(
        hits.iter().map(|hit| (hit.key, hit.distance)).collect::<Vec<_>>(),
        [(2, 0.5), (1, 2.0)]
    );
    let error = Shards::new([&a, &c]).unwrap_err();
    assert!(error.to_string().contains("custom metric of shard 1 is two"), "{error}");
    let text = format!("{a:?} {:?}", Hnsw::builder_with(2, Renamed("three")).build().unwrap());
    assert!(text.contains("Custom(\"one\")") && text.contains("Custom(\"three\")"), "{text}");
    assert_eq!(a.stats().metric, Metric::Custom);
    assert_eq!(
        format!("{:?}", Flat::builder(2, Metric::L2).build().unwrap()).matches("L2").count(),
        1
    );
}

#[test]
fn haversine_is_exact_at_poles_antipodes_and_the_date_line() {
    let quarter = 6_371_008.8 * std::f64::consts::FRAC_PI_2;
    for (a, b, expected) in [
        ([90.0, 0.0], [0.0, 77.0], quarter),
        ([0.0, 0.0], [0.0, 180.0], 2.0 * quarter),
        ([0.0, 179.5], [0.0, -179.5], quarter / 90.0),
        ([90.0, 10.0], [90.0, -120.0], 0.0),
        ([-90.0, 0.0], [90.0, 0.0], 2.0 * quarter),
        ([12.0, 34.0], [12.0, 394.0], 0.0),
    ] {
        let found = f64::from(Haversine.distance(&a, &b));
        assert!((found - expected).abs() < 1.0, "{a:?} {b:?}: {found} {expected}");
        assert_eq!(Haversine.distance(&b, &a).to_bits(), Haversine.distance(&a, &b).to_bits());
    }
    assert!(Haversine.distance(&[1.0], &[1.0]).is_nan());
}

/// `NEARFIELD_WRITE_GOLDEN=1` writes the file if it is missing.
#[test]
fn a_golden_file_with_a_custom_metric_opens() {
    const NAME: &str = "custom-1.nf";

    let place = |key: u64| [(key * 7 % 173) as f32 - 86.0, (key * 31 % 359) as f32 - 179.0];
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(NAME);
    if std::env::var_os("NEARFIELD_WRITE_GOLDEN").is_some() && !path.exists() {
        let index = Hnsw::builder_with(2, Haversine).m(4).alpha(1.2).build().unwrap();
        (0..300).for_each(|key| index.insert(key, &place(key)).unwrap());
        index.save(&path).unwrap();
    }
    // A copy is opened, because opening leaves a lock file for a moment.
    let folder = Folder::new("golden-custom");
    let copy = folder.file(NAME);
    std::fs::copy(&path, &copy).unwrap();
    assert!(matches!(Hnsw::open(&copy), Err(CollectionError::CustomMetric { .. })));
    for index in
        [Hnsw::open_with(&copy, Haversine).unwrap(), Hnsw::load_with(&copy, Haversine).unwrap()]
    {
        let report = index.check();
        assert!(report.is_ok() && index.len() == 300, "{report}");
        let model = (0..300).map(|key| (key, place(key).to_vec())).collect();
        for key in (0..300).step_by(13) {
            assert_eq!(index.get(key).unwrap(), place(key));
            let hits = index.search(&place(key)).k(5).ef(400).run().unwrap();
            assert_nearest("haversine", &place(key), &model, &hits);
        }
    }
}
