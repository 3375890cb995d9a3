//! Searching under filters: the promise of `k` hits or all matches, recall for filters that depend on
//! the query and for filters that do not, and the reported plan.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield::dataset::{Generated, Vectors};
use nearfield::search::SearchPlan;
use nearfield::{
    CancelToken, Element, Filter, Flat, Hits, Hnsw, Index, KeyBitmap, KeySet, Metric, Quantization,
    VectorRef,
};

use crate::support::data::{carried, keys};
use crate::support::recall::shared;

/// An index, the exact one over the same vectors, and queries.
struct Pair {
    graph: Hnsw,
    exact: Flat,
    queries: Vectors,
}

fn generated(count: usize, dimension: usize, quantization: Quantization) -> Pair {
    let made = Generated::builder(count, dimension).queries(50).seed(5).build().unwrap();
    let (base, queries) = made.into_parts();
    let graph = Hnsw::builder(dimension, Metric::L2).quantization(quantization).build().unwrap();
    graph.insert_batch(&keys(count), &base).threads(2).run().unwrap();
    let exact = Flat::builder(dimension, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(count), &base).threads(2).run().unwrap();
    Pair { graph, exact, queries }
}

/// Indexes that several tests search.
static PLAIN_20K: LazyLock<Pair> = LazyLock::new(|| generated(20_000, 32, Quantization::None));
static PLAIN_60K: LazyLock<Pair> = LazyLock::new(|| generated(60_000, 16, Quantization::None));

fn mix(key: u64) -> u64 {
    let x = key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11
}

fn bitmap(count: usize, accepts: impl Fn(u64) -> bool) -> Vec<u64> {
    let mut words = vec![0; count.div_ceil(64)];
    for key in (0..count as u64).filter(|&key| accepts(key)) {
        words[(key / 64) as usize] |= 1 << (key % 64);
    }
    words
}

/// Returns the recall at 10 under a filter, after checking the promises of each answer.
fn recall<F: Filter + Copy>(
    pair: &Pair,
    queries: impl Iterator<Item = usize>,
    filter: impl Fn(usize) -> F,
) -> (f64, Vec<SearchPlan>) {
    let (mut same, mut asked) = (0, 0);
    let mut plans = Vec::new();
    for at in queries {
        let query = pair.queries.row(at).unwrap();
        let filter = filter(at);
        let hits = pair.graph.search(&query).k(10).filter(filter).run().unwrap();
        let truth = pair.exact.search(&query).k(10).filter(filter).run().unwrap();
        assert_eq!(truth.plan(), SearchPlan::FilteredScan);
        assert_eq!(hits.len(), truth.len(), "{:?}", hits.plan());
        assert!(hits.iter().all(|hit| filter.accepts(hit.key)));
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
        same += shared(&hits, &truth);
        asked += truth.len();
        plans.push(hits.plan());
    }
    (same as f64 / asked as f64, plans)
}

#[test]
fn exact_filters_agree_with_a_plain_search_over_the_accepted() {
    let pair = generated(2000, 16, Quantization::None);
    let accepts = |key: u64| mix(key).is_multiple_of(7);
    for query in pair.queries.iter() {
        let all = pair.exact.search(&query).k(2000).run().unwrap();
        let wanted: Vec<_> = all.iter().copied().filter(|hit| accepts(hit.key)).collect();
        for k in [0, 1, 10, 33, wanted.len(), 1500, usize::MAX] {
            let take = k.min(wanted.len());
            let hits = pair.exact.search(&query).k(k).filter(accepts).run().unwrap();
            assert_eq!(hits.as_slice(), &wanted[..take]);
            let hits = pair.graph.search(&query).k(k).filter(accepts).run().unwrap();
            assert_eq!(hits.len(), take);
        }
    }
}

