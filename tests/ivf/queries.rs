//! Every kind of query on lists, compared with exhaustive search.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nearfield::dataset::{Generated, Vectors};
use nearfield::search::SearchPlan;
use nearfield::{
    CancelToken, Filter, Flat, Hit, Hits, Hnsw, IndexError, Ivf, KeyBitmap, KeySet, Metric,
    Originals, Quantization,
};

use crate::support::recall::shared;

const DIMENSION: usize = 24;
const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
const ALL: usize = usize::MAX;

/// Lists, the exact index over the same vectors, and queries.
struct Pair {
    lists: Ivf,
    exact: Flat,
    queries: Vectors,
}

fn pair(count: usize, metric: Metric, quantization: Quantization, originals: Originals) -> Pair {
    let made = Generated::builder(count, DIMENSION).queries(20).seed(9).build().unwrap();
    let (base, queries) = made.into_parts();
    let keys: Vec<u64> = (0..count as u64).collect();
    let lists = Ivf::builder(DIMENSION, metric).quantization(quantization).originals(originals);
    let lists = lists.build().unwrap();
    lists.insert_batch(&keys, &base).threads(2).run().unwrap();
    assert!(lists.is_trained());
    let exact = Flat::builder(DIMENSION, metric).build().unwrap();
    // One thread, so that equal distances keep the order of keys.
    exact.insert_batch(&keys, &base).threads(1).run().unwrap();
    Pair { lists, exact, queries }
}

fn plain(count: usize, metric: Metric) -> Pair {
    pair(count, metric, Quantization::None, Originals::Kept)
}

fn bitmap(count: usize, accepts: impl Fn(u64) -> bool) -> Vec<u64> {
    let mut words = vec![0; count.div_ceil(64)];
    for key in (0..count as u64).filter(|&key| accepts(key)) {
        words[key as usize / 64] |= 1 << (key % 64);
    }
    words
}

#[test]
fn all_lists_under_any_filter_give_the_exact_answer() {
    const COUNT: usize = 5000;
    for metric in METRICS {
        let Pair { lists, exact, queries } = plain(COUNT, metric);
        for one_in in [1, 2, 10, 100, 1000, 4999, 6000] {
            let accepts = |key: u64| key % one_in == one_in - 1;
            let set: KeySet = (0..COUNT as u64).filter(|&key| accepts(key)).collect();
            let words = bitmap(COUNT, accepts);
            for query in queries.iter() {
                for k in [1, 10, 70] {
                    let truth = exact.search(&query).k(k).filter(accepts).run().unwrap();
                    let ask = lists.search(&query).k(k).nprobe(ALL);
                    let case = format!("{metric} {one_in} {k}");
                    assert_eq!(ask.filter(accepts).run().unwrap(), truth, "{case}");
                    assert_eq!(ask.filter(&set).run().unwrap(), truth, "{case}");
                    assert_eq!(ask.filter(KeyBitmap::new(&words)).run().unwrap(), truth, "{case}");
                }
            }
            let truth = exact.search_batch(&queries).filter(accepts).run().unwrap();
            let found = lists.search_batch(&queries).nprobe(ALL).filter(accepts).run().unwrap();
            assert!(found.iter().eq(truth.iter()));
        }
    }
}

fn asked_of_few_lists<F: Filter + Copy>(pair: &Pair, filter: F, least: f64, case: &str) {
    let (mut found, mut wanted) = (0, 0);
    for query in pair.queries.iter() {
        let truth = pair.exact.search(&query).filter(filter).run().unwrap();
        let hits = pair.lists.search(&query).filter(filter).run().unwrap();
        assert_eq!(hits.len(), truth.len(), "{case}");
        assert!(hits.keys().all(|key| filter.accepts(key)), "{case}");
        assert_eq!(hits.keys().collect::<HashSet<_>>().len(), hits.len());
        found += shared(&hits, &truth);
        wanted += truth.len();
    }
    let recall = if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 };
    assert!(recall >= least, "{case}: {recall}");
}

