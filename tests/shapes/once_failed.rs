//! Data on which codes once failed, each with the figures of then: recall@10 against exact neighbours, and the errors of rounded
//! vectors.

use std::cell::LazyCell;
use std::sync::LazyLock;

use nearfield::{Element, Flat, Hnsw, HnswBuilder, Metric, Originals, Quantization};
use rayon::prelude::*;

use crate::data::{Counts, METRICS, QUERIES, SHAPES, Shape, exact, topic, unit};
use crate::support::random::Normal;
use crate::truth::{K, Truth, rounding, truth_of};

const EF: usize = 64;
const LESS: f64 = 0.02;

/// Factors of the lengths of queries.
const FACTORS: [f32; 5] = [0.003, 0.02, 1.0, 10.0, 100.0];

/// Inserts the first vectors in a batch, the others one by one.
fn filled(builder: HnswBuilder, shape: &Shape) -> Hnsw {
    let index = builder.build().unwrap();
    let keys: Vec<u64> = (0..shape.len() as u64).collect();
    index.insert_batch(&keys[..shape.count], shape.first()).run().unwrap();
    for (&key, vector) in keys[shape.count..].iter().zip(shape.later().chunks(shape.dimension)) {
        index.insert(key, vector).unwrap();
    }
    index
}

fn built(shape: &Shape, metric: Metric, codes: Quantization, originals: Originals) -> Hnsw {
    let builder = Hnsw::builder(shape.dimension, metric);
    filled(builder.quantization(codes).originals(originals), shape)
}

fn plain(shape: &Shape, metric: Metric) -> Hnsw {
    built(shape, metric, Quantization::None, Originals::Kept)
}

/// Returns the place of a shape in [`SHAPES`].
fn place_of(name: &str) -> usize {
    SHAPES.iter().position(|shape| shape.name == name).unwrap()
}

fn found(index: &Hnsw, queries: &[f32], ef: usize) -> Vec<Vec<u64>> {
    let search = |query| index.search(query).ef(ef).run().unwrap().keys().collect();
    queries.chunks(index.dimension()).map(search).collect()
}

/// Compares the recall with that of plain vectors, which are asked only if they could find more.
fn compare(found: f64, plain: impl FnOnce() -> f64, what: &str) {
    if found < 1.0 - LESS {
        let plain = plain();
        println!("{what}: {found:.3} of {plain:.3}");
        assert!(found >= plain - LESS, "{what}: {found:.3}, plain vectors {plain:.3}");
    }
}

/// Unit vectors, with queries of several lengths.
struct Units {
    shape: Shape,
    /// The queries times each factor.
    scaled: Vec<Vec<f32>>,
}

static UNITS: LazyLock<Units> = LazyLock::new(|| {
    let counts = Counts { first: 8000, later: 0, queries: QUERIES };
    let shape = Shape::of("units", 128, 50, counts, |n| unit(topic(n, 128, 0, 50, 0.5)));
    let scaled = FACTORS.map(|factor| shape.queries.iter().map(|x| x * factor).collect());
    Units { scaled: scaled.into(), shape }
});

/// The neighbours of the queries times each factor, under the inner product.
static OF_UNITS: LazyLock<Vec<Truth<'static>>> = LazyLock::new(|| {
    let truth =
        |queries| Truth::of_queries(&UNITS.shape, queries, Metric::InnerProduct, Element::F32);
    UNITS.scaled.iter().map(|queries| truth(queries)).collect()
});

/// The recall of plain vectors with the queries as they are.
static PLAIN_UNITS: LazyLock<f64> = LazyLock::new(|| {
    let index = plain(&UNITS.shape, Metric::InnerProduct);
    Truth::new(&UNITS.shape, Metric::InnerProduct, Element::F32).recall(&found(
        &index,
        &UNITS.shape.queries,
        EF,
    ))
});

/// A factor of the query does not change the order. Recall was .112 with `Auto`, .035 with `Sq4` and .005 with rounded
/// vectors at a factor of .003; .403 with those and .407 with `Sq8` alone at 100; distances were up to 97 % too small.
#[test]
fn the_length_of_a_query_does_not_matter_under_the_inner_product() {
    for (codes, originals) in [
        (Quantization::Auto, Originals::Kept),
        (Quantization::Sq4, Originals::Kept),
        (Quantization::Rabitq { bits: 1 }, Originals::Kept),
        (Quantization::Pq { sub_vectors: 64, bits: 4 }, Originals::Kept),
    ] {
        queries_of_any_length(codes, originals);
    }
}

#[test]
fn nor_does_it_where_vectors_are_rounded() {
    for (codes, originals) in [
        (Quantization::Auto, Originals::Sq12),
        (Quantization::Rabitq { bits: 4 }, Originals::Sq12),
        (Quantization::Sq8, Originals::Dropped),
    ] {
        queries_of_any_length(codes, originals);
    }
}