#[test]
fn recall_does_not_depend_on_how_many_are_accepted() {
    let count = 20_000;
    let coded = generated(count, 32, Quantization::Sq4);
    for (quantization, pair) in [(Quantization::None, &*PLAIN_20K), (Quantization::Sq4, &coded)] {
        for one_in in [1, 2, 3, 5, 10, 30, 100, 1000] {
            let accepts = |key: u64| mix(key).is_multiple_of(one_in);
            let words = bitmap(count, accepts);
            let set: KeySet = (0..count as u64).filter(|&key| accepts(key)).collect();
            let map = KeyBitmap::new(&words);
            assert_eq!((map.len(), map.is_empty()), (set.len(), false));
            let all = 0..pair.queries.len();
            let results = [
                recall(pair, all.clone(), |_| accepts),
                recall(pair, all.clone(), |_| map),
                recall(pair, all, |_| &set),
            ];
            for (recall, plans) in results {
                assert!(recall >= 0.95, "{quantization:?} 1 in {one_in}: {recall} {:?}", plans[0]);
            }
        }
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn filters_that_depend_on_the_query_keep_their_recall() {
    let count = 20_000;
    let pair = &*PLAIN_20K;
    for one_in in [2, 5, 10, 100, 1000] {
        // The nearest and the farthest part of all vectors, as bitmaps.
        let parts: Vec<[Vec<u64>; 2]> = pair
            .queries
            .iter()
            .map(|query| {
                let all = pair.exact.search(&query).k(count).run().unwrap();
                let mut rank = vec![0; count];
                for (at, hit) in all.iter().enumerate() {
                    rank[hit.key as usize] = at;
                }
                let part = count / one_in;
                let near = bitmap(count, |key| rank[key as usize] < part);
                [near, bitmap(count, |key| rank[key as usize] >= count - part)]
            })
            .collect();
        for side in [0, 1] {
            let all = 0..pair.queries.len();
            let (known, plans) = recall(pair, all.clone(), |at| KeyBitmap::new(&parts[at][side]));
            assert!(known >= 0.95, "1 in {one_in}, side {side}: {known} {:?}", plans[0]);
            let (asked, plans) = recall(pair, all, |at| {
                let words = &parts[at][side];
                move |key: u64| KeyBitmap::new(words).contains(key)
            });
            assert!(asked >= 0.95, "1 in {one_in}, side {side}: {asked} {:?}", plans[0]);
        }
    }
}

#[test]
fn there_are_k_hits_or_all_that_match() {
    let count = 6000;
    let pair = generated(count, 8, Quantization::None);
    let query = pair.queries.row(0).unwrap();
    for matches in [0, 1, 9, 10, 11, 64, 500] {
        let rare = |key: u64| key.is_multiple_of(11) && key < 11 * matches;
        for k in [1, 10, 100, usize::MAX] {
            let wanted = k.min(matches as usize);
            let hits = pair.graph.search(&query).k(k).filter(rare).run().unwrap();
            assert_eq!(hits.len(), wanted, "{matches} match, k {k}, {:?}", hits.plan());
            let set: KeySet = (0..matches).map(|i| i * 11).collect();
            let hits = pair.graph.search(&query).k(k).filter(&set).run().unwrap();
            assert_eq!(hits.len(), wanted);
        }
    }
    // Keys that are not in the index match nothing.
    let strangers: KeySet = (0..100).map(|i| i + 1_000_000).chain([5]).collect();
    let hits = pair.graph.search(&query).filter(&strangers).run().unwrap();
    assert_eq!(hits.keys().collect::<Vec<_>>(), [5]);
    let many: KeySet = (0..100_000).map(|i| i + 1_000_000).chain([5]).collect();
    let hits = pair.graph.search(&query).filter(&many).run().unwrap();
    assert_eq!(hits.keys().collect::<Vec<_>>(), [5]);
    let empty = Hnsw::builder(8, Metric::L2).build().unwrap();
    assert!(empty.search(&query).filter(|_| true).run().unwrap().is_empty());
}

/// Accepts every third key. The index may ask only about its own keys; the bits beyond these are set.
struct Careless {
    removed: fn(u64) -> bool,
    count: u64,
}

impl Filter for &Careless {
    fn accepts(&self, key: u64) -> bool {
        assert!(key < self.count && !(self.removed)(key), "key {key} is not in the index");
        key.is_multiple_of(3)
    }

    fn accepts_each(&self, keys: &[u64]) -> u64 {
        assert!(keys.len() <= 64);
        let known =
            keys.iter().rev().fold(0, |bits, &key| bits << 1 | u64::from(self.accepts(key)));
        known | u64::MAX.checked_shl(keys.len() as u32).unwrap_or(0)
    }
}

#[test]
fn tiles_are_asked_about_what_is_in_the_index_only() {
    const NONE: fn(u64) -> bool = |_| false;
    const TAIL: fn(u64) -> bool = |key| key >= 900;
    const MIXED: fn(u64) -> bool = |key| mix(key).is_multiple_of(4);
    for count in [1, 63, 64, 65, 1000] {
        for removed in [NONE, TAIL, MIXED] {
            let pair = generated(count, 8, Quantization::None);
            for key in (0..count as u64).filter(|&key| removed(key)) {
                assert!(pair.graph.remove(key).unwrap() && pair.exact.remove(key).unwrap());
            }
            let careless = Careless { removed, count: count as u64 };
            let query = pair.queries.row(0).unwrap();
            for k in [1, 10, usize::MAX] {
                let plain = |key: u64| key.is_multiple_of(3);
                let wanted = pair.exact.search(&query).k(k).filter(plain).run().unwrap();
                let exact = pair.exact.search(&query).k(k).filter(&careless).run().unwrap();
                assert_eq!(exact.as_slice(), wanted.as_slice(), "{count}");
                let hits = pair.graph.search(&query).k(k).filter(&careless).run().unwrap();
                assert_eq!(hits.len(), wanted.len(), "{count}, {:?}", hits.plan());
            }
        }
    }
}

#[test]
fn the_plan_follows_the_selectivity() {
    let pair = &*PLAIN_60K;
    let query = pair.queries.row(0).unwrap();
    let plan = |one_in: u64, ef: usize| {
        let words = bitmap(60_000, |key| mix(key).is_multiple_of(one_in));
        let search = pair.graph.search(&query).k(1).ef(ef);
        search.filter(KeyBitmap::new(&words)).run().unwrap().plan()
    };
    assert_eq!(pair.graph.search(&query).run().unwrap().plan(), SearchPlan::Walk);
    assert_eq!(pair.graph.search(&query).ef(60_000).run().unwrap().plan(), SearchPlan::Scan);
    assert_eq!(plan(1, 16), SearchPlan::FilteredWalk);
    assert_eq!(plan(2, 16), SearchPlan::FilteredWalk);
    assert_eq!(plan(3, 16), SearchPlan::DirectedTwoHop);
    assert_eq!(plan(14, 4), SearchPlan::BlindTwoHop);
    assert_eq!(plan(1000, 16), SearchPlan::FilteredScan);
    // A tenth of the vectors, for which a scan costs less than detours: all of them are around the query, or none.
    let sorted = pair.exact.search(&query).k(60_000).run().unwrap();
    for (accepted, expected) in
        [(&sorted[..6000], SearchPlan::FilteredWalk), (&sorted[54_000..], SearchPlan::FilteredScan)]
    {
        let mut words = [0_u64; 60_000_usize.div_ceil(64)];
        for hit in accepted {
            words[(hit.key / 64) as usize] |= 1 << (hit.key % 64);
        }
        let filter = KeyBitmap::new(&words);
        let hits = pair.graph.search(&query).ef(100).filter(filter).run().unwrap();
        let truth = pair.exact.search(&query).filter(filter).run().unwrap();
        let same = hits.keys().filter(|&key| truth.keys().any(|other| other == key)).count();
        assert!(hits.plan() == expected && same >= 8, "{:?}: {same} of 10", hits.plan());
    }
    let words = bitmap(60_000, |key| key.is_multiple_of(2));
    let batch = pair.graph.search_batch(&pair.queries).filter(KeyBitmap::new(&words));
    let batch = batch.threads(2).run().unwrap();
    for (at, hits) in batch.iter().enumerate() {
        let query = pair.queries.row(at).unwrap();
        let one = pair.graph.search(&query).filter(KeyBitmap::new(&words)).run().unwrap();
        assert_eq!((hits, batch.plan(at)), (one.as_slice(), Some(one.plan())));
    }
    assert_eq!(batch.plan(batch.len()), None);
}

#[test]
fn a_closure_is_asked_about_few_keys() {
    let pair = &*PLAIN_60K;
    let asked = AtomicUsize::new(0);
    for query in pair.queries.iter() {
        let half = |key: u64| {
            asked.fetch_add(1, Ordering::Relaxed);
            mix(key).is_multiple_of(2)
        };
        assert_eq!(pair.graph.search(&query).filter(half).run().unwrap().len(), 10);
    }
    // About 300 calls; a few thousand if by chance the slots sampled first make the filter look rarer.
    let asked = asked.into_inner() / pair.queries.len();
    assert!(asked < 6000, "{asked} of 60,000");
}

/// Accepts half of the keys, and cancels the search at a call. It knows its count, so that the plan does not hang on the measured cost
/// of a call.
struct Cancelling<'a> {
    cancel: &'a CancelToken,
    asked: &'a AtomicUsize,
    at: usize,
    accepted: usize,
}

impl Filter for Cancelling<'_> {
    fn accepts(&self, key: u64) -> bool {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.at {
            self.cancel.cancel();
        }
        mix(key).is_multiple_of(2)
    }

    fn count(&self) -> Option<usize> {
        Some(self.accepted)
    }

    fn for_each(&self, each: &mut dyn FnMut(u64) -> bool) {
        (0..60_000).filter(|&key| mix(key).is_multiple_of(2)).all(each);
    }
}

