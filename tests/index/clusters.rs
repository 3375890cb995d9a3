//! Vectors in clusters much narrower than the whole: one grid for all gives the vectors of a cluster nearly the same code, and
//! answers must equal the answers without codes.

use nearfield::{Collection, Determinism, Flat, Hnsw, Metric, Originals, Quantization};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::files::Folder;

const DIMENSION: usize = 64;

/// Numbers of a normal distribution.
struct Normal(SmallRng);

impl Normal {
    fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    fn next(&mut self) -> f32 {
        (0..12).map(|_| self.0.random::<f32>()).sum::<f32>() - 6.0
    }

    fn vectors(&mut self, count: usize) -> Vec<f32> {
        (0..count * DIMENSION).map(|_| self.next()).collect()
    }

    /// Returns vectors around each of the centres in turn.
    fn around(&mut self, centres: &[f32], count: usize, spread: f32) -> Vec<f32> {
        let all = centres.iter().cycle().take(count * DIMENSION);
        all.map(|x| x + spread * self.next()).collect()
    }
}

fn index(metric: Metric, quantization: Quantization, keys: &[u64], base: &[f32]) -> Hnsw {
    let index = Hnsw::builder(DIMENSION, metric).quantization(quantization).build().unwrap();
    index.insert_batch(keys, base).run().unwrap();
    index
}

fn keys(vectors: &[f32]) -> Vec<u64> {
    (0..(vectors.len() / DIMENSION) as u64).collect()
}

/// Returns the ten nearest accepted vectors of each query, exactly.
fn truth(
    metric: Metric,
    base: &[f32],
    queries: &[f32],
    accepts: impl Fn(u64) -> bool + Sync,
) -> Vec<Vec<u64>> {
    let exact = Flat::builder(DIMENSION, metric).build().unwrap();
    exact.insert_batch(&keys(base), base).run().unwrap();
    let search = |query: &[f32]| exact.search(query).filter(&accepts).run().unwrap();
    queries.chunks(DIMENSION).map(|query| search(query).keys().collect()).collect()
}

/// Returns the share of the true neighbours that the index finds.
fn recall(truth: &[Vec<u64>], found: &[Vec<u64>]) -> f64 {
    let hits = truth
        .iter()
        .zip(found)
        .map(|(truth, found)| found.iter().filter(|key| truth.contains(key)).count());
    hits.sum::<usize>() as f64 / truth.iter().map(Vec::len).sum::<usize>() as f64
}

/// Returns [`recall`] of a batch, and of its queries one by one.
fn recalls(index: &Hnsw, queries: &[f32], ef: usize, truth: &[Vec<u64>]) -> [f64; 2] {
    let batch = index.search_batch(queries).ef(ef).run().unwrap();
    let batch: Vec<Vec<u64>> =
        batch.iter().map(|hits| hits.iter().map(|hit| hit.key).collect()).collect();
    let search = |query: &[f32]| index.search(query).ef(ef).run().unwrap().keys().collect();
    let each: Vec<Vec<u64>> = queries.chunks(DIMENSION).map(search).collect();
    [recall(truth, &batch), recall(truth, &each)]
}

#[test]
#[ignore = "long: `just test-all`"]
fn where_codes_look_alike_vectors_tell() {
    // The 200 vectors of a cluster have nearly the same code, and their distances from each other differ little.
    for (spread, quantization) in [
        (0.1, Quantization::Sq4),
        (0.03, Quantization::Sq4),
        (0.01, Quantization::Sq4),
        (0.01, Quantization::Sq8),
        (0.03, Quantization::Rabitq { bits: 4 }),
        (0.03, Quantization::Rabitq { bits: 1 }),
    ] {
        let mut normal = Normal::new(7);
        let centres = normal.vectors(40);
        let base = normal.around(&centres, 8000, spread);
        let queries = normal.around(&centres, 200, spread);
        for metric in [Metric::L2, Metric::Cosine] {
            let index = index(metric, quantization, &keys(&base), &base);
            let truth = truth(metric, &base, &queries, |_| true);
            for (ef, least) in [(64, 0.97), (256, 0.98)] {
                let found = recalls(&index, &queries, ef, &truth);
                let what = format!("{quantization:?} {metric:?} {spread} ef {ef}: {found:?}");
                println!("{what}");
                assert!(found.iter().all(|&recall| recall >= least), "{what}");
            }
            assert!(index.check().is_ok());
        }
    }
}