#[test]
fn there_are_k_hits_or_all_that_match_whatever_the_lists_hold() {
    const COUNT: usize = 6000;
    for (quantization, originals, least) in [
        (Quantization::None, Originals::Kept, 0.7),
        (Quantization::Pq4, Originals::Kept, 0.7),
        (Quantization::Rabitq { bits: 4 }, Originals::Kept, 0.7),
        (Quantization::Rabitq { bits: 4 }, Originals::Dropped, 0.6),
    ] {
        let pair = pair(COUNT, Metric::L2, quantization, originals);
        for one_in in [1, 3, 30, 700, 5000, 7000] {
            let accepts = |key: u64| key % one_in == one_in - 1;
            let set: KeySet = (0..COUNT as u64).filter(|&key| accepts(key)).collect();
            let case = format!("{quantization:?} {originals:?} one in {one_in}");
            asked_of_few_lists(&pair, accepts, least, &case);
            asked_of_few_lists(&pair, &set, least, &case);
        }
        asked_of_few_lists(&pair, |_| false, 1.0, "none");
    }
}

#[test]
fn the_plan_tells_what_was_read() {
    const COUNT: usize = 6000;
    let Pair { lists, queries, .. } = plain(COUNT, Metric::L2);
    let query = queries.row(0).unwrap();
    let count = lists.stats().lists.unwrap().count;
    let few = lists.search(&query).nprobe(5).run().unwrap();
    assert_eq!((few.plan(), few.hops()), (SearchPlan::Probe, 5));
    assert!(few.distances_computed() < COUNT as u64 / 2);
    let all = lists.search(&query).nprobe(ALL).run().unwrap();
    assert_eq!((all.plan(), all.hops()), (SearchPlan::Scan, count as u64));
    let batch = lists.search_batch(&queries).nprobe(5).run().unwrap();
    assert_eq!((batch.plan(0), &batch[0]), (Some(SearchPlan::Probe), few.as_slice()));
    assert_eq!(
        lists.search_batch(&queries).nprobe(ALL).run().unwrap().plan(3),
        Some(SearchPlan::Scan)
    );

    // A few keys are looked up; many keys are filtered while the lists are read.
    let set: KeySet = (0..20).collect();
    let hits = lists.search(&query).filter(&set).run().unwrap();
    assert_eq!((hits.plan(), hits.distances_computed()), (SearchPlan::FilteredScan, 20));
    let set: KeySet = (0..4000).collect();
    assert_eq!(lists.search(&query).filter(&set).run().unwrap().plan(), SearchPlan::Probe);
    // A closure is not called for keys that are too far away.
    let asked = AtomicUsize::new(0);
    let counts = |_| asked.fetch_add(1, Ordering::Relaxed) < usize::MAX;
    let hits = lists.search(&query).nprobe(40).filter(counts).run().unwrap();
    assert_eq!(hits.plan(), SearchPlan::Probe);
    assert!(asked.into_inner() < hits.distances_computed() as usize / 2);
    // An untrained index has one list.
    let index = Ivf::builder(1, Metric::L2).build().unwrap();
    assert_eq!(index.search(&[0.0]).run().unwrap().plan(), SearchPlan::Scan);
    index.insert(1, &[0.0]).unwrap();
    assert_eq!(index.search(&[0.0]).run().unwrap().plan(), SearchPlan::Scan);
}

#[test]
fn a_filter_may_read_the_index_beside_changes() {
    let index = Ivf::builder(4, Metric::L2).lists(50).build().unwrap();
    let vector = |key: u64, step: u64| {
        let x = (key * 7 + step * 13) % 101;
        [x as f32, (key % 17) as f32, (step % 11) as f32, 0.5]
    };
    for key in 0..2000 {
        index.insert(key, &vector(key, 0)).unwrap();
    }
    index.train().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 1..15 {
                for key in 0..2000 {
                    assert_eq!(index.upsert(key, &vector(key, step)), Ok(true));
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut searches = 0;
        while !done.load(Ordering::Acquire) || searches < 10 {
            let half = |key| index.contains(key) && index.get(key).is_some_and(|v| v[1] < 8.0);
            let hits = index.search(&[50.0, 3.0, 5.0, 0.5]).k(50).filter(half).run().unwrap();
            assert_eq!(hits.keys().collect::<HashSet<_>>().len(), 50);
            assert!(hits.keys().all(|key| key % 17 < 8));
            searches += 1;
        }
    });
    assert!(index.check().is_ok());
}

#[test]
fn all_within_a_radius_are_found() {
    find_within_a_radius(&[Metric::L2]);
}

#[test]
#[ignore = "long: `just test-all`"]
fn all_within_a_radius_are_found_under_other_metrics() {
    let others = METRICS.into_iter().filter(|&metric| metric != Metric::L2);
    find_within_a_radius(&others.collect::<Vec<_>>());
}

