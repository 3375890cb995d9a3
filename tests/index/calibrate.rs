//! The recall of a search compared with the recall that its caller wants.

use nearfield::dataset::{Generated, Vectors};
use nearfield::report::Drift;
use nearfield::search::SearchPlan;
use nearfield::{Flat, Hnsw, IndexError, Metric, Originals, Quantization, VectorRef};

use crate::support::collections::config;
use crate::support::data::keys;
use crate::support::files::Folder;

fn made(count: usize, dimension: usize) -> (Vectors, Vectors) {
    let made = Generated::builder(count, dimension).queries(1200).seed(3).build().unwrap();
    made.into_parts()
}

/// Returns the recall at `k` of searches that want `recall`.
fn achieved(graph: &Hnsw, exact: &Flat, queries: VectorRef<'_>, k: usize, recall: f64) -> f64 {
    let mut same = 0;
    let found = graph.search_batch(&queries).k(k).recall(recall).threads(2).run().unwrap();
    let truth = exact.search_batch(&queries).k(k).threads(2).run().unwrap();
    for (hits, truth) in found.iter().zip(truth.iter()) {
        let reach = truth.last().unwrap().distance;
        same += hits.iter().take_while(|hit| hit.distance <= reach).count().min(k);
    }
    same as f64 / (k * truth.len()) as f64
}

#[test]
#[ignore = "long: `just test-all`"]
fn what_is_asked_for_is_reached() {
    let (base, queries) = made(20_000, 32);
    let (known, fresh) = (queries.range(0, 600).unwrap(), queries.range(600, 600).unwrap());
    let exact = Flat::builder(32, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(20_000), &base).threads(2).run().unwrap();
    for quantization in [Quantization::None, Quantization::Sq4] {
        let graph = Hnsw::builder(32, Metric::L2).m(8).quantization(quantization).build().unwrap();
        // On one thread: the same graph in every run.
        graph.insert_batch(&keys(20_000), &base).threads(1).run().unwrap();
        for own in [true, false] {
            let calibrate = graph.calibrate().threads(2);
            let calibration = if own { calibrate.run() } else { calibrate.queries(&known).run() };
            let calibration = calibration.unwrap();
            assert_eq!(
                (calibration.k, calibration.len, calibration.self_queries),
                (10, 20_000, own)
            );
            assert_eq!(calibration.queries, if own { 1000 } else { 600 });
            assert!(calibration.points.is_sorted_by(|a, b| a.ef < b.ef));
            assert!(calibration.points.iter().all(|p| p.lower_bound <= p.recall));
            assert!(calibration.points[0].recall < 0.9, "too easy to tell anything");
            for recall in [0.9, 0.95, 0.99] {
                let got = achieved(&graph, &exact, fresh, 10, recall);
                assert!(got >= recall - 0.005, "{quantization:?}, own {own}: {got} for {recall}");
                // The recall is not much higher than needed. A sample left out of the index takes its links with it, so `own` allows more.
                let more = if own { 0.07 } else { 0.035 };
                assert!(got <= recall + more, "{quantization:?}, own {own}: {got} for {recall}");
                let fewer = achieved(&graph, &exact, fresh, 1, recall);
                assert!(fewer >= recall - 0.01, "{quantization:?}: {fewer} for {recall} at 1");
            }
            let stats = graph.stats();
            assert_eq!(stats.calibration, Some(calibration));
            assert_eq!(stats.drift(), None);
        }
    }
}

#[test]
fn the_same_vectors_give_the_same_curve() {
    let (base, queries) = made(6000, 16);
    let graph = Hnsw::builder(16, Metric::Cosine).build().unwrap();
    graph.insert_batch(&keys(6000), &base).threads(2).run().unwrap();
    let one = graph.calibrate().threads(1).run().unwrap();
    assert_eq!(one, graph.calibrate().threads(2).run().unwrap());
    let one = graph.calibrate().queries(&queries).k(3).threads(1).run().unwrap();
    assert_eq!(one, graph.calibrate().queries(&queries).k(3).threads(2).run().unwrap());
    assert_eq!(one.k, 3);
    // The last resort is a scan of every vector.
    let query = queries.row(0).unwrap();
    assert_eq!(graph.search(&query).k(3).recall(1.0).run().unwrap().plan(), SearchPlan::Scan);
}

#[test]
#[ignore = "long: `just test-all`"]
fn other_originals_are_measured_against_their_codes() {
    let (base, queries) = made(6000, 32);
    for (quantization, originals, bits) in [
        (Quantization::Sq8, Originals::Dropped, 8),
        (Quantization::Sq4, Originals::Sq8, 4),
        (Quantization::Sq4, Originals::Sq12, 4),
    ] {
        let builder = Hnsw::builder(32, Metric::L2).quantization(quantization);
        let graph = builder.originals(originals).build().unwrap();
        graph.insert_batch(&keys(6000), &base).threads(2).run().unwrap();
        for calibration in
            [graph.calibrate().run().unwrap(), graph.calibrate().queries(&queries).run().unwrap()]
        {
            assert_eq!(calibration.code_bits, Some(bits));
            let best = calibration.points.iter().map(|point| point.recall).fold(0.0, f64::max);
            assert!(best > 0.99, "{originals:?}: {best}");
        }
        let query = queries.row(0).unwrap();
        assert_eq!(graph.search(&query).recall(0.95).run().unwrap().len(), 10);
    }
}