#[test]
#[ignore = "long: `just test-all`"]
fn where_codes_look_alike_finer_ones_tell() {
    let mut normal = Normal::new(8);
    let centres = normal.vectors(40);
    for spread in [0.1, 0.03] {
        let base = normal.around(&centres, 8000, spread);
        let queries = normal.around(&centres, 200, spread);
        let truth = truth(Metric::L2, &base, &queries, |_| true);
        let recalls = |quantization, originals| {
            let builder = Hnsw::builder(DIMENSION, Metric::L2).quantization(quantization);
            let index = builder.originals(originals).build().unwrap();
            index.insert_batch(&keys(&base), &base).run().unwrap();
            assert!(index.check().is_ok());
            recalls(&index, &queries, 64, &truth)
        };
        // The recall is limited by the rounding of the vectors: a step is a share of the width of all vectors, not of a cluster's.
        let [eight, _] = recalls(Quantization::Sq8, Originals::Dropped);
        for (originals, least) in [(Originals::Sq8, eight - 0.02), (Originals::Sq12, 0.93)] {
            for quantization in [Quantization::Sq4, Quantization::Rabitq { bits: 1 }] {
                let found = recalls(quantization, originals);
                let what = format!("{quantization:?} {originals:?} {spread}: {found:?} of {least}");
                println!("{what}");
                assert!(found.iter().all(|&recall| recall >= least), "{what}");
            }
        }
    }
}

#[test]
fn filters_look_by_the_vectors_too() {
    let mut normal = Normal::new(10);
    let centres = normal.vectors(40);
    let base = normal.around(&centres, 20_000, 0.03);
    let queries = normal.around(&centres, 100, 0.03);
    // Codes of 1 bit, which do not choose rows, and of 4 bits.
    for quantization in [Quantization::Sq4, Quantization::Rabitq { bits: 1 }] {
        let index = index(Metric::L2, quantization, &keys(&base), &base);
        let folder = Folder::new("clusters-filters");
        let path = folder.file("index.nf");
        index.save(&path).unwrap();
        for of in [2, 5, 20] {
            let accepts = |key: u64| key.is_multiple_of(of);
            let truth = truth(Metric::L2, &base, &queries, accepts);
            // A loaded index learns from its first searches that its codes are coarse; these searches have the recall of coarse codes.
            let unaware = Hnsw::load(&path).unwrap();
            let first = if quantization == Quantization::Sq4 { 0.95 } else { 0.8 };
            for (index, least) in [(&index, 0.95), (&unaware, first)] {
                let search = |query: &[f32]| {
                    index.search(query).ef(64).filter(accepts).run().unwrap().keys().collect()
                };
                let found: Vec<Vec<u64>> = queries.chunks(DIMENSION).map(search).collect();
                let found = recall(&truth, &found);
                println!("{quantization:?} one of {of}: {found:.4}");
                assert!(found >= least, "{quantization:?} one of {of}: {found}");
            }
        }
    }
}

