//! Vectors that come from elsewhere than those that the quantizer was fitted to: codes are made anew, and answers are as good
//! as if all had come in any order.

use nearfield::{Flat, Hnsw, Metric, Originals, Quantization};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const DIMENSION: usize = 64;
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

struct Normal(SmallRng);

impl Normal {
    fn next(&mut self) -> f32 {
        // Box and Muller: the sum of a few uniform numbers would have no tails.
        let (a, b) = (1.0 - self.0.random::<f64>(), self.0.random::<f64>());
        ((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    }

    /// Vectors around each of the centres in turn.
    fn around(&mut self, centres: &[f32], count: usize, spread: f32) -> Vec<f32> {
        let all = centres.iter().cycle().take(count * DIMENSION);
        all.map(|x| x + spread * self.next()).collect()
    }
}

/// Vectors of one topic, then many of others, and queries from these.
struct Moved {
    base: Vec<f32>,
    queries: Vec<f32>,
}

impl Moved {
    fn new(first: usize, later: usize, spread: f32) -> Self {
        let mut normal = Normal(SmallRng::seed_from_u64(3));
        let centres: Vec<f32> = (0..40 * DIMENSION).map(|_| normal.next()).collect();
        let (one, others) = centres.split_at(DIMENSION);
        let mut base = normal.around(one, first, spread);
        base.extend(normal.around(others, later, spread));
        Self { base, queries: normal.around(others, 100, spread) }
    }

    fn keys(&self) -> Vec<u64> {
        (0..(self.base.len() / DIMENSION) as u64).collect()
    }

    fn rows(&self, range: std::ops::Range<usize>) -> &[f32] {
        &self.base[range.start * DIMENSION..range.end * DIMENSION]
    }

    fn truth(&self, metric: Metric) -> Vec<Vec<u64>> {
        let exact = Flat::builder(DIMENSION, metric).build().unwrap();
        exact.insert_batch(&self.keys(), &self.base).run().unwrap();
        let search = |query: &[f32]| exact.search(query).run().unwrap().keys().collect();
        self.queries.chunks(DIMENSION).map(search).collect()
    }

    /// Recall at an `ef` of 64, and distances of a search.
    fn recall(&self, index: &Hnsw, truth: &[Vec<u64>]) -> (f64, u64) {
        let (mut found, mut distances) = (0, 0);
        for (query, truth) in self.queries.chunks(DIMENSION).zip(truth) {
            let hits = index.search(query).ef(64).run().unwrap();
            found += hits.keys().filter(|key| truth.contains(key)).count();
            distances += hits.distances_computed();
        }
        (found as f64 / (10 * truth.len()) as f64, distances / truth.len() as u64)
    }
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    for spread in [0.5f32, 0.3, 0.1] {
        let moved = Moved::new(6000, 20_000, spread);
        let keys = moved.keys();
        for metric in METRICS {
            let truth = moved.truth(metric);
            for (quantization, originals) in [
                (Quantization::None, Originals::Kept),
                (Quantization::Sq4, Originals::Kept),
                (Quantization::Sq8, Originals::Kept),
                (Quantization::Rabitq { bits: 1 }, Originals::Kept),
                (Quantization::Rabitq { bits: 4 }, Originals::Kept),
                (Quantization::Pq { sub_vectors: 32, bits: 4 }, Originals::Kept),
                (Quantization::Sq4, Originals::Sq12),
                (Quantization::Sq8, Originals::Dropped),
            ] {
                for shuffled in [false, true] {
                    let builder = Hnsw::builder(DIMENSION, metric).quantization(quantization);
                    let builder = builder.originals(originals).m(12).ef_construction(80);
                    let index = builder.build().unwrap();
                    let start = std::time::Instant::now();
                    if shuffled {
                        index.insert_batch(&keys, &moved.base).run().unwrap();
                    } else {
                        for part in 0..26 {
                            let part = part * 1000..part * 1000 + 1000;
                            let batch = index.insert_batch(&keys[part.clone()], moved.rows(part));
                            batch.run().unwrap();
                        }
                    }
                    let took = start.elapsed();
                    let (recall, distances) = moved.recall(&index, &truth);
                    let stats = index.stats();
                    println!(
                        "{spread} {metric:?} {quantization:?} {originals:?} {}: recall {recall:.3} distances {distances} bits {:?} error {:?} inserted {} {took:?}",
                        if shuffled { "shuffled" } else { "moved" },
                        stats.code_bits,
                        stats.code_error,
                        stats.insert_distances / 26_000,
                    );
                }
            }
        }
    }
}
