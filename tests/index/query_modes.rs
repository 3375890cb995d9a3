//! Ranges, iterations, deadlines and cancelled searches, on graphs and exact indexes.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nearfield::dataset::{Generated, Vectors};
use nearfield::search::{Cursor, SearchPlan};
use nearfield::{
    CancelToken, Element, Flat, Hit, Hits, Hnsw, IndexError, Metric, Originals, Quantization,
};

use crate::support::data::keys;
use crate::support::recall::shared;

/// An index, the exact one over the same vectors, and queries.
struct Pair {
    graph: Hnsw,
    exact: Flat,
    queries: Vectors,
}

fn pair(count: usize, metric: Metric, quantization: Quantization) -> Pair {
    let made = Generated::builder(count, 24).queries(40).seed(9).build().unwrap();
    let (base, queries) = made.into_parts();
    let graph = Hnsw::builder(24, metric).quantization(quantization).build().unwrap();
    graph.insert_batch(&keys(count), &base).threads(2).run().unwrap();
    let exact = Flat::builder(24, metric).build().unwrap();
    exact.insert_batch(&keys(count), &base).threads(2).run().unwrap();
    Pair { graph, exact, queries }
}

/// Indexes that several tests search.
static SMALL: LazyLock<Pair> = LazyLock::new(|| pair(6000, Metric::L2, Quantization::None));
static SMALL_CODED: LazyLock<Pair> = LazyLock::new(|| pair(6000, Metric::L2, Quantization::Sq4));
static LARGE: LazyLock<Pair> = LazyLock::new(|| pair(20_000, Metric::L2, Quantization::None));

/// The answer may have any length, because hits are made in parts.
#[test]
fn a_radius_ends_the_answer_anywhere() {
    let flat = Flat::builder(1, Metric::L2).build().unwrap();
    let graph = Hnsw::builder(1, Metric::L2).build().unwrap();
    for at in 0..200_u16 {
        flat.insert(at.into(), &[f32::from(at)]).unwrap();
        graph.insert(at.into(), &[f32::from(at)]).unwrap();
    }
    for last in 0..200_u16 {
        let radius = f32::from(last) * f32::from(last);
        let keys: Vec<u64> = (0..=last.into()).collect();
        let of = |hits: Hits| hits.iter().map(|hit| hit.key).collect::<Vec<_>>();
        assert_eq!(of(flat.search(&[0.0]).within(radius).run().unwrap()), keys);
        assert_eq!(of(graph.search(&[0.0]).within(radius).run().unwrap()), keys);
        let k = keys.len() / 2;
        assert_eq!(of(flat.search(&[0.0]).within(radius).k(k).run().unwrap()), keys[..k]);
        assert_eq!(of(flat.search(&[0.0]).k(keys.len()).run().unwrap()), keys);
    }
}

