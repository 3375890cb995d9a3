//! Searching while vectors are replaced, or removed and inserted again: every way of searching gives the wanted number of answers,
//! each key once.

use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::dataset::Generated;
use nearfield::{Filter, Flat, Hit, Hnsw, KeySet, Metric, Originals, Quantization};

const DIMENSION: usize = 16;

/// Checks that the answer has `k` hits, in order, accepted, and no key twice.
fn check(case: &str, hits: &[Hit], k: usize, accepts: impl Fn(u64) -> bool) {
    let mut keys: Vec<u64> = hits.iter().map(|hit| hit.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((hits.len(), keys.len()), (k, k), "{case}");
    assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance), "{case}");
    assert!(keys.into_iter().all(accepts), "{case}");
}

/// Operations that both kinds of index have.
trait Asked: Sync {
    fn upsert(&self, key: u64, vector: &[f32]);
    fn insert_again(&self, key: u64, vector: &[f32]);
    fn search(&self, query: &[f32], k: usize) -> Vec<Hit>;
    fn filtered<F: Filter>(&self, query: &[f32], k: usize, filter: F) -> Vec<Hit>;
    fn batch(&self, queries: &[f32], k: usize) -> Vec<Vec<Hit>>;
    fn all(&self, query: &[f32]) -> Vec<Hit>;
}

macro_rules! asked {
    ($index:ty) => {
        impl Asked for $index {
            fn upsert(&self, key: u64, vector: &[f32]) {
                <$index>::upsert(self, key, vector).unwrap();
            }
            fn insert_again(&self, key: u64, vector: &[f32]) {
                assert!(<$index>::remove(self, key).unwrap());
                <$index>::insert(self, key, vector).unwrap();
            }
            fn search(&self, query: &[f32], k: usize) -> Vec<Hit> {
                <$index>::search(self, query).k(k).run().unwrap().to_vec()
            }
            fn filtered<F: Filter>(&self, query: &[f32], k: usize, filter: F) -> Vec<Hit> {
                <$index>::search(self, query).k(k).filter(filter).run().unwrap().to_vec()
            }
            fn batch(&self, queries: &[f32], k: usize) -> Vec<Vec<Hit>> {
                let found = <$index>::search_batch(self, queries).k(k).threads(1).run().unwrap();
                found.iter().map(<[Hit]>::to_vec).collect()
            }
            fn all(&self, query: &[f32]) -> Vec<Hit> {
                <$index>::search(self, query).within(f32::MAX).run().unwrap().to_vec()
            }
        }
    };
}

asked!(Hnsw);
asked!(Flat);

/// Replaces the vectors around the queries by others around them, while every way of searching runs.
fn hold(name: &str, index: &impl Asked, count: usize) {
    let made = Generated::builder(count, DIMENSION).queries(8).seed(4).build().unwrap();
    let (base, queries) = (made.base().to_f32().unwrap(), made.queries().to_f32().unwrap());
    let place = |at: usize| &base[at % count * DIMENSION..][..DIMENSION];
    for key in 0..count {
        index.upsert(key as u64, place(key));
    }
    let query = |at: usize| &queries[at % 8 * DIMENSION..][..DIMENSION];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut vector = [0.0; DIMENSION];
            let mut step = 0;
            while !done.load(Ordering::Relaxed) {
                step += 1;
                let far = 0.01 * (1 + step % 7) as f32;
                let pairs = query(step).iter().zip(place(step * 13));
                vector.iter_mut().zip(pairs).for_each(|(x, (q, p))| *x = q + far * (p - q));
                let key = (step * 7 % count) as u64;
                // Some keys are removed and inserted again, none of which the sparser filters accept, because a key is missing meanwhile.
                if key % 20 == 3 {
                    index.insert_again(key, &vector);
                } else {
                    index.upsert(key, &vector);
                }
            }
        });
        let searcher = scope.spawn(|| {
            for round in 0..60 {
                let query = query(round);
                for k in [1, 10, 40, count / 3] {
                    check(&format!("{name} {k}"), &index.search(query, k), k, |_| true);
                    for one_in in [1, 2, 8, 20] {
                        let accepts = |key: u64| key.is_multiple_of(one_in);
                        let k = k.min(count / one_in as usize - 1);
                        let case = format!("{name} {k}, one in {one_in}");
                        check(&case, &index.filtered(query, k, accepts), k, accepts);
                        let set: KeySet = (0..count as u64).filter(|&key| accepts(key)).collect();
                        check(
                            &format!("{case}, a set"),
                            &index.filtered(query, k, &set),
                            k,
                            accepts,
                        );
                    }
                }
                let hits = index.all(query);
                check(&format!("{name}, all"), &hits, hits.len(), |_| true);
                assert!(hits.len() + 1 >= count, "{name}, all: {} of {count}", hits.len());
                for hits in index.batch(&queries, 10) {
                    check(&format!("{name}, batch"), &hits, 10, |_| true);
                }
            }
        });
        // The writer ends before a failure is reported.
        let searched = searcher.join();
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        searched.unwrap();
    });
}

fn graph(quantization: Quantization) -> Hnsw {
    Hnsw::builder(DIMENSION, Metric::L2).quantization(quantization).build().unwrap()
}

#[test]
fn a_walk_beside_replacements_gives_as_many_as_are_wanted() {
    hold("floats", &graph(Quantization::None), 5000);
}

#[test]
#[ignore = "long: `just test-all`"]
fn a_walk_on_codes_beside_replacements_gives_as_many_as_are_wanted() {
    hold("codes", &graph(Quantization::Sq8), 5000);
    let builder = Hnsw::builder(DIMENSION, Metric::L2).quantization(Quantization::Sq4);
    hold("finer codes", &builder.originals(Originals::Sq8).build().unwrap(), 5000);
}

#[test]
fn a_scan_beside_replacements_gives_as_many_as_are_wanted() {
    hold("a small graph", &graph(Quantization::None), 400);
    hold("an exact index", &Flat::builder(DIMENSION, Metric::L2).build().unwrap(), 400);
}