#[test]
fn what_is_not_known_is_told() {
    let (base, queries) = made(8000, 32);
    let graph = Hnsw::builder(32, Metric::L2).build().unwrap();
    graph.insert_batch(&keys(8000), &base).threads(2).run().unwrap();
    let query = queries.row(0).unwrap();
    let unknown = graph.search(&query).recall(0.9).run().unwrap_err();
    assert_eq!(unknown, IndexError::NotCalibrated { k: 10, measured: None });
    assert!(unknown.to_string().contains("calibrate"));
    assert!(graph.search_batch(&queries).recall(0.9).run().is_err());
    assert!(graph.search(&query).recall(0.9).iter().is_err());
    assert_eq!((graph.stats().calibration, graph.stats().drift()), (None, None));

    for wrong in [
        graph.calibrate().k(0).run(),
        graph.calibrate().k(8000).run(),
        graph.calibrate().sample(0).run(),
        graph.calibrate().max_ef(0).run(),
        graph.calibrate().threads(0).run(),
        graph.calibrate().queries(&[0.0_f32; 0]).run(),
    ] {
        assert!(matches!(wrong, Err(IndexError::Parameter { .. })), "{wrong:?}");
    }
    let short = graph.calibrate().queries(&[0.0_f32; 33]).run();
    assert!(matches!(short, Err(IndexError::Vector(_))), "{short:?}");
    let empty = Hnsw::builder(2, Metric::L2).build().unwrap();
    assert!(empty.calibrate().k(1).run().is_err());

    // No point of the curve reaches the recall with certainty.
    graph.calibrate().queries(&queries).max_ef(12).run().unwrap();
    let best = graph.search(&query).recall(0.9999).run().unwrap_err();
    assert!(matches!(best, IndexError::RecallUnreachable { .. }), "{best}");
    assert!(best.to_string().contains("calibrate"));
    // More answers than the calibration measured.
    let more = graph.search(&query).k(11).recall(0.5).run().unwrap_err();
    assert_eq!(more, IndexError::NotCalibrated { k: 11, measured: Some(10) });
    graph.calibrate().k(20).run().unwrap();
    assert_eq!(graph.search(&query).k(11).recall(0.9).run().unwrap().len(), 11);
    // Ranges and iterations begin with the `ef` that was measured.
    assert!(graph.search(&query).recall(0.9).within(1e9).run().unwrap().len() > 100);
    assert_eq!(graph.search(&query).recall(0.9).iter().unwrap().take(100).count(), 100);

    let exact = Flat::builder(32, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(8000), &base).run().unwrap();
    assert_eq!(exact.search(&query).recall(1.0).run().unwrap().len(), 10);
}

#[test]
fn drift_is_told() {
    let (base, queries) = made(5000, 16);
    let graph = Hnsw::builder(16, Metric::L2).quantization(Quantization::Sq8).build().unwrap();
    let insert = |from: usize, to: usize| {
        for row in from..to {
            graph.insert(row as u64, &base.row(row).unwrap()).unwrap();
        }
    };
    insert(0, 2000);
    graph.calibrate().sample(100).run().unwrap();
    insert(2000, 2400);
    assert_eq!(graph.stats().drift(), None);
    insert(2400, 2600);
    assert_eq!(graph.stats().drift(), Some(Drift::Size { measured: 2000, now: 2600 }));
    // The calibration stays in use after drift.
    let query = queries.row(0).unwrap();
    assert_eq!(graph.search(&query).recall(0.9).run().unwrap().len(), 10);
    insert(2600, 4000);
    graph.calibrate().sample(100).run().unwrap();
    insert(4000, 4400);
    assert_eq!(graph.stats().drift(), Some(Drift::Codes));
    graph.calibrate().sample(100).run().unwrap();
    assert_eq!(graph.stats().drift(), None);
}

#[test]
fn collections_are_calibrated_too() {
    let folder = Folder::new("calibrate");
    let (base, queries) = made(2000, 16);
    let collection = config(16).create(folder.file("c.nf")).unwrap();
    let mut tx = collection.begin_write().unwrap();
    for (key, vector) in base.iter().enumerate() {
        tx.upsert(key as u64, &vector).unwrap();
    }
    tx.commit().unwrap();
    let query = queries.row(0).unwrap();
    assert!(collection.search(&query).recall(0.9).run().is_err());
    collection.calibrate().run().unwrap();
    assert_eq!(collection.search(&query).recall(0.9).run().unwrap().len(), 10);
    let even = |key: u64| key.is_multiple_of(2);
    let hits = collection.search(&query).k(5).filter(even).within(1e9).run().unwrap();
    assert!(hits.len() == 5 && hits.keys().all(even));
    assert_eq!(collection.search(&query).iter().unwrap().count(), 2000);

    let snapshot = collection.snapshot().unwrap();
    assert_eq!(snapshot.search(&query).filter(even).iter().unwrap().count(), 1000);
    assert!(snapshot.search(&query).recall(0.9).run().is_err());
    snapshot.calibrate().queries(&queries).run().unwrap();
    assert_eq!(snapshot.search(&query).recall(0.9).run().unwrap().len(), 10);
}