fn find_within_a_radius(metrics: &[Metric]) {
    for &metric in metrics {
        for (quantization, originals) in [
            (Quantization::None, Originals::Kept),
            (Quantization::Pq4, Originals::Kept),
            (Quantization::Rabitq { bits: 4 }, Originals::Dropped),
        ] {
            let Pair { lists, exact, queries } = pair(6000, metric, quantization, originals);
            let is_exact = originals == Originals::Kept;
            for rank in [0, 5, 64, 300, 3000] {
                let (mut found, mut wanted) = (0, 0);
                for query in queries.iter() {
                    let all = exact.search(&query).k(6000).run().unwrap();
                    let radius = all[rank].distance;
                    let truth = exact.search(&query).within(radius).run().unwrap();
                    let ask = lists.search(&query).within(radius);
                    let hits = ask.run().unwrap();
                    assert!(hits.iter().all(|hit| hit.distance <= radius));
                    assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
                    found += shared(&hits, &truth);
                    wanted += truth.len();
                    let every = ask.nprobe(ALL).run().unwrap();
                    let odd = |key: u64| key % 2 == 1;
                    let filtered = ask.nprobe(ALL).filter(odd).run().unwrap();
                    if is_exact {
                        assert_eq!(every, truth, "{metric} {quantization:?} {rank}");
                        let truth = exact.search(&query).within(radius).filter(odd).run();
                        assert_eq!(filtered, truth.unwrap());
                    }
                    assert!(filtered.keys().all(odd));
                    let few = lists.search(&query).within(radius).k(3).nprobe(ALL).run().unwrap();
                    assert!(few.len() <= 3 && few.iter().all(|hit| hit.distance <= radius));
                }
                // An estimate may be on the wrong side of the radius.
                let least = if is_exact || rank >= 64 { 0.7 } else { 0.2 };
                let recall = found as f64 / wanted as f64;
                assert!(recall > least, "{metric} {quantization:?} {rank}: {recall}");
            }
            let query = queries.row(0).unwrap();
            let none = lists.search(&query).within(f32::NEG_INFINITY).run().unwrap();
            assert!(none.is_empty() && none.is_complete());
            assert_eq!(lists.search(&query).within(f32::INFINITY).run().unwrap().len(), 6000);
            assert_eq!(lists.search(&query).within(f32::INFINITY).k(5).run().unwrap().len(), 5);
            let radius = exact.search(&query).k(30).run().unwrap()[29].distance;
            let batch = lists.search_batch(&queries).within(radius).threads(2).run().unwrap();
            for (query, hits) in queries.iter().zip(batch.iter()) {
                assert_eq!(lists.search(&query).within(radius).run().unwrap().as_slice(), hits);
            }
        }
    }
}

#[test]
fn a_small_radius_reads_few_lists() {
    let Pair { lists, queries, .. } = plain(6000, Metric::L2);
    let count = lists.stats().lists.unwrap().count as u64;
    for query in queries.iter() {
        let nothing = lists.search(&query).within(-1.0).nprobe(6).run().unwrap();
        assert_eq!((nothing.len(), nothing.hops()), (0, 6));
        let radius = lists.search(&query).nprobe(6).run().unwrap()[9].distance;
        let hits = lists.search(&query).within(radius).nprobe(6).run().unwrap();
        assert!(hits.len() >= 10 && hits.hops() >= 6);
        let most = lists.search(&query).within(f32::MAX).nprobe(6).run().unwrap();
        assert_eq!((most.len(), most.hops()), (6000, count));
    }
}