/// A walk has found a thousand vectors, and calling the filter for each takes longer than the remaining time.
#[test]
#[ignore = "long: `just test-all`"]
fn a_cancelled_search_asks_about_few_of_what_it_found() {
    let accepted = (0..60_000).filter(|&key| mix(key).is_multiple_of(2)).count();
    let coded = generated(60_000, 16, Quantization::Sq8);
    for (quantization, pair) in [(Quantization::None, &*PLAIN_60K), (Quantization::Sq8, &coded)] {
        for query in pair.queries.iter() {
            let (cancel, asked) = (CancelToken::new(), AtomicUsize::new(0));
            // The planner calls the filter some hundred times before the walk.
            let half = Cancelling { cancel: &cancel, asked: &asked, at: 300, accepted };
            let hits = pair.graph.search(&query).ef(500).filter(half).cancel(&cancel);
            let (hits, asked) = (hits.run().unwrap(), asked.into_inner());
            assert_eq!(hits.plan(), SearchPlan::FilteredWalk);
            assert!(!hits.is_complete());
            // With codes, the answer has the hits that the search had time to rerank.
            assert!(hits.len() == 10 || quantization == Quantization::Sq8 && !hits.is_empty());
            assert!(hits.iter().all(|hit| mix(hit.key).is_multiple_of(2)));
            assert!(asked < 600, "{asked}");
        }
    }
}