fn queries_of_any_length(codes: Quantization, originals: Originals) {
    let (shape, metric) = (&UNITS.shape, Metric::InnerProduct);
    let index = built(shape, metric, codes, originals);
    for ((factor, queries), truth) in FACTORS.iter().zip(&UNITS.scaled).zip(&*OF_UNITS) {
        let found = truth.recall_of_rounded(&found(&index, queries, EF), rounding(originals));
        let what = format!("{codes:?} {originals:?} times {factor}");
        // Two bits a component find a little less at every length.
        let less = if matches!(codes, Quantization::Pq { .. }) { 0.01 } else { 0.0 };
        compare(found + less, || *PLAIN_UNITS, &what);
        for query in queries.chunks(shape.dimension).take(20) {
            let hit = index.search(query).ef(EF).run().unwrap()[0];
            let vector = &shape.all[hit.key as usize * shape.dimension..][..shape.dimension];
            let exact = exact(metric, query, vector);
            let off = (f64::from(hit.distance) - exact).abs() / exact.abs();
            assert!(off < 0.02, "{codes:?} {originals:?} times {factor}: off by {off:.3}");
        }
    }
}

/// A recall measured with queries of one length holds for queries of another: .453 at a factor of .01, .638 at 100.
#[test]
fn a_calibrated_recall_holds_for_queries_of_any_length() {
    let shape = &UNITS.shape;
    let index = built(shape, Metric::InnerProduct, Quantization::Auto, Originals::Kept);
    index.calibrate().run().unwrap();
    let truth = Truth::new(shape, Metric::InnerProduct, Element::F32);
    for (factor, queries) in FACTORS.iter().zip(&UNITS.scaled) {
        let search = |query| index.search(query).recall(0.95).run().unwrap().keys().collect();
        let found: Vec<Vec<u64>> = queries.chunks(shape.dimension).map(search).collect();
        let found = truth.recall(&found);
        assert!(found >= 0.93, "times {factor}: {found:.3}");
    }
}

/// Lengths with a log-normal distribution: .124 with `Auto`, .64 with `Sq4`.
#[test]
#[ignore = "long: `just test-all`"]
fn long_and_short_vectors_are_found_under_the_inner_product() {
    let counts = Counts { first: 10_000, later: 0, queries: QUERIES };
    let mut shape = Shape::of("lengths", 64, 51, counts, |n| {
        let length = (2.0 * n.next()).exp();
        n.vector(64).iter().map(|x| x * length).collect()
    });
    let mut normal = Normal::new(52);
    shape.queries = normal.vector(64 * QUERIES);
    against_plain(&shape, Metric::InnerProduct);
}

/// Later vectors are 30 times as long: .306 with `Auto`, .320 with `Sq4`.
#[test]
#[ignore = "long: `just test-all`"]
fn longer_vectors_that_come_later_are_found_under_the_inner_product() {
    let counts = Counts { first: 6000, later: 2000, queries: QUERIES };
    let mut shape = Shape::moved(
        "longer later",
        64,
        counts,
        |n| n.vector(64),
        |n| n.vector(64).iter().map(|x| 30.0 * x).collect(),
    );
    let mut normal = Normal::new(53);
    shape.queries = normal.vector(64 * QUERIES);
    against_plain(&shape, Metric::InnerProduct);
}

fn against_plain(shape: &Shape, metric: Metric) {
    let truth = Truth::new(shape, metric, Element::F32);
    let recall = |index: &Hnsw| truth.recall(&found(index, &shape.queries, EF));
    let of_plain = LazyCell::new(|| recall(&plain(shape, metric)));
    for codes in [
        Quantization::Auto,
        Quantization::Sq4,
        Quantization::Rabitq { bits: 1 },
        Quantization::Rabitq { bits: 4 },
        Quantization::Pq { sub_vectors: 32, bits: 4 },
    ] {
        let found = recall(&built(shape, metric, codes, Originals::Kept));
        compare(found, || *of_plain, &format!("{} {metric} {codes:?}", shape.name));
    }
}

/// One-hot vectors of 200 kinds, 24 of each: .770 with `Rabitq` of 4 bits at every `ef`.
#[test]
#[ignore = "long: `just test-all`"]
fn equal_vectors_are_found_among_others_at_one_distance() {
    let place = place_of("one-hot kinds");
    let shape = &SHAPES[place];
    for metric in METRICS {
        let recall =
            |index: &Hnsw, ef| truth_of(place, metric).recall(&found(index, &shape.queries, ef));
        let of_plain = LazyCell::new(|| plain(shape, metric));
        for bits in [1, 2, 4] {
            let codes = Quantization::Rabitq { bits };
            let index = built(shape, metric, codes, Originals::Kept);
            for ef in [EF, 256] {
                let of_plain = || recall(&of_plain, ef);
                compare(recall(&index, ef), of_plain, &format!("{metric} {bits} ef {ef}"));
            }
        }
    }
}

/// The same under the inner product: .920 and .940 with `Pq` of 4 and 8 bits.
#[test]
fn product_codes_find_each_kind_of_equal_vectors() {
    let (place, metric) = (place_of("one-hot kinds"), Metric::InnerProduct);
    let shape = &SHAPES[place];
    for bits in [4, 8] {
        let sub_vectors = 2 * shape.dimension / bits as usize;
        let codes = Quantization::Pq { sub_vectors, bits };
        let index = built(shape, metric, codes, Originals::Kept);
        // Plain vectors find all neighbours.
        let found = truth_of(place, metric).recall(&found(&index, &shape.queries, EF));
        compare(found, || 1.0, &format!("{bits} bits"));
    }
}