#[test]
fn an_iteration_gives_every_vector_once_the_nearest_first() {
    for (quantization, originals) in [
        (Quantization::None, Originals::Kept),
        (Quantization::Rabitq { bits: 4 }, Originals::Kept),
        (Quantization::Pq4, Originals::Dropped),
    ] {
        let Pair { lists, exact, queries } = pair(5000, Metric::L2, quantization, originals);
        for query in queries.iter().take(3) {
            let ask = lists.search(&query);
            let given: Vec<Hit> = ask.iter().unwrap().collect();
            assert_eq!(given.iter().map(|hit| hit.key).collect::<HashSet<_>>().len(), 5000);
            if quantization == Quantization::None {
                let truth: Vec<Hit> = exact.search(&query).iter().unwrap().collect();
                assert_eq!(ask.nprobe(ALL).iter().unwrap().collect::<Vec<_>>(), truth);
            }
            let few: Vec<Hit> = ask.k(45).iter().unwrap().collect();
            assert_eq!(few, &given[..45]);
            let third = |key: u64| key.is_multiple_of(3);
            let odd: Vec<Hit> = ask.filter(third).iter().unwrap().collect();
            assert!(odd.len() == 1667 && odd.iter().all(|hit| third(hit.key)));
            // The iteration is dropped, and continued from its cursor.
            let mut first = ask.iter().unwrap();
            let mut all: Vec<Hit> = first.by_ref().take(70).collect();
            let cursor = first.cursor();
            assert_eq!(cursor.given(), 70);
            all.extend(ask.iter_from(cursor).unwrap());
            assert_eq!(all.len(), 5000);
            assert_eq!(all[..70], given[..70]);
        }
    }
}

#[test]
fn limits_end_searches_that_say_so() {
    for (quantization, originals) in [
        (Quantization::None, Originals::Kept),
        (Quantization::Pq4, Originals::Kept),
        (Quantization::Rabitq { bits: 2 }, Originals::Dropped),
    ] {
        let Pair { lists, queries, .. } = pair(5000, Metric::L2, quantization, originals);
        let query = queries.row(0).unwrap();
        let free = lists.search(&query).run().unwrap();
        assert!(free.is_complete());
        let hour = Duration::from_hours(1);
        assert_eq!(lists.search(&query).timeout(hour).run().unwrap(), free);
        assert_eq!(lists.search(&query).timeout(Duration::MAX).run().unwrap(), free);
        let cancel = CancelToken::new();
        let hits = lists.search(&query).cancel(&cancel).run().unwrap();
        assert!(hits.is_complete() && hits == free);
        let batch = lists.search_batch(&queries).cancel(&cancel).threads(2).run().unwrap();
        assert!(batch.is_complete());
        assert_eq!(batch, lists.search_batch(&queries).run().unwrap());

        let late = lists.search(&query).timeout(Duration::ZERO).run().unwrap();
        assert!(late.is_empty() && !late.is_complete());
        // The filter cancels the search in the middle: the search returns the hits found by then.
        let asked = AtomicUsize::new(0);
        let ends = |_| {
            if asked.fetch_add(1, Ordering::Relaxed) == 3 {
                cancel.cancel();
            }
            true
        };
        let part = lists.search(&query).k(4000).nprobe(ALL).cancel(&cancel).filter(ends).run();
        let part = part.unwrap();
        assert!(!part.is_complete() && part.len() < 4000);
        assert!(part.is_sorted_by(|a, b| a.distance <= b.distance));
        let batch = lists.search_batch(&queries).cancel(&cancel).run().unwrap();
        assert!(!batch.is_complete() && batch.iter().all(<[Hit]>::is_empty));
        assert_eq!(batch.completed(0), Some(false));
        let mut given = lists.search(&query).cancel(&cancel).iter().unwrap();
        assert!(given.next().is_none() && !given.is_complete());
    }
}

#[test]
fn what_an_index_of_lists_does_not_take_is_refused() {
    let Pair { lists, exact, queries } = plain(5000, Metric::L2);
    let query = queries.row(0).unwrap();
    let name = |result: Result<Hits, IndexError>| match result {
        Err(IndexError::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(lists.search(&query).recall(0.9).run()), "recall");
    assert_eq!(name(lists.search(&query).recall(1.5).run()), "recall");
    assert_eq!(name(lists.search(&query).ef(0).run()), "ef");
    assert_eq!(name(lists.search(&query).nprobe(0).run()), "nprobe");
    assert_eq!(name(lists.search(&query).within(f32::NAN).run()), "within");
    assert_eq!(name(exact.search(&query).nprobe(1).run()), "nprobe");
    let graph = Hnsw::builder(DIMENSION, Metric::L2).build().unwrap();
    assert_eq!(name(graph.search(&query).nprobe(1).run()), "nprobe");
    assert!(graph.search(&query).nprobe(1).iter().is_err());
    assert!(graph.search_batch(&queries).nprobe(1).run().is_err());
    let told = lists.search(&query).recall(0.9).run().unwrap_err().to_string();
    assert!(told.contains("nprobe"), "{told}");
}