#[test]
fn a_filter_that_accepts_every_key_searches_as_none() {
    let Pair { graph, exact, queries } = &*PLAIN_20K;
    let absent: Option<KeySet> = None;
    let all: Option<fn(u64) -> bool> = None;
    let none = KeySet::from_iter([]);
    for query in queries.iter().take(20) {
        for index in [graph as &dyn Index, exact] {
            let plain = index.search(&query).run().unwrap();
            let boxed: Box<dyn Filter> = Box::new(None::<&KeySet>);
            for hits in [
                index.search(&query).filter(&absent).run().unwrap(),
                index.search(&query).filter(boxed).run().unwrap(),
                index.search(&query).filter(None::<&KeySet>.and(all)).run().unwrap(),
                index.search(&query).filter((&none).or(all)).run().unwrap(),
            ] {
                let facts = |hits: &Hits| (hits.plan(), hits.distances_computed());
                assert_eq!((facts(&hits), &hits), (facts(&plain), &plain));
            }
        }
    }
    let batch = graph.search_batch(queries).run().unwrap();
    assert_eq!(graph.search_batch(queries).filter(absent).run().unwrap(), batch);
}

#[test]
fn filters_work_beside_insertions() {
    let (base, queries) = Generated::builder(6000, 16).build().unwrap().into_parts();
    let graph = Hnsw::builder(16, Metric::L2).build().unwrap();
    let insert = |from: usize, to: usize| {
        for row in from..to {
            graph.insert(row as u64, &base.row(row).unwrap()).unwrap();
        }
    };
    insert(0, 100);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| insert(100, 6000));
        for one_in in [2, 5, 50].into_iter().cycle() {
            let accepts = |key: u64| key.is_multiple_of(one_in);
            for query in queries.iter().take(20) {
                let least = graph.len().div_ceil(one_in as usize).min(10);
                // `len` counts a vector that is being inserted before a search can find it.
                let hits = graph.search(&query).filter(accepts).run().unwrap();
                assert!(hits.len() + 2 >= least && hits.keys().all(accepts));
            }
            if writer.is_finished() {
                break;
            }
        }
    });
}

#[test]
fn dropped_originals_and_bytes_are_filtered_too() {
    let data = carried("photo-sift-128-5k");
    let count = data.base().len();
    let builders = [
        Hnsw::builder(128, Metric::L2).element(Element::U8),
        Hnsw::builder(128, Metric::L2)
            .quantization(Quantization::Sq8)
            .originals(nearfield::Originals::Dropped),
        Hnsw::builder(128, Metric::L2)
            .quantization(Quantization::Sq4)
            .originals(nearfield::Originals::Sq12),
    ];
    let exact = Flat::builder(128, Metric::L2).build().unwrap();
    exact.insert_batch(&keys(count), data.base()).run().unwrap();
    for builder in builders {
        let graph = builder.build().unwrap();
        graph.insert_batch(&keys(count), data.base()).threads(2).run().unwrap();
        for one_in in [2, 6, 40] {
            let accepts = |key: u64| mix(key).is_multiple_of(one_in);
            let mut same = 0;
            let asked: Vec<VectorRef<'_>> = data.queries().iter().take(100).collect();
            for query in &asked {
                let hits = graph.search(query).filter(accepts).run().unwrap();
                let truth = exact.search(query).filter(accepts).run().unwrap();
                same += shared(&hits, &truth);
            }
            let recall = same as f64 / (10 * asked.len()) as f64;
            assert!(recall >= 0.9, "1 in {one_in}: {recall}");
        }
    }
}