#[test]
fn all_within_a_radius_are_found() {
    find_within_a_radius(&[(Metric::L2, Quantization::None), (Metric::Cosine, Quantization::Sq8)]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn all_within_a_radius_are_found_under_other_metrics() {
    find_within_a_radius(&[
        (Metric::L2, Quantization::Sq8),
        (Metric::Cosine, Quantization::None),
        (Metric::InnerProduct, Quantization::None),
        (Metric::InnerProduct, Quantization::Sq8),
    ]);
}

fn find_within_a_radius(cases: &[(Metric, Quantization)]) {
    for &(metric, quantization) in cases {
        let Pair { graph, exact, queries } = pair(8000, metric, quantization);
        for rank in [0, 5, 63, 64, 300, 2000] {
            let (mut found, mut wanted) = (0, 0);
            for query in queries.iter() {
                let all = exact.search(&query).k(8000).run().unwrap();
                let radius = all[rank].distance;
                let truth = exact.search(&query).within(radius).run().unwrap();
                // Equal distances count, too.
                let inside = all.iter().take_while(|hit| hit.distance <= radius).count();
                assert_eq!(truth.as_slice(), &all[..inside]);
                assert!(inside > rank);
                let few = exact.search(&query).within(radius).k(3).run().unwrap();
                assert_eq!(few.as_slice(), &all[..inside.min(3)]);

                let hits = graph.search(&query).within(radius).run().unwrap();
                assert!(hits.iter().all(|hit| hit.distance <= radius));
                assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
                found += shared(&hits, &truth);
                wanted += truth.len();

                let odd = |key: u64| key % 2 == 1;
                let hits = graph.search(&query).within(radius).filter(odd).run().unwrap();
                let truth = exact.search(&query).within(radius).filter(odd).run().unwrap();
                assert!(truth.keys().chain(hits.keys()).all(odd));
                found += shared(&hits, &truth);
                wanted += truth.len();
            }
            let recall = found as f64 / wanted as f64;
            assert!(recall > 0.95, "{metric} {quantization:?} rank {rank}: {recall}");
        }
        let query = queries.row(0).unwrap();
        let none = graph.search(&query).within(f32::NEG_INFINITY).run().unwrap();
        assert!(none.is_empty() && none.is_complete());
        assert_eq!(graph.search(&query).within(f32::INFINITY).run().unwrap().len(), 8000);
        assert_eq!(graph.search(&query).within(f32::INFINITY).k(5).run().unwrap().len(), 5);
    }
}

#[test]
fn a_small_radius_is_a_short_walk() {
    let Pair { graph, queries, .. } = &*LARGE;
    for query in queries.iter() {
        let radius = graph.search(&query).run().unwrap()[9].distance;
        let hits = graph.search(&query).within(radius).run().unwrap();
        assert_eq!(hits.plan(), SearchPlan::Walk);
        assert!(hits.len() >= 10 && hits.distances_computed() < 8000);
    }
}

#[test]
fn the_same_holds_in_batches() {
    for Pair { graph, exact, queries } in [&*SMALL, &*SMALL_CODED] {
        let query = queries.row(3).unwrap();
        let radius = exact.search(&query).k(200).run().unwrap()[199].distance;
        let batch = graph.search_batch(queries).within(radius).threads(2).run().unwrap();
        let few = graph.search_batch(queries).within(radius).k(7).threads(1).run().unwrap();
        let truth = exact.search_batch(queries).within(radius).run().unwrap();
        assert!(batch.is_complete() && truth.is_complete());
        for (at, query) in queries.iter().enumerate() {
            let one = graph.search(&query).within(radius).run().unwrap();
            assert_eq!((&batch[at], batch.plan(at)), (one.as_slice(), Some(one.plan())));
            let one = graph.search(&query).within(radius).k(7).run().unwrap();
            assert_eq!(&few[at], one.as_slice());
            let one = exact.search(&query).within(radius).run().unwrap();
            assert_eq!(&truth[at], one.as_slice());
        }
        let cancel = CancelToken::new();
        let batch = graph.search_batch(queries).cancel(&cancel).run().unwrap();
        assert!(batch.is_complete() && batch.iter().all(|hits| hits.len() == 10));
        let deadline = Duration::from_hours(1);
        let late = graph.search_batch(queries).timeout(deadline).run().unwrap();
        assert_eq!(batch, late);
        cancel.cancel();
        let batch = graph.search_batch(queries).cancel(&cancel).run().unwrap();
        assert!(!batch.is_complete() && batch.iter().all(<[_]>::is_empty));
        assert_eq!((batch.completed(0), batch.completed(queries.len())), (Some(false), None));
        let batch = exact.search_batch(queries).timeout(Duration::ZERO).run().unwrap();
        assert!(!batch.is_complete() && batch.len() == queries.len());
    }
}

#[test]
fn an_iteration_gives_every_vector_once_the_nearest_first() {
    let Pair { graph, exact, queries } = &*SMALL;
    for query in queries.iter().take(5) {
        let all = exact.search(&query).k(6000).run().unwrap();
        let given: Vec<Hit> = exact.search(&query).iter().unwrap().collect();
        assert_eq!(given, all.as_slice());
        let given: Vec<Hit> = graph.search(&query).iter().unwrap().collect();
        assert_eq!(given.len(), 6000);
        assert_eq!(given.iter().map(|hit| hit.key).collect::<HashSet<_>>().len(), 6000);
        for count in [1, 10, 100, 1000] {
            let same = shared(&given[..count], &all[..count]);
            assert!(same * 100 >= count * 90, "{same} of {count}");
        }

        let few: Vec<Hit> = graph.search(&query).k(45).iter().unwrap().collect();
        assert_eq!(few, &given[..45]);
        assert_eq!(graph.search(&query).k(0).iter().unwrap().next(), None);
        let third = |key: u64| key.is_multiple_of(3);
        let given: Vec<Hit> = graph.search(&query).filter(third).iter().unwrap().collect();
        assert!(given.len() == 2000 && given.iter().all(|hit| third(hit.key)));
        let radius = all[500].distance;
        let given: Vec<Hit> = graph.search(&query).within(radius).iter().unwrap().collect();
        assert!(given.iter().all(|hit| hit.distance <= radius));
        assert!(given.len() <= 501 && given.len() > 450);
    }
}

#[test]
fn an_iteration_goes_on_from_its_cursor() {
    for Pair { graph, queries, .. } in [&*SMALL, &*SMALL_CODED] {
        let query = queries.row(0).unwrap();
        let whole: Vec<u64> =
            graph.search(&query).iter().unwrap().take(500).map(|hit| hit.key).collect();
        for page in [1, 7, 32, 33, 100] {
            let mut cursor = Cursor::default();
            let mut pages = Vec::new();
            while pages.len() < 500 {
                // The cursor kept between two pages borrows nothing.
                let kept: Box<dyn std::any::Any + Send> = Box::new(cursor.to_bytes());
                cursor = Cursor::from_bytes(&kept.downcast::<Vec<u8>>().unwrap()).unwrap();
                let mut iter = graph.search(&query).iter_from(cursor).unwrap();
                let before = pages.len();
                pages.extend(iter.by_ref().take(page).map(|hit| hit.key));
                cursor = iter.cursor();
                assert_eq!(pages.len(), before + page);
                assert_eq!(cursor.given(), pages.len());
            }
            pages.truncate(500);
            assert_eq!(pages.iter().collect::<HashSet<_>>().len(), 500);
            let same = pages.iter().filter(|key| whole.contains(key)).count();
            assert!(same >= 480, "{same} in pages of {page}");
            let other = queries.row(1).unwrap();
            let wrong = graph.search(&other).iter_from(cursor).unwrap_err();
            assert!(matches!(wrong, IndexError::Parameter { name: "cursor", .. }), "{wrong}");
        }
    }
}

#[test]
fn a_forged_cursor_skips_keys_and_harms_nothing() {
    let Pair { graph, queries, .. } = &*SMALL;
    let query = queries.row(0).unwrap();
    let mut iter = graph.search(&query).iter().unwrap();
    let first = iter.next().unwrap().key;
    let bytes = iter.cursor().to_bytes();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x55, 0xff] {
            let mut forged = bytes.clone();
            forged[at] = value;
            // The number of the last round as large as it can be.
            if at == 2 {
                forged[2..10].fill(value);
            }
            let Ok(cursor) = Cursor::from_bytes(&forged) else { continue };
            match graph.search(&query).iter_from(cursor) {
                Ok(rest) => {
                    assert!(rest.take(40).all(|hit| hit.key != first || at >= bytes.len() - 8));
                }
                Err(error) => {
                    assert!(matches!(error, IndexError::Parameter { name: "cursor", .. }));
                }
            }
        }
    }
}

