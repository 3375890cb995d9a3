//! Is a recall that is asked for reached? `cargo bench --bench calibration -- DIR...`.
//!
//! For each data set: an index, and runs that calibrate it with one half of the queries, drawn
//! anew for each run, and ask the other half for recalls of 0.9, 0.95 and 0.99; then one that
//! calibrates with the index's own vectors. A run succeeds if the recall that it got is at most half a point
//! below the one asked for.

use std::error::Error;

use nearfield::dataset::{Dataset, Generated};
use nearfield::{Flat, Hit, Hnsw, Metric, Quantization};

const RUNS: u64 = 40;
const K: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    println!("set  quantization  recall  runs that reach it  mean    least   ef   own vectors");
    for folder in &folders {
        let set = Dataset::open(folder)?;
        let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or(folder);
        let (base, queries) = (set.base().to_f32()?, set.queries().to_f32()?);
        measure(name, &base, &queries, set.dimension(), set.metric())?;
    }
    if folders.is_empty() {
        let made = Generated::builder(50_000, 64).queries(1000).build()?;
        measure("made", &made.base().to_f32()?, &made.queries().to_f32()?, 64, Metric::L2)?;
    }
    Ok(())
}

fn measure(
    name: &str,
    base: &[f32],
    queries: &[f32],
    dimension: usize,
    metric: Metric,
) -> Result<(), Box<dyn Error>> {
    let count = base.len() / dimension;
    let keys: Vec<u64> = (0..count as u64).collect();
    let exact = Flat::builder(dimension, metric).build()?;
    exact.insert_batch(&keys, base).run()?;
    let truth = exact.search_batch(queries).k(K).run()?;
    for quantization in [Quantization::None, Quantization::Auto] {
        let graph = Hnsw::builder(dimension, metric).quantization(quantization).build()?;
        graph.insert_batch(&keys, base).run()?;
        // Recall of the queries of these numbers.
        let achieved = |numbers: &[usize], recall: f64| -> Result<f64, Box<dyn Error>> {
            let chosen = gather(queries, dimension, numbers);
            let found = graph.search_batch(&chosen).k(K).recall(recall).run()?;
            let same: usize =
                found.iter().zip(numbers).map(|(hits, &at)| shared(hits, &truth[at])).sum();
            Ok(same as f64 / (K * numbers.len()) as f64)
        };
        let mut numbers: Vec<usize> = (0..queries.len() / dimension).collect();
        graph.calibrate().run()?;
        let own: Vec<f64> = [0.9, 0.95, 0.99]
            .into_iter()
            .map(|recall| achieved(&numbers, recall))
            .collect::<Result<_, _>>()?;
        let mut got = [const { Vec::new() }; 3];
        let mut efs = [0.0; 3];
        for run in 0..RUNS {
            shuffle(&mut numbers, run);
            let (known, fresh) = numbers.split_at(numbers.len() / 2);
            let known = gather(queries, dimension, known);
            let calibration = graph.calibrate().queries(&known).run()?;
            for (at, recall) in [0.9, 0.95, 0.99].into_iter().enumerate() {
                got[at].push(achieved(fresh, recall)?);
                let point = calibration.points.iter().find(|point| point.at_least >= recall);
                efs[at] += point.map_or(f64::NAN, |point| point.ef as f64) / RUNS as f64;
            }
        }
        for (at, recall) in [0.9, 0.95, 0.99].into_iter().enumerate() {
            let reached = got[at].iter().filter(|&&got| got >= recall - 0.005).count();
            let mean = got[at].iter().sum::<f64>() / RUNS as f64;
            let least = got[at].iter().copied().fold(1.0, f64::min);
            println!(
                "{name} {quantization:?} {recall}: {reached} of {RUNS}, mean {mean:.4}, least \
                 {least:.4}, ef up to {:.0}; by own vectors {:.4}",
                efs[at], own[at]
            );
        }
    }
    Ok(())
}

fn gather(queries: &[f32], dimension: usize, numbers: &[usize]) -> Vec<f32> {
    let row = |&at: &usize| &queries[at * dimension..(at + 1) * dimension];
    numbers.iter().flat_map(row).copied().collect()
}

/// Hits that are as near as the nearest are.
fn shared(hits: &[Hit], truth: &[Hit]) -> usize {
    let reach = truth.last().map_or(f32::INFINITY, |hit| hit.distance);
    hits.iter().take_while(|hit| hit.distance <= reach).count().min(truth.len())
}

fn shuffle(numbers: &mut [usize], seed: u64) {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for at in (1..numbers.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        numbers.swap(at, (state >> 33) as usize % (at + 1));
    }
}