#[test]
fn clusters_may_come_after_the_codes() {
    let mut normal = Normal::new(8);
    let mut base = normal.vectors(6000);
    let index = index(Metric::L2, Quantization::Sq4, &keys(&base), &base);
    assert_eq!(index.stats().code_bits, Some(4));
    let centres = normal.vectors(40);
    let queries = normal.around(&centres, 200, 0.01);
    let add = |base: &mut Vec<f32>, count: usize, normal: &mut Normal| {
        let new = normal.around(&centres, count, 0.01);
        let first = base.len() / DIMENSION;
        base.extend_from_slice(&new);
        index.insert_batch(&keys(base)[first..], &new).run().unwrap();
    };
    add(&mut base, 8000, &mut normal);
    let truth = truth(Metric::L2, &base, &queries, |_| true);
    let found = recalls(&index, &queries, 64, &truth);
    println!("{found:?}");
    assert!(found.iter().all(|&recall| recall >= 0.85), "{found:?}");
    assert!(index.check().is_ok());
}

#[test]
fn an_index_from_a_file_sees_it_again() {
    let mut normal = Normal::new(9);
    let centres = normal.vectors(40);
    let base = normal.around(&centres, 8000, 0.01);
    let queries = normal.around(&centres, 200, 0.01);
    let truth = truth(Metric::L2, &base, &queries, |_| true);
    let index = index(Metric::L2, Quantization::Sq4, &keys(&base), &base);
    assert_eq!(index.stats().code_bits, None);
    let folder = Folder::new("clusters");
    let path = folder.file("index.nf");
    index.save(&path).unwrap();
    let before = recalls(&index, &queries, 64, &truth);
    for opened in [Hnsw::load(&path).unwrap(), Hnsw::load(&path).unwrap()] {
        assert_eq!(opened.stats().code_bits, Some(4));
        let after = recalls(&opened, &queries, 64, &truth);
        println!("{before:?} {after:?}");
        assert!(after.iter().all(|&recall| recall >= 0.97), "{before:?} {after:?}");
        // A search has found the codes too coarse by then.
        assert_eq!(opened.stats().code_bits, None);
    }
}

/// A caller that inserts group by group must find as well as one that inserts in any order.
#[test]
#[ignore = "long: `just test-all`"]
fn clusters_may_come_one_after_the_other() {
    let (clusters, each) = (100, 200);
    let mut normal = Normal::new(11);
    let centres = normal.vectors(clusters);
    let base: Vec<f32> =
        centres.chunks(DIMENSION).flat_map(|centre| normal.around(centre, each, 0.1)).collect();
    let queries = normal.around(&centres, 2 * clusters, 0.1);
    let keys = keys(&base);
    let truth = truth(Metric::L2, &base, &queries, |_| true);
    let check = |found: &[Vec<u64>], what: &str| {
        let found = recall(&truth, found);
        println!("{what}: {found}");
        assert!(found >= 0.98, "{what}: {found}");
    };
    for quantization in [Quantization::None, Quantization::Sq4] {
        for (threads, determinism) in
            [(1, Determinism::None), (2, Determinism::None), (3, Determinism::Bitwise)]
        {
            let index = Hnsw::builder(DIMENSION, Metric::L2).quantization(quantization);
            let index = index.build().unwrap();
            let batch = index.insert_batch(&keys, &base).threads(threads);
            batch.determinism(determinism).run().unwrap();
            let search = |query: &[f32]| index.search(query).ef(64).run().unwrap().keys().collect();
            let found: Vec<_> = queries.chunks(DIMENSION).map(search).collect();
            check(&found, &format!("{quantization:?} {threads} {determinism:?}"));
        }
    }
    let folder = Folder::new("sorted");
    let config = Collection::builder(DIMENSION, Metric::L2);
    let collection = config.create(folder.file("collection.nf")).unwrap();
    let mut tx = collection.begin_write().unwrap();
    for (key, vector) in keys.iter().zip(base.chunks(DIMENSION)) {
        tx.upsert(*key, vector).unwrap();
    }
    tx.commit().unwrap();
    let search = |query: &[f32]| collection.search(query).ef(64).run().unwrap().keys().collect();
    let found: Vec<_> = queries.chunks(DIMENSION).map(search).collect();
    check(&found, "a commit");
}