#[test]
fn an_iteration_sees_what_is_inserted_meanwhile_and_holds_nothing() {
    let graph = Hnsw::builder(1, Metric::L2).build().unwrap();
    graph.insert_batch(&keys(100), &(0..100).map(|i| i as f32).collect::<Vec<_>>()).run().unwrap();
    let mut iter = graph.search(&[0.0]).iter().unwrap();
    assert_eq!(iter.by_ref().take(32).count(), 32);
    // The open iteration blocks neither a search nor an insertion.
    graph.insert(1000, &[40.5]).unwrap();
    assert!(graph.check().is_ok());
    let rest: Vec<u64> = iter.map(|hit| hit.key).collect();
    assert!(rest.len() == 69 && rest.contains(&1000));
    let empty = Hnsw::builder(1, Metric::L2).build().unwrap();
    assert_eq!(empty.search(&[0.0]).iter().unwrap().next(), None);
}

#[test]
fn a_search_that_is_broken_off_tells_so() {
    break_off(&[(Quantization::None, Originals::Kept), (Quantization::Sq4, Originals::Sq8)]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_search_by_other_codes_that_is_broken_off_tells_so() {
    break_off(&[(Quantization::Sq8, Originals::Kept), (Quantization::Sq8, Originals::Dropped)]);
}

fn break_off(cases: &[(Quantization, Originals)]) {
    let made = Generated::builder(30_000, 64).queries(10).build().unwrap();
    let (base, queries) = made.into_parts();
    let exact = Flat::builder(64, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(30_000), &base).threads(2).run().unwrap();
    let build = |&(quantization, originals)| {
        // Graphs that are built soon.
        let builder = Hnsw::builder(64, Metric::L2).element(Element::F32).ef_construction(40);
        let graph = builder.quantization(quantization).originals(originals).build().unwrap();
        graph.insert_batch(&keys(30_000), &base).threads(2).run().unwrap();
        graph
    };
    let graphs: Vec<_> = cases.iter().map(build).collect();
    let hour = Duration::from_hours(1);
    for query in queries.iter() {
        for graph in &graphs {
            for (k, ef) in [(10, 64), (10, 1000), (10, 30_000), (30_000, 1)] {
                let search = graph.search(&query).k(k).ef(ef);
                let whole = search.run().unwrap();
                assert_eq!(search.timeout(hour).run().unwrap(), whole);
                assert!(search.timeout(Duration::MAX).run().unwrap().is_complete());
                let none = search.timeout(Duration::ZERO).run().unwrap();
                assert!(none.is_empty() && !none.is_complete());
                // Of two limits, the sooner ends the search.
                let past = search.timeout(hour).deadline(Instant::now()).run().unwrap();
                assert!(past.is_empty() && !past.is_complete());
                let later = search.deadline(Instant::now() + hour).run().unwrap();
                assert_eq!(later, whole);
                // The shortest deadlines that let a search begin: the partial answer is true on any machine.
                for micros in [1, 10, 50, 200] {
                    let deadline = Duration::from_micros(micros);
                    let part = search.timeout(deadline).run().unwrap();
                    assert!(part.len() <= whole.len());
                    assert!(part.is_sorted_by(|a, b| a.distance <= b.distance));
                    assert!(!part.is_complete() || part == whole);
                    let even = |key: u64| key.is_multiple_of(2);
                    let part = search.filter(even).timeout(deadline).run().unwrap();
                    assert!(part.keys().all(even));
                    let within = search.within(whole[0].distance).timeout(deadline).run().unwrap();
                    assert!(within.iter().all(|hit| hit.distance <= whole[0].distance));
                }
            }
        }
        let search = exact.search(&query).k(30_000);
        assert!(search.run().unwrap().is_complete());
        let mut iter = exact.search(&query).timeout(Duration::ZERO).iter().unwrap();
        assert_eq!((iter.next(), iter.is_complete()), (None, false));
    }
}

#[test]
fn a_deadline_is_kept_however_much_there_is_to_do() {
    let made = Generated::builder(60_000, 64).queries(20).build().unwrap();
    let (base, queries) = made.into_parts();
    let exact = Flat::builder(64, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(60_000), &base).threads(2).run().unwrap();
    let graph = Hnsw::builder(64, Metric::L2).ef_construction(40).build().unwrap();
    graph.insert_batch(&keys(60_000), &base).threads(2).run().unwrap();
    let deadline = Duration::from_micros(500);
    let none = |_: u64| false;
    let mut took = [Duration::MAX; 5];
    // The best of many measurements, because other programs are busy, too.
    for query in queries.iter() {
        let mut time = |at: usize, search: &dyn Fn() -> bool| {
            let start = Instant::now();
            // A fast machine may finish before the deadline.
            search();
            took[at] = took[at].min(start.elapsed());
        };
        let (flat, walk) = (exact.search(&query), graph.search(&query));
        time(0, &|| flat.timeout(deadline).run().unwrap().is_complete());
        time(1, &|| flat.k(60_000).timeout(deadline).run().unwrap().is_complete());
        time(2, &|| walk.ef(3700).timeout(deadline).run().unwrap().is_complete());
        time(3, &|| walk.k(60_000).timeout(deadline).run().unwrap().is_complete());
        let all = walk.within(f32::INFINITY).timeout(deadline);
        time(4, &|| all.run().unwrap().is_complete());
        assert!(walk.filter(none).run().unwrap().is_empty());
    }
    for (at, took) in took.into_iter().enumerate() {
        assert!(took < 10 * deadline, "{at}: {took:?}");
    }
}

#[test]
fn a_deadline_may_end_a_filtered_search_for_thousands_anywhere() {
    end_anywhere(&LARGE);
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_deadline_may_end_a_filtered_search_by_codes_anywhere() {
    end_anywhere(&pair(20_000, Metric::L2, Quantization::Sq4));
}

/// The answer at any deadline is in order, accepted, and whole if it is marked complete.
fn end_anywhere(Pair { graph, queries, .. }: &Pair) {
    const COUNT: usize = 20_000;
    let micros = [0, 5, 20, 60, 150, 400, 1000, 3_600_000_000];
    let flat = &queries.to_f32().unwrap()[..2 * 24];
    let queries: Vec<_> = flat.chunks(24).collect();
    for (each, k) in [(1, 1000), (2, 800), (10, 500), (10, 2500)] {
        let accepts = |key: u64| key.is_multiple_of(each);
        let all = k.min(COUNT.div_ceil(each as usize));
        let check = |hits: &[Hit], is_complete: bool| {
            assert!(hits.len() <= all && (!is_complete || hits.len() == all));
            assert!(hits.iter().all(|hit| accepts(hit.key)));
            assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
            assert_eq!(hits.iter().map(|hit| hit.key).collect::<HashSet<_>>().len(), hits.len());
        };
        for deadline in micros.map(Duration::from_micros) {
            for &query in &queries {
                let search = graph.search(query).k(k).filter(accepts).timeout(deadline);
                let hits = search.run().unwrap();
                check(&hits, hits.is_complete());
                assert!(hits.is_complete() || deadline < Duration::from_secs(1));
            }
            let batch = graph.search_batch(flat).k(k).filter(accepts).timeout(deadline);
            let batch = batch.run().unwrap();
            for (at, hits) in batch.iter().enumerate() {
                check(hits, batch.completed(at).unwrap());
            }
            assert!(batch.is_complete() || deadline < Duration::from_secs(1));
        }
    }
}

#[test]
fn a_search_is_cancelled_from_another_thread() {
    let made = Generated::builder(3000, 64).queries(1).build().unwrap();
    let (base, queries) = made.into_parts();
    let exact = Flat::builder(64, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(3000), &base).run().unwrap();
    let query = queries.row(0).unwrap();
    let cancel = CancelToken::new();
    assert!(!cancel.is_cancelled());
    let (started, begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let token = cancel.clone();
        scope.spawn(move || {
            begun.recv().unwrap();
            token.cancel();
        });
        // The filter delays the search until the token is set.
        let waits = |_key: u64| {
            let _ = started.send(());
            while !cancel.is_cancelled() {
                std::thread::yield_now();
            }
            true
        };
        let hits = exact.search(&query).filter(waits).cancel(&cancel).run().unwrap();
        assert!(!hits.is_complete() && hits.distances_computed() < 3000);
    });
    assert!(cancel.is_cancelled());
}

#[test]
fn wrong_parameters_are_refused() {
    let Pair { graph, exact, queries } = pair(1000, Metric::L2, Quantization::None);
    let query = queries.row(0).unwrap();
    let wrong = graph.search(&query).within(f32::NAN).run().unwrap_err();
    assert!(matches!(wrong, IndexError::Parameter { name: "within", .. }), "{wrong}");
    assert!(exact.search_batch(&queries).within(f32::NAN).run().is_err());
    for recall in [0.0, -1.0, 1.1, f64::NAN] {
        let wrong = graph.search(&query).recall(recall).run().unwrap_err();
        assert!(matches!(wrong, IndexError::Parameter { name: "recall", .. }), "{wrong}");
    }
    assert!(graph.search(&[0.0]).iter().is_err());
    assert!(graph.search(&query).ef(0).iter().is_err());
}