/// The same inserted one by one: .650 with `Sq4`, .830 with `Rabitq` of 4 bits.
#[test]
#[ignore = "long: `just test-all`"]
fn equal_vectors_are_found_however_they_came() {
    let place = place_of("one-hot kinds");
    let shape = Shape { count: 0, ..SHAPES[place].clone() };
    for codes in [Quantization::Sq4, Quantization::Rabitq { bits: 4 }] {
        for metric in METRICS {
            let index = built(&shape, metric, codes, Originals::Kept);
            // Plain vectors find all neighbours.
            let found = truth_of(place, metric).recall(&found(&index, &shape.queries, EF));
            compare(found, || 1.0, &format!("{metric} {codes:?} one by one"));
        }
    }
}

/// Vectors of one topic first, then those of 39 others: recall was .632 and .490 with `Sq8` at deviations of .5 and .3, .758
/// with `Sq12` at .1, and `get` was off by 60 % of a vector's length.
#[test]
#[ignore = "long: `just test-all`"]
fn rounded_vectors_of_other_topics_are_found() {
    let topics = SHAPES.iter().enumerate();
    for (place, shape) in topics.filter(|(_, shape)| shape.name.starts_with("one topic first")) {
        for metric in METRICS {
            let recall = |index: &Hnsw, originals| {
                let found = found(index, &shape.queries, EF);
                truth_of(place, metric).recall_of_rounded(&found, rounding(originals))
            };
            let of_plain = LazyCell::new(|| recall(&plain(shape, metric), Originals::Kept));
            for originals in [Originals::Sq8, Originals::Sq12] {
                let index = built(shape, metric, Quantization::Sq4, originals);
                let what = format!("{} {metric} {originals:?}", shape.name);
                compare(recall(&index, originals), || *of_plain, &what);
            }
        }
    }
}

/// A rounded vector is off by at most a bound, as a share of its length.
#[test]
#[ignore = "long: `just test-all`"]
fn rounded_vectors_are_off_by_a_share_of_their_own_length() {
    let mut missed = Vec::new();
    for (number, shape) in SHAPES.iter().enumerate() {
        let metric = METRICS[number % 3];
        // A third of the combinations is tested.
        let chosen = (number / 3) % 3;
        for (codes, originals, bound) in [
            (Quantization::Sq4, Originals::Sq8, 0.02),
            (Quantization::Sq4, Originals::Sq12, 0.0015),
            (Quantization::Sq8, Originals::Dropped, 0.02),
        ][chosen..=chosen]
            .iter()
            .copied()
        {
            // The graph does not matter here, but rows of two links would be full: an insertion would look far for a parent.
            let builder = Hnsw::builder(shape.dimension, metric).m(8).ef_construction(8);
            let index = filled(builder.quantization(codes).originals(originals), shape);
            let off = farthest_off(&index, shape);
            if off > bound {
                let name = shape.name;
                missed.push(format!("{name} {metric} {codes:?} {originals:?}: {off:.4}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}:\n{}", missed.len(), missed.join("\n"));
}

/// Returns the greatest distance of a vector from its copy in the index, as a share of its length.
fn farthest_off(index: &Hnsw, shape: &Shape) -> f64 {
    let mut farthest = 0.0_f64;
    for (key, vector) in shape.all.chunks(shape.dimension).enumerate() {
        let mut vector = vector.to_vec();
        if index.metric() == Metric::Cosine {
            vector = unit(vector);
        }
        let found = index.get(key as u64).unwrap();
        let length = |parts: &mut dyn Iterator<Item = f32>| -> f64 {
            parts.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
        };
        let off = length(&mut vector.iter().zip(&found).map(|(a, b)| a - b));
        farthest = farthest.max(off / length(&mut vector.iter().copied()));
    }
    farthest
}

#[test]
fn looking_at_every_vector_finds_the_true_neighbours_of_any_shape() {
    let all = (0..SHAPES.len()).flat_map(|place| METRICS.map(|metric| (place, metric)));
    let all: Vec<_> = all.collect();
    all.into_par_iter().for_each(|(place, metric)| {
        let shape = &SHAPES[place];
        let flat = Flat::builder(shape.dimension, metric).build().unwrap();
        let keys: Vec<u64> = (0..shape.len() as u64).collect();
        flat.insert_batch(&keys, &shape.all).threads(1).run().unwrap();
        let found = flat.search_batch(&shape.queries).k(K).threads(1).run().unwrap();
        let found: Vec<Vec<u64>> =
            found.iter().map(|hits| hits.iter().map(|hit| hit.key).collect()).collect();
        let found = truth_of(place, metric).recall(&found);
        assert!(found >= 0.99, "{} {metric}: {found:.3}", shape.name);
    });
}
