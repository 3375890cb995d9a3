//! Is a requested recall reached? `cargo bench --bench calibration -- [--dataset DIR] [--runs N] [--json FILE]`.
//!
//! An index, and runs that calibrate it with one half of the queries, drawn anew for each run, and ask the other half for recalls of
//! 0.9, 0.95 and 0.99; then one that calibrates with the index's own vectors. A run succeeds if its recall is at most half a point
//! below the requested one. Without a data set, 50,000 x 64 are generated.

mod input;

use std::error::Error;

use input::{Arguments, Input};
use nearfield::{Flat, Hit, Hnsw, Quantization};

const K: usize = 10;
const RECALLS: [f64; 3] = [0.9, 0.95, 0.99];

fn main() -> Result<(), Box<dyn Error>> {
    let args = Arguments::read(&["dataset", "runs", "json"])?;
    let runs = args.value("runs", 40_u64)?.max(1);
    let mut json = args.json()?;
    let Input { base, queries, metric, dimension } = args.input(50_000, 64)?;
    let count = base.len() / dimension;
    let keys: Vec<u64> = (0..count as u64).collect();
    let exact = Flat::builder(dimension, metric).build()?;
    exact.insert_batch(&keys, &base).run()?;
    let truth = exact.search_batch(&queries).k(K).run()?;
    println!("{count} x {dimension}, {metric}, {runs} runs");
    println!("quantization  recall  reached    mean   least     ef   by own vectors");
    for quantization in [Quantization::None, Quantization::Auto] {
        let graph = Hnsw::builder(dimension, metric).quantization(quantization).build()?;
        graph.insert_batch(&keys, &base).run()?;
        // Returns the recall of the queries of these numbers.
        let achieved = |numbers: &[usize], recall: f64| -> Result<f64, Box<dyn Error>> {
            let chosen = gather(&queries, dimension, numbers);
            let found = graph.search_batch(&chosen).k(K).recall(recall).run()?;
            let same: usize =
                found.iter().zip(numbers).map(|(hits, &at)| shared(hits, &truth[at])).sum();
            Ok(same as f64 / (K * numbers.len()) as f64)
        };
        let mut numbers: Vec<usize> = (0..queries.len() / dimension).collect();
        graph.calibrate().run()?;
        let mut own = [0.0; RECALLS.len()];
        for (own, recall) in own.iter_mut().zip(RECALLS) {
            *own = achieved(&numbers, recall)?;
        }
        let mut got = [const { Vec::new() }; RECALLS.len()];
        let mut efs = [0.0; RECALLS.len()];
        for run in 0..runs {
            shuffle(&mut numbers, run);
            let (known, fresh) = numbers.split_at(numbers.len() / 2);
            let known = gather(&queries, dimension, known);
            let calibration = graph.calibrate().queries(&known).run()?;
            for (at, recall) in RECALLS.into_iter().enumerate() {
                got[at].push(achieved(fresh, recall)?);
                let point = calibration.points.iter().find(|point| point.lower_bound >= recall);
                efs[at] += point.map_or(f64::NAN, |point| point.ef as f64) / runs as f64;
            }
        }
        for (at, recall) in RECALLS.into_iter().enumerate() {
            let reached = got[at].iter().filter(|&&got| got >= recall - 0.005).count();
            let mean = got[at].iter().sum::<f64>() / runs as f64;
            let least = got[at].iter().copied().fold(1.0, f64::min);
            let (ef, own) = (efs[at], own[at]);
            let name = format!("{quantization:?}");
            println!(
                "{name:<12} {recall:>7} {reached:>8} {mean:>7.4} {least:>7.4} {ef:>6.1} {own:>16.4}"
            );
            json.line(&format!(
                "{{\"system\": \"nearfield\", \"n\": {count}, \"dim\": {dimension}, \
                 \"metric\": \"{metric}\", \"quantization\": \"{name}\", \"k\": {K}, \
                 \"asked\": {recall}, \"runs\": {runs}, \"reached\": {reached}, \
                 \"mean\": {mean:.5}, \"least\": {least:.5}, \"by_own_vectors\": {own:.5}}}"
            ))?;
        }
    }
    Ok(())
}

fn gather(queries: &[f32], dimension: usize, numbers: &[usize]) -> Vec<f32> {
    let row = |&at: &usize| &queries[at * dimension..(at + 1) * dimension];
    numbers.iter().flat_map(row).copied().collect()
}

/// Returns the number of hits that are as near as the nearest.
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
