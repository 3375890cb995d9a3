//! Many equal vectors: no recall is lost, and insertions and searches stay affordable.

use std::sync::atomic::{AtomicBool, Ordering};

use nearfield::dataset::Generated;
use nearfield::{AsVector, Flat, Hit, Hnsw, Metric, Quantization, VectorRef};

use crate::support::data::carried;

const COUNT: usize = 6000;

/// The position whose vector a position copies.
type Source = fn(usize) -> usize;

/// Vectors, one after the other, and queries.
struct Data {
    dimension: usize,
    metric: Metric,
    vectors: Vec<f32>,
    queries: Vec<f32>,
}

fn words() -> Data {
    let data = carried("words-100-10k");
    let dimension = data.dimension();
    let mut vectors = data.base().to_f32().unwrap();
    vectors.truncate(COUNT * dimension);
    let mut queries = data.queries().to_f32().unwrap();
    queries.truncate(100 * dimension);
    Data { dimension, metric: data.metric(), vectors, queries }
}

fn generated() -> Data {
    let data = Generated::builder(COUNT, 32).queries(100).build().unwrap();
    let floats = |vectors: VectorRef<'_>| match vectors {
        VectorRef::F32(floats) => floats.to_vec(),
        other => panic!("{other:?}"),
    };
    let (vectors, queries) = (floats(data.base().as_vector()), floats(data.queries().as_vector()));
    Data { dimension: 32, metric: Metric::L2, vectors, queries }
}

impl Data {
    /// Replaces the vectors at `percent` of a hundred positions by copies of those at `source`.
    fn repeat(mut self, percent: usize, source: impl Fn(usize) -> usize) -> Self {
        let dimension = self.dimension;
        for at in 0..COUNT {
            // The copies are spread over the whole sequence.
            if at * 37 % 100 < percent {
                let from = source(at) * dimension;
                self.vectors.copy_within(from..from + dimension, at * dimension);
            }
        }
        self
    }

    fn index(&self, quantization: Quantization) -> Hnsw {
        let index = Hnsw::builder(self.dimension, self.metric).quantization(quantization);
        let index = index.build().unwrap();
        let keys: Vec<u64> = (0..COUNT as u64).collect();
        index.insert_batch(&keys, &self.vectors).threads(2).run().unwrap();
        index
    }

    /// Returns the share of answers that are as near as the exact ones, and the distances of a query.
    fn recall(&self, index: &Hnsw) -> (f64, f64) {
        let exact = Flat::builder(self.dimension, self.metric).build().unwrap();
        let keys: Vec<u64> = (0..COUNT as u64).collect();
        exact.insert_batch(&keys, &self.vectors).run().unwrap();
        let mut good = 0;
        let mut distances = 0;
        let queries = self.queries.chunks_exact(self.dimension);
        // Every 97th vector is searched for itself, beside the queries.
        let own = self.vectors.chunks_exact(self.dimension).step_by(97);
        let all: Vec<&[f32]> = queries.chain(own).collect();
        let before = index.stats().search_distances;
        let batch = index.search_batch(&all.concat()).k(10).ef(64).run().unwrap();
        let computed = index.stats().search_distances - before;
        for (&query, found) in all.iter().zip(batch.iter()) {
            let hits = index.search(query).k(10).ef(64).run().unwrap();
            let truth = exact.search(query).k(10).run().unwrap();
            assert_eq!(hits.len(), 10);
            // In a batch, walks take turns.
            assert!(found.iter().eq(hits.iter()), "{found:?} {hits:?}");
            let far = truth[9].distance + 1e-5;
            good += hits.iter().filter(|hit| hit.distance <= far).count();
            distances += hits.distances_computed();
        }
        assert_eq!(computed, distances, "in a batch, and one by one");
        (good as f64 / (all.len() * 10) as f64, distances as f64 / all.len() as f64)
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn equal_vectors_cost_no_recall() {
    for (name, data) in [("words", words as fn() -> Data), ("generated", generated)] {
        for quantization in [Quantization::None, Quantization::Sq4] {
            let plain = data();
            let index = plain.index(quantization);
            let (recall, distances) = plain.recall(&index);
            let inserted = index.stats().insert_distances;
            let cases: [(&str, usize, Source); 4] = [
                ("a fifth stands twice or more", 20, |at| at * 31 % COUNT),
                ("a fifth is one vector", 20, |_| 17),
                ("60 vectors stand a hundred times", 100, |at| at % 60),
                ("almost all are one vector", 99, |_| 17),
            ];
            for (case, percent, source) in cases {
                let repeated = data().repeat(percent, source);
                let index = repeated.index(quantization);
                assert!(index.check().is_ok());
                let (again, computed) = repeated.recall(&index);
                let work = index.stats().insert_distances as f64 / inserted as f64;
                println!(
                    "{name} {quantization:?}, {case}: recall {again:.4} of {recall:.4}, distances {computed:.0} \
                     of {distances:.0}, of insertions {work:.2}"
                );
                assert!(again > recall - 0.015, "{name} {case}: {again} {recall}");
                // A walk caught among copies is repeated at most twice.
                assert!(computed < 6.0 * distances, "{name} {case}: {computed} {distances}");
                assert!(work < 2.7, "{name} {case}: {work}");
            }
        }
    }
}

/// A search beside replacements returns `k` distinct keys, in order.
#[test]
fn searches_among_copies_beside_replacements_give_k_distinct_keys() {
    const PLACES: usize = 30;
    let made = Generated::builder(PLACES, 16).seed(2).build().unwrap();
    let places = made.base().to_f32().unwrap();
    let place = |at: usize| &places[at % PLACES * 16..][..16];
    let check = |hits: &[Hit], k: usize| {
        let mut keys: Vec<u64> = hits.iter().map(|hit| hit.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((hits.len(), keys.len()), (k, k));
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
    };
    for quantization in [Quantization::None, Quantization::Sq4] {
        let index = Hnsw::builder(16, Metric::L2).quantization(quantization).build().unwrap();
        for key in 0..COUNT {
            index.insert(key as u64, place(key)).unwrap();
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut step = 0;
                while !done.load(Ordering::Relaxed) {
                    // A vector moves from one crowd of copies to another.
                    step += 1;
                    index.upsert((step * 7 % COUNT) as u64, place(step * 11)).unwrap();
                }
            });
            let searcher = scope.spawn(|| {
                for (round, k) in [1, 10, 100, 300].into_iter().cycle().take(60).enumerate() {
                    check(&index.search(place(round)).k(k).run().unwrap(), k);
                    let batch = index.search_batch(&places).k(k).threads(1).run().unwrap();
                    batch.iter().for_each(|hits| check(hits, k));
                }
            });
            // The writer ends before a failure is reported.
            let searched = searcher.join();
            done.store(true, Ordering::Relaxed);
            writer.join().unwrap();
            searched.unwrap();
        });
        assert!(index.check().is_ok());
    }
}
